"""Where rows leave psycopg2's cursors under capture: recorded, and without what is hidden."""

from __future__ import annotations

from typing import Any, Final, cast

from psycopg2 import extensions

from indelible.capture.access import Access

_ROW_FACTORY: Final[Any] = extensions.cursor.row_factory


class Rows(extensions.cursor):  # type: ignore[misc]  # psycopg2 has no types
    """Stands behind the application's own cursor class, right before psycopg2's."""

    _access: Access | None = None
    _is_described = False
    _described: tuple[Any, Any] = (None, None)
    """psycopg2's columns, and those of the application."""
    _is_scrolled = False
    """Whether rows may be fetched again, and ones that weren't fetched before."""
    _factory: Any = None
    _shown: dict[int, int]
    """Where a column of the driver's stands among those of the application."""
    ran: tuple[Any, Any, Any, Any] | None = None
    """What ran in place of the application's text, that text, and its parameters."""

    def fetchone(self) -> Any:
        row = super().fetchone()
        rows = self._handed([] if row is None else [row], exhausted=row is None)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        rows: list[Any] = super().fetchmany(size)
        return self._handed(rows, exhausted=len(rows) < (self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        return self._handed(super().fetchall(), exhausted=True)

    def __next__(self) -> Any:
        try:
            row = super().__next__()
        except StopIteration:
            self._handed([], exhausted=True)
            raise
        return self._handed([row], exhausted=False)[0]

    def scroll(self, *args: Any, **kwargs: Any) -> None:
        self._is_scrolled = True
        super().scroll(*args, **kwargs)

    def close(self) -> None:
        self.close_access()
        super().close()

    def __del__(self) -> None:
        if self._access is not None:
            self._access.abandon()

    @property
    def description(self) -> Any:
        columns = super().description
        if self._access is None or columns is None:
            return columns
        if self._described[0] is not columns:  # some ask for it with each row
            self._described = columns, self._access.describe(columns, _name_of)
        return self._described[1]

    @property
    def query(self) -> Any:
        """What was sent, of the application's own text."""
        sent = super().query
        if self.ran is None or sent is None:
            return sent
        own, values, text, parameters = self.ran
        ran = self.mogrify(own, values)
        if not sent.endswith(ran):
            return sent
        return sent[: -len(ran)] + self.mogrify(text, parameters)

    @property
    def row_factory(self) -> Any:
        return self._factory if self._access is not None else _ROW_FACTORY.__get__(self)

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        self._factory = factory
        is_read = self._access is not None and factory is not None
        _ROW_FACTORY.__set__(self, _Made if is_read else factory)

    def read_through(self, access: Access | None) -> None:
        """From here on the rows of the result are `access`'s."""
        if access is None:
            return
        factory = self.row_factory
        self._access = access
        self._is_described = self._is_scrolled = False
        self._described = (None, None)
        self.row_factory = factory
        if super().description is not None:
            self._describe(access)

    def close_access(self) -> None:
        access, self.ran = self._access, None
        if access is not None:
            factory, self._access = self.row_factory, None
            self.row_factory = factory
            access.close()

    def _describe(self, access: Access) -> None:
        """Find out which columns are hidden: of a cursor of the server's that shows with the first
        rows."""
        columns = super().description
        access.describe(columns, _name_of)
        if access.is_of_another_schema:
            self.connection.captured.reads.schema_changed()
        places: list[Any] = list(range(len(columns)))
        (shown,) = access.visible([tuple(places)])
        self._shown = {place: number for number, place in enumerate(cast("tuple[int]", shown))}
        self._is_described = True

    def _handed(self, rows: list[Any], *, exhausted: bool) -> list[Any]:
        """`rows` as the application gets them, once they are recorded."""
        access = self._access
        if access is None:
            return rows
        if rows and not self._is_described:
            self._describe(access)
        loaded, shown = rows, rows
        if rows and isinstance(rows[0], _Made):
            loaded = [tuple(row.values) for row in rows]
            shown = [row.made for row in rows]
        elif access.has_hidden_columns:
            shown = access.visible(rows)
        access.hand_over(loaded, exhausted=exhausted and not self._is_scrolled)
        return shown


class _Made:
    """A row that the application's factory makes, as psycopg2 fills it in."""

    __slots__ = ("_shown", "made", "values")

    def __init__(self, cursor: Rows) -> None:
        if not cursor._is_described and cursor._access is not None:
            cursor._describe(cursor._access)
        self._shown = cursor._shown
        self.values: list[Any] = []
        self.made = cursor.row_factory(cursor)

    def __setitem__(self, place: int, value: Any) -> None:
        self.values.append(value)
        shown = self._shown.get(place)
        if shown is not None:
            self.made[shown] = value


def _name_of(column: Any) -> str:
    return str(column.name)
