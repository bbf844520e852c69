"""Where SQLAlchemy's results take their rows from: recorded, and without what is hidden.

`ResultFetchStrategy` is semi-private; `make test` holds it for each supported minor version.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.engine import cursor as cursors

from indelible.capture.access import Access


def read_through(
    access: Access, schema_changed: Callable[[], None], cursor: Any, context: Any
) -> None:
    """From here on the rows of `cursor` are `access`'s.

    `schema_changed` is called where the columns aren't those that the plan counts on.
    """
    options = context.execution_options
    strategy: _Rows | _BufferedRows
    if context._is_server_side or options.get("stream_results", False):
        # Fetches a row: only then some drivers know the columns.
        strategy = _BufferedRows(access, None, cursor, options, growth_factor=5)
    else:
        strategy = _Rows(access, None)
    if access.must_describe:
        description = access.describe(cursor.description, _name_of)
        if access.is_of_another_schema:
            schema_changed()
        if access.has_hidden_columns:
            strategy.alternate_cursor_description = description
    context.cursor_fetch_strategy = strategy


def is_pooled(connection: Any) -> bool:
    """Whether it is a connection of a pool, on which something may be kept."""
    try:
        return connection.info is not None
    except NotImplementedError:
        return False


class Executing(abc.ABC):
    """The listeners of an engine that run its statements themselves."""

    @abc.abstractmethod
    def run(
        self,
        text: str,
        parameters: Any,
        run: Callable[[str, Any], object],
        cursor: Any,
        context: Any,
        *,
        is_seen: bool = True,
    ) -> bool:
        """Run `text`, or what takes its place, by way of `run`; False leaves it to SQLAlchemy.

        Without `is_seen` its rows go past us.
        """

    def execute(self, cursor: Any, text: str, parameters: Any, context: Any) -> bool:
        """Run one statement; True says that it ran."""
        dialect = context.dialect
        return self.run(
            text,
            parameters,
            lambda own, values: dialect.do_execute(cursor, own, values, context),
            cursor,
            context,
        )

    def execute_without_parameters(self, cursor: Any, text: str, context: Any) -> bool:
        dialect = context.dialect
        return self.run(
            text,
            None,
            lambda own, _: dialect.do_execute_no_params(cursor, own, context),
            cursor,
            context,
        )

    def execute_many(self, cursor: Any, text: str, parameters: Any, context: Any) -> bool:
        dialect = context.dialect
        return self.run(
            text,
            None,
            lambda own, _: dialect.do_executemany(cursor, own, parameters, context),
            cursor,
            context,
            is_seen=False,
        )


class _Rows(cursors.CursorFetchStrategy):
    """Hands the driver's rows on: records their keys, strips what is hidden."""

    __slots__ = ("_access", "alternate_cursor_description")

    def __init__(self, access: Access, description: Sequence[Any] | None) -> None:
        self._access = access
        self.alternate_cursor_description = description

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        if not self._access.is_over:
            self._access.close()
        super().soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        self._access.close()
        super().hard_close(result, dbapi_cursor)

    def yield_per(self, result: Any, dbapi_cursor: Any, num: int) -> None:
        result.cursor_strategy = _BufferedRows(
            self._access,
            self.alternate_cursor_description,
            dbapi_cursor,
            {"max_row_buffer": num},
            initial_buffer=deque(),
            growth_factor=0,
        )

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        row = _fetch(self, result, dbapi_cursor, dbapi_cursor.fetchone)
        if row is None:
            self._access.hand_over((), exhausted=True)
            result._soft_close(hard=hard_close)
            return None
        return _handed(self._access, [row], exhausted=False)[0]

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        wanted = dbapi_cursor.arraysize if size is None else size
        rows = _fetch(self, result, dbapi_cursor, lambda: dbapi_cursor.fetchmany(wanted))
        rows = _handed(self._access, rows, exhausted=len(rows) != wanted)
        if not rows:
            result._soft_close()
        return rows

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        # The way that nearly every result goes, so without calls that can be spared.
        try:
            rows = dbapi_cursor.fetchall()
        except BaseException as error:  # noqa: BLE001 - as in _fetch
            self.handle_exception(result, dbapi_cursor, error)
        access = self._access
        access.hand_over(rows, exhausted=True)
        if access.has_hidden_columns:
            rows = access.visible(rows)
        result._soft_close()
        return rows


class _BufferedRows(cursors.BufferedRowCursorFetchStrategy):
    """The same over a buffer: what stays in it wasn't handed over."""

    __slots__ = ("_access", "alternate_cursor_description")

    def __init__(
        self,
        access: Access,
        description: Sequence[Any] | None,
        dbapi_cursor: Any,
        options: Any,
        **buffering: Any,
    ) -> None:
        super().__init__(dbapi_cursor, options, **buffering)
        self._access = access
        self.alternate_cursor_description = description

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        if not self._access.is_over:
            self._access.close()
        super().soft_close(result, dbapi_cursor)

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        self._access.close()
        super().hard_close(result, dbapi_cursor)

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        if not self._rowbuffer:
            self._buffer_rows(result, dbapi_cursor)
            if not self._rowbuffer:
                self._access.hand_over((), exhausted=True)
                result._soft_close(hard=hard_close)
                return None
        return _handed(self._access, [self._rowbuffer.popleft()], exhausted=False)[0]

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        if size is None:
            return self.fetchall(result, dbapi_cursor)
        buffer = self._rowbuffer
        missing = size - len(buffer)
        if missing > 0:
            buffer.extend(
                _fetch(self, result, dbapi_cursor, lambda: dbapi_cursor.fetchmany(missing))
            )
        rows = [buffer.popleft() for _ in range(min(size, len(buffer)))]
        rows = _handed(self._access, rows, exhausted=len(rows) < size)
        if not rows:
            result._soft_close()
        return rows

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        rest = _fetch(self, result, dbapi_cursor, dbapi_cursor.fetchall)
        rows = [*self._rowbuffer, *rest]
        self._rowbuffer.clear()
        rows = _handed(self._access, rows, exhausted=True)
        result._soft_close()
        return rows


def _fetch(
    strategy: cursors.CursorFetchStrategy,
    result: Any,
    dbapi_cursor: Any,
    fetch: Callable[[], Any],
) -> Any:
    try:
        return fetch()
    except BaseException as error:  # noqa: BLE001 - SQLAlchemy's own rule for what a driver raises
        strategy.handle_exception(result, dbapi_cursor, error)


def _handed(access: Access, rows: list[Any], *, exhausted: bool) -> list[Any]:
    access.hand_over(rows, exhausted=exhausted)
    return access.visible(rows)


def _name_of(column: Any) -> str:
    return str(column[0])
