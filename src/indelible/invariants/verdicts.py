"""What a check says of one invariant: a word, a figure, and the entries that it stands on."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from indelible.events.model import Timestamp
from indelible.policy.invariants import Invariant
from indelible.tlog import Index

Word = Literal["holds", "holds so far", "falls short", "can't tell"]
Standing = Literal["enforced", "relaxed", "planned"]
HOLDS: Final = "holds"
SO_FAR: Final = "holds so far"
SHORT: Final = "falls short"
CANT_TELL: Final = "can't tell"
WORDS: Final[tuple[Word, ...]] = (HOLDS, SO_FAR, SHORT, CANT_TELL)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One invariant, as far as the trail shows it.

    `words` say it to a person. `figure` is by how much it falls short, or what was measured, beside
    what is `required`, both in `unit`. `example` is the entry of the first breach and `evidence`
    the entries that were decisive, a few of each. Where it holds so far it has done so since
    `since`, and does in full from `on_course_until` on, if it goes on so.
    """

    name: str = ""
    kind: str = ""
    promise: str = ""
    standing: Standing = "enforced"
    verdict: Word
    words: str
    figure: float | None = None
    required: float | None = None
    unit: Literal["seconds", "share", "count"] = "count"
    example: Index | None = None
    evidence: tuple[Index, ...] = ()
    since: Timestamp | None = None
    on_course_until: Timestamp | None = None

    @property
    def fails(self) -> bool:
        """Whether somebody has to act: silence is never an answer."""
        return self.standing != "planned" and self.verdict in (SHORT, CANT_TELL)

    def of(self, invariant: Invariant) -> Verdict:
        """This verdict, as that of `invariant`, which is in force."""
        standing: Standing = "enforced"
        words = self.words
        if invariant.planned:
            standing = "planned"
        elif invariant.relaxed is not None:
            standing = "relaxed"
            relaxed = invariant.relaxed
            words += f" (relaxed to {_plain(relaxed.to)} until {relaxed.until}: {relaxed.why})"
        return msgspec.structs.replace(
            self,
            name=invariant.name,
            kind=invariant.kind,
            promise=invariant.promise,
            standing=standing,
            words=words,
        )


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
