"""`indelible export log`: a folder that any web server serves, at one checkpoint or another."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indelible.errors import DeliveryError
from indelible.integrity.faults import ForkError, RollbackError, StrayEntryError, TileMismatchError
from indelible.integrity.published import PublishedTrail
from indelible.integrity.resources import format_path, new_resources
from indelible.integrity.static_export import ExportFolderError, export_tree
from indelible.store.sqlite import SqliteTrail
from indelible.testing.tamper import change_tile, copy_trail
from indelible.tlog import Size, open_checkpoint
from tests.http_trails import COMMAND, served_folder, verified, write_config
from tests.integrity.trails import ORIGIN, Maker


@pytest.fixture
def trail(maker: Maker) -> Maker:
    maker.fill([400, 300])
    return maker


def export(maker: Maker, folder: Path) -> tuple[int, int, int]:
    done = export_tree(PublishedTrail(maker.store), folder)
    return done.since, done.size, done.files


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def size_of(folder: Path, maker: Maker) -> int:
    note = (folder / "checkpoint").read_bytes()
    return int(open_checkpoint(note, origin=ORIGIN, log_key=maker.key.verifier_key).checkpoint.size)


def test_an_export_is_all_that_is_open_and_nothing_else(trail: Maker, tmp_path: Path) -> None:
    """The files of tlog-tiles, byte for byte what is served; no salt, no body."""
    folder = tmp_path / "a" / "folder"
    assert export(trail, folder) == (0, 702, 8)
    tree = PublishedTrail(trail.store).current()
    expected = {
        format_path(each): tree.read(each) for each in new_resources(Size(0), tree.checkpoint.size)
    }
    assert files_of(folder) == {**expected, "checkpoint": tree.note}
    everything = b"".join(files_of(folder).values())
    for entry in trail.store.committed(0, 701):
        assert entry.body not in everything and entry.salt not in everything


def test_an_export_goes_on_from_what_is_there(trail: Maker, tmp_path: Path) -> None:
    """Only what is new is written; what a full tile replaces is gone, what is at the edge stays."""
    folder = tmp_path / "folder"
    export(trail, folder)
    untouched = (folder / "tile/0/000").stat().st_mtime_ns
    assert export(trail, folder) == (702, 702, 0)
    trail.fill([39])
    assert export(trail, folder) == (702, 742, 3)
    assert {"tile/0/002.p/190", "tile/0/002.p/230"} <= files_of(folder).keys()
    trail.fill([299])
    assert export(trail, folder) == (742, 1042, 8)
    names = files_of(folder).keys()
    assert not any(name.startswith(("tile/0/002.p", "tile/entries/002.p")) for name in names)
    assert {"tile/0/002", "tile/0/003", "tile/0/004.p/18", "tile/1/000.p/2"} <= names
    assert (folder / "tile/0/000").stat().st_mtime_ns == untouched
    with served_folder(folder) as url:
        assert verified(url, trail.key).size == 1042


@pytest.mark.parametrize("size", [0, 2, 255, 256, 257])
def test_trails_whose_edge_falls_on_a_tile_are_exported(
    size: int, maker: Maker, tmp_path: Path
) -> None:
    """The empty trail included: a checkpoint alone."""
    if size:
        maker.fill([size - 1])
    export(maker, tmp_path / "folder")
    with served_folder(tmp_path / "folder") as url:
        assert verified(url, maker.key).size == size


def test_the_folder_of_another_trail_is_refused(trail: Maker, tmp_path: Path) -> None:
    """By its checkpoint's key; nothing in it is touched."""
    folder = tmp_path / "folder"
    other = Maker(tmp_path / "other.db")
    other.fill([5])
    export(other, folder)
    before = files_of(folder)
    with pytest.raises(ExportFolderError, match=f"expected an export of {ORIGIN}"):
        export(trail, folder)
    assert files_of(folder) == before
    other.close()


