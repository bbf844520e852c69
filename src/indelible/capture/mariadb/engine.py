"""Capture for SQLAlchemy 2 on MariaDB and MySQL (PyMySQL, mysqlclient, aiomysql)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine, event

from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.statements import ConnectionStatements, ServerCapture
from indelible.capture.mariadb.transaction import WritingTransaction
from indelible.capture.mariadb.wires import Wire
from indelible.capture.recording import CAPTURED
from indelible.capture.sqlalchemy_rows import Executing, is_pooled, read_through
from indelible.errors import CaptureError

_DRIVERS: Final = ("aiomysql", "mysqldb", "pymysql")
"""As SQLAlchemy calls them."""


def capture_engine(engine: Engine, trail: CaptureHost) -> None:
    """See `indelible.capture.sqlalchemy.capture`."""
    dialect = engine.dialect
    if dialect.driver not in _DRIVERS:
        raise CaptureError(
            f"expected MariaDB or MySQL through {', '.join(_DRIVERS)}, got {dialect.driver}"
        )
    captured = _EngineCapture(ServerCapture(trail), _wire_of(dialect.driver))
    setattr(dialect, CAPTURED, captured)
    event.listen(engine, "do_execute", captured.execute)
    event.listen(engine, "do_execute_no_params", captured.execute_without_parameters)
    event.listen(engine, "do_executemany", captured.execute_many)
    event.listen(engine, "after_cursor_execute", captured.after_statement)
    event.listen(engine, "handle_error", captured.failed)
    for ending in ("commit", "rollback", "prepare_twophase"):
        event.listen(engine, ending, captured.ends)
    event.listen(engine, "checkin", captured.check_in)
    event.listen(engine, "close", captured.closes)


def _wire_of(driver: str) -> Callable[[Any], Wire]:
    """How connections of a pool are asked. Raises `CaptureError` for a driver that can't be."""
    if driver != "mysqldb":
        return lambda pooled: Wire(pooled.dbapi_connection, pooled.driver_connection)
    from indelible.capture.mysqlclient_wire import MysqlclientWire

    return lambda pooled: MysqlclientWire(pooled.driver_connection)


class _EngineCapture(Executing):
    """The listeners of one engine (`recording.Recorders`)."""

    def __init__(self, server: ServerCapture, wire_of: Callable[[Any], Wire]) -> None:
        self._server = server
        self._wire_of = wire_of

    def run(
        self,
        text: str,
        parameters: Any,
        run: Callable[[str, Any], object],
        cursor: Any,
        context: Any,
        *,
        is_seen: bool = True,
    ) -> bool:
        """Who acts is told here, as what telling finds out of a broken connection is then the
        statement's error."""
        pooled = context._dbapi_connection
        if not is_pooled(pooled):  # SQLAlchemy's own questions to its first connection
            return False
        statements = self._statements(pooled)
        access = statements.run(text, parameters, run, is_seen=is_seen)
        if access is not None:
            read_through(access, statements.reads.schema_changed, cursor, context)
        return True

    def after_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        self._statements(connection.connection).ran()

    def failed(self, context: Any) -> None:
        connection = context.connection
        if connection is not None and not context.is_disconnect and not connection.invalidated:
            found: ConnectionStatements | None = connection.connection.info.get(CAPTURED)
            if found is not None:
                found.ran()

    def ends(self, connection: Any, *_: Any) -> None:
        found = None if connection.invalidated else connection.connection.info.get(CAPTURED)
        if found is not None:
            found.ends()

    def check_in(self, connection: Any, record: Any) -> None:
        found = record.info.get(CAPTURED) if record is not None else None
        if found is not None:
            found.check_in()
            if connection is not None:
                found.ends()

    def closes(self, connection: Any, record: Any) -> None:
        found = record.info.get(CAPTURED) if record is not None else None
        if found is not None:
            found.check_in()

    def recorder(self, pooled: Any) -> WritingTransaction:
        """See `recording.Recorders`."""
        return self._statements(pooled).transaction

    def _statements(self, pooled: Any) -> ConnectionStatements:
        found: ConnectionStatements | None = pooled.info.get(CAPTURED)
        if found is None:
            found = pooled.info[CAPTURED] = self._server.statements(self._wire_of(pooled))
        return found
