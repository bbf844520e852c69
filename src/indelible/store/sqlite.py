"""A trail in one SQLite file: `SqliteReader` for everybody, `SqliteTrail` for who appends."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from indelible.errors import DeposedError
from indelible.events.codec import decode_event
from indelible.events.model import Timestamp
from indelible.forking import FORK_WAITS_S, hold_while_forking
from indelible.store.errors import BodyDroppedError, StoreConflictError
from indelible.store.protocol import AnchorRow, Append, Lease, Span
from indelible.store.ranges import RangeSet, pack_ranges, unpack_ranges
from indelible.store.sqlite_file import (
    Connect,
    create_trail_file,
    open_connection,
    store_errors,
)
from indelible.store.sqlite_reader import (
    SqliteReader,
    find_index,
    pack_bodies,
    tile_key,
    unpack_bodies,
)
from indelible.store.sqlite_writing import BlockWriter, IndexWriter
from indelible.tlog import Size
from indelible.transport.delivery import Received


class SqliteTrail(SqliteReader):
    """Implements `indelible.store.protocol.TrailStore`; see there for what it promises.

    Threads may share it; they append one after the other. `connect` gives the connections,
    so that a test can record and break their steps.
    """

    def __init__(self, path: Path, *, connect: Connect = open_connection) -> None:
        super().__init__(path, connect=connect)
        self._writing = threading.RLock()
        hold_while_forking(self, self._writing, wait_s=FORK_WAITS_S)
        self._connection = connect(path)
        self._blocks = BlockWriter()
        self._index = IndexWriter()

    @classmethod
    def create(cls, path: Path, *, origin: str, vkey: str, source_id: str) -> SqliteTrail:
        """Make an empty trail and open it; raises `TrailExistsError`."""
        create_trail_file(path, origin=origin, vkey=vkey, source_id=source_id)
        return cls(path)

    def acquire_lease(self, holder: str, *, now: int, lease_s: float) -> Lease | None:
        arguments = {"holder": holder, "now": now, "patience": int(lease_s * 1_000_000)}
        with self._transaction() as connection:
            if connection.execute(self._sql["take_lease"], arguments).rowcount != 1:
                return None
            epoch = connection.execute(self._sql["lease_epoch"]).fetchone()[0]
        self._forget()
        return Lease(epoch, holder)

    def renew_lease(self, lease: Lease, *, now: int) -> None:
        with self._transaction() as connection:
            self._hold(connection, lease, now)

    def release_lease(self, lease: Lease) -> None:
        with self._transaction() as connection:
            connection.execute(self._sql["drop_lease"], (lease.epoch,))

    def append(self, lease: Lease, batch: Append, *, now: int) -> None:
        with self._transaction() as connection:
            self._hold(connection, lease, now)
            size = connection.execute(self._sql["size"]).fetchone()[0]
            if size != batch.first or batch.size != size + len(batch.entries):
                raise StoreConflictError(
                    f"expected a batch at index {size}, came one at {batch.first}"
                )
            try:
                self._blocks.write(connection, batch)
                self._index.write(connection, batch)
                self._write_facts(connection, batch)
                if batch.vkey is not None:
                    connection.execute(self._sql["put_vkey"], (batch.vkey,))
            except BaseException:
                self._forget()
                raise

    def store_checkpoint(self, lease: Lease, note: bytes, size: Size, *, now: int) -> None:
        with self._transaction() as connection:
            self._hold(connection, lease, now)
            pending = connection.execute(self._sql["size"]).fetchone()[0]
            if size != pending:
                raise StoreConflictError(
                    f"expected a checkpoint of size {pending}, came one of {size}"
                )
            connection.execute(self._sql["store_checkpoint"], (note,))

    def store_cosignature(self, vkey: str, note: bytes, size: Size, time: int) -> None:
        with self._transaction() as connection:
            connection.execute(self._sql["put_cosignature"], (vkey, size, time, note))

    def store_witness_fault(self, vkey: str, fault: str, *, contradicts: bool) -> None:
        with self._transaction() as connection:
            connection.execute(self._sql["put_witness_fault"], (vkey, fault, int(contradicts)))

    def store_anchored(self, row: AnchorRow) -> None:
        with self._transaction() as connection:
            connection.execute(self._sql["put_anchored"], (*row[:5], int(row.outside)))

    def store_anchor_fault(self, name: str, fault: str, *, contradicts: bool) -> None:
        with self._transaction() as connection:
            connection.execute(self._sql["put_anchor_fault"], (name, fault, int(contradicts)))

    def received(self, producer_id: str, epoch: int) -> Received:
        row = self._source(producer_id, epoch)
        if row is None:
            return Received()
        return Received(unpack_ranges(row[0]), Timestamp(row[1]) or None)

    def latest(self, producer_id: str, epoch: int) -> Timestamp | None:
        row = self._source(producer_id, epoch)
        return None if row is None else Timestamp(row[2]) or None

    def bodies_at(self, producer_id: str, epoch: int, seq: int) -> list[tuple[bytes, ...]]:
        position = (producer_id, epoch, seq)
        with self._connections.snapshot() as connection:
            first = find_index(connection, *position)
            indexes = [] if first is None else [int(first)]
            indexes += [row[0] for row in connection.execute(self._sql["conflicts_at"], position)]
            kept = [
                unpack_bodies(row[0])
                for row in connection.execute(self._sql["quarantined_at"], position)
            ]
        return [self._delivery_at(index) for index in indexes] + kept

    def last_epoch(self, producer_id: str) -> int:
        with self._connections.snapshot() as connection:
            epoch: int = connection.execute(self._sql["last_epoch"], (producer_id,)).fetchone()[0]
        return epoch

    def last_position(self, producer_id: str, epoch: int) -> int:
        with self._connections.snapshot() as connection:
            found = connection.execute(
                self._sql["last_position"], {"producer": producer_id, "epoch": epoch}
            ).fetchone()
        last: int = found[0]
        return last

    def lost(self, producer_id: str, epoch: int) -> tuple[tuple[int, int], ...]:
        with self._connections.snapshot() as connection:
            return tuple(connection.execute(self._sql["gaps"], (producer_id, epoch)).fetchall())

    def close(self) -> None:
        super().close()
        with self._writing:
            self._connection.close()

    # -- below, inside of a transaction ---------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it durably, or nothing."""
        connection = self._connection
        with self._writing, store_errors(self._path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _hold(self, connection: sqlite3.Connection, lease: Lease, now: int) -> None:
        if connection.execute(self._sql["hold_lease"], (now, lease.epoch)).rowcount != 1:
            raise DeposedError(
                f"expected to hold the lease of epoch {lease.epoch}, another sequencer took over: "
                "stop, what was about to be committed wasn't"
            )

    def _write_facts(self, connection: sqlite3.Connection, batch: Append) -> None:
        """All but entries and index."""
        sql = self._sql
        connection.executemany(
            sql["put_tile"], [(tile_key(tile), hashes) for tile, hashes in batch.tiles]
        )
        last = batch.first + len(batch.entries) - 1
        connection.execute(sql["put_batch"], (batch.first, last, batch.time))
        for span in batch.spans:
            self._put_span(connection, span)
        for update in batch.sources:
            key = (update.producer_id, update.epoch)
            row = connection.execute(sql["source"], key).fetchone()
            held = RangeSet(unpack_ranges(row[0]) if row else ())
            for first, through in update.new:
                held.add(first, through)
            packed = pack_ranges(held.ranges())
            connection.execute(
                sql["put_source"], (*key, packed, update.last_time, update.latest, batch.time)
            )
        for producer, epoch, seq, index in batch.conflicts:
            connection.execute(sql["put_conflict"], (index, producer, epoch, seq))
        for each in batch.quarantined:
            position = (each.producer_id, each.epoch, each.seq)
            connection.execute(
                sql["put_quarantined"],
                (each.index, *position, pack_bodies(each.bodies), each.reason),
            )
        for gap, index in batch.gaps:
            connection.execute(
                sql["put_gap"], (index, gap.producer_id, gap.epoch, gap.first, gap.last)
            )
        for notice in batch.notices:
            connection.execute(
                sql["put_notice"], (notice.index, notice.time, notice.action, notice.message)
            )
        for noticed, by in batch.acknowledged:
            connection.execute(sql["acknowledge"], (by, noticed))
        connection.execute(sql["grow"], (batch.size, batch.root))

    def _put_span(self, connection: sqlite3.Connection, span: Span) -> None:
        """Add a span, or widen the one that it continues."""
        source = (span.producer_id, span.epoch)
        row = connection.execute(self._sql["last_span"], (*source, span.first_seq)).fetchone()
        if row and row[0] + row[2] == span.first_seq and row[1] + row[2] == span.first_index:
            connection.execute(self._sql["widen_span"], (row[2] + span.count, *source, row[0]))
        else:
            connection.execute(
                self._sql["put_span"], (*source, span.first_seq, span.first_index, span.count)
            )

    def _forget(self) -> None:
        """What the writers remember of the end of the trail may be wrong: read it again."""
        self._blocks = BlockWriter()
        self._index = IndexWriter()

    def _source(self, producer_id: str, epoch: int) -> tuple[bytes, str, str] | None:
        with self._connections.snapshot() as connection:
            row: tuple[bytes, str, str] | None = connection.execute(
                self._sql["source"], (producer_id, epoch)
            ).fetchone()
        return row

    def _delivery_at(self, index: int) -> tuple[bytes, ...]:
        """The bodies of the event that begins at `index`; none where they were dropped."""
        try:
            body = self.entry(index).body
        except BodyDroppedError:
            return ()
        event = decode_event(body)
        if event.fragment is None or event.part is None:
            return (body,)
        last = index + event.part.of - 1
        return tuple(entry.body for entry in self.entries(index, last))
