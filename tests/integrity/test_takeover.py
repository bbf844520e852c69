"""One sequencer at a time, whoever dies, sleeps or hurries: nothing lost, nothing double.

Real processes on one trail, each of which would sequence the same source.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible.integrity.faults import UncheckpointedError
from indelible.integrity.verifier import verify_trail
from indelible.store.sqlite import SqliteTrail
from tests.integrity.trails import EPOCH, SOURCE, Maker, delivery_at

ROOT = Path(__file__).parents[2]


class Process:
    """A started `sequencing_process`, and what it has said so far."""

    def __init__(self, maker: Maker, holder: str, *, last: int, batch: int) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.integrity.sequencing_process"),
                *(str(maker.path), maker.key.export_private(), holder, str(last), str(batch)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(line.strip() for line in iter(self._process.stdout.readline, ""))

    @property
    def acknowledged(self) -> int:
        """The last position that it said was acknowledged."""
        said = [line for line in list(self.lines) if line.startswith("acknowledged ")]
        return int(said[-1].split()[1]) if said else 0

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 60) -> int:
        try:
            return self._process.wait(timeout_s)
        finally:
            self.end()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._listening.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def start(maker: Maker) -> Iterator[Callable[..., Process]]:
    """Starts processes on the maker's trail; ends them all."""
    maker.store.release_lease(maker.lease)
    started: list[Process] = []

    def start_one(holder: str, *, last: int, batch: int) -> Process:
        started.append(Process(maker, holder, last=last, batch=batch))
        return started[-1]

    yield start_one
    for process in started:
        process.end()


def until(is_so: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it didn't come to that"
        time.sleep(0.005)


def check_each_once(maker: Maker, last: int) -> None:
    """The trail verifies and holds each position of the source once, in order, as delivered."""
    verify_trail(maker.path, maker.key.verifier_key)
    ours = f'"producer":{{"id":"{SOURCE}"'.encode()
    kept = [entry.body for entry in maker.store.entries(0, 10**9) if ours in entry.body]
    assert kept == [delivery_at(seq).bodies[0] for seq in range(1, last + 1)]


def test_two_that_both_would_sequence_take_turns(
    maker: Maker, start: Callable[..., Process]
) -> None:
    """Each takes the lease when the other is late; every event is in the trail once."""
    last = 4_000
    both = [start(holder, last=last, batch=40) for holder in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    check_each_once(maker, last)


def test_a_deposed_one_that_wakes_up_commits_nothing(
    maker: Maker, start: Callable[..., Process]
) -> None:
    """A process that slept while another took over is told so at its next commit."""
    last = 6_000
    sleeper = start("sleeper", last=last, batch=10)
    until(lambda: sleeper.acknowledged > 50)
    stop_between_transactions(sleeper, maker.path)
    awake = start("awake", last=last, batch=10)
    until(lambda: awake.acknowledged > sleeper.acknowledged + 50)
    sleeper.signal(signal.SIGCONT)
    until(lambda: any(line.startswith("deposed ") for line in sleeper.lines))
    assert [process.wait() for process in (awake, sleeper)] == [0, 0]
    check_each_once(maker, last)


def stop_between_transactions(process: Process, path: Path) -> None:
    """A process stopped while it holds SQLite's lock would keep everybody waiting, not us only."""
    while True:
        process.signal(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.signal(signal.SIGCONT)
                continue
            probe.execute("ROLLBACK")
            return


def kill_again_and_again(
    maker: Maker, start: Callable[..., Process], *, times: int, seed: int
) -> None:
    rng = random.Random(seed)
    acknowledged = 0
    for _ in range(times):
        process = start("doomed", last=10**9, batch=rng.choice((1, 7, 60, 400)))
        until(lambda doomed=process: doomed.acknowledged > 0)  # type: ignore[misc]
        time.sleep(rng.random() * 0.3)
        process.signal(signal.SIGKILL)
        process.wait()
        acknowledged = max(acknowledged, process.acknowledged)
        with contextlib.suppress(UncheckpointedError):  # killed between the two commits
            verify_trail(maker.path, maker.key.verifier_key)
        received = maker.store.received(SOURCE, EPOCH)
        assert received.last >= acknowledged, f"acknowledged and lost, seed {seed}"
    last = maker.store.received(SOURCE, EPOCH).last + 10
    assert start("survivor", last=last, batch=100).wait() == 0
    check_each_once(maker, last)


def test_killed_while_sequencing(maker: Maker, start: Callable[..., Process]) -> None:
    """SIGKILL at any moment loses nothing that was acknowledged; the next one goes on."""
    kill_again_and_again(maker, start, times=5, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_killed_while_sequencing_many_times(maker: Maker, start: Callable[..., Process]) -> None:
    """The same, a hundred times."""
    kill_again_and_again(maker, start, times=100, seed=2)


def test_a_store_opened_by_two_at_once_is_one_trail(maker: Maker) -> None:
    """A second opening of the same file sees each batch as it is committed."""
    other = SqliteTrail(maker.path)
    maker.fill([5])
    assert other.size == maker.store.size == 6
    maker.fill([700])
    assert other.entry(700).body == maker.store.entry(700).body
    other.close()
