"""One batch on its way to be numbered: what is new, what came before, what is no event. Pure.

Deliveries are taken source by source, so that positions that follow each other get indexes that
do; then come the sequencer's own entries, `batch.sequenced` last.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from indelible.capture.installing import INSTALLED
from indelible.errors import EventError, MalformedEventError
from indelible.events.codec import (
    MAX_EVENT_BYTES,
    decode_event,
    encode_draft,
    seal_parts,
)
from indelible.events.model import RESTORED, Event, Producer, Timestamp
from indelible.events.sessions import ACTIONS, SKIPPED
from indelible.events.values import Value
from indelible.integrity.acts import ACTS
from indelible.integrity.doubt import is_doubtful
from indelible.integrity.retention import RETENTION
from indelible.store.entry import format_stem, leaf_of, new_salts
from indelible.store.protocol import Append, NewEntry, Notice, Quarantined, SourceUpdate, Span
from indelible.store.ranges import RangeSet
from indelible.store.terms import term_hashes_of
from indelible.tlog import Growth, Hash, Index, Size
from indelible.transport.delivery import Delivery, Gap, Void
from indelible.transport.producer_signing import BEGAN, ENDED, SIGNED, VANISHED

ACKNOWLEDGED: Final = "notice.acknowledged"
ASKED: Final = "trail.asked"
OPENED: Final = "export.opened"
VERIFIED: Final = "trail.verified"
NOT_VERIFIED: Final = "trail.not_verified"
BODIES_READ: Final = "trail.bodies_read"
DENIED: Final = "trail.denied"
BATCH: Final = "batch.sequenced"
VOID: Final = "source.void"
_VOID_RANGES: Final = 500
"""So many an entry, so that it is never cut into parts."""
QUIET: Final = (
    ACTIONS
    | ACTS
    | RETENTION
    | {
        ACKNOWLEDGED,
        ASKED,
        OPENED,
        VERIFIED,
        BODIES_READ,
        DENIED,
        BATCH,
        VOID,
        SKIPPED,
        "table.baseline",
        RESTORED,
        BEGAN,
        SIGNED,
        ENDED,
        VANISHED,
        INSTALLED,
        "outbox.cleared",
        "reconcile.finished",
        "invariants.checked",
    }
)
"""`system` actions that nobody has to see."""


class Held(Protocol):
    """What the trail holds of one source; a batch adds to it."""

    ranges: RangeSet
    last: int
    last_time: Timestamp | None
    latest: Timestamp | None


class Trail(Protocol):
    """What numbering asks of the trail as it is."""

    def held(self, producer_id: str, epoch: int) -> Held: ...

    def bodies_at(self, producer_id: str, epoch: int, seq: int) -> list[tuple[bytes, ...]]: ...

    def next_own(self) -> Producer: ...


class Numbering:
    """Collects the entries of one batch, the first of which gets `first` as its index."""

    def __init__(self, trail: Trail, *, first: Index, now: Timestamp) -> None:
        self._trail = trail
        self._first = first
        self._now = now
        self._numbered: list[_Numbered] = []
        self._spans: list[_Stretch] = []
        self._new: dict[tuple[str, int], list[_Stretch]] = {}
        self._conflicts: list[tuple[str, int, int, Index]] = []
        self._quarantined: list[Quarantined] = []
        self._gaps: list[tuple[Gap, Index]] = []
        self._notices: list[Notice] = []
        self._acknowledged: list[tuple[Index, Index]] = []
        self._pending_quarantine: list[Delivery] = []
        self._later: list[Callable[[], object]] = []

    @property
    def is_empty(self) -> bool:
        return not self._numbered and not self._later

    @property
    def _next(self) -> Index:
        return Index(self._first + len(self._numbered))

    def add_deliveries(self, batch: Sequence[Delivery]) -> None:
        """Everything of `batch` that the trail doesn't hold yet."""
        by_source: dict[tuple[str, int], list[Delivery]] = {}
        for delivery in batch:
            by_source.setdefault((delivery.producer_id, delivery.epoch), []).append(delivery)
        for source, deliveries in by_source.items():
            held = self._trail.held(*source)
            for delivery in deliveries:
                self._add_delivery(delivery, held)

    def add_own(self, action: str, message: str, **details: Value) -> Index:
        """An entry of the sequencer's own, which somebody has to see; its index."""
        index = self._next
        self._add_system(action, {"message": message, **details})
        return index

    def add_gap(self, gap: Gap) -> None:
        """Write down that positions are lost."""
        index = self.add_own(
            "source.gap",
            f"positions {gap.first} to {gap.last} are lost: {gap.why}",
            producer=gap.producer_id,
            epoch=str(gap.epoch),
            first=gap.first,
            last=gap.last,
        )
        self._gaps.append((gap, index))

    def add_void(self, void: Void) -> None:
        """Write down that nothing will come at positions that aren't held."""
        source = (void.producer_id, void.epoch)
        held = self._trail.held(*source)
        known = RangeSet(held.ranges.ranges())
        free = [
            (first, last) for first, last in void.ranges if first not in known and last not in known
        ]
        for some in range(0, len(free), _VOID_RANGES):
            self.add_own(
                VOID,
                "positions that were given out and rolled back",
                producer=void.producer_id,
                epoch=str(void.epoch),
                ranges=format_ranges(free[some : some + _VOID_RANGES]),
            )
        if not free:
            return
        stretches = self._new.setdefault(source, [])
        for first, last in free:
            held.ranges.add(first, last)
            held.last = max(held.last, last)
            stretches.append(_Stretch(source, first, count=last - first + 1))

    def finish(self) -> None:
        """Add what is to be said about the deliveries, then the batch's own end."""
        for say in self._later:
            say()
        details: dict[str, Value] = {
            "time": self._now,
            "first": int(self._first),
            "last": int(self._next),
        }
        self._add_system(BATCH, details)

    def entries(self) -> tuple[list[NewEntry], list[Hash]]:
        """The entries with fresh salts, and their leaf hashes."""
        salts = new_salts(len(self._numbered))
        entries = [
            NewEntry(each.stem, salt, each.body, each.time, each.doubtful, each.terms)
            for salt, each in zip(salts, self._numbered, strict=True)
        ]
        return entries, [leaf_of(entry.stem, entry.salt, entry.body) for entry in entries]

    def as_append(
        self, entries: Sequence[NewEntry], growth: Growth, *, vkey: str | None = None
    ) -> Append:
        """What the store makes durable together; `vkey` where the trail's key is rotated."""
        return Append(
            first=self._first,
            time=self._now,
            entries=entries,
            tiles=growth.tiles,
            size=Size(growth.edge.size),
            root=growth.edge.root,
            spans=[span.as_span() for span in self._spans],
            sources=[self._update(source, new) for source, new in self._new.items()],
            conflicts=self._conflicts,
            quarantined=self._quarantined,
            gaps=self._gaps,
            notices=self._notices,
            acknowledged=self._acknowledged,
            vkey=vkey,
        )

    # -- one delivery ---------------------------------------------------------------------------

    def _add_delivery(self, delivery: Delivery, held: Held) -> None:
        position = (delivery.producer_id, delivery.epoch, delivery.seq)
        is_held = delivery.seq in held.ranges
        if is_held and self._is_kept(delivery):
            return
        try:
            events = _decode(delivery)
        except EventError as error:
            self._quarantine(delivery, str(error))
            if not is_held:
                self._receive(delivery, held, None)
            return
        first = Index(self._first + len(self._numbered))
        for event, body in zip(events, delivery.bodies, strict=True):
            self._add_event(event, body, self._is_doubtful(event, held))
        if is_held:
            self._conflicts.append((*position, first))
            self._later.append(
                lambda: self._say(
                    "source.conflict",
                    f"other bytes came at a position that was received before: entry {first}",
                    delivery,
                )
            )
            return
        self._add_span(delivery, first)
        self._receive(delivery, held, events[0])

    def _is_kept(self, delivery: Delivery) -> bool:
        """Whether these bytes stand at this position already, in the trail or in this batch."""
        bodies = list(delivery.bodies)
        for at, each in enumerate(self._numbered):
            if each.body == bodies[0]:
                return [n.body for n in self._numbered[at : at + len(bodies)]] == bodies
        if delivery in self._pending_quarantine:
            return True
        kept = self._trail.bodies_at(delivery.producer_id, delivery.epoch, delivery.seq)
        # What retention dropped can't be compared any more, and isn't let in again.
        return delivery.bodies in kept or () in kept

    def _is_doubtful(self, event: Event, held: Held) -> bool:
        doubtful = is_doubtful(
            event.time, epoch=event.producer.epoch, latest=held.latest, received=self._now
        )
        if not doubtful and (held.latest is None or event.time > held.latest):
            held.latest = event.time
        return doubtful

    def _receive(self, delivery: Delivery, held: Held, event: Event | None) -> None:
        held.ranges.add(delivery.seq, delivery.seq)
        if delivery.seq > held.last:
            held.last = delivery.seq
            if event is not None:
                held.last_time = event.time
        source = (delivery.producer_id, delivery.epoch)
        new = self._new.get(source)
        if new is None:
            new = self._new[source] = []
        if not (new and new[-1].goes_on(source, delivery.seq)):
            new.append(_Stretch(source, delivery.seq))

    def _add_span(self, delivery: Delivery, first: Index) -> None:
        source = (delivery.producer_id, delivery.epoch)
        spans = self._spans
        if not (spans and spans[-1].goes_on(source, delivery.seq, first)):
            spans.append(_Stretch(source, delivery.seq, first))

    def _add_event(self, event: Event, body: bytes, doubtful: bool) -> None:
        # The event itself is let go here: a batch of them doesn't fit a processor's cache.
        stem = format_stem(event.producer, event.kind)
        terms = term_hashes_of(event)
        self._numbered.append(_Numbered(stem, body, event.time, doubtful, terms))
        if event.kind != "system":
            return
        index = Index(self._next - 1)
        if event.action == ACKNOWLEDGED:
            noticed = acknowledged_by(event, index)
            if noticed is not None:
                self._acknowledged.append((noticed, index))
        elif event.action not in QUIET and (event.part is None or event.part.n == 1):
            self._notices.append(
                Notice(index=index, time=self._now, action=event.action, message=_message(event))
            )

    def _quarantine(self, delivery: Delivery, reason: str) -> None:
        self._pending_quarantine.append(delivery)

        def say() -> None:
            index = self._say("event.quarantined", f"bytes that are no event: {reason}", delivery)
            self._quarantined.append(
                Quarantined(
                    index=index,
                    producer_id=delivery.producer_id,
                    epoch=delivery.epoch,
                    seq=delivery.seq,
                    bodies=delivery.bodies,
                    reason=reason,
                )
            )

        self._later.append(say)

    def _say(self, action: str, message: str, delivery: Delivery) -> Index:
        return self.add_own(
            action,
            message,
            producer=delivery.producer_id,
            epoch=str(delivery.epoch),
            seq=str(delivery.seq),
            sha256=digest_of(delivery.bodies),
        )

    def _add_system(self, action: str, details: dict[str, Value]) -> None:
        producer = self._trail.next_own()
        draft = encode_draft(Event(action=action, kind="system", details=details))
        bodies = seal_parts(draft, self._now, producer)
        delivery = Delivery(producer.id, producer.epoch, producer.seq, bodies)
        held = self._trail.held(producer.id, producer.epoch)
        first = self._next
        for body in bodies:
            event = decode_event(body)
            self._add_event(event, body, self._is_doubtful(event, held))
        self._add_span(delivery, first)
        self._receive(delivery, held, event)

    def _update(self, source: tuple[str, int], new: Sequence[_Stretch]) -> SourceUpdate:
        held = self._trail.held(*source)
        ranges = [stretch.as_range() for stretch in new]
        return SourceUpdate(
            *source, ranges, held.last_time or Timestamp(""), held.latest or Timestamp("")
        )


