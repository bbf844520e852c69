"""What an application may rely on when it appends."""

import asyncio
import contextlib
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from indelible.errors import (
    ConfigurationError,
    DeliveryError,
    EventTooLargeError,
    StoreFullError,
)
from indelible.events.codec import decode_event, encode_draft, join_parts
from indelible.events.model import Event, TargetRows
from indelible.transport.journal import Journal
from indelible.transport.journal_writing import FileCalls

from .conftest import CarryAll, MakeJournal, draft
from .memory_sink import MemorySink


def test_append_gives_the_events_id(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """The id that `append` returns is the one that the event has in the trail for ever."""
    journal = make_journal(service="shop")
    given = [journal.append(draft(str(number))) for number in range(3)]
    journal.close()
    carry_all(sink)

    assert sink.ids == given
    assert given == [f"{journal.producer_id}.{journal.epoch}.{n}" for n in (1, 2, 3)]
    assert [event.reason for event in sink.events] == ["0", "1", "2"]


def test_only_the_owner_may_read_it(make_journal: MakeJournal) -> None:
    """Directory and files are open to the application's account alone."""
    journal = make_journal()
    journal.append(draft())
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_a_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    """A journal never begins where other accounts could write; the error says what to do."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        Journal(tmp_path / "open")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="expected a directory for journals"):
        Journal(tmp_path / "file")


def test_nothing_recorded_leaves_no_file(make_journal: MakeJournal, directory: Path) -> None:
    """A process that records nothing leaves nothing behind."""
    journal = make_journal()
    journal.sync()
    journal.close()
    assert list(directory.iterdir()) == []


def test_events_over_the_limit_come_in_parts(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """An event of 200,000 bytes is cut into parts that arrive together and join to what it was."""
    journal = make_journal()
    whole = Event(action="a.b", kind="event", reason="ä" * 100_000)
    journal.append(encode_draft(whole))
    journal.append(draft("after"))
    carry_all(sink)

    assert len(sink.arrived[0].bodies) > 3
    assert all(len(body) <= 65_535 for body in sink.arrived[0].bodies)
    joined = join_parts([decode_event(body) for body in sink.arrived[0].bodies])
    assert joined.reason == whole.reason
    assert [event.producer.seq for event in sink.events] == [1, 2]


def test_an_event_that_can_not_be_cut_takes_no_number(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """An event with too many targets is refused to its caller; no gap stays behind."""
    journal = make_journal()
    rows = TargetRows("invoice", ids=tuple((f"{number:020}",) for number in range(5_000)))
    too_large = encode_draft(Event(action="a.b", kind="event", targets=(rows,)))
    for append in (journal.append, journal.append_later):
        with pytest.raises(EventTooLargeError, match="fewer targets"):
            append(too_large)
    journal.append(draft())
    carry_all(sink)

    assert [event.producer.seq for event in sink.events] == [1]


def test_times_rise_with_numbers_over_threads(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """Eight threads, some of them buffering: numbers have no gap and times never fall."""
    journal = make_journal(max_file_bytes=100_000)

    def work(thread: int) -> None:
        for number in range(500):
            append = journal.append_later if thread % 2 else journal.append
            append(draft(f"{thread}/{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    carry_all(sink)

    events = sink.events
    assert [event.producer.seq for event in events] == list(range(1, 4_001))
    assert [event.time for event in events] == sorted(event.time for event in events)
    for thread_number in range(8):
        own = [e.reason for e in events if str(e.reason).startswith(f"{thread_number}/")]
        assert own == [f"{thread_number}/{number}" for number in range(500)]


def test_a_thousand_tasks(make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll) -> None:
    """1,000 asyncio tasks append between each other's steps and each gets an id of its own."""
    journal = make_journal()

    async def work(number: int) -> str:
        await asyncio.sleep(0)
        first = journal.append(draft(f"{number} first"))
        await asyncio.sleep(0)
        await asyncio.to_thread(journal.append_later, draft(f"{number} later"))
        return first

    async def main() -> list[str]:
        return await asyncio.gather(*(work(number) for number in range(1_000)))

    given = asyncio.run(main())
    journal.close()
    carry_all(sink)

    assert len(set(given)) == 1_000
    by_id = {event.id: event.reason for event in sink.events}
    assert [by_id[event_id] for event_id in given] == [f"{n} first" for n in range(1_000)]
    assert len(by_id) == 2_000


def test_clock_set_back(make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll) -> None:
    """Times stay what the clock said, and an entry before them says that it was set back."""
    now = 1_700_000_000_000_000
    journal = make_journal(clock=lambda: now)
    journal.append(draft("before"))
    now -= 3_600_000_000
    journal.append(draft("an hour earlier"))
    now += 1
    journal.append(draft("and on"))
    carry_all(sink)

    assert [(event.action, event.time) for event in sink.events] == [
        ("invoice.read", "2023-11-14T22:13:20.000000Z"),
        ("journal.clock_set_back", "2023-11-14T21:13:20.000000Z"),
        ("invoice.read", "2023-11-14T21:13:20.000000Z"),
        ("invoice.read", "2023-11-14T21:13:20.000001Z"),
    ]
    assert sink.events[1].details == {
        "before": "2023-11-14T22:13:20.000000Z",
        "after": "2023-11-14T21:13:20.000000Z",
    }


class SlowCalls(FileCalls):
    """Writes that wait until they are let through, and a count of syncs."""

    def __init__(self) -> None:
        self.let_through = threading.Event()
        self.syncs = 0

    def write(self, fd: int, frame: bytes) -> int:  # type: ignore[override]
        self.let_through.wait()
        return os.write(fd, frame)

    def datasync(self, fd: int) -> None:  # type: ignore[override]
        self.syncs += 1
        time.sleep(0.02)
        os.fdatasync(fd)


def test_a_full_buffer_is_counted(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """While the disk stands still `append_later` doesn't; what it had to drop is an entry."""
    calls = SlowCalls()
    journal = make_journal(calls=calls, buffer_events=10)
    journal.append_later(draft("0"))
    while journal._buffered:  # the thread has taken it, and hangs
        time.sleep(0.001)
    for number in range(1, 31):
        journal.append_later(draft(str(number)))
    calls.let_through.set()
    journal.append(draft("last"))
    journal.close()
    carry_all(sink)

    reasons = [event.reason for event in sink.events if event.kind == "access"]
    assert reasons == [*(str(number) for number in range(11)), "last"]
    dropped = [event for event in sink.events if event.action == "journal.dropped"]
    assert [event.details for event in dropped] == [{"count": 20}]
    assert [event.time for event in sink.events] == sorted(event.time for event in sink.events)


def test_buffered_events_outlast_a_full_disk(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """What was buffered while the disk was full is written when there is room, in its order."""

    class FullCalls(FileCalls):
        is_full = False

        def write(self, fd: int, frame: bytes) -> int:  # type: ignore[override]
            if self.is_full:
                raise OSError(28, "No space left on device")
            return os.write(fd, frame)

    calls = FullCalls()
    journal = make_journal(calls=calls)
    journal.append(draft("0"))
    calls.is_full = True
    for number in range(1, 6):
        journal.append_later(draft(str(number)))
    with pytest.raises(StoreFullError):
        journal.append(draft("refused"))
    with pytest.raises(StoreFullError):
        journal.sync()
    calls.is_full = False
    journal.append(draft("6"))
    journal.close()
    carry_all(sink)

    assert [event.reason for event in sink.events] == [str(number) for number in range(7)]


def test_concurrent_syncs_share_one(make_journal: MakeJournal) -> None:
    """Eight threads that sync at once wait for two syncs of the disk at most, not for eight."""
    calls = SlowCalls()
    calls.let_through.set()
    journal = make_journal(calls=calls)
    journal.append(draft())
    calls.syncs = 0
    together = threading.Barrier(8)

    def work() -> None:
        journal.append(draft())
        together.wait()
        journal.sync()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= calls.syncs <= 2
    journal.sync()
    assert calls.syncs <= 2


def holds_open(directory: Path, suffix: str) -> bool:
    """Whether this process has a file of that name in `directory` open; other tests' trails may be
    at work in the same process."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            file = link.readlink()
            if file.suffix == suffix and file.is_relative_to(directory.resolve()):
                return True
    return False


@pytest.mark.parametrize("max_file_bytes", [16 << 20, 20_000])
def test_fork_while_threads_append(
    make_journal: MakeJournal,
    directory: Path,
    sink: MemorySink,
    carry_all: CarryAll,
    max_file_bytes: int,
) -> None:
    """A child forked in the midst of appends is a producer of its own, in files of its own, and
    has none of the parent's open: not the one that is synced just now, nor the one just made."""
    journal = make_journal(max_file_bytes=max_file_bytes)
    journal.append(draft("parent"))
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            journal.append(draft("parent"))
            journal.append_later(draft("parent"))
            journal.sync()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            if holds_open(directory, ".journal"):
                os._exit(1)
            for _ in range(20):
                journal.append(draft("child"))
                journal.append_later(draft("child"))
            journal.close()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    ended.set()
    for thread in threads:
        thread.join()
    journal.close()
    carry_all(sink)

    sink.check_each_once_and_in_order()
    by_producer: dict[str, list[str]] = {}
    for event in sink.events:
        by_producer.setdefault(event.producer.id, []).append(str(event.reason))
    assert set(by_producer.pop(journal.producer_id)) == {"parent"}
    assert list(by_producer.values()) == [["child"] * 40] * 10
    assert sink.gaps == []
    assert list(directory.iterdir()) == []


def test_closed_journal_takes_nothing(make_journal: MakeJournal) -> None:
    """After `close` both ways of appending say so; closing again does nothing."""
    journal = make_journal()
    journal.append(draft())
    journal.close()
    journal.close()
    for append in (journal.append, journal.append_later):
        with pytest.raises(DeliveryError, match="closed"):
            append(draft())
