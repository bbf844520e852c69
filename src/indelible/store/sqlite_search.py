"""Finding entries in SQLite: the runs of the index in order, then only the frames that hold a hit.

Runs that were merged change only when their entries are sealed, and then what they find doesn't: so
they are read at leisure, some at a time, each from where the one before ended. The few younger ones
may be merged at any moment: they are read at once, when the search begins. A frame that was sealed
is read from its segment, which is there before the frame is gone from here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import groupby
from typing import Any, Final, NamedTuple

import zstandard

from indelible.events.model import Timestamp
from indelible.store.blocks import BLOCK_ENTRIES, FRAME_ENTRIES, FRAMES, pick_bodies
from indelible.store.errors import MalformedBlockError, SegmentMissingError
from indelible.store.index import MERGED_REFS, find_in_page, pages_with
from indelible.store.places import SegmentFiles
from indelible.store.protocol import StoredEntry
from indelible.store.segment import SealedBlock, Segment
from indelible.store.sqlite_file import ReadConnections, statements
from indelible.tlog import Index

_RUNS_A_STEP: Final = 64
_HITS_A_STEP: Final = 4_096
"""From so many hits on, no further run is read before they are handed out."""
_FRAMES_A_STEP: Final = 8
"""Frames read in one transaction."""
_BLOCKS_A_STEP: Final = 64
"""Blocks whose times are looked at in one transaction."""


class _Frame(NamedTuple):
    """Some entries of one frame, still compressed; `sealed` where it is still to be fetched."""

    data: bytes
    sealed: tuple[Segment, SealedBlock, int] | None
    indexes: Sequence[int]
    received: Sequence[str]
    doubtful: bytes | None


class Search:
    """One reading of the trail, within a window: by terms, or of all entries of a range.

    Indexes given are those of entries that exist; `known` ones are left out, unread, and so are
    those whose bodies were dropped. Not for two threads at once.
    """

    def __init__(
        self,
        connections: ReadConnections,
        segments: SegmentFiles,
        window: tuple[str, str],
        *,
        newest_first: bool = False,
        known: Set[int] = frozenset(),
    ) -> None:
        self._connections = connections
        self._segments = segments
        self._since, self._until = window
        self._newest_first = newest_first
        self._known = known
        self._sql = statements()
        self._decompressor = zstandard.ZstdDecompressor()
        self._batch: tuple[int, int, str] = (0, -1, "")

    def find(self, term_hashes: Iterable[int]) -> Iterator[StoredEntry]:
        """Each entry that has one of these, and those that no run of the index covers yet."""
        hashes = sorted(set(term_hashes))
        with self._connections.snapshot() as connection:
            size = connection.execute(self._sql["size"]).fetchone()[0]
            indexed = connection.execute(self._sql["indexed"]).fetchone()[0]
            settled, young = self._young_hits(connection, hashes)
        if self._newest_first:
            yield from self.scan(indexed, size - 1)
            yield from self._read(young[::-1])
            yield from self._find_settled(hashes, settled)
        else:
            yield from self._find_settled(hashes, settled)
            yield from self._read(young)
            yield from self.scan(indexed, size - 1)

    def scan(self, first: int, last: int) -> Iterator[StoredEntry]:
        """The entries `first` to `last` whose block may reach into the window."""
        low, high = first // BLOCK_ENTRIES, last // BLOCK_ENTRIES
        query = self._sql["blocks_in_newest_first" if self._newest_first else "blocks_in"]
        while first <= last and low <= high:
            bounds = (low, high, self._since, self._until, _BLOCKS_A_STEP)
            with self._connections.snapshot() as connection:
                numbers = [row[0] for row in connection.execute(query, bounds)]
            for n in numbers:
                start = n * BLOCK_ENTRIES
                span = range(max(first, start), min(last, start + BLOCK_ENTRIES - 1) + 1)
                wanted = [index for index in span if index not in self._known]
                yield from self._read(wanted[::-1] if self._newest_first else wanted)
            if len(numbers) < _BLOCKS_A_STEP:
                return
            low, high = (low, numbers[-1] - 1) if self._newest_first else (numbers[-1] + 1, high)

    # -- the index ------------------------------------------------------------------------------

    def _young_hits(
        self, connection: sqlite3.Connection, hashes: Sequence[int]
    ) -> tuple[int, list[int]]:
        """The last entry of the last run that was merged (-1: none), and the hits in those after
        it, in order."""
        found: set[int] = set()
        settled = -1
        for run, first, last, refs, directory in connection.execute(self._sql["runs_newest_first"]):
            if refs >= MERGED_REFS:
                settled = last
                break
            found.update(self._hits_in(connection, hashes, run, first, directory))
        return settled, sorted(found)

    def _find_settled(self, hashes: Sequence[int], settled: int) -> Iterator[StoredEntry]:
        """What the runs have of the entries up to `settled`."""
        query = self._sql["runs_in_newest_first" if self._newest_first else "runs_in"]
        low, high = 0, settled
        while low <= high:
            hits: list[int] = []
            with self._connections.snapshot() as connection:
                bounds = (low, high, self._since, self._until, _RUNS_A_STEP)
                runs = 0
                for run, first, last, directory in connection.execute(query, bounds):
                    found = self._hits_in(connection, hashes, run, first, directory)
                    hits += sorted(
                        (hit for hit in found if low <= hit <= high), reverse=self._newest_first
                    )
                    low, high = (low, first - 1) if self._newest_first else (last + 1, high)
                    runs += 1
                    if len(hits) >= _HITS_A_STEP:
                        break
            yield from self._read(hits)
            if runs < _RUNS_A_STEP and len(hits) < _HITS_A_STEP:
                return

    def _hits_in(
        self,
        connection: sqlite3.Connection,
        hashes: Sequence[int],
        run: int,
        first: int,
        directory: bytes,
    ) -> set[int]:
        found: set[int] = set()
        for page, some in pages_with(directory, hashes):
            row = connection.execute(self._sql["page"], (run << 16 | page,)).fetchone()
            if row is None:
                raise MalformedBlockError(f"expected page {page} of the index's run {run}: no page")
            distances = find_in_page(row[0], some, self._decompressor)
            found.update([first + distance for distance in distances])
        return found - self._known

    # -- the entries ----------------------------------------------------------------------------

    def _read(self, indexes: Sequence[int]) -> Iterator[StoredEntry]:
        """Those of these entries, in their order, whose block reaches into the window."""
        wanted = [
            (number, list(group))
            for number, group in groupby(indexes, lambda index: index // FRAME_ENTRIES)
        ]
        for at in range(0, len(wanted), _FRAMES_A_STEP):
            some = wanted[at : at + _FRAMES_A_STEP]
            try:
                frames = self._fetched(some)
            except SegmentMissingError:
                # One that retention wrote anew is no longer where it was a moment ago.
                frames = self._fetched(some)
            for frame in frames:
                yield from self._entries_of(frame)

    def _fetched(self, wanted: Sequence[tuple[int, Sequence[int]]]) -> list[_Frame]:
        """Those of these frames that there are, with their data."""
        with self._connections.snapshot() as connection:
            found = [self._frame(connection, number, indexes) for number, indexes in wanted]
        frames = [frame for frame in found if frame is not None]
        sealed = [frame.sealed for frame in frames if frame.sealed]
        parts = iter(self._segments.parts(sealed)) if sealed else iter(())
        return [frame._replace(data=next(parts)) if frame.sealed else frame for frame in frames]

    def _frame(
        self, connection: sqlite3.Connection, number: int, indexes: Sequence[int]
    ) -> _Frame | None:
        n, at = divmod(number, FRAMES)
        row = connection.execute(self._sql["frame"], (at, n, self._since, self._until)).fetchone()
        if row is not None and row[2]:
            return None  # all of it is outside of the window
        if row is None or (row[0] is None and row[3] is None):
            raise MalformedBlockError(f"expected entry {indexes[0]} in block {n}, it isn't there")
        received = [self._received(connection, index) for index in indexes]
        if row[3] is None:
            return _Frame(row[0], None, indexes, received, row[1])
        sealed = (segment_of(connection, n), SealedBlock.unpack(row[3]), at)
        return _Frame(b"", sealed, indexes, received, row[1])

    def _received(self, connection: sqlite3.Connection, index: int) -> str:
        """The time of the batch that the entry came in."""
        first, last, time = self._batch
        if not first <= index <= last:
            row = connection.execute(self._sql["batch_of"], (index,)).fetchone()
            if row is None or row[1] < index:
                raise MalformedBlockError(f"expected a batch that holds entry {index}")
            self._batch = (_, _, time) = row
        return time

    def _entries_of(self, frame: _Frame) -> Iterator[StoredEntry]:
        places = [index % FRAME_ENTRIES for index in frame.indexes]
        bodies = pick_bodies(frame.data, places, self._decompressor)
        for index, body, received in zip(frame.indexes, bodies, frame.received, strict=True):
            if not body:
                continue
            at = index % BLOCK_ENTRIES
            doubtful = frame.doubtful is not None and bool(frame.doubtful[at >> 3] >> (at & 7) & 1)
            yield StoredEntry(Index(index), body, Timestamp(received), doubtful)


def segment_of(connection: sqlite3.Connection, n: int) -> Segment:
    """The segment that holds the sealed block `n`. Raises `MalformedBlockError`."""
    row = connection.execute(statements()["segment_of"], (n * BLOCK_ENTRIES,)).fetchone()
    if row is None or row[1] < n * BLOCK_ENTRIES:
        raise MalformedBlockError(f"expected a segment that holds block {n}, there is none")
    return segment_from(row)


def segment_from(row: Sequence[Any]) -> Segment:
    """A row of `segments`."""
    first, last, place, name, size, digest, since, until, sealed_at = row
    return Segment(
        first=first,
        last=last,
        place=place,
        name=name,
        length=size,
        sha256=digest,
        since=since,
        until=until,
        sealed_at=sealed_at,
    )
