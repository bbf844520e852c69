"""From the trail to the rows that should be there: every change in its place, once, as it streams.

Entries of one database stand in the trail in the order in which it made them, so nothing has to be
sorted; only baselines come from elsewhere, and are put in where they belong. A change that stands
out of its order leaves its rows to be looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from indelible.errors import MalformedEventError
from indelible.events.codec import decode_event
from indelible.events.model import INCARNATION_OPENED, RESTORED, Event
from indelible.invariants.live import LiveDatabase, LiveTable
from indelible.invariants.scratch import ExpectedCopies, ExpectedRows, Scratch, Trust, encode
from indelible.questions.fold import BaselineChunk, baseline_of
from indelible.questions.reading import (
    glance,
    is_repeated,
    read_events,
    search_window,
    whole_event,
)
from indelible.questions.restores import Restore, is_taken_back, restore_of
from indelible.questions.retained import retained
from indelible.questions.row_change import Position, RowChange, row_change_of
from indelible.questions.window import Window
from indelible.store.blocks import FRAME_ENTRIES
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.store.terms import action_term

FINISHED: Final = "reconcile.finished"
BASELINE: Final = "table.baseline"
_A_STEP: Final = 10_000
_NOWHERE: Final = Position(0, "", 0)

Progress = Callable[[str, int, int], None]
"""Called with what is being read, how much of it is done, and how much there is."""


class Chunk(NamedTuple):
    """Where a baseline belongs (at one position what was restored comes first), and its entry.

    `is_installs`: `install` wrote it, whole in itself, and not a restore.
    """

    position: Position
    rank: int
    entry: int
    kind: str
    is_installs: bool


class _ChunkView(msgspec.Struct):
    """Of a baseline's event only where it belongs: there may be a million rows in them."""

    class Rows(msgspec.Struct):
        incarnation: str
        position: int
        epoch: int | None = None

    class Target(msgspec.Struct):
        kind: str

    kind: str
    action: str
    baseline: Rows | None = None
    targets: tuple[Target, ...] = ()
    fragment: str | None = None


_decode_chunk: Final = msgspec.json.Decoder(_ChunkView).decode


