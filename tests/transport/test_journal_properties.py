"""Any order of appends, crashes, relay passes and sink failures ends with each event once."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indelible.errors import DeliveryError
from indelible.policy.model import RelaySettings
from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.journal_writing import FileCalls
from indelible.transport.relay import Relay

from .conftest import draft
from .memory_sink import MemorySink


class CrashingCalls(FileCalls):
    """Writes that take a piece of the next frame only, and then the process is as good as dead."""

    def __init__(self) -> None:
        self.bytes_left: int | None = None

    def write(self, fd: int, frame: bytes) -> int:  # type: ignore[override]
        if self.bytes_left is None:
            return os.write(fd, frame)
        written = os.write(fd, frame[: self.bytes_left]) if self.bytes_left else 0
        self.bytes_left = 0
        if written == 0:
            raise OSError(28, "No space left on device")
        return written

    def truncate(self, fd: int, size: int) -> None:  # type: ignore[override]
        if self.bytes_left is not None:
            raise OSError(5, "Input/output error")
        os.ftruncate(fd, size)


class Carrying(RuleBasedStateMachine):
    """Three processes with journals, two relays, one sink; all of them fail."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.directory = self.root / "journals"
        self.sink = MemorySink()
        self.given: list[str] = []
        self.unsure = 0
        self.now = 1_700_000_000_000_000
        self.failing: list[str] = []

    @initialize(max_file_bytes=st.sampled_from([600, 2_000, 1 << 20]))
    def begin(self, max_file_bytes: int) -> None:
        self.max_file_bytes = max_file_bytes
        self.calls = [CrashingCalls() for _ in range(3)]
        self.journals = [self.new_journal(number) for number in range(3)]
        self.relays = [self.new_relay() for _ in range(2)]
        self.sink.fault = lambda batch: self.fail_if_told("before")
        self.sink.fault_after = lambda batch: self.fail_if_told("after")

    def new_journal(self, number: int) -> Journal:
        self.calls[number] = CrashingCalls()
        return Journal(
            self.directory,
            max_file_bytes=self.max_file_bytes,
            clock=self.tick,
            calls=self.calls[number],
        )

    def new_relay(self) -> Relay:
        return Relay(
            [JournalDirectory(self.directory)],
            self.sink,
            RelaySettings(batch_events=4),
            monotonic=lambda: self.now / 1_000_000,
        )

    def tick(self) -> int:
        self.now += 1
        return self.now

    def fail_if_told(self, moment: str) -> None:
        if self.failing and self.failing[0] == moment:
            self.failing.pop()
            raise DeliveryError("the store doesn't answer")

    @rule(number=st.integers(0, 2), count=st.integers(1, 6), size=st.sampled_from([0, 300, 70_000]))
    def append(self, number: int, count: int, size: int) -> None:
        for _ in range(count):
            self.given.append(self.journals[number].append(draft("x" * size)))

    @rule(number=st.integers(0, 2))
    def append_later(self, number: int) -> None:
        self.journals[number].append_later(draft("later"))
        self.journals[number].sync()

    @rule(number=st.integers(0, 2))
    def sync(self, number: int) -> None:
        self.journals[number].sync()

    @rule(number=st.integers(0, 2), kept=st.integers(0, 400))
    def crash_in_the_midst_of_a_write(self, number: int, kept: int) -> None:
        calls = self.calls[number]
        calls.bytes_left = kept
        try:
            self.given.append(self.journals[number].append(draft("torn")))
        except DeliveryError:
            self.unsure += 1
        self.kill(number)

    @rule(number=st.integers(0, 2), kept=st.integers(0, 400))
    def disk_is_full_for_a_moment(self, number: int, kept: int) -> None:
        calls = self.calls[number]
        calls.bytes_left = kept
        with contextlib.suppress(DeliveryError):
            self.given.append(self.journals[number].append(draft("no room")))
        calls.bytes_left = None

    @rule(number=st.integers(0, 2))
    def kill(self, number: int) -> None:
        # What the kernel does for a killed process: close its files, and no more.
        self.journals[number]._files.let_go()
        self.journals[number]._closing = self.journals[number]._closed = True
        self.journals[number] = self.new_journal(number)

    @rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        self.journals[number].close()
        self.journals[number] = self.new_journal(number)

    @rule(number=st.integers(0, 2))
    def remove_file_of_a_living_process(self, number: int) -> None:
        self.journals[number].path.unlink(missing_ok=True)
        self.now += 2_000_000
        self.given.append(self.journals[number].append(draft("noticed")))

    @rule(number=st.integers(0, 1), later_s=st.sampled_from([0, 60]))
    def relay_step(self, number: int, later_s: int) -> None:
        self.now += later_s * 1_000_000
        self.relays[number].step()

    @rule(number=st.integers(0, 1), moment=st.sampled_from(["before", "after"]))
    def sink_fails(self, number: int, moment: str) -> None:
        self.failing = [moment]
        self.now += 60_000_000
        self.relays[number].step()
        self.failing = []

    @rule(number=st.integers(0, 1))
    def relay_restarts(self, number: int) -> None:
        self.relays[number].stop()
        self.relays[number] = self.new_relay()

    @invariant()
    def nothing_twice_or_out_of_order(self) -> None:
        self.sink.check_each_once_and_in_order()
        assert self.sink.gaps == []
        assert self.sink.poison == []

    def teardown(self) -> None:
        if hasattr(self, "journals"):
            for journal in self.journals:
                journal.close()
            self.now += 60_000_000
            for relay in self.relays * 2:
                while relay.step():
                    self.now += 60_000_000
            for relay in self.relays:
                relay.stop()
            assert set(self.given) <= set(self.sink.ids)
            self.nothing_twice_or_out_of_order()
            accesses = [event for event in self.sink.events if event.reason in ("torn", "no room")]
            assert len(accesses) <= len(self.given) + self.unsure
            assert [p for p in self.directory.iterdir() if p.suffix != ".damaged"] == []
        shutil.rmtree(self.root)


TestCarrying = Carrying.TestCase
TestCarrying.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.long
class TestCarryingLong(Carrying.TestCase):
    """The same, far longer."""

    settings = settings(
        max_examples=500,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
