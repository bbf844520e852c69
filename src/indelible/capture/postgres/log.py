"""Reading PostgreSQL's log into the outbox: through a replication slot, as far as it goes.

One transaction writes rows and the position behind them, so that what is read again (the slot is
moved on later) is known and left out: whoever is killed between the two leaves neither a hole nor a
second copy. What the log told nobody any more is an entry, too.

Whoever may use the slot (a superuser, roles with REPLICATION) can take away what wasn't read yet;
that is a gap, and noticed. Whoever owns the publication or the tables can take tables out of it;
that is drift.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.installed import has_log, read_layouts
from indelible.capture.postgres.log_rows import LogCount, LoggedTable, LogReader
from indelible.capture.postgres.schema import named_sql
from indelible.errors import CaptureError

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_STEP_CHANGES: Final = 20_000
_FETCH_ROWS: Final = 500
_WORTH_MOVING_BYTES: Final = 1 << 20
_LOCK_MS: Final = 10_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class _Place(msgspec.Struct, frozen=True):
    """What `indelible.log` says: up to `position` everything is in the outbox."""

    slot: str
    position: int
    time: str
    lost: str | None


class LogDrain:
    """Brings what the log tells into the outbox, over one connection in autocommit.

    Nothing happens in a database whose log isn't read. Any number may run at once: they wait for
    each other.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._idle_at = -1
        self.ended: int | None = None
        """Everything of transactions with lower numbers is in the outbox; None: not our concern."""

    def drain(self) -> None:
        """When this returns, the outbox has what was committed before the call.

        Raises `psycopg.Error`; `CaptureError` where the log holds what we can't read.
        """
        try:
            while not self._step():
                pass
        except load_driver().errors.UndefinedObject:
            # The publication was dropped; what is in the log from there on can't be read.
            if self._connection.execute(_sql("publication")).fetchone() is not None:
                raise
            with self._connection.transaction(), self._connection.cursor() as cursor:
                cursor.execute(_sql("lock"))
                place = _place(cursor)
                if place is not None and place.lost is None:
                    _write_lost(cursor, place, "the publication is gone")
            self.ended = None

    def look_again(self) -> None:
        """Look at the slot with the next `drain`, even if nothing was written meanwhile."""
        self._idle_at = -1

    def _step(self) -> bool:
        """Read a piece; whether that was all."""
        if not has_log(self._connection):
            self.ended = None
            return True
        ended, current, until, flushed = self._here()
        if until == self._idle_at:
            self.ended = ended
            return True
        if flushed < until:
            # A slot gives what is on disk; others' commits may not be, where they don't wait. Those
            # that come meanwhile are again not: no further than what is on disk by then.
            self._connection.execute("SELECT set_config('synchronous_commit', 'on', false)")
            self._connection.execute(_sql("flush"))
            _, current, _, until = self._here()
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            cursor.execute("SET LOCAL statement_timeout = 0")
            # Before the slot is moved on, what was read has to be on disk.
            cursor.execute("SET LOCAL synchronous_commit = on")
            cursor.execute(_sql("lock"))
            place = _place(cursor)
            if place is None or place.lost is not None:
                self.ended = None
                return True
            why = self._prepare(cursor, place)
            if why is not None:
                _write_lost(cursor, place, why)
                self.ended = None
                return True
            is_whole = self._read(cursor, place, until=until, current=current)
            if is_whole:
                _compare(cursor, ended)
        if is_whole:
            self.ended = ended
        return is_whole

    def _here(self) -> tuple[int, int, int, int]:
        row = self._connection.execute(_sql("here")).fetchone()
        if row is None:
            raise CaptureError("expected the server to say where its log ends, got nothing")
        return row[0], row[1], row[2], row[3]

    def _prepare(self, cursor: Any, place: _Place) -> str | None:
        """Move the slot on behind what is in the outbox; why that can't be."""
        slot = cursor.execute(_sql("slot"), (place.slot,)).fetchone()
        if slot is None:
            return "the slot is gone"
        wal_status, confirmed, _ = slot
        if wal_status == "lost" or confirmed is None:
            return "the server removed what the slot had to keep (max_slot_wal_keep_size)"
        if confirmed > place.position:
            return "somebody else read from the slot, or made it anew"
        if confirmed < place.position:
            cursor.execute(_sql("advance"), (place.slot, place.position))
        return None

    def _read(self, cursor: Any, place: _Place, *, until: int, current: int) -> bool:
        """Write down what the slot has up to `until`, or a piece of it; whether that was all."""
        tables, queries = _tables(cursor)
        reader = LogReader(
            tables, _Subjects(self._connection, queries), since=place.position, current=current
        )
        messages = written = 0
        counts: Counter[tuple[int, str, str]] = Counter()
        for chunk in self._messages(place):
            messages += len(chunk)
            written += _write(cursor, reader, chunk, counts)
        if counts:
            cursor.executemany(_sql("put_counts"), _rows_of(counts))
        is_whole = messages < _STEP_CHANGES
        position = max(reader.position, until) if is_whole else reader.position
        # Writing it down is news to the log, too: not for nothing, or this would never end.
        is_worth_it = written or counts or position - place.position > _WORTH_MOVING_BYTES
        if is_worth_it or not is_whole:
            cursor.execute(_sql("put_position"), (position,))
        else:
            self._idle_at = until
        return is_whole

    def _messages(self, place: _Place) -> Iterator[list[bytes]]:
        """The slot's messages, a piece at a time: a transaction may be of any size."""
        with self._connection.cursor("indelible_log", binary=True) as found:
            found.execute(_sql("peek"), (place.slot, _STEP_CHANGES))
            while rows := found.fetchmany(_FETCH_ROWS):
                yield [bytes(row[0]) for row in rows]