class Expectation:
    """What the trail says of each of `tables`, as far as it was read."""

    def __init__(
        self,
        reader: TrailReader,
        live: LiveDatabase,
        tables: Iterable[LiveTable],
        scratch: Scratch,
        size: int,
    ) -> None:
        """Reads where baselines and restores stand among the first `size` entries."""
        self._reader = reader
        self._incarnation = live.incarnation
        self._opened = live.opened
        self.rows: dict[str, ExpectedRows] = {}
        self.copies: dict[str, ExpectedCopies] = {}
        for table in tables:
            if table.keyless == "values":
                self.copies[table.kind] = ExpectedCopies(scratch)
            else:
                self.rows[table.kind] = ExpectedRows(scratch, table.columns)
        self._kinds = self.rows.keys() | self.copies.keys()
        self._restored = self._read_restores(size)
        self.chunks = self._read_chunks(size)
        self.written = frozenset(chunk.kind for chunk in self.chunks)
        """The kinds of which the trail has rows that were there before capture."""
        taken = retained(reader, Window(), size=size, verifiers=())
        self.dropped = None if taken is None else taken.changes
        """Retention dropped the changes before that, and the baselines."""
        self.since = self._read_since(size)
        """For each kind the entries that an earlier reconciliation has read."""
        self.settled = {kind: self._settled(kind) for kind in self._kinds}
        """For each kind the position behind which the trail has all of its rows."""
        self.emptied: dict[str, Position] = {}
        """Where a table was emptied and its rows weren't told."""
        self.inexact: dict[str, int] = {}
        """How many changes of a kind weren't seen by row."""
        self.retyped: dict[str, set[str]] = {kind: set() for kind in self._kinds}
        """For each kind the columns that the trail has with values of another type."""
        self._copies_of: dict[str, tuple[Position, str]] = {}
        """Which baseline the copies of a kind are counted from."""
        self._last: dict[str, Position] = {}
        self._size = size

    @property
    def restores(self) -> tuple[Restore, ...]:
        """Each time that the database was put back to a backup."""
        return tuple(self._restored.values())

    def is_unwritten(self, kind: str) -> bool:
        """Whether a backup was put back, and what the table held then isn't all in the trail."""
        latest = max((one.epoch for one in self.restores), default=None)
        return latest is not None and not any(
            chunk.kind == kind
            and chunk.position.epoch == latest
            and (chunk.rank == 1 or chunk.is_installs)
            for chunk in self.chunks
        )

    def read(self, progress: Progress) -> None:
        """Take in all entries up to the size that was given."""
        waiting = list(reversed(self.chunks))
        for first in range(0, self._size, _A_STEP):
            last = min(first + _A_STEP, self._size) - 1
            self._read(first, last, self._kinds, None, waiting)
            progress("the trail", last + 1, self._size)
        self._put_until(waiting, None)

    def read_on(self, kind: str, size: int, through: int) -> bool:
        """Take in what came of `kind` since, up to outbox row `through`; False where a baseline
        did, which would have had to come before."""
        for entry in self._reader.entries(self._size, size - 1):
            if glance(entry.body)[0] == "system":
                chunk = self._chunk_at(entry)
                if chunk is not None and chunk.kind == kind:
                    return False
        self._read(self._size, size - 1, {kind}, through, [])
        return True

    def epoch_of(self, chunk: BaselineChunk) -> int:
        """The epoch that the baseline's position is of."""
        return self._epoch(chunk.epoch, chunk.index)

    def counts(self, kind: str, position: Position, through: int) -> bool:
        """Whether what stands there is still so, and in a snapshot of outbox row `through`."""
        emptied = self.emptied.get(kind)
        return (
            position.incarnation == self._incarnation
            and position.seq <= through
            and (emptied is None or position > emptied)
            and not is_taken_back(self.restores, position)
        )

    def whole_since(self, kind: str) -> list[BaselineChunk]:
        """The entries that end the baselines of restored tables: what stood before is gone."""
        return [
            self._baseline(chunk, self._reader.entry(chunk.entry))
            for chunk in self.chunks
            if chunk.kind == kind and chunk.rank == 1
        ]

    def trust(self, kind: str, position: Position, index: int, *, is_baseline: bool) -> Trust:
        """What an entry there contradicts, if it finds other rows than the trail has left.

        Nothing that an earlier reconciliation has read, or that the next one will have to: each
        entry is judged once. A row that the trail hasn't is news only where it had them all: a
        first baseline may have been begun twice.
        """
        if not self.since.get(kind, 0) <= index < self._size:
            return Trust(known=False, all=False)
        settled = self.settled[kind]
        if is_baseline:
            return Trust(known=True, all=kind in self.since and position >= settled)
        return Trust(known=True, all=position > settled)

    # -- where things stand -----------------------------------------------------------------------

    def _read_restores(self, size: int) -> dict[int, Restore]:
        """By the index of their entries, in order."""
        terms = [action_term(INCARNATION_OPENED)]
        found = {}
        for seen in read_events(self._reader, terms, Window(), size=size, kinds={"system"}):
            restore = restore_of(seen.event)
            if restore is not None and restore.incarnation == self._incarnation:
                found[int(seen.indexes[0])] = restore
        return found

    def _read_chunks(self, size: int) -> list[Chunk]:
        terms = [action_term(BASELINE), action_term(RESTORED)]
        entries = search_window(self._reader, terms, Window(), size=size)
        found = map(self._chunk_at, entries)
        return sorted(one for one in found if one is not None and one.kind in self._kinds)

    def _chunk_at(self, entry: StoredEntry) -> Chunk | None:
        view = _decode_chunk(entry.body)
        if view.kind != "system" or view.action not in (BASELINE, RESTORED):
            return None
        if view.fragment is not None:
            event = decode_event(entry.body)
            if is_repeated(event):
                return None
            whole = whole_event(self._reader, entry, event).event
            baseline, kinds = whole.baseline, [target.kind for target in whole.targets]
            if baseline is None:
                return None
            where = (baseline.incarnation, baseline.position, baseline.epoch)
        elif view.baseline is not None:
            where = (view.baseline.incarnation, view.baseline.position, view.baseline.epoch)
            kinds = [target.kind for target in view.targets]
        else:
            return None
        incarnation, seq, epoch = where
        position = Position(self._epoch(epoch, entry.index), incarnation, seq)
        is_taken = is_taken_back(self.restores, position)
        if incarnation != self._incarnation or len(kinds) != 1 or is_taken:
            return None
        rank = 1 if view.action == RESTORED else 2
        return Chunk(position, rank, entry.index, kinds[0], epoch is None)

    def _epoch(self, epoch: int | None, index: int) -> int:
        if epoch is not None:
            return epoch
        # `install` doesn't know of epochs: it wrote behind the restore that the trail had last.
        before = [one.epoch for at, one in self._restored.items() if at < index]
        return max([self._opened, *before])

    def _read_since(self, size: int) -> dict[str, int]:
        found: dict[str, int] = {}
        terms = [action_term(FINISHED)]
        for seen in read_events(self._reader, terms, Window(), size=size, kinds={"system"}):
            read = (seen.event.details or {}).get("size")
            if seen.event.action == FINISHED and type(read) is int:
                for target in seen.event.targets:
                    found[target.kind] = max(read, found.get(target.kind, 0))
        return found

    def _settled(self, kind: str) -> Position:
        own = [chunk for chunk in self.chunks if chunk.kind == kind]
        since = self.since.get(kind)
        latest = max((one.epoch for one in self.restores), default=self._opened)
        known = [
            chunk.position
            for chunk in own
            if since is None
            or chunk.entry < since
            or (latest > self._opened and chunk.position.epoch == latest)
        ]
        return max(known, default=_NOWHERE)

    # -- entries ----------------------------------------------------------------------------------

    def _read(
        self,
        first: int,
        last: int,
        kinds: Collection[str],
        through: int | None,
        waiting: list[Chunk],
    ) -> None:
        for entry in self._reader.entries(first, last):
            if glance(entry.body)[0] != "change":
                continue
            event = decode_event(entry.body)
            if is_repeated(event) or not any(one.kind in kinds for one in event.targets):
                continue
            event = whole_event(self._reader, entry, event).event
            producer = event.producer
            position = Position(producer.epoch, producer.id, producer.seq)
            is_own = producer.id == self._incarnation
            if is_own and (
                (through is not None and position.seq > through)
                or is_taken_back(self.restores, position)
            ):
                continue
            change = row_change_of(event, entry.index)
            if change is None:
                self._take_inexact(event, position if is_own else None, kinds, waiting)
            elif is_own:
                self._put_until(waiting, position)
                self._take(change)

    def _take_inexact(
        self,
        event: Event,
        position: Position | None,
        kinds: Collection[str],
        waiting: list[Chunk],
    ) -> None:
        for target in event.targets:
            kind = target.kind
            if kind not in kinds or target.coverage == "exact":
                continue
            if position is not None and event.action == f"{kind}.truncate":
                self._put_until(waiting, position)
                self.emptied[kind] = position
                (self.rows.get(kind) or self.copies[kind]).clear()
            else:
                self.inexact[kind] = self.inexact.get(kind, 0) + 1

    def _put_until(self, waiting: list[Chunk], position: Position | None) -> None:
        """Take in the baselines that come before the change there; all, without one."""
        due = []
        while waiting and (position is None or waiting[-1].position < position):
            due.append(waiting.pop())
        # Entries are kept by frames: one that is read and taken apart gives many baselines.
        for _, group in groupby(due, lambda chunk: chunk.entry // FRAME_ENTRIES):
            chunks = list(group)
            wanted = {chunk.entry for chunk in chunks}
            entries = self._reader.entries(min(wanted), max(wanted))
            found = {int(entry.index): entry for entry in entries if entry.index in wanted}
            for chunk in chunks:
                self._take_baseline(chunk, self._baseline(chunk, found[chunk.entry]))

    def _baseline(self, chunk: Chunk, entry: StoredEntry) -> BaselineChunk:
        whole = whole_event(self._reader, entry, decode_event(entry.body)).event
        baseline = baseline_of(whole, entry.index)
        if baseline is None:
            raise MalformedEventError(f"expected a baseline at entry {chunk.entry}, it isn't whole")
        return msgspec.structs.replace(baseline, epoch=chunk.position.epoch)

    def _take_baseline(self, chunk: Chunk, baseline: BaselineChunk) -> None:
        kind = chunk.kind
        if kind in self.copies:
            copies = self.copies[kind]
            if baseline.is_whole:
                return  # what stood before is forgotten with the first chunk
            # One that was interrupted, and written by another process at the same position.
            run = (chunk.position, baseline.event.rpartition(".")[0])
            if self._copies_of.get(kind) != run:
                copies.clear()
                self._copies_of[kind] = run
            copies.add(baseline.ids, 1)
        elif baseline.is_whole:
            self.rows[kind].clear()
        else:
            trust = self.trust(kind, chunk.position, chunk.entry, is_baseline=True)
            self.rows[kind].put_images(baseline.ids, baseline.columns, baseline.rows, trust)

    def _take(self, change: RowChange) -> None:
        kind = change.kind
        is_late = change.position <= self._last.get(kind, _NOWHERE)
        self._last[kind] = max(change.position, self._last.get(kind, _NOWHERE))
        if kind in self.copies:
            if is_late:  # what came twice, with other bytes
                self.inexact[kind] = self.inexact.get(kind, 0) + 1
                return
            copies = self.copies[kind]
            if change.verb != "insert":
                copies.add((change.id_before,), -1)
            if change.verb != "delete":
                copies.add((change.id,), 1)
            return
        rows = self.rows[kind]
        if is_late:
            for row_id in {change.id, change.id_before}:
                rows.suspect(encode(row_id))
            return
        trust = self.trust(kind, change.position, change.index, is_baseline=False)
        if change.verb == "insert":
            rows.insert(change.id, change.columns, trust)
        elif change.verb == "delete":
            rows.delete(change.id, change.columns, trust)
        else:
            rows.update(change.id_before, change.id, change.columns, trust)
