"""The relay: carries what sources hold to a sink, at least once, each producer's in its order.

A source keeps its events until the sink has them, so a relay has no state of its own to lose: one
that dies is replaced by another, which asks the sink what it holds. Two at once do no harm.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from indelible.errors import DeliveryError, DeposedError, IndelibleError
from indelible.events.codec import format_time
from indelible.events.model import Timestamp
from indelible.forking import FORK_WAITS_S, hold_while_forking
from indelible.policy.model import RelaySettings
from indelible.transport.delivery import Delivery, Gap, Remark, Sink, Void
from indelible.transport.source import Fetched, Mark, Source, SourceFinder

_log = logging.getLogger(__name__)

MAX_BATCH_BYTES: Final = 8 << 20
_FIRST_RETRY_S: Final = 0.1
_EXPECTED_ERRORS: Final = (IndelibleError, OSError, sqlite3.Error)


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far one source is carried.

    Everything that was durable in it before `complete_until` is in the sink; None until its end
    was reached once. `last_time` is the claimed time of the newest event that the sink has of it,
    `waiting` about how many it hasn't. `last_error` is None after a success; it never holds
    anything captured.
    """

    name: str
    producer_id: str
    epoch: int
    complete_until: Timestamp | None = None
    last_time: Timestamp | None = None
    waiting: int = 0
    failures: int = 0
    last_error: str | None = None


