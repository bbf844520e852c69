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

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

try:
    from pymysql.connections import Connection as PlainConnection
    from pymysql.cursors import Cursor as PlainCursor
    from pymysql.cursors import SSCursor
except ImportError as missing:
    raise ImportError("expected PyMySQL: pip install 'indelible[mariadb]'") from missing

from indelible.capture.access import Access
from indelible.capture.extraction import Row
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.statements import ConnectionStatements, ServerCapture
from indelible.capture.mariadb.transaction import WritingTransaction
from indelible.capture.mariadb.wires import Wire
from indelible.capture.statements.syntax import words

_CLASSES: Final[weakref.WeakKeyDictionary[CaptureHost, Any]] = weakref.WeakKeyDictionary()
_FETCHING: Final = words(
    "fetchone fetchmany fetchall __iter__ __next__ scroll nextset _do_get_result _query"
)
_THEIRS: Final = "pymysql.cursors"


def connect(*args: Any, trail: CaptureHost, **kwargs: Any) -> Any:
    """Like `pymysql.connect`, with every statement captured into `trail`.

    Results, errors and transaction states are those of a plain connection. Raises `CaptureError`
    where the trail's configuration names no such server, and whatever `pymysql.connect` raises.
    """
    return connection_class(trail)(*args, **kwargs)


def connection_class(trail: CaptureHost) -> Any:
    """The class of `connect`, to be given to a pool. Raises `CaptureError` as `connect` does."""
    found = _CLASSES.get(trail)
    if found is None:
        members = {"_server": ServerCapture(trail)}
        found = _CLASSES.setdefault(trail, type("Connection", (Connection,), members))
    return found


class Connection(PlainConnection):  # type: ignore[misc]  # PyMySQL has no types
    """A connection that tells who acts and records what is read."""

    _server: ClassVar[ServerCapture]
    _captured: ConnectionStatements | None = None
    _is_inside = False

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            self._captured = self._server.statements(Wire(_Unseen(self), self))
        return self._captured

    @property
    def context(self) -> WritingTransaction:
        """Where `trail.record(..., on=connection)` puts an event."""
        return self.captured.transaction

    def cursor(self, cursor: Any = None) -> Any:
        return _captured_class(cursor or self.cursorclass)(self)

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        if self._is_inside:
            return super().query(sql, unbuffered)
        return self.run_unseen(sql, lambda: super(Connection, self).query(sql, unbuffered))

    def run_unseen(self, text: Any, run: Callable[[], Any]) -> Any:
        """What `run` returns, which runs `text`: who acts is told, its rows are by statement."""
        given = None

        def run_inside(_: str) -> None:
            nonlocal given
            with self.inside():
                given = run()

        self.run_captured(text, None, run_inside, is_seen=False)
        return given

    def run_captured(
        self, text: Any, parameters: Any, run: Callable[[str], object], *, is_seen: bool
    ) -> Access | None:
        """Run `text`, or what takes its place, by way of `run`."""
        captured = self.captured
        if isinstance(text, bytes | bytearray):
            text, is_seen = text.decode(self.encoding, "replace"), False
        try:
            return captured.run(text, parameters, run, is_seen=is_seen)
        finally:
            captured.ran()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What is sent in here is seen already, or capture's own."""
        before, self._is_inside = self._is_inside, True
        try:
            yield
        finally:
            self._is_inside = before

    def commit(self) -> None:
        self._ends()
        super().commit()

    def rollback(self) -> None:
        self._ends()
        super().rollback()

    def begin(self) -> None:
        self._ends()
        super().begin()

    def autocommit(self, value: Any) -> None:
        self._ends()
        super().autocommit(value)

    def select_db(self, db: Any) -> None:
        super().select_db(db)
        if self._captured is not None:
            self._captured.reads.names_changed()

    def connect(self, sock: Any = None) -> None:
        """Also again, where `ping` found it gone: nothing of the old session holds any more."""
        self._check_in()
        self._captured = None
        with self.inside():
            super().connect(sock)

    def close(self) -> None:
        self._check_in()
        super().close()

    def _ends(self) -> None:
        if self._captured is not None:
            self._captured.ends()

    def _check_in(self) -> None:
        if self._captured is not None:
            self._captured.check_in()


