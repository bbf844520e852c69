"""Capture for SQLAlchemy 2 on PostgreSQL (psycopg, sync and async).

The server's triggers see every write; here the open transaction is told who acts before the first
statement that isn't proven to only read, and again whenever somebody else does. Of a read the
statement is recorded, not yet which rows it handed out. Unseen: reads on the driver's own
connection, what a statement that failed had read, and a result that is never fetched counts.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, event

from indelible.capture.host import CaptureHost
from indelible.capture.postgres.reads import StatementReads
from indelible.capture.postgres.senders import DatabaseSenders
from indelible.capture.postgres.transaction import WritingTransaction
from indelible.capture.postgres.verbs import ends_something, is_proven_read
from indelible.capture.recording import CAPTURED
from indelible.errors import CaptureError
from indelible.events.context import current_frame
from indelible.policy.model import Server

_ALONE: Final = "_indelible_alone"


def capture_engine(engine: Engine, trail: CaptureHost) -> None:
    """See `indelible.capture.sqlalchemy.capture`."""
    server = trail.policy.server
    if server is None:
        raise CaptureError(
            "expected [database] url in indelible.toml to name the PostgreSQL server, found none: "
            "its triggers are what captures writes"
        )
    captured = _EngineCapture(trail, server)
    setattr(engine.dialect, CAPTURED, captured)
    event.listen(engine, "before_cursor_execute", captured.before_statement)
    event.listen(engine, "after_cursor_execute", captured.after_statement)
    event.listen(engine, "checkin", captured.check_in)
    event.listen(engine, "handle_error", captured.failed)
    event.listen(engine, "rollback_savepoint", captured.savepoint_rolled_back)


class _EngineCapture:
    """The listeners of one engine (`recording.Recorders`)."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self._senders = DatabaseSenders(trail, server)
        self._reads = StatementReads(trail, server)

    def before_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        transaction = self.recorder(connection.connection)
        transaction.notice_end()
        if is_proven_read(text):
            return
        frame = current_frame()
        if transaction.begin_alone(text, frame):
            setattr(context, _ALONE, transaction)
        else:
            transaction.before_write(frame)

    def after_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        transaction = self.recorder(connection.connection)
        if getattr(context, _ALONE, None) is not None:
            setattr(context, _ALONE, None)
            transaction.end_alone()
        self._reads.record(text, current_frame(), transaction.written)
        if ends_something(text):
            transaction.forget(is_over=";" in text)

    def check_in(self, connection: Any, record: Any) -> None:
        self._reads.check_in()

    def failed(self, context: Any) -> None:
        """A statement failed: so did the transaction that was begun for it alone."""
        alone = getattr(context.execution_context, _ALONE, None)
        if alone is not None:
            setattr(context.execution_context, _ALONE, None)
            alone.end_alone(is_failed=True)

    def savepoint_rolled_back(self, connection: Any, name: str, context: Any) -> None:
        self.recorder(connection.connection).forget()

    def recorder(self, pooled: Any) -> WritingTransaction:
        """See `recording.Recorders`."""
        found: WritingTransaction | None = pooled.info.get(CAPTURED)
        if found is None:
            found = pooled.info[CAPTURED] = WritingTransaction(
                pooled.dbapi_connection, pooled.driver_connection, self._senders
            )
        return found