def test_a_folder_of_something_else_is_refused(trail: Maker, tmp_path: Path) -> None:
    """A home directory given by mistake; a file in the tree that no trail has."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary").write_text("dear diary")
    with pytest.raises(ExportFolderError, match="there is 'diary' and no checkpoint"):
        export(trail, tmp_path / "home")
    with pytest.raises(ExportFolderError, match="can't use the folder"):
        export(trail, tmp_path / "home" / "diary")
    export(trail, tmp_path / "folder")
    (tmp_path / "folder" / "index.html").write_text("beside the tree anything may stand")
    assert export(trail, tmp_path / "folder") == (702, 702, 0)
    (tmp_path / "folder" / "tile" / "notes.txt").write_text("in it nothing")
    with pytest.raises(ExportFolderError, match=r"take away .*notes\.txt"):
        export(trail, tmp_path / "folder")


def test_a_trail_that_went_backwards_isn_t_exported(trail: Maker, tmp_path: Path) -> None:
    """Whoever exported it before has a newer checkpoint: the older trail is named as such."""
    copy_trail(trail.path, tmp_path / "backup.db")
    trail.fill([10])
    folder = tmp_path / "folder"
    export(trail, folder)
    before = files_of(folder)
    restored = SqliteTrail(tmp_path / "backup.db")
    with pytest.raises(RollbackError, match="last seen size 713, offered 702"):
        export_tree(PublishedTrail(restored), folder)
    assert files_of(folder) == before
    restored.close()


def test_a_history_that_was_rewritten_isn_t_exported(trail: Maker, tmp_path: Path) -> None:
    """Not even with the trail's own key: what is out already contradicts it."""
    copy_trail(trail.path, tmp_path / "fork.db")
    trail.fill([10])
    folder = tmp_path / "folder"
    export(trail, folder)
    before = files_of(folder)
    fork = Maker.__new__(Maker)
    fork.__dict__.update(trail.__dict__)
    fork.path = tmp_path / "fork.db"
    fork.store = SqliteTrail(fork.path)
    fork.open()
    fork.fill([20])
    with pytest.raises(ForkError, match="history was rewritten"):
        export(fork, folder)
    assert files_of(folder) == before
    fork.close()


def test_stray_tiles_are_found(trail: Maker, tmp_path: Path) -> None:
    """A tile or bundle beyond the signed size, which no reader asks for, isn't left there."""
    folder = tmp_path / "folder"
    export(trail, folder)
    for stray, index in (("tile/0/003", 768), ("tile/entries/002.p/191", 702), ("tile/2/000", 702)):
        (folder / stray).parent.mkdir(parents=True, exist_ok=True)
        (folder / stray).write_bytes(b"x" * 32)
        with pytest.raises(StrayEntryError, match=f"index {index}: {stray} is beyond"):
            export(trail, folder)
        (folder / stray).unlink()
    assert export(trail, folder) == (702, 702, 0)


def test_a_damaged_trail_isn_t_exported_over_a_sound_one(trail: Maker, tmp_path: Path) -> None:
    """Where its right edge doesn't lead to the signed root, nothing is written."""
    folder = tmp_path / "folder"
    export(trail, folder)
    trail.fill([39])
    change_tile(trail.path, level=0, n=2)
    before = files_of(folder)
    with pytest.raises(TileMismatchError, match="right edge"):
        export(trail, folder)
    assert files_of(folder) == before


def test_no_file_outside_of_the_folder_is_written(trail: Maker, tmp_path: Path) -> None:
    """Whoever may write to the folder can't turn an export's rights against other files."""
    folder = tmp_path / "folder"
    export(trail, folder)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    trail.fill([10])
    (folder / ".new").symlink_to(victim)
    checkpoint = folder / "checkpoint"
    (tmp_path / "moved").write_bytes(checkpoint.read_bytes())
    checkpoint.unlink()
    checkpoint.symlink_to(tmp_path / "moved")
    moved = (tmp_path / "moved").read_bytes()
    assert export(trail, folder)[1] == 713
    assert (victim.read_text(), (tmp_path / "moved").read_bytes()) == ("precious", moved)
    assert not checkpoint.is_symlink()


