"""The outbox of an application's database as a source: what its triggers wrote, in its order.

Nothing is ever written to that database. Delivered rows are deleted by its own triggers, below
`OutboxSource.delivered_through`, so that the last delivered row always stays: while it is there
and says what was delivered, the database is the one that we know. When it isn't, the database was
restored from an older backup, and its numbers are given out a second time: what follows the last
row that the trail holds is delivered in the next *epoch* of the same incarnation, which is noticed;
`capture.restored_baseline` then writes down what it holds.
The epoch is remembered by the sink, with what it received in it.

Whoever can write the outbox can forge changes that weren't delivered yet, or remove them; removed
ones are a gap, because numbers are given out without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec

from indelible.capture.change_drafts import DecodedEvent, DecodedRows, OutboxRow
from indelible.capture.outbox_layout import BASE_COLUMNS
from indelible.capture.sealing import blank
from indelible.errors import EventError
from indelible.events.codec import decode_event, join_parts, seal_parts
from indelible.events.model import INCARNATION_OPENED, Producer
from indelible.events.values import Id, to_value
from indelible.transport.delivery import Delivery, Gap, Remark, Sink, Void
from indelible.transport.source import Fetched, Mark

_ROWS_LOOKED_AT: Final = 100
_GONE: Final = "not in the outbox: deleted before it was delivered"
_ELSEWHERE: Final = "stands in an earlier epoch: the database was restored from a backup"


class OutboxPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one snapshot.

    `opened` is when the incarnation was opened, in microseconds since 1970; `last_id` the highest
    number ever given out, `is_whole` that no rows follow. Where numbers are given out before their
    transactions commit, rows come up to `settled`: nothing can appear at or below it any more, and
    what isn't there was rolled back. None: numbers come without a gap, all are settled.
    """

    incarnation: str
    opened: int
    last_id: int
    rows: tuple[OutboxRow, ...]
    is_whole: bool
    settled: int | None = None


class OutboxReader(Protocol):
    """A database's outbox, as `indelible.capture` reads it."""

    def read_page(self, since: int, *, limit: int, max_bytes: int) -> OutboxPage:
        """The rows from number `since` on, ascending: at most `limit`, about `max_bytes`, but two
        at least where there are as many.

        The row `since` itself comes whether it is settled or not. Holds a read lock for a short
        bounded time only. Raises `sqlite3.Error` (`OperationalError` where the database is locked),
        `DeliveryError` and `NotInstalledError`.
        """

    def forget(self, below: int) -> None:
        """Rows with lower numbers are in the trail and may be deleted, by whoever does that.

        May leave some for the next time. Raises as `read_page` does.
        """

    def close(self) -> None:
        """Hold nothing any more; another call opens it again."""

    def decode(self, rows: Sequence[OutboxRow], epoch: int, delivered: int) -> DecodedRows:
        """What rows of the last pages say: one event for each, the same whenever asked.

        They belong to `epoch` of the incarnation that was read last, of which the sink holds rows
        up to `delivered`. Which contexts they used is remembered, durably when this returns.
        """

    def decode_alone(self, row: OutboxRow) -> DecodedEvent:
        """What a row says, but for whether its context was used before; nothing is remembered."""


class HeldSource(Protocol):
    """A source as the store lists it."""

    @property
    def producer_id(self) -> str: ...

    @property
    def epoch(self) -> int: ...


class HeldEvents(Protocol):
    """What the store behind the sink tells of what it holds (`indelible.store.TrailStore`)."""

    def last_epoch(self, producer_id: str) -> int:
        """The highest epoch of this producer; 0 for none."""

    def last_position(self, producer_id: str, epoch: int) -> int:
        """The highest position at which something was received; 0 for none."""

    def bodies_at(self, producer_id: str, epoch: int, seq: int) -> Sequence[tuple[bytes, ...]]:
        """What was received at this position; () of what retention dropped."""

    def lost(self, producer_id: str, epoch: int) -> Sequence[tuple[int, int]]:
        """The ranges that were reported as gaps."""

    def sources(self) -> Iterable[HeldSource]:
        """Every source."""


class _Place(msgspec.Struct, frozen=True):
    """How far an outbox was read.

    `last` is the row of the last event that the sink holds (0 for none), `anchor` what we saw in
    it, if we did. Rows up to `next` were seen or reported missing.
    """

    last: int = 0
    anchor: OutboxRow | None = None
    next: int = 1