class _Captured:
    """Over a class of cursors: rows are taken where PyMySQL has put them."""

    connection: Any
    rownumber: int
    _result: Any
    _is_seen: ClassVar[bool]
    _access: Access | None = None
    _raw: list[Row]

    def execute(self, query: Any, args: Any = None) -> Any:
        connection = self._get_db()  # type: ignore[attr-defined]
        execute = super().execute  # type: ignore[misc]
        if connection._is_inside:
            return execute(query, args)
        self._close_access()
        given = None

        def run(own: Any) -> None:
            nonlocal given
            with connection.inside():
                given = execute(own if isinstance(query, str) else query, args)

        access = connection.run_captured(query, args, run, is_seen=self._is_seen)
        if access is not None:
            self._read_through(access)
            if access.has_hidden_columns:
                self._executed = self.mogrify(query, args)  # type: ignore[attr-defined]
        return given

    def executemany(self, query: Any, args: Any) -> Any:
        return self._run_unseen(query, lambda: super(_Captured, self).executemany(query, args))  # type: ignore[misc]

    def callproc(self, procname: Any, args: Any = ()) -> Any:
        call = super().callproc  # type: ignore[misc]
        return self._run_unseen(f"CALL {procname}()", lambda: call(procname, args))

    def fetchone(self) -> Any:
        return self._handed(super().fetchone)  # type: ignore[misc]

    def fetchmany(self, size: Any = None) -> Any:
        fetch = super().fetchmany  # type: ignore[misc]
        return self._handed(lambda: fetch(size))

    def fetchall(self) -> Any:
        return self._handed(super().fetchall)  # type: ignore[misc]

    def close(self) -> None:
        self._close_access()
        super().close()  # type: ignore[misc]

    def _run_unseen(self, text: Any, run: Callable[[], Any]) -> Any:
        self._close_access()
        return self._get_db().run_unseen(text, run)  # type: ignore[attr-defined]

    def _handed(self, fetch: Callable[[], Any]) -> Any:
        """What is fetched, recorded before it is the application's."""
        start = self.rownumber
        given = fetch()
        if self._access is not None:
            raw, end = self._raw, self.rownumber
            self._access.hand_over(raw[start:end], exhausted=end >= len(raw))
        return given

    def _read_through(self, access: Access) -> None:
        result = self._result
        self._access, self._raw = access, list(result.rows or ())
        if not access.must_describe:
            return
        columns = result.description
        shown = access.describe(columns, _name_of)
        if access.is_of_another_schema:
            self.connection.captured.reads.schema_changed()
        if access.has_hidden_columns:
            places = [n for n, column in enumerate(columns) if any(column is one for one in shown)]
            result.description = shown
            result.fields = [result.fields[place] for place in places]
            result.rows = tuple(access.visible(self._raw))
            self._do_get_result()  # type: ignore[attr-defined]

    def _close_access(self) -> None:
        if self._access is not None:
            self._access.close()
            self._access = None


@functools.lru_cache(maxsize=256)
def _captured_class(kind: Any) -> Any:
    is_seen = not issubclass(kind, SSCursor) and all(
        getattr(getattr(kind, name, None), "__module__", _THEIRS) == _THEIRS for name in _FETCHING
    )
    return type(kind.__name__, (_Captured, kind), {"_is_seen": is_seen})


class _Unseen:
    """A connection as capture itself uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self) -> _UnseenCursor:
        return _UnseenCursor(self._connection)


class _UnseenCursor(PlainCursor):  # type: ignore[misc]
    def execute(self, query: Any, args: Any = None) -> Any:
        with self.connection.inside():
            return super().execute(query, args)


def _name_of(column: Any) -> str:
    return str(column[0])
