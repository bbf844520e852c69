"""Power lost after any write or sync of a journal: what was synced is delivered, once and in order;
of the rest nothing is made up.

Each call that reaches a file is recorded and then lost, all or in part and in any order, as
`tests.integrity.recording_vfs` does with SQLite's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.journal_writing import FileCalls
from indelible.transport.relay import Relay
from tests.integrity.recording_vfs import Loss, RecordingDisk, Step, check_crashes

from .conftest import SETTINGS, draft
from .memory_sink import MemorySink

EVENTS = 60


class RecordingCalls(FileCalls):
    """The real calls, and a step of the disk for each."""

    def __init__(self, disk: RecordingDisk) -> None:
        self._disk = disk

    def write(self, fd: int, frame: bytes) -> int:  # type: ignore[override]
        self._disk.steps.append(Step(name_of(fd), os.fstat(fd).st_size, bytes(frame)))
        return os.write(fd, frame)

    def datasync(self, fd: int) -> None:  # type: ignore[override]
        os.fdatasync(fd)
        self._disk.steps.append(Step(name_of(fd), 0, None))

    def truncate(self, fd: int, size: int) -> None:  # type: ignore[override]
        self._disk.steps.append(Step(name_of(fd), -1, size.to_bytes(8, "big")))
        os.ftruncate(fd, size)


def name_of(fd: int) -> str:
    return Path(f"/proc/self/fd/{fd}").readlink().name


class Recording(NamedTuple):
    disk: RecordingDisk
    ids: list[str]
    synced: list[tuple[int, int]]
    """After how many steps so many events had been synced."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """Small files, so that opening and leaving them is among the steps; some events in parts."""
    directory = tmp_path_factory.mktemp("recorded") / "journals"
    directory.mkdir(mode=0o700)
    disk = RecordingDisk(directory)
    journal = Journal(directory, max_file_bytes=3_000, calls=RecordingCalls(disk))
    ids: list[str] = []
    synced: list[tuple[int, int]] = []
    for number in range(EVENTS):
        note = "large " * 20_000 if number % 25 == 24 else f"{number} " * (number % 9 + 1)
        ids.append(journal.append(draft(note)))
        if number % 4 == 3:
            journal.sync()
            synced.append((len(disk.steps), len(ids)))
    journal.close()
    synced.append((len(disk.steps), len(ids)))
    yield Recording(disk, ids, synced)
    disk.close()


@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_every_step(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """After each single write and sync, with nothing, all or some of what wasn't synced lost."""
    directory = tmp_path / "journals"
    directory.mkdir(mode=0o700)
    steps = len(recording.disk.steps)
    assert steps > EVENTS

    def check(done: int) -> None:
        sink = MemorySink()
        relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
        relay.flush(timeout_s=60)
        relay.stop()
        sink.check_each_once_and_in_order()
        certain = max((count for at, count in recording.synced if at <= done), default=0)
        missing = set(recording.ids[:certain]) - set(sink.ids)
        assert not missing, "synced and lost"
        assert set(sink.ids) <= set(recording.ids), "made up"
        if loss == "nothing":
            assert sink.gaps == []

    check_crashes(recording.disk, range(steps + 1), loss, directory, seed=5, check=check)


def test_without_the_sync_the_synced_would_be_lost(recording: Recording, tmp_path: Path) -> None:
    """The test can fail: a disk that forgets syncs loses what was synced."""
    forgetful = RecordingDisk.__new__(RecordingDisk)
    forgetful.__dict__ = {**recording.disk.__dict__}
    forgetful.steps = [step for step in recording.disk.steps if step.data is not None]
    sink = MemorySink()

    def check(done: int) -> None:
        relay = Relay([JournalDirectory(tmp_path)], sink, SETTINGS)
        relay.step()
        relay.stop()

    tmp_path.chmod(0o700)
    check_crashes(forgetful, [len(forgetful.steps)], "unsynced", tmp_path, seed=5, check=check)
    assert sink.ids == []
