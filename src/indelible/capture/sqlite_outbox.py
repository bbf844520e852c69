"""Reading the outbox of an SQLite database: short, bounded, and never writing to it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from indelible.capture.change_drafts import OutboxRow
from indelible.capture.outbox_layout import Layout
from indelible.capture.sqlite_plan import layouts_of
from indelible.capture.sqlite_schema import named_sql
from indelible.errors import CaptureError, NotInstalledError
from indelible.events.values import RawText

_ROWS_AT_ONCE = 256


class OutboxState(NamedTuple):
    """Where an outbox stands.

    `newest` is the highest id ever given, also where that row is gone; `first` and `last` are
    those of the rows still there, 0 for none. A database restored from a backup shows by a
    `newest` below what was delivered.
    """

    incarnation: str
    epoch: int
    newest: int
    first: int
    last: int


class OutboxRows(NamedTuple):
    """Rows in the order of their ids, and layouts that the reader didn't know.

    `is_end` says that nothing was behind the last row when it was read.
    """

    rows: list[OutboxRow]
    layouts: dict[int, Layout]
    is_end: bool


def read_outbox(
    connection: sqlite3.Connection,
    after_id: int,
    limit: int,
    *,
    known: Collection[int] = (),
    max_bytes: int = 8_000_000,
    max_s: float = 0.05,
    clock_s: Callable[[], float] = time.monotonic,
) -> OutboxRows:
    """At most `limit` rows behind `after_id`, as many as `max_s` and about `max_bytes` allow.

    At least one where there is one. No lock is held and no cursor open when this returns: in
    rollback-journal mode an open one would keep the application from committing. `connection`
    is the relay's own, in autocommit. Raises `NotInstalledError` and `sqlite3.Error`.
    """
    try:
        rows = _read(connection, str, after_id, limit, max_bytes, clock_s() + max_s, clock_s)
    except sqlite3.OperationalError as error:
        if "decode to UTF-8" not in str(error):
            raise _explained(error) from None
        rows = _read(connection, _text, after_id, limit, max_bytes, clock_s() + max_s, clock_s)
    numbers = {row[3] for row in rows if type(row[3]) is int and row[3]}
    layouts = {} if numbers <= set(known) else read_layouts(connection)
    newest = outbox_state(connection).last
    return OutboxRows(rows, layouts, is_end=not rows or rows[-1][0] == newest)


def read_layouts(connection: sqlite3.Connection) -> dict[int, Layout]:
    """Every layout in which rows of this outbox may stand."""
    return layouts_of(read_meta(connection))


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """What `install` wrote down. Raises `NotInstalledError` where it never ran."""
    try:
        rows = _fetch(connection, named_sql()["get_meta"])
    except sqlite3.OperationalError as error:
        raise _explained(error) from None
    return {str(key): str(value) for key, value in rows}


def outbox_state(connection: sqlite3.Connection) -> OutboxState:
    """Where the outbox stands now. Raises `NotInstalledError` and `sqlite3.Error`."""
    try:
        ((incarnation, epoch, newest, first, last),) = _fetch(
            connection, named_sql()["outbox_state"]
        )
    except sqlite3.OperationalError as error:
        raise _explained(error) from None
    if type(incarnation) is not str or not str(epoch).isdecimal():
        raise CaptureError(
            "expected an incarnation and its epoch in indelible_meta, found neither: "
            "`indelible install` writes them"
        )
    return OutboxState(incarnation, int(str(epoch)), int(newest), first or 0, last or 0)


def _fetch(connection: sqlite3.Connection, sql: str) -> list[tuple]:  # type: ignore[type-arg]
    cursor = sqlite3.Cursor(connection)
    try:
        return cursor.execute(sql).fetchall()
    finally:
        cursor.close()


def _read(
    connection: sqlite3.Connection,
    text_factory: Callable[[bytes], object],
    after_id: int,
    limit: int,
    max_bytes: int,
    deadline_s: float,
    clock_s: Callable[[], float],
) -> list[OutboxRow]:
    before = connection.text_factory
    connection.text_factory = text_factory
    cursor = sqlite3.Cursor(connection)
    rows: list[OutboxRow] = []
    size = 0
    step = 1
    try:
        cursor.execute(named_sql()["read_outbox"], (after_id, limit))
        while some := cursor.fetchmany(step):
            rows += some
            size += sum(_size(row) for row in some)
            if size >= max_bytes or clock_s() >= deadline_s:
                break
            # A row may be of megabytes: ask for many only as long as they are small.
            step = max(1, min(_ROWS_AT_ONCE, len(rows) * (max_bytes - size) // max(size, 1)))
    finally:
        cursor.close()
        connection.text_factory = before
    return rows


def _size(row: OutboxRow) -> int:
    return 8 * len(row) + sum(len(v) for v in row if type(v) is str or type(v) is bytes)


def _text(raw: bytes) -> str | RawText:
    """TEXT that isn't UTF-8 stays what it is, and isn't taken for a BLOB."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return RawText(raw)


def _explained(error: sqlite3.OperationalError) -> Exception:
    if "no such table: main.indelible_" in str(error) or "no such table: indelible_" in str(error):
        return NotInstalledError(
            "expected Indelible's tables in this database, found none: `indelible install`"
        )
    return error
