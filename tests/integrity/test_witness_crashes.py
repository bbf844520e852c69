"""A witness that dies at any moment: what it cosigned stands, and no second history is cosigned."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from indelible.integrity.witness import Witness
from indelible.integrity.witness_file import WitnessFile
from indelible.tlog import SigningKey
from tests.integrity.recording_vfs import Loss, RecordingDisk, check_crashes
from tests.integrity.test_witness import FORKED, LEAVES, LOG, ORIGIN, asking, root_at
from tests.integrity.witnesses import WitnessProcess, running

SIZES = (3, 10, 10, 11, 40, 41, 41, 255, 256, 300, 301, 420)


class Cosigned(NamedTuple):
    """What was given out once this many steps had reached the disk."""

    steps: int
    size: int


class Recording(NamedTuple):
    directory: Path
    disk: RecordingDisk
    cosigned: list[Cosigned]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    directory = tmp_path_factory.mktemp("witness")
    Witness.create(directory, "witness.example/w").close()
    with contextlib.closing(Witness.open(directory)) as witness:
        witness.file.add_tlog(ORIGIN, LOG.verifier_key, 1)
    disk = RecordingDisk(directory)
    file = WitnessFile(directory / "witness.db", connect=disk.connect)
    witness = Witness(file, key_of(directory), clock=iter(range(1, 1_000)).__next__)
    cosigned = []
    known = 0
    for size in SIZES:
        assert witness.add_checkpoint(asking(known, size)).status == 200
        # A refusal is a write, too.
        assert witness.add_checkpoint(asking(size, size, FORKED)).status in (200, 422)
        cosigned.append(Cosigned(len(disk.steps), size))
        known = size
    witness.close()
    yield Recording(directory, disk, cosigned)
    disk.close()


def key_of(directory: Path) -> SigningKey:
    return SigningKey.parse((directory / "witness.key").read_text().strip())


def check_each(
    recording: Recording, after: list[int], loss: Loss, directory: Path, seed: int
) -> None:
    def check(steps: int) -> None:
        shutil.copy(recording.directory / "witness.key", directory)
        check_what_is_left(recording, directory, steps)

    check_crashes(recording.disk, after, loss, directory, seed=seed, check=check)


def check_what_is_left(recording: Recording, directory: Path, steps: int) -> None:
    given_out = max((each.size for each in recording.cosigned if each.steps <= steps), default=0)
    with contextlib.closing(Witness.open(directory)) as witness:
        tlog = witness.file.tlog(ORIGIN)
        assert tlog is not None
        assert tlog.size >= given_out, "cosigned and forgotten"
        assert tlog.root == root_at(tlog.size, LEAVES)
        for size in {tlog.size, given_out, tlog.size + 5}:
            for old in {tlog.size, given_out, 0}:
                if size >= 6 and tlog.size >= 6 and old <= size:
                    assert witness.add_checkpoint(asking(old, size, FORKED)).status != 200
        assert witness.add_checkpoint(asking(tlog.size, tlog.size + 9)).status == 200


@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_every_step(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """After each single write and sync: what was given out is known, and its forks are refused."""
    check_each(recording, list(range(len(recording.disk.steps) + 1)), loss, tmp_path, seed=1)


def test_without_the_sync_it_would_forget(recording: Recording, tmp_path: Path) -> None:
    """The test can fail: on a disk that forgets syncs a cosigned checkpoint is lost."""
    forgetful = RecordingDisk.__new__(RecordingDisk)
    forgetful.__dict__ = {**recording.disk.__dict__}
    forgetful.steps = [step for step in recording.disk.steps if step.data is not None]
    broken = recording._replace(disk=forgetful)
    with pytest.raises(AssertionError, match="cosigned and forgotten"):
        check_each(broken, [len(forgetful.steps)], "unsynced", tmp_path, seed=2)


def test_killed_while_cosigning(tmp_path: Path) -> None:
    """SIGKILL of a real one, again and again: it goes on where it was, and forks are refused."""
    rng = random.Random(3)
    process = WitnessProcess(tmp_path / "w", "witness.example/w")
    process.add(LOG.verifier_key)
    given_out = 0
    for _ in range(4):
        process.start()
        stopped = threading.Event()
        killer = threading.Thread(target=kill_soon, args=(process, rng.random() * 0.3, stopped))
        killer.start()
        size = given_out
        with contextlib.suppress(OSError):
            while not stopped.is_set() and size < len(LEAVES) - 10:
                answer = process.post(asking(size, size + 1))
                if answer.status == 409:  # it was killed between its commit and its answer
                    size = int(answer.body)
                    continue
                assert answer.status == 200
                size = given_out = size + 1
        killer.join()
    assert given_out > 0
    with running(process):
        answer = process.post(asking(0, given_out + 6))
        known = int(answer.body)
        assert (answer.status, known) in ((409, given_out), (409, given_out + 1))
        if known >= 6:
            assert process.post(asking(known, known, FORKED)).status == 422
            assert process.post(asking(known, known + 9, FORKED)).status == 422
        assert process.post(asking(known, known + 9)).status == 200


def kill_soon(process: WitnessProcess, delay_s: float, stopped: threading.Event) -> None:
    time.sleep(delay_s)
    process.kill(signal.SIGKILL)
    stopped.set()