class OutboxSource:
    """One database's outbox: a `Source`."""

    def __init__(
        self,
        name: str,
        reader: OutboxReader,
        held: HeldEvents,
    ) -> None:
        self.name = name
        self.producer_id = ""
        self.epoch = 0
        self._reader = reader
        self._held = held
        self._opened = 0
        self._published = 0
        self._confirmed = self._fetched = _Place()
        self._said_on_opening: tuple[tuple[Gap, ...], tuple[Remark, ...]] = ((), ())

    @property
    def delivered_through(self) -> int:
        """Below this row everything is in the trail, and may be deleted; 0 while in doubt.

        From any thread.
        """
        return self._published

    @property
    def is_restored(self) -> bool:
        """Whether the database was put back to a backup since its incarnation was opened."""
        return bool(self.producer_id) and self.epoch > self._opened

    def fetch(self, sink: Sink, *, limit: int, max_bytes: int) -> Fetched:
        """See `Source.fetch`."""
        page = self._read(limit, max_bytes)
        if page.incarnation != self.producer_id:
            self._begin(page, sink)
            page = self._read(limit, max_bytes)
        if not self._is_known(page):
            self._published = 0
            if self._catch_up(sink):
                # Another relay delivered meanwhile, and the row that we had seen last was deleted.
                page = self._read(limit, max_bytes)
            if not self._is_known(page):
                self._open_epoch()
                page = self._read(limit, max_bytes)
        return self._take(page, sink)

    def confirm(self, sink: Sink) -> None:
        """See `Source.confirm`; publishes how far rows may be deleted."""
        self._confirmed = self._fetched
        self._published = self._confirmed.last
        self._said_on_opening = ((), ())
        self._reader.forget(self._published)

    def end(self) -> Mark:
        """See `Source.end`."""
        return 0, self._reader.read_page(2**62, limit=1, max_bytes=1).last_id

    def confirmed(self) -> Mark:
        """See `Source.confirmed`."""
        return 0, self._confirmed.next - 1

    def close(self) -> None:
        """Publish nothing any more; reading begins anew."""
        self._published = 0
        self.producer_id = ""
        self._confirmed = self._fetched = _Place()
        self._said_on_opening = ((), ())
        self._reader.close()

    # -- which database is it? ------------------------------------------------------------------

    def _begin(self, page: OutboxPage, sink: Sink) -> None:
        """Take up a database where the sink has it."""
        self._published = 0
        self.producer_id = page.incarnation
        self._opened = page.opened
        self.epoch = max(page.opened, self._held.last_epoch(page.incarnation))
        self._confirmed = self._held_place(sink)

    def _held_place(self, sink: Sink) -> _Place:
        last = self._held.last_position(self.producer_id, self.epoch)
        return _Place(last, None, sink.received(self.producer_id, self.epoch).last + 1)

    def _catch_up(self, sink: Sink) -> bool:
        place = self._held_place(sink)
        if place.last <= self._confirmed.last:
            return False
        self._confirmed = place
        return True

    def _is_known(self, page: OutboxPage) -> bool:
        """Whether the last delivered row is where it was, and says what was delivered."""
        place = self._confirmed
        if page.last_id < place.next - 1:
            return False
        if not place.last:
            return True
        if not page.rows or _id(page.rows[0]) != place.last:
            return False
        if place.anchor is not None:
            return page.rows[0] == place.anchor
        return self._is_held(page.rows[0], self.epoch)

    def _open_epoch(self) -> None:
        """Go on behind the last row that the trail holds, whatever epoch it came in."""
        before, epoch_before = self._confirmed.last, self.epoch
        self._confirmed = self._place_behind_held()
        # Next to the epoch before, so that a relay that dies here, or any other, finds the same;
        # and not of now, because the rows may be older than our looking at them.
        self.epoch = epoch_before + 1
        after = self._confirmed.next - 1
        # The gap is there so that nobody waits for these positions in the new epoch. Both are said
        # together, with every fetch until the sink has them.
        gap = Gap(self.producer_id, self.epoch, 1, after, _ELSEWHERE)
        self._said_on_opening = ((gap,) if after else (), ())
        message = (
            f"{self.name} is not as it was delivered up to row {before}: restored from an older "
            f"backup? Rows after {after} are taken as new ones"
        )
        details = {
            "incarnation": self.producer_id,
            "epoch": str(self.epoch),
            "epoch_before": str(epoch_before),
            "delivered_before": str(before),
            "after": str(after),
        }
        remark = Remark(INCARNATION_OPENED, message, details)
        self._said_on_opening = (self._said_on_opening[0], (remark,))

    def _place_behind_held(self) -> _Place:
        """Behind the highest row that the trail holds, from whichever epoch; else before all."""
        epochs = sorted(
            source.epoch
            for source in self._held.sources()
            if source.producer_id == self.producer_id
        )
        first = self._reader.read_page(0, limit=1, max_bytes=1)
        lowest = _id(first.rows[0]) if first.rows else first.last_id + 1
        # From the end on: nearly always the newest row of a backup was delivered, too.
        until = first.last_id
        while until >= lowest:
            since = max(lowest, until - _ROWS_LOOKED_AT + 1)
            for row in reversed(self._rows_between(since, until)):
                if any(self._is_held(row, epoch) for epoch in epochs):
                    return _Place(_id(row), row, _id(row) + 1)
            until = since - 1
        return _Place(0, None, lowest)

    def _rows_between(self, since: int, until: int) -> list[OutboxRow]:
        rows: list[OutboxRow] = []
        while since <= until:
            page = self._reader.read_page(since, limit=until - since + 1, max_bytes=1 << 20)
            rows += (row for row in page.rows if _id(row) <= until)
            if not page.rows:
                break
            since = _id(page.rows[-1]) + 1
        return rows

    def _is_held(self, row: OutboxRow, epoch: int) -> bool:
        """Whether the trail holds what this row says at its position."""
        held = self._held.bodies_at(self.producer_id, epoch, _id(row))
        if not held or () in held:
            return bool(held)  # what retention dropped can't be compared any more
        fact = _fact(self._delivery(row, self._reader.decode_alone(row)).bodies)
        return any(_fact(bodies) == fact for bodies in held)

    # -- rows -----------------------------------------------------------------------------------

    def _read(self, limit: int, max_bytes: int) -> OutboxPage:
        # With the last delivered row, which shows that the database is the one we know.
        since = self._confirmed.last
        return self._reader.read_page(since, limit=limit + bool(since), max_bytes=max_bytes)

    def _take(self, page: OutboxPage, sink: Sink) -> Fetched:
        place = self._confirmed
        opening_gaps, opening_remarks = self._to_say_on_opening()
        gaps = list(opening_gaps)
        missing: list[tuple[int, int]] = []
        rows = [row for row in page.rows if _id(row) > place.last]
        received = sink.received(self.producer_id, self.epoch)
        # Not `received.last`: what is void there was no row's.
        delivered = self._held.last_position(self.producer_id, self.epoch) if rows else 0
        decoded = self._reader.decode(rows, self.epoch, delivered)
        expected = place.next
        deliveries = []
        for row, event in zip(rows, decoded.events, strict=True):
            if expected < event.seq:
                missing.append((expected, event.seq - 1))
            expected = max(expected, event.seq + 1)
            if event.seq not in received:
                deliveries.append(self._delivery(row, event))
        if page.is_whole:
            end = page.last_id if page.settled is None else page.settled
            if expected <= end:
                missing.append((expected, end))
            expected = max(expected, end + 1)
        void = None
        if page.settled is None:
            gaps += [Gap(self.producer_id, self.epoch, *each, _GONE) for each in missing]
        elif missing:
            void = Void(self.producer_id, self.epoch, tuple(missing))
        anchor = page.rows[-1] if page.rows else place.anchor
        self._fetched = _Place(_id(anchor) if anchor else place.last, anchor, expected)
        told = [Remark(note.action, note.message, note.details) for note in decoded.notices]
        if decoded.unattributed and deliveries:
            told.append(self._unattributed(decoded.unattributed))
        return Fetched(
            deliveries=tuple(deliveries),
            gaps=tuple(gaps),
            void=void,
            remarks=(*opening_remarks, *told),
            more=not page.is_whole,
            waiting=max(0, page.last_id - expected + 1),
        )

    def _to_say_on_opening(self) -> tuple[tuple[Gap, ...], tuple[Remark, ...]]:
        gaps, _ = self._said_on_opening
        if gaps:
            lost = self._held.lost(self.producer_id, self.epoch)
            if all((gap.first, gap.last) in lost for gap in gaps):
                self._said_on_opening = ((), ())  # the acknowledgement got lost
        return self._said_on_opening

    def _unattributed(self, count: int) -> Remark:
        message = (
            f"{self.name}: changes by nobody that is known: {count}; made by another client, or "
            "outside of acting_as"
        )
        return Remark("changes.unattributed", message, {"incarnation": self.producer_id})

    def _delivery(self, row: OutboxRow, event: DecodedEvent) -> Delivery:
        """The row's event; where it fits into none its cells, for the sink to set aside, unless
        some of them would have to be sealed."""
        producer = Producer(self.producer_id, self.epoch, event.seq)
        try:
            bodies = seal_parts(event.draft, event.time, producer)
        except EventError:
            bodies = (_raw(_unveiled(row) if event.is_private else row),)
        return Delivery(self.producer_id, self.epoch, event.seq, bodies)


