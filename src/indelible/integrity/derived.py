"""What a trail derives from its entries, derived again and compared: batches, positions, index.

Memory is bounded by one run of the index and one range set a source, not by the trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from indelible.events.model import Event, Producer, Timestamp
from indelible.events.values import Value
from indelible.integrity.doubt import is_doubtful
from indelible.integrity.faults import IndexMismatchError, NumberingError
from indelible.integrity.numbering import (
    ACKNOWLEDGED,
    BATCH,
    QUIET,
    VOID,
    acknowledged_by,
    digest_of,
    parse_ranges,
)
from indelible.integrity.verified import SourceSoFar, Verified
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.entry import Dropped
from indelible.store.index import encode_directory, references
from indelible.store.ranges import RangeSet
from indelible.store.sqlite_audit import BlockRow, RunRow, SqliteAudit, TrailRow
from indelible.store.terms import term_hashes_of

_UNNOTICED: Final = "it has to be noticed, and isn't among the notices"


class _Source:
    """A source, as its entries tell of it."""

    def __init__(self, known: SourceSoFar | None = None) -> None:
        self.ranges = RangeSet() if known is None else RangeSet(known.received)
        self.latest = "" if known is None else known.latest
        self.last_time = "" if known is None else known.last_time
        self.last = 0 if known is None else known.last
        self.dropped = ""
        """When the last of its events came whose body is gone: their times can't be told."""


