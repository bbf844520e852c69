"""Carrying a reversal out on MariaDB or MySQL: in one transaction, in which nobody else writes.

The rows that it concerns are locked, and every row that decides something, so that what was decided
holds until the commit. A lock that isn't there within seconds is given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from indelible.capture.mariadb.connecting import (
    Connection,
    connect,
    database_of,
    load_driver,
    number_of,
    said,
)
from indelible.capture.mariadb.context import ContextSender
from indelible.capture.mariadb.install import incarnation_of
from indelible.capture.mariadb.schema import read_schema
from indelible.errors import ReversalError
from indelible.events.context import Frame
from indelible.events.values import Id
from indelible.policy.model import Server
from indelible.reversal.live import LiveRows
from indelible.reversal.mariadb_rows import MariadbRows, mariadb_tables
from indelible.reversal.plan import Selection, plan_reversal
from indelible.reversal.server_rows import SentContext, ServerTables
from indelible.reversal.steps import Plan
from indelible.reversal.writing import carry_out_all

_LOCK_S: Final = 5
_NOT_AVAILABLE: Final = {1205, 1213}


class MariadbDatabase:
    """The policy's server, as a reversal works on it. Every method raises `ReversalError`."""

    def __init__(self, server: Server, context_key: bytes, kind_of: Callable[[str], str]) -> None:
        self._server = server
        self._context_key = context_key
        self._kind_of = kind_of

    def plan(self, selection: Selection, *, force: bool) -> Plan:
        """The plan against the database as it is now; writes nothing."""
        with self._connected() as connection, connection.cursor() as cursor:
            tables = self._tables(connection)
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            rows = MariadbRows(connection, self._server, tables)
            return plan_reversal(selection, rows, force=force)

    def apply(
        self,
        select: Callable[[], Selection],
        frame: Frame,
        before: Selection,
        *,
        force: bool,
        keep: bool = True,
    ) -> Plan:
        """Reverse what `select` gives, called once the rows of `before` are locked."""
        database = database_of(self._server)
        sender = ContextSender(self._context_key, incarnation_of(self._server), database)
        with self._connected() as connection, connection.cursor() as cursor:
            tables = self._tables(connection)
            cursor.execute(
                "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', "
                f"innodb_lock_wait_timeout = {_LOCK_S}"
            )
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION")
            rows = MariadbRows(connection, self._server, tables, locks=True)
            for kind, row_id in sorted(_rows_of(before), key=repr):
                if kind in tables.shapes:
                    rows.row(kind, row_id)
            selection = select()

            def plan(refused: Mapping[tuple[str, Id], str]) -> tuple[Plan, LiveRows]:
                fresh = MariadbRows(connection, self._server, tables, locks=True)
                return plan_reversal(selection, fresh, force=force, refused=refused), fresh

            done = carry_out_all(
                plan,
                rows,
                SentContext(sender, connection),
                frame,
                savepoint=lambda: cursor.execute("SAVEPOINT reversal"),
                roll_back=lambda: cursor.execute("ROLLBACK TO SAVEPOINT reversal"),
            )
            if keep:
                connection.commit()
            else:
                connection.rollback()
            return done

    def _tables(self, connection: Connection) -> ServerTables:
        schema = read_schema(connection, database_of(self._server))
        return mariadb_tables(schema, self._kind_of)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        # What wasn't committed when it is closed never was.
        with contextlib.closing(connect(self._server)) as connection:
            try:
                yield connection
            except load_driver().Error as error:
                if number_of(error) in _NOT_AVAILABLE:
                    raise ReversalError(
                        "expected the rows to be free for a moment, other transactions hold them: "
                        "end those that are idle, and try again"
                    ) from None
                raise ReversalError(
                    f"the database refused the reversal: {said(error, self._server)}"
                ) from None


def _rows_of(selection: Selection) -> set[tuple[str, Id]]:
    return {
        (change.kind, row_id)
        for change in selection.changes
        for row_id in (change.id, change.id_before)
    }
