"""Capture for plain psycopg2: `connect()` gives a connection whose statements are seen.

The server's triggers see every write; here the transaction is told who acts, and rows that are
fetched are recorded by key, through cursors of psycopg2's own classes and of ones that leave its
fetching alone. COPY, `callproc`, `executemany` and cursors that fetch in a way of their own are
recorded by statement.

```python
from indelible.capture.psycopg2 import connect, connection_class

with connect("postgresql://app@db/shop", trail=trail) as connection: ...
pool = ThreadedConnectionPool(1, 5, dsn, connection_factory=connection_class(trail))
```
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final

try:
    import psycopg2
    from psycopg2 import extensions, sql
except ImportError as missing:
    raise ImportError("expected psycopg2: pip install 'indelible[psycopg2]'") from missing

from indelible.capture.host import CaptureHost
from indelible.capture.kept import kept_with
from indelible.capture.postgres.names import quote_name
from indelible.capture.postgres.statements import ConnectionStatements, ServerCapture, decoded
from indelible.capture.postgres.wires import Psycopg2Wire
from indelible.capture.psycopg2_rows import Rows
from indelible.capture.recording import TransactionContext
from indelible.capture.statements.syntax import words
from indelible.errors import CaptureError

_FETCHING: Final = words(
    "fetchone fetchmany fetchall __iter__ __next__ scroll description row_factory"
)
_KNOWN: Final = frozenset({"psycopg2.extras", "psycopg2.extensions", "builtins"})


def connect(
    dsn: str | None = None,
    connection_factory: Any = None,
    cursor_factory: Any = None,
    *,
    trail: CaptureHost,
    **kwargs: Any,
) -> Any:
    """Like `psycopg2.connect`, with every statement captured into `trail`.

    A `connection_factory` or `cursor_factory` must be a class. Results, errors and transaction
    states are those of a plain connection. Raises `CaptureError` for an asynchronous connection
    and where the trail's configuration names no server, and whatever `psycopg2.connect` raises.
    """
    kind = connection_class(trail, connection_factory or extensions.connection)
    return psycopg2.connect(dsn, kind, cursor_factory, **kwargs)


def connection_class(trail: CaptureHost, base: Any = extensions.connection) -> Any:
    """The class of `connect`, a subclass of `base`, to be given to a pool. Raises `CaptureError`
    as `connect` does."""
    return kept_with(trail, base, lambda: _class_for(trail, base))


def _class_for(trail: CaptureHost, base: Any) -> Any:
    if base is extensions.connection:
        return type("connection", (Connection,), {"_server": ServerCapture(trail)})
    # Behind `base`: it chooses the class of a cursor, which is made a captured one here.
    return type(base.__name__, (base, connection_class(trail)), {})


class _Cursor:
    """What runs statements; stands before the application's own cursor class."""

    _is_seen: ClassVar[bool]
    """Whether that class fetches rows as psycopg2 does."""

    def execute(self, query: Any, vars: Any = None) -> Any:
        return self._run(
            query,
            vars,
            lambda own, values: super(_Cursor, self).execute(own, values),  # type: ignore[misc]
            is_seen=self._is_seen,
        )

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> Any:
        statements, text, _ = self._statements(query)
        is_alone = False

        def told() -> Iterator[Any]:
            """In autocommit each is a transaction."""
            nonlocal is_alone
            for parameters in vars_list:
                is_alone = statements.before(text)
                yield parameters
                was_alone, is_alone = is_alone, False
                statements.committed(is_alone=was_alone)

        try:
            iter(vars_list)
        except TypeError:
            return super().executemany(query, vars_list)  # type: ignore[misc]
        self.close_access()  # type: ignore[attr-defined]
        with self._sharing():
            try:
                returned = super().executemany(query, told())  # type: ignore[misc]
            except BaseException:
                statements.failed(is_alone=is_alone)
                raise
            statements.ran(text)
        return returned

    def callproc(self, procname: Any, parameters: Any = None) -> Any:
        return self._run(
            f"SELECT * FROM {procname}()",
            parameters,
            lambda *_: super(_Cursor, self).callproc(procname, parameters),  # type: ignore[misc]
            is_seen=False,
        )

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        self._copy(sql, lambda: super(_Cursor, self).copy_expert(sql, file, size))  # type: ignore[misc]

    def copy_from(
        self,
        file: Any,
        table: str,
        sep: str = "\t",
        null: str = "\\N",
        size: int = 8192,
        columns: Sequence[str] | None = None,
    ) -> None:
        self._copy(
            f"COPY {quote_name(str(table))} FROM STDIN",
            lambda: super(_Cursor, self).copy_from(file, table, sep, null, size, columns),  # type: ignore[misc]
        )

    def copy_to(
        self,
        file: Any,
        table: str,
        sep: str = "\t",
        null: str = "\\N",
        columns: Sequence[str] | None = None,
    ) -> None:
        self._copy(
            f"COPY {quote_name(str(table))} TO STDOUT",
            lambda: super(_Cursor, self).copy_to(file, table, sep, null, columns),  # type: ignore[misc]
        )

    def _copy(self, query: Any, run: Callable[[], None]) -> None:
        statements, text, _ = self._statements(query)
        self.close_access()  # type: ignore[attr-defined]
        with self._sharing():
            statements.run_unseen(text, run)

    def _run(
        self, query: Any, parameters: Any, run: Callable[[Any, Any], Any], *, is_seen: bool
    ) -> Any:
        statements, text, is_text = self._statements(query)
        returned = None

        def execute(own: str, values: Any) -> None:
            nonlocal returned
            self.ran = None if own is text else (own, values, query, parameters)
            returned = run(query if own is text else own, values)

        self.close_access()  # type: ignore[attr-defined]
        with self._sharing():
            access = statements.run(
                text, parameters, execute, query=self._ask, is_seen=is_seen and is_text
            )
        self.read_through(access)  # type: ignore[attr-defined]
        return returned

    def _ask(self, text: str, parameters: Any) -> list[Any]:
        """All rows of a statement of ours, with parameters as psycopg2 takes them."""
        connection: Connection = self.connection  # type: ignore[attr-defined]
        with contextlib.closing(connection.unseen.cursor()) as cursor:
            cursor.execute(text, parameters)
            return list(cursor.fetchall())

    def _sharing(self) -> threading.RLock:
        """Held between telling who acts and the statement: threads may share a connection."""
        return self.connection.sharing  # type: ignore[attr-defined, no-any-return]

    def _statements(self, query: Any) -> tuple[ConnectionStatements, str, bool]:
        connection: Connection = self.connection  # type: ignore[attr-defined]
        return connection.captured, *_text_of(query, connection)


