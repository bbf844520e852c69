"""What the relay promises whatever its sources and its sink do."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from indelible.errors import DeliveryError, DeposedError
from indelible.events.codec import encode_draft, seal
from indelible.events.model import Event, Producer, Timestamp
from indelible.policy.model import RelaySettings
from indelible.transport.delivery import Delivery, Sink
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.relay import Relay
from indelible.transport.source import Fetched, Mark, Source

from .conftest import SETTINGS, MakeJournal, draft
from .memory_sink import FailingTimes, MemorySink


class ListSource:
    """A source of events that stand in a list; `fault` is called before each fetch."""

    epoch = 1

    def __init__(self, producer_id: str, count: int, *, body: bytes | None = None) -> None:
        self.producer_id = self.name = producer_id
        self.count = count
        self.fault: Callable[[], None] = lambda: None
        self._body = body
        self._done = self._fetched = 0

    def fetch(self, sink: Sink, *, limit: int, max_bytes: int) -> Fetched:
        self.fault()
        last = min(self.count, self._done + limit)
        deliveries = tuple(self._delivery(seq) for seq in range(self._done + 1, last + 1))
        self._fetched = last
        waiting = self.count - last
        return Fetched(deliveries=deliveries, more=waiting > 0, waiting=waiting)

    def _delivery(self, seq: int) -> Delivery:
        event = encode_draft(Event(action="a.b", kind="event"))
        time_text = Timestamp(f"2026-01-01T00:00:00.{seq:06d}Z")
        body = self._body or seal(event, time_text, Producer(self.producer_id, 1, seq))
        return Delivery(self.producer_id, 1, seq, (body,))

    def confirm(self, sink: Sink) -> None:
        self._done = self._fetched

    def end(self) -> Mark:
        return 1, self.count

    def confirmed(self) -> Mark:
        return 1, self._done


class Sources:
    """Finds what it was given."""

    def __init__(self, *sources: ListSource) -> None:
        self.sources = sources
        self.closed = 0

    def find_sources(self) -> Sequence[Source]:
        return self.sources

    def close(self) -> None:
        self.closed += 1


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def ids(sink: MemorySink, producer_id: str) -> list[int]:
    return [event.producer.seq for event in sink.events if event.producer.id == producer_id]


def test_batches(sink: MemorySink) -> None:
    """Batches hold events of several sources, never more than was set."""
    sources = [ListSource("a" * 16, 250), ListSource("b" * 16, 30), ListSource("c" * 16, 30)]
    relay = Relay([Sources(*sources)], sink, RelaySettings(batch_events=100))
    while relay.step():
        pass
    assert ids(sink, "a" * 16) == list(range(1, 251))
    assert ids(sink, "b" * 16) == ids(sink, "c" * 16) == list(range(1, 31))
    assert max(sink.batches) == 100
    assert len(sink.batches) == 4


def test_one_broken_source_blocks_nobody(sink: MemorySink) -> None:
    """A source that can't be read leaves the others alone, and its error is in the status."""
    broken, sound = ListSource("a" * 16, 5), ListSource("b" * 16, 5)

    def fail() -> None:
        raise OSError(5, "Input/output error")

    broken.fault = fail
    clock = Clock()
    relay = Relay([Sources(broken, sound)], sink, RelaySettings(), monotonic=clock)
    relay.step()
    assert ids(sink, "b" * 16) == [1, 2, 3, 4, 5]
    first, second = relay.status()
    assert (first.failures, first.complete_until) == (1, None)
    assert first.last_error == "OSError: [Errno 5] Input/output error"
    assert (second.failures, second.waiting, second.last_error) == (0, 0, None)
    assert second.last_time == "2026-01-01T00:00:00.000005Z"
    broken.fault = lambda: None
    clock.now += 60
    relay.step()
    assert ids(sink, "a" * 16) == [1, 2, 3, 4, 5]
    assert relay.status()[0].last_error is None


def test_retries_wait_longer_each_time(sink: MemorySink) -> None:
    """After a failure the source rests; the rest doubles up to what was set, half of it chance."""
    source = ListSource("a" * 16, 1)
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise OSError(5, "Input/output error")

    source.fault = fail
    clock = Clock()
    settings = RelaySettings(retry_max_s=2.0)
    relay = Relay([Sources(source)], sink, settings, monotonic=clock, jitter=lambda: 1.0)
    pauses = []
    relay.step()
    for _ in range(7):
        tries = 0
        began = clock.now
        while tries == 0:
            clock.now += 0.05
            relay.step()
        pauses.append(clock.now - began)
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(0.1, abs=0.06)
    assert pauses[-1] == pytest.approx(2.0, abs=0.06)


