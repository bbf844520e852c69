"""Capture for plain psycopg 3: `connect()` gives a connection whose statements are seen.

The server's triggers see every write; here the transaction is told who acts, `COPY ... FROM STDIN`
included, and reads are recorded by statement. Not for `AsyncConnection`. Changes in a pipeline in
autocommit, and what is sent past cursors (`connection.pgconn`), are nobody's.

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
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, Final

try:
    import psycopg
    from psycopg import sql
except ImportError as missing:
    raise ImportError("expected psycopg 3: pip install 'indelible[postgres]'") from missing

from indelible.capture.host import CaptureHost
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.wires import PsycopgWire
from indelible.capture.recording import TransactionContext

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

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        return self._run(query, lambda: super(_Cursor, self).execute(query, params, **kwargs))  # type: ignore[misc]

    def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        self._run(query, lambda: super(_Cursor, self).executemany(query, params_seq, **kwargs))  # type: ignore[misc]

    def stream(self, query: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        statements, text = self._statements(query)
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

    def _run(self, query: Any, run: Callable[[], Any]) -> Any:
        statements, text = self._statements(query)
        with self._sharing():
            return statements.run(text, run)

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
        self._cursor_factory = _seen(factory)

    @property
    def server_cursor_factory(self) -> Any:
        return self._server_cursor_factory

    @server_cursor_factory.setter
    def server_cursor_factory(self, factory: Any) -> None:
        self._server_cursor_factory = _seen(factory)

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
        return psycopg.Cursor(self._connection)


@functools.lru_cache(maxsize=64)
def _seen(factory: type[Any]) -> type[Any]:
    """`factory`, or its subclass that is captured."""
    if issubclass(factory, _Cursor):
        return factory
    return type(factory.__name__, (_Cursor, factory), {})


def _text_of(query: Any, connection: Connection) -> str:
    """The text of what was given to `execute`; what that refuses is refused there."""
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    if isinstance(query, sql.Composable):
        with contextlib.suppress(Exception):
            return query.as_string(connection)
    return str(query)
