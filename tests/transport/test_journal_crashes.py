"""What the journal keeps when its process dies, and what the disk does to it."""

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from indelible.errors import DeliveryError, StoreFullError
from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.journal_writing import FileCalls
from indelible.transport.relay import Relay

from .conftest import SETTINGS, CarryAll, MakeJournal, draft
from .memory_sink import MemorySink

PROCESS = Path(__file__).with_name("appending_process.py")


def append_until_killed(
    directory: Path, after_s: float, *, relay: Relay | None = None
) -> list[str]:
    """Ids that a process with 8 appending threads was given before it was killed."""
    process = subprocess.Popen(
        [sys.executable, str(PROCESS), str(directory), "8", "300000"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said: list[bytes] = []

    def listen() -> None:
        assert process.stdout is not None
        while chunk := process.stdout.read1(1 << 16):
            said.append(chunk)

    listener = threading.Thread(target=listen)
    listener.start()
    while not said:
        time.sleep(0.001)
    deadline = time.monotonic() + after_s
    while time.monotonic() < deadline:
        if relay is not None:
            relay.step()
        else:
            time.sleep(0.001)
    process.kill()
    listener.join()
    process.wait()
    process.stdout.close()
    whole, _, _ = b"".join(said).decode().rpartition("\n")
    return whole.split("\n")


def kill_rounds(directory: Path, sink: MemorySink, carry_all: CarryAll, rounds: int) -> None:
    given: list[str] = []
    chance = random.Random(rounds)
    for number in range(rounds):
        relay = Relay([JournalDirectory(directory)], sink, SETTINGS) if number % 2 else None
        given += append_until_killed(directory, chance.uniform(0, 0.25), relay=relay)
        if relay is not None:
            relay.stop()
    assert len(given) > rounds * 8
    carry_all(sink)

    sink.check_each_once_and_in_order()
    assert set(given) <= set(sink.ids)
    assert sink.gaps == []
    assert [path.name for path in directory.iterdir() if path.suffix != ".damaged"] == []


def test_kills_lose_nothing(directory: Path, sink: MemorySink, carry_all: CarryAll) -> None:
    """Of a process killed at any moment every event that it was given an id for arrives, once."""
    kill_rounds(directory, sink, carry_all, 12)


@pytest.mark.long
def test_many_kills_lose_nothing(directory: Path, sink: MemorySink, carry_all: CarryAll) -> None:
    """The same, a hundred times."""
    kill_rounds(directory, sink, carry_all, 100)


class DyingCalls(FileCalls):
    """Kills the process at the n-th call of a kind, before it, half-way or after it."""

    def __init__(self, kind: str, number: int, moment: str) -> None:
        self._kind = kind
        self._left = number
        self._moment = moment

    def _is_due(self, kind: str) -> bool:
        self._left -= kind == self._kind
        return self._left == 0 and kind == self._kind

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write(self, fd: int, frame: bytes) -> int:  # type: ignore[override]
        if self._is_due("write"):
            if self._moment == "crash_after_partial_write":
                os.write(fd, frame[: len(frame) // 2])
            elif self._moment == "crash_after_write":
                os.write(fd, frame)
            self._die()
        return os.write(fd, frame)

    def datasync(self, fd: int) -> None:  # type: ignore[override]
        if self._is_due("datasync"):
            if self._moment == "crash_after_write":
                os.fdatasync(fd)
            self._die()
        os.fdatasync(fd)


@pytest.mark.parametrize(
    "moment", ["crash_before_write", "crash_after_partial_write", "crash_after_write"]
)
@pytest.mark.parametrize("kind", ["write", "datasync"])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 7])
def test_death_at_each_step(
    directory: Path, sink: MemorySink, carry_all: CarryAll, kind: str, number: int, moment: str
) -> None:
    """A process that dies before, in or after any write or sync keeps all it has an id for."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        # Small files, so that opening and leaving them is among the steps.
        journal = Journal(directory, max_file_bytes=900, calls=DyingCalls(kind, number, moment))
        for count in range(20):
            os.write(writer, (journal.append(draft(str(count))) + "\n").encode())
            if count % 3 == 0:
                journal.sync()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        given = said.read().split()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    carry_all(sink)

    sink.check_each_once_and_in_order()
    assert sink.ids[: len(given)] == given
    assert len(sink.ids) <= len(given) + 1
    assert sink.gaps == []
    is_torn = kind == "write" and moment == "crash_after_partial_write"
    assert sink.noticed == (["journal.tail_cut"] if is_torn else [])


def limit_file_size(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def test_full_disk(make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll) -> None:
    """With no room left an append fails and says so; with room again the next ones work."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = make_journal()
    given = [journal.append(draft(str(number))) for number in range(10)]
    size = journal.path.stat().st_size
    try:
        for room in (0, 10, 100):
            limit_file_size(size + room)
            for _ in range(3):
                with pytest.raises(StoreFullError, match="make room"):
                    journal.append(draft("too much " * 20))
            assert journal.path.stat().st_size == size
    finally:
        limit_file_size(resource.RLIM_INFINITY)
        signal.signal(signal.SIGXFSZ, before)
    given += [journal.append(draft(f"again {number}")) for number in range(10)]
    journal.close()
    carry_all(sink)

    assert sink.ids == given
    assert [event.producer.seq for event in sink.events] == list(range(1, 21))
    assert sink.gaps == [] and sink.noticed == []


class FailingCalls(FileCalls):
    """Fails writes half-way, syncs or truncations while told to."""

    def __init__(self) -> None:
        self.failing: set[str] = set()

    def write(self, fd: int, frame: bytes) -> int:  # type: ignore[override]
        if "write" in self.failing:
            if len(frame) > 30:
                return os.write(fd, frame[:30])
            raise OSError(28, "No space left on device")
        return os.write(fd, frame)

    def datasync(self, fd: int) -> None:  # type: ignore[override]
        if "datasync" in self.failing:
            raise OSError(5, "Input/output error")
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:  # type: ignore[override]
        if "truncate" in self.failing:
            raise OSError(5, "Input/output error")
        os.ftruncate(fd, size)


class FailingOnceSync(FailingCalls):
    """A sync that fails once and then claims success, as Linux does after a lost write."""

    def datasync(self, fd: int) -> None:  # type: ignore[override]
        failing = "datasync" in self.failing
        self.failing.discard("datasync")
        if failing:
            raise OSError(5, "Input/output error")
        os.fdatasync(fd)


def test_torn_frame_that_stays(
    make_journal: MakeJournal, directory: Path, sink: MemorySink, carry_all: CarryAll
) -> None:
    """Where a torn event can't even be cut off, the journal goes on in another file."""
    calls = FailingCalls()
    journal = make_journal(calls=calls)
    given = [journal.append(draft(str(number))) for number in range(5)]
    calls.failing = {"write", "truncate"}
    for _ in range(2):
        with pytest.raises(DeliveryError):
            journal.append(draft("torn"))
    calls.failing = {"truncate"}
    given += [journal.append(draft(str(number))) for number in range(5)]
    journal.close()
    carry_all(sink)

    assert sink.ids == given
    sink.check_each_once_and_in_order()
    assert sink.gaps == []
    assert [path.suffix for path in directory.iterdir()] == [".damaged"]


def test_failed_sync_is_made_good(
    make_journal: MakeJournal, directory: Path, sink: MemorySink, carry_all: CarryAll
) -> None:
    """After a failed sync the events are written elsewhere: a second sync that would only claim
    to have worked isn't trusted."""
    calls = FailingOnceSync()
    journal = make_journal(calls=calls)
    given = [journal.append(draft("1"))]
    journal.sync()
    given += [journal.append(draft("2")), journal.append(draft("3"))]
    calls.failing = {"datasync"}
    journal.sync()
    assert journal.path.name.endswith(".2.journal")
    held = journal.path.read_bytes()
    assert b'"reason":"2"' in held and b'"reason":"3"' in held and b'"reason":"1"' not in held
    given.append(journal.append(draft("4")))
    journal.close()
    carry_all(sink)

    assert sink.ids == given
    sink.check_each_once_and_in_order()


def test_sync_that_can_not_work_says_so(make_journal: MakeJournal) -> None:
    """While the disk fails every sync raises, and the first one after it works saves all."""
    calls = FailingCalls()
    journal = make_journal(calls=calls)
    journal.append(draft("1"))
    calls.failing = {"datasync"}
    for _ in range(3):
        with pytest.raises(DeliveryError, match="Input/output"):
            journal.sync()
    calls.failing = set()
    journal.sync()
    assert b'"reason":"1"' in journal.path.read_bytes()


def test_removed_file_is_written_again(
    make_journal: MakeJournal, directory: Path, sink: MemorySink, carry_all: CarryAll
) -> None:
    """Somebody deletes the file of a living process: nothing is lost, and it is an entry."""
    now = 1_700_000_000_000_000
    journal = make_journal(clock=lambda: now)
    given = [journal.append(draft(str(number))) for number in range(5)]
    journal.path.unlink()
    given += [journal.append(draft(str(number))) for number in range(5)]
    now += 1_000_000
    given.append(journal.append(draft("a second later")))
    carry_all(sink)

    assert [event.id for event in sink.events if event.kind == "access"] == given
    assert [event.action for event in sink.events if event.kind == "system"] == [
        "journal.file_removed"
    ]
    assert sink.gaps == []
