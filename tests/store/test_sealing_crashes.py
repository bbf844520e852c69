"""Sealing that is stopped anywhere loses nothing and repeats nothing.

Power lost after any write or sync of the trail's file (see `tests.integrity.recording_vfs`), a
process killed at any moment, a disk that is full or fails at any of its calls.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from indelible.events.codec import format_time
from indelible.integrity.verifier import verify_trail
from indelible.store.places import Folder
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_reader import SqliteReader
from indelible.store.sqlite_sealing import Sealer
from tests.integrity.recording_vfs import Loss, RecordingDisk, check_crashes
from tests.integrity.trails import Maker
from tests.store.sealing import PLACE, all_that_is_read, files, seal

ROOT = Path(__file__).parents[2]
BLOCKS = 2


class Recording(NamedTuple):
    """The sealing of a trail, with every step of the disk of its file."""

    maker: Maker
    disk: RecordingDisk
    before: dict[str, object]
    names: list[str]
    sealed: list[tuple[int, int]]
    """Steps that had reached the disk when so many entries were said to be sealed."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    directory = tmp_path_factory.mktemp("recorded")
    maker = Maker(directory / "trail.db")
    maker.fill([150] * 12)
    before = all_that_is_read(maker.store)
    size = int(maker.store.size)
    maker.store.close()
    disk = RecordingDisk(directory)
    sealer = Sealer(
        maker.path,
        Folder(directory / PLACE),
        PLACE,
        clock=lambda: format_time(maker.clock.now),
        connect=disk.connect,
    )
    segments, sealed = [], [(0, 0)]
    for segment in sealer.seal(size, most_blocks=BLOCKS):
        segments.append(segment.name)
        sealed.append((len(disk.steps), segment.last + 1))
    yield Recording(maker, disk, before, segments, sealed)
    disk.close()


def check_each(recording: Recording, after: list[int], loss: Loss, directory: Path) -> None:
    crashed = directory / "crashed"
    crashed.mkdir()
    folder = recording.maker.path.parent / PLACE

    def check(steps: int) -> None:
        shutil.copytree(folder, crashed / PLACE)
        with contextlib.closing(SqliteReader(crashed / "trail.db")) as reader:
            promised = max(count for at, count in recording.sealed if at <= steps)
            assert reader.tiers()[-1].first >= promised, "sealed, and then not"
            verify_trail(reader.path, recording.maker.key.verifier_key)
            assert all_that_is_read(reader) == recording.before
            list(seal(reader, blocks=BLOCKS))
            assert [segment.name for segment in reader.segments()] == recording.names
            assert all_that_is_read(reader) == recording.before
            verify_trail(reader.path, recording.maker.key.verifier_key)
        shutil.rmtree(crashed / PLACE)
        (crashed / "trail.db.sealing").unlink()

    check_crashes(recording.disk, after, loss, crashed, seed=4, check=check)


