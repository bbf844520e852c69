"""A trail as a folder that any web server serves: the files of c2sp.org/tlog-tiles, heads only.

Each file appears whole, and the checkpoint after everything that it covers (what witnesses cosigned
comes behind it), so that whatever stops an export leaves the folder as it was to a reader. Whoever
can write to the folder can take files away and put others there, which no reader believes; and an
older state, which a reader believes who hasn't seen a newer one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from indelible.durable import sync_directory, take_lock
from indelible.errors import ConfigurationError, DeliveryError, VerificationError
from indelible.integrity.faults import StrayEntryError
from indelible.integrity.published import PublishedTrail, PublishedTree
from indelible.integrity.resources import (
    CHECKPOINT_PATH,
    ROTATIONS_PATH,
    NotPublishedError,
    new_resources,
    parse_path,
)
from indelible.integrity.resources import format_path as path_of
from indelible.integrity.rotations import open_by
from indelible.integrity.seen import Progress, Seen, check_seen
from indelible.integrity.tree import check_right_edge, first_entry, width_in_tree
from indelible.tlog import (
    FULL_WIDTH,
    MAX_NOTE_BYTES,
    Checkpoint,
    Size,
)

_TREE: Final = "tile"
_UNFINISHED: Final = ".new"
"""The file that is being written; renamed when it is whole."""
_LEFT: Final = {_TREE, _UNFINISHED, ROTATIONS_PATH}
"""What an export that never came to its checkpoint leaves."""


class ExportFolderError(ConfigurationError):
    """The folder is another trail's, or holds what no export of a trail has left there."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export did: the folder has `size` entries, and had `since`."""

    origin: str
    size: int
    since: int
    root: bytes
    files: int
    """Written now, the checkpoint among them."""


def export_tree(
    trail: PublishedTrail, folder: Path, *, progress: Progress = lambda done, of: None
) -> Exported:
    """Bring `folder` to the trail's last checkpoint; made where there is none.

    When this returns all of it is on disk. Killed at any moment it leaves the folder at its older
    checkpoint with all that belongs to it, and the next export goes on. Bodies aren't exported.
    Raises `ExportFolderError` for a folder of another trail, `RollbackError` and `ForkError` where
    the folder has more or other entries than the trail, `StrayEntryError` for tiles in it that no
    tree of the trail has, and `DeliveryError` where it can't be written or another export is at it.
    """
    tree = trail.current()
    with _own(folder):
        return _Export(trail, tree, folder, progress).run()


@contextlib.contextmanager
def _own(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ExportFolderError(f"can't use the folder {folder}: {error.strerror}") from None
    try:
        if not take_lock(fd):
            raise DeliveryError(f"expected {folder} to be free, another export is writing to it")
        try:
            yield
        except OSError as error:
            raise DeliveryError(
                f"can't write to {folder}: {error.strerror}; it is at its older checkpoint"
            ) from None
    finally:
        os.close(fd)


class _Export:
    """One export; the folder is ours alone meanwhile."""

    def __init__(
        self, trail: PublishedTrail, tree: PublishedTree, folder: Path, progress: Progress
    ) -> None:
        self._trail = trail
        self._tree = tree
        self._folder = folder
        self._progress = progress
        self._files = 0
        self._touched: set[Path] = set()

    def run(self) -> Exported:
        now = self._tree.checkpoint
        check_right_edge(self._tree, now.size, now.root)
        before = self._before()
        if before is not None:
            check_seen(
                self._tree,
                origin=now.origin,
                size=now.size,
                root=now.root,
                seen=Seen(
                    origin=before.origin,
                    size=before.size,
                    root=before.root,
                    vkey=str(self._trail.key),
                ),
            )
        since = Size(0) if before is None else before.size
        replaced = self._walk()
        for resource in new_resources(since, now.size):
            self._put(self._folder / path_of(resource), self._tree.read(resource))
            if resource.tile.level == 0:
                self._progress(first_entry(resource.tile) + resource.tile.width, now.size)
        if rotations := self._tree.rotations():
            self._put(self._folder / ROTATIONS_PATH, rotations)
        self._sync_folders()
        self._put(self._folder / CHECKPOINT_PATH, self._tree.note)
        self._sync_folders()
        # Behind it: none is of more entries than the checkpoint that a reader finds afterwards.
        for path, note in self._tree.cosigned.items():
            self._put(self._folder / path, note)
        self._sync_folders()
        # A reader of the older checkpoint finds the full tile in place of the partial ones.
        for partial in replaced:
            shutil.rmtree(partial)
        return Exported(
            origin=now.origin, size=now.size, since=since, root=now.root, files=self._files
        )

    def _before(self) -> Checkpoint | None:
        """The checkpoint that the folder has, by our keys; None for a folder of no export yet."""
        path = self._folder / CHECKPOINT_PATH
        try:
            with path.open("rb") as file:
                note = file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            if others := {each.name for each in self._folder.iterdir()} - _LEFT:
                raise ExportFolderError(
                    f"expected an export or an empty folder at {self._folder}, there is "
                    f"{min(others)!r} and no checkpoint"
                ) from None
            return None
        try:
            return open_by(note, self._trail.origin, self._trail.keys).checkpoint
        except VerificationError as error:
            raise ExportFolderError(
                f"expected an export of {self._trail.origin} at {self._folder}: {error}"
            ) from None

    def _walk(self) -> list[Path]:
        """Refuse what isn't the trail's; returns the partial tiles that full ones replace."""
        size = self._tree.checkpoint.size
        replaced = set()
        for directory, _, files in os.walk(self._folder / _TREE):
            for name in files:
                path = Path(directory) / name
                place = str(path.relative_to(self._folder))
                try:
                    tile = parse_path(place).tile
                except NotPublishedError:
                    raise ExportFolderError(
                        f"expected nothing but tiles and entry bundles there: take away {path}"
                    ) from None
                there = width_in_tree(tile, size)
                if tile.width > there:
                    raise StrayEntryError(
                        max(first_entry(tile), size),
                        f"{place} is beyond the tree of size {size}: no export of this trail "
                        "wrote it",
                    )
                if not tile.is_full and there == FULL_WIDTH:
                    replaced.add(path.parent)
        return sorted(replaced)

    def _put(self, path: Path, content: bytes) -> None:
        """The file is whole and on disk behind this; its name is behind `_sync_folders`."""
        depth = len(path.relative_to(self._folder).parts)
        # Also where an export that was killed had written it: nobody synced its name then.
        self._touched.update(path.parents[:depth])
        if _holds(path, content):
            return
        unfinished = self._folder / _UNFINISHED
        # Never into a file that is there: whoever serves the folder may have put a link to another.
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(path)
        self._files += 1

    def _sync_folders(self) -> None:
        for folder in self._touched:
            sync_directory(folder)
        self._touched.clear()


def _holds(path: Path, content: bytes) -> bool:
    """Whether the file has this content, on disk: an export that was killed had written it."""
    try:
        with path.open("rb") as file:
            if file.read(len(content) + 1) != content:
                return False
            os.fsync(file.fileno())
            return True
    except FileNotFoundError:
        return False
