"""Writing a segment from the rows of a trail's file, in one snapshot."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence, Set
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from indelible.events.codec import decode_event
from indelible.events.model import Timestamp
from indelible.store.blocks import BLOCK_ENTRIES, decode_bodies
from indelible.store.errors import MalformedBlockError
from indelible.store.index import Page, decode_page, encode_sealed_pages, references
from indelible.store.places import Place, written
from indelible.store.segment import (
    BlockTimes,
    SealedBlock,
    Segment,
    format_block,
    format_end,
    format_header,
    segment_name,
)
from indelible.store.sqlite_file import statements, store_errors
from indelible.store.sqlite_reader import tile_key
from indelible.store.terms import term_hashes_of
from indelible.tlog import FULL_WIDTH, HASH_BYTES, Hash, Tile

_SPOOL: Final = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC


Parts = Callable[[int], tuple[Sequence[bytes], bytes, bytes]]
"""A block's frames, stems and salts, as they are written."""


class WrittenSegment(NamedTuple):
    """A segment that is at its place, and what of it goes into the trail's file."""

    segment: Segment
    blocks: list[tuple[SealedBlock, BlockTimes]]
    pages: list[Page]
    refs: int


class SegmentWriter:
    """Writes segments of one trail to one place."""

    def __init__(
        self, trail: Path, place: Place, place_name: str, clock: Callable[[], Timestamp]
    ) -> None:
        self._trail = trail
        self._place = place
        self._place_name = place_name
        self._clock = clock
        self._sql = statements()

    # -- writing --------------------------------------------------------------------------------

    def write(
        self,
        connection: sqlite3.Connection,
        origin: str,
        first: int,
        last: int,
        parts: Parts | None = None,
        gone: Set[int] = frozenset(),
    ) -> WrittenSegment:
        """The blocks `first` to `last` as a segment at its place, durably.

        Those that are sealed already are written as `parts` gives them, and without the index's
        references to entries at `gone` distances from the first. Raises `StoreFullError`,
        `SegmentUnreachableError`, and `MalformedBlockError` where the rows aren't whole: then there
        is none.
        """
        path = self._place.spool(self._trail)
        entries = (first * BLOCK_ENTRIES, (last + 1) * BLOCK_ENTRIES - 1)
        try:
            with (
                written(path),
                open(os.open(path, _SPOOL, 0o600), "wb") as file,  # noqa: PTH123
                store_errors(self._trail),
            ):
                connection.execute("BEGIN")
                try:
                    out = _Hashed(file)
                    out.write(format_header(origin, *entries))
                    blocks = [
                        self._write_block(connection, n, out, parts) for n in range(first, last + 1)
                    ]
                    refs = self._references(connection, *entries)
                    if gone:
                        refs = [ref for ref in refs if ref & 0xFFFFFFFF not in gone]
                    pages = encode_sealed_pages(refs)
                    out.write(format_end(out.size, blocks, [page.data for page in pages]))
                finally:
                    connection.execute("ROLLBACK")
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        digest = out.digest
        segment = Segment(
            first=entries[0],
            last=entries[1],
            place=self._place_name,
            name=segment_name(*entries, digest),
            length=out.size,
            sha256=digest,
            since=Timestamp(min(times.since for _, times in blocks)),
            until=Timestamp(max(times.until for _, times in blocks)),
            sealed_at=self._clock(),
        )
        self._place.put(segment.name, path)
        return WrittenSegment(segment, blocks, pages, len(refs))

    def _write_block(
        self, connection: sqlite3.Connection, n: int, out: _Hashed, parts: Parts | None
    ) -> tuple[SealedBlock, BlockTimes]:
        row = connection.execute(self._sql["block"], (n,)).fetchone()
        is_sealed = row is not None and row[11] is not None
        if row is None or row[1] != BLOCK_ENTRIES or is_sealed != (parts is not None):
            raise MalformedBlockError(f"expected block {n}, whole and not sealed yet")
        frames, stems, salts = (row[7:11], row[5], row[6]) if parts is None else parts(n)
        raw, block = format_block(out.size, frames, stems, salts)
        out.write(raw)
        return block, BlockTimes(row[2], row[3], row[4], self._root(connection, n))

    def _root(self, connection: sqlite3.Connection, n: int) -> Hash:
        """What the tree says of block `n`: the hash of its tile of level 0."""
        above, at = divmod(n, FULL_WIDTH)
        row = connection.execute(
            self._sql["tile"], (tile_key(Tile(1, above, FULL_WIDTH)),)
        ).fetchone()
        root = b"" if row is None else row[0][at * HASH_BYTES : (at + 1) * HASH_BYTES]
        if len(root) != HASH_BYTES:
            raise MalformedBlockError(f"expected the hash of block {n} in the tree, there is none")
        return Hash(root)

    def _references(self, connection: sqlite3.Connection, first: int, last: int) -> list[int]:
        """The index's references to these entries, counted from `first`, sorted."""
        refs: list[int] = []
        covered = first
        for run in connection.execute(self._sql["runs_over"], (first, last)).fetchall():
            if run[1] != covered:
                raise MalformedBlockError(
                    f"expected a run of the index from entry {covered}, there is one from {run[1]}"
                )
            shift = run[1] - first
            some = references_of(connection, run[0])
            if run[2] > last:
                some = [ref for ref in some if ref & 0xFFFFFFFF <= last - run[1]]
            refs += [ref + shift for ref in some] if shift else some
            covered = run[2] + 1
        for n in range(covered // BLOCK_ENTRIES, last // BLOCK_ENTRIES + 1):
            # Entries that no run covers yet.
            row = connection.execute(self._sql["block"], (n,)).fetchone()
            for index, body in enumerate(decode_bodies(n, row[7:11], row[1]), n * BLOCK_ENTRIES):
                if index >= covered:
                    refs += references(term_hashes_of(decode_event(body)), index - first)
        refs.sort()
        return refs


def references_of(connection: sqlite3.Connection, run: int) -> list[int]:
    """All references of a run of the index."""
    bounds = (run << 16, (run << 16) + 0xFFFF)
    rows = connection.execute(statements()["pages_of_run"], bounds)
    return [ref for (data,) in rows for ref in decode_page(data)]


class _Hashed:
    """A file that is written from its beginning, its size and its hash."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = sha256()
        self.size = 0

    def write(self, raw: bytes) -> None:
        self._file.write(raw)
        self._hash.update(raw)
        self.size += len(raw)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()
