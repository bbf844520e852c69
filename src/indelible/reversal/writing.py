"""Writing a plan's steps into a database, whichever it is, and seeing that they came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Protocol

import msgspec

from indelible.errors import ReversalError
from indelible.events.context import Frame
from indelible.events.values import Id, Value
from indelible.reversal.live import LiveRows, Row, TableShape
from indelible.reversal.steps import ColumnStep, Plan, Step


class WriteContext(Protocol):
    """How capture is told whose the next statement is; `indelible.capture` supplies it."""

    def enter(self, frame: Frame | None, *, reverses: tuple[str, ...] = ()) -> None:
        """Writes from here on are of `frame`, and reverse these events."""

    def leave(self) -> None:
        """That statement is over."""


class RowStore(Protocol):
    """Rows of one database, in its open transaction. Writing raises `Refusal`."""

    def read(self, shape: TableShape, row_id: Id) -> Row | None:
        """The row's writable columns as they are now; None where there is none."""

    def insert(self, shape: TableShape, values: Mapping[str, Value]) -> None:
        """Write a row of these columns, over no other."""

    def update(self, shape: TableShape, row_id: Id, values: Mapping[str, Value]) -> None:
        """Give these columns of the row these values."""

    def delete(self, shape: TableShape, row_id: Id) -> None:
        """Take the row away."""


class Refusal(Exception):
    """The database refused to write one row: a constraint, a trigger of the application."""


class RefusedError(Exception):
    """The database refused one step; why is its cause."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step


def carry_out_all(
    plan: Callable[[Mapping[tuple[str, Id], str]], tuple[Plan, LiveRows]],
    store: RowStore,
    context: WriteContext,
    frame: Frame | None,
    *,
    savepoint: Callable[[], object],
    roll_back: Callable[[], object],
) -> Plan:
    """Plan, and write what can be; returns the plan that was carried out.

    `plan` is called again, with what the database refused and why, after `roll_back` to the
    `savepoint`. Raises `ReversalError`.
    """
    refused: dict[tuple[str, Id], str] = {}
    while True:
        planned, rows = plan(refused)
        writing = Writing(store, rows, context, frame)
        savepoint()
        try:
            writing.carry_out(planned.restorable)
        except RefusedError as refusal:
            # What was written so far may depend on the refused step: plan again without.
            roll_back()
            refused[refusal.step.kind, refusal.step.id] = str(refusal.__cause__)
        else:
            return planned


class Writing:
    """The steps of one plan, written into one store."""

    def __init__(
        self, store: RowStore, rows: LiveRows, context: WriteContext, frame: Frame | None
    ) -> None:
        self._store = store
        self._shapes = rows.shapes
        self._context = context
        self._frame = frame
        self._kept: frozenset[tuple[str, Id]] = frozenset()

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Write every step, then see that each came out as it was meant."""
        self._kept = frozenset(
            (step.kind, id_after(step, self._shapes[step.kind]))
            for step in steps
            if step.verb != "delete"
        )
        for unwound, group in groupby(steps, key=lambda step: step.unwound):
            if unwound:
                self._unwind(list(group))
            else:
                for step in group:
                    self._check_is_free(step)
                    self._write(step)
        wrong = [step for step in steps if self._differences(step)]
        for step in wrong:
            shape = self._shapes[step.kind]
            self._write(msgspec.structs.replace(step, id=id_after(step, shape)))
        if wrong:
            self._check(steps)

    def _check_is_free(self, step: Step) -> None:
        """A row to be inserted must never be written over another: raises `RefusedError`."""
        if step.verb == "insert":
            live = self._store.read(self._shapes[step.kind], step.id)
            if live is not None and self._differences(step):
                raise RefusedError(step) from ReversalError("its key is taken")

    def _unwind(self, steps: Sequence[Step]) -> None:
        """Undo the changes of these rows one by one, latest first, as they were made."""
        pieces = [(step, piece) for step in steps for piece in step.pieces]
        for step, piece in sorted(pieces, key=lambda pair: pair[1].at, reverse=True):
            columns = tuple(
                ColumnStep(column=name, decision="restore", live=None, goal=value)
                for name, value in piece.columns.items()
            )
            one = msgspec.structs.replace(
                step, id=piece.id, verb=piece.verb, columns=columns, undone=(piece.event,)
            )
            self._write(one, reverses=(piece.event,))

    def _check(self, steps: Sequence[Step]) -> None:
        wrong = [(step, self._differences(step)) for step in steps]
        named = [
            f"{step.target_text} ({', '.join(names) or 'the row'})"
            for step, names in wrong
            if names
        ]
        if named:
            raise ReversalError(
                "expected these to be as planned after writing them twice, and they aren't; "
                f"a trigger of the application changes them: {'; '.join(named)}"
            )

    def _differences(self, step: Step) -> list[str]:
        """What isn't as the step means it to be: columns, or the row itself."""
        shape = self._shapes[step.kind]
        live = self._store.read(shape, id_after(step, shape))
        if step.verb == "delete":
            # Its key may be that of another row again, whose own step sees to it.
            return [] if live is None or (step.kind, step.id) in self._kept else ["the row"]
        if live is None:
            return ["the row"]
        return [one.column for one in step.restored if live.get(one.column) != one.goal]

    def _write(self, step: Step, reverses: tuple[str, ...] | None = None) -> None:
        """Write what of the step isn't so yet: a trigger may have been there first."""
        shape = self._shapes[step.kind]
        write = self._writer(step, shape)
        if write is None:
            return
        self._context.enter(self._frame, reverses=reverses or step.reverses)
        try:
            write()
        except Refusal as refusal:
            raise RefusedError(step) from refusal
        finally:
            self._context.leave()

    def _writer(self, step: Step, shape: TableShape) -> Callable[[], None] | None:
        store = self._store
        at = step.id
        live = store.read(shape, at)
        if step.verb == "update" and live is None:
            at = id_after(step, shape)
            live = store.read(shape, at)
        if step.verb == "delete":
            return (lambda: store.delete(shape, at)) if live is not None else None
        values = {
            one.column: one.goal
            for one in step.restored
            if live is None or live[one.column] != one.goal
        }
        if not values or (step.verb == "update" and live is None):
            return None
        if live is None:
            if shape.keyless:
                values.update(zip(shape.key, step.id, strict=True))
            return lambda: store.insert(shape, values)
        return lambda: store.update(shape, at, values)


def id_after(step: Step, shape: TableShape) -> Id:
    """The row's key once the step is carried out."""
    goals = {one.column: one.goal for one in step.restored}
    return tuple(goals.get(name, value) for name, value in zip(shape.key, step.id, strict=True))
