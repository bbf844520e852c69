"""Whatever a few actors did to whatever tables, reversing it restores what it should."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.events.context import acting_as, current_frame
from indelible.events.model import Actor
from indelible.events.values import ABSENT, Id, Value, to_value
from indelible.questions.row_change import RowChange
from indelible.reversal.plan import Selection
from indelible.reversal.steps import Plan, Step
from indelible.reversal.writer import apply_reversal

from .histories import ACTORS, Operation, TableShape, database, histories, perform, rows_of
from .recorder import Recorder

History = tuple[tuple[TableShape, ...], list[Operation], list[Operation]]
State = dict[tuple[str, Id], dict[str, Value]]
few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))


def reverse(recorder: Recorder, selection: Selection) -> Plan:
    with acting_as(Actor("staff", "admin")):
        return apply_reversal(
            recorder.connection,
            lambda connection: selection,
            kind_of=str.lower,
            context_of=lambda connection: recorder,
            frame=current_frame(),
        )


def check_all_at_once(history: History) -> None:
    shapes, first, then = history
    recorder = database(shapes, first)
    with closing(recorder.connection):
        before = rows_of(recorder, shapes)
        perform(recorder, then)
        plan = reverse(recorder, recorder.of(*ACTORS))
        assert not plan.conflicts, str(plan)
        assert rows_of(recorder, shapes) == before


def check_each_in_turn(history: History) -> None:
    shapes, first, then = history
    recorder = database(shapes, first)
    with closing(recorder.connection):
        before = rows_of(recorder, shapes)
        perform(recorder, then)
        for _ in range(len(then) + 1):
            plans = [reverse(recorder, recorder.of(actor)) for actor in ACTORS]
            if not any(plan.restorable for plan in plans):
                break
        if may_collide(shapes, recorder.changes) or any("it refers to" in str(p) for p in plans):
            # What one restored may stand where another's row was, or refer to a row that only
            # another's reversal brings back: only together do they fit.
            plans = [reverse(recorder, recorder.of(*ACTORS))]
        if has_moved(recorder.changes) and any("refers to it" in str(plan) for plan in plans):
            # A row may be referred to by the key that it took from another: that one can't come
            # back, which is said, and again nothing is written.
            left = rows_of(recorder, shapes)
            again = reverse(recorder, recorder.of(*ACTORS))
            assert again.conflicts and rows_of(recorder, shapes) == left
            return
        assert rows_of(recorder, shapes) == before, "\n".join(map(str, plans))


def keyless(name: str) -> TableShape:
    return TableShape(
        name=name, key=(), options="", values=2, is_unique=False, parent=None, parent_action=""
    )


def may_collide(shapes: tuple[TableShape, ...], changes: tuple[RowChange, ...]) -> bool:
    """Whether keys or unique values were changed."""
    return any(shape.is_unique for shape in shapes) or has_moved(changes)


def has_moved(changes: tuple[RowChange, ...]) -> bool:
    """Whether a key was changed."""
    return any(change.id != change.id_before for change in changes)


def check_one(history: History, actor: Actor) -> None:
    shapes, first, then = history
    recorder = database(shapes, first)
    with closing(recorder.connection):
        at_first = state_of(recorder, shapes)
        perform(recorder, then)
        changes = recorder.changes
        plan = reverse(recorder, recorder.of(actor))
        expected, doubled = without(shapes, at_first, changes, actor)
        assert plan.conflicts or not doubled
        live = state_of(recorder, shapes)
        for row in (set(expected) | set(live)) - in_conflict(plan, recorder.changes) - doubled:
            kept = {
                column.column
                for step in plan.steps
                if row in went_by(step, recorder.changes)
                for column in step.columns
                if column.decision == "conflict"
            }
            assert cells(live, row, kept) == cells(expected, row, kept), (row, str(plan))
        again = reverse(recorder, recorder.of(actor))
        assert not again.restorable, str(again)
        if all(change.id == change.id_before for change in changes):
            stale = Selection(changes=changes, selected=recorder.of(actor).selected)
            assert not reverse(recorder, stale).restorable
        assert state_of(recorder, shapes) == live


def went_by(step: Step, changes: tuple[RowChange, ...]) -> set[tuple[str, Id]]:
    """Every key that the step's row has, or had: it may have one of them back."""
    return {(step.kind, step.id)} | {
        (change.kind, row_id)
        for change in changes
        if change.event in step.events
        for row_id in (change.id, change.id_before)
    }


