"""From PostgreSQL's log to outbox rows, as triggers would have written them. Pure.

What the log doesn't tell stays empty: the role, the application and its address. Columns that may
not be kept are dropped here, before anything is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from indelible.capture.outbox_layout import OP_DELETE, OP_EVENT, OP_INSERT, OP_UPDATE, Layout
from indelible.capture.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Fields,
    Insert,
    Message,
    Parsed,
    RelationColumns,
    Truncate,
    Update,
    parse_message,
)
from indelible.capture.postgres.values import format_record
from indelible.capture.text_rows import OP_EMPTIED

CONTEXT_PREFIX: Final = "indelible"
EVENT_PREFIX: Final = "indelible.event"
"""Of the messages that say who acts, and of explicit events."""
_EPOCH_2000_MICROS: Final = 946_684_800_000_000
_MAX_CONTEXT: Final = 65_536
_MAX_EVENT: Final = 1 << 26
"""Far more than an event takes; less than a message may have."""
_MAX_PROOF: Final = 200
_UNREADABLE: Final = "?"


class LoggedTable(msgspec.Struct, frozen=True):
    """A table that the log is read of; `subject` is the column on which its subject's path begins,
    where that has to be looked up. Of one that `is_counted` rows are counted, as triggers write
    them down."""

    number: int
    layout: Layout
    subject: str | None = None
    is_counted: bool = False


class LogRow(NamedTuple):
    """One row for the outbox; `time` in microseconds since 1970."""

    xid: int
    time: int
    layout: int
    op: int
    ctx: str | None = None
    s0: str | None = None
    s1: str | None = None
    old: str | None = None
    new: str | None = None
    changed: str | None = None


class LogCount(NamedTuple):
    """How many rows of a table went and came in one transaction; an updated one did both."""

    xid: int
    table: str
    gone: int = 0
    come: int = 0
    is_emptied: bool = False


FindSubject = Callable[[LoggedTable, str], str | None]
"""Whose a row is, as a trigger writes it, by the value of the column on which its path begins."""


def full_xid(xid: int, current: int) -> int:
    """The 64-bit number of a transaction whose last 32 bits are `xid`: the one nearest to
    `current`."""
    return current + (xid - current + (1 << 31)) % (1 << 32) - (1 << 31)


class LogReader:
    """Reads messages from position `since` on: transactions that were committed before are left
    out. `current` is a transaction number of now."""

    def __init__(
        self,
        tables: Mapping[int, LoggedTable],
        find_subject: FindSubject,
        *,
        since: int,
        current: int,
    ) -> None:
        self.position = since
        """Behind the last transaction that was read to its end; further where only messages that
        are no transaction's came since."""
        self._tables = tables
        self._find_subject = find_subject
        self._since = since
        self._current = current
        self._begin: Begin | None = None
        self._context: str | None = None
        self._images: dict[int, _Images] = {}

    def read(self, messages: Iterable[bytes]) -> Iterator[LogRow | LogCount]:
        """The rows of the outbox, a transaction behind the other, in the order of their commits;
        of tables that are counted, how many went or came by each message.

        May be called for one piece of the messages after the other. Raises `MalformedEventError`
        for what isn't pgoutput's.
        """
        for begin, message in self._changes(messages):
            xid, time = full_xid(begin.xid, self._current), begin.time + _EPOCH_2000_MICROS
            if isinstance(message, Message):
                if message.prefix == CONTEXT_PREFIX:
                    self._context = _text_of(message.content[:_MAX_CONTEXT]) or None
                elif message.prefix == EVENT_PREFIX:
                    draft, _, proof = _text_of(message.content[:_MAX_EVENT]).partition(" ")
                    yield LogRow(
                        xid, time, 0, OP_EVENT, self._context, old=draft, new=proof[:_MAX_PROOF]
                    )
            elif isinstance(message, Truncate):
                # Of partitions one table's.
                emptied = {one.number: one for one in self._tables_of(message)}
                for number, table in sorted(emptied.items()):
                    if table.is_counted:
                        yield LogCount(xid, table.layout.table, is_emptied=True)
                    else:
                        yield LogRow(xid, time, number, OP_EMPTIED, self._context)
            elif isinstance(message, Insert | Update | Delete):
                images = self._images.get(message.relation)
                if images is not None and images.table.is_counted:
                    yield LogCount(
                        xid,
                        images.table.layout.table,
                        gone=not isinstance(message, Insert),
                        come=not isinstance(message, Delete),
                    )
                elif images is not None:
                    row = LogRow(xid, time, images.table.number, 0, self._context)
                    yield images.row(row, message)

    def _changes(self, messages: Iterable[bytes]) -> Iterator[tuple[Begin, Parsed]]:
        for data in messages:
            message = parse_message(data)
            if isinstance(message, Begin):
                self._begin, self._context = message, None
            elif isinstance(message, Commit):
                self._begin = None
                self.position = max(self.position, message.end)
            elif isinstance(message, RelationColumns):
                table = self._tables.get(message.relation)
                if table is not None:
                    images = _Images(table, message.columns, self._find_subject)
                    self._images[message.relation] = images
            elif isinstance(message, Message) and not message.is_transactional:
                self.position = max(self.position, message.lsn)
            elif self._begin is not None and self._begin.lsn >= self._since:
                yield self._begin, message

    def _tables_of(self, message: Truncate) -> list[LoggedTable]:
        return [self._tables[oid] for oid in message.relations if oid in self._tables]


