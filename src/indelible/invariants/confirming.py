"""Rows that aren't as expected, looked at one by one: what the trail says of each, exactly.

Digests only raise suspicion. Here everything that the trail has of a row is found through its
index, folded as `state` does it, and compared value by value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from indelible.events.model import Change
from indelible.events.values import ABSENT, Id, TypedValue, Value, format_id
from indelible.invariants.differences import Difference, What
from indelible.invariants.expecting import Expectation
from indelible.invariants.live import LiveTable
from indelible.invariants.scratch import Trust, Values, is_told
from indelible.questions.events import row_terms
from indelible.questions.fold import BaselineChunk, RowState, baseline_of, fold
from indelible.questions.reading import read_events
from indelible.questions.row_change import Position, RowChange, row_change_of
from indelible.questions.state import only_rows
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader

RENUMBERED: Final = "its table has no key: SQLite may have numbered the rows anew (VACUUM)"
INEXACT: Final = "not all changes of the table were seen by row"

Suspect = tuple[Id, Values | None]
"""A row's id, and what is there; None for nothing."""


def confirm(
    reader: TrailReader,
    expectation: Expectation,
    table: LiveTable,
    suspects: Sequence[Suspect],
    *,
    size: int,
    through: int,
) -> Iterator[Difference]:
    """Those of `suspects` that differ from what the first `size` entries say of them as of outbox
    row `through`, and those of which an entry says that they once did."""
    chunks, changes = _gather(reader, expectation, table.kind, suspects, size, through)
    judge = _Judge(expectation, table, [row_id for row_id, _ in suspects])
    rows = fold(chunks, changes, watch=judge.watch)
    for row_id, live in suspects:
        yield from judge.overwritten.get(row_id, ())
        difference = judge.compare(row_id, rows.get(row_id), live)
        if difference is not None:
            yield difference


def _gather(
    reader: TrailReader,
    expectation: Expectation,
    kind: str,
    suspects: Sequence[Suspect],
    size: int,
    through: int,
) -> tuple[list[BaselineChunk], list[RowChange]]:
    """Everything of these rows, and of those that they got their keys from."""
    chunks: list[BaselineChunk] = []
    changes: dict[int, RowChange] = {}
    asked: set[str] = set()
    waiting = {format_id(row_id): row_id for row_id, _ in suspects}
    while waiting:
        terms = [term for row_id in waiting.values() for term in row_terms(kind, row_id)]
        names = frozenset(waiting)
        asked |= names
        waiting = {}
        for seen in read_events(reader, terms, Window(), size=size, kinds={"change", "system"}):
            index = int(seen.indexes[0])
            chunk, change = baseline_of(seen.event, index), row_change_of(seen.event, index)
            if chunk is not None and chunk.kind == kind:
                chunk = msgspec.structs.replace(chunk, epoch=expectation.epoch_of(chunk))
                if expectation.counts(kind, _position_of(chunk), through):
                    # Without the other hundreds of rows at once: they add up.
                    chunks.append(only_rows(chunk, names))
            elif change is not None and change.kind == kind:
                # The index gives candidates, among which are others' changes.
                before = format_id(change.id_before)
                if before in asked or format_id(change.id) in asked:
                    changes[index] = change
                    waiting[before] = change.id_before
        waiting = {name: row_id for name, row_id in waiting.items() if name not in asked}
    return (
        [*chunks, *expectation.whole_since(kind)],
        [one for one in changes.values() if expectation.counts(kind, one.position, through)],
    )


