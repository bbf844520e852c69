"""Capture for plain aiomysql: `connect()` gives a connection whose statements are seen.

As `indelible.capture.pymysql`, from which aiomysql was made; what capture asks and sends is awaited
where the statement is, and tasks that share a connection take turns. `await
trail.record_async(..., on=connection)` puts an event into the open transaction.

```python
from indelible.capture.aiomysql import connect, create_pool

connection = await connect(host="db", user="shop_app", db="shop", trail=trail)
pool = await create_pool(host="db", user="shop_app", db="shop", trail=trail)
```
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar, TypeVar

from indelible.capture.greenlets import run_sync, wait_for

try:
    import aiomysql
    from aiomysql.utils import _ConnectionContextManager, _PoolContextManager
except ImportError as missing:
    raise ImportError("expected aiomysql: pip install 'indelible[aiomysql]'") from missing

from indelible.capture.access import Access
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.statements import ConnectionStatements, ServerCapture
from indelible.capture.mariadb.wires import Wire, is_pending
from indelible.capture.mysql_connections import class_for
from indelible.capture.mysql_cursors import PacketRows, call_of, is_own
from indelible.capture.recording import Recording

T = TypeVar("T")


def connect(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `aiomysql.connect`, with every statement captured into `trail`.

    Results, errors and transaction states are those of a plain connection. Raises `CaptureError`
    where the trail's configuration names no such server, and whatever `aiomysql.connect` raises.
    """
    return _ConnectionContextManager(_connect(class_for(trail, Connection), args, kwargs))


