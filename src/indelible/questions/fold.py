"""Folding: what rows were at a moment, from what was there at first and every change since.

Changes are taken in the order in which their database made them (`Position`), whatever order they
reached the trail in. A baseline stands between the changes before its position and those after.
Values that policy or law withholds stay the markers that the trail has in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from indelible.events.codec import parse_time
from indelible.events.model import RESTORED, Event, Timestamp
from indelible.events.values import Id, Value
from indelible.questions.row_change import Position, RowChange


class BaselineChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one kind as they stood after every change up to `seq` of their incarnation.

    `columns` and `rows` are empty where only keys were kept. `epoch` is None when nobody told when
    the incarnation was opened. `is_whole` says that at this position the table held no other rows
    than those in the baselines of the same epoch from it on: a restore took the others back.
    """

    incarnation: str
    epoch: int | None
    seq: int
    kind: str
    ids: tuple[Id, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    time: Timestamp
    event: str
    index: int
    is_whole: bool = False


class RowState(msgspec.Struct, frozen=True, kw_only=True):
    """A row at a moment: `present` or deleted, and its columns as far as they are known.

    Not `complete`: the trail saw this row neither inserted nor in a baseline with values, so it
    knows only the columns that were changed since. A deleted row keeps its last columns. `event`
    and `index` are of the last event that touched it, at `time`. `restored`: that was no change but
    a backup put back, which took the row back to this.
    """

    kind: str
    id: Id
    present: bool
    complete: bool
    columns: dict[str, Value]
    time: Timestamp
    event: str
    index: int
    restored: bool = False


def baseline_of(event: Event, index: int) -> BaselineChunk | None:
    """The baseline rows that `event` (whole, not a part) states; None where it states none."""
    if event.baseline is None or len(event.targets) != 1:
        return None
    baseline, target = event.baseline, event.targets[0]
    own = event.producer.id == baseline.incarnation
    return BaselineChunk(
        incarnation=baseline.incarnation,
        epoch=event.producer.epoch if own else baseline.epoch,
        seq=baseline.position,
        kind=target.kind,
        ids=target.ids,
        columns=baseline.columns,
        rows=baseline.rows,
        time=event.time,
        event=event.id,
        index=index,
        is_whole=event.action == RESTORED,
    )


Watch = Callable[[Mapping[Id, RowState], RowChange | BaselineChunk], None]
"""Called before each step is taken, with the rows as they are then."""


def fold(
    baselines: Iterable[BaselineChunk],
    changes: Iterable[RowChange],
    *,
    at: Timestamp | None = None,
    watch: Watch | None = None,
) -> dict[Id, RowState]:
    """Every row of one kind as it was at `at` (after all that happened before that instant).

    Rows that were deleted are there too, not `present`; a row that never was isn't. Rows of an
    incarnation that ended (the database was restored from a backup) are forgotten when the next
    one has a baseline; those that a restore took back are there, `restored` and not `present`, once
    the baseline after it is whole. Both iterables may be in any order; all must be of one kind.
    """
    changes = [change for change in changes if at is None or change.time < at]
    began = _beginnings(changes)
    steps = [_Step(change.position, 0, change) for change in changes]
    for chunk in baselines:
        if at is None or chunk.time < at:
            epoch = chunk.epoch or _epoch_at(began.get(chunk.incarnation, {}), chunk.time)
            rank = 1 if chunk.is_whole else 2
            steps.append(_Step(Position(epoch, chunk.incarnation, chunk.seq), rank, chunk))
    steps.sort(key=lambda step: (step.position, step.rank, step.item.index))
    rows: dict[Id, RowState] = {}
    before: dict[Id, RowState] = {}
    """As they were before the last restore."""
    incarnation = None
    for step in steps:
        if watch is not None:
            watch(rows, step.item)
        if isinstance(step.item, RowChange):
            _apply_change(rows, step.item)
            continue
        if incarnation not in (None, step.item.incarnation):
            rows.clear()
        incarnation = step.item.incarnation
        if step.item.is_whole:
            before = dict(rows)
            _take_back(rows, step.item)
        else:
            _apply_baseline(rows, step.item, before)
    return rows


def _beginnings(changes: Iterable[RowChange]) -> dict[str, dict[int, Timestamp]]:
    """For each incarnation its epochs, and when the first change that we know of each was made."""
    began: dict[str, dict[int, Timestamp]] = {}
    for change in changes:
        epochs = began.setdefault(change.position.incarnation, {})
        epoch = change.position.epoch
        epochs[epoch] = min(epochs.get(epoch, change.time), change.time)
    return began


def _epoch_at(began: dict[int, Timestamp], time: Timestamp) -> int:
    """The epoch that a baseline of this time stands in."""
    if not began:
        return parse_time(time)
    return max((epoch for epoch, first in began.items() if first <= time), default=min(began))


class _Step(NamedTuple):
    position: Position
    rank: int
    """At one position the change comes first, then what a restore took back, then the baseline."""
    item: RowChange | BaselineChunk


def _take_back(rows: dict[Id, RowState], chunk: BaselineChunk) -> None:
    for row_id, row in rows.items():
        if row.present:
            rows[row_id] = msgspec.structs.replace(
                row,
                present=False,
                restored=True,
                time=chunk.time,
                event=chunk.event,
                index=chunk.index,
            )


def _apply_baseline(
    rows: dict[Id, RowState], chunk: BaselineChunk, before: dict[Id, RowState]
) -> None:
    for n, row_id in enumerate(chunk.ids):
        old = before.get(row_id)
        known = dict(zip(chunk.columns, chunk.rows[n], strict=True)) if chunk.rows else {}
        rows[row_id] = RowState(
            kind=chunk.kind,
            id=row_id,
            present=True,
            complete=bool(chunk.rows),
            columns=known,
            time=chunk.time,
            event=chunk.event,
            index=chunk.index,
            restored=old is not None
            and (old.restored or not old.present or _differs(old.columns, known)),
        )


def _differs(old: dict[str, Value], new: dict[str, Value]) -> bool:
    return any(name in new and new[name] != value for name, value in old.items())


def _apply_change(rows: dict[Id, RowState], change: RowChange) -> None:
    old = rows.get(change.id_before)
    if change.verb == "delete":
        columns = {name: before for name, (before, _) in change.columns.items()}
        complete = True
    else:
        columns = {name: after for name, (_, after) in change.columns.items()}
        complete = change.verb == "insert" or (old is not None and old.present and old.complete)
        if change.verb == "update" and old is not None and old.present:
            columns = {**old.columns, **columns}
    if change.id_before != change.id:
        rows[change.id_before] = _state(change, change.id_before, False, True, {})
    rows[change.id] = _state(change, change.id, change.verb != "delete", complete, columns)


def _state(
    change: RowChange, row_id: Id, present: bool, complete: bool, columns: dict[str, Value]
) -> RowState:
    return RowState(
        kind=change.kind,
        id=row_id,
        present=present,
        complete=complete,
        columns=columns,
        time=change.time,
        event=change.event,
        index=change.index,
    )
