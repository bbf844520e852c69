"""Dropping: bodies of sealed entries go for good; what proves that they were there stays.

A segment is written anew without them, read back and held against the tree; one transaction takes
it in the place of the old one, which is deleted then. Whatever stops it leaves the one or the other
in use, and the same run again goes on.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from indelible.durable import replace_whole, sync_directory
from indelible.events.codec import UNDECODABLE
from indelible.events.model import Timestamp
from indelible.store.blocks import BLOCK_ENTRIES, FRAME_ENTRIES, encode_frame, encode_stems
from indelible.store.entry import NO_SALT, format_head
from indelible.store.errors import StoreConflictError
from indelible.store.places import SegmentFiles, check_parts, written
from indelible.store.segment import SealedBlock, Segment, decode_parts
from indelible.store.sqlite_file import (
    Connect,
    flush_log,
    open_connection,
    statements,
    store_errors,
)
from indelible.store.sqlite_sealing import check_written, only_one, put_run
from indelible.store.sqlite_search import segment_from
from indelible.store.sqlite_segment import SegmentWriter, WrittenSegment


class Dropper:
    """Drops bodies of one trail's sealed entries."""

    def __init__(
        self,
        trail: Path,
        *,
        clock: Callable[[], Timestamp],
        connect: Connect = open_connection,
    ) -> None:
        """`clock` gives the time of writing a segment anew."""
        self._trail = trail
        self._clock = clock
        self._connect = connect
        self._sql = statements()
        self._files = SegmentFiles(trail)

    def drop(self, which: Mapping[int, int]) -> Iterator[Segment]:
        """Drop the bodies that `which` names: for a block's number a bit an entry.

        Gives each segment that was written anew. The one that it was is still there, so that who
        reads it isn't cut off: `clear` deletes it. What was dropped before stays so. Raises
        `StoreBusyError` where another run seals, `StoreFullError`, `SegmentUnreachableError`,
        `SegmentDamagedError`, and `StoreConflictError` where an entry isn't sealed.
        """
        left = {n for n, bits in which.items() if bits}
        with only_one(self._trail), contextlib.closing(self._connect(self._trail)) as connection:
            with store_errors(self._trail):
                origin = connection.execute(self._sql["trail"]).fetchone()[0]
                rows = connection.execute(self._sql["segments"]).fetchall()
            for segment in map(segment_from, rows):
                numbers = range(segment.first // BLOCK_ENTRIES, segment.last // BLOCK_ENTRIES + 1)
                wanted = {n: which[n] for n in numbers if n in left}
                left -= wanted.keys()
                if wanted and (new := self._write_anew(connection, origin, segment, wanted)):
                    yield new
        if left:
            raise StoreConflictError(
                f"expected entries to drop to be sealed, those of block {min(left)} aren't"
            )

    def clear(self) -> None:
        """Delete what was written anew, and stood there before; and overwrite what the trail's file
        had of it. Raises `SegmentUnreachableError`, also for what is locked, and `StoreBusyError`:
        it goes with the next run."""
        with contextlib.closing(self._connect(self._trail)) as connection:
            with store_errors(self._trail):
                rows = connection.execute(self._sql["segments"]).fetchall()
            leaving = self._leaving()
            used = {(segment.place, segment.name) for segment in map(segment_from, rows)}
            for place, name in leaving:
                if (place, name) not in used:
                    self._files.at(place).remove(name)
            flush_log(connection, self._trail)
        if leaving:
            with written(self._trail):
                self._list.unlink()
                sync_directory(self._list.parent)

    @property
    def _list(self) -> Path:
        """The file with the places and names of segments that are to be deleted."""
        return self._trail.with_name(f"{self._trail.name}.leaving")

    def _leaving(self) -> list[tuple[str, str]]:
        try:
            raw = self._list.read_bytes()
        except FileNotFoundError:
            return []
        try:
            return msgspec.json.decode(raw, type=list[tuple[str, str]])
        except UNDECODABLE:
            raise StoreConflictError(
                f"expected places and names of segments in {self._list}, came something else"
            ) from None

    def _write_anew(
        self,
        connection: sqlite3.Connection,
        origin: str,
        segment: Segment,
        wanted: Mapping[int, int],
    ) -> Segment | None:
        """None where all of these bodies are gone already."""
        raw = self._files.whole(segment)
        gone: set[int] = set()

        def decoded(n: int) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]:
            row = connection.execute(self._sql["block"], (n,)).fetchone()
            block = SealedBlock.unpack(row[11])
            whole = raw[block.offset : block.offset + block.length]
            old = check_parts(segment, block, whole)
            return old[:-1], *decode_parts(old)

        def parts(n: int) -> tuple[list[bytes], bytes, bytes]:
            frames, stems, salts, bodies = decoded(n)
            bits = wanted.get(n, 0)
            for at, body in enumerate(bodies):
                if body and bits >> at & 1:
                    stems[at] = format_head(stems[at], salts[at], body)
                    salts[at], bodies[at] = NO_SALT, b""
                if not bodies[at]:
                    gone.add(n * BLOCK_ENTRIES + at - segment.first)
            for number, frame in enumerate(frames):
                at = number * FRAME_ENTRIES
                if bits >> at & (1 << FRAME_ENTRIES) - 1:
                    frames[number] = encode_frame(bodies[at : at + FRAME_ENTRIES]) or frame
            return frames, encode_stems(stems), b"".join(salts)

        if not any(_has_any(decoded(n)[3], bits) for n, bits in wanted.items()):
            return None
        place = self._files.at(segment.place)
        writer = SegmentWriter(self._trail, place, segment.place, self._clock)
        first, last = segment.first // BLOCK_ENTRIES, segment.last // BLOCK_ENTRIES
        found = writer.write(connection, origin, first, last, parts, gone)
        check_written(place, found)
        with written(self._trail):
            leaving = [*self._leaving(), (segment.place, segment.name)]
            replace_whole(self._list, msgspec.json.encode(leaving))
        self._commit(connection, segment, found)
        return found.segment

    def _commit(self, connection: sqlite3.Connection, old: Segment, found: WrittenSegment) -> None:
        """The new segment's blocks and its run in the place of the old one's."""
        new, sql = found.segment, self._sql
        with store_errors(self._trail):
            connection.execute("BEGIN IMMEDIATE")
            try:
                replaced = connection.execute(
                    sql["replace_segment"],
                    (new.name, new.length, new.sha256, new.sealed_at, old.first, old.name),
                ).rowcount
                if replaced != 1:
                    raise StoreConflictError(f"expected {old} to be the trail's, it isn't any more")
                connection.executemany(
                    sql["move_sealed_block"],
                    [
                        (block.pack(), n)
                        for n, (block, _) in enumerate(found.blocks, old.first // BLOCK_ENTRIES)
                    ],
                )
                # Under its id: the sequencer remembers which one comes next.
                (run, _) = connection.execute(sql["run_from"], (old.first,)).fetchone()
                connection.execute(sql["drop_run"], (run,))
                connection.execute(sql["drop_pages"], (run << 16, (run << 16) + 0xFFFF))
                times = (old.since, old.until)
                put_run(connection, old.first, old.last, found.refs, times, found.pages, run=run)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _has_any(bodies: Sequence[bytes], bits: int) -> bool:
    return any(body and bits >> at & 1 for at, body in enumerate(bodies))