@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_some_steps(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """Whatever reached the disk, the trail is whole, and sealing goes on to the same segments."""
    steps = len(recording.disk.steps)
    chosen = sorted({0, steps, *random.Random(loss).sample(range(steps), 7)})
    check_each(recording, chosen, loss, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_every_step(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """The same after each single write and sync of the recording."""
    check_each(recording, list(range(len(recording.disk.steps) + 1)), loss, tmp_path)


def test_a_segment_is_on_the_disk_before_its_entries_leave_the_file(
    maker: Maker, tmp_path: Path
) -> None:
    """Synced, renamed and its folder synced, all before the transaction that drops the blocks."""
    maker.fill([150] * 4)
    trace = tmp_path / "trace"
    run(maker.path, "-e", "trace=fsync,fdatasync,rename,pwrite64", "-y", "-o", str(trace))
    lines = [line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines()]
    renamed = next(n for n, line in enumerate(lines) if line.startswith("rename("))
    assert "fsync(" in lines[renamed - 1] and ".unfinished" in lines[renamed - 1]
    assert "fsync(" in lines[renamed + 1] and f"/{PLACE}>" in lines[renamed + 1]
    written = [n for n, line in enumerate(lines) if "pwrite64" in line and "trail.db-wal" in line]
    assert written and written[0] > renamed + 1


# -- processes ----------------------------------------------------------------------------------


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    made = Maker(tmp_path / "trail.db")
    yield made
    made.close()


def run(trail: Path, *strace: str) -> subprocess.CompletedProcess[str]:
    """Seal in a process of its own, under strace."""
    return subprocess.run(
        [
            *("strace", "-f", "-qq", *strace),
            *(sys.executable, "-m", "tests.store.sealing_process", str(trail), str(BLOCKS)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("call", "failure", "path", "error"),
    [
        ("write", "ENOSPC", "sealed/.trail.db.unfinished", "StoreFullError: expected room"),
        ("write", "EIO", "sealed/.trail.db.unfinished", "SegmentUnreachableError: can't write"),
        ("fsync", "EIO", "sealed/.trail.db.unfinished", "SegmentUnreachableError: can't write"),
        ("rename", "EIO", "sealed/.trail.db.unfinished", "SegmentUnreachableError: can't write"),
        ("fsync", "EIO", "sealed", "SegmentUnreachableError: can't write"),
        ("pwrite64", "ENOSPC", "trail.db-wal", "StoreFullError: expected room"),
        ("fdatasync", "EIO", "trail.db-wal", "StoreFullError: expected room"),
    ],
)
def test_a_disk_that_fails(maker: Maker, call: str, failure: str, path: str, error: str) -> None:
    """A clear error, all entries where they were or sealed, and the next run goes on."""
    maker.fill([150] * 8)
    before = all_that_is_read(maker.store)
    (maker.path.parent / PLACE).mkdir()
    at = maker.path.parent / path
    options = ("-P", str(at), "-e", f"trace={call}", "-e", f"inject={call}:error={failure}:when=1")
    done = run(maker.path, *options)
    assert error in done.stdout, done.stdout
    assert done.returncode == 4
    assert "Traceback" not in done.stdout
    verify_trail(maker.path, maker.key.verifier_key)
    assert all_that_is_read(maker.store) == before
    list(seal(maker.store, blocks=BLOCKS))
    assert len(maker.store.segments()) == 2
    assert files(maker.path.parent) == sorted(each.name for each in maker.store.segments())
    assert all_that_is_read(maker.store) == before
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_disk_that_can_t_be_read(maker: Maker) -> None:
    """A failing read of a segment is said as what it is, with the segment's name: out of reach."""
    maker.fill([150] * 5)
    (segment,) = seal(maker.store, blocks=BLOCKS)
    code = (
        "from indelible.store.sqlite_reader import SqliteReader\n"
        "from pathlib import Path\n"
        f"SqliteReader(Path({str(maker.path)!r})).entry(3)"
    )
    at = maker.path.parent / PLACE / segment.name
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-P", str(at), "-e", "inject=pread64:error=EIO"),
            *("-o", "/dev/null", sys.executable, "-c", code),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"SegmentUnreachableError: can't read segment {segment.name}" in done.stderr
    assert "entries 0 to 511" in done.stderr and "Input/output error" in done.stderr


def kill_again_and_again(maker: Maker, times: int, seed: int) -> None:
    rng = random.Random(seed)
    promised = 0
    for _ in range(times):
        maker.fill([rng.randint(1, 400) for _ in range(6)])
        before = all_that_is_read(maker.store)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.sealing_process", str(maker.path), "1"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = process.stdout.readline()  # begins
        time.sleep(rng.random() * 0.03)
        maker.fill([7])  # the sequencer goes on meanwhile
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
        process.stdout.close()
        process.wait()
        for line in said.splitlines():
            if line.startswith("sealed "):
                promised = int(line.split()[1])
        assert maker.store.tiers()[-1].first > promised, f"sealed, and then not, seed {seed}"
        verify_trail(maker.path, maker.key.verifier_key)
        now = all_that_is_read(maker.store)
        assert now["entries"][: len(before["entries"])] == before["entries"]  # type: ignore[index,arg-type]
    list(seal(maker.store, blocks=1))
    there = set(files(maker.path.parent)) - {f".{maker.path.name}.unfinished"}
    assert there == {segment.name for segment in maker.store.segments()}
    verify_trail(maker.path, maker.key.verifier_key)


def test_killed_while_sealing(maker: Maker) -> None:
    """SIGKILL at any moment, while the trail grows, loses nothing; the next run goes on."""
    kill_again_and_again(maker, times=3, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_killed_while_sealing_many_times(maker: Maker) -> None:
    """The same a hundred times."""
    kill_again_and_again(maker, times=100, seed=2)


def test_what_the_sequencer_remembers_of_the_index_is_read_again(maker: Maker) -> None:
    """Sealed between two batches of one sequencer: no entry is found twice, none is missed."""
    for _ in range(8):
        maker.fill([130] * 5)
        list(seal(maker.store, blocks=1))
    verify_trail(maker.path, maker.key.verifier_key)
    with contextlib.closing(SqliteTrail(maker.path)) as again:
        assert all_that_is_read(again) == all_that_is_read(maker.store)
