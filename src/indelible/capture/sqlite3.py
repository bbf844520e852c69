"""Capture for plain `sqlite3`: `connect()` gives a connection whose reads and writes are seen.

Unseen by cursors, so recorded as the statement only: `backup`, `serialize` and `blobopen`.
`iterdump` goes through cursors. Functions, hooks and traces that the application sets also meet
the queries that capture itself makes (`EXPLAIN QUERY PLAN`, once a text; queries of keys).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Final, Self, TypeVar, cast

from indelible.capture.access import Access
from indelible.capture.database_reads import DatabaseReads
from indelible.capture.extraction import Row
from indelible.capture.host import CaptureHost
from indelible.capture.kept import kept_with
from indelible.capture.reads import ConnectionReads
from indelible.capture.sqlite_context import WriteContext
from indelible.capture.sqlite_names import is_ours, quote_name
from indelible.capture.sqlite_schema import path_of_database
from indelible.capture.statement_context import NoContext, StatementContext, context_of
from indelible.capture.statement_parameters import Parameters
from indelible.errors import CaptureError

T = TypeVar("T")

# The driver's own members, under the properties that stand for them here.
_ROW_FACTORY: Final = cast("Any", sqlite3.Cursor.row_factory)
_DESCRIPTION: Final = cast("Any", sqlite3.Cursor.description)

# Plans are kept for as long as their trail is; two trails never share one.


def connect(database: object, *args: object, trail: CaptureHost, **kwargs: object) -> Connection:
    """Like `sqlite3.connect`, with every read and write recorded in `trail`.

    All other arguments are `sqlite3.connect`'s; a `factory` must be a class. Rows, descriptions,
    errors and counts are those of a plain connection. A database that isn't set up for capture
    yet is set up first. Raises `ConfigurationError` where it can't be, or is in memory, and
    whatever `sqlite3.connect` raises.
    """
    names = ("timeout", "detect_types", "isolation_level", "check_same_thread", "factory")
    settings = {**dict(zip(names, args, strict=False)), **kwargs}
    settings["factory"] = _captured(settings.pop("factory", None), Connection)
    make = cast("Callable[..., Connection]", sqlite3.connect)
    connection = make(database, *args[len(names) :], **settings)
    try:
        connection._begin_capture(trail, converts=bool(settings.get("detect_types")))
    except BaseException:
        sqlite3.Connection.close(connection)
        raise
    return connection


def shared_reads(trail: CaptureHost) -> DatabaseReads:
    """What all connections captured into `trail` share."""
    return kept_with(trail, DatabaseReads, lambda: DatabaseReads(trail))


class SqliteRunner:
    """A `sqlite3.Connection` as capture itself asks it (`rewriting.Runner`)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def query(self, text: str, parameters: Parameters = ()) -> list[Row]:
        # The driver's own class: neither ours nor the application's row_factory is in the way.
        cursor = sqlite3.Cursor(self._connection)
        text_factory = self._connection.text_factory
        try:
            # What isn't UTF-8 must not make a query of ours fail.
            self._connection.text_factory = bytes
            cursor.execute(text, cast("Any", parameters))
            return cursor.fetchall()
        finally:
            self._connection.text_factory = text_factory
            cursor.close()

    def hold_snapshot(self) -> Callable[[], None]:
        # A statement that has a row left keeps the connection's read transaction open.
        cursor = sqlite3.Cursor(self._connection)
        cursor.execute("SELECT rowid FROM main.sqlite_schema")
        return cursor.close

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction


