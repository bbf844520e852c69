"""Capture for plain psycopg 3: `connect()` gives a connection whose statements are seen.

The server's triggers see every write; here the transaction is told who acts, `COPY ... FROM STDIN`
included, and rows that are fetched are recorded by key. `stream`, COPY and pipelines are recorded
by statement. Changes in a pipeline in autocommit, and what is sent past cursors
(`connection.pgconn`), are nobody's.

```python
from indelible.capture.psycopg import connect, connection_class

with connect("postgresql://app@db/shop", trail=trail) as connection: ...
pool = ConnectionPool("postgresql://app@db/shop", connection_class=connection_class(trail))
```

`connect_async` and `async_connection_class` give the same of psycopg's `AsyncConnection`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

from indelible.capture.psycopg_cursors import CapturedConnection, CapturedCursor, seen_as

# What stands above says how psycopg is installed, where it isn't.
import psycopg  # isort: skip
from psycopg.rows import tuple_row  # isort: skip

from indelible.capture.host import CaptureHost
from indelible.capture.kept import class_kept_with
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.wires import PsycopgWire, Wire

if TYPE_CHECKING:
    from indelible.capture.psycopg_async import AsyncConnection

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
    return class_kept_with(trail, Connection, ServerCapture)


async def connect_async(
    conninfo: str = "", *, trail: CaptureHost, **kwargs: Any
) -> AsyncConnection:
    """Like `psycopg.AsyncConnection.connect`; else as `connect`."""
    return await async_connection_class(trail).connect(conninfo, **kwargs)


def async_connection_class(trail: CaptureHost) -> type[AsyncConnection]:
    """The class of `connect_async`, to be given to a pool. Raises `CaptureError` as `connect` does,
    and `ImportError` without greenlet (extra `postgres-async`)."""
    from indelible.capture.psycopg_async import class_for

    return class_for(trail)


def seen(factory: Any) -> Any:
    """`factory`, or its subclass that is captured."""
    return seen_as(factory, _Cursor)


class _Cursor(CapturedCursor):
    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        return self._run(
            query,
            params,
            lambda own, values: super(_Cursor, self).execute(own, values, **kwargs),  # type: ignore[misc]
            is_seen=not self.connection.pgconn.pipeline_status,  # type: ignore[attr-defined]
        )

    def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        self._run(
            query,
            None,
            lambda own, _: super(_Cursor, self).executemany(own, params_seq, **kwargs),  # type: ignore[misc]
            is_seen=False,
        )

    def fetchone(self) -> Any:
        self._will_fetch()
        return self._hand_over_one(super().fetchone())  # type: ignore[misc]

    def fetchmany(self, size: int = 0) -> list[Any]:
        self._will_fetch()
        rows: list[Any] = super().fetchmany(size)  # type: ignore[misc]
        wanted = size or self.arraysize  # type: ignore[attr-defined]
        return self._hand_over(rows, exhausted=len(rows) < wanted)

    def fetchall(self) -> list[Any]:
        self._will_fetch()
        return self._hand_over(super().fetchall(), exhausted=True)  # type: ignore[misc]

    def __next__(self) -> Any:
        self._will_fetch()
        try:
            row = super().__next__()  # type: ignore[misc]
        except StopIteration:
            self._hand_over([], exhausted=True)
            raise
        return self._hand_over_next(row)

    def stream(self, query: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        statements, text, _ = self._statements(query)
        self._close_access()
        rows: Generator[Any, None, None] = super().stream(query, params, **kwargs)  # type: ignore[misc]
        with self._starting(statements, text) as is_alone:
            first = next(rows, _NO_ROW)
        with statements.handing_out(text, is_alone=is_alone), contextlib.closing(rows):
            if first is not _NO_ROW:
                yield first
                yield from rows

    @contextlib.contextmanager
    def copy(self, statement: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        statements, text, _ = self._statements(statement)
        self._close_access()
        copying = super().copy(statement, params, **kwargs)  # type: ignore[misc]
        with self._starting(statements, text) as is_alone:
            copy = copying.__enter__()
        with statements.handing_out(text, is_alone=is_alone), contextlib.ExitStack() as stack:
            stack.push(copying)
            yield copy

    @contextlib.contextmanager
    def _starting(self, statements: ConnectionStatements, text: str) -> Iterator[bool]:
        with self._sharing(), statements.starting(text) as is_alone:
            yield is_alone

    def _run(
        self, query: Any, params: Any, run: Callable[[Any, Any], Any], *, is_seen: bool
    ) -> Any:
        self._close_access()
        with self._sharing():
            self._execute(query, params, run, self._ask, is_seen=is_seen)
        return self

    def _ask(self, text: str, params: Any) -> list[Any]:
        """All rows of a statement of ours, with parameters as this cursor takes them."""
        kind = self._kind(psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor)
        connection: Connection = self.connection  # type: ignore[attr-defined]
        with contextlib.closing(kind(connection, row_factory=tuple_row)) as cursor:
            return list(cursor.execute(text, params).fetchall())

    def _sharing(self) -> threading.RLock:
        """Held between telling who acts and the statement: threads may share a connection."""
        return self.connection.sharing  # type: ignore[attr-defined, no-any-return]


class Connection(CapturedConnection, psycopg.Connection[Any]):
    """See `connect`."""

    _cursor = _Cursor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sharing = threading.RLock()

    @contextlib.contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Iterator[psycopg.Transaction]:
        try:
            with super().transaction(*args, **kwargs) as transaction:
                yield transaction
        finally:
            # Of a savepoint that was rolled back, perhaps with what was told in it.
            self.captured.transaction.forget()

    def _wire(self) -> Wire:
        return PsycopgWire(_Unseen(self), self)


class _Unseen:
    """A connection as capture itself uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> psycopg.Cursor[Any]:
        return psycopg.Cursor(self._connection, row_factory=tuple_row)

    def rollback(self) -> None:
        self._connection.rollback()
