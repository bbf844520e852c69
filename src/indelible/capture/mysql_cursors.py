"""Where rows leave the buffered cursors of MySQL's drivers under capture: recorded, and without
what is hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, TypeVar

from indelible.capture.access import Access
from indelible.capture.extraction import Row
from indelible.capture.statements.syntax import words

T = TypeVar("T")

_FETCHING: Final = words(
    "fetchone fetchmany fetchall __iter__ __next__ __anext__ scroll nextset _do_get_result _query "
    "_post_get_result _get_result _fetch_row _discard"
)


def is_own(kind: type, theirs: str) -> bool:
    """Whether all that fetches in `kind` is of the driver's module `theirs`."""
    return all(
        getattr(getattr(kind, name, None), "__module__", theirs) == theirs for name in _FETCHING
    )


class CapturedRows:
    """Stands before a driver's class of cursors. What is fetched is recorded before it is the
    application's."""

    is_seen: ClassVar[bool]
    """Whether the rows go through here."""
    _access: Access | None = None
    _raw: Sequence[Row] = ()
    """All rows of the result, with what is hidden."""

    def _at(self) -> int:
        """How many rows of the result are behind us."""
        raise NotImplementedError

    def fetchone(self) -> Any:
        return self._handed(super().fetchone)  # type: ignore[misc]

    def fetchmany(self, size: Any = None) -> Any:
        fetch = super().fetchmany  # type: ignore[misc]
        return self._handed(lambda: fetch(size))

    def fetchall(self) -> Any:
        return self._handed(super().fetchall)  # type: ignore[misc]

    def _handed(self, fetch: Callable[[], T]) -> T:
        start = self._at()
        given = fetch()
        if self._access is not None:
            end = self._at()
            self._access.hand_over(self._raw[start:end], exhausted=end >= len(self._raw))
        return given

    def _shown(
        self, access: Access, raw: Sequence[Row], columns: Sequence[Any], schema_changed: Any
    ) -> tuple[int, ...] | None:
        """From here on the rows are `access`'s; where those of its columns stand that aren't
        hidden, None where all are."""
        self._access, self._raw = access, raw
        if not access.must_describe:
            return None
        shown = access.describe(columns, _name_of)
        if access.is_of_another_schema:
            schema_changed()
        if not access.has_hidden_columns:
            return None
        return tuple(n for n, column in enumerate(columns) if any(column is one for one in shown))

    def _close_access(self) -> None:
        if self._access is not None:
            self._access.close()
            self._access = None


class PacketRows(CapturedRows):
    """Of PyMySQL and of what was made from it: a result holds its packets' rows."""

    _result: Any

    def _hide(self, access: Access, schema_changed: Callable[[], None]) -> bool:
        """Take what is hidden out of the result; whether anything was."""
        result = self._result
        columns = result.description or ()
        places = self._shown(access, list(result.rows or ()), columns, schema_changed)
        if places is None:
            return False
        result.description = tuple(columns[place] for place in places)
        result.fields = [result.fields[place] for place in places]
        result.rows = tuple(access.visible(list(self._raw)))
        return True


class CapturedCursor(CapturedRows):
    """Of a driver that is used synchronously."""

    def _drain(self) -> None:
        """Throw away what is left of the last statement's results, as `execute` does."""
        raise NotImplementedError

    def _read_through(self, access: Access, query: Any, args: Any) -> None:
        """The rows of `query` are `access`'s from here on; it may not be what ran."""
        raise NotImplementedError

    def execute(self, query: Any, args: Any = None) -> Any:
        connection = self._get_db()  # type: ignore[attr-defined]
        execute = super().execute  # type: ignore[misc]
        if connection._is_inside:
            return execute(query, args)
        self._close_access()
        self._drain()
        given = None

        def run(own: Any, values: Any) -> None:
            nonlocal given
            given = execute(own if isinstance(query, str) else query, values)

        access = connection.run_captured(query, args, run, is_seen=self.is_seen)
        if access is not None:
            self._read_through(access, query, args)
        return given

    def close(self) -> None:
        self._close_access()
        super().close()  # type: ignore[misc]

    def executemany(self, query: Any, args: Any) -> Any:
        run = super().executemany  # type: ignore[misc]
        if args:
            self._drain()
        return self._run_unseen(query, lambda: run(query, args))

    def callproc(self, procname: Any, args: Any = ()) -> Any:
        call = super().callproc  # type: ignore[misc]
        return self._run_unseen(call_of(procname), lambda: call(procname, args))

    def _run_unseen(self, text: Any, run: Callable[[], T]) -> T:
        self._close_access()
        given: T = self._get_db().run_unseen(text, run)  # type: ignore[attr-defined]
        return given


def call_of(procname: Any) -> str:
    """What `callproc` runs, as far as capture goes."""
    name = procname.decode(errors="replace") if isinstance(procname, bytes) else procname
    return f"CALL {name}()"


def _name_of(column: Any) -> str:
    return str(column[0])
