"""Capture for psycopg's `AsyncConnection`: see `indelible.capture.psycopg`.

What capture asks and sends is awaited where the statement is. `await trail.record_async(...,
on=connection)` puts an event into the open transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from indelible.capture.psycopg_cursors import CapturedConnection, CapturedCursor

# What stands above says how psycopg is installed, where it isn't.
import psycopg  # isort: skip
from psycopg.rows import tuple_row  # isort: skip

from indelible.capture.greenlets import entered, run_sync, wait_for
from indelible.capture.host import CaptureHost
from indelible.capture.kept import class_kept_with
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.wires import PsycopgWire, Wire
from indelible.capture.recording import Recording

T = TypeVar("T")

_NO_ROW: Final = object()


def class_for(trail: CaptureHost) -> type[AsyncConnection]:
    """See `indelible.capture.psycopg.async_connection_class`."""
    return class_kept_with(trail, AsyncConnection, ServerCapture)


class _Cursor(CapturedCursor):
    async def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        return await self._run(
            query,
            params,
            lambda own, values: super(_Cursor, self).execute(own, values, **kwargs),  # type: ignore[misc]
            is_seen=not self.connection.pgconn.pipeline_status,  # type: ignore[attr-defined]
        )

    async def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        await self._run(
            query,
            None,
            lambda own, _: super(_Cursor, self).executemany(own, params_seq, **kwargs),  # type: ignore[misc]
            is_seen=False,
        )

    async def fetchone(self) -> Any:
        self._will_fetch()
        return self._hand_over_one(await super().fetchone())  # type: ignore[misc]

    async def fetchmany(self, size: int = 0) -> list[Any]:
        self._will_fetch()
        rows: list[Any] = await super().fetchmany(size)  # type: ignore[misc]
        wanted = size or self.arraysize  # type: ignore[attr-defined]
        return self._hand_over(rows, exhausted=len(rows) < wanted)

    async def fetchall(self) -> list[Any]:
        self._will_fetch()
        return self._hand_over(await super().fetchall(), exhausted=True)  # type: ignore[misc]

    async def __anext__(self) -> Any:
        self._will_fetch()
        try:
            row = await super().__anext__()  # type: ignore[misc]
        except StopAsyncIteration:
            self._hand_over([], exhausted=True)
            raise
        return self._hand_over_next(row)

    async def stream(
        self, query: Any, params: Any = None, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        statements, text, _ = self._statements(query)
        self._close_access()
        rows: AsyncGenerator[Any, None] = super().stream(query, params, **kwargs)  # type: ignore[misc]
        async with self._starting(statements, text) as is_alone:
            first = await anext(rows, _NO_ROW)
        told = entered(statements.handing_out(text, is_alone=is_alone))
        async with told, contextlib.aclosing(rows):
            if first is not _NO_ROW:
                yield first
                async for row in rows:
                    yield row

    @contextlib.asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        statements, text, _ = self._statements(statement)
        self._close_access()
        copying = super().copy(statement, params, **kwargs)  # type: ignore[misc]
        async with self._starting(statements, text) as is_alone:
            copy = await copying.__aenter__()
        told = entered(statements.handing_out(text, is_alone=is_alone))
        async with told, contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(copying)
            yield copy

    @contextlib.asynccontextmanager
    async def _starting(self, statements: ConnectionStatements, text: str) -> AsyncIterator[bool]:
        async with self._sharing(), entered(statements.starting(text)) as is_alone:
            yield is_alone

    async def _run(
        self, query: Any, params: Any, run: Callable[[Any, Any], Awaitable[Any]], *, is_seen: bool
    ) -> Any:
        self._close_access()
        async with self._sharing():
            await run_sync(
                lambda: self._execute(
                    query,
                    params,
                    lambda own, values: wait_for(run(own, values)),
                    self._ask,
                    is_seen=is_seen,
                )
            )
        return self

    def _ask(self, text: str, params: Any) -> list[Any]:
        """All rows of a statement of ours, with parameters as this cursor takes them."""
        kind = self._kind(psycopg.AsyncCursor, psycopg.AsyncClientCursor, psycopg.AsyncRawCursor)
        connection: AsyncConnection = self.connection  # type: ignore[attr-defined]
        with contextlib.closing(_Unseen(connection, kind)) as cursor:
            cursor.execute(text, params)
            return cursor.fetchall()

    def _sharing(self) -> asyncio.Lock:
        """Held between telling who acts and the statement: tasks may share a connection."""
        return self.connection.sharing  # type: ignore[attr-defined, no-any-return]


class AsyncConnection(CapturedConnection, psycopg.AsyncConnection[Any]):
    """See `indelible.capture.psycopg.connect_async`."""

    _cursor = _Cursor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sharing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def transaction(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[psycopg.AsyncTransaction]:
        try:
            async with super().transaction(*args, **kwargs) as transaction:
                yield transaction
        finally:
            # Of a savepoint that was rolled back, perhaps with what was told in it.
            self.captured.transaction.forget()

    async def run_sync(self, work: Callable[[Recording], T]) -> T:
        """What `work` returns, which may record on what it's given: for `trail.record_async`."""
        async with self.sharing:
            return await run_sync(lambda: work(Recording(self.captured.transaction)))

    def _wire(self) -> Wire:
        return _Wire(_Awaited(self), self)


class _Wire(PsycopgWire):
    """What is sent is waited for."""

    def rollback(self) -> None:
        try:
            super().rollback()
        except asyncio.CancelledError:
            # Once more, while the first cancellation is seen to: nobody may find it open.
            self._driver.pgconn.finish()
            raise

    def _execute(self, command: bytes) -> None:
        wait_for(self._send_command(command))

    async def _send_command(self, command: bytes) -> None:
        driver = self._driver
        async with driver.lock:
            await driver.wait(self._answered(command))


class _Awaited:
    """A connection as capture itself uses it, inside of `run_sync`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def cursor(self) -> _Unseen:
        return _Unseen(self._connection, psycopg.AsyncCursor)

    def rollback(self) -> None:
        wait_for(self._connection.rollback())


class _Unseen:
    """A cursor that isn't captured, and waits."""

    def __init__(self, connection: AsyncConnection, kind: Any) -> None:
        self._cursor = kind(connection, row_factory=tuple_row)

    def execute(self, text: str, parameters: Any = None) -> None:
        wait_for(self._cursor.execute(text, parameters))

    def fetchall(self) -> list[Any]:
        return list(wait_for(self._cursor.fetchall()))

    @property
    def description(self) -> Any:
        return self._cursor.description

    def close(self) -> None:
        wait_for(self._cursor.close())
