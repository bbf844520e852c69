"""Sealing: the oldest entries of a trail's file go to a segment, and only then from the file.

A segment is written, synced, read back and held against the tree; then one transaction takes its
blocks out of the file. Whatever stops it leaves the entries here, or here and there: the next run
finds the same file by its name. One run at a time; the sequencer and readers go on meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from indelible.durable import alone
from indelible.errors import StoreBusyError
from indelible.events.model import Timestamp
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.errors import MalformedBlockError, SegmentDamagedError, StoreConflictError
from indelible.store.index import (
    Page,
    encode_directory,
    encode_pages,
)
from indelible.store.places import Place, check_parts, written
from indelible.store.segment import (
    SEGMENT_BLOCKS,
    SEGMENT_BYTES,
    SEGMENT_REFS,
    Segment,
    root_of_block,
)
from indelible.store.sqlite_file import Connect, open_connection, statements, store_errors
from indelible.store.sqlite_segment import SegmentWriter, WrittenSegment, references_of

_VACUUM_PAGES: Final = 500
"""Pages that are moved in one transaction, so that the sequencer waits for few."""


class Sealer:
    """Seals one trail's file to one place."""

    def __init__(
        self,
        trail: Path,
        place: Place,
        place_name: str,
        *,
        clock: Callable[[], Timestamp],
        connect: Connect = open_connection,
    ) -> None:
        """`place_name` is how the trail's file names `place`; `clock` gives the time of sealing."""
        self._trail = trail
        self._place = place
        self._writer = SegmentWriter(trail, place, place_name, clock)
        self._connect = connect
        self._sql = statements()

    def seal(
        self, limit: int, *, only_full: bool = True, most_blocks: int = SEGMENT_BLOCKS
    ) -> Iterator[Segment]:
        """Seal whole blocks below entry `limit`, oldest first; gives each segment once it is done.

        With `only_full` what doesn't fill a segment stays. Raises `StoreBusyError` where another
        run is at it, `StoreFullError`, `SegmentUnreachableError`, `MalformedBlockError` where an
        entry isn't what the tree says, or what was read back isn't what was written: then what is
        sealed is sealed, and the rest is where it was.
        """
        with only_one(self._trail), contextlib.closing(self._connect(self._trail)) as connection:
            with store_errors(self._trail):
                # What leaves the file is overwritten there, not only freed.
                connection.execute("PRAGMA secure_delete = ON")
                origin = connection.execute(self._sql["trail"]).fetchone()[0]
            while (end := self._next_end(connection, limit, only_full, most_blocks)) is not None:
                found = self._writer.write(connection, origin, *end)
                check_written(self._place, found)
                self._commit(connection, found)
                yield found.segment
            # Once, at the end: what is at the file's end may be sealed next.
            self._give_back(connection)

    # -- choosing -------------------------------------------------------------------------------

    def _next_end(
        self, connection: sqlite3.Connection, limit: int, only_full: bool, most_blocks: int
    ) -> tuple[int, int] | None:
        """The next segment's first and last block; None where nothing is to be sealed."""
        with store_errors(self._trail):
            first = connection.execute(self._sql["sealed_through"]).fetchone()[0] // BLOCK_ENTRIES
            blocks = max(0, limit // BLOCK_ENTRIES - first)
            size = refs = 0
            bounds = (first * BLOCK_ENTRIES, min(limit, (first + most_blocks) * BLOCK_ENTRIES))
            runs = iter(connection.execute(self._sql["runs_over"], bounds).fetchall())
            run = next(runs, None)
            for n in range(first, first + min(blocks, most_blocks)):
                row = connection.execute(self._sql["block_bytes"], (n,)).fetchone()
                if row is None or row[0] is None:
                    raise MalformedBlockError(f"expected block {n}, whole and not sealed yet")
                size += row[0]
                while run is not None and run[1] < (n + 1) * BLOCK_ENTRIES:
                    refs += run[3]
                    run = next(runs, None)
                if n + 1 - first == most_blocks or size >= SEGMENT_BYTES or refs >= SEGMENT_REFS:
                    return first, n
        return (first, first + blocks - 1) if blocks and not only_full else None

    # -- taking out -----------------------------------------------------------------------------

    def _commit(self, connection: sqlite3.Connection, found: WrittenSegment) -> None:
        """The blocks, their leaves and their runs out of the file, in one transaction."""
        segment, sql = found.segment, self._sql
        first, last = segment.first, segment.last
        with store_errors(self._trail):
            connection.execute("BEGIN IMMEDIATE")
            try:
                sealed = connection.execute(sql["sealed_through"]).fetchone()[0]
                if sealed != first:
                    raise StoreConflictError(f"expected {first} entries to be sealed, {sealed} are")
                numbers = (first // BLOCK_ENTRIES, last // BLOCK_ENTRIES)
                dropped = connection.execute(sql["drop_blocks"], numbers).rowcount
                if dropped != len(found.blocks):
                    raise StoreConflictError(
                        f"expected {len(found.blocks)} blocks from {numbers[0]} on, there are "
                        f"{dropped}"
                    )
                connection.executemany(
                    sql["put_sealed_block"],
                    [
                        (n, BLOCK_ENTRIES, *times[:3], block.pack())
                        for n, (block, times) in enumerate(found.blocks, numbers[0])
                    ],
                )
                self._replace_runs(connection, found)
                connection.execute(sql["drop_tiles"], numbers)
                connection.execute(
                    sql["put_segment"],
                    (
                        first,
                        last,
                        segment.place,
                        segment.name,
                        segment.length,
                        segment.sha256,
                        segment.since,
                        segment.until,
                        segment.sealed_at,
                    ),
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _replace_runs(self, connection: sqlite3.Connection, found: WrittenSegment) -> None:
        """One run for the segment; of the run that goes on behind it, what is left."""
        segment, sql = found.segment, self._sql
        first, last = segment.first, segment.last
        # As they are now: they may have been merged since they were read.
        for run in connection.execute(sql["runs_over"], (first, last)).fetchall():
            goes_on = run[2] > last
            left = _left(references_of(connection, run[0]), last + 1 - run[1]) if goes_on else []
            connection.execute(sql["drop_run"], (run[0],))
            connection.execute(sql["drop_pages"], (run[0] << 16, (run[0] << 16) + 0xFFFF))
            if goes_on:
                times = (run[4], run[5])
                put_run(connection, last + 1, run[2], len(left), times, encode_pages(left))
        times = (segment.since, segment.until)
        put_run(connection, first, last, found.refs, times, found.pages)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        """The file's free pages to the disk, some at a time."""
        with store_errors(self._trail):
            before = 0
            while (free := connection.execute("PRAGMA freelist_count").fetchone()[0]) != before:
                before = free
                # `execute` would take its first step only, which is one page.
                connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")


def _left(refs: list[int], taken: int) -> list[int]:
    """What is left of a run of which the first `taken` entries go."""
    return [ref - taken for ref in refs if ref & 0xFFFFFFFF >= taken]


@contextlib.contextmanager
def only_one(trail: Path, what: str = "sealing") -> Iterator[None]:
    """One run at a time is at that trail. Raises `StoreBusyError`."""
    path = trail.with_name(f"{trail.name}.{what}")
    with contextlib.ExitStack() as stack:
        with written(path):
            is_alone = stack.enter_context(alone(path))
        if not is_alone:
            raise StoreBusyError(f"expected nobody to be {what} {trail}, another process is")
        yield


def check_written(place: Place, found: WrittenSegment) -> None:
    """Return only if what is kept there now is what the tree says of its entries."""
    segment = found.segment
    raw = place.fetch(segment)
    if sha256(raw).digest() != segment.sha256:
        raise SegmentDamagedError(
            f"expected to read back what was written, {segment.place}/{segment.name} is another "
            f"file of {len(raw)} bytes: remove it and seal again. Nothing is lost, what isn't "
            "sealed is still in the trail"
        )
    for number, (block, times) in enumerate(found.blocks, segment.first // BLOCK_ENTRIES):
        whole = raw[block.offset : block.offset + block.length]
        if root_of_block(check_parts(segment, block, whole)) != times.root:
            raise MalformedBlockError(
                f"expected block {number} as the tree has it, it is another: nothing of "
                f"{segment} is sealed; `indelible verify` says which entry it is"
            )


def put_run(
    connection: sqlite3.Connection,
    first: int,
    last: int,
    refs: int,
    times: tuple[str, str],
    pages: Sequence[Page],
    *,
    run: int | None = None,
) -> None:
    """A run of the index for these entries, in the transaction that takes the old one; without an
    id a new one, of which the sequencer learns because more is sealed."""
    sql = statements()
    if run is None:
        run = connection.execute(sql["next_run"]).fetchone()[0]
    connection.executemany(
        sql["put_page"], [(run << 16 | number, page.data) for number, page in enumerate(pages)]
    )
    directory = encode_directory([page.first_hash for page in pages])
    connection.execute(sql["put_run"], (run, first, last, refs, *times, directory))
