"""Numbers that a person has: cards, accounts, identities, documents, the day of birth."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from indelible.logs.scrub import judges
from indelible.logs.scrub.judges import IBAN_COUNTRIES, judge_iban, passes
from indelible.logs.scrub.model import Judge, Rule, Span

_DAY: Final = (
    r"(?:19|20)[0-9]{2}[\-/.][01]?[0-9][\-/.][0-3]?[0-9]|"
    r"[0-3]?[0-9][\-/. ]{1,2}[01]?[0-9][\-/. ]{1,2}(?:19|20)?[0-9]{2}|"
    r"[0-3]?[0-9](?:st|nd|rd|th)?[.\-/ ]{1,2}[a-zäéû]{3,9}[.,\-/ ]{1,2}(?:19|20)[0-9]{2}|"
    r"[a-z]{3,9}\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{2}|(?:19|20)[0-9]{6}"
)
_DOCUMENTS: Final = (
    r"(?:passport|driv(?:er|ing)[_\-']?s?[_\- ]?licen[cs]e|id[_\- ]?card|national[_\- ]?id|"
    r"tax[_\- ]?id|personalausweis|insurance[_\- ]?(?:number|no|id)|policy[_\- ]?holder[_\- ]?id)"
)
_NATIONAL_FORMS: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    (r"[0-9]{3}[\- ][0-9]{2}[\- ][0-9]{4}", judges.is_ssn),
    ("[a-ceghj-prstw-z][a-ceghj-nprstw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d]", judges.is_nino),
    ("[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", judges.is_nir),
    (r"(?:[0-9]{8}|[xyz]-?[0-9]{7})[\- ]?[a-hj-np-tv-z]", judges.is_dni),
    (
        "[a-z]{6}[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]",
        judges.is_codice_fiscale,
    ),
    (r"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", judges.is_personnummer),
    ("[0-3][0-9][0-7][0-9] ?[0-9]{2} ?[0-9]{5}", judges.is_fodselsnummer),
    (r"[0-3][0-9][01][0-9]{3}[\-+a-fu-y][0-9]{3}[0-9a-fhj-npr-y]", judges.is_hetu),
    (r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", judges.is_rijksregister),
    (r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", judges.is_ahv),
    (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", judges.is_cpf),
)


_NATIONAL_CHECKS: Final = [(re.compile(form).fullmatch, check) for form, check in _NATIONAL_FORMS]


def _judge_national(match: re.Match[str]) -> Span | None:
    """A number of one of the forms, with its checksum."""
    value = match[0]
    plain = "".join(filter(str.isalnum, value))
    for matches, check in _NATIONAL_CHECKS:
        if matches(value) and check(plain):
            return match.span()
    return None


def _rule(
    kind: str, pattern: str, words: tuple[str, ...], shape: str, judge: Judge | None = None
) -> Rule:
    return Rule(kind, "personal", pattern, words, shape, judge)


def _national_near(
    words: tuple[str, ...], names: str, pattern: str, check: Callable[[str], bool]
) -> Rule:
    """A number that has no form of its own, near its name."""
    return _rule(
        "national-id",
        rf"(?<![a-z])(?:{names})[^0-9\n]{{0,32}}\b({pattern})\b",
        words,
        rf"(?:{names})[^0-9\n]*{pattern}",
        passes(check),
    )


NUMBER_RULES: Final[tuple[Rule, ...]] = (
    _rule(
        "card",
        r"(?<![\w.])(?<![0-9]-)([2-6][0-9]{3}(?:[ \-]?[0-9]{4}){3}(?:[ \-]?[0-9]{1,3})?|"
        r"3[0-9]{3}[ \-]?[0-9]{6}[ \-]?[0-9]{4,5})(?!\w)(?!\.[0-9])",
        (),
        r"[^a-z0-9_.][0-9]{4}[ \-]?[0-9]{4}[ \-]?[0-9]{4}[ \-]?[0-9]|"
        r"[^a-z0-9_.][0-9]{4}[ \-]?[0-9]{6}[ \-]?[0-9]{4}",
        passes(judges.is_card),
    ),
    _rule(
        "card-code",
        r"(?<![a-z])(?:cvv2?|cvc2?|csc|card[_\- ]?(?:verification|security)"
        r"[_\- ]?(?:code|value|number))(?![a-z])[^a-z0-9\n]{1,8}(?:(?:is|code|number)"
        r"[^a-z0-9\n]{1,4})?([0-9]{3,4})\b",
        ("cvv", "cvc", "csc", "card"),
        r"(?:cv[vc]|csc|verification|security)[^0-9\n]*[0-9]",
    ),
    _rule(
        "iban",
        rf"(?<![a-z0-9])(?:{IBAN_COUNTRIES})[0-9]{{2}}(?:[ \-]?[a-z0-9]{{4}}){{2,7}}"
        r"(?:[ \-]?[a-z0-9]{1,3})?",
        (),
        rf"[^a-z0-9](?:{IBAN_COUNTRIES})[0-9]{{2}}[ \-]?[a-z0-9]{{4}}[ \-]?[a-z0-9]{{4}}",
        judge_iban,
    ),
    _rule(
        "national-id",
        rf"(?<![\w\-])(?:{'|'.join(form for form, _ in _NATIONAL_FORMS)})(?![\w\-])",
        (),
        r"[^a-z0-9_\-](?:[0-9]{3}[\- ][0-9]{2}[\- ][0-9]{4}|"
        r"[a-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d]|"
        r"[0-9] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9ab] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}|"
        r"(?:[0-9]{8}|[xyz]-?[0-9]{7})[\- ]?[a-z]|"
        r"[a-z]{6}[0-9l-v]{2}[a-z][0-9l-v]{2}[a-z][0-9l-v]{3}[a-z]|"
        r"(?:[0-9]{2})?[0-9]{6}[\-+][0-9]{4}|[0-9]{4} ?[0-9]{2} ?[0-9]{5}|"
        r"[0-9]{6}[\-+a-y][0-9]{3}[0-9a-y]|[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}|"
        r"[0-9]{3}\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}|[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2})"
        r"[^a-z0-9_\-]",
        _judge_national,
    ),
    _national_near(("ssn", "social"), r"ssn|social[_\- ]?security", "[0-9]{9}", judges.is_ssn),
    _national_near(("nhs",), "nhs", r"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{4}", judges.is_nhs),
    _national_near(
        ("steuer", "tax", "idnr", "tin"),
        r"steuer|tax[_\- ]?(?:id|number|no)|idnr|tin",
        "[1-9][0-9](?: ?[0-9]{3}){3}",
        judges.is_steuer_id,
    ),
    _national_near(
        ("bsn", "burgerservice", "sofi"), "bsn|burgerservice|sofi", "[0-9]{9}", judges.is_bsn
    ),
    _national_near(("pesel",), "pesel", "[0-9]{11}", judges.is_pesel),
    _national_near(
        ("personnummer", "pnr", "samordning"),
        "personnummer|pnr|samordningsnummer",
        "(?:19|20)?[0-9]{10}",
        judges.is_personnummer,
    ),
    _national_near(("cpr",), "cpr", "[0-3][0-9][01][0-9]{3}-?[0-9]{4}", judges.is_cpr),
    _rule(
        "document-number",
        rf"{_DOCUMENTS}[a-z_\-]{{0,12}}[^a-z0-9\n]{{1,8}}"
        r"(?:(?:number|no|is|nr)[^a-z0-9\n]{1,4})?((?=[a-z\-]{0,5}[0-9])[a-z0-9\-]{6,20})\b",
        ("passport", "licen", "card", "national", "tax", "ausweis", "insurance", "holder"),
        rf"{_DOCUMENTS}[a-z_\-]*[^a-z0-9\n]+(?:[a-z]+[^a-z0-9\n]+)?[a-z0-9\-]{{6}}",
    ),
    _rule(
        "birth-date",
        r"(?:(?<![a-z])dob(?![a-z])|birth|(?<![a-z])born(?![a-z])|geburt|geboren|naissance|"
        rf"nacimiento|nascita)[^0-9\n]{{0,24}}?\b({_DAY})\b",
        ("dob", "birth", "born", "gebur", "geboren", "naissance", "nacimiento", "nascita"),
        r"(?:dob|birth|born|gebur|geboren|naissance|nacimiento|nascita)[^0-9\n]*[0-9]",
    ),
)
