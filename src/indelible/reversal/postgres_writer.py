"""Carrying a reversal out on PostgreSQL: in one transaction, in which nobody else writes the rows.

The tables that it concerns are locked against writers (they wait; readers go on), so that what was
decided holds until the commit. A lock that isn't there within seconds is given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from indelible.capture.postgres.connecting import connect, load_driver, said
from indelible.capture.postgres.install import sender_for
from indelible.capture.postgres.schema import read_schema
from indelible.errors import ReversalError
from indelible.events.context import Frame
from indelible.events.values import Id
from indelible.policy.model import Server
from indelible.reversal.live import LiveRows
from indelible.reversal.plan import Selection, plan_reversal
from indelible.reversal.postgres_rows import PostgresRows, postgres_tables
from indelible.reversal.server_rows import SentContext, ServerTables
from indelible.reversal.steps import Plan
from indelible.reversal.writing import carry_out_all

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_LOCK_MS: Final = 5_000


class PostgresDatabase:
    """The policy's server, as a reversal works on it. Every method raises `ReversalError`."""

    def __init__(self, server: Server, context_key: bytes, kind_of: Callable[[str], str]) -> None:
        self._server = server
        self._context_key = context_key
        self._kind_of = kind_of

    def plan(self, selection: Selection, *, force: bool) -> Plan:
        """The plan against the database as it is now; writes nothing."""
        with self._connected() as connection:
            tables = postgres_tables(read_schema(connection), self._kind_of)
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return plan_reversal(selection, PostgresRows(connection, tables), force=force)

    def apply(
        self,
        select: Callable[[], Selection],
        frame: Frame,
        before: Selection,
        *,
        force: bool,
        keep: bool = True,
    ) -> Plan:
        """Reverse what `select` gives, called once the tables of `before` are locked."""
        sender = sender_for(self._server, self._context_key)
        with self._connected() as connection:
            tables = postgres_tables(read_schema(connection), self._kind_of)
            with connection.transaction(force_rollback=not keep):
                _lock(connection, tables, {change.kind for change in before.changes})
                connection.execute("SET CONSTRAINTS ALL DEFERRED")
                selection = select()
                rows = PostgresRows(connection, tables)

                def plan(refused: Mapping[tuple[str, Id], str]) -> tuple[Plan, LiveRows]:
                    fresh = PostgresRows(connection, tables)
                    return plan_reversal(selection, fresh, force=force, refused=refused), fresh

                done = carry_out_all(
                    plan,
                    rows,
                    SentContext(sender, connection),
                    frame,
                    savepoint=lambda: connection.execute("SAVEPOINT reversal"),
                    roll_back=lambda: connection.execute("ROLLBACK TO SAVEPOINT reversal"),
                )
                if not keep:
                    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what a commit would check
                return done

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        driver = load_driver()
        with contextlib.closing(connect(self._server)) as connection:
            try:
                connection.execute("SET row_security = off")
                yield connection
            except driver.errors.LockNotAvailable:
                raise ReversalError(
                    "expected the tables to be free of writers for a moment, other transactions "
                    "hold them: end those that are idle, and try again"
                ) from None
            except driver.Error as error:
                raise ReversalError(
                    f"the database refused the reversal: {said(error, self._server)}"
                ) from None


def _lock(connection: Connection, tables: ServerTables, kinds: set[str]) -> None:
    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_MS}ms'")
    for name in tables.concerned_by(kinds):
        connection.execute(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
