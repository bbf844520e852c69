"""Capture for plain asyncpg: `connect()` gives a connection whose statements are seen.

The server's triggers see every write; here the transaction is told who acts, and records that are
fetched are recorded by key, of prepared statements and cursors, too. COPY, `executemany` and
`fetchmany` are recorded by statement. `await trail.record_async(..., on=connection)` puts an event
into the open transaction.

```python
from indelible.capture.asyncpg import connect, connection_class, create_pool

connection = await connect("postgresql://app@db/shop", trail=trail)
pool = create_pool("postgresql://app@db/shop", trail=trail)
```
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from indelible.capture.asyncpg_records import hiding, read_through
from indelible.capture.asyncpg_statements import CursorFactory, PreparedStatement

# What stands above says how asyncpg is installed, where it isn't.
import asyncpg  # isort: skip

from indelible.capture.access import Access
from indelible.capture.greenlets import run_sync, wait_for
from indelible.capture.host import CaptureHost
from indelible.capture.kept import class_kept_with
from indelible.capture.postgres.names import quote_name
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture
from indelible.capture.postgres.wires import AsyncpgWire
from indelible.capture.recording import Recording

T = TypeVar("T")


async def connect(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `asyncpg.connect`, with every statement captured into `trail`.

    Results, errors and transaction states are those of a plain connection; where a statement
    doesn't select its keys, its records are of a subclass of their class. Raises `CaptureError`
    where the trail's configuration names no server, and whatever `asyncpg.connect` raises.
    """
    return await asyncpg.connect(*args, connection_class=connection_class(trail), **kwargs)