def test_two_exports_don_t_write_at_once(trail: Maker, tmp_path: Path) -> None:
    """The second is told so, and can be run again."""
    folder = tmp_path / "folder"

    def second(done: int, of: int) -> None:
        with pytest.raises(DeliveryError, match="another export is writing"):
            export(trail, folder)

    export_tree(PublishedTrail(trail.store), folder, progress=second)
    assert export(trail, folder) == (702, 702, 0)


def test_a_disk_that_fails_at_any_step_leaves_a_whole_state(
    trail: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sync and each rename once without room: said, and the next export goes on."""
    folder = tmp_path / "folder"
    sound_sync, sound_replace = os.fsync, Path.replace
    steps = 0
    failing = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fsync(fd: int) -> None:
        step()
        sound_sync(fd)

    def replace(self: Path, target: Path) -> Path:
        step()
        return sound_replace(self, target)

    export(trail, folder)
    trail.fill([399])
    copies = [shutil.copytree(folder, tmp_path / str(n)) for n in range(40)]
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    for copy in copies:
        failing, steps = failing + 1, 0
        try:
            assert export(trail, copy)[:2] == (702, 1102)
            break
        except DeliveryError as error:
            assert "No space left on device" in str(error)
        with served_folder(copy) as url:
            size = verified(url, trail.key).size
        assert size == size_of(copy, trail) and size in (702, 1102)
        steps = -1_000
        assert export(trail, copy)[1] == 1102
    assert 20 < failing < len(copies)


EXPORT = """
import sys
from pathlib import Path
from indelible.integrity.published import PublishedTrail
from indelible.integrity.static_export import export_tree
from indelible.store.sqlite_reader import SqliteReader
export_tree(PublishedTrail(SqliteReader(Path(sys.argv[1]))), Path(sys.argv[2]))
"""


def killed_export(path: Path, folder: Path, after_s: float) -> bool:
    """SIGKILL an export so many seconds behind its first write; whether it was still at it."""
    before = folder.stat().st_mtime_ns
    child = subprocess.Popen([sys.executable, "-c", EXPORT, str(path), str(folder)])
    deadline = time.monotonic() + 60
    while folder.stat().st_mtime_ns == before and child.poll() is None:
        assert time.monotonic() < deadline, "the export writes nothing"
    time.sleep(after_s)
    child.kill()
    return child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.long)])
def test_an_export_killed_at_any_moment_leaves_a_whole_state(
    kills: int, trail: Maker, tmp_path: Path
) -> None:
    """What a reader finds verifies from end to end, older or newer, and the next one goes on."""
    folder = tmp_path / "folder"
    export(trail, folder)
    rng = random.Random(kills)
    older = 0
    for _ in range(kills):
        trail.fill([rng.randint(1, 700)])
        before = size_of(folder, trail)
        was_killed = killed_export(trail.path, folder, rng.random() * 0.03)
        with served_folder(folder) as url:
            found = verified(url, trail.key)
        assert found.size in (before, trail.store.size)
        older += was_killed and found.size == before
    assert older, "no export was killed on its way"
    export(trail, folder)
    names = files_of(folder)
    assert size_of(folder, trail) == trail.store.size
    shutil.rmtree(folder)
    export(trail, folder)
    assert files_of(folder).items() <= names.items()


def test_the_command(trail: Maker, tmp_path: Path) -> None:
    """It says what it did, as text and as JSON; without a folder it is a usage error."""
    config = ("--config", str(write_config(trail.path)))

    def run(*arguments: str, exit_code: int = 0) -> str:
        done = subprocess.run([*COMMAND, "export", "log", *arguments, *config], capture_output=True)
        assert done.returncode == exit_code
        return (done.stdout + done.stderr).decode()

    folder = str(tmp_path / "folder")
    said = run(folder)
    assert f"{folder}: 702 entries of {ORIGIN}, 702 more than before; 8 files written" in said
    again = json.loads(run(folder, "--json"))
    assert (again["size"], again["since"], again["files"]) == (702, 702, 0)
    assert "Missing argument 'FOLDER'" in run(exit_code=2)
