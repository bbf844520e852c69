"""Capture for SQLAlchemy 2 on PostgreSQL (psycopg, sync and async).

Unseen: reads on the driver's own connection, what a statement that failed had read; a result that
is never fetched counts.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, event

from indelible.capture.host import CaptureHost
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.transaction import WritingTransaction
from indelible.capture.recording import CAPTURED

_ALONE: Final = "_indelible_alone"


def capture_engine(engine: Engine, trail: CaptureHost) -> None:
    """See `indelible.capture.sqlalchemy.capture`."""
    captured = _EngineCapture(ServerCapture(trail))
    setattr(engine.dialect, CAPTURED, captured)
    event.listen(engine, "before_cursor_execute", captured.before_statement)
    event.listen(engine, "after_cursor_execute", captured.after_statement)
    event.listen(engine, "checkin", captured.check_in)
    event.listen(engine, "handle_error", captured.failed)
    event.listen(engine, "rollback_savepoint", captured.savepoint_rolled_back)


class _EngineCapture:
    """The listeners of one engine (`recording.Recorders`)."""

    def __init__(self, server: ServerCapture) -> None:
        self._server = server

    def before_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        statements = self._statements(connection.connection)
        if statements.before(text):
            setattr(context, _ALONE, statements)

    def after_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        statements = self._statements(connection.connection)
        statements.committed(is_alone=_take_alone(context) is not None)
        statements.after(text)

    def check_in(self, connection: Any, record: Any) -> None:
        self._server.reads.check_in()

    def failed(self, context: Any) -> None:
        alone = _take_alone(context.execution_context)
        if alone is not None:
            alone.failed(is_alone=True)

    def savepoint_rolled_back(self, connection: Any, name: str, context: Any) -> None:
        self.recorder(connection.connection).forget()

    def recorder(self, pooled: Any) -> WritingTransaction:
        """See `recording.Recorders`."""
        return self._statements(pooled).transaction

    def _statements(self, pooled: Any) -> ConnectionStatements:
        found: ConnectionStatements | None = pooled.info.get(CAPTURED)
        if found is None:
            found = pooled.info[CAPTURED] = self._server.statements(
                pooled.dbapi_connection, pooled.driver_connection
            )
        return found


def _take_alone(context: Any) -> ConnectionStatements | None:
    """The connection on which a transaction was begun for this statement alone, once."""
    found: ConnectionStatements | None = getattr(context, _ALONE, None)
    if found is not None:
        setattr(context, _ALONE, None)
    return found
