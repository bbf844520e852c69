"""Capture for SQLAlchemy 2 on PostgreSQL (psycopg, sync and async).

The server's triggers see every write; here the open transaction is told who acts before the first
statement that isn't proven to only read, and again whenever somebody else does. Of a read the
statement is recorded, not yet which rows it handed out. Unseen: reads on the driver's own
connection, what a statement that failed had read, and a result that is never fetched counts.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from sqlalchemy import Engine, event

from indelible.capture.host import CaptureHost
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.install import incarnation_of
from indelible.capture.postgres.reads import StatementReads
from indelible.capture.postgres.transaction import WritingTransaction
from indelible.capture.postgres.verbs import ends_something, is_proven_read
from indelible.capture.recording import CAPTURED
from indelible.errors import CaptureError, IndelibleError, NotInstalledError
from indelible.events.context import current_frame
from indelible.policy.model import Server

_ALONE: Final = "_indelible_alone"
_ASK_AGAIN_S: Final = 5.0


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
            found = pooled.info[CAPTURED] = WritingTransaction(pooled, self._senders)
        return found


class DatabaseSenders:
    """The sender of one database, found out when it is first needed. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self._trail = trail
        self._server = server
        self._asking = threading.Lock()
        self._sender: ContextSender | None = None
        self._asked_s = float("-inf")
        self._has_noticed = False

    def sender(self) -> ContextSender | None:
        """See `transaction.Senders`."""
        if self._sender is None:
            with self._asking:
                if self._sender is None and time.monotonic() - self._asked_s > _ASK_AGAIN_S:
                    self._sender = self._ask()
                    self._asked_s = time.monotonic()
        return self._sender

    def _ask(self) -> ContextSender | None:
        try:
            return ContextSender(self._trail.context_key, incarnation_of(self._server))
        except NotInstalledError:
            self._notice("writes aren't captured: run `indelible install`")
        except IndelibleError as problem:
            self._notice(f"changes have no actor: {problem}")
        return None

    def _notice(self, message: str) -> None:
        if not self._has_noticed:
            self._has_noticed = True
            self._trail.notice("capture.not_installed", message, database=str(self._server))
