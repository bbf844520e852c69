"""Capture for SQLAlchemy 2: `capture(engine, trail)`; on SQLite sync (pysqlite) or aiosqlite.

PostgreSQL's engines are captured in `capture.postgres.engine`, MariaDB's and MySQL's in
`capture.mariadb.engine`.

Statements are seen at the dialect's `do_execute`, rows where the result takes them from the
driver's cursor. So errors show the application's own text, and the actor is read in the task that
runs the statement, not in the driver's thread. Unseen: `engine.raw_connection()`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

try:
    from sqlalchemy import Engine, event
    from sqlalchemy.util import await_only
except ImportError as error:  # pragma: no cover - in an environment without the extra
    raise ImportError(
        "expected SQLAlchemy 2: pip install 'indelible[sqlalchemy]' (or 'indelible[aiosqlite]')"
    ) from error

from indelible.capture.database_reads import DatabaseReads
from indelible.capture.extraction import Row
from indelible.capture.host import CaptureHost
from indelible.capture.reads import ConnectionReads
from indelible.capture.recording import CAPTURED, TransactionContext
from indelible.capture.rewriting import Runner
from indelible.capture.sqlalchemy_rows import read_through
from indelible.capture.sqlite3 import SqliteRunner, shared_reads
from indelible.capture.sqlite_schema import path_of_database
from indelible.capture.statement_context import StatementContext, context_of
from indelible.capture.statement_parameters import Parameters
from indelible.errors import CaptureError
from indelible.events.context import Frame

_INFO: Final = CAPTURED


def capture(engine: Any, trail: CaptureHost) -> None:
    """From here on, record every read and write through `engine` in `trail`.

    `engine` is an `Engine` or an `AsyncEngine` on SQLite, on PostgreSQL (psycopg, asyncpg or
    psycopg2) or on MariaDB or MySQL (PyMySQL or aiomysql), a server that `indelible install` has
    set up; engines made from it by `execution_options` are captured with it. Results, errors and
    counts stay those of an engine without capture. An SQLite database that isn't set up for
    capture yet is set up first. Raises `CaptureError` for another database or an engine captured
    before, and `ConfigurationError` where it can't be set up.
    """
    sync_engine: Engine = getattr(engine, "sync_engine", engine)
    dialect = sync_engine.dialect
    if getattr(dialect, _INFO, None) is not None:
        raise CaptureError("this engine is captured already: call capture() once for each engine")
    if dialect.name == "postgresql":
        from indelible.capture.postgres.engine import capture_engine

        capture_engine(sync_engine, trail)
        return
    if dialect.name in ("mysql", "mariadb"):
        from indelible.capture.mariadb.engine import capture_engine as capture_mariadb

        capture_mariadb(sync_engine, trail)
        return
    if dialect.name != "sqlite" or dialect.driver not in ("pysqlite", "aiosqlite"):
        raise CaptureError(
            "expected an engine on sqlite+pysqlite, sqlite+aiosqlite, postgresql or mysql, "
            f"got {dialect.name}+{dialect.driver}"
        )
    captured = _EngineCapture(trail, dialect)
    file = sync_engine.url.database
    if file and not file.startswith("file:"):
        captured.shared.prepare(Path(file).absolute())
    setattr(dialect, _INFO, captured)
    event.listen(sync_engine, "do_connect", captured.before_connect)
    event.listen(sync_engine, "do_execute", captured.execute)
    event.listen(sync_engine, "do_execute_no_params", captured.execute_without_parameters)
    event.listen(sync_engine, "do_executemany", captured.execute_many)
    event.listen(sync_engine, "checkin", captured.check_in)
    event.listen(sync_engine, "close", captured.check_in)


class _Captured:
    """What is kept beside one connection of the pool."""

    __slots__ = ("context", "converts", "reads")

    def __init__(
        self, reads: ConnectionReads, context: StatementContext, *, converts: bool
    ) -> None:
        self.reads = reads
        self.context = context
        self.converts = converts


class _EngineCapture:
    """The listeners of one engine."""

    def __init__(self, trail: CaptureHost, dialect: Any) -> None:
        self._trail = trail
        self.shared: DatabaseReads = shared_reads(trail)
        self._dialect = dialect
        self._converts = False

    def before_connect(
        self, dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]
    ) -> None:
        """Whether connections convert values can't be seen on them later."""
        self._converts = bool(parameters.get("detect_types", 0))

    def execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        """Run one statement; True says that it ran."""
        dialect = self._dialect
        captured = self._captured(context._dbapi_connection)
        access = captured.reads.execute(
            statement,
            parameters,
            lambda text: dialect.do_execute(cursor, text, parameters, context),
            captured.context,
            converted=captured.converts,
        )
        if access is not None:
            read_through(access, captured.reads.schema_changed, cursor, context)
        return True

    def execute_without_parameters(self, cursor: Any, statement: str, context: Any) -> bool:
        dialect = self._dialect
        captured = self._captured(context._dbapi_connection)
        access = captured.reads.execute(
            statement,
            (),
            lambda text: dialect.do_execute_no_params(cursor, text, context),
            captured.context,
            converted=captured.converts,
        )
        if access is not None:
            read_through(access, captured.reads.schema_changed, cursor, context)
        return True

    def execute_many(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        dialect = self._dialect
        captured = self._captured(context._dbapi_connection)
        captured.reads.execute(
            statement,
            (),
            lambda text: dialect.do_executemany(cursor, text, parameters, context),
            captured.context,
            is_many=True,
        )
        return True

    def check_in(self, connection: Any, record: Any) -> None:
        """The connection goes back to the pool or is closed: what it handed out is written."""
        captured = record.info.get(_INFO) if record is not None else None
        if captured is not None:
            captured.context.ended()
            captured.reads.check_in()

    def recorder(self, pooled: Any) -> TransactionContext:
        """See `recording.Recorders`."""
        context = self._captured(pooled).context
        if not hasattr(context, "record"):
            raise CaptureError("expected a database that is set up: `indelible install`")
        found = cast("TransactionContext", context)
        return _AsyncRecorder(found, pooled.driver_connection) if self._dialect.is_async else found

    def _captured(self, pooled: Any) -> _Captured:
        captured: _Captured | None = pooled.info.get(_INFO)
        if captured is None:
            connection = pooled.dbapi_connection
            driver = pooled.driver_connection
            runner: Runner
            if self._dialect.is_async:
                runner = _AsyncRunner(connection)
            else:
                runner = SqliteRunner(connection)
            path = path_of_database(runner.query)
            self.shared.prepare(path)
            if self._dialect.is_async:
                # In the driver's thread: the connection answers to no other.
                make = driver._execute(context_of, driver._conn, self._trail)
                told = await_only(make)
            else:
                told = context_of(connection, self._trail)
            captured = _Captured(
                ConnectionReads(self.shared, runner, path),
                told,
                converts=self._converts or driver.text_factory is not str,
            )
            pooled.info[_INFO] = captured
        return captured


class _AsyncRecorder:
    """Records in the driver's thread, which also waits there for the database's lock."""

    def __init__(self, context: TransactionContext, driver: Any) -> None:
        self._context = context
        self._driver = driver

    @property
    def transaction(self) -> str | None:
        return self._context.transaction

    def record(self, draft: bytes, frame: Frame | None = None) -> None:
        await_only(self._driver._execute(self._context.record, draft, frame))


class _AsyncRunner:
    """An aiosqlite connection, as SQLAlchemy adapts it (`rewriting.Runner`)."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, text: str, parameters: Parameters = ()) -> list[Row]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(text, parameters)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def hold_snapshot(self) -> Callable[[], None]:
        # Fetched from the server side: the other kind of cursor has read all rows by now, and
        # with the last one the snapshot goes.
        cursor = self._connection.cursor(server_side=True)
        cursor.execute("SELECT rowid FROM main.sqlite_schema")
        close: Callable[[], None] = cursor.close
        return close

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection._connection.in_transaction)