def create_pool(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `asyncpg.create_pool`, of connections as `connect` gives them."""
    return asyncpg.create_pool(*args, connection_class=connection_class(trail), **kwargs)


def connection_class(trail: CaptureHost) -> Any:
    """The class of `connect`, to be given to asyncpg. Raises `CaptureError` as `connect` does."""
    return class_kept_with(trail, Connection, ServerCapture)


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that tells who acts and records what is read."""

    _server: ClassVar[ServerCapture]
    _captured: ConnectionStatements | None = None
    _is_running = False

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            self._captured = self._server.statements(_Wire(_Unseen(self), self))
        return self._captured

    async def run_sync(self, work: Callable[[Recording], T]) -> T:
        """What `work` returns, which may record on what it's given: for `trail.record_async`."""
        with self._alone():
            return await run_sync(lambda: work(Recording(self.captured.transaction)))

    async def run_captured(
        self,
        text: Any,
        args: Sequence[Any] | None,
        run: Callable[[Any], Awaitable[object]],
        *,
        timeout: float | None = None,
        is_seen: bool = True,
    ) -> Access | None:
        """Run `text`, or what takes its place, by way of `run`: see `ConnectionReads.run`."""
        if not isinstance(text, str):
            await run(text)
            return None
        with self._alone():
            async with asyncio.timeout(self._protocol._get_timeout(timeout)):
                return await run_sync(
                    lambda: self.captured.run(
                        text, args, lambda own, _: wait_for(run(own)), is_seen=is_seen
                    )
                )

    async def run_unseen(
        self, text: str, run: Callable[[], Awaitable[T]], timeout: float | None
    ) -> T:
        """What `run` returns, which runs `text` and may hand out its rows: by statement."""
        with self._alone():
            async with asyncio.timeout(self._protocol._get_timeout(timeout)):
                return await run_sync(
                    lambda: self.captured.run_unseen(text, lambda: wait_for(run()))
                )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of tasks that share a connection asyncpg refuses all but one: so between what is sent
        for one statement, too."""
        self._check_open()
        if self._is_running:
            raise asyncpg.InterfaceError(
                "cannot perform operation: another operation is in progress"
            )
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False

    async def execute(self, query: Any, *args: Any, timeout: float | None = None) -> Any:
        if args:
            return await super().execute(query, *args, timeout=timeout)
        status = None

        async def run(own: Any) -> None:
            nonlocal status
            status = await super(Connection, self).execute(own, timeout=timeout)

        access = await self.run_captured(query, None, run, timeout=timeout)
        self.hand_over(access, (), exhausted=True)
        return status

    async def _execute(
        self, query: Any, args: Any, limit: int, timeout: float | None, **options: Any
    ) -> Any:
        """Of all that fetches or has arguments."""
        if options.get("ignore_custom_codec"):  # asyncpg's own question
            return await super()._execute(query, args, limit, timeout, **options)
        kind = options.pop("record_class", None)
        given: Any = None

        async def run(own: Any) -> None:
            nonlocal given
            shown = kind if own is query else self.hiding(own, kind)
            given = await super(Connection, self)._execute(
                own, args, limit, timeout, record_class=shown, **options
            )

        access = await self.run_captured(query, args, run, timeout=timeout)
        self.hand_over(access, () if options.get("return_status") else given, exhausted=True)
        return given

    async def _executemany(
        self, query: Any, args: Any, timeout: float | None, **options: Any
    ) -> Any:
        given: Any = None

        async def run(own: Any) -> None:
            nonlocal given
            given = await super(Connection, self)._executemany(own, args, timeout, **options)

        await self.run_captured(query, None, run, timeout=timeout, is_seen=False)
        return given

    async def _copy_out(self, copy_stmt: str, output: Any, timeout: float | None) -> Any:
        copy = super()._copy_out
        return await self.run_unseen(copy_stmt, lambda: copy(copy_stmt, output, timeout), timeout)

    async def _copy_in(self, copy_stmt: str, source: Any, timeout: float | None) -> Any:
        copy = super()._copy_in
        return await self.run_unseen(copy_stmt, lambda: copy(copy_stmt, source, timeout), timeout)

    async def copy_records_to_table(
        self, table_name: Any, *, timeout: float | None = None, **options: Any
    ) -> Any:
        copy = super().copy_records_to_table
        return await self.run_unseen(
            f"COPY {quote_name(str(table_name))} FROM STDIN",
            lambda: copy(table_name, timeout=timeout, **options),
            timeout,
        )

    async def prepare(self, query: Any, **options: Any) -> Any:
        made = await super().prepare(query, **options)
        return PreparedStatement(self, query, made._state)

    def cursor(
        self,
        query: Any,
        *args: Any,
        prefetch: int | None = None,
        timeout: float | None = None,
        record_class: Any = None,
    ) -> Any:
        self._check_open()
        return CursorFactory(self, query, None, args, prefetch, timeout, record_class)

    async def reset(self, *, timeout: float | None = None) -> None:
        async with asyncio.timeout(timeout):
            await self._reset()
            query = self.get_reset_query()
            if query:  # which reads nothing, and leaves the session as it was
                await super().execute(query)
        if self._captured is not None:
            self._captured.reads.session_reset()

    async def _reset(self) -> None:
        """The connection goes back to its pool."""
        self._check_in()
        await super()._reset()

    def _cleanup(self) -> None:
        self._check_in()
        super()._cleanup()

    def _check_in(self) -> None:
        if self._captured is not None:
            self._captured.check_in()

    def hand_over(self, access: Access | None, records: Sequence[Any], *, exhausted: bool) -> None:
        """`records` are about to be the application's."""
        if access is not None:
            rows = read_through(records, access)
            if rows and access.is_of_another_schema:
                self.captured.reads.schema_changed()
            access.hand_over(rows, exhausted=exhausted)

    def hiding(self, text: str, kind: Any) -> Any:
        """The class of the records of a rewritten statement."""
        return hiding(text, kind or self._protocol.get_record_class())


class _Wire(AsyncpgWire):
    @property
    def is_broken(self) -> bool:
        return bool(self._driver.is_closed())

    @property
    def is_idle(self) -> bool:
        return self.is_broken or super().is_idle

    @property
    def is_open(self) -> bool:
        return not self.is_broken and super().is_open

    def query(self, text: str, parameters: Any = None) -> list[Any]:
        # Parameters of the application's go through its codecs, whatever is ours doesn't.
        is_ours = parameters is None
        return _asked(self._driver, text, parameters or (), ignore_custom_codec=is_ours)

    def _run(self, command: str) -> None:
        wait_for(asyncpg.Connection.execute(self._driver, command))

    def rollback(self) -> None:
        try:
            super().rollback()
        except asyncio.CancelledError:
            # Once more, while the first cancellation is seen to: nobody may find it open.
            self._driver.terminate()
            raise


class _Unseen:
    """A connection as capture itself uses it, inside of `run_sync`."""

    autocommit = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> _UnseenCursor:
        return _UnseenCursor(self._connection)

    def rollback(self) -> None:
        raise NotImplementedError("asyncpg begins no transaction by itself")


class _UnseenCursor:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, text: str, parameters: Sequence[Any]) -> None:
        _asked(self._connection, text, parameters, ignore_custom_codec=True)

    def close(self) -> None:
        pass


def _asked(
    connection: Connection, text: str, parameters: Sequence[Any], *, ignore_custom_codec: bool
) -> list[Any]:
    """All rows of a statement of ours."""
    records = wait_for(
        asyncpg.Connection._execute(
            connection, text, parameters, 0, None, ignore_custom_codec=ignore_custom_codec
        )
    )
    return [tuple(record) for record in records]