class Cursor(sqlite3.Cursor):
    """A cursor whose rows are recorded as they are handed over."""

    connection: Connection
    _access: Access | None = None
    _factory: Callable[..., object] | None = None
    _is_factory_ours = False
    _seen: tuple[object, ...] | None = None
    _shadow: sqlite3.Cursor | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        if self._access is not None or self._seen is not None:
            self._end_access()
        if self._is_factory_ours:
            self._use_own_factory()
        connection = self.connection
        run = super().execute
        if not isinstance(sql, str):  # refused, in the driver's words
            return run(sql, parameters)
        access = connection._reads.execute(
            sql,
            parameters,
            lambda text: run(text, parameters),
            connection.context,
            converted=connection._converts or connection.text_factory is not str,
        )
        if access is not None:
            self._begin_access(access)
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        self._end_access()
        self._use_own_factory()
        run = super().executemany
        if not isinstance(sql, str):
            return run(sql, parameters)
        connection = self.connection
        connection._reads.execute(
            sql, (), lambda text: run(text, parameters), connection.context, is_many=True
        )
        return self

    def executescript(self, sql_script: str, /) -> Self:
        self._end_access()
        self._use_own_factory()
        run = super().executescript
        if not isinstance(sql_script, str):
            return run(sql_script)
        connection = self.connection
        connection._reads.execute_script(sql_script, lambda: run(sql_script), connection.context)
        return self

    def fetchone(self) -> Any:
        access = self._access
        if access is None:
            return super().fetchone()
        row = super().fetchone()
        if row is None:
            self._exhausted(access, [])
            return None
        access.hand_over((row,), exhausted=False)
        return self._made(access, [row])[0]

    def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = self.arraysize if size is None else size
        access = self._access
        if access is None:
            return super().fetchmany(wanted)
        rows = super().fetchmany(wanted)
        if len(rows) != wanted:  # zero and less mean all
            return self._exhausted(access, rows)
        access.hand_over(rows, exhausted=False)
        return self._made(access, rows)

    def fetchall(self) -> list[Any]:
        access = self._access
        rows = super().fetchall()
        return rows if access is None else self._exhausted(access, rows)

    def __next__(self) -> Any:
        access = self._access
        if access is None:
            return super().__next__()
        try:
            row = super().__next__()
        except StopIteration:
            self._exhausted(access, [])
            raise
        access.hand_over((row,), exhausted=False)
        return self._made(access, [row])[0]

    def close(self) -> None:
        self._end_access()
        super().close()

    def __del__(self) -> None:
        if self._access is not None:
            self._access.abandon()

    @property
    def description(self) -> Any:
        return _DESCRIPTION.__get__(self) if self._seen is None else self._seen

    @property
    def row_factory(self) -> Any:
        return self._factory if self._is_factory_ours else _ROW_FACTORY.__get__(self)

    @row_factory.setter
    def row_factory(self, factory: Callable[..., object] | None) -> None:
        self._factory = factory
        if self._is_factory_ours and not self._reads_as_it_is(factory):
            _ROW_FACTORY.__set__(self, None)
        else:
            _ROW_FACTORY.__set__(self, factory)

    def _begin_access(self, access: Access) -> None:
        """The statement ran: from here on rows are `access`'s."""
        self._access = access
        if access.must_describe:
            visible = access.describe(_DESCRIPTION.__get__(self), _name_of)
            if access.is_of_another_schema:
                self.connection._reads.schema_changed()
            if access.has_hidden_columns:
                self._seen = visible
        if not self._is_factory_ours:
            self._factory = _ROW_FACTORY.__get__(self)
            self._is_factory_ours = True
        if self._factory is not None and not self._reads_as_it_is(self._factory):
            _ROW_FACTORY.__set__(self, None)

    def _end_access(self) -> None:
        access, self._access = self._access, None
        self._seen = None
        self._shadow = None
        if access is not None:
            access.close()

    def _use_own_factory(self) -> None:
        """Let the driver make the application's rows by itself again."""
        if self._is_factory_ours:
            _ROW_FACTORY.__set__(self, self._factory)
            self._is_factory_ours = False

    def _reads_as_it_is(self, factory: object) -> bool:
        """Whether the driver's rows may be made as the application wants them and still be read."""
        return factory is None or (factory is sqlite3.Row and self._seen is None)

    def _exhausted(self, access: Access, rows: list[Any]) -> list[Any]:
        access.hand_over(rows, exhausted=True)
        made = self._made(access, rows)
        self._access = None
        return made

    def _made(self, access: Access, rows: list[Any]) -> list[Any]:
        """`rows` as the application sees them."""
        factory = self._factory
        rows = access.visible(rows)
        if factory is None or self._reads_as_it_is(factory):
            return rows
        cursor: sqlite3.Cursor = self
        if (
            self._seen is not None
            and isinstance(factory, type)
            and issubclass(factory, sqlite3.Row)
        ):
            # It reads the driver's description, which has the hidden columns too.
            if self._shadow is None:
                self._shadow = self.connection._shadow([_name_of(c) for c in self._seen])
            cursor = self._shadow
        return [cast("Any", factory)(cursor, row) for row in rows]