class _Subjects:
    """Finds whose a row is, by what the tables between hold now."""

    def __init__(self, connection: Connection, queries: dict[int, str]) -> None:
        self._connection = connection
        self._queries = queries
        self._found: dict[tuple[int, str], str | None] = {}

    def __call__(self, table: LoggedTable, value: str) -> str | None:
        key = (table.number, value)
        if key not in self._found:
            self._found[key] = self._find(*key)
        return self._found[key]

    def _find(self, number: int, value: str) -> str | None:
        try:
            with self._connection.transaction():
                row = self._connection.execute(self._queries[number], (value,)).fetchone()
        except (load_driver().ProgrammingError, load_driver().DataError):
            return None  # a table between was altered: unknown, until `install` runs again
        return row[0] if row is not None else None


def _place(cursor: Any) -> _Place | None:
    row = cursor.execute(_sql("log")).fetchone()
    return _Place(*row) if row is not None else None


def _tables(cursor: Any) -> tuple[dict[int, LoggedTable], dict[int, str]]:
    layouts: dict[int, Layout] = read_layouts(cursor.connection)
    tables: dict[int, LoggedTable] = {}
    queries: dict[int, str] = {}
    for relation, number, is_counted, subject, subject_sql in cursor.execute(
        _sql("tables")
    ).fetchall():
        tables[relation] = LoggedTable(number, layouts[number], subject, is_counted)
        if subject_sql is not None:
            queries[number] = subject_sql
    return tables, queries


def _write(
    cursor: Any, reader: LogReader, chunk: list[bytes], counts: Counter[tuple[int, str, str]]
) -> int:
    count = 0
    rows = list(reader.read(chunk))  # which asks the same connection for subjects
    with cursor.copy(_sql("write")) as copy:
        for row in rows:
            if isinstance(row, LogCount):
                _count(counts, row)
                continue
            time = _EPOCH + dt.timedelta(microseconds=row.time)
            copy.write_row((row.xid, time.isoformat(), 0, row.layout, row.op, 0, *row[4:]))
            count += 1
    return count


def _count(counts: Counter[tuple[int, str, str]], count: LogCount) -> None:
    for what in ("gone", "come", "is_emptied"):
        counts[count.xid, count.table, what] += int(getattr(count, what))


def _rows_of(counts: Counter[tuple[int, str, str]]) -> list[tuple[object, ...]]:
    return [
        (xid, name, counts[xid, name, "gone"], counts[xid, name, "come"], bool(emptied))
        for (xid, name, what), emptied in counts.items()
        if what == "is_emptied"
    ]


def _write_lost(cursor: Any, place: _Place, why: str) -> None:
    """The gap, as an entry in the place where it is."""
    details = {
        "message": f"changes since {place.time} weren't all seen: {why}",
        "slot": place.slot,
        "since": place.time,
        "since_lsn": _format_lsn(place.position),
        "until_lsn": str(cursor.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]),
        "until": str(cursor.execute("SELECT clock_timestamp()::text").fetchone()[0]),
    }
    _say(cursor, "log.lost", details)
    cursor.execute(_sql("put_lost"), (why,))


def _compare(cursor: Any, until: int) -> None:
    """Triggers and log saw the same of every transaction below `until`; or that is an entry."""
    found = cursor.execute(_sql("is_comparable"), {"until": until}).fetchone()
    if found is None or not found[0]:
        return  # nothing new: writing that down would be
    names = ("transaction", "table", "gone_by_triggers", "come_by_triggers", "gone_in_log")
    for row in cursor.execute(_sql("compare"), {"until": until}).fetchall():
        details = dict(zip((*names, "come_in_log"), map(str, row), strict=True))
        message = (
            f"of {row[1]}, transaction {row[0]}, triggers saw {row[2]} rows go and {row[3]} come, "
            f"the log {row[4]} and {row[5]}"
        )
        _say(cursor, "capture.differs", {"message": message, **details})
    cursor.execute(_sql("put_compared"), (until,))


def _say(cursor: Any, action: str, details: dict[str, str]) -> None:
    cursor.execute(_sql("say"), (action, msgspec.json.encode(details).decode()))


def _format_lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFF_FFFF:X}"


def _sql(name: str) -> str:
    return named_sql("log.sql")[name]
