"""What the trail says of its own capture, read once: where it began, was whole, and had holes."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

from indelible.capture.drift import DRIFT
from indelible.capture.installing import INSTALLED
from indelible.errors import MalformedEventError
from indelible.events.codec import UNDECODABLE, event_id, format_time
from indelible.events.model import INCARNATION_OPENED, Event, Producer, Timestamp
from indelible.invariants.expecting import BASELINE, FINISHED
from indelible.invariants.reconcile import DIFFERS, UNREADABLE
from indelible.questions.reading import RowsView, Seen, glance, read_events
from indelible.questions.window import Window
from indelible.store.errors import BodyDroppedError
from indelible.store.protocol import Source, TrailReader
from indelible.store.terms import action_term
from indelible.tlog import Index
from indelible.transport.producer_signing import SILENT, VANISHED

GONE: Final = ("capture.suspended", "capture.uninstalled", "capture.not_installed")
"""From here on nothing of the database is captured."""
DISAGREE: Final = "capture.differs"
LOG_LOST: Final = "log.lost"
GAP: Final = "source.gap"
SPOILT: Final = ("event.quarantined", "source.conflict", UNREADABLE)
"""One event that came and can't be read, or came twice in two ways."""
READS_LOST: Final = (
    "capture.access_lost",
    "journal.dropped",
    "journal.damaged",
    "journal.tail_cut",
    "journal.file_removed",
    "statements.lost",
    "statements.unread",
    "statements.unreadable",
    "statements.position_lost",
)
ABOUT_CAPTURE: Final = (
    INSTALLED,
    DRIFT,
    *GONE,
    DISAGREE,
    LOG_LOST,
    GAP,
    *SPOILT,
    *READS_LOST,
    SILENT,
    VANISHED,
    DIFFERS,
    FINISHED,
    INCARNATION_OPENED,
)
_NEAR: Final = 64
"""So many positions beside a hole are looked at for one that is held."""


class Mark(NamedTuple):
    """A moment of which an entry says something."""

    time: Timestamp
    entry: Index


class Note(NamedTuple):
    """One `system` entry."""

    action: str
    time: Timestamp
    entry: Index
    event: Event

    def detail(self, name: str) -> str:
        return str((self.event.details or {}).get(name, ""))


class _BaselineView(msgspec.Struct):
    """Of a `table.baseline` only which tables it is of, and of which database."""

    kind: str
    action: str
    time: Timestamp
    targets: tuple[RowsView, ...] = ()
    baseline: dict[str, msgspec.Raw] = {}


_baseline_decoder: Final = msgspec.json.Decoder(_BaselineView)


