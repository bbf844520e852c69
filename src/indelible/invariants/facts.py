"""What every judge is given, and the one pass over the entries that some of them need."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from indelible.errors import IndelibleError, MalformedEventError
from indelible.events.codec import UNDECODABLE, format_time
from indelible.events.model import Actor, Timestamp
from indelible.invariants.coverage import Coverage
from indelible.invariants.verdicts import Verdict
from indelible.policy import Policy
from indelible.policy.durations import Duration
from indelible.policy.invariants import Invariant, Windowed
from indelible.questions.reading import EventView, is_in_window, is_repeated
from indelible.questions.retained import Retained, retained
from indelible.questions.window import Window
from indelible.store.blocks import FRAME_ENTRIES
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.tlog import Index

P = TypeVar("P", bound=Invariant)
W = TypeVar("W", bound=Windowed)
Progress = Callable[[int, int], None]


class Rehearsed(NamedTuple):
    """What reversing an actor's changes came to: rows restored, rows in which others' later changes
    stand, why each row that nobody stands in the way of couldn't be restored, and rows of which
    something was lawfully erased."""

    restored: int
    conflicts: int
    stuck: tuple[str, ...]
    erased: int = 0


class Site(Protocol):
    """What only where the trail is at home can be tried."""

    def rehearse(self, by: Actor, window: Window, *, rolled_back: bool) -> Rehearsed | str:
        """Reverse it on a copy, or in a transaction that is rolled back; or why it can't be."""

    def cosigned(self) -> dict[str, tuple[int, int]] | None:
        """How many entries each witness vouches for, and the POSIX second of its cosignature.

        None where no witness is named. Raises `VerificationError`.
        """

    def try_canary(self, command: Sequence[str]) -> tuple[Actor | None, str]:
        """Have the application read and write as a new actor, and wait for it to be carried; None
        and why where it didn't."""


class Facts(NamedTuple):
    """A trail of `size` entries at one moment, `now`."""

    reader: TrailReader
    size: int
    policy: Policy
    coverage: Coverage
    moment: dt.datetime
    now: Timestamp
    rng: random.Random
    site: Site

    def since(self, window: Duration) -> Timestamp:
        """Where a window that ends now begins."""
        return timestamp(window.before(self.moment))

    @property
    def retained(self) -> Retained | None:
        """What retention dropped; who attested it is `verify`'s to say."""
        return retained(self.reader, Window(), size=self.size, verifiers=())


class Watcher(Protocol):
    """Looks at every event that is or may be from `since` on, each once, in the order of the
    trail."""

    since: Timestamp

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        """`certain`: it is from then on by its claimed time and by that of its receipt."""


class Judge(Generic[P]):
    """One invariant under judgement: `watcher` first, its pass, then `verdict`.

    What finds nothing wrong is believed as far as all from `since` on can be read, and `deeds` of
    these kinds were captured; where `since` is None the judge has seen to that itself.
    """

    since: Timestamp | None = None
    deeds: Collection[str] = ()

    def __init__(self, invariant: P, facts: Facts) -> None:
        self._invariant = invariant
        self._facts = facts

    @property
    def watcher(self) -> Watcher | None:
        """What has to look at every event, if anything has to."""
        return None

    @abstractmethod
    def verdict(self) -> Verdict: ...


class WindowedJudge(Judge[W]):
    """A judge of what is in its invariant's window."""

    since: Timestamp

    def __init__(self, invariant: W, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self.window = invariant.window
        self.since = facts.since(invariant.window)


class WatchingJudge(WindowedJudge[W]):
    """A judge that counts what is in its invariant's window."""

    @property
    def watcher(self) -> Watcher | None:
        return self

    @abstractmethod
    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None: ...


_decoder = msgspec.json.Decoder(EventView)


def pass_over(
    facts: Facts, watchers: Sequence[Watcher], progress: Progress
) -> dict[Watcher, IndelibleError]:
    """Show all entries to all `watchers` that want them, in one reading; parts of a cut event
    once.

    Gives why a watcher couldn't look at something that it wanted. Entries that can't be read are
    passed over: `Coverage.unreadable` has them.
    """
    problems: dict[Watcher, IndelibleError] = {}
    if not watchers:
        return problems
    windows = [(watcher, Window(watcher.since, None)) for watcher in watchers]
    for entry in _readable(facts, min(watcher.since for watcher in watchers)):
        try:
            view = _view(entry.body)
        except MalformedEventError as error:
            # Of its claimed time nothing is known.
            problems |= {each: error for each in watchers if entry.received >= each.since}
            continue
        if view.kind != "system" and not is_repeated(view):
            for watcher, window in windows:
                if watcher in problems or not is_in_window(entry, view.time, window):
                    continue
                certain = not entry.doubtful or (view.time in window and entry.received in window)
                try:
                    watcher.look(entry, view, certain=certain)
                except IndelibleError as error:
                    problems[watcher] = error
        if entry.index % 4_096 == 0:
            progress(int(entry.index), facts.size)
    return problems


def _readable(facts: Facts, since: Timestamp) -> Iterator[StoredEntry]:
    """The entries that may be from `since` on, as far as they can be read."""
    reader, first = facts.reader, 0
    with contextlib.suppress(IndelibleError):
        for entry in reader.search((), since=since):
            if entry.index >= facts.size:
                return
            first = int(entry.index) + 1
            yield entry
        return
    # From here on frame by frame: what is whole beside what isn't is shown.
    while first < facts.size:
        last = min(first - first % FRAME_ENTRIES + FRAME_ENTRIES, facts.size) - 1
        if not facts.coverage.is_unread(last):
            yield from reader.entries(first, last)
        first = last + 1


def _view(body: bytes) -> EventView:
    try:
        return _decoder.decode(body)
    except UNDECODABLE as error:
        raise MalformedEventError(f"expected the JSON of an event: {error}") from None


class Breaches:
    """How many there were, and the first few; of `possible` ones only how many, and the first."""

    def __init__(self) -> None:
        self.count = 0
        self.possible = 0
        self.indexes: list[Index] = []
        self.first = ""
        self.first_possible = ""

    def add(self, index: Index, words: str, *, certain: bool = True) -> None:
        if not certain:
            self.possible += 1
            self.first_possible = self.first_possible or f"entry {index}, {words}"
            return
        self.count += 1
        if len(self.indexes) < 10:
            self.indexes.append(index)
        self.first = self.first or words

    @property
    def example(self) -> Index | None:
        return self.indexes[0] if self.indexes else None


def timestamp(moment: dt.datetime) -> Timestamp:
    """A moment as events have it; the first that they can have where it is before."""
    moment = max(moment.astimezone(dt.UTC), dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    return format_time(round(moment.timestamp() * 1_000_000))


def moment_of(time: Timestamp) -> dt.datetime:
    """What `timestamp` was given."""
    return dt.datetime.fromisoformat(time)
