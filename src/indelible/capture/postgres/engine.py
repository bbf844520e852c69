"""Capture for SQLAlchemy 2 on PostgreSQL (psycopg sync and async, asyncpg, psycopg2).

Unseen: reads on the driver's own connection, and what a statement that failed had read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Engine, event

from indelible.capture.host import CaptureHost
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.transaction import WritingTransaction
from indelible.capture.postgres.wires import (
    AsyncpgWire,
    AsyncPsycopgWire,
    Psycopg2Wire,
    PsycopgWire,
    Wire,
)
from indelible.capture.recording import CAPTURED
from indelible.capture.sqlalchemy_rows import Executing, is_pooled, read_through
from indelible.errors import CaptureError

_WIRES: Final[Mapping[tuple[str, bool], type[Wire]]] = {
    ("asyncpg", True): AsyncpgWire,
    ("psycopg", False): PsycopgWire,
    ("psycopg", True): AsyncPsycopgWire,
    ("psycopg2", False): Psycopg2Wire,
}
"""By SQLAlchemy's name of the driver, and whether it is used asynchronously."""
_ALONE: Final = "_indelible_alone"
_BROKEN: Final = "_indelible_broken"


def capture_engine(engine: Engine, trail: CaptureHost) -> None:
    """See `indelible.capture.sqlalchemy.capture`."""
    dialect = engine.dialect
    wire = _WIRES.get((dialect.driver, dialect.is_async))
    if wire is None:
        known = ", ".join(sorted({driver for driver, _ in _WIRES}))
        raise CaptureError(f"expected PostgreSQL through {known}, got {dialect.driver}")
    captured = _EngineCapture(ServerCapture(trail), wire)
    setattr(dialect, CAPTURED, captured)
    event.listen(engine, "before_cursor_execute", captured.before_statement)
    event.listen(engine, "do_execute", captured.execute)
    event.listen(engine, "do_execute_no_params", captured.execute_without_parameters)
    event.listen(engine, "do_executemany", captured.execute_many)
    event.listen(engine, "after_cursor_execute", captured.after_statement)
    event.listen(engine, "checkin", captured.check_in)
    event.listen(engine, "close", captured.check_in)
    event.listen(engine, "handle_error", captured.failed)
    event.listen(engine, "rollback_savepoint", captured.savepoint_rolled_back)


class _EngineCapture(Executing):
    """The listeners of one engine (`recording.Recorders`)."""

    def __init__(self, server: ServerCapture, wire: type[Wire]) -> None:
        self._server = server
        self._wire = wire

    def before_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        statements = self._statements(connection.connection)
        try:
            is_alone = statements.before(text)
        except BaseException as error:  # noqa: BLE001 - raised where it is the statement's own
            # What telling who acts found out of a connection that can't say it any more.
            setattr(context, _BROKEN, error)
        else:
            if is_alone:
                setattr(context, _ALONE, statements)

    def after_statement(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        statements = self._statements(connection.connection)
        statements.committed(is_alone=_take_alone(context) is not None)
        statements.after(text)

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
        broken: BaseException | None = getattr(context, _BROKEN, None)
        if broken is not None:
            raise broken
        pooled = context._dbapi_connection
        if not is_pooled(pooled):  # SQLAlchemy's own questions to its first connection
            return False
        statements = self._statements(pooled)
        access = statements.reads.run(
            text, parameters, run, statements.transaction.written, is_seen=is_seen
        )
        if access is not None:
            read_through(access, statements.reads.schema_changed, cursor, context)
        return True

    def check_in(self, connection: Any, record: Any) -> None:
        statements = record.info.get(CAPTURED) if record is not None else None
        if statements is not None:
            statements.check_in()

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
                self._wire(pooled.dbapi_connection, pooled.driver_connection)
            )
        return found


def _take_alone(context: Any) -> ConnectionStatements | None:
    """The connection on which a transaction was begun for this statement alone, once."""
    found: ConnectionStatements | None = getattr(context, _ALONE, None)
    if found is not None:
        setattr(context, _ALONE, None)
    return found