class OutboxSources:
    """The outboxes that were asked to be watched: a `SourceFinder`. Safe for threads.

    `make_reader` opens the outbox of the database at a path; it isn't called before the first
    `find_sources`, and again until it works.
    """

    def __init__(
        self,
        make_reader: Callable[[Path], OutboxReader],
        held: HeldEvents,
    ) -> None:
        self._make_reader = make_reader
        self._held = held
        self._sources: dict[Path | str, OutboxSource] = {}

    def watch(self, path: Path) -> None:
        """Carry this database's outbox from now on; nothing changes where it is already."""
        path = path.resolve()
        if path not in self._sources:
            name = f"outbox {path}"
            reader = self._make_reader(path)
            self._sources[path] = OutboxSource(name, reader, self._held)

    def watch_server(self, server: str, reader: OutboxReader) -> None:
        """Carry the outbox of this server's database, too; `server` names it."""
        if server not in self._sources:
            self._sources[server] = OutboxSource(f"outbox {server}", reader, self._held)

    def delivered_through(self, incarnation: str) -> int:
        """See `OutboxSource.delivered_through`; 0 for an incarnation that isn't known.

        Where two files claim one incarnation (one is a copy of the other) it is 0 for both.
        """
        found = [
            source for source in list(self._sources.values()) if source.producer_id == incarnation
        ]
        return found[0].delivered_through if len(found) == 1 else 0

    def restored(self) -> Sequence[tuple[Path | str, OutboxSource]]:
        """Files and servers that were put back to a backup; none that another claims to be."""
        known = list(self._sources.items())
        claimed = [source.producer_id for _, source in known]
        return [
            (where, source)
            for where, source in known
            if source.is_restored and claimed.count(source.producer_id) == 1
        ]

    def find_sources(self) -> Sequence[OutboxSource]:
        """See `SourceFinder.find_sources`."""
        return list(self._sources.values())

    def close(self) -> None:
        """See `SourceFinder.close`."""
        for source in list(self._sources.values()):
            source.close()