class Relay:
    """Carries from everything that `finders` find to `sink`.

    `step` makes one pass; `start` runs passes in a thread until `stop`. A source that fails is
    left alone for a while (doubling up to `retry_max_s`, with jitter) and holds up no other; when
    the sink fails, each source is tried by itself, so that one whose events it can't take doesn't
    take the others with it. What is read but not delivered yet is at most two batches, of
    `batch_events` and `MAX_BATCH_BYTES` each.

    When another sequencer has taken over, the relay stops, lets go of its sources, and calls
    `on_deposed` last of all.
    """

    def __init__(
        self,
        finders: Sequence[SourceFinder],
        sink: Sink,
        settings: RelaySettings,
        *,
        on_deposed: Callable[[], None] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._finders = finders
        self._sink = sink
        self._settings = settings
        self._batch_events = min(settings.batch_events, settings.buffer_events)
        self._on_deposed = on_deposed
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._tracks: dict[str, _Track] = {}
        self._sink_failed = False
        self._all_found = True
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._stepping = threading.Lock()
        hold_while_forking(self, self._stepping, wait_s=FORK_WAITS_S)
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._flushes: list[_Flush] = []

    def start(self) -> None:
        """Run in a thread from now on; nothing happens where it runs already."""
        with self._changed:
            if self._thread is not None:
                return
            self._is_stopping = False
            self._thread = threading.Thread(target=self._run, name="indelible-relay", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the batch under way and let go of all sources, so that another can take over.

        What wasn't delivered stays where it is. Raises `DeliveryError` where the batch takes
        longer than `timeout_s`.
        """
        thread = self._thread
        self._is_stopping = True
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
            if thread.is_alive():
                raise DeliveryError(f"expected the relay to end within {timeout_s} s")
        if thread is None:
            self._let_go()
        self._is_stopping = False

    def step(self) -> bool:
        """One pass over all sources; True where at least one had more than it was asked for.

        Raises `DeposedError`. What fails otherwise is in `status`, and is tried again by a later
        pass.
        """
        with self._stepping:
            return self._step()

    def flush(self, timeout_s: float = 30.0) -> None:
        """When this returns, everything captured before the call is in the sink.

        Tries at once what waits to be tried again. Raises `DeliveryError` naming the sources that
        didn't get there in time, and `DeposedError` where the relay was told to stop for good.
        """
        flush = _Flush()
        deadline = self._monotonic() + timeout_s
        with self._changed:
            self._flushes.append(flush)
        self._wake.set()
        try:
            while not flush.is_done:
                if self._thread is None:
                    self.step()
                with self._changed:
                    if flush.is_done:
                        break
                    remaining_s = deadline - self._monotonic()
                    if remaining_s <= 0:
                        behind = ", ".join(flush.behind) or "no pass has ended"
                        raise DeliveryError(
                            f"expected all to be delivered within {timeout_s} s; behind: {behind}"
                        )
                    self._changed.wait(min(self._settings.poll_s, remaining_s))
        finally:
            with self._changed:
                if flush in self._flushes:
                    self._flushes.remove(flush)
        if flush.is_deposed:
            raise DeposedError("another sequencer took over; it delivers the rest")

    def status(self) -> tuple[SourceStatus, ...]:
        """How far each source is, by name. From any thread; doesn't look at the sources."""
        return tuple(track.status for _, track in sorted(self._tracks.copy().items()))

    # -- one pass -------------------------------------------------------------------------------

    def _step(self) -> bool:
        began = self._clock()
        with self._changed:
            # Before the sources are listed: what was captured before one of these calls is in the
            # list, what comes with a later call perhaps isn't.
            flushes = list(self._flushes)
        sources = self._find_sources()
        self._mark_flushes(flushes, sources)
        self._sink_failed, is_apart = False, self._sink_failed
        batch = _Batch()
        more = False
        now = self._monotonic()
        for source in sources:
            if self._is_stopping:
                return False
            track = self._tracks[source.name]
            if track.retry_at > now:
                continue
            fetched = self._fetch(track)
            if fetched is None:
                continue
            more = more or fetched.more
            if is_apart or not batch.has_room_for(fetched, self._batch_events):
                self._deliver(batch, began)
                batch = _Batch()
            batch.add(track, fetched)
        self._deliver(batch, began)
        self._end_flushes(flushes, sources)
        return more

    def _find_sources(self) -> list[Source]:
        sources: list[Source] = []
        self._all_found = True
        for number, finder in enumerate(self._finders):
            try:
                found = finder.find_sources()
            except _EXPECTED_ERRORS as error:
                _log.warning("sources not found", extra={"finder": number, "error": _said(error)})
                self._all_found = False
                # Those known from before are there all the same.
                found = [track.source for track in self._tracks.values() if track.finder == number]
            for source in found:
                track = self._tracks.get(source.name)
                if track is None or track.source is not source:
                    self._tracks[source.name] = _Track(source, number)
            sources += found
        for name in self._tracks.keys() - {source.name for source in sources}:
            del self._tracks[name]
        return sources

    def _fetch(self, track: _Track) -> Fetched | None:
        try:
            return track.source.fetch(
                self._sink, limit=self._batch_events, max_bytes=MAX_BATCH_BYTES
            )
        except DeposedError:
            raise
        except _EXPECTED_ERRORS as error:
            self._failed(track, error)
            return None

    def _deliver(self, batch: _Batch, began: int) -> None:
        """Make the batch durable, then let its sources go on."""
        try:
            batch.deliver_to(self._sink)
        except DeposedError:
            raise
        except _EXPECTED_ERRORS as error:
            self._sink_failed = True
            for track, _ in batch.parts:
                self._failed(track, error)
            return
        for track, fetched in batch.parts:
            try:
                track.source.confirm(self._sink)
                self._succeeded(track, fetched, began)
            except DeposedError:
                raise
            except _EXPECTED_ERRORS as error:
                self._failed(track, error)

    def _succeeded(self, track: _Track, fetched: Fetched, began: int) -> None:
        source = track.source
        before = track.status
        last_time = before.last_time
        if fetched.deliveries or last_time is None:
            last_time = self._sink.received(source.producer_id, source.epoch).last_time
        track.retry_at = 0.0
        track.status = SourceStatus(
            name=source.name,
            producer_id=source.producer_id,
            epoch=source.epoch,
            complete_until=before.complete_until if fetched.more else format_time(began),
            last_time=last_time,
            waiting=fetched.waiting,
        )

    def _failed(self, track: _Track, error: BaseException) -> None:
        failures = track.status.failures + 1
        pause_s = min(self._settings.retry_max_s, _FIRST_RETRY_S * 2 ** min(failures - 1, 30))
        # Half of it by chance, so that many that failed together don't come back together.
        track.retry_at = self._monotonic() + pause_s * (0.5 + self._jitter() / 2)
        track.status = msgspec.structs.replace(
            track.status, failures=failures, last_error=_said(error)
        )
        said = {"source": track.source.name, "error": _said(error)}
        _log.warning("source not carried", extra=said)

    # -- flushes --------------------------------------------------------------------------------

    def _mark_flushes(self, flushes: Sequence[_Flush], sources: Sequence[Source]) -> None:
        """Note for each new flush where every source ends now."""
        for flush in flushes:
            if flush.is_marked or not self._all_found:
                continue
            flush.is_marked = True
            for source in sources:
                self._tracks[source.name].retry_at = 0.0
                flush.marks[source.name] = None
        for flush in flushes:
            for source in sources:
                if source.name in flush.marks and flush.marks[source.name] is None:
                    with contextlib.suppress(*_EXPECTED_ERRORS):
                        flush.marks[source.name] = source.end()

    def _end_flushes(self, flushes: Sequence[_Flush], sources: Sequence[Source]) -> None:
        confirmed = {source.name: source.confirmed() for source in sources} if flushes else {}
        for flush in flushes:
            # A source that is no more was carried to its end.
            flush.behind = [
                name
                for name, mark in flush.marks.items()
                if name in confirmed and (mark is None or confirmed[name] < mark)
            ]
            if flush.is_marked and not flush.behind:
                self._end_flush(flush)

    def _end_flush(self, flush: _Flush) -> None:
        with self._changed:
            flush.is_done = True
            self._changed.notify_all()

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        is_deposed = False
        while not self._is_stopping:
            try:
                if self.step():
                    continue
            except DeposedError:
                is_deposed = True
                break
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("a pass of the relay")
            self._wake.wait(self._settings.poll_s)
            self._wake.clear()
        self._let_go()
        with self._changed:
            self._thread = None
            if is_deposed:
                for flush in self._flushes:
                    flush.is_done = flush.is_deposed = True
            self._changed.notify_all()
        if is_deposed and self._on_deposed is not None:
            self._on_deposed()

    def _let_go(self) -> None:
        with self._stepping:
            for finder in self._finders:
                finder.close()


class _Track:
    """What the relay remembers of one source."""

    def __init__(self, source: Source, finder: int) -> None:
        self.source = source
        self.finder = finder
        self.retry_at = 0.0
        self.status = SourceStatus(
            name=source.name, producer_id=source.producer_id, epoch=source.epoch
        )


class _Batch:
    """What goes to the sink in one call, and which sources it came from."""

    def __init__(self) -> None:
        self.parts: list[tuple[_Track, Fetched]] = []
        self.deliveries: list[Delivery] = []
        self._gaps: list[Gap] = []
        self._voids: list[Void] = []
        self._remarks: list[Remark] = []
        self._bytes = 0

    def has_room_for(self, fetched: Fetched, max_events: int) -> bool:
        return (
            len(self.deliveries) + len(fetched.deliveries) <= max_events
            and self._bytes + _count_bytes(fetched) <= MAX_BATCH_BYTES
        )

    def add(self, track: _Track, fetched: Fetched) -> None:
        self.parts.append((track, fetched))
        self.deliveries += fetched.deliveries
        self._gaps += fetched.gaps
        if fetched.void is not None:
            self._voids.append(fetched.void)
        self._remarks += fetched.remarks
        self._bytes += _count_bytes(fetched)

    def deliver_to(self, sink: Sink) -> None:
        if self.deliveries or self._gaps or self._voids or self._remarks:
            sink.deliver(self.deliveries, gaps=self._gaps, voids=self._voids, remarks=self._remarks)


class _Flush:
    """One call of `flush`: where each source must get to before it returns."""

    def __init__(self) -> None:
        self.is_marked = False
        self.is_done = False
        self.is_deposed = False
        self.marks: dict[str, Mark | None] = {}
        self.behind: list[str] = []


def _count_bytes(fetched: Fetched) -> int:
    return sum(len(body) for delivery in fetched.deliveries for body in delivery.bodies)


def _said(error: BaseException) -> str:
    """The error in words; those that we and SQLite make hold no captured values."""
    return f"{type(error).__name__}: {error}"
