"""Capture for SQLAlchemy 2 on MariaDB and MySQL (PyMySQL, aiomysql)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Engine, event

from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.connecting import database_of
from indelible.capture.mariadb.context import ContextSender
from indelible.capture.mariadb.install import incarnation_of
from indelible.capture.mariadb.reads import ConnectionReads
from indelible.capture.mariadb.server_reads import ServerReads
from indelible.capture.mariadb.transaction import WritingTransaction
from indelible.capture.mariadb.verbs import ends_something, is_proven_read
from indelible.capture.mariadb.wires import Wire
from indelible.capture.recording import CAPTURED
from indelible.capture.senders import DatabaseSenders
from indelible.capture.sqlalchemy_rows import Executing, is_pooled, read_through
from indelible.errors import CaptureError
from indelible.events.context import current_frame

_DRIVERS: Final[Mapping[str, bool]] = {"pymysql": False, "aiomysql": True}
"""SQLAlchemy's names, and whether it is used asynchronously."""


def capture_engine(engine: Engine, trail: CaptureHost) -> None:
    """See `indelible.capture.sqlalchemy.capture`."""
    dialect = engine.dialect
    if dialect.driver not in _DRIVERS:
        raise CaptureError(
            f"expected MariaDB or MySQL through {', '.join(sorted(_DRIVERS))}, got {dialect.driver}"
        )
    server = trail.policy.server
    if server is None or not server.is_mariadb:
        raise CaptureError(
            "expected [database] url in indelible.toml to name the MariaDB or MySQL server, found "
            "none: its triggers are what captures writes"
        )
    database = database_of(server)
    senders = DatabaseSenders(
        trail,
        server,
        lambda: ContextSender(trail.context_key, incarnation_of(server), database),
    )
    captured = _EngineCapture(senders, ServerReads(trail, server), is_async=dialect.is_async)
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


class _Captured:
    """What is kept beside one connection of the pool."""

    __slots__ = ("reads", "transaction")

    def __init__(self, transaction: WritingTransaction, reads: ConnectionReads) -> None:
        self.transaction = transaction
        self.reads = reads


class _EngineCapture(Executing):
    """The listeners of one engine (`recording.Recorders`)."""

    def __init__(
        self, senders: DatabaseSenders[ContextSender], reads: ServerReads, *, is_async: bool
    ) -> None:
        self._senders = senders
        self._reads = reads
        self._is_async = is_async

    def run(
        self,
        text: str,
        parameters: Any,
        run: Callable[[str], object],
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
        captured = self._captured(pooled)
        transaction = captured.transaction
        if ends_something(text):
            transaction.end()
        elif not is_proven_read(text):
            transaction.before_write(current_frame())
        access = captured.reads.run(text, parameters, run, transaction.written, is_seen=is_seen)
        if access is not None:
            read_through(access, captured.reads.schema_changed, cursor, context)
        return True

    def after_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        self._captured(connection.connection).transaction.after_statement()

    def failed(self, context: Any) -> None:
        connection = context.connection
        if connection is not None and not context.is_disconnect and not connection.invalidated:
            found = connection.connection.info.get(CAPTURED)
            if found is not None:
                found.transaction.after_statement()

    def ends(self, connection: Any, *_: Any) -> None:
        found = None if connection.invalidated else connection.connection.info.get(CAPTURED)
        if found is not None:
            found.transaction.end()

    def check_in(self, connection: Any, record: Any) -> None:
        found = record.info.get(CAPTURED) if record is not None else None
        if found is not None:
            found.reads.check_in()
            if connection is not None:
                found.transaction.end()

    def closes(self, connection: Any, record: Any) -> None:
        found = record.info.get(CAPTURED) if record is not None else None
        if found is not None:
            found.reads.check_in()

    def recorder(self, pooled: Any) -> WritingTransaction:
        """See `recording.Recorders`."""
        return self._captured(pooled).transaction

    def _captured(self, pooled: Any) -> _Captured:
        found: _Captured | None = pooled.info.get(CAPTURED)
        if found is None:
            wire = Wire(pooled.dbapi_connection, pooled.driver_connection)
            transaction = WritingTransaction(wire, self._senders)
            found = pooled.info[CAPTURED] = _Captured(
                transaction, ConnectionReads(self._reads, wire)
            )
        return found