def format_ranges(ranges: Sequence[tuple[int, int]]) -> str:
    """Inclusive ranges as an entry says them: `3-7,9-9`."""
    return ",".join(f"{first}-{last}" for first, last in ranges)


def parse_ranges(text: object) -> list[tuple[int, int]]:
    """What `format_ranges` wrote. Raises `ValueError` for anything else."""
    found = []
    for part in str(text).split(","):
        first, _, last = part.partition("-")
        found.append((int(first), int(last)))
    return found


def digest_of(bodies: Sequence[bytes]) -> str:
    """SHA-256 over all bodies, each behind its length, as hexadecimal."""
    digest = sha256()
    for body in bodies:
        digest.update(len(body).to_bytes(8, "little") + body)
    return digest.hexdigest()


class _Numbered(NamedTuple):
    """What is left of an event once it is numbered: an entry without its salt."""

    stem: bytes
    body: bytes
    time: Timestamp
    doubtful: bool
    terms: list[int]


class _Stretch:
    """Positions of a source that follow each other, and the indexes that they got, if any."""

    __slots__ = ("_count", "_first_index", "_first_seq", "_source")

    def __init__(
        self, source: tuple[str, int], seq: int, index: int = 0, *, count: int = 1
    ) -> None:
        self._source = source
        self._first_seq = seq
        self._first_index = index
        self._count = count

    def goes_on(self, source: tuple[str, int], seq: int, index: int | None = None) -> bool:
        """Whether this position follows; then it is taken in."""
        count = self._count
        follows = self._first_seq + count == seq and self._source == source
        if follows and (index is None or self._first_index + count == index):
            self._count = count + 1
            return True
        return False

    def as_range(self) -> tuple[int, int]:
        return self._first_seq, self._first_seq + self._count - 1

    def as_span(self) -> Span:
        return Span(*self._source, self._first_seq, Index(self._first_index), self._count)


