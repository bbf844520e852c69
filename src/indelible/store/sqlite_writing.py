"""The two costly parts of an append: blocks, and runs of the index.

Both remember the end of the trail, so that appending doesn't read it again; after anything failed
they are thrown away, and a new one reads what is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from indelible.events.codec import decode_event
from indelible.store.blocks import (
    BLOCK_ENTRIES,
    FRAME_ENTRIES,
    FRAMES,
    decode_lines,
    decode_stems,
    encode_frame,
    encode_stems,
    split_salts,
)
from indelible.store.index import (
    MERGED_REFS,
    RUN_REFS,
    decode_page,
    encode_directory,
    encode_pages,
    references,
)
from indelible.store.protocol import Append, NewEntry
from indelible.store.sqlite_file import statements
from indelible.store.terms import term_hashes_of


class _Tail:
    """The entries of a block that isn't full."""

    def __init__(self) -> None:
        self.stems: list[bytes] = []
        self.salts: list[bytes] = []
        self.bodies: list[bytes] = []
        self.frames: list[bytes | None] = [None] * FRAMES
        self.min_time = "~"
        self.max_time = ""
        self.doubtful = 0

    def add(self, entry: NewEntry, received: str) -> None:
        if entry.doubtful:
            self.doubtful |= 1 << len(self.bodies)
        self.stems.append(entry.stem)
        self.salts.append(entry.salt)
        self.bodies.append(entry.body)
        if entry.time < self.min_time:
            self.min_time = entry.time
        if entry.time > self.max_time:
            self.max_time = entry.time
        self.min_time = min(self.min_time, received)
        self.max_time = max(self.max_time, received)


class BlockWriter:
    """Writes entries behind the last one."""

    def __init__(self) -> None:
        self._tail: _Tail | None = None

    def write(self, connection: sqlite3.Connection, batch: Append) -> None:
        n, count = divmod(batch.first, BLOCK_ENTRIES)
        tail = self._tail if self._tail is not None else _read_tail(connection, n, count)
        changed_from = count
        for entry in batch.entries:
            tail.add(entry, batch.time)
            if len(tail.bodies) == BLOCK_ENTRIES:
                _put(connection, n, tail, changed_from)
                tail, n, changed_from = _Tail(), n + 1, 0
        if len(tail.bodies) > changed_from:
            _put(connection, n, tail, changed_from)
        self._tail = tail


