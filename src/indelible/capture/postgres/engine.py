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


def capture_engine(engine: Engine, trail: CaptureHost) -> None:
    """See `indelible.capture.sqlalchemy.capture`."""
    dialect = engine.dialect
    wire = _WIRES.get((dialect.driver, dialect.is_async))
    if wire is None:
        known = ", ".join(sorted({driver for driver, _ in _WIRES}))
        raise CaptureError(f"expected PostgreSQL through {known}, got {dialect.driver}")
    captured = _EngineCapture(ServerCapture(trail), wire)
    setattr(dialect, CAPTURED, captured)
    event.listen(engine, "do_execute", captured.execute)
    event.listen(engine, "do_execute_no_params", captured.execute_without_parameters)
    event.listen(engine, "do_executemany", captured.execute_many)
    event.listen(engine, "checkin", captured.check_in)
    event.listen(engine, "close", captured.check_in)


class _EngineCapture(Executing):
    """The listeners of one engine (`recording.Recorders`)."""

    def __init__(self, server: ServerCapture, wire: type[Wire]) -> None:
        self._server = server
        self._wire = wire

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
        """All is done here, at the dialect: listeners of the engine's would have SQLAlchemy tell
        them of every step of every transaction, which costs as much as all the rest."""
        pooled = context._dbapi_connection
        if not is_pooled(pooled):  # SQLAlchemy's own questions to its first connection
            return False
        statements = self._statements(pooled)
        access = statements.run(text, parameters, run, is_seen=is_seen)
        if access is not None:
            read_through(access, statements.reads.schema_changed, cursor, context)
        return True

    def check_in(self, connection: Any, record: Any) -> None:
        statements = record.info.get(CAPTURED) if record is not None else None
        if statements is not None:
            statements.check_in()

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