def test_a_source_that_the_sink_can_not_take_blocks_nobody(sink: MemorySink) -> None:
    """When a batch fails each source is tried by itself, so one bad one stands alone."""
    bad, good = ListSource("a" * 16, 5), ListSource("b" * 16, 5)

    def refuse(batch: Sequence[Delivery]) -> None:
        if any(delivery.producer_id == "a" * 16 for delivery in batch):
            raise DeliveryError("not this one")

    sink.fault = refuse
    clock = Clock()
    relay = Relay([Sources(bad, good)], sink, RelaySettings(), monotonic=clock)
    for _ in range(10):
        relay.step()
        clock.now += 60
    assert ids(sink, "b" * 16) == [1, 2, 3, 4, 5]
    assert ids(sink, "a" * 16) == []
    sink.fault = lambda batch: None
    relay.step()
    assert ids(sink, "a" * 16) == [1, 2, 3, 4, 5]


def test_poison_blocks_nobody(sink: MemorySink) -> None:
    """Bytes that are no event are the sink's to set aside; what comes after them comes."""
    poison = ListSource("a" * 16, 3, body=b"\x00 not an event")
    good = ListSource("b" * 16, 3)
    relay = Relay([Sources(poison, good)], sink, SETTINGS)
    relay.flush(timeout_s=5)
    assert len(sink.poison) == 3
    assert ids(sink, "b" * 16) == [1, 2, 3]


@pytest.mark.parametrize("is_lost_after", [False, True])
def test_sink_that_fails(
    make_journal: MakeJournal, directory: Path, sink: MemorySink, is_lost_after: bool
) -> None:
    """Failed deliveries are made again; when only the answer was lost nothing comes twice."""
    journal = make_journal()
    given = [journal.append(draft(str(number))) for number in range(500)]
    fault = FailingTimes(5)
    if is_lost_after:
        sink.fault_after = fault
    else:
        sink.fault = fault
    settings = RelaySettings(batch_events=100, poll_s=0.01, retry_max_s=0.05)
    relay = Relay([JournalDirectory(directory)], sink, settings)
    relay.start()
    relay.flush(timeout_s=10)
    relay.stop()
    assert fault.left == 0
    assert sink.ids == given
    sink.check_each_once_and_in_order()


def test_flush_under_constant_load(
    make_journal: MakeJournal, directory: Path, sink: MemorySink
) -> None:
    """`flush` returns with everything from before the call, though more keeps coming."""
    journal = make_journal()
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            journal.append(draft("more"))
            time.sleep(0.0002)

    threads = [threading.Thread(target=work) for _ in range(2)]
    relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
    relay.start()
    for thread in threads:
        thread.start()
    try:
        for number in range(5):
            event_id = journal.append(draft(f"mine {number}"))
            relay.flush(timeout_s=20)
            assert event_id in sink.ids
            time.sleep(0.01)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        relay.stop()


def test_flush_called_while_sources_are_listed(sink: MemorySink) -> None:
    """A source that turns up just behind the listing is waited for all the same."""
    late = ListSource("b" * 16, 5)
    late.fault = lambda: time.sleep(0.2)
    there_on_return: list[list[int]] = []

    def flush() -> None:
        relay.flush(timeout_s=10)
        there_on_return.append(ids(sink, "b" * 16))

    flushing = threading.Thread(target=flush)

    class ListedBefore(Sources):
        def find_sources(self) -> Sequence[Source]:
            found = self.sources
            if late not in found:
                self.sources = (*found, late)
                flushing.start()
                while not relay._flushes:
                    time.sleep(0.001)
            return found

    relay = Relay([ListedBefore(ListSource("a" * 16, 5))], sink, SETTINGS)
    relay.start()
    while not sink.arrived:
        time.sleep(0.001)
    flushing.join()
    relay.stop()
    assert there_on_return == [[1, 2, 3, 4, 5]]


