"""Reading a trail in SQLite: short transactions, bounded memory, while it grows."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Final

from indelible.events.codec import decode_event
from indelible.events.model import Event, Timestamp
from indelible.store.blocks import (
    BLOCK_ENTRIES,
    FRAME_ENTRIES,
    FRAMES,
    decode_bodies,
    decode_frame,
    decode_stems,
    frame_count,
    split_salts,
)
from indelible.store.entry import format_head
from indelible.store.errors import (
    BodyDroppedError,
    MalformedBlockError,
    NoSuchEntryError,
    SegmentMissingError,
)
from indelible.store.names import Names
from indelible.store.places import SegmentFiles
from indelible.store.protocol import (
    AnchorRow,
    Batch,
    CommittedEntry,
    Notice,
    Quarantined,
    Source,
    StoredEntry,
    TrailState,
    WitnessRow,
)
from indelible.store.ranges import unpack_ranges
from indelible.store.sealing import Opener
from indelible.store.segment import SealedBlock, Segment, decode_parts, leaves_of, split_heads
from indelible.store.sqlite_file import Connect, ReadConnections, open_connection, statements
from indelible.store.sqlite_search import Search, segment_from, segment_of
from indelible.store.terms import hash_terms
from indelible.store.tiers import Tier, sealed_tiers
from indelible.tlog import HASH_BYTES, Hash, Index, Size, Tile
from indelible.transport.delivery import Received

_FIRST: Final = ""
_LAST: Final = "~"
"""Sort before and after every timestamp."""


class SqliteReader:
    """Implements `indelible.store.protocol.TrailReader`; see there for what it promises."""

    def __init__(self, path: Path, *, connect: Connect = open_connection) -> None:
        """Raises `NoTrailError` and `TrailFormatError`."""
        self.opener: Opener | None = None
        self.names: Names | None = None
        self._path = path
        self._connections = ReadConnections(path, connect)
        self._segments = SegmentFiles(path)
        self._sql = statements()
        with self._connections.snapshot() as connection:
            row = _one(connection, self._sql["trail"])
        self._origin: str = row[0]
        self._source_id: str = row[2]

    def opened(self, event: Event) -> Event:
        """See `TrailReader.opened`: by the `opener` and `names` that were given, if they were."""
        if self.opener is not None:
            event = self.opener.open(event)
        return event if self.names is None else self.names.open(event)

    @property
    def path(self) -> Path:
        return self._path

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def vkey(self) -> str:
        with self._connections.snapshot() as connection:
            vkey: str = _one(connection, self._sql["trail"])[1]
        return vkey

    @property
    def source_id(self) -> str:
        return self._source_id

    @property
    def size(self) -> Size:
        with self._connections.snapshot() as connection:
            return Size(_one(connection, self._sql["size"])[0])

    def state(self) -> TrailState:
        with self._connections.snapshot() as connection:
            row = _one(connection, self._sql["trail"])
        return TrailState(Size(row[3]), Hash(row[4]), row[5])

    def search(
        self,
        any_of: Sequence[bytes],
        *,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        newest_first: bool = False,
        known: Set[int] = frozenset(),
    ) -> Iterator[StoredEntry]:
        window = (since or _FIRST, until or _LAST)
        search = Search(
            self._connections, self._segments, window, newest_first=newest_first, known=known
        )
        if any_of:
            terms = any_of if self.names is None else self.names.tokens_too(any_of)
            return search.find(hash_terms(terms))
        return search.scan(0, int(self.size) - 1)

    def entries(self, first: int, last: int) -> Iterator[StoredEntry]:
        last = min(last, int(self.size) - 1)
        search = Search(self._connections, self._segments, (_FIRST, _LAST))
        return search.scan(max(0, first), last)

    def committed(self, first: int, last: int) -> Iterator[CommittedEntry]:
        for n in range(max(0, first) // BLOCK_ENTRIES, last // BLOCK_ENTRIES + 1):
            row = self._block(n)[0]
            if row is None:
                return
            count = row[1]
            if row[11] is None:
                stems, salts = decode_stems(row[5], count), split_salts(row[6], count)
                bodies = decode_bodies(n, row[7:11], count)
            else:
                stems, salts, bodies = decode_parts(self._sealed(n))
            wanted = slice(max(0, first - n * BLOCK_ENTRIES), last - n * BLOCK_ENTRIES + 1)
            for stem, salt, body in zip(stems[wanted], salts[wanted], bodies[wanted], strict=True):
                yield CommittedEntry(format_head(stem, salt, body), salt if body else b"", body)

    def entry(self, index: int) -> StoredEntry:
        for entry in self.entries(index, index):
            return entry
        raise self._dropped(index) if 0 <= index < self.size else self._no_entry(index)

    def head(self, index: int) -> bytes:
        stem, salt, body = self._parts(index)
        return format_head(stem, salt, body)

    def salt(self, index: int) -> bytes:
        _, salt, body = self._parts(index)
        if not body:
            raise self._dropped(index)
        return salt

    def index_of(self, event_id: str) -> Index | None:
        producer, epoch, seq, part = _parse_id(event_id)
        if not producer:
            return None
        with self._connections.snapshot() as connection:
            index = find_index(connection, producer, epoch, seq)
        if index is None or part == 1:
            return index
        found = Index(index + part - 1)
        with contextlib.suppress(BodyDroppedError):
            if found < self.size and decode_event(self.entry(found).body).id == event_id:
                return found
        return None

    def sources(self) -> Iterator[Source]:
        with self._connections.snapshot() as connection:
            found = [
                Source(
                    producer_id=producer,
                    epoch=epoch,
                    received=Received(unpack_ranges(ranges), Timestamp(last_time) or None),
                    received_at=Timestamp(received_at),
                    lost=tuple(connection.execute(self._sql["gaps"], (producer, epoch))),
                )
                for producer, epoch, ranges, last_time, received_at in connection.execute(
                    self._sql["sources"]
                )
            ]
        yield from found

    def batches(self, first: int = 0) -> Iterator[Batch]:
        after = -1
        while True:
            with self._connections.snapshot() as connection:
                rows = connection.execute(
                    self._sql["batches"], {"first": first, "after": after}
                ).fetchall()
            if not rows:
                return
            for row in rows:
                yield Batch(Index(row[0]), Index(row[1]), Timestamp(row[2]))
            after = rows[-1][0]

    def notices(self, *, unacknowledged_only: bool = False) -> Iterator[Notice]:
        query = self._sql["open_notices" if unacknowledged_only else "notices"]
        for idx, time, action, message, acknowledged in self._pages(query):
            yield Notice(
                index=Index(idx),
                time=time,
                action=action,
                message=message,
                acknowledged=acknowledged,
            )

    def witnesses(self) -> tuple[WitnessRow, ...]:
        with self._connections.snapshot() as connection:
            return read_witnesses(connection, self._sql["witnesses"])

    def anchors(self) -> tuple[AnchorRow, ...]:
        with self._connections.snapshot() as connection:
            return tuple(
                AnchorRow(
                    name, Size(size), time, note, receipt, bool(outside), fault, bool(against)
                )
                for name, size, time, note, receipt, outside, fault, against in connection.execute(
                    self._sql["anchors"]
                )
            )

    def quarantined(self) -> Iterator[Quarantined]:
        for idx, producer, epoch, seq, bodies, reason in self._pages(self._sql["quarantined"]):
            yield Quarantined(
                index=Index(idx),
                producer_id=producer,
                epoch=epoch,
                seq=seq,
                bodies=unpack_bodies(bodies),
                reason=reason,
            )

    def read_tile(self, tile: Tile) -> bytes:
        with self._connections.snapshot() as connection:
            row = connection.execute(self._sql["tile"], (tile_key(tile),)).fetchone()
        if row is None and tile.level == 0:
            # The leaves of sealed entries aren't kept twice.
            block = self._block(tile.n)[0]
            if block is not None and block[11] is not None:
                return b"".join(leaves_of(self._sealed(tile.n))[: tile.width])
        if row is None:
            raise MalformedBlockError(f"expected tile {tile.level}/{tile.n}, there is none")
        hashes: bytes = row[0]
        return hashes[: tile.width * HASH_BYTES]

    def segments(self) -> tuple[Segment, ...]:
        """Every segment, oldest first."""
        with self._connections.snapshot() as connection:
            rows = connection.execute(self._sql["segments"]).fetchall()
        return tuple(map(segment_from, rows))

    def tiers(self) -> tuple[Tier, ...]:
        with self._connections.snapshot() as connection:
            size = _one(connection, self._sql["size"])[0]
            rows = connection.execute(self._sql["segments"]).fetchall()
            since, until, used = _one(connection, self._sql["hot_tier"])
        tiers = sealed_tiers(map(segment_from, rows))
        hot = Tier(
            name="hot",
            place=self._path.name,
            first=Index(tiers[-1].last + 1 if tiers else 0),
            last=Index(size - 1),
            since=Timestamp(since or ""),
            until=Timestamp(until or ""),
            length=used,
            files=1,
        )
        return (*tiers, hot)

    def count_received_before(self, time: Timestamp) -> int:
        """How many entries, from the first on, came before that time."""
        with self._connections.snapshot() as connection:
            count: int = _one(connection, self._sql["last_before"], (time,))[0]
        return count

    def close(self) -> None:
        """Close the connections; iterators under way fail or end."""
        self._connections.close()
        for each in (self.opener, self.names):
            if each is not None:
                each.close()

    # -- below: one step of a read each ---------------------------------------------------------

    def _parts(self, index: int) -> tuple[bytes, bytes, bytes]:
        """(stem, salt, body) of one entry."""
        n, place = divmod(index, BLOCK_ENTRIES)
        row, segment = self._block(n)
        if row is None or index < 0 or place >= row[1]:
            raise self._no_entry(index)
        number, at = divmod(place, FRAME_ENTRIES)
        if segment is None:
            stems, salts, frame = (
                decode_stems(row[5], row[1]),
                split_salts(row[6], row[1]),
                row[7 + number],
            )
        else:
            parts = self._sealed(n)
            frame, (stems, salts) = parts[number], split_heads(parts[FRAMES])
        return stems[place], salts[place], decode_frame(frame, frame_count(row[1], number))[at]

    def _block(self, n: int) -> tuple[tuple[Any, ...] | None, Segment | None]:
        """The row of a block, and the segment where it is sealed."""
        with self._connections.snapshot() as connection:
            row = connection.execute(self._sql["block"], (n,)).fetchone()
            sealed = row is not None and row[11] is not None
            return row, segment_of(connection, n) if sealed else None

    def _sealed(self, n: int) -> list[bytes]:
        """The parts of a sealed block; once more where its segment was written anew meanwhile."""
        try:
            return self._sealed_now(n)
        except SegmentMissingError:
            return self._sealed_now(n)

    def _sealed_now(self, n: int) -> list[bytes]:
        row, segment = self._block(n)
        if row is None or segment is None:
            raise MalformedBlockError(f"expected block {n} in a segment")
        return self._segments.block(segment, SealedBlock.unpack(row[11]))

    def _pages(self, query: str) -> Iterator[tuple[Any, ...]]:
        after = -1
        while True:
            with self._connections.snapshot() as connection:
                rows = connection.execute(query, (after,)).fetchall()
            if not rows:
                return
            yield from rows
            after = rows[-1][0]

    def _dropped(self, index: int) -> BodyDroppedError:
        return BodyDroppedError(
            f"expected entry {index} with its body, retention dropped that: what is left is its "
            "head, which proves that it was there"
        )

    def _no_entry(self, index: int) -> NoSuchEntryError:
        return NoSuchEntryError(
            f"expected an index below {self.size}, the size of the trail, got {index}"
        )


def find_index(connection: sqlite3.Connection, producer: str, epoch: int, seq: int) -> Index | None:
    """Where the first part of the event at this position stands."""
    row = connection.execute(statements()["last_span"], (producer, epoch, seq)).fetchone()
    if row is None or seq >= row[0] + row[2]:
        return None
    return Index(row[1] + seq - row[0])


def read_witnesses(connection: sqlite3.Connection, query: str) -> tuple[WitnessRow, ...]:
    """The rows of `witnesses`, which `query` is."""
    return tuple(
        WitnessRow(vkey, Size(size), time, note, fault, bool(contradicts))
        for vkey, size, time, note, fault, contradicts in connection.execute(query)
    )


def tile_key(tile: Tile) -> int:
    """The row of a tile."""
    return tile.level << 48 | tile.n


def pack_bodies(bodies: Sequence[bytes]) -> bytes:
    """Bodies of any bytes, each behind its length."""
    return b"".join(struct.pack("<I", len(body)) + body for body in bodies)


def unpack_bodies(raw: bytes) -> tuple[bytes, ...]:
    """What `pack_bodies` made. Raises `MalformedBlockError`."""
    bodies = []
    at = 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise MalformedBlockError("expected a length in the quarantine")
        (length,) = struct.unpack_from("<I", raw, at)
        bodies.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    if at != len(raw):
        raise MalformedBlockError("expected whole bodies in the quarantine")
    return tuple(bodies)


def _parse_id(event_id: str) -> tuple[str, int, int, int]:
    """(producer, epoch, seq, part); an empty producer for a text that is no id of ours."""
    fields = event_id.split(".")
    if len(fields) not in (3, 4) or not all(f.isascii() and f.isdigit() for f in fields[1:]):
        return "", 0, 0, 0
    numbers = [int(field) for field in fields[1:]]
    if max(numbers) >= 1 << 63:
        return "", 0, 0, 0
    return fields[0], numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 1


def _one(
    connection: sqlite3.Connection, query: str, arguments: Sequence[object] = ()
) -> tuple[Any, ...]:
    row = connection.execute(query, arguments).fetchone()
    if row is None:
        raise MalformedBlockError("expected the trail's own row, there is none")
    return tuple(row)
