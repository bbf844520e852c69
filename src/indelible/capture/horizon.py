"""What a server's outbox holds that is settled: nothing can appear at or below it any more. Pure.

Ids are given out before their transactions commit, so a lower one may appear after a higher one.
A *mark* is the highest id given out at a moment, and a number above which all transactions are that
began later: once all up to that one have ended, what was given out by then is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from indelible.capture.change_drafts import OutboxNotice, OutboxRow
from indelible.capture.outbox_layout import Layout

_MARKS: Final = 64


class OutboxState(NamedTuple):
    """`newest` is the highest id ever given out, whether or not its row is there.

    Transactions with numbers below `ended` had ended before it was read.
    """

    incarnation: str
    epoch: int
    newest: int
    ended: int


class OutboxRows(NamedTuple):
    """Rows in the order of their ids, layouts that the reader didn't know, and what of reading them
    a person has to see."""

    rows: list[OutboxRow]
    layouts: dict[int, Layout]
    is_end: bool
    notices: Sequence[OutboxNotice] = ()


class _Mark(NamedTuple):
    newest: int
    ended: int
    last: int


class Horizon:
    """Up to which id an outbox is settled. Pure."""

    def __init__(self) -> None:
        self.settled = 0
        self.oldest = 0
        """No row of a transaction with a lower number is above `settled`."""
        self._marks: list[_Mark] = []

    def needs_mark(self, newest: int) -> bool:
        """Whether something was given out that no mark covers yet; many marks suffice."""
        last = self._marks[-1].newest if self._marks else self.settled
        return newest > last and len(self._marks) < _MARKS

    def mark(self, newest: int, *, ended: int, last: int) -> None:
        """`newest` was the highest id given out when all transactions below `ended` had ended, and
        before the transaction `last` began."""
        self._marks.append(_Mark(newest, ended, last))

    def note(self, ended: int) -> None:
        """All transactions below `ended` have ended."""
        while self._marks and self._marks[0].last < ended:
            mark = self._marks.pop(0)
            self.settled, self.oldest = mark.newest, mark.ended
