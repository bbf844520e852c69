"""What outlives one call on a captured connection of asyncpg: prepared statements and cursors.

They have asyncpg's names, which its errors tell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from asyncpg import connresource, prepared_stmt
from asyncpg import cursor as cursors

from indelible.capture.access import Access

_NO_ROW: Final = object()


class PreparedStatement(prepared_stmt.PreparedStatement):  # type: ignore[misc]
    """The application's own; what is rewritten is prepared beside it."""

    _beside: tuple[str, Any] = ("", None)
    """The rewritten text, and the statement of asyncpg's that is of it."""

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def fetch(self, *args: Any, timeout: float | None = None) -> Any:
        return await self._fetch("fetch", args, timeout)

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def fetchval(self, *args: Any, column: Any = 0, timeout: float | None = None) -> Any:
        row = await self._fetch("fetchrow", args, timeout)
        return None if row is None else row[column]

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def fetchrow(self, *args: Any, timeout: float | None = None) -> Any:
        return await self._fetch("fetchrow", args, timeout)

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def fetchmany(self, args: Any, *, timeout: float | None = None) -> Any:
        return await self._many(super().fetchmany, args, timeout)

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def executemany(self, args: Any, *, timeout: float | None = None) -> None:
        await self._many(super().executemany, args, timeout)

    @connresource.guarded  # type: ignore[untyped-decorator]
    def cursor(self, *args: Any, prefetch: int | None = None, timeout: float | None = None) -> Any:
        state = self._state
        return CursorFactory(
            self._connection, self._query, state, args, prefetch, timeout, state.record_class
        )

    async def _fetch(self, how: str, args: Any, timeout: float | None) -> Any:
        """By asyncpg's own method of the name `how`."""
        fetch = getattr(super(), how)
        given: Any = None

        async def run(own: str) -> None:
            nonlocal given
            if own is self._query:
                given = await fetch(*args, timeout=timeout)
            else:
                beside = await self._prepared(own)
                given = await getattr(beside, how)(*args, timeout=timeout)
                self._last_status = beside._last_status

        access = await self._connection.run_captured(self._query, args, run, timeout=timeout)
        rows = given if how == "fetch" else [] if given is None else [given]
        self._connection.hand_over(access, rows, exhausted=True)
        return given

    async def _many(self, run: Callable[..., Awaitable[Any]], args: Any, timeout: Any) -> Any:
        given: Any = None

        async def run_many(_: str) -> None:
            nonlocal given
            given = await run(args, timeout=timeout)

        await self._connection.run_captured(
            self._query, None, run_many, timeout=timeout, is_seen=False
        )
        return given

    async def _prepared(self, own: str) -> Any:
        if self._beside[0] != own:
            kind = self._connection.hiding(own, self._state.record_class)
            self._beside = own, await self._connection._prepare(own, record_class=kind)
        return self._beside[1]


class CursorFactory(cursors.CursorFactory):  # type: ignore[misc]
    @connresource.guarded  # type: ignore[untyped-decorator]
    def __aiter__(self) -> Any:
        prefetch = 50 if self._prefetch is None else self._prefetch
        return CursorIterator(*self._of_cursor(), prefetch, self._timeout)

    @connresource.guarded  # type: ignore[untyped-decorator]
    def __await__(self) -> Any:
        if self._prefetch is not None:
            return super().__await__()  # which refuses it
        return Cursor(*self._of_cursor())._init(self._timeout).__await__()

    def _of_cursor(self) -> tuple[Any, ...]:
        return self._connection, self._query, self._state, self._args, self._record_class


class _Capturing(cursors.BaseCursor):  # type: ignore[misc]
    """What both kinds of cursor do; stands before asyncpg's own class."""

    _access: Access | None = None
    _state: Any
    _query: str
    _record_class: Any
    _text = ""
    """The application's own."""

    async def _open(self, begin: Callable[[], Awaitable[object]], timeout: float | None) -> None:
        """Begin with what takes the statement's place."""
        text, state, kind = self._query, self._state, self._record_class
        self._text = text

        async def run(own: str) -> None:
            if self._state is not state:
                self._let_go(self._state)
            self._portal_name, self._exhausted, self._query = None, False, own
            self._state, self._record_class = state, kind
            if own is not text:
                self._state = None  # one is prepared that is this cursor's
                self._record_class = self._connection.hiding(own, kind)
            await begin()

        try:
            self._access = await self._connection.run_captured(
                text, self._args, run, timeout=timeout
            )
        finally:
            if self._state is not state:
                self._let_go(state)

    def __repr__(self) -> str:
        own, text = self._query, self._text
        return str(super().__repr__()).replace(f'"{own:.30}"', f'"{text:.30}"', 1)

    def _let_go(self, state: Any) -> None:
        if state is not None:
            state.detach()
            self._connection._maybe_gc_stmt(state)

    def __del__(self) -> None:
        if self._access is not None:
            self._access.abandon()
        super().__del__()


class CursorIterator(_Capturing, cursors.CursorIterator):  # type: ignore[misc]
    _first: Any = _NO_ROW
    _has_begun = False

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def __anext__(self) -> Any:
        if not self._has_begun:
            await self._open(self._begin, self._timeout)
            self._has_begun = True
            row, self._first = self._first, _NO_ROW
        else:
            row = await self._next()
        if row is _NO_ROW:
            self._connection.hand_over(self._access, (), exhausted=True)
            raise StopAsyncIteration
        self._connection.hand_over(self._access, [row], exhausted=False)
        return row

    async def _begin(self) -> None:
        self._buffer.clear()
        self._first = await self._next()

    async def _next(self) -> Any:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            return _NO_ROW


class Cursor(_Capturing, cursors.Cursor):  # type: ignore[misc]
    async def _init(self, timeout: float | None) -> Any:
        begin = super()._init
        await self._open(lambda: begin(timeout), timeout)
        return self

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def fetch(self, n: int, *, timeout: float | None = None) -> Any:
        rows = await super().fetch(n, timeout=timeout)
        self._connection.hand_over(self._access, rows, exhausted=self._exhausted)
        return rows

    @connresource.guarded  # type: ignore[untyped-decorator]
    async def fetchrow(self, *, timeout: float | None = None) -> Any:
        row = await super().fetchrow(timeout=timeout)
        rows = [] if row is None else [row]
        self._connection.hand_over(self._access, rows, exhausted=self._exhausted)
        return row
