"""The raw rows of a trail, for who checks them against each other, in one snapshot.

Nothing here is believed: what can't even be decoded raises `MalformedBlockError`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from indelible.errors import StoreBusyError
from indelible.store.blocks import (
    BLOCK_ENTRIES,
    decode_bodies,
    decode_stems,
    split_salts,
)
from indelible.store.errors import MalformedBlockError, SegmentMissingError
from indelible.store.index import decode_page
from indelible.store.places import SegmentFiles, check_parts, damaged
from indelible.store.protocol import WitnessRow
from indelible.store.ranges import Range, unpack_ranges
from indelible.store.segment import (
    BlockTimes,
    SealedBlock,
    Segment,
    decode_parts,
    format_end,
    format_header,
    leaves_of,
)
from indelible.store.sqlite_file import open_connection, statements, store_errors
from indelible.store.sqlite_reader import find_index, read_witnesses, tile_key, unpack_bodies
from indelible.store.sqlite_search import segment_from, segment_of
from indelible.tlog import FULL_WIDTH, HASH_BYTES, Hash, Index, Size, Tile


class TrailRow(NamedTuple):
    """What the trail says of itself."""

    origin: str
    vkey: str
    source_id: str
    size: Size
    root: Hash
    checkpoint: bytes | None


class BlockRow(NamedTuple):
    """A block, decoded."""

    n: int
    min_time: str
    max_time: str
    doubtful: int
    stems: list[bytes]
    salts: list[bytes]
    bodies: list[bytes]


class RunRow(msgspec.Struct, frozen=True):
    """A run of the index, without its pages."""

    id: int
    first: int
    last: int
    refs: int
    min_time: str
    max_time: str
    directory: bytes


@contextlib.contextmanager
def audit_trail(path: Path) -> Iterator[SqliteAudit]:
    """The rows of the trail at `path`, of one moment; for one thread.

    The snapshot is held to the end, so the file's write-ahead log grows meanwhile. Raises
    `NoTrailError` and `TrailFormatError`.
    """
    with contextlib.closing(open_connection(path)) as connection, store_errors(path):
        connection.execute("BEGIN")
        yield SqliteAudit(connection, path)


class SqliteAudit:
    """See `audit_trail`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._segments = SegmentFiles(path)
        self._sql = statements()

    def trail(self) -> TrailRow:
        rows = self._connection.execute(self._sql["trail"]).fetchall()
        if len(rows) != 1 or len(rows[0][4]) != HASH_BYTES:
            raise MalformedBlockError("expected the trail's own row, with a root of 32 bytes")
        return TrailRow(*rows[0])

    def blocks(self, first: int) -> Iterator[BlockRow]:
        """Every block from number `first` on, in order, whatever their numbers are."""
        query = self._sql["blocks_from"]
        reading: tuple[Segment, bytes] | None = None
        for row in self._connection.execute(query, (first,)):
            count = row[1]
            if not 0 < count <= BLOCK_ENTRIES:
                raise MalformedBlockError(
                    f"block {row[0]}: expected 1 to {BLOCK_ENTRIES} entries, came {count}"
                )
            if row[11] is None:
                stems, salts = decode_stems(row[5], count), split_salts(row[6], count)
                bodies = decode_bodies(row[0], row[7:11], count)
            else:
                if count != BLOCK_ENTRIES:
                    raise MalformedBlockError(f"block {row[0]}: expected a sealed one to be whole")
                if reading is None or row[0] * BLOCK_ENTRIES > reading[0].last:
                    segment = segment_of(self._connection, row[0])
                    reading = (segment, self._check_segment(segment))
                stems, salts, bodies = decode_parts(_parts(*reading, SealedBlock.unpack(row[11])))
            yield BlockRow(
                row[0],
                row[2],
                row[3],
                int.from_bytes(row[4], "little") if row[4] is not None else 0,
                stems,
                salts,
                bodies,
            )

    def segments(self) -> Iterator[Segment]:
        """Every segment, in order."""
        for row in self._connection.execute(self._sql["segments"]):
            yield segment_from(row)

    def _check_segment(self, segment: Segment) -> bytes:
        """All of its file, which is what sealing writes of the rows that are kept here."""
        raw = self._whole(segment)
        first, last = segment.first // BLOCK_ENTRIES, segment.last // BLOCK_ENTRIES
        blocks = []
        for n in range(first, last + 1):
            row = self._connection.execute(self._sql["block"], (n,)).fetchone()
            if row is None or row[11] is None:
                raise MalformedBlockError(f"expected block {n} in {segment}, it isn't sealed")
            above = self.read_tile(Tile(1, n // FULL_WIDTH, n % FULL_WIDTH + 1))
            block_times = BlockTimes(row[2], row[3], row[4], Hash(above[-HASH_BYTES:]))
            blocks.append((SealedBlock.unpack(row[11]), block_times))
        times = (min(each.since for _, each in blocks), max(each.until for _, each in blocks))
        if (segment.since, segment.until) != times or segment.length != len(raw):
            raise MalformedBlockError(
                f"expected what is said of {segment} to be what its blocks are"
            )
        run = self._connection.execute(self._sql["run_from"], (segment.first,)).fetchone()
        if run is None or run[1] != segment.last:
            raise MalformedBlockError(f"expected a run of the index for {segment}")
        bounds = (run[0] << 16, (run[0] << 16) + 0xFFFF)
        pages = [page for (page,) in self._connection.execute(self._sql["pages_of_run"], bounds)]
        origin = self.trail().origin
        at = blocks[-1][0].offset + blocks[-1][0].length
        if raw[: blocks[0][0].offset] != format_header(origin, segment.first, segment.last):
            raise damaged(segment, "its beginning isn't that of these entries")
        if raw[at:] != format_end(at, blocks, pages):
            raise damaged(segment, "its index or directory isn't what the trail's file has")
        return raw

    def _whole(self, segment: Segment) -> bytes:
        """Raises `StoreBusyError` where retention has written it anew since this snapshot."""
        try:
            return self._segments.whole(segment)
        except SegmentMissingError:
            with contextlib.closing(open_connection(self._path)) as now:
                found = segment_of(now, segment.first // BLOCK_ENTRIES)
            if found.name == segment.name:
                raise
            raise StoreBusyError(
                f"expected {segment}, retention wrote it anew meanwhile: run it again"
            ) from None

    def read_tile(self, tile: Tile) -> bytes:
        row = self._connection.execute(self._sql["tile"], (tile_key(tile),)).fetchone()
        if row is None and tile.level == 0 and (found := self._sealed_leaves(tile.n)):
            return found[: tile.width * HASH_BYTES]
        if row is None:
            raise MalformedBlockError(f"expected tile {tile.level}/{tile.n}, there is none")
        hashes: bytes = row[0]
        return hashes[: tile.width * HASH_BYTES]

    def tiles(self, level: int, first: int) -> Iterator[tuple[int, int]]:
        """(n, length in bytes) of every tile of a level that is stored, from number `first` on."""
        bounds = (tile_key(Tile(level, first)), tile_key(Tile(level + 1, 0)) - 1)
        for key, length in self._connection.execute(self._sql["tile_lengths"], bounds):
            yield key & (1 << 48) - 1, length

    def count_tiles_beyond(self, levels: int) -> int:
        """Tiles of no level below `levels`."""
        return self._number("tiles_beyond", tile_key(Tile(levels, 0)))

    def runs(self) -> Iterator[RunRow]:
        for row in self._connection.execute(self._sql["runs"]):
            yield RunRow(*row)

    def references(self, run: RunRow) -> tuple[list[int], list[int]]:
        """All references of a run, and the first hash of each page."""
        refs: list[int] = []
        firsts: list[int] = []
        bounds = (run.id << 16, (run.id << 16) + 0xFFFF)
        for (data,) in self._connection.execute(self._sql["pages_of_run"], bounds):
            page = decode_page(data)
            if page:
                firsts.append(page[0] >> 32)
            refs += page
        return refs, firsts

    def count_stray_pages(self, first_run: int) -> int:
        """Pages that belong to no run, behind those of the runs before `first_run`."""
        return self._number("stray_pages", *_from(first_run << 16))

    def witnesses(self) -> tuple[WitnessRow, ...]:
        return read_witnesses(self._connection, self._sql["witnesses"])

    def batches(self, first: int) -> Iterator[tuple[int, int, str]]:
        """(first, last, time) of the batches from the one that holds the entry at `first` on."""
        # Not `yield from`: that would close the cursor after its connection.
        for row in self._connection.execute(self._sql["all_batches"], _from(first)):  # noqa: UP028
            yield row

    def sources(self) -> dict[tuple[str, int], tuple[tuple[Range, ...], str, str]]:
        """(ranges, last claimed time, greatest undoubted time) of every source."""
        return {
            (row[0], row[1]): (unpack_ranges(row[2]), row[3], row[4])
            for row in self._connection.execute(self._sql["audit_sources"])
        }

    def find_index(self, producer: str, epoch: int, seq: int) -> Index | None:
        return find_index(self._connection, producer, epoch, seq)

    def count_positions(self) -> int:
        """How many positions have an index."""
        return self._number("count_positions")

    def conflicts(self, first: int) -> dict[int, tuple[str, int, int]]:
        """index -> (producer, epoch, seq), from index `first` on."""
        rows = self._connection.execute(self._sql["conflicts"], _from(first))
        return {row[0]: row[1:] for row in rows}

    def gaps(self, first: int) -> dict[int, tuple[str, int, int, int]]:
        rows = self._connection.execute(self._sql["all_gaps"], _from(first))
        return {row[0]: row[1:] for row in rows}

    def quarantined(self, first: int) -> Iterator[tuple[int, str, int, int, tuple[bytes, ...]]]:
        """(index, producer, epoch, seq, bodies), from index `first` on."""
        for row in self._connection.execute(self._sql["all_quarantined"], _from(first)):
            yield (*row[:4], unpack_bodies(row[4]))

    def count_quarantined(self) -> int:
        return self._number("count_quarantined")

    def notices(self) -> dict[int, int | None]:
        """index -> entry of its acknowledgement."""
        return dict(self._connection.execute(self._sql["all_notices"]).fetchall())

    def _sealed_leaves(self, n: int) -> bytes:
        """The leaves of a sealed block, of which no tile is kept; none for another."""
        row = self._connection.execute(self._sql["block"], (n,)).fetchone()
        if row is None or row[11] is None:
            return b""
        segment = segment_of(self._connection, n)
        return b"".join(leaves_of(self._segments.block(segment, SealedBlock.unpack(row[11]))))

    def _number(self, name: str, *arguments: int) -> int:
        number: int = self._connection.execute(self._sql[name], arguments).fetchone()[0]
        return number


def _from(first: int) -> tuple[int]:
    """The bound of a query from `first` on: from 0 that is everything, negative strays too."""
    return (first or -(1 << 63),)


def _parts(segment: Segment, raw: bytes, block: SealedBlock) -> list[bytes]:
    return check_parts(segment, block, raw[block.offset : block.offset + block.length])