def without(
    shapes: tuple[TableShape, ...], at_first: State, changes: tuple[RowChange, ...], actor: Actor
) -> tuple[State, set[tuple[str, Id]]]:
    """The rows as they would be had `actor` changed nothing, each of the others' writes kept.

    Cell by cell: what the last write of the others left there, or what was there at first. Which
    row a write was to was settled by what really happened; rows are told apart by a number. A cell
    that others changed and changed back they left alone. Then the keys that two rows would have:
    others took what `actor` had given away.
    """
    numbers = {row: number for number, row in enumerate(at_first)}
    gone: dict[tuple[str, Id], list[int]] = {}
    rows = dict(enumerate(at_first))
    writes: dict[tuple[int, str], list[tuple[bool, Value, Value]]] = {}
    for row, number in numbers.items():
        for name, value in (*at_first[row].items(), ("*", 1)):
            writes[number, name] = [(False, ABSENT, value)]
    for change in changes:
        before, after = (change.kind, change.id_before), (change.kind, change.id)
        number = numbers.pop(before, None)
        if number is None:
            number = gone[before].pop() if gone.get(before) else len(rows)
        rows.setdefault(number, after)
        cells = dict(change.columns)
        if change.verb == "delete":
            gone.setdefault(after, []).append(number)
            cells["*"] = (1, ABSENT)
        else:
            numbers[after] = number
        if change.verb == "insert":
            cells["*"] = (ABSENT, 1)
        for name, cell in cells.items():
            writes.setdefault((number, name), []).append((change.actor == actor, *cell))
    found: dict[int, dict[str, Value]] = {}
    for (number, name), done in writes.items():
        found.setdefault(number, {})[name] = left_by_others(done)
    keys = {shape.name: shape.key for shape in shapes}
    state: State = {}
    doubled: set[tuple[str, Id]] = set()
    for number, cells in found.items():
        kind, row_id = rows[number]
        if cells.pop("*") == 1:
            row = (kind, tuple(cells[name] for name in keys[kind]) or row_id)
            if row in state:
                doubled.add(row)
            state[row] = cells
    return state, doubled


def left_by_others(writes: list[tuple[bool, Value, Value]]) -> Value:
    value: Value = ABSENT
    for is_mine, group in groupby(writes, key=lambda write: write[0]):
        each = list(group)
        if not is_mine and each[0][1] != each[-1][2]:
            value = each[-1][2]
    return value


def in_conflict(plan: Plan, changes: tuple[RowChange, ...]) -> set[tuple[str, Id]]:
    """Every key that a row went by that the plan leaves alone."""
    events = {
        event
        for step in plan.steps
        if step.decision == "conflict" or (step.has_conflict and has_key_conflict(step.id, step))
        for event in step.events
    }
    return {(step.kind, step.id) for step in plan.conflicts if set(step.events) & events} | {
        (change.kind, row_id)
        for change in changes
        if change.event in events or events.intersection(change.reverses)
        for row_id in (change.id, change.id_before)
    }


def has_key_conflict(row_id: Id, step: object) -> bool:
    names = {column.column for column in step.columns if column.decision == "conflict"}  # type: ignore[attr-defined]
    return bool(names & {"id", "k", "l"})


def cells(state: State, row: tuple[str, Id], kept: set[str]) -> dict[str, Value]:
    return {n: v for n, v in state.get(row, {"": ABSENT}).items() if n not in kept}


def state_of(recorder: Recorder, shapes: tuple[TableShape, ...]) -> State:
    state: State = {}
    for shape in shapes:
        cursor = recorder.connection.execute(f"SELECT * FROM {shape.name} LIMIT 0")
        names = [column[0] for column in cursor.description]
        for row_id, values in rows_of(recorder, (shape,))[shape.name].items():
            row = tuple(to_value(value) for value in row_id)  # type: ignore[attr-defined]
            columns = [to_value(value) for _, value in values]  # type: ignore[attr-defined]
            state[shape.name, row] = dict(zip(names, columns, strict=True))
    return state


@few
@given(histories())
def test_reversing_everybody_at_once_gives_back_the_first_state(history: History) -> None:
    """All changes of all actors, reversed together, leave no trace and no conflict."""
    check_all_at_once(history)


@few
@given(histories())
def test_reversing_each_in_turn_gives_back_the_first_state(history: History) -> None:
    """One actor after the other, as often as something is left: in the end all is as before."""
    check_each_in_turn(history)


def test_what_was_done_to_a_row_that_was_there_between() -> None:
    """Carol deleted Alice's first row and changed her second, which Alice deleted: reversed, the
    first is there again, and the second leaves nothing in Alice's way."""
    alice, _, carol = ACTORS
    insert = "INSERT INTO t0 (v0, v1) VALUES (?, ?)"
    then: list[Operation] = [
        (alice, insert, (None, None)),
        (carol, "DELETE FROM t0 WHERE rowid = ?", (1,)),
        (alice, insert, (0, None)),
        (carol, "UPDATE t0 SET v0 = ? WHERE rowid = ?", (7, 1)),
        (alice, "DELETE FROM t0 WHERE rowid = ?", (1,)),
    ]
    check_each_in_turn(((keyless("t0"),), [], then))


@few
@given(histories(), st.sampled_from(ACTORS))
def test_reversing_one_leaves_rows_as_if_they_had_never_been(
    history: History, actor: Actor
) -> None:
    """Where the plan names no conflict a row is what the others alone would have made of it."""
    check_one(history, actor)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@many
@given(histories(max_size=60), st.sampled_from(ACTORS))
def test_long_histories(history: History, actor: Actor) -> None:
    """The same three facts, for longer histories and more of them."""
    check_all_at_once(history)
    check_each_in_turn(history)
    check_one(history, actor)
