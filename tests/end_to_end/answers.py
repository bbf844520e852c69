"""What a trail answers, in the oracle's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from indelible import Trail, Value
from indelible.events.model import Event
from indelible.events.values import ABSENT as ABSENT_VALUE
from indelible.events.values import CHANGED, MASKED, RawText, to_native
from indelible.questions.fold import BaselineChunk, baseline_of, fold
from indelible.questions.reading import read_events
from indelible.questions.row_change import RowChange, row_change_of
from indelible.questions.window import Window

from .oracle import Step
from .snapshots import ABSENT, Bits, Key, Row, Snapshot, Table, bits
from .withheld import WITHHELD, withheld_columns

Record = tuple[str, Key | None]
"""Kind and key; None for records that couldn't be told apart."""


def bits_of(value: Value) -> Bits:
    """A trail's value as the oracle would have read it from the column."""
    if value == ABSENT_VALUE:
        return ABSENT
    if value in (MASKED, CHANGED):
        return WITHHELD
    native = to_native(value)
    return ("text", bytes(native)) if isinstance(native, RawText) else bits(native)


def key_of(row_id: Iterable[Value]) -> Key:
    return tuple(map(bits_of, row_id))


def records_of(step: Step, *, sure_only: bool) -> set[Record]:
    """The records that the step handed out."""
    return {
        (reading.table.lower(), key)
        for reading in step.readings
        if reading.sure or not sure_only
        for key in reading.keys
    }


def records_changed(step: Step) -> set[Record]:
    return {(table.lower(), key) for table, key in step.rows_changed()}


def records_touched(step: Step) -> set[Record]:
    return {(table.lower(), key) for table, key in step.touched}


def replay(events: Iterable[Event], rows: Snapshot, tables: Mapping[str, Table]) -> set[Record]:
    """Carry out captured changes on `rows`, each of which must find what it says was before.

    `rows` are veiled, as what the events say is.

    Returns the rows touched, as (table, key).
    """
    by_kind = {name.lower(): table for name, table in tables.items()}
    touched: set[Record] = set()
    for event in events:
        (target,) = event.targets
        assert target.coverage == "exact" and event.changes is not None
        table = by_kind[target.kind]
        (key,) = map(key_of, target.ids)
        former = key_of(target.ids_before[0]) if target.ids_before else key
        columns = {
            name: (bits_of(before), bits_of(after))
            for name, (before, after) in event.changes.items()
            if name in table.columns
        }
        assert bool(table.key) == (target.keyless is None)
        _apply(event, rows[table.name], table, former, key, columns)
        touched |= {(table.name, former), (table.name, key)}
    return touched


def _apply(
    event: Event,
    rows: dict[Key, Row],
    table: Table,
    former: Key,
    key: Key,
    columns: Mapping[str, tuple[Bits, Bits]],
) -> None:
    verb = event.action.rpartition(".")[2]
    if verb == "insert":
        assert key not in rows, f"{table.name} {key} is inserted, but there"
        assert set(columns) == set(table.columns)
        assert all(before == ABSENT for before, _ in columns.values())
        rows[key] = {name: after for name, (_, after) in columns.items()}
        return
    assert former in rows, f"{table.name} {former} is changed, but isn't there"
    row = rows.pop(former)
    found = {name: before for name, (before, _) in columns.items()}
    assert found == {name: row[name] for name in columns}, f"{table.name} {former}: before"
    if verb == "delete":
        assert set(columns) == set(table.columns)
        assert all(after == ABSENT for _, after in columns.values())
        return
    assert verb == "update"
    assert all(before != after or after == WITHHELD for before, after in columns.values())
    assert key not in rows
    rows[key] = {**row, **{name: after for name, (_, after) in columns.items()}}


def fold_trail(trail: Trail, tables: Mapping[str, Table]) -> Snapshot:
    """Every table as baseline and changes tell it."""
    kinds = {name.lower(): name for name in tables}
    baselines: dict[str, list[BaselineChunk]] = {kind: [] for kind in kinds}
    changes: dict[str, list[RowChange]] = {kind: [] for kind in kinds}
    for seen in read_events(trail.reader, [], Window(), size=trail.reader.size):
        chunk = baseline_of(seen.event, seen.indexes[0])
        change = row_change_of(seen.event, seen.indexes[0])
        if chunk is not None:
            baselines[chunk.kind].append(chunk)
        elif change is not None:
            changes[change.kind].append(change)
    rows: Snapshot = {}
    for kind, name in kinds.items():
        rows[name] = {}
        for row_id, state in fold(baselines[kind], changes[kind]).items():
            if state.present:
                assert state.complete
                row: Row = {column: bits_of(value) for column, value in state.columns.items()}
                row |= dict.fromkeys(withheld_columns(name), WITHHELD)
                own = tables[name].columns
                rows[name][key_of(row_id)] = {column: row[column] for column in own}
    return rows