def test_flush_names_who_is_behind(sink: MemorySink) -> None:
    """A flush that can't end in time says which source it waits for."""
    broken = ListSource("a" * 16, 5)

    def fail() -> None:
        raise OSError(5, "Input/output error")

    broken.fault = fail
    relay = Relay([Sources(broken)], sink, SETTINGS)
    with pytest.raises(DeliveryError, match="behind: aaaaaaaaaaaaaaaa"):
        relay.flush(timeout_s=0.2)
    relay.start()
    with pytest.raises(DeliveryError, match="behind: aaaaaaaaaaaaaaaa"):
        relay.flush(timeout_s=0.2)
    broken.fault = lambda: None
    relay.flush(timeout_s=5)
    relay.stop()
    assert ids(sink, "a" * 16) == [1, 2, 3, 4, 5]


def test_deposed(sink: MemorySink) -> None:
    """When another takes over, the relay stops, lets go, ends waiting flushes and says so once."""
    found = Sources(ListSource("a" * 16, 5))
    told: list[int] = []

    def depose(batch: Sequence[Delivery]) -> None:
        raise DeposedError("somebody else has the lease")

    sink.fault = depose
    relay = Relay([found], sink, SETTINGS, on_deposed=lambda: told.append(found.closed))
    with pytest.raises(DeposedError):
        relay.step()
    relay.start()
    with pytest.raises((DeposedError, DeliveryError)):
        relay.flush(timeout_s=2)
    deadline = time.monotonic() + 5
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told == [1]
    assert sink.arrived == []


def test_stop_and_start_again(make_journal: MakeJournal, directory: Path, sink: MemorySink) -> None:
    """A stopped relay can be started again, and another one can go on where it was."""
    journal = make_journal()
    given = []
    relays = [Relay([JournalDirectory(directory)], sink, SETTINGS) for _ in range(2)]
    for number in range(6):
        relay = relays[number % 2] if number < 4 else relays[0]
        given.append(journal.append(draft(str(number))))
        relay.start()
        relay.flush(timeout_s=5)
        given.append(journal.append(draft(str(number))))
        relay.stop()
    relays[0].flush(timeout_s=5)
    assert sink.ids == given


def test_status_says_up_to_when(
    make_journal: MakeJournal, directory: Path, sink: MemorySink
) -> None:
    """Status counts what waits, and tells up to which moment nothing is missing."""
    journal = make_journal(clock=lambda: 1_700_000_000_000_000)
    for number in range(25):
        journal.append(draft(str(number)))
    now = 1_700_000_100_000_000
    relay = Relay(
        [JournalDirectory(directory)],
        sink,
        RelaySettings(batch_events=10),
        clock=lambda: now,
    )
    seen = []
    for _ in range(3):
        relay.step()
        (status,) = relay.status()
        seen.append((status.waiting, status.complete_until))
    assert seen == [(15, None), (5, None), (0, "2023-11-14T22:15:00.000000Z")]
    assert status.last_time == "2023-11-14T22:13:20.000000Z"
    assert (status.producer_id, status.epoch) == (journal.producer_id, journal.epoch)
    relay.stop()


def test_memory_stays_bounded(sink: MemorySink) -> None:
    """Large events make smaller batches: what one delivery holds is bounded in bytes too."""
    large = ListSource("a" * 16, 40, body=b"{" + b"x" * 1_000_000)
    sizes: list[int] = []
    sink.fault = lambda batch: sizes.append(sum(len(d.bodies[0]) for d in batch))

    class ByteBounded(ListSource):
        def fetch(self, sink: Sink, *, limit: int, max_bytes: int) -> Fetched:
            return super().fetch(sink, limit=min(limit, max_bytes // 1_000_001), max_bytes=0)

    large.__class__ = ByteBounded
    relay = Relay([Sources(large, ListSource("b" * 16, 5))], sink, SETTINGS)
    relay.flush(timeout_s=10)
    assert max(sizes) <= 9_000_000
    assert len(sink.poison) == 40


def test_jitter_spreads_retries(sink: MemorySink) -> None:
    """Sources that failed together don't all come back in the same pass."""
    sources = [ListSource(f"{number:016x}", 1) for number in range(20)]
    tried: list[int] = []
    clock = Clock()
    sink.fault = FailingTimes(1)
    relay = Relay(
        [Sources(*sources)],
        sink,
        RelaySettings(),
        monotonic=clock,
        jitter=random.Random(1).random,
    )
    relay.step()
    for _ in range(12):
        before = len(sink.arrived)
        clock.now += 0.01
        relay.step()
        tried.append(len(sink.arrived) - before)
    assert sum(tried) == 20
    assert max(tried) < 10
