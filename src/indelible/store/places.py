"""Where segments are kept: a folder, or a bucket of S3. Written once, never changed.

Whoever can write there can take entries away or damage them, which every answer that needs them and
`verify` say; they can't change one unnoticed, as the trail's file has its hash.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from indelible.durable import sync_directory
from indelible.errors import ConfigurationError, StoreFullError
from indelible.store.errors import (
    SegmentDamagedError,
    SegmentMissingError,
    SegmentUnreachableError,
)
from indelible.store.segment import SealedBlock, Segment

_S3: Final = "s3://"
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Range = tuple[int, int]
"""Offset and length."""


class Lock(NamedTuple):
    """For how long an object store is told to let nobody delete or replace a segment."""

    mode: Literal["governance", "compliance"]
    days: int

    @property
    def mode_name(self) -> Literal["GOVERNANCE", "COMPLIANCE"]:
        """As S3 names it."""
        return "GOVERNANCE" if self.mode == "governance" else "COMPLIANCE"


class Place(Protocol):
    """Files by name. Threads may share it."""

    def spool(self, trail: Path) -> Path:
        """Where a file is written before it is put here; what an interrupted run left is there."""

    def put(self, name: str, spooled: Path) -> None:
        """Keep the file durably under its name, unless there is one of that name; the spooled one
        is gone then. Raises `SegmentUnreachableError` and `StoreFullError`."""

    def read(self, segment: Segment, ranges: Sequence[Range]) -> list[bytes]:
        """These ranges. Raises `SegmentMissingError`, `SegmentDamagedError` where it is too short,
        and `SegmentUnreachableError`."""

    def fetch(self, segment: Segment) -> bytes:
        """All of it, from where it is kept and not from memory; of one that is too long, one byte
        more than it should have. Raises as `read` does."""

    def names(self) -> Iterator[tuple[str, int]]:
        """The segments there, and their sizes in bytes. Raises `SegmentUnreachableError`."""

    def remove(self, name: str) -> None:
        """Delete the segment durably, all versions of it; nothing happens where there is none.
        Raises `SegmentUnreachableError`, also while it is locked."""


class Folder:
    """A folder of this machine; segments in it are read-only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def spool(self, trail: Path) -> Path:
        with written(self._path):
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._path / f".{trail.name}.unfinished"

    def put(self, name: str, spooled: Path) -> None:
        path = self._path / name
        with written(self._path):
            if path.exists():
                spooled.unlink()
            else:
                spooled.chmod(0o400)
                spooled.rename(path)
            # The file was synced by who wrote it; its name is durable from here on.
            sync_directory(self._path)

    def read(self, segment: Segment, ranges: Sequence[Range]) -> list[bytes]:
        with self._open(segment) as fd:
            return [_exactly(segment, os.pread(fd, length, at), length) for at, length in ranges]

    def fetch(self, segment: Segment) -> bytes:
        with self._open(segment) as fd:
            # What was just written is to come from the disk.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            with open(fd, "rb", closefd=False) as file:
                return file.read(segment.length + 1)

    def names(self) -> Iterator[tuple[str, int]]:
        try:
            for path in sorted(self._path.glob("*.seg")):
                yield path.name, path.stat().st_size
        except OSError as error:
            raise SegmentUnreachableError(f"can't read {self._path}: {error.strerror}") from None

    def remove(self, name: str) -> None:
        try:
            (self._path / name).unlink(missing_ok=True)
            sync_directory(self._path)
        except OSError as error:
            raise SegmentUnreachableError(
                f"can't delete {self._path / name}: {error.strerror}"
            ) from None

    @contextlib.contextmanager
    def _open(self, segment: Segment) -> Iterator[int]:
        try:
            fd = os.open(self._path / segment.name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._path.is_dir():
                raise missing(segment) from None
            raise SegmentUnreachableError(
                f"expected the folder {self._path} with {segment}, there is none: is it mounted?"
            ) from None
        except OSError as error:
            raise unreachable(segment, error.strerror or str(error)) from None
        try:
            yield fd
        except OSError as error:
            raise unreachable(segment, error.strerror or str(error)) from None
        finally:
            os.close(fd)


class SegmentFiles:
    """The segments of one trail, wherever they are; every part is held against its hash."""

    def __init__(self, trail: Path) -> None:
        self._trail = trail
        self._places: dict[str, Place] = {}
        self._opening = threading.Lock()

    def at(self, place: str) -> Place:
        with self._opening:
            found = self._places.get(place)
            if found is None:
                found = self._places[place] = open_place(place, self._trail)
            return found

    def parts(self, wanted: Sequence[tuple[Segment, SealedBlock, int]]) -> list[bytes]:
        """The parts of blocks, by number: of each block in one range, from the first wanted to the
        last. Raises what `Place.read` does."""
        found: list[bytes] = [b""] * len(wanted)
        of_segment: dict[str, dict[int, list[int]]] = {}
        for number, (segment, block, _) in enumerate(wanted):
            blocks = of_segment.setdefault(segment.name, {})
            blocks.setdefault(block.offset, []).append(number)
        for blocks in of_segment.values():
            ranges = []
            for numbers in blocks.values():
                parts = [wanted[number][1].part(wanted[number][2]) for number in numbers]
                first = min(at for at, _ in parts)
                ranges.append((first, max(at + length for at, length in parts) - first))
            segment = wanted[next(iter(blocks.values()))[0]][0]
            read = self.at(segment.place).read(segment, ranges)
            for numbers, (first, _), raw in zip(blocks.values(), ranges, read, strict=True):
                for number in numbers:
                    _, block, which = wanted[number]
                    at, length = block.part(which)
                    part = raw[at - first : at - first + length]
                    _check_part(segment, block, which, part)
                    found[number] = part
        return found

    def block(self, segment: Segment, block: SealedBlock) -> list[bytes]:
        """All parts of a block. Raises what `Place.read` does."""
        (whole,) = self.at(segment.place).read(segment, [(block.offset, block.length)])
        return check_parts(segment, block, whole)

    def whole(self, segment: Segment) -> bytes:
        """All of a segment, which is what was sealed. Raises what `Place.fetch` does."""
        raw = self.at(segment.place).fetch(segment)
        if sha256(raw).digest() != segment.sha256:
            raise damaged(segment, f"it has {len(raw)} bytes with another hash")
        return raw


def open_place(place: str, trail: Path, lock: Lock | None = None) -> Place:
    """The place of this name, as the trail's file names it.

    Raises `ConfigurationError` where it needs what isn't installed, or a folder is to be locked.
    """
    if place.startswith(_S3):
        from indelible.store.place_s3 import Bucket

        bucket, _, prefix = place.removeprefix(_S3).partition("/")
        return Bucket(bucket, prefix.strip("/"), lock)
    if lock is not None:
        raise ConfigurationError(f"expected lock only with s3://bucket/prefix, got {place}")
    return Folder(trail.resolve().parent / place)


def name_of_place(sealed: str | Path, trail: Path) -> str:
    """How the trail's file names the place: a folder beside it by its relative path, so that both
    can be moved. Raises `ConfigurationError` for an address of anything but S3."""
    if str(sealed).startswith(_S3):
        return str(sealed).rstrip("/")
    if "://" in str(sealed):
        raise ConfigurationError(f"expected a folder or s3://bucket/prefix, got {sealed}")
    folder, beside = Path(sealed).resolve(), trail.resolve().parent
    return str(folder.relative_to(beside) if folder.is_relative_to(beside) else folder)


@contextlib.contextmanager
def written(where: Path) -> Iterator[None]:
    """Failures to write as ours."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in _NO_ROOM:
            raise StoreFullError(
                f"expected room in {where}: {why}; nothing is lost, what isn't sealed is still "
                "in the trail: make room and seal again"
            ) from None
        raise SegmentUnreachableError(
            f"can't write to {where}: {why}; nothing is lost, what isn't sealed is still in the "
            "trail"
        ) from None


def check_parts(segment: Segment, block: SealedBlock, whole: bytes) -> list[bytes]:
    """The parts of the block whose bytes these are. Raises `SegmentDamagedError`."""
    parts = block.parts(whole)
    for number, part in enumerate(parts):
        _check_part(segment, block, number, part)
    return parts


def missing(segment: Segment) -> SegmentMissingError:
    return SegmentMissingError(
        f"expected {segment}, there is none: what happened then can't be told until a copy is put "
        "there"
    )


def damaged(segment: Segment, why: str) -> SegmentDamagedError:
    return SegmentDamagedError(
        f"expected {segment}: {why}; what happened then can't be told until a whole copy is put "
        "there"
    )


def unreachable(segment: Segment, why: str) -> SegmentUnreachableError:
    return SegmentUnreachableError(f"can't read {segment}: {why}")


def _check_part(segment: Segment, block: SealedBlock, number: int, part: bytes) -> None:
    if not block.is_whole(number, part):
        raise damaged(segment, f"it is damaged near byte {block.part(number)[0]}")


def _exactly(segment: Segment, got: bytes, length: int) -> bytes:
    if len(got) != length:
        raise damaged(segment, "it ends too early")
    return got
