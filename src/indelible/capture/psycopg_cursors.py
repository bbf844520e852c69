"""What captured cursors and connections of psycopg 3 have in common, waited for or not.

Rows are taken where psycopg makes them: before the row factory, which sees the application's own
columns only.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

try:
    from psycopg import sql
    from psycopg.client_cursor import ClientCursorMixin
    from psycopg.raw_cursor import RawCursorMixin
    from psycopg.rows import no_result
except ImportError as missing:
    raise ImportError("expected psycopg 3: pip install 'indelible[postgres]'") from missing

from indelible.capture.access import Access
from indelible.capture.extraction import Row
from indelible.capture.postgres.statements import (
    ConnectionStatements,
    ServerCapture,
    decoded,
)
from indelible.capture.postgres.wires import Wire
from indelible.capture.recording import TransactionContext


class CapturedCursor:
    """What every cursor of a captured connection does; stands before psycopg's own class."""

    _access: Access | None = None
    _is_running = False
    _is_scrolled = False
    """Whether rows may be fetched again, and ones that weren't fetched before."""
    _are_whole = False
    """Whether a fetch gives rows as they came, as tuples; else they are noted as each is made."""
    _loaded: list[Row]
    """Rows as they came, of which the application's were made by the fetch that is under way."""
    _page: deque[Row]
    """Those of the page that is being iterated over."""

    def scroll(self, *args: Any, **kwargs: Any) -> Any:
        self._is_scrolled = True
        return super().scroll(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> Any:
        self._close_access()
        return super().close()  # type: ignore[misc]

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
        has_hidden = access.has_hidden_columns
        make = self._row_factory(_Shown(self) if has_hidden else self)
        self._are_whole = make is tuple
        if self._are_whole:
            return tuple  # nothing has to be called for each row
        load, visible = self._loaded.append, access.visible

        def note(values: Row) -> Any:
            load(values)
            return make(visible([values])[0] if has_hidden else values)

        return note

    def _execute(
        self,
        query: Any,
        params: Any,
        run: Callable[[Any, Any], Any],
        ask: Callable[[str, Any], list[Any]],
        *,
        is_seen: bool,
    ) -> None:
        """Run `query`, or what takes its place, by way of `run`."""
        statements, text, is_exact = self._statements(query)
        self._is_running = is_seen = is_seen and is_exact
        try:
            access = statements.run(
                text,
                params,
                lambda own, values: run(query if own is text else own, values),
                query=ask,
                is_seen=is_seen,
            )
        finally:
            self._is_running = False
        if is_seen:
            self._read_through(access)

    def _read_through(self, access: Access | None) -> None:
        """From here on the rows of the result are `access`'s."""
        self._access = access
        self._loaded, self._page = [], deque()
        self._is_scrolled = False
        if access is not None and access.must_describe:
            access.describe(super().description, _name_of)  # type: ignore[misc]
            if access.is_of_another_schema:
                self.connection.captured.reads.schema_changed()  # type: ignore[attr-defined]
        self._make_row = self._make_row_maker()

    def _will_fetch(self) -> None:
        """What an earlier fetch loaded was handed over, or its rows couldn't be made."""
        if self._access is not None:
            self._loaded.clear()

    def _hand_over(self, rows: list[Any], *, exhausted: bool) -> list[Any]:
        """The fetched `rows` as the application is about to get them."""
        if self._are_whole:
            return self._hand_over_whole(rows, exhausted=exhausted)
        if self._access is not None:
            loaded, self._loaded[:] = self._loaded[:], ()
            self._access.hand_over(loaded, exhausted=exhausted and not self._is_scrolled)
        return rows

    def _hand_over_whole(self, rows: list[Any], *, exhausted: bool) -> list[Any]:
        if self._access is None:
            return rows
        shown = self._access.visible(rows)
        self._access.hand_over(rows, exhausted=exhausted and not self._is_scrolled)
        return shown

    def _hand_over_one(self, row: Any) -> Any:
        """The same, of a row that was fetched alone."""
        # What a row factory makes of a row may be None, too.
        is_end = row is None and (self._are_whole or not self._loaded)
        found = self._hand_over([] if is_end else [row], exhausted=is_end)
        return None if is_end else found[0]

    def _hand_over_next(self, row: Any) -> Any:
        """The same, of an iteration: the server's cursor has fetched a whole page for it, which
        other fetches pass over, and which stays as it was made when the row factory changes."""
        if self._access is None:
            return row
        self._page += self._loaded
        if not self._page:
            return self._hand_over_whole([row], exhausted=False)[0]
        self._loaded.clear()
        self._access.hand_over([self._page.popleft()], exhausted=False)
        return row

    def _close_access(self) -> None:
        access, self._access = self._access, None
        if access is not None:
            access.close()

    def _kind(self, plain: Any, client: Any, raw: Any) -> Any:
        """That cursor of psycopg's which takes parameters as this one does."""
        if isinstance(self, ClientCursorMixin):
            return client
        return raw if isinstance(self, RawCursorMixin) else plain

    def _statements(self, query: Any) -> tuple[ConnectionStatements, str, bool]:
        """Those of the connection; the text of `query`, and whether it is exactly that."""
        connection = self.connection  # type: ignore[attr-defined]
        return connection.captured, *_text_of(query, connection)


class CapturedConnection:
    """A connection whose cursors tell who acts and record what is read."""

    _server: ClassVar[ServerCapture]
    _cursor: ClassVar[Any]
    """What its cursors are."""
    _captured: ConnectionStatements | None = None

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            self._captured = self._server.statements(self._wire())
        return self._captured

    @property
    def context(self) -> TransactionContext:
        """Where an explicit event goes that is recorded on this connection."""
        return self.captured.transaction

    @property
    def cursor_factory(self) -> Any:
        return self._cursor_factory

    @cursor_factory.setter
    def cursor_factory(self, factory: Any) -> None:
        self._cursor_factory = seen_as(factory, self._cursor)

    @property
    def server_cursor_factory(self) -> Any:
        return self._server_cursor_factory

    @server_cursor_factory.setter
    def server_cursor_factory(self, factory: Any) -> None:
        self._server_cursor_factory = seen_as(factory, self._cursor)

    def close(self) -> Any:
        if self._captured is not None:
            self._captured.check_in()
        return super().close()  # type: ignore[misc]

    def _wire(self) -> Wire:
        raise NotImplementedError


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
def seen_as(factory: Any, captured: Any) -> Any:
    """`factory`, or its subclass that is captured."""
    if issubclass(factory, captured):
        return factory
    return type(factory.__name__, (captured, factory), {})


def _name_of(column: Any) -> str:
    return str(column.name)


def _text_of(query: Any, connection: Any) -> tuple[str, bool]:
    """The text of what was given to `execute`, and whether it is exactly that; what that refuses
    is refused there."""
    if isinstance(query, bytes):
        return decoded(query, connection.pgconn._encoding)
    if isinstance(query, sql.Composable):
        with contextlib.suppress(Exception):
            return query.as_string(connection), True
    return str(query), isinstance(query, str)