class _Judge:
    """Compares what is expected with what is found: in the database, and in later entries."""

    def __init__(self, expectation: Expectation, table: LiveTable, ids: Sequence[Id]) -> None:
        self._expectation = expectation
        self._table = table
        self._ids = frozenset(ids)
        self.overwritten: dict[Id, list[Difference]] = {}
        self._doubt = None
        if table.keyless is not None:
            self._doubt = RENUMBERED
        elif table.kind in expectation.inexact:
            self._doubt = INEXACT

    def watch(self, rows: Mapping[Id, RowState], item: RowChange | BaselineChunk) -> None:
        """Note where an entry found another row than the entries before it had left."""
        is_baseline = isinstance(item, BaselineChunk)
        position = _position_of(item) if isinstance(item, BaselineChunk) else item.position
        kind = self._table.kind
        trust = self._expectation.trust(kind, position, item.index, is_baseline=is_baseline)
        if not trust.known:
            return
        if isinstance(item, BaselineChunk):
            for n, row_id in enumerate(item.ids):
                values = item.rows[n] if item.rows else ()
                found = dict(zip(item.columns, values, strict=False))
                self._found(rows.get(row_id), row_id, found, item, trust)
            return
        if item.verb == "insert" or item.id != item.id_before:
            in_the_way = rows.get(item.id)
            if in_the_way is not None and in_the_way.present:
                self._overwritten(item.id, self._both(in_the_way.columns, {}), item)
        if item.verb != "insert":
            found = {name: before for name, (before, _) in item.columns.items()}
            self._found(rows.get(item.id_before), item.id, found, item, trust)

    def compare(self, row_id: Id, said: RowState | None, live: Values | None) -> Difference | None:
        """What is wrong with a row; None where it is as it should be."""
        is_expected = said is not None and said.present
        if live is None and not is_expected:
            return None
        found = {} if live is None else dict(zip(self._table.columns, live, strict=True))
        what: What
        if live is None:
            what = "missing"
            columns = self._both(said.columns if said is not None else {}, {})
        elif said is None or not said.present:
            what = "extra"
            columns = self._both({}, found)
        else:
            what = "differs"
            columns = self._differing(said.columns, found)
            if not columns:
                return None
        return Difference(
            table=self._table.name,
            kind=self._table.kind,
            id=row_id,
            what=what,
            columns=columns,
            index=said.index if said is not None else None,
            time=said.time if said is not None else None,
            certain=self._doubt is None,
            why=self._doubt,
        )

    def _found(
        self,
        said: RowState | None,
        row_id: Id,
        found: Mapping[str, Value],
        item: RowChange | BaselineChunk,
        trust: Trust,
    ) -> None:
        """An entry found a row with these values."""
        if said is not None and said.present:
            if columns := self._differing(said.columns, found):
                self._overwritten(row_id, columns, item)
        elif trust.all:
            self._overwritten(row_id, self._both({}, found), item)

    def _overwritten(
        self, row_id: Id, columns: dict[str, Change], item: RowChange | BaselineChunk
    ) -> None:
        if row_id in self._ids:
            difference = Difference(
                table=self._table.name,
                kind=self._table.kind,
                id=row_id,
                what="overwritten",
                columns=columns,
                index=item.index,
                time=item.time,
                certain=self._doubt is None,
                why=self._doubt,
            )
            self.overwritten.setdefault(row_id, []).append(difference)

    def _differing(
        self, said: Mapping[str, Value], found: Mapping[str, Value]
    ) -> dict[str, Change]:
        columns = {}
        for name in self._table.columns:
            if name not in said or name not in found or said[name] == found[name]:
                continue
            one, other = said[name], found[name]
            if not (is_told(one) and is_told(other)):
                continue
            if self._is_retyped(one, other):
                self._expectation.retyped[self._table.kind].add(name)
            else:
                columns[name] = (one, other)
        return columns

    def _is_retyped(self, one: Value, other: Value) -> bool:
        return (
            self._table.has_types
            and one is not None
            and other is not None
            and _form(one) != _form(other)
        )

    def _both(self, said: Mapping[str, Value], found: Mapping[str, Value]) -> dict[str, Change]:
        """Columns of a row of which only one side knows: those that may be shown."""
        return {
            name: (said.get(name, ABSENT), found.get(name, ABSENT))
            for name in self._table.columns
            if name in said or name in found
        }


def _position_of(chunk: BaselineChunk) -> Position:
    return Position(chunk.epoch or 0, chunk.incarnation, chunk.seq)


def _form(value: Value) -> str:
    """What kind of column a value is of: an integer beyond JSON's range is one like others."""
    if isinstance(value, TypedValue):
        return value.t
    return type(value).__name__
