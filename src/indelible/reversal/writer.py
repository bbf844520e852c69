"""Carrying a reversal out on SQLite: in one transaction, decided again under its lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Protocol

import msgspec

from indelible.capture.sqlite_names import quote_name
from indelible.errors import ReversalError
from indelible.events.context import Frame
from indelible.events.values import Id, Native
from indelible.reversal.live import LiveRows, TableShape
from indelible.reversal.plan import Selection, plan_reversal
from indelible.reversal.sqlite_rows import (
    KindOf,
    SqliteRows,
    bind,
    match,
    query,
    read_row,
    statements,
)
from indelible.reversal.steps import ColumnStep, Plan, Step


class WriteContext(Protocol):
    """How capture is told whose the next statement is; `indelible.capture` supplies it."""

    def enter(self, frame: Frame | None, *, reverses: tuple[str, ...] = ()) -> None:
        """Writes from here on are of `frame`, and reverse these events."""

    def leave(self) -> None:
        """That statement is over."""

    def ended(self) -> None:
        """The transaction was committed or rolled back."""


def plan_on(
    database: object, selection: Selection, *, kind_of: KindOf, force: bool = False
) -> Plan:
    """The plan against `database` as it is now (see `apply_reversal`); writes nothing."""
    with borrowed(database) as connection:
        return plan_reversal(selection, SqliteRows(connection, kind_of), force=force)


def apply_reversal(
    database: object,
    select: Callable[[sqlite3.Connection], Selection],
    *,
    kind_of: KindOf,
    context_of: Callable[[sqlite3.Connection], WriteContext],
    frame: Frame | None,
    force: bool = False,
) -> Plan:
    """Reverse what `select` gives, as far as it can be; returns the plan that was carried out.

    `select` is called once the write lock is held: what it gives should include the changes that
    still wait in the outbox, so that nothing that happened before is missed. `database` is a
    `sqlite3.Connection`, or SQLAlchemy's `Connection` or `Engine` on one, outside of a transaction.

    Everything happens in one transaction that holds the write lock from its start: each row is read
    and decided again, restored, captured as `frame`'s change that `reverses` the events, and
    compared with its intent before the commit. A column that a trigger of the application made
    something else is written once more; if that doesn't hold either, all is rolled back. So is it
    after a crash. What the database refuses (a CHECK, a partial index, a trigger) is a conflict in
    the plan that is returned.

    Applying twice changes nothing more: what was reversed is found in the trail or in the outbox.
    Raises `ReversalError`; the database is then as it was.
    """
    with borrowed(database) as connection:
        if connection.in_transaction:
            raise ReversalError(
                "expected a connection outside of a transaction, got one inside: commit it first"
            )
        context = context_of(connection)
        with _transaction(connection, context):
            selection = select(connection)
            refused: dict[tuple[str, Id], str] = {}
            while True:
                rows = SqliteRows(connection, kind_of)
                plan = plan_reversal(selection, rows, force=force, refused=refused)
                writing = _Writing(connection, rows, context, frame)
                _run(connection, "SAVEPOINT reversal")
                try:
                    writing.carry_out(plan.restorable)
                except _RefusedError as refusal:
                    # What was written so far may depend on the refused step: plan again without.
                    _run(connection, "ROLLBACK TO reversal")
                    refused[refusal.step.kind, refusal.step.id] = str(refusal.__cause__)
                else:
                    return plan


@contextmanager
def borrowed(database: object) -> Iterator[sqlite3.Connection]:
    """The driver's connection under `database`, given back afterwards. Raises `ReversalError`."""
    if isinstance(database, sqlite3.Connection):
        yield database
        return
    check_out = getattr(database, "raw_connection", None)
    proxy = check_out() if check_out is not None else getattr(database, "connection", None)
    driver = getattr(proxy, "driver_connection", None)
    try:
        if not isinstance(driver, sqlite3.Connection):
            raise ReversalError(
                "expected a sqlite3.Connection, or a SQLAlchemy Connection or Engine on pysqlite, "
                f"got {type(database).__module__}.{type(database).__qualname__}"
            )
        yield driver
    finally:
        if check_out is not None and proxy is not None:
            proxy.close()


