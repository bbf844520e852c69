"""What every judge is given, and the one pass over the entries that some of them need."""

from __future__ import annotations

import datetime as dt
import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from indelible.errors import MalformedEventError
from indelible.events.codec import format_time
from indelible.events.model import Actor, Timestamp
from indelible.invariants.coverage import Coverage
from indelible.invariants.verdicts import Verdict
from indelible.policy import Policy
from indelible.policy.durations import Duration
from indelible.policy.invariants import Invariant, Windowed
from indelible.questions.reading import EventView, is_repeated
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.tlog import Index

P = TypeVar("P", bound=Invariant)
W = TypeVar("W", bound=Windowed)
Progress = Callable[[int, int], None]


class Rehearsed(NamedTuple):
    """What reversing an actor's changes came to: rows restored, rows in which others' later changes
    stand, and why each row that nobody stands in the way of couldn't be restored."""

    restored: int
    conflicts: int
    stuck: tuple[str, ...]


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


class Watcher(Protocol):
    """Looks at every event from `since` on, each once, in the order of the trail."""

    since: Timestamp

    def look(self, entry: StoredEntry, view: EventView) -> None: ...


class Judge(Generic[P]):
    """One invariant under judgement: `watcher` first, its pass, then `verdict`."""

    def __init__(self, invariant: P, facts: Facts) -> None:
        self._invariant = invariant
        self._facts = facts

    @property
    def watcher(self) -> Watcher | None:
        """What has to look at every event, if anything has to."""
        return None

    @abstractmethod
    def verdict(self) -> Verdict: ...


class WatchingJudge(Judge[W]):
    """A judge that counts what is in its invariant's window."""

    def __init__(self, invariant: W, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self.since = facts.since(invariant.window)

    @property
    def watcher(self) -> Watcher | None:
        return self

    @abstractmethod
    def look(self, entry: StoredEntry, view: EventView) -> None: ...


_decoder = msgspec.json.Decoder(EventView)


def pass_over(facts: Facts, watchers: Sequence[Watcher], progress: Progress) -> None:
    """Show all entries to all `watchers` that want them, in one reading; parts of a cut event
    once."""
    if not watchers:
        return
    since = min(watcher.since for watcher in watchers)
    for entry in facts.reader.search((), since=since):
        if entry.index >= facts.size:
            break
        try:
            view = _decoder.decode(entry.body)
        except msgspec.MsgspecError as error:
            raise MalformedEventError(f"expected the JSON of an event: {error}") from None
        if view.kind != "system" and not is_repeated(view):
            for watcher in watchers:
                if view.time >= watcher.since:
                    watcher.look(entry, view)
        if entry.index % 4_096 == 0:
            progress(int(entry.index), facts.size)


class Breaches:
    """How many there were, and the first few."""

    def __init__(self) -> None:
        self.count = 0
        self.indexes: list[Index] = []
        self.first = ""

    def add(self, index: Index, words: str) -> None:
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