class Notes:
    """The entries about capture among the first `size`. Raises what the reader does."""

    def __init__(self, reader: TrailReader, size: int) -> None:
        self.reader = reader
        self.size = size

    @cached_property
    def all(self) -> Sequence[Note]:
        """In the order of the trail; without baselines."""
        terms = [action_term(action) for action in ABOUT_CAPTURE]
        found = read_events(self.reader, terms, Window(), size=self.size, kinds={"system"})
        return [
            Note(seen.event.action, _time_of(seen), seen.indexes[0], seen.event)
            for seen in found
            if seen.event.action in ABOUT_CAPTURE
        ]

    def of(self, *actions: str) -> Iterator[Note]:
        """Those of these actions."""
        return (note for note in self.all if note.action in actions)

    @cached_property
    def _baselines(self) -> tuple[dict[str, list[Mark]], frozenset[str]]:
        marks: dict[str, list[Mark]] = {}
        incarnations = set()
        for entry in self.reader.search([action_term(BASELINE)]):
            if entry.index >= self.size:
                continue
            try:
                view = _baseline_decoder.decode(entry.body)
            except UNDECODABLE as error:
                raise MalformedEventError(f"expected the JSON of an event: {error}") from None
            # Anybody may give an explicit event this name.
            if view.kind != "system" or view.action != BASELINE:
                continue
            if "incarnation" in view.baseline:
                incarnations.add(msgspec.json.decode(view.baseline["incarnation"]))
            time = entry.received if entry.doubtful else view.time
            for rows in view.targets:
                marks.setdefault(rows.kind, []).append(Mark(time, entry.index))
        return marks, frozenset(map(str, incarnations))

    @property
    def baselines(self) -> dict[str, list[Mark]]:
        """When rows of each kind were written down as they stood."""
        return self._baselines[0]

    @cached_property
    def installed(self) -> dict[str, list[Mark]]:
        """When capture of each kind was known to be set up: baselines, and what `install` said."""
        marks = {kind: list(found) for kind, found in self.baselines.items()}
        for note in self.of(INSTALLED):
            for rows in note.event.targets:
                marks.setdefault(rows.kind, []).append(Mark(note.time, note.entry))
        for found in marks.values():
            found.sort()
        return marks

    @cached_property
    def databases(self) -> frozenset[str]:
        """The producer ids that are databases' outboxes; all others are processes' journals."""
        said = {note.detail("incarnation") for note in self.of(INSTALLED, INCARNATION_OPENED)}
        return frozenset(self._baselines[1] | said) - {""}

    @cached_property
    def reconciled(self) -> dict[str, list[Mark]]:
        """When each kind was last found to be as the trail says, and nothing was unexplained."""
        clean: dict[str, list[Mark]] = {}
        differing: set[str] = set()
        for note in self.of(DIFFERS, FINISHED):
            kinds = {rows.kind for rows in note.event.targets}
            if note.action == DIFFERS:
                differing |= kinds
                continue
            for kind in kinds - differing:
                clean.setdefault(kind, []).append(Mark(note.time, note.entry))
            differing.clear()
        return clean

    def last_sound(self, kind: str, before: Timestamp) -> Timestamp | None:
        """The last moment before `before` at which all of this kind was known to be captured."""
        times = [
            mark.time
            for mark in (*self.installed.get(kind, ()), *self.reconciled.get(kind, ()))
            if mark.time < before
        ]
        return max(times, default=None)

    def next_installed(self, kind: str | None, after: Timestamp) -> Timestamp | None:
        """When capture of this kind (of any) was set up again.

        `install` sees to all tables: one of which it says nothing any more is gone by then.
        """
        kinds = self.installed if kind is None else (kind,)
        times = [mark.time for each in kinds for mark in self.installed.get(each, ())]
        times += [note.time for note in self.of(INSTALLED)]
        return min((time for time in times if time > after), default=None)

    def bounds(
        self, source: tuple[str, int], first: int, last: int
    ) -> tuple[Timestamp, Timestamp | None]:
        """Between which times positions `first` to `last` of a source were given out; None where
        nothing came behind them."""
        before = self._time_at(source, range(first - 1, max(0, first - 1 - _NEAR), -1))
        after = self._time_at(source, range(last + 1, last + 1 + _NEAR))
        return before or format_time(max(0, source[1])), after

    def around(
        self, producer: tuple[str, str], moment: Timestamp
    ) -> tuple[Timestamp | None, Timestamp | None]:
        """When a source's events before and behind `moment` were; None where there are none."""
        for source in self.reader.sources():
            if (source.producer_id, str(source.epoch)) == producer:
                place = (source.producer_id, source.epoch)
                low, high = 1, source.received.last + 1
                while low < high:
                    middle = (low + high) // 2
                    time = self._time_at(place, range(middle, source.received.last + 1))
                    if time is None or time > moment:
                        high = middle
                    else:
                        low = middle + 1
                before = self._time_at(place, range(low - 1, max(0, low - 1 - _NEAR), -1))
                return before, self._time_at(place, range(low, low + _NEAR))
        return None, None

    def missing(self) -> Iterator[tuple[Source, int, int]]:
        """What neither came nor was reported as gone."""
        for source in self.reader.sources():
            for first, last in source.missing:
                yield source, first, last

    def _time_at(self, source: tuple[str, int], places: range) -> Timestamp | None:
        for seq in places[:_NEAR]:
            index = self.reader.index_of(event_id(Producer(*source, seq)))
            if index is not None and index < self.size:
                with contextlib.suppress(BodyDroppedError):
                    return glance(self.reader.entry(index).body)[1]
        return None


def _time_of(seen: Seen) -> Timestamp:
    """When it was said; of what says that all is well not before it came, where that is doubtful:
    else a clock that is wrong would have captured for years."""
    is_doubtful = seen.doubt is not None and seen.event.action in (INSTALLED, FINISHED)
    return seen.received if is_doubtful else seen.event.time


def instant(text: str) -> Timestamp | None:
    """A time as an entry's details have it; None where it is none."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return format_time(round(moment.timestamp() * 1_000_000))