class _RefusedError(Exception):
    """The database refused one step; why is its cause."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step


class _Writing:
    """The steps of one plan, written through one connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rows: LiveRows,
        context: WriteContext,
        frame: Frame | None,
    ) -> None:
        self._connection = connection
        self._shapes = rows.shapes
        self._context = context
        self._frame = frame
        self._kept: frozenset[tuple[str, Id]] = frozenset()

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Write every step, then see that each came out as it was meant."""
        self._kept = frozenset(
            (step.kind, _id_after(step, self._shapes[step.kind]))
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
            self._write(msgspec.structs.replace(step, id=_id_after(step, shape)))
        if wrong:
            self._check(steps)

    def _check_is_free(self, step: Step) -> None:
        """A row to be inserted must never be written over another: raises `_RefusedError`."""
        if step.verb == "insert":
            live = read_row(self._connection, self._shapes[step.kind], step.id)
            if live is not None and self._differences(step):
                raise _RefusedError(step) from ReversalError("its key is taken")

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
        live = read_row(self._connection, shape, _id_after(step, shape))
        if step.verb == "delete":
            # Its key may be that of another row again, whose own step sees to it.
            return [] if live is None or (step.kind, step.id) in self._kept else ["the row"]
        if live is None:
            return ["the row"]
        return [one.column for one in step.restored if live.get(one.column) != one.goal]

    def _write(self, step: Step, reverses: tuple[str, ...] | None = None) -> None:
        """Write what of the step isn't so yet: a trigger may have been there first."""
        shape = self._shapes[step.kind]
        text, parameters = self._statement(step, shape)
        if not text:
            return
        self._context.enter(self._frame, reverses=reverses or step.reverses)
        try:
            _run(self._connection, text, parameters)
        except sqlite3.IntegrityError as error:
            raise _RefusedError(step) from error
        finally:
            self._context.leave()

    def _statement(self, step: Step, shape: TableShape) -> tuple[str, list[Native]]:
        table = quote_name(shape.table)
        at = step.id
        live = read_row(self._connection, shape, at)
        if step.verb == "update" and live is None:
            at = _id_after(step, shape)
            live = read_row(self._connection, shape, at)
        where, key = match(shape.key, at)
        if step.verb == "delete":
            return (f"DELETE FROM {table} WHERE {where}", key) if live is not None else ("", [])
        columns = [one for one in step.restored if live is None or live[one.column] != one.goal]
        if not columns or (step.verb == "update" and live is None):
            return "", []
        names = [one.column for one in columns]
        bound = [bind(one.goal) for one in columns]
        if live is None:
            if shape.keyless:
                names += shape.key
                bound += [bind(value) for value in step.id]
            # OR ABORT: the table's own conflict clause might delete others' rows instead.
            listed = ", ".join(quote_name(name) for name in names)
            values = ", ".join(placeholder for placeholder, _ in bound)
            text = f"INSERT OR ABORT INTO {table} ({listed}) VALUES ({values})"
            return text, [parameter for _, parameter in bound]
        pairs = zip(names, bound, strict=True)
        settings = ", ".join(f"{quote_name(name)} = {place}" for name, (place, _) in pairs)
        text = f"UPDATE OR ABORT {table} SET {settings} WHERE {where}"
        return text, [parameter for _, parameter in bound] + key


def _id_after(step: Step, shape: TableShape) -> Id:
    """The row's key once the step is carried out."""
    goals = {one.column: one.goal for one in step.restored}
    return tuple(goals.get(name, value) for name, value in zip(shape.key, step.id, strict=True))


@contextmanager
def _transaction(connection: sqlite3.Connection, context: WriteContext) -> Iterator[None]:
    """All or nothing, with the write lock from the start and foreign keys checked at the end."""
    try:
        _run(connection, "BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise ReversalError(f"expected to lock the database for writing: {error}") from error
    try:
        _run(connection, "PRAGMA defer_foreign_keys = ON")
        yield
        try:
            _run(connection, "COMMIT")
        except sqlite3.IntegrityError as error:
            broken = query(connection, statements()["broken_foreign_keys"])
            named = ", ".join(f"{table!s} to {parent!s}" for table, parent in broken)
            raise ReversalError(f"foreign keys would be broken: {named or error}") from error
    except sqlite3.Error as error:
        raise ReversalError(f"the database refused the reversal: {error}") from error
    finally:
        if connection.in_transaction:
            _run(connection, "ROLLBACK")
        context.ended()


def _run(connection: sqlite3.Connection, text: str, parameters: Sequence[Native] = ()) -> None:
    # The driver's own cursor: capture's would take the frame without `reverses`.
    cursor = sqlite3.Cursor(connection)
    try:
        cursor.execute(text, parameters)
    finally:
        cursor.close()