class Connection(extensions.connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection whose cursors tell who acts and record what is read."""

    _server: ClassVar[ServerCapture]
    _captured: ConnectionStatements | None = None

    def __init__(self, dsn: str, *args: Any, **kwargs: Any) -> None:
        if any(args) or any(kwargs.values()):
            raise CaptureError("expected a synchronous connection, got one with async=True")
        super().__init__(dsn)
        self.sharing = threading.RLock()
        self.unseen = _Unseen(self)

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            # By weak references: a connection that is dropped is closed at once.
            wire = Psycopg2Wire(self.unseen, weakref.proxy(self))
            self._captured = self._server.statements(wire)
        return self._captured

    @property
    def context(self) -> TransactionContext:
        """Where `trail.record(..., on=connection)` puts its event."""
        return self.captured.transaction

    def cursor(
        self, name: Any = None, cursor_factory: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Raises `CaptureError` for a factory that is no class."""
        factory = cursor_factory or self.cursor_factory or extensions.cursor
        return super().cursor(name, _seen(factory), *args, **kwargs)

    def reset(self) -> None:
        super().reset()
        self.captured.reads.session_reset()

    def close(self) -> None:
        if self._captured is not None:
            self._captured.check_in()
        super().close()


class _Unseen:
    """A connection as capture itself uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = weakref.ref(connection)

    def cursor(self) -> Any:
        return extensions.connection.cursor(self._connection(), cursor_factory=extensions.cursor)

    def rollback(self) -> None:
        extensions.connection.rollback(self._connection())


@functools.lru_cache(maxsize=64)
def _seen(factory: Any) -> Any:
    """Its subclass that is captured."""
    if not isinstance(factory, type):
        raise CaptureError(f"expected a class of cursors as cursor_factory, got {factory!r}")
    if issubclass(factory, _Cursor):
        return factory
    is_known = all(
        kind.__module__ in _KNOWN or _FETCHING.isdisjoint(vars(kind)) for kind in factory.__mro__
    )
    own = () if factory is extensions.cursor else (factory,)
    return type(factory.__name__, (_Cursor, *own, Rows), {"_is_seen": is_known})


def _text_of(query: Any, connection: Connection) -> tuple[str, bool]:
    """The text of what was given to `execute`, and whether it is exactly that; what that refuses
    is refused there."""
    if isinstance(query, bytes):
        return decoded(query, extensions.encodings.get(connection.encoding, "utf-8"))
    if isinstance(query, sql.Composable):
        with contextlib.suppress(Exception):
            return query.as_string(connection), True
    return str(query), isinstance(query, str)
