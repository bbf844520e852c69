"""Log files that another program writes, rotates and deletes, read once and in their order.

A file is known by its first line, not by its name or number: renamed, copied or compressed away it
stays the same, and one that begins otherwise is another. What was gone before it was read is told.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

_FIRST_LINE: Final = 4_096
_BLOCK: Final = 1 << 18
_LONGEST: Final = 1 << 26
_LOOKAHEAD: Final = 2_048
_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4")


class Place(msgspec.Struct):
    """How far one file was read. `is_done`: it was read to its end, and a newer one is there.
    `is_missed`: the last look didn't find it."""

    name: str
    offset: int = 0
    is_done: bool = False
    is_missed: bool = False


class Lost(NamedTuple):
    """What is gone of a file, perhaps, from `offset` on."""

    name: str
    offset: int
    why: str


class Records(NamedTuple):
    """Whole records that follow each other, and whose file they are of."""

    file: str
    begin: int
    records: tuple[bytes, ...]


class LogFiles:
    """The files of one pattern. `places` are by the hash of the first line, and change with what
    is read; whoever keeps them keeps how far it is."""

    def __init__(self, pattern: str, is_quoted: Callable[[bytes], bool]) -> None:
        """The last part of `pattern` may have wildcards. `is_quoted` says of a file's beginning
        whether line ends between quotes end nothing."""
        self._pattern = Path(pattern)
        self._is_quoted = is_quoted

    def look(self, places: dict[str, Place]) -> tuple[list[Lost], str | None]:
        """What was lost since the last look, and the key of the file that is to be read next; new
        files get a place. Raises `OSError` where one can't be read."""
        lost: list[Lost] = []
        found: dict[str, int] = {}
        try:
            for path in self._paths():
                key, size = _identity(path)
                if key is not None:
                    place = places.setdefault(key, Place(str(path)))
                    if size >= found.get(key, 0):
                        place.name = str(path)
                        found[key] = size
        except FileNotFoundError:
            return [], None  # it is being renamed just now
        for key in places.keys() - found.keys():
            # The second time: a list that is read during a renaming may have neither name.
            place = places[key]
            if place.is_missed:
                del places[key]
                if not place.is_done:
                    lost.append(Lost(place.name, place.offset, "is gone"))
            place.is_missed = True
        for key, size in found.items():
            place = places[key]
            place.is_missed = False
            if size < place.offset:
                lost.append(Lost(place.name, size, "was cut"))
                place.offset = size
        unread = [key for key, size in found.items() if size > places[key].offset]
        newest = list(found)[-1:]
        for key in found:
            places[key].is_done = key not in unread and key not in newest
        return lost, unread[0] if unread else None

    def read(self, place: Place) -> Records | None:
        """The next records of a file, not moving on; None where there is no whole one.

        One that is longer than 64 MB is passed over: then there are none in `Records`, and `begin`
        is behind it.
        """
        with Path(place.name).open("rb") as file:
            is_quoted = self._is_quoted(file.read(1))
            size = _BLOCK
            while True:
                file.seek(place.offset)
                block = file.read(size)
                records = _split(block, is_quoted)
                if records or len(block) < size or size >= _LONGEST:
                    break
                size *= 4
            if records:
                if len(block) == size:
                    # What a record means may hang on those behind it.
                    records = _without_last(records)
                return Records(place.name, place.offset, tuple(records))
            if len(block) < size:
                return None
            end = _end_of_record(file.read, block, is_quoted)
            return None if end is None else Records(place.name, place.offset + end, ())

    def _paths(self) -> Sequence[Path]:
        """Those that were written to first come first."""
        return sorted(
            (
                path
                for path in self._pattern.parent.glob(self._pattern.name)
                if path.suffix not in _COMPRESSED and path.is_file()
            ),
            key=lambda path: (path.stat().st_mtime_ns, path.name),
        )


def _identity(path: Path) -> tuple[str | None, int]:
    """By what a file is known, None while it hasn't a whole line, and its size."""
    with path.open("rb") as file:
        first = file.readline(_FIRST_LINE)
        size = os.fstat(file.fileno()).st_size
    if not first.endswith(b"\n") and len(first) < _FIRST_LINE:
        return None, size
    return hashlib.sha256(first).hexdigest(), size


def _ends(block: bytes, quotes: int, is_quoted: bool) -> Iterator[int]:
    """Behind which places records end, where `quotes` stood before the block."""
    at = 0
    while (end := block.find(b"\n", at)) >= 0:
        quotes += is_quoted and block.count(b'"', at, end)
        at = end + 1
        if quotes % 2 == 0:
            yield at
            continue
        at = block.find(b'"', at)
        if at < 0:
            return


def _split(block: bytes, is_quoted: bool) -> list[bytes]:
    """The whole records of a block that begins with one."""
    places = [0, *_ends(block, 0, is_quoted)]
    return [block[begin:end] for begin, end in itertools.pairwise(places)]


def _end_of_record(read: Callable[[int], bytes], begun: bytes, is_quoted: bool) -> int | None:
    """How long the record is that begins with `begun`, whose rest `read` gives."""
    length, quotes = len(begun), begun.count(b'"')
    while block := read(_BLOCK):
        for end in _ends(block, quotes, is_quoted):
            return length + end
        quotes += block.count(b'"')
        length += len(block)
    return None


def _without_last(records: list[bytes]) -> list[bytes]:
    kept = len(records)
    behind = 0
    while kept > 1 and behind < _LOOKAHEAD:
        kept -= 1
        behind += len(records[kept])
    return records[:kept]
