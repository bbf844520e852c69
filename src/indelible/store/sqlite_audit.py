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

from indelible.store.blocks import (
    BLOCK_ENTRIES,
    decode_bodies,
    decode_stems,
    split_salts,
)
from indelible.store.errors import MalformedBlockError
from indelible.store.index import decode_page
from indelible.store.protocol import WitnessRow
from indelible.store.ranges import Range, unpack_ranges
from indelible.store.sqlite_file import open_connection, statements, store_errors
from indelible.store.sqlite_reader import find_index, read_witnesses, tile_key, unpack_bodies
from indelible.tlog import HASH_BYTES, Hash, Index, Size, Tile


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
        yield SqliteAudit(connection)


class SqliteAudit:
    """See `audit_trail`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sql = statements()

    def trail(self) -> TrailRow:
        rows = self._connection.execute(self._sql["trail"]).fetchall()
        if len(rows) != 1 or len(rows[0][4]) != HASH_BYTES:
            raise MalformedBlockError("expected the trail's own row, with a root of 32 bytes")
        return TrailRow(*rows[0])

    def blocks(self, first: int) -> Iterator[BlockRow]:
        """Every block from number `first` on, in order, whatever their numbers are."""
        query = self._sql["blocks_from"]
        for row in self._connection.execute(query, (first,)):
            count = row[1]
            if not 0 < count <= BLOCK_ENTRIES:
                raise MalformedBlockError(
                    f"block {row[0]}: expected 1 to {BLOCK_ENTRIES} entries, came {count}"
                )
            yield BlockRow(
                row[0],
                row[2],
                row[3],
                int.from_bytes(row[4], "little") if row[4] is not None else 0,
                decode_stems(row[5], count),
                split_salts(row[6], count),
                decode_bodies(row[0], row[7:], count),
            )

    def read_tile(self, tile: Tile) -> bytes:
        row = self._connection.execute(self._sql["tile"], (tile_key(tile),)).fetchone()
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

    def _number(self, name: str, *arguments: int) -> int:
        number: int = self._connection.execute(self._sql[name], arguments).fetchone()[0]
        return number


def _from(first: int) -> tuple[int]:
    """The bound of a query from `first` on: from 0 that is everything, negative strays too."""
    return (first or -(1 << 63),)
