"""What those who accessed a person's data are called to that person.

An actor has a kind and an id; a role only where the policy gives it one. Where nobody is to be
named, each is a role, or the word for its kind, and a number, the same throughout one report.
"""

from __future__ import annotations

from indelible.events.model import Actor, Subject
from indelible.policy.model import ReportSettings
from indelible.reports.texts import (
    ACTING_FOR,
    DATABASE_ACCOUNT,
    KIND_WORDS,
    NOBODY_KNOWN,
    YOU,
)

Chain = tuple[tuple[str, str], ...]
"""Who did it, and on whose behalf, outermost last; each a kind and an id."""


def chain_of(actor: Actor | None) -> Chain:
    """Empty for nobody known."""
    chain = []
    while actor is not None:
        chain.append((actor.kind, actor.id))
        actor = actor.on_behalf_of
    return tuple(chain)


class Naming:
    """Calls everybody the same each time, in the order in which they were first asked for."""

    def __init__(self, settings: ReportSettings, of: Subject) -> None:
        self._settings = settings
        self._of = of
        self._numbers: dict[str, dict[object, int]] = {}

    @property
    def is_by_name(self) -> bool:
        return self._settings.staff == "name"

    def name(self, chain: Chain, database_role: str | None) -> str:
        """Of who did it; of everybody for whom it was done, too."""
        if not chain:
            if database_role is None:
                return NOBODY_KNOWN
            return f"{NOBODY_KNOWN} ({self.account(database_role)})"
        return f" {ACTING_FOR} ".join(self._actor(*each) for each in chain)

    def account(
        self, role: str | None, program: str | None = None, where: str | None = None
    ) -> str:
        """A client of the database, of which that knows its account's name."""
        if not self.is_by_name:
            return f"{DATABASE_ACCOUNT} {self._number(DATABASE_ACCOUNT, role)}"
        shown = " ".join(each for each in (role, program) if each)
        return f"{DATABASE_ACCOUNT} {shown}" + (f" from {where}" if where else "")

    def _actor(self, kind: str, id_: str) -> str:
        name = f"{kind}:{id_}"
        roles = self._settings.roles
        if (kind, id_) == (self._of.kind, self._of.id):
            return YOU
        role = roles.get(name, roles.get(kind))
        if self.is_by_name:
            return f"{name} ({role})" if role is not None else name
        word = role if role is not None else KIND_WORDS.get(kind, kind)
        return f"{word} {self._number(word, name)}"

    def _number(self, word: str, who: object) -> int:
        known = self._numbers.setdefault(word, {})
        return known.setdefault(who, len(known) + 1)