class Derived:
    """Takes the entries in order, block by block; `finish` compares what only the end tells.

    With what an `earlier` verification left, what is derived from the entries behind it is
    compared, and all sources and notices; of the index the runs that hold such an entry, and so
    that those can be built again, entries from `first` on are to be given.
    """

    def __init__(
        self, audit: SqliteAudit, trail: TrailRow, earlier: Verified | None = None
    ) -> None:
        self._audit = audit
        self._size = int(trail.size)
        self._since = since = 0 if earlier is None else earlier.what.size
        self._conflicts = audit.conflicts(since)
        self._gaps = audit.gaps(since)
        self._quarantined = {
            index: (producer, epoch, seq, digest_of(bodies))
            for index, producer, epoch, seq, bodies in audit.quarantined(since)
        }
        self._notices = audit.notices()
        self._noticed = {} if earlier is None else dict(earlier.noticed)
        sources = () if earlier is None else earlier.sources
        self._sources = {(known.producer, known.epoch): _Source(known) for known in sources}
        self._positions = 0
        self.batches = 0
        """Batches that ended in the entries that weren't verified before."""
        self._previous: tuple[str, int, int, int] | None = None
        self._dropped: tuple[str, int, int, int] | None = None
        self._runs = iter(audit.runs())
        self._run: RunRow | None = None
        self._indexed = 0
        self._refs: list[int] = []
        self._low, self._high = "~", ""
        self._first_run = 0
        self._next_run(since)
        self.first = since if self._run is None else min(since, self._run.first)
        self._batches = iter(audit.batches(self.first))
        self._batch = next(self._batches, None)
        if self._batch is not None and self._batch[1] < self.first:
            self._batch = next(self._batches, None)  # nothing came since
        self._own_source = trail.source_id

    def add(self, block: BlockRow, events: Iterable[Event | Dropped]) -> None:
        """Compare what these entries tell."""
        first = block.n * BLOCK_ENTRIES
        for place, event in enumerate(events):
            index = first + place
            if index < self.first:
                continue
            received = self._received(index, event)
            if isinstance(event, Dropped):
                if index >= self._since:
                    self._check_dropped(index, event, received)
                time = Timestamp(received)
            else:
                if index >= self._since:
                    self._check_position(index, event)
                    self._check_doubt(index, event, received, bool(block.doubtful >> place & 1))
                    self._check_system(index, event)
                time = event.time
            low, high = (time, received) if time < received else (received, time)
            if low < block.min_time or high > block.max_time:
                raise IndexMismatchError(
                    index, "its block's times leave it out: answers for its window would miss it"
                )
            self._add_terms(index, event, low, high)

    def finish(self) -> None:
        """Compare what only the whole tells."""
        if self._batch is not None or next(self._batches, None) is not None:
            raise NumberingError(self._size, "there are batches beyond the end of the trail")
        if self._run is not None:
            raise IndexMismatchError(self._size, "the index goes beyond the end of the trail")
        if strays := self._audit.count_stray_pages(self._first_run):
            raise IndexMismatchError(self._size, f"{strays} pages of the index belong to no run")
        # Of what went before only the whole table tells; each new position was looked up instead.
        if not self._since and self._audit.count_positions() != self._positions:
            raise NumberingError(
                self._size,
                f"expected {self._positions} positions with an index, there are "
                f"{self._audit.count_positions()}",
            )
        self._check_sources()
        leftover = [*self._conflicts, *self._gaps, *self._quarantined]
        leftover += self._notices.keys() - self._noticed.keys()
        if leftover:
            raise NumberingError(
                min(leftover), "conflict, gap, quarantine or notice without an entry that says so"
            )
        for index, by in self._noticed.items():
            if index not in self._notices:
                raise NumberingError(index, _UNNOTICED)
            if self._notices[index] != by:
                raise NumberingError(
                    index,
                    f"expected it to be acknowledged by entry {by}"
                    if by is not None
                    else "it counts as acknowledged, and no entry says so",
                )

    def so_far(self) -> tuple[SourceSoFar, ...]:
        """What to go on from, of each source."""
        return tuple(
            SourceSoFar(*key, one.ranges.ranges(), one.last, one.last_time, one.latest)
            for key, one in self._sources.items()
        )

    def noticed(self) -> tuple[tuple[int, int | None], ...]:
        """Each notice, and the entry that acknowledges it."""
        return tuple(self._noticed.items())

    # -- batches and positions ------------------------------------------------------------------

    def _received(self, index: int, event: Event | Dropped) -> str:
        """When the entry came, by its batch, whose last entry must say the same."""
        batch = self._batch
        if batch is None or not batch[0] <= index <= batch[1]:
            raise NumberingError(index, "no batch holds it")
        is_end = (
            isinstance(event, Event)
            and event.action == BATCH
            and event.producer.id == self._own_source
        )
        if is_end != (index == batch[1]):
            raise NumberingError(index, f"expected the batch to end at index {batch[1]}")
        if is_end and isinstance(event, Event):
            details = event.details or {}
            said = (details.get("first"), details.get("last"), details.get("time"))
            if said != (batch[0], batch[1], batch[2]):
                raise NumberingError(index, "the batch isn't what its last entry says")
            self.batches += index >= self._since
            self._batch = next(self._batches, None)
            if self._batch is not None and self._batch[0] != index + 1:
                raise NumberingError(index + 1, "no batch begins here")
        return batch[2]

    def _check_position(self, index: int, event: Event) -> None:
        producer = event.producer
        if event.part is not None and event.fragment is not None and event.part.n > 1:
            return
        source = self._take_position(index, producer)
        if source is not None and producer.seq > source.last:
            source.last, source.last_time = producer.seq, event.time

    def _check_dropped(self, index: int, event: Dropped, received: str) -> None:
        """Of what retention took from an event, its time is missing, and which part it is: later
        parts stand behind the first one, under the same position."""
        producer = event.producer
        place = (producer.id, producer.epoch, producer.seq)
        is_later_part = self._dropped == (*place, index - 1) and index not in self._conflicts
        self._dropped = (*place, index)
        if is_later_part:
            return
        source = self._take_position(index, producer)
        if source is not None:
            source.last = max(source.last, producer.seq)
            source.dropped = max(source.dropped, received)

    def _take_position(self, index: int, producer: Producer) -> _Source | None:
        """Its source, where no conflict is noted of the position; which leads to the index."""
        conflict = self._conflicts.pop(index, None)
        place = (producer.id, producer.epoch, producer.seq)
        source = self._source(place[0], place[1])
        if conflict is not None:
            if conflict != place:
                raise NumberingError(index, "the conflict noted here is of another position")
            return None
        if producer.seq in source.ranges:
            raise NumberingError(index, f"position {producer.seq} of its source stands twice")
        source.ranges.add(producer.seq, producer.seq)
        self._positions += 1
        previous = self._previous
        self._previous = (*place, index)
        if previous == (place[0], place[1], place[2] - 1, index - 1) and not self._since:
            return source
        # Between two ends of a stretch the mapping is a straight line, so the ends suffice.
        for at in (previous, self._previous):
            if at is not None and self._audit.find_index(*at[:3]) != at[3]:
                raise NumberingError(at[3], "its position leads to another index")
        return source

    def _check_doubt(self, index: int, event: Event, received: str, doubtful: bool) -> None:
        source = self._source(event.producer.id, event.producer.epoch)
        expected = is_doubtful(
            event.time,
            epoch=event.producer.epoch,
            latest=Timestamp(source.latest) if source.latest else None,
            received=Timestamp(received),
        )
        if not (expected or doubtful) and event.time > source.latest:
            source.latest = event.time
        # It may be dated before one of its producer whose body is gone.
        if expected != doubtful and not (doubtful and source.dropped):
            raise IndexMismatchError(
                index, f"its time is{'' if expected else ' not'} doubtful, the index says otherwise"
            )

    def _check_system(self, index: int, event: Event) -> None:
        if event.kind != "system" or (event.part is not None and event.part.n > 1):
            return
        details = event.details or {}
        if event.action == ACKNOWLEDGED:
            noticed = acknowledged_by(event, index)
            if noticed is not None and self._noticed.get(noticed, index) is None:
                self._noticed[noticed] = index
            return
        if event.action not in QUIET:
            if index not in self._notices:
                raise NumberingError(index, _UNNOTICED)
            self._noticed[index] = None
        if event.producer.id != self._own_source:
            return
        place = (details.get("producer"), details.get("epoch"))
        if event.action == "source.gap":
            gap = self._gaps.pop(index, None)
            lost = (details.get("first"), details.get("last"))
            if gap is None or (gap[0], str(gap[1])) != place or gap[2:] != lost:
                raise NumberingError(index, "the gap that it tells of isn't among the gaps")
        elif event.action == VOID:
            self._add_void(index, details)
        elif event.action == "event.quarantined":
            kept = self._quarantined.pop(index, None)
            if kept is None or kept[3] != details.get("sha256"):
                raise NumberingError(index, "the bytes set aside aren't those that came")
            source = self._source(kept[0], kept[1])
            source.ranges.add(kept[2], kept[2])
            source.last = max(source.last, kept[2])

    def _add_void(self, index: int, details: Mapping[str, Value]) -> None:
        try:
            source = self._source(str(details["producer"]), int(str(details["epoch"])))
            ranges = parse_ranges(details["ranges"])
        except (KeyError, ValueError):
            raise NumberingError(index, "it doesn't say which positions are void") from None
        for first, last in ranges:
            source.ranges.add(first, last)
            source.last = max(source.last, last)

    def _check_sources(self) -> None:
        stored = self._audit.sources()
        for key, source in self._sources.items():
            ranges, last_time, latest = stored.pop(key, ((), "", ""))
            # A late event below one that was set aside leaves `last_time` earlier than it could be.
            is_ahead = last_time > max(source.last_time, source.dropped)
            is_latest = source.latest <= latest <= max(source.latest, source.dropped)
            if is_ahead or ranges != source.ranges.ranges() or not is_latest:
                raise NumberingError(
                    self._size, f"what was received of source {key[0]} isn't what the entries say"
                )
        if stored:
            raise NumberingError(self._size, f"no entry is of source {min(stored)[0]}")

    def _source(self, producer: str, epoch: int) -> _Source:
        source = self._sources.get((producer, epoch))
        if source is None:
            source = self._sources[(producer, epoch)] = _Source()
        return source

    # -- the index ------------------------------------------------------------------------------

    def _next_run(self, since: int) -> None:
        self._run = next(self._runs, None)
        while self._run is not None and self._run.last < since:
            self._indexed, self._first_run = self._run.last + 1, self._run.id + 1
            self._run = next(self._runs, None)
        if self._run is not None and self._run.first != self._indexed:
            raise IndexMismatchError(self._indexed, "no run of the index covers it")

    def _add_terms(self, index: int, event: Event | Dropped, low: str, high: str) -> None:
        run = self._run
        if run is None or index < run.first:
            return
        if isinstance(event, Event):
            self._refs += references(term_hashes_of(event), index - run.first)
        if low < self._low:
            self._low = low
        if high > self._high:
            self._high = high
        if index == run.last:
            self._check_run(run)
            self._refs = []
            self._low, self._high = "~", ""
            self._indexed = index + 1
            self._next_run(0)

    def _check_run(self, run: RunRow) -> None:
        expected = sorted(self._refs)
        stored, firsts = self._audit.references(run)
        if stored != expected:
            wrong = set(stored) ^ set(expected) or {0}
            distance = min(ref & 0xFFFFFFFF for ref in wrong)
            found = [ref for ref in wrong if ref & 0xFFFFFFFF == distance]
            what = "leaves it out" if found[0] in set(expected) else "finds it wrongly"
            raise IndexMismatchError(run.first + distance, f"the index {what}")
        if run.directory != encode_directory(firsts) or run.refs != len(expected):
            raise IndexMismatchError(run.first, "the index's directory isn't that of its pages")
        if run.min_time > self._low or run.max_time < self._high:
            raise IndexMismatchError(run.first, "the index's times leave entries out")