def _fact(bodies: tuple[bytes, ...]) -> object:
    """What of an event is the same however often its row is read.

    Not who acted: a context that turns out to have been used twice is read differently then. Nor
    what is sealed: that is other bytes each time; nor a name: that is another token once it was
    erased.
    """
    try:
        parts = [decode_event(body) for body in bodies]
        # One event is large enough to be cut where the other isn't: compared whole.
        event = join_parts(parts) if parts[0].fragment is not None else parts[0]
    except EventError:
        return bodies
    changes = event.changes and {
        name: (blank(old), blank(new)) for name, (old, new) in event.changes.items()
    }
    targets = [
        msgspec.structs.replace(
            rows, ids=_blank_ids(rows.ids), ids_before=_blank_ids(rows.ids_before)
        )
        for rows in event.targets
    ]
    return event.time, event.action, targets, changes


def _blank_ids(ids: tuple[Id, ...]) -> tuple[Id, ...]:
    return tuple(tuple(map(blank, row_id)) for row_id in ids)


def _unveiled(row: OutboxRow) -> OutboxRow:
    """What no subject's values are in: neither the context's text nor any of the table's."""
    return *row[:2], None, *row[3:BASE_COLUMNS]


def _id(row: OutboxRow) -> int:
    return cast("int", row[0])


def _raw(row: OutboxRow) -> bytes:
    return msgspec.json.encode({"outbox_row": [to_value(cell) for cell in row]})