class _DumpCursor(Cursor):
    """The cursor of a dump: tables of ours aren't the application's to take along."""

    def fetchall(self) -> list[Any]:
        rows = [row for row in super().fetchall() if not is_ours(str(row[0]))]
        return [row for row in rows if row[0] != "sqlite_sequence" or self._has_sequences()]

    def _has_sequences(self) -> bool:
        runner = SqliteRunner(self.connection)
        names = runner.query("SELECT CAST(name AS BLOB) FROM main.sqlite_sequence")
        return not all(is_ours(cast("bytes", row[0]).decode("utf-8", "replace")) for row in names)


class Connection(sqlite3.Connection):
    """A connection whose cursors record what they hand out."""

    _reads: ConnectionReads
    context: StatementContext = NoContext()
    _converts: bool
    _is_dumping = False
    _memory: sqlite3.Connection | None = None

    def _begin_capture(self, trail: CaptureHost, *, converts: bool) -> None:
        shared = shared_reads(trail)
        runner = SqliteRunner(self)
        path = path_of_database(runner.query)
        shared.prepare(path)
        self._reads = ConnectionReads(shared, runner, path)
        self.context = context_of(self, trail)
        self._converts = converts

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that records. `factory` must be a class, as a function's cursor can't."""
        if self._is_dumping:
            return super().cursor(_DumpCursor)
        return super().cursor(Cursor if factory is None else _captured(factory, Cursor))

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        return cast("Cursor", self.cursor().execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        return cast("Cursor", self.cursor().executemany(sql, parameters))

    def executescript(self, sql_script: str, /) -> Cursor:
        return cast("Cursor", self.cursor().executescript(sql_script))

    def iterdump(self) -> Generator[str, None, None]:
        """Without Indelible's own tables and triggers; its reads are recorded as any others."""
        self._is_dumping = True
        try:
            lines = iter(super().iterdump())
            first = next(lines)  # by now it has its cursor
        finally:
            self._is_dumping = False
        yield first
        yield from lines

    def backup(self, target: sqlite3.Connection, **kwargs: Any) -> None:
        self._reads.read_unseen("backup")
        super().backup(target, **kwargs)

    def serialize(self, *, name: str = "main") -> bytes:
        self._reads.read_unseen("serialize")
        return super().serialize(name=name)

    def blobopen(self, table: str, *args: Any, **kwargs: Any) -> sqlite3.Blob:
        self._reads.read_unseen("blobopen", table)
        return super().blobopen(table, *args, **kwargs)

    def commit(self) -> None:
        super().commit()
        self.context.ended()

    def rollback(self) -> None:
        super().rollback()
        self.context.ended()

    def set_authorizer(self, authorizer_callback: Any) -> None:
        """The application's is asked after ours."""
        if isinstance(self.context, WriteContext):
            self.context.set_authorizer(authorizer_callback)
        else:
            super().set_authorizer(authorizer_callback)

    def create_function(self, *args: Any, **kwargs: Any) -> None:
        super().create_function(*args, **kwargs)
        self._reads.schema_changed()

    def create_aggregate(self, *args: Any, **kwargs: Any) -> None:
        super().create_aggregate(*args, **kwargs)
        self._reads.schema_changed()

    def create_window_function(self, *args: Any, **kwargs: Any) -> None:
        super().create_window_function(*args, **kwargs)
        self._reads.schema_changed()

    def check_in(self) -> None:
        """Nothing handed over is left unwritten when this returns; no open result outlives it."""
        self._reads.check_in()

    def close(self) -> None:
        """Nothing handed over is left unwritten when this returns."""
        self.check_in()
        if self._memory is not None:
            self._memory.close()
        super().close()

    def _shadow(self, names: Sequence[str]) -> sqlite3.Cursor:
        """A cursor that describes columns of these names, for rows that keep a description."""
        if self._memory is None:
            self._memory = sqlite3.connect(":memory:", check_same_thread=False)
        columns = ", ".join(f"NULL AS {quote_name(name)}" for name in names)
        return self._memory.execute(f"SELECT {columns}")


def _captured(factory: object, base: type[T]) -> type[T]:
    """`factory`, or its subclass that records; raises `CaptureError` for anything but a class."""
    if factory is None:
        return base
    if not isinstance(factory, type):
        raise CaptureError(
            f"expected a subclass of sqlite3.{base.__name__} as factory, "
            f"got {type(factory).__name__}: what a function makes can't be captured"
        )
    if issubclass(factory, base):
        return factory
    return type(factory.__name__, (base, factory), {})


def _name_of(column: Any) -> str:
    return str(column[0])
