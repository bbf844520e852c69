"""Capture for plain psycopg 3: `connect()` gives a connection whose statements are seen.

The server's triggers see every write; here the transaction is told who acts, `COPY ... FROM STDIN`
included, and rows that are fetched are recorded by key. `stream`, COPY and pipelines are recorded
by statement. Not for `AsyncConnection`. Changes in a pipeline in autocommit, and what is sent past
cursors (`connection.pgconn`), are nobody's.

```python
from indelible.capture.psycopg import connect, connection_class

with connect("postgresql://app@db/shop", trail=trail) as connection: ...
pool = ConnectionPool("postgresql://app@db/shop", connection_class=connection_class(trail))
```
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeVar

try:
    import psycopg
    from psycopg import sql
    from psycopg.client_cursor import ClientCursorMixin
    from psycopg.raw_cursor import RawCursorMixin
    from psycopg.rows import no_result, tuple_row
except ImportError as missing:
    raise ImportError("expected psycopg 3: pip install 'indelible[postgres]'") from missing

from indelible.capture.access import Access
from indelible.capture.extraction import Row
from indelible.capture.host import CaptureHost
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.wires import PsycopgWire
from indelible.capture.recording import TransactionContext

T = TypeVar("T")

_CLASSES: Final[weakref.WeakKeyDictionary[CaptureHost, type[Connection]]] = (
    weakref.WeakKeyDictionary()
)
_NO_ROW: Final = object()


def connect(conninfo: str = "", *, trail: CaptureHost, **kwargs: Any) -> Connection:
    """Like `psycopg.connect`, with every statement captured into `trail`.

    A `cursor_factory` must be a class. Results, errors and transaction states are those of a plain
    connection. Raises `CaptureError` where the trail's configuration names no server, and whatever
    `psycopg.connect` raises.
    """
    return connection_class(trail).connect(conninfo, **kwargs)


def connection_class(trail: CaptureHost) -> type[Connection]:
    """The class of `connect`, to be given to a pool. Raises `CaptureError` as `connect` does."""
    found = _CLASSES.get(trail)
    if found is None:
        members = {"_server": ServerCapture(trail)}
        found = _CLASSES.setdefault(trail, type("Connection", (Connection,), members))
    return found


class _Cursor:
    """What every cursor of a captured connection does; stands before psycopg's own class."""

    _access: Access | None = None
    _is_running = False
    _loaded: list[Row]
    """Rows as they came, of which the application's were made by the fetch that is under way."""
    _page: deque[Row]
    """Those of the page that is being iterated over."""

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        return self._run(
            query,
            params,
            lambda own: super(_Cursor, self).execute(own, params, **kwargs),  # type: ignore[misc]
            is_seen=not self.connection.pgconn.pipeline_status,  # type: ignore[attr-defined]
        )

    def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        self._run(
            query,
            None,
            lambda own: super(_Cursor, self).executemany(own, params_seq, **kwargs),  # type: ignore[misc]
            is_seen=False,
        )

    def fetchone(self) -> Any:
        row = self._fetch(super().fetchone)  # type: ignore[misc]
        self._hand_over(exhausted=row is None)
        return row

    def fetchmany(self, size: int = 0) -> list[Any]:
        rows: list[Any] = self._fetch(lambda: super(_Cursor, self).fetchmany(size))  # type: ignore[misc]
        wanted = size or self.arraysize  # type: ignore[attr-defined]
        self._hand_over(exhausted=len(rows) < wanted)
        return rows

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._fetch(super().fetchall)  # type: ignore[misc]
        self._hand_over(exhausted=True)
        return rows

    def __next__(self) -> Any:
        try:
            row = self._fetch(super().__next__)  # type: ignore[misc]
        except StopIteration:
            self._hand_over(exhausted=True)
            raise
        if self._access is not None:
            # A cursor of the server's has fetched a whole page, which other fetches pass over.
            self._page += self._loaded
            self._loaded[:] = [self._page.popleft()]
            self._hand_over(exhausted=False)
        return row

    def close(self) -> None:
        self._close_access()
        super().close()  # type: ignore[misc]

    def __del__(self) -> None:
        if self._access is not None:
            self._access.abandon()
        warn = getattr(super(), "__del__", None)  # of a cursor of the server's that is open
        if warn is not None:
            warn()

    @property
    def description(self) -> Any:
        columns = super().description  # type: ignore[misc]
        if self._access is None or columns is None:
            return columns
        return list(self._access.describe(columns, _name_of))

    @property
    def row_factory(self) -> Any:
        return self._row_factory

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        self._row_factory = factory
        if self.pgresult:  # type: ignore[attr-defined]
            self._make_row = self._make_row_maker()

    def _make_row_maker(self) -> Any:
        """psycopg asks for it with each result; what is returned makes the application's rows."""
        access = self._access
        if self._is_running:
            return no_result  # whose result this is shows when the statement has run
        if access is None:
            return super()._make_row_maker()  # type: ignore[misc]
        load = self._loaded.append
        if not access.has_hidden_columns:
            make = self._row_factory(self)

            def note(values: Row) -> Any:
                load(values)
                return make(values)

            return note
        make = self._row_factory(_Shown(self))
        visible = access.visible

        def strip(values: Row) -> Any:
            load(values)
            return make(visible([values])[0])

        return strip

    def _read_through(self, access: Access | None) -> None:
        """From here on the rows of the result are `access`'s."""
        self._access = access
        self._loaded, self._page = [], deque()
        if access is not None and access.must_describe:
            access.describe(super().description, _name_of)  # type: ignore[misc]
            if access.is_of_another_schema:
                self.connection.captured.reads.schema_changed()  # type: ignore[attr-defined]
        self._make_row = self._make_row_maker()

    def _fetch(self, fetch: Callable[[], T]) -> T:
        """What `fetch` returns."""
        if self._access is None:
            return fetch()
        self._loaded.clear()
        return fetch()

    def _hand_over(self, *, exhausted: bool) -> None:
        """What the fetch loaded is about to be the application's."""
        if self._access is not None:
            self._access.hand_over(self._loaded[:], exhausted=exhausted)

    def _close_access(self) -> None:
        access, self._access = self._access, None
        if access is not None:
            access.close()

    def stream(self, query: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        statements, text = self._statements(query)
        self._close_access()
        rows: Generator[Any, None, None] = super().stream(query, params, **kwargs)  # type: ignore[misc]
        with self._starting(statements, text) as is_alone:
            first = next(rows, _NO_ROW)
        try:
            with contextlib.closing(rows):
                if first is not _NO_ROW:
                    yield first
                    yield from rows
        except BaseException:
            statements.failed(is_alone=is_alone)
            statements.ran(text)  # rows were handed out
            raise
        statements.committed(is_alone=is_alone)
        statements.ran(text)

    @contextlib.contextmanager
    def copy(self, statement: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        statements, text = self._statements(statement)
        self._close_access()
        copying = super().copy(statement, params, **kwargs)  # type: ignore[misc]
        with self._starting(statements, text) as is_alone:
            copy = copying.__enter__()
        try:
            with contextlib.ExitStack() as stack:
                stack.push(copying)
                yield copy
        except BaseException:
            statements.failed(is_alone=is_alone)
            statements.ran(text)  # rows may have been handed out
            raise
        statements.committed(is_alone=is_alone)
        statements.ran(text)

    @contextlib.contextmanager
    def _starting(self, statements: ConnectionStatements, text: str) -> Iterator[bool]:
        """The statement is sent inside; True where a transaction was begun for it alone."""
        with self._sharing():
            is_alone = statements.before(text)
            try:
                yield is_alone
            except BaseException:
                statements.failed(is_alone=is_alone)
                raise

    def _run(self, query: Any, params: Any, run: Callable[[Any], Any], *, is_seen: bool) -> Any:
        statements, text = self._statements(query)
        self._close_access()
        with self._sharing():
            self._is_running = is_seen
            try:
                access = statements.run(
                    text,
                    params,
                    lambda own: run(query if own is text else own),
                    query=self._ask,
                    is_seen=is_seen,
                )
            finally:
                self._is_running = False
        if is_seen:
            self._read_through(access)
        return self

    def _ask(self, text: str, params: Any) -> list[Any]:
        """All rows of a statement of ours, with parameters as this cursor takes them."""
        kind: type[psycopg.Cursor[Any]] = psycopg.Cursor
        if isinstance(self, ClientCursorMixin):
            kind = psycopg.ClientCursor
        elif isinstance(self, RawCursorMixin):
            kind = psycopg.RawCursor
        connection: Connection = self.connection  # type: ignore[attr-defined]
        with contextlib.closing(kind(connection, row_factory=tuple_row)) as cursor:
            return list(cursor.execute(text, params).fetchall())

    def _sharing(self) -> threading.RLock:
        """Held between telling who acts and the statement: threads may share a connection."""
        return self.connection.sharing  # type: ignore[attr-defined, no-any-return]

    def _statements(self, query: Any) -> tuple[ConnectionStatements, str]:
        connection: Connection = self.connection  # type: ignore[attr-defined]
        return connection.captured, _text_of(query, connection)


class Connection(psycopg.Connection[Any]):
    """A connection whose cursors tell who acts and record what is read."""

    _server: ClassVar[ServerCapture]
    _captured: ConnectionStatements | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sharing = threading.RLock()

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            self._captured = self._server.statements(PsycopgWire(_Unseen(self), self))
        return self._captured

    @property
    def context(self) -> TransactionContext:
        """Where `trail.record(..., on=connection)` puts its event."""
        return self.captured.transaction

    @property
    def cursor_factory(self) -> Any:
        return self._cursor_factory

    @cursor_factory.setter
    def cursor_factory(self, factory: Any) -> None:
        self._cursor_factory = seen(factory)

    @property
    def server_cursor_factory(self) -> Any:
        return self._server_cursor_factory

    @server_cursor_factory.setter
    def server_cursor_factory(self, factory: Any) -> None:
        self._server_cursor_factory = seen(factory)

    @contextlib.contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Iterator[psycopg.Transaction]:
        try:
            with super().transaction(*args, **kwargs) as transaction:
                yield transaction
        finally:
            # Of a savepoint that was rolled back, perhaps with what was told in it.
            self.captured.transaction.forget()

    def close(self) -> None:
        if self._captured is not None:
            self._captured.check_in()
        super().close()


class _Unseen:
    """A connection as capture itself uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> psycopg.Cursor[Any]:
        return psycopg.Cursor(self._connection, row_factory=tuple_row)

    def rollback(self) -> None:
        self._connection.rollback()


class _Shown:
    """A cursor as its row factory sees it: without the columns that we added."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        names = [each.name.encode(cursor._encoding) for each in cursor.description]
        self.pgresult = _ShownResult(cursor.pgresult, names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class _ShownResult:
    """A result of which only these columns are told."""

    def __init__(self, result: Any, names: Sequence[bytes]) -> None:
        self._result = result
        self._names = names
        self.nfields = len(names)

    def fname(self, column: int) -> bytes | None:
        return self._names[column] if column < self.nfields else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result, name)


@functools.lru_cache(maxsize=64)
def seen(factory: Any) -> Any:
    """`factory`, or its subclass that is captured."""
    if issubclass(factory, _Cursor):
        return factory
    return type(factory.__name__, (_Cursor, factory), {})


def _name_of(column: Any) -> str:
    return str(column.name)


def _text_of(query: Any, connection: Connection) -> str:
    """The text of what was given to `execute`; what that refuses is refused there."""
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    if isinstance(query, sql.Composable):
        with contextlib.suppress(Exception):
            return query.as_string(connection)
    return str(query)