def _put(connection: sqlite3.Connection, n: int, tail: _Tail, changed_from: int) -> None:
    for frame in range(changed_from // FRAME_ENTRIES, FRAMES):
        first = frame * FRAME_ENTRIES
        tail.frames[frame] = encode_frame(tail.bodies[first : first + FRAME_ENTRIES])
    doubtful = tail.doubtful.to_bytes(BLOCK_ENTRIES // 8, "little") if tail.doubtful else None
    connection.execute(
        statements()["put_block"],
        (
            n,
            len(tail.bodies),
            tail.min_time,
            tail.max_time,
            doubtful,
            encode_stems(tail.stems),
            b"".join(tail.salts),
            *tail.frames,
        ),
    )


def _read_tail(connection: sqlite3.Connection, n: int, count: int) -> _Tail:
    tail = _Tail()
    if not count:
        return tail
    row = connection.execute(statements()["block"], (n,)).fetchone()
    tail.min_time, tail.max_time = row[2], row[3]
    tail.doubtful = int.from_bytes(row[4], "little") if row[4] else 0
    tail.stems = decode_stems(row[5], count)
    tail.salts = split_salts(row[6], count)
    tail.frames = list(row[7:11])
    tail.bodies = [body for frame in tail.frames if frame for body in decode_lines(frame)]
    return tail


class _Run(NamedTuple):
    """A run that waits to be merged with its neighbours."""

    id: int
    pages: int
    last: int
    references: list[int]
    min_time: str
    max_time: str


class IndexWriter:
    """Collects references and writes them as runs; merges those that are small.

    A group of small runs shares the first entry that distances are counted from, so that merging is
    sorting. Until references are a run, readers scan the entries themselves.
    """

    def __init__(self) -> None:
        self._sealed = -1
        self._group_first = 0
        self._group: list[_Run] = []
        self._next_run = 0
        self._waiting: list[int] = []
        self._first = 0
        self._min_time = "~"
        self._max_time = ""

    def write(self, connection: sqlite3.Connection, batch: Append) -> None:
        sealed = connection.execute(statements()["sealed_through"]).fetchone()[0]
        if sealed != self._sealed:
            # Runs that we remember may have become part of a segment's.
            self._sealed = sealed
            self._read(connection, batch.first)
        index = int(batch.first)
        for entry in batch.entries:
            distance = index - self._group_first
            self._waiting += references(entry.terms, distance)
            if entry.time < self._min_time:
                self._min_time = entry.time
            if entry.time > self._max_time:
                self._max_time = entry.time
            index += 1
        self._min_time = min(self._min_time, batch.time)
        self._max_time = max(self._max_time, batch.time)
        if len(self._waiting) >= RUN_REFS:
            self._write_run(connection, index - 1)

    def _write_run(self, connection: sqlite3.Connection, last: int) -> None:
        self._waiting.sort()
        self._group.append(self._put(connection, self._first, last, self._waiting))
        self._waiting = []
        self._first = last + 1
        self._min_time, self._max_time = "~", ""
        if sum(len(run.references) for run in self._group) >= MERGED_REFS:
            self._merge(connection)

    def _merge(self, connection: sqlite3.Connection) -> None:
        """Make one run of the group, which then stays as it is."""
        merged: list[int] = []
        for run in self._group:
            connection.execute(statements()["drop_run"], (run.id,))
            connection.execute(
                statements()["drop_pages"], (run.id << 16, (run.id << 16) + run.pages)
            )
            merged += run.references
        merged.sort()  # runs are sorted, so this only merges
        self._min_time = min(run.min_time for run in self._group)
        self._max_time = max(run.max_time for run in self._group)
        self._put(connection, self._group_first, self._group[-1].last, merged)
        self._group = []
        self._group_first = self._first
        self._min_time, self._max_time = "~", ""

    def _put(self, connection: sqlite3.Connection, first: int, last: int, refs: list[int]) -> _Run:
        run = self._next_run
        self._next_run += 1
        # Distances count from the first entry that the row names.
        shift = first - self._group_first
        pages = encode_pages(
            [ref - shift for ref in refs] if shift else refs, compressed=len(refs) >= MERGED_REFS
        )
        connection.executemany(
            statements()["put_page"],
            [(run << 16 | number, page.data) for number, page in enumerate(pages)],
        )
        times = (self._min_time, self._max_time)
        connection.execute(
            statements()["put_run"],
            (
                run,
                first,
                last,
                len(refs),
                *times,
                encode_directory([page.first_hash for page in pages]),
            ),
        )
        return _Run(run, len(pages), last, refs, *times)

    def _read(self, connection: sqlite3.Connection, size: int) -> None:
        """Find the small runs at the end, and the entries that are in no run yet."""
        sql = statements()
        self._group, self._waiting = [], []
        self._min_time, self._max_time = "~", ""
        self._next_run = connection.execute(sql["next_run"]).fetchone()[0]
        rows = connection.execute(sql["runs"]).fetchall()
        small = len(rows)
        # That of a segment stays as it is, however small.
        while small and rows[small - 1][3] < MERGED_REFS and rows[small - 1][1] >= self._sealed:
            small -= 1
        self._group_first = rows[small][1] if small < len(rows) else self._end(rows)
        for run, first, last, _, min_time, max_time, directory in rows[small:]:
            pages = len(directory) // 4
            shift = first - self._group_first
            refs = [
                ref + shift
                for (data,) in connection.execute(
                    sql["pages_of_run"], (run << 16, (run << 16) + pages)
                )
                for ref in decode_page(data)
            ]
            self._group.append(_Run(run, pages, last, refs, min_time, max_time))
        self._first = self._end(rows)
        self._read_waiting(connection, self._first, size)

    def _read_waiting(self, connection: sqlite3.Connection, first: int, size: int) -> None:
        sql = statements()
        for n in range(first // BLOCK_ENTRIES, -(-size // BLOCK_ENTRIES)):
            row = connection.execute(sql["block"], (n,)).fetchone()
            bodies = [body for frame in row[7:11] if frame for body in decode_lines(frame)]
            for index, body in enumerate(bodies, start=n * BLOCK_ENTRIES):
                # The batch's own entries may stand in the block already.
                if first <= index < size:
                    distance = index - self._group_first
                    terms = term_hashes_of(decode_event(body))
                    self._waiting += references(terms, distance)
            self._min_time = min(self._min_time, row[2])
            self._max_time = max(self._max_time, row[3])

    @staticmethod
    def _end(rows: Sequence[tuple[int, ...]]) -> int:
        return rows[-1][2] + 1 if rows else 0
