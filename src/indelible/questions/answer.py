"""An answer: its findings as a stream, what was searched, and how far it can be complete."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from indelible.events.codec import decode_event
from indelible.events.model import Timestamp
from indelible.questions.findings import SessionFinding
from indelible.questions.retained import Retained
from indelible.questions.window import Window
from indelible.store.protocol import Source, TrailReader
from indelible.store.tiers import Tier
from indelible.tlog import Index, Size


class AnyFinding(Protocol):
    """What every finding has: two sets, and the entries that it stands on."""

    @property
    def certain(self) -> bool: ...

    @property
    def indexes(self) -> tuple[Index, ...]: ...


F = TypeVar("F", bound=AnyFinding, covariant=True)


class SourceReach(msgspec.Struct, frozen=True, kw_only=True):
    """Up to when an answer has everything of one source.

    `complete_until` is the claimed time of the last event before anything is missing; None when
    the very first is. `missing` may still come; `lost` never will.
    """

    producer_id: str
    epoch: int
    complete_until: Timestamp | None
    missing: tuple[tuple[int, int], ...] = ()
    lost: tuple[tuple[int, int], ...] = ()


class Answer(Generic[F]):
    """The findings of one question, in the order that the question states.

    Iterating reads the trail anew, in constant memory, always the same `size` entries, whatever
    was appended since; so do `certain()` and `possible()`. `searched` are the instants searched.
    """

    def __init__(
        self,
        reader: TrailReader,
        *,
        searched: Window,
        size: Size,
        find: Callable[[], Iterator[F]],
        is_known: Callable[[], bool],
        find_entries: Callable[[], Iterator[Index]] | None = None,
        find_sessions: Callable[[], Iterator[SessionFinding]] = lambda: iter(()),
        find_retained: Callable[[], Retained | None] = lambda: None,
    ) -> None:
        self.searched = searched
        self.size = size
        self._reader = reader
        self._find = find
        self._is_known = is_known
        self._find_entries = find_entries
        self._find_sessions = find_sessions
        self._find_retained = find_retained

    def __iter__(self) -> Iterator[F]:
        return self._find()

    def certain(self) -> Iterator[F]:
        """What was seen exactly."""
        return (finding for finding in self if finding.certain)

    def possible(self) -> Iterator[F]:
        """What may have been so; each finding's `why` says what couldn't be seen."""
        return (finding for finding in self if not finding.certain)

    def entries(self) -> Iterator[Index]:
        """Every entry that the answer stands on, in no order, perhaps more than once.

        A finding's `indexes` are all of its own, but where many events are told in one finding.
        """
        if self._find_entries is not None:
            yield from self._find_entries()
        else:
            for finding in self:
                yield from finding.indexes
        for session in self.sessions():
            yield from session.indexes

    def sessions(self) -> Iterator[SessionFinding]:
        """Who else may have read it: other clients of the server, whose reads aren't seen by row.

        Of answers that are about reads; possible all of them, however sure the findings are.
        """
        return self._find_sessions()

    def with_sessions(self, find: Callable[[], Iterator[SessionFinding]]) -> Answer[F]:
        """This answer, beside which `sessions` are what `find` gives."""
        answer = copy.copy(self)
        answer._find_sessions = find
        return answer

    def with_retained(self, find: Callable[[], Retained | None]) -> Answer[F]:
        """This answer, of whose window retention took what `find` gives."""
        answer = copy.copy(self)
        answer._find_retained = find
        return answer

    def retained(self) -> Retained | None:
        """What retention took from the window: an answer can't have that. None for nothing."""
        return self._find_retained()

    @property
    def known(self) -> bool:
        """Whether the trail has ever heard of whom or what was asked for, in any window.

        False makes an empty answer: more likely a name mistyped than somebody idle.
        """
        return self._is_known()

    def tiers(self) -> tuple[Tier, ...]:
        """Where it was looked for: the hot tier, and what is sealed of the window's times."""
        since, until = self.searched.since or "", self.searched.until or "~"
        return tuple(
            tier
            for tier in self._reader.tiers()
            if tier.name == "hot" or (tier.until >= since and tier.since < until)
        )

    def sources(self) -> Iterator[SourceReach]:
        """For each source, up to when this answer has everything of it."""
        for source in self._reader.sources():
            yield SourceReach(
                producer_id=source.producer_id,
                epoch=source.epoch,
                complete_until=_complete_until(self._reader, source),
                missing=source.missing,
                lost=source.lost,
            )


def _complete_until(reader: TrailReader, source: Source) -> Timestamp | None:
    if not source.missing:
        return source.received.last_time
    held = source.missing[0][0] - 1
    index = reader.index_of(f"{source.producer_id}.{source.epoch}.{held}") if held else None
    return None if index is None else decode_event(reader.entry(index).body).time