def _decode(delivery: Delivery) -> list[Event]:
    """The events of a delivery, each at its place; raises `EventError`."""
    bodies = delivery.bodies
    if not bodies:
        raise MalformedEventError("expected at least one body in a delivery")
    base = f"{delivery.producer_id}.{delivery.epoch}.{delivery.seq}"
    events = []
    for part, body in enumerate(bodies, start=1):
        if len(body) > MAX_EVENT_BYTES or b"\n" in body:
            raise MalformedEventError(
                f"expected one line of at most {MAX_EVENT_BYTES} bytes, came {len(body)} bytes"
            )
        event = decode_event(body)
        producer = event.producer
        if (
            producer.seq != delivery.seq
            or producer.epoch != delivery.epoch
            or producer.id != delivery.producer_id
        ):
            raise MalformedEventError("expected an event of the source that it came from")
        if event.id != (base if part == 1 else f"{base}.{part}"):
            raise MalformedEventError("expected an event whose id is its place")
        _check_time(event.time)
        if len(bodies) > 1 and (event.part is None or event.part.n != part):
            raise MalformedEventError(f"expected part {part} of {len(bodies)}")
        events.append(event)
    return events


_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
)


def _check_time(text: Timestamp) -> None:
    """Raises `MalformedEventError` unless `text` is written as every other time, to sort by."""
    if _TIME.fullmatch(text) is None or not _is_day(text[:10]):
        raise MalformedEventError("expected a time like 2026-11-23T09:28:04.123456Z")


@lru_cache(maxsize=1_024)
def _is_day(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def acknowledged_by(event: Event, index: int) -> Index | None:
    """The notice that the `notice.acknowledged` at `index` is about: one that stands before it."""
    noticed = (event.details or {}).get("index")
    return Index(noticed) if type(noticed) is int and noticed < index else None


def _message(event: Event) -> str:
    message = (event.details or {}).get("message")
    return message if isinstance(message, str) else event.action
