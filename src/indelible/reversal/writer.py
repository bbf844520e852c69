"""Carrying a reversal out on SQLite: in one transaction, decided again under its lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from indelible.capture.sqlite_names import quote_name
from indelible.errors import ReversalError
from indelible.events.context import Frame
from indelible.events.values import Id, Native, Value
from indelible.reversal.live import LiveRows, Row, TableShape
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
from indelible.reversal.steps import Plan
from indelible.reversal.writing import Refusal, WriteContext, carry_out_all


class SqliteContext(WriteContext, Protocol):
    """The context of the connection that is written through."""

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
    context_of: Callable[[sqlite3.Connection], SqliteContext],
    frame: Frame | None,
    force: bool = False,
    keep: bool = True,
) -> Plan:
    """Reverse what `select` gives, as far as it can be; returns the plan that was carried out.

    Without `keep` it is all rolled back once it is known that it could be committed.

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
        with _transaction(connection, context, keep=keep):
            selection = select(connection)

            def plan(refused: Mapping[tuple[str, Id], str]) -> tuple[Plan, LiveRows]:
                rows = SqliteRows(connection, kind_of)
                return plan_reversal(selection, rows, force=force, refused=refused), rows

            return carry_out_all(
                plan,
                _SqliteStore(connection),
                context,
                frame,
                savepoint=lambda: _run(connection, "SAVEPOINT reversal"),
                roll_back=lambda: _run(connection, "ROLLBACK TO reversal"),
            )


class _SqliteStore:
    """`writing.RowStore` over one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self, shape: TableShape, row_id: Id) -> Row | None:
        return read_row(self._connection, shape, row_id)

    def insert(self, shape: TableShape, values: Mapping[str, Value]) -> None:
        bound = [bind(value) for value in values.values()]
        listed = ", ".join(map(quote_name, values))
        places = ", ".join(place for place, _ in bound)
        # OR ABORT: the table's own conflict clause might delete others' rows instead.
        text = f"INSERT OR ABORT INTO {quote_name(shape.table)} ({listed}) VALUES ({places})"
        self._write(text, [parameter for _, parameter in bound])

    def update(self, shape: TableShape, row_id: Id, values: Mapping[str, Value]) -> None:
        bound = [bind(value) for value in values.values()]
        pairs = zip(values, bound, strict=True)
        settings = ", ".join(f"{quote_name(name)} = {place}" for name, (place, _) in pairs)
        where, key = match(shape.key, row_id)
        text = f"UPDATE OR ABORT {quote_name(shape.table)} SET {settings} WHERE {where}"
        self._write(text, [parameter for _, parameter in bound] + key)

    def delete(self, shape: TableShape, row_id: Id) -> None:
        where, key = match(shape.key, row_id)
        self._write(f"DELETE FROM {quote_name(shape.table)} WHERE {where}", key)

    def _write(self, text: str, parameters: Sequence[Native]) -> None:
        try:
            _run(self._connection, text, parameters)
        except sqlite3.IntegrityError as error:
            raise Refusal(str(error)) from error


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


@contextmanager
def _transaction(
    connection: sqlite3.Connection, context: SqliteContext, *, keep: bool
) -> Iterator[None]:
    """All or nothing, with the write lock from the start and foreign keys checked at the end."""
    try:
        _run(connection, "BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise ReversalError(f"expected to lock the database for writing: {error}") from error
    try:
        _run(connection, "PRAGMA defer_foreign_keys = ON")
        yield
        if not keep:
            _check_foreign_keys(connection)
            return
        try:
            _run(connection, "COMMIT")
        except sqlite3.IntegrityError:
            _check_foreign_keys(connection)
            raise
    except sqlite3.Error as error:
        raise ReversalError(f"the database refused the reversal: {error}") from error
    finally:
        if connection.in_transaction:
            _run(connection, "ROLLBACK")
        context.ended()


def _check_foreign_keys(connection: sqlite3.Connection) -> None:
    broken = query(connection, statements()["broken_foreign_keys"])
    if broken:
        named = ", ".join(f"{table!s} to {parent!s}" for table, parent in broken)
        raise ReversalError(f"foreign keys would be broken: {named}")


def _run(connection: sqlite3.Connection, text: str, parameters: Sequence[Native] = ()) -> None:
    # The driver's own cursor: capture's would take the frame without `reverses`.
    cursor = sqlite3.Cursor(connection)
    try:
        cursor.execute(text, parameters)
    finally:
        cursor.close()