def create_pool(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `aiomysql.create_pool`, of connections as `connect` gives them."""
    return _PoolContextManager(_create_pool(class_for(trail, Connection), *args, **kwargs))


class Connection(aiomysql.Connection):  # type: ignore[misc]  # aiomysql has no types
    """A connection that tells who acts and records what is read."""

    _server: ClassVar[ServerCapture]
    _captured: ConnectionStatements | None = None
    _turns: asyncio.Lock | None = None
    _insider: asyncio.Task[Any] | None = None

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            self._captured = self._server.statements(Wire(_Unseen(self), self))
        return self._captured

    @property
    def turns(self) -> asyncio.Lock:
        """Held between telling who acts and the statement: tasks may share a connection."""
        if self._turns is None:
            self._turns = asyncio.Lock()
        return self._turns

    @property
    def is_inside(self) -> bool:
        """Whether what the running task sends is seen already, or capture's own."""
        return self._insider is not None and self._insider is asyncio.current_task()

    async def run_sync(self, work: Callable[[Recording], T]) -> T:
        """What `work` returns, which may record on what it's given: for `trail.record_async`."""
        async with self.turns:
            return await run_sync(lambda: work(Recording(self.captured.transaction)))

    async def run_unseen(self, text: Any, run: Callable[[], Awaitable[T]]) -> T:
        """What `run` returns, which runs `text`: who acts is told, its rows are by statement."""
        given: list[T] = []

        async def run_it(*_: Any) -> None:
            given.append(await run())

        await self.run_captured(text, None, run_it, is_seen=False)
        return given[0]

    async def run_captured(
        self,
        text: Any,
        parameters: Any,
        run: Callable[[str, Any], Awaitable[object]],
        *,
        is_seen: bool,
    ) -> Access | None:
        """Run `text`, or what takes its place, by way of `run`."""
        if isinstance(text, bytes | bytearray):
            text, is_seen = text.decode(self.encoding, "replace"), False

        def run_inside(own: str, values: Any) -> None:
            with self.inside():
                wait_for(run(own, values))

        def work() -> Access | None:
            captured = self.captured
            try:
                return captured.run(text, parameters, run_inside, is_seen=is_seen)
            finally:
                captured.ran()

        async with self.turns:
            return await run_sync(work)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What the running task sends in here is seen already, or capture's own."""
        before, self._insider = self._insider, asyncio.current_task()
        try:
            yield
        finally:
            self._insider = before

    def cursor(self, *cursors: Any) -> Any:
        manager = super().cursor(*cursors)
        cursor: Any = manager._coro.result()
        cursor.__class__ = _captured_class(cursor.__class__)
        return manager

    async def query(self, sql: Any, unbuffered: bool = False) -> Any:
        query = super().query
        if self.is_inside:
            return await query(sql, unbuffered)
        return await self.run_unseen(sql, lambda: query(sql, unbuffered))

    async def commit(self) -> None:
        await self._ends(super().commit)

    async def rollback(self) -> None:
        await self._ends(super().rollback)

    async def begin(self) -> None:
        await self._ends(super().begin)

    async def autocommit(self, value: Any) -> None:
        switch = super().autocommit
        if self.get_autocommit() == value:
            await switch(value)
        else:
            await self._ends(lambda: switch(value))

    async def select_db(self, db: Any) -> None:
        await super().select_db(db)
        if self._captured is not None:
            self._captured.reads.names_changed()

    def close(self) -> None:
        self.check_in()
        super().close()

    async def _connect(self) -> None:
        """Also again, where `ping` found it gone: nothing of the old session holds any more."""
        self.check_in()
        self._captured = None
        with self.inside():
            await super()._connect()

    async def _ends(self, run: Callable[[], Awaitable[None]]) -> None:
        """`run` ends the transaction."""
        if self._captured is None or self.is_inside:
            await run()
            return
        async with self.turns:
            await run_sync(self._captured.ends)
            await run()

    def check_in(self) -> None:
        """It goes back to its pool or is closed: what nobody read is on disk, too."""
        if self._captured is not None:
            self._captured.check_in()


class _Captured(PacketRows):
    """Over a class of cursors: rows are taken where aiomysql has put them."""

    _rownumber: int

    def _at(self) -> int:
        return self._rownumber

    async def execute(self, query: Any, args: Any = None) -> Any:
        connection = self._get_db()  # type: ignore[attr-defined]
        execute = super().execute  # type: ignore[misc]
        if connection.is_inside:
            return await execute(query, args)
        self._close_access()
        await self._drain()
        given = None

        async def run(own: Any, values: Any) -> None:
            nonlocal given
            given = await execute(own if isinstance(query, str) else query, values)

        access = await connection.run_captured(query, args, run, is_seen=self.is_seen)
        if access is not None and self._hide(access, connection.captured.reads.schema_changed):
            # As when it came, but for its warnings: they were shown.
            before, connection._result = connection._result, self._result
            self._result.warning_count = 0
            await self._do_get_result()  # type: ignore[attr-defined]
            connection._result = before
            self._executed = self._last_executed = self.mogrify(query, args)  # type: ignore[attr-defined]
        return given

    async def executemany(self, query: Any, args: Any) -> Any:
        run = super().executemany  # type: ignore[misc]
        if args:
            await self._drain()
        return await self._run_unseen(query, lambda: run(query, args))

    async def callproc(self, procname: Any, args: Any = ()) -> Any:
        call = super().callproc  # type: ignore[misc]
        return await self._run_unseen(call_of(procname), lambda: call(procname, args))

    async def close(self) -> None:
        self._close_access()
        await super().close()  # type: ignore[misc]

    async def _drain(self) -> None:
        while await self.nextset():  # type: ignore[attr-defined]
            pass

    async def _run_unseen(self, text: Any, run: Callable[[], Awaitable[T]]) -> T:
        self._close_access()
        given: T = await self._get_db().run_unseen(text, run)  # type: ignore[attr-defined]
        return given


@functools.lru_cache(maxsize=256)
def _captured_class(kind: Any) -> Any:
    is_seen = not issubclass(kind, aiomysql.SSCursor) and is_own(kind, "aiomysql.cursors")
    return type(kind.__name__, (_Captured, kind), {"is_seen": is_seen})


class _Pool(aiomysql.Pool):  # type: ignore[misc]
    """Of connections that are captured from before anybody has them."""

    kind: type[Connection]

    async def _fill_free_pool(self, override_min: bool) -> None:
        await super()._fill_free_pool(override_min)
        for connection in self._free:
            connection.__class__ = self.kind

    def release(self, conn: Any) -> Any:
        conn.check_in()
        return super().release(conn)


async def _connect(kind: type[Connection], args: Any, kwargs: Any) -> Connection:
    connection = kind(*args, **kwargs)
    await connection._connect()
    return connection


async def _create_pool(
    kind: type[Connection],
    minsize: int = 1,
    maxsize: int = 10,
    echo: bool = False,
    pool_recycle: int = -1,
    loop: Any = None,
    **kwargs: Any,
) -> _Pool:
    loop = loop or asyncio.get_running_loop()
    pool = _Pool(minsize, maxsize, echo, pool_recycle, loop, **kwargs)
    pool.kind = kind
    if minsize > 0:
        async with pool._cond:
            await pool._fill_free_pool(False)
    return pool


class _Unseen:
    """A connection as capture itself uses it, inside of `run_sync`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> _UnseenCursor:
        return _UnseenCursor(self._connection)


class _UnseenCursor:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = aiomysql.Cursor(connection)

    def execute(self, text: str, parameters: Any = None) -> None:
        """What the connection says of the application's last statement stays as it is."""
        connection = self._connection
        result, affected = connection._result, connection._affected_rows
        try:
            with connection.inside():
                wait_for(self._cursor.execute(text, parameters))
        finally:
            if not is_pending(connection._result):
                connection._result, connection._affected_rows = result, affected

    def nextset(self) -> Any:
        return wait_for(self._cursor.nextset())

    def fetchall(self) -> list[Any]:
        return list(wait_for(self._cursor.fetchall()))

    @property
    def description(self) -> Any:
        return self._cursor.description

    def close(self) -> None:
        pass