class _Images:
    """Makes the texts of rows of one table, which has these columns now."""

    def __init__(
        self, table: LoggedTable, columns: tuple[str, ...], find_subject: FindSubject
    ) -> None:
        self.table = table
        self._find_subject = find_subject
        slots = table.layout.slots
        places = {name: place for place, name in enumerate(columns)}
        kept = [n for n, slot in enumerate(slots) if slot.mode == "value"]
        self._values = [places.get(slots[n].column or "") for n in kept]
        self._changed = [places.get(s.column or "") for s in slots if s.mode == "changed"]
        self._subject = places.get(table.subject) if table.subject is not None else None
        self._key = [n for n, slot in enumerate(kept) if slot in table.layout.key]
        self._gone = [n for n, place in enumerate(self._values) if place is None]
        self._is_altered = None in self._values or None in self._changed

    def row(self, row: LogRow, message: Insert | Update | Delete) -> LogRow:
        """`row` with what `message` says of its table's row."""
        if isinstance(message, Insert):
            return row._replace(
                op=OP_INSERT,
                s1=self._find(message.after),
                new=self._image(message.after, self._gone),
                changed=self._altered(self._gone),
            )
        gone = self._gone
        if not message.is_whole:
            # Its REPLICA IDENTITY isn't ours any more: no more is told than which row it was.
            gone = [n for n in range(len(self._values)) if n not in self._key]
        if isinstance(message, Delete):
            return row._replace(
                op=OP_DELETE,
                s0=self._find(message.before),
                old=self._image(message.before, gone),
                changed=self._altered(gone),
            )
        before = message.before or message.after
        after = tuple(
            was if now is UNCHANGED else now for was, now in zip(before, message.after, strict=True)
        )
        if not message.is_whole:
            before = tuple(
                now if was is None else was for was, now in zip(before, after, strict=True)
            )
        return row._replace(
            op=OP_UPDATE,
            s0=self._find(before),
            s1=self._find(after),
            old=self._image(before, gone),
            new=self._image(after, gone),
            changed=self._altered(gone) or self._bits(before, after),
        )

    def _image(self, fields: Fields, gone: list[int]) -> str:
        values = [fields[place] if place is not None else None for place in self._values]
        for n in gone:
            values[n] = None
        return format_record([value if isinstance(value, str) else None for value in values])

    def _bits(self, before: Fields, after: Fields) -> str | None:
        """A digit for each column of which only is kept that it changed."""
        places = [place for place in self._changed if place is not None]
        return "".join("01"[before[place] != after[place]] for place in places) or None

    def _altered(self, gone: list[int]) -> str | None:
        if not gone and not self._is_altered:
            return None
        return "!" + ",".join(str(n + 1) for n in gone)

    def _find(self, fields: Fields) -> str | None:
        if self._subject is None:
            return None
        value = fields[self._subject]
        if value is None:
            return ""
        return self._find_subject(self.table, value) if isinstance(value, str) else None


def _text_of(content: bytes) -> str:
    """Anybody may have sent it: what no text can hold is as good as unsigned."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return _UNREADABLE
    return _UNREADABLE if "\0" in text else text
