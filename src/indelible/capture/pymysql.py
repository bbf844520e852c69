"""Capture for plain PyMySQL: `connect()` gives a connection whose statements are seen.

The server's triggers see every write; here the connection is told who acts, and rows that are
fetched are recorded by key, through cursors of PyMySQL's own buffered classes and of ones that
leave its fetching alone. `executemany`, `callproc`, `connection.query` and unbuffered cursors are
recorded by statement.

```python
from indelible.capture.pymysql import connect, connection_class

with connect(host="db", user="shop_app", database="shop", trail=trail) as connection: ...
pool = PooledDB(connection_class(trail), 5, host="db", user="shop_app", database="shop")
```
"""

from __future__ import annotations

import functools
from typing import Any

try:
    from pymysql.connections import Connection as PlainConnection
    from pymysql.cursors import Cursor as PlainCursor
    from pymysql.cursors import SSCursor
except ImportError as missing:
    raise ImportError("expected PyMySQL: pip install 'indelible[mariadb]'") from missing

from indelible.capture.access import Access
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.wires import Wire, is_pending
from indelible.capture.mysql_connections import CapturedConnection, class_for
from indelible.capture.mysql_cursors import CapturedCursor, PacketRows, is_own


def connect(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `pymysql.connect`, with every statement captured into `trail`.

    Results, errors and transaction states are those of a plain connection. Raises `CaptureError`
    where the trail's configuration names no such server, and whatever `pymysql.connect` raises.
    """
    return connection_class(trail)(*args, **kwargs)


def connection_class(trail: CaptureHost) -> Any:
    """The class of `connect`, to be given to a pool. Raises `CaptureError` as `connect` does."""
    return class_for(trail, Connection)


class Connection(CapturedConnection, PlainConnection):  # type: ignore[misc]  # PyMySQL has no types
    """A connection that tells who acts and records what is read."""

    def _wire(self) -> Wire:
        return Wire(_Unseen(self), self)

    def cursor(self, cursor: Any = None) -> Any:
        return _captured_class(cursor or self.cursorclass)(self)

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        query = super().query
        if self._is_inside:
            return query(sql, unbuffered)
        return self.run_unseen(sql, lambda: query(sql, unbuffered))

    def connect(self, sock: Any = None) -> None:
        """Also again, where `ping` found it gone."""
        self._begins_anew()
        with self.inside():
            super().connect(sock)


class _Captured(CapturedCursor, PacketRows):
    connection: Any
    rownumber: int

    def _at(self) -> int:
        return self.rownumber

    def _drain(self) -> None:
        while self.nextset():  # type: ignore[attr-defined]
            pass

    def _read_through(self, access: Access, query: Any, args: Any) -> None:
        if self._hide(access, self.connection.captured.reads.schema_changed):
            self._do_get_result()  # type: ignore[attr-defined]
            self._executed = self.mogrify(query, args)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=256)
def _captured_class(kind: Any) -> Any:
    is_seen = not issubclass(kind, SSCursor) and is_own(kind, "pymysql.cursors")
    return type(kind.__name__, (_Captured, kind), {"is_seen": is_seen})


class _Unseen:
    """A connection as capture itself uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> _UnseenCursor:
        return _UnseenCursor(self._connection)


class _UnseenCursor(PlainCursor):  # type: ignore[misc]
    def execute(self, query: Any, args: Any = None) -> Any:
        """What the connection says of the application's last statement stays as it is."""
        connection = self.connection
        result, affected = connection._result, connection._affected_rows
        try:
            with connection.inside():
                return super().execute(query, args)
        finally:
            if not is_pending(connection._result):
                connection._result, connection._affected_rows = result, affected
