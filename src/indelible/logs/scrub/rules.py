"""The rules that are used where nobody says otherwise."""

from __future__ import annotations

from typing import Final

from indelible.logs.scrub.model import Rule
from indelible.logs.scrub.rules_numbers import NUMBER_RULES
from indelible.logs.scrub.rules_people import PEOPLE_RULES
from indelible.logs.scrub.rules_secrets import SECRET_RULES
from indelible.logs.scrub.rules_special import SPECIAL_RULES

DEFAULT_RULES: Final[tuple[Rule, ...]] = (
    *SECRET_RULES,
    *NUMBER_RULES,
    *PEOPLE_RULES,
    *SPECIAL_RULES,
)
