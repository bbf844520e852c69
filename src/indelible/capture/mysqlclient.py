"""Capture for plain mysqlclient (MySQLdb): `connect()` gives a connection whose statements are
seen.

The server's triggers see every write; here the connection is told who acts, and rows that are
fetched are recorded by key, through cursors of mysqlclient's own buffered classes and of ones that
leave its fetching alone. `executemany`, `callproc`, `connection.query` and unbuffered cursors are
recorded by statement. mysqlclient has to be built with MariaDB's Connector/C.

```python
from indelible.capture.mysqlclient import connect, connection_class

connection = connect(host="db", user="shop_app", database="shop", trail=trail)
pool = PooledDB(connection_class(trail), 5, host="db", user="shop_app", database="shop")
```
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from indelible.capture.mysqlclient_wire import MysqlclientWire

# What stands above says how mysqlclient is installed, where it isn't.
from MySQLdb.connections import Connection as PlainConnection  # isort: skip
from MySQLdb.cursors import CursorStoreResultMixIn  # isort: skip

from indelible.capture.access import Access
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.wires import Wire
from indelible.capture.mysql_connections import CapturedConnection, class_for
from indelible.capture.mysql_cursors import CapturedCursor, is_own

T = TypeVar("T")

_TUPLES, _DICTS = 0, 1
"""What mysqlclient calls the ways to make rows."""


def connect(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `MySQLdb.connect`, with every statement captured into `trail`.

    Results, errors and transaction states are those of a plain connection. Raises `CaptureError`
    where the trail's configuration names no such server, and whatever `MySQLdb.connect` raises.
    """
    return connection_class(trail)(*args, **kwargs)


def connection_class(trail: CaptureHost) -> Any:
    """The class of `connect`, to be given to a pool. Raises `CaptureError` as `connect` does."""
    return class_for(trail, Connection)


class Connection(CapturedConnection, PlainConnection):  # type: ignore[misc]  # it has no types
    """A connection that tells who acts and records what is read."""

    _kept: tuple[Any, ...] | None = None
    """What was said of the application's last statement, where one of ours ran behind it."""
    _shown_id: Any = 0
    """What `insert_id` says: what the last one said that has no rows and didn't fail."""
    is_waiting = False
    """Whether the last statement's answer, or its rows, may be left to be fetched."""
    hidden_fields = 0
    """How many columns of the last result the application doesn't see."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with self.inside():
            super().__init__(*args, **kwargs)

    def _wire(self) -> Wire:
        return _Wire(self)

    def cursor(self, cursorclass: Any = None) -> Any:
        return _captured_class(cursorclass or self.cursorclass)(self)

    def query(self, query: Any) -> Any:
        send = super().query

        def run(text: Any) -> Any:
            given = send(text)
            self._answered()
            return given

        return self._sent(query, run)

    def send_query(self, query: Any) -> Any:
        send = super().send_query

        def run(text: Any) -> Any:
            given = send(text)
            self.is_waiting = True
            return given

        return self._sent(query, run)

    def read_query_result(self) -> Any:
        given = super().read_query_result()
        self._answered()
        return given

    def store_result(self) -> Any:
        self.is_waiting = False
        return super().store_result()

    def discard_result(self) -> Any:
        self.is_waiting = False
        return super().discard_result()

    def change_user(self, *args: Any, **kwargs: Any) -> Any:
        self._begins_anew()
        return super().change_user(*args, **kwargs)

    def field_count(self) -> Any:
        if self._kept is not None:
            return self._kept[3]
        return super().field_count() - self.hidden_fields

    def next_result(self) -> Any:
        found = super().next_result()
        if found == 0:
            self._answered()
        if self._kept is not None:  # it says of the rows affected that they aren't known
            self._kept = super().affected_rows(), *self._kept[1:]
        return found

    def insert_id(self) -> Any:
        return self._shown_id

    def affected_rows(self) -> Any:
        return super().affected_rows() if self._kept is None else self._kept[0]

    def warning_count(self) -> Any:
        return super().warning_count() if self._kept is None else self._kept[1]

    def info(self) -> Any:
        return super().info() if self._kept is None else self._kept[2]

    def keep(self) -> None:
        """A statement of ours runs next."""
        said = self.affected_rows(), self.warning_count(), self.info(), self.field_count()
        self._kept = said

    def _ends(self) -> None:
        super()._ends()
        self._kept, self._shown_id = None, 0

    def _answered(self) -> None:
        """A statement went well."""
        self.is_waiting = bool(super().field_count())
        if not self.is_waiting:
            self._shown_id = super().insert_id()

    def _sent(self, query: Any, send: Callable[[Any], T]) -> T:
        if not self._is_inside:
            return self.run_unseen(query, lambda: self._sent(query, send))
        self._kept, self.is_waiting, self.hidden_fields = None, False, 0
        return send(query)


class _Wire(MysqlclientWire):
    @property
    def is_busy(self) -> bool:
        driver = self._driver
        return bool(driver.is_waiting or (not driver.closed and driver.more_results()))

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        self._driver.keep()
        with super().cursor() as cursor:
            yield cursor


class _Captured(CapturedCursor):
    connection: Any
    description: Any
    description_flags: Any
    rownumber: int | None
    is_dict: ClassVar[bool]
    _result: Any
    _rows: Any

    def _at(self) -> int:
        return self.rownumber or 0

    def _drain(self) -> None:
        self._discard()  # type: ignore[attr-defined]

    def nextset(self) -> Any:
        self._close_access()  # what is left of the last result is nobody's
        return super().nextset()  # type: ignore[misc]

    def _post_get_result(self) -> None:
        result = self._result
        raw: Any = None
        if self.is_seen and self.is_dict and result is not None:
            raw = result.fetch_row(0, _TUPLES)
            result.data_seek(0)
        super()._post_get_result()  # type: ignore[misc]
        self._raw = self._rows if raw is None else raw

    def _read_through(self, access: Access, query: Any, args: Any) -> None:
        columns = self.description or ()
        changed = self.connection.captured.reads.schema_changed
        places = self._shown(access, list(self._raw), columns, changed)
        if places is None:
            return
        self.connection.hidden_fields = len(columns) - len(places)
        hidden = {column[0] for n, column in enumerate(columns) if n not in places}
        self.description = tuple(columns[place] for place in places)
        self.description_flags = tuple(self.description_flags[place] for place in places)
        if self.is_dict:
            self._rows = tuple(
                {name: value for name, value in row.items() if name not in hidden}
                for row in self._rows
            )
        else:
            self._rows = tuple(access.visible(list(self._raw)))
        self._executed = self._mogrify(query, args)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=256)
def _captured_class(kind: Any) -> Any:
    how = getattr(kind, "_fetch_type", None)
    is_seen = (
        issubclass(kind, CursorStoreResultMixIn)
        and how in (_TUPLES, _DICTS)
        and is_own(kind, "MySQLdb.cursors")
    )
    members = {"is_seen": is_seen, "is_dict": how == _DICTS}
    return type(kind.__name__, (_Captured, kind), members)
