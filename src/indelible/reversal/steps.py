"""What a plan consists of: for each row what would be done, or why it is left alone."""

from __future__ import annotations

from typing import Literal

import msgspec

from indelible.events.model import Actor, Timestamp
from indelible.events.values import Id, Value, format_id
from indelible.questions.row_change import Position, RowChange

Decision = Literal["restore", "already so", "conflict"]
Verb = Literal["insert", "update", "delete"]


class Blame(msgspec.Struct, frozen=True):
    """The change that stands in the way, and who made it."""

    actor: Actor | None
    event: str
    time: Timestamp

    def __str__(self) -> str:
        return f"by {self.actor or 'nobody known'} at {self.time} ({self.event})"


class ColumnStep(msgspec.Struct, frozen=True, kw_only=True):
    """One column: it is `live`; reversing `events` makes it `goal`."""

    column: str
    decision: Decision
    live: Value
    goal: Value
    events: tuple[str, ...] = ()
    why: str | None = None
    by: Blame | None = None

    def __repr__(self) -> str:
        return f"ColumnStep({self.column!r}, {self.decision!r})"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a row, undone by itself: the row is at `id` when its turn comes."""

    at: Position
    event: str
    verb: Verb
    id: Id
    columns: dict[str, Value] = {}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `verb` is what reversing it means: `delete` what was inserted, and so on.

    `id` is its key now, or the one that it is to have again where it is inserted. `decision` is
    `restore` as soon as one column is restored. `why` and `by` are of a conflict of the whole row.
    `events` are the selected ones that touched the row, `undone` those that a `delete` or an
    `insert` reverses; `at` is the change whose place in the order (latest first) the step takes.
    `pieces` are the same change by change, where nobody else's came between; `unwound` steps are
    carried out in that way, because in one go they would stand in each other's way.
    """

    kind: str
    id: Id
    verb: Verb
    decision: Decision
    columns: tuple[ColumnStep, ...]
    events: tuple[str, ...]
    at: Position
    undone: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    unwound: bool = False
    why: str | None = None
    by: Blame | None = None

    @property
    def target_text(self) -> str:
        return f"{self.kind}:{format_id(self.id)}"

    @property
    def restored(self) -> tuple[ColumnStep, ...]:
        """The columns that this step writes."""
        if self.decision != "restore":
            return ()
        return tuple(column for column in self.columns if column.decision == "restore")

    @property
    def reverses(self) -> tuple[str, ...]:
        """The events that are reversed once this step is carried out."""
        if self.verb != "update":
            return self.undone if self.decision == "restore" else ()
        events = (event for column in self.restored for event in column.events)
        return tuple(dict.fromkeys(events))

    @property
    def has_conflict(self) -> bool:
        return self.decision == "conflict" or any(
            column.decision == "conflict" for column in self.columns
        )

    def __str__(self) -> str:
        lines = [f"{self.decision}: {self.verb} {self.target_text}{_reason(self.why, self.by)}"]
        lines += [
            f"  {column.decision}: {column.column}{_reason(column.why, column.by)}"
            for column in self.columns
            if self.verb == "update"
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Step({self.verb!r}, {self.target_text!r}, {self.decision!r})"


class Unplanned(msgspec.Struct, frozen=True, kw_only=True):
    """A selected event that no step can reverse, and why: it stated no row and values."""

    event: str
    time: Timestamp
    action: str
    why: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a reversal would do: `steps` in the order in which they are carried out.

    It was true of the database when it was made; applying it decides each row again.
    """

    steps: tuple[Step, ...] = ()
    unplanned: tuple[Unplanned, ...] = ()
    force: bool = False

    @property
    def restorable(self) -> tuple[Step, ...]:
        """Steps that write something."""
        return tuple(step for step in self.steps if step.decision == "restore")

    @property
    def already_so(self) -> tuple[Step, ...]:
        """Rows that are as they would be."""
        return tuple(step for step in self.steps if step.decision == "already so")

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """Rows that are left alone, in whole or in some column."""
        return tuple(step for step in self.steps if step.has_conflict)

    def __str__(self) -> str:
        lines = [str(step) for step in self.steps]
        lines += [
            f"can't be reversed: {one.action} ({one.event}): {one.why}" for one in self.unplanned
        ]
        return "\n".join(lines) or "nothing to reverse"

    def __repr__(self) -> str:
        return (
            f"Plan({len(self.restorable)} restorable, {len(self.already_so)} already so, "
            f"{len(self.conflicts)} with conflicts, {len(self.unplanned)} unplanned)"
        )


def blame(change: RowChange | None) -> Blame | None:
    """The blame for `change`; None where there is nobody to blame."""
    return None if change is None else Blame(change.actor, change.event, change.time)


def _reason(why: str | None, by: Blame | None) -> str:
    return (f": {why}" if why else "") + (f" {by}" if by else "")
