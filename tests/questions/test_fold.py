"""Folding the trail gives back the rows, whatever was done to them and however it arrived."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.events.model import BaselineRows, Change, Event, Producer, TargetRows, Timestamp
from indelible.events.model import Target as TargetOf
from indelible.events.values import ABSENT, CHANGED, ERASED, MASKED, Id, Value, to_value
from indelible.questions.fold import BaselineChunk, RowState, baseline_of, fold
from indelible.questions.row_change import Position, RowChange, Verb, row_change_of
from indelible.questions.state import state

from .trails import DATABASE, EPOCH, Maker

Columns = dict[str, Value]
NAMES = ("id", "name", "total")


def time_at(seq: int) -> Timestamp:
    return Timestamp(f"2022-01-01T00:{seq // 60:02d}:{seq % 60:02d}.000000Z")


def change(
    seq: int,
    verb: Verb,
    row_id: Id,
    columns: dict[str, Change],
    *,
    before: Id | None = None,
    epoch: int = EPOCH,
) -> RowChange:
    return RowChange(
        position=Position(epoch, f"{epoch:016x}", seq),
        verb=verb,
        kind="customer",
        id=row_id,
        id_before=before or row_id,
        columns=columns,
        actor=None,
        time=time_at(seq),
        event=f"{epoch}.{seq}",
        index=seq,
    )


def baseline(
    seq: int, *rows: Columns, epoch: int = EPOCH, keys_only: bool = False
) -> BaselineChunk:
    return BaselineChunk(
        incarnation=f"{epoch:016x}",
        epoch=epoch,
        seq=seq,
        kind="customer",
        ids=tuple((row["id"],) for row in rows),
        columns=() if keys_only else NAMES,
        rows=() if keys_only else tuple(tuple(row[name] for name in NAMES) for row in rows),
        time=time_at(seq),
        event=f"b{epoch}.{seq}",
        index=seq,
    )


def row(id_: int, name: Value = "a", total: Value = 0) -> Columns:
    return {"id": id_, "name": name, "total": total}


def inserted(columns: Columns) -> dict[str, Change]:
    return {name: (ABSENT, value) for name, value in columns.items()}


def present(rows: dict[Id, RowState]) -> dict[Id, Columns]:
    return {row_id: found.columns for row_id, found in rows.items() if found.present}


def test_baseline_and_changes_make_the_rows() -> None:
    """What was there, what came, what was changed and what went; a change before it is in it."""
    rows = fold(
        [baseline(3, row(1), row(2))],
        [
            change(2, "update", (1,), {"name": ("z", "a")}),
            change(4, "update", (1,), {"total": (0, 5)}),
            change(5, "delete", (2,), {name: (v, ABSENT) for name, v in row(2).items()}),
            change(6, "insert", (3,), inserted(row(3))),
        ],
    )
    assert present(rows) == {(1,): row(1, total=5), (3,): row(3)}
    assert not rows[2,].present
    assert rows[2,].columns == row(2)


def test_order_is_that_of_the_database_not_of_arrival() -> None:
    """Entries may arrive in any order; the row is what its database made of it."""
    changes = [
        change(n, "update", (1,), {"total": (n - 1, n)}, epoch=epoch)
        for epoch in (EPOCH, EPOCH + 9)
        for n in range(1, 9)
    ]
    for seed in range(20):
        random.Random(seed).shuffle(changes)
        assert present(fold([baseline(0, row(1))], changes)) == {(1,): row(1, total=8)}


def test_a_changed_key_takes_the_row_along() -> None:
    """The row is found under its new key, and its old one is free for another."""
    rows = fold(
        [baseline(0, row(1, "kept"))],
        [
            change(1, "update", (7,), {"id": (1, 7)}, before=(1,)),
            change(2, "insert", (1,), inserted(row(1, "other"))),
        ],
    )
    assert present(rows) == {(7,): row(7, "kept"), (1,): row(1, "other")}


def test_a_restored_database_begins_again_with_its_baseline() -> None:
    """Rows of an incarnation that ended are gone unless the next one's baseline has them."""
    rows = fold(
        [baseline(0, row(1), epoch=1), baseline(0, row(1, "restored"), epoch=2)],
        [change(1, "insert", (2,), inserted(row(2)), epoch=1)],
    )
    assert present(rows) == {(1,): row(1, "restored")}


def test_what_is_withheld_stays_a_marker() -> None:
    """Masked, changed and erased values are said to be so, never guessed."""
    rows = fold(
        [baseline(0, row(1, MASKED, ERASED))],
        [change(1, "update", (1,), {"total": (CHANGED, CHANGED)})],
    )
    assert rows[1,].columns == row(1, MASKED, CHANGED)


def test_a_row_never_seen_whole_is_not_complete() -> None:
    """Where only keys were kept, only columns changed since are known."""
    rows = fold(
        [baseline(0, row(1), row(2), keys_only=True)],
        [change(1, "update", (1,), {"name": ("a", "b")})],
    )
    assert (rows[1,].complete, rows[1,].columns) == (False, {"name": "b"})
    assert (rows[2,].complete, rows[2,].columns) == (False, {})


def test_the_moment_asked_for_is_not_included() -> None:
    """A state at an instant is that after everything before it."""
    changes = [change(n, "update", (1,), {"total": (n - 1, n)}) for n in range(1, 5)]
    for n in range(1, 6):
        rows = fold([baseline(0, row(1))], changes, at=time_at(n))
        assert present(rows) == {(1,): row(1, total=n - 1)}


Step = tuple[str, tuple[object, ...]]
VALUES = st.sampled_from([None, 0, 1, -1, 2**63 - 1, 0.5, float("-inf"), "", "a\0b", "é", b"\xff"])
KEYS = st.integers(1, 5)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("INSERT INTO customer VALUES (?, ?, ?)"), st.tuples(KEYS, VALUES, VALUES)),
    st.tuples(
        st.just("UPDATE customer SET name = ?, total = ? WHERE id = ?"),
        st.tuples(VALUES, VALUES, KEYS),
    ),
    st.tuples(st.just("UPDATE customer SET id = ? WHERE id = ?"), st.tuples(KEYS, KEYS)),
    st.tuples(st.just("DELETE FROM customer WHERE id = ?"), st.tuples(KEYS)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=12), st.lists(STEPS, max_size=20), st.randoms())
def test_folding_gives_what_the_database_has(
    first: list[Step], then: list[Step], rng: random.Random
) -> None:
    """Baseline plus every change since is the table, bit for bit, in whatever order they come."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY, name, total)")
        for text, parameters in first:
            with suppress(sqlite3.IntegrityError):
                connection.execute(text, parameters)
        baselines = [baseline(0, *table(connection).values())]
        changes: list[RowChange] = []
        states = [table(connection)]
        connection.create_function("seen", 7, recorder(changes))
        for verb, images in (
            ("INSERT", "NULL, NULL, NULL, NEW.id, NEW.name, NEW.total"),
            ("UPDATE", "OLD.id, OLD.name, OLD.total, NEW.id, NEW.name, NEW.total"),
            ("DELETE", "OLD.id, OLD.name, OLD.total, NULL, NULL, NULL"),
        ):
            connection.execute(
                f"CREATE TEMP TRIGGER on_{verb} AFTER {verb} ON main.customer BEGIN "
                f"SELECT seen('{verb.lower()}', {images}); END"
            )
        for text, parameters in then:
            with suppress(sqlite3.IntegrityError):
                connection.execute(text, parameters)
            states += [table(connection)] * (1 + len(changes) - len(states))
        shuffled = list(changes)
        rng.shuffle(shuffled)
        for n in range(len(changes) + 1):
            assert present(fold(baselines, shuffled, at=time_at(n + 1))) == states[n]


def table(connection: sqlite3.Connection) -> dict[Id, Columns]:
    rows = connection.execute("SELECT id, name, total FROM customer").fetchall()
    return {(row[0],): dict(zip(NAMES, map(to_value, row), strict=True)) for row in rows}


def recorder(changes: list[RowChange]) -> Callable[..., None]:
    def seen(verb: Verb, *images: object) -> None:
        old = dict(zip(NAMES, (to_value(v) for v in images[:3]), strict=True))  # type: ignore[arg-type]
        new = dict(zip(NAMES, (to_value(v) for v in images[3:]), strict=True))  # type: ignore[arg-type]
        columns = {
            name: (
                ABSENT if verb == "insert" else old[name],
                ABSENT if verb == "delete" else new[name],
            )
            for name in NAMES
            if verb != "update" or old[name] != new[name]
        }
        before = (old["id"],) if verb != "insert" else (new["id"],)
        after = (new["id"],) if verb != "delete" else before
        changes.append(change(len(changes) + 1, verb, after, columns, before=before))

    return seen


def captured(seq: int, verb: str, row_id: Id, changes: dict[str, Change], before: Id = ()) -> Event:
    rows = TargetRows("customer", (row_id,), ids_before=(before,) if before else ())
    return Event(
        action=f"customer.{verb}",
        kind="change",
        targets=(rows,),
        changes=changes,
        time=time_at(seq),
        producer=Producer(DATABASE, EPOCH, seq),
    )


def baseline_event(*rows: Columns) -> Event:
    return Event(
        action="table.baseline",
        kind="system",
        time=time_at(0),
        targets=(TargetRows("customer", tuple((row["id"],) for row in rows)),),
        baseline=BaselineRows(
            DATABASE, 1, NAMES, tuple(tuple(row[name] for name in NAMES) for row in rows)
        ),
    )


def test_state_of_one_target_follows_its_key(maker: Maker) -> None:
    """A row's state is folded from its own history, and from that of the keys it had before."""
    maker.add(
        baseline_event(row(1, "kept"), row(2, "other")),
        captured(2, "update", (7,), {"id": (1, 7)}, (1,)),
        captured(3, "update", (7,), {"total": (0, 9)}),
        captured(4, "delete", (2,), {name: (v, ABSENT) for name, v in row(2, "other").items()}),
    )
    (moved,) = state(maker.store, target=TargetOf("customer", "7"))
    assert (moved.state.columns, moved.state.complete, moved.certain) == (
        row(7, "kept", 9),
        True,
        True,
    )
    (before,) = state(maker.store, target=TargetOf("customer", 1), at=time_at(2))
    assert before.state.columns == row(1, "kept")
    (left,) = state(maker.store, target=TargetOf("customer", 1))
    assert not left.state.present
    (deleted,) = state(maker.store, target=TargetOf("customer", 2))
    assert (deleted.state.present, deleted.state.columns["name"]) == (False, "other")
    unknown = state(maker.store, target=TargetOf("customer", 99))
    assert (list(unknown), unknown.known) == ([], False)


@pytest.mark.parametrize("kind", ["customer", "ticket"])
def test_a_state_that_something_unseen_may_have_changed_is_possible(
    maker: Maker, kind: str
) -> None:
    """A change of the table whose rows weren't seen puts a doubt on every one of its rows."""
    vague = Event(
        action=f"{kind}.imported",
        kind="change",
        targets=(TargetRows(kind, coverage="statement", why="opaque"),),
        time=time_at(3),
    )
    maker.add(baseline_event(row(1)), vague)
    (found,) = state(maker.store, target=TargetOf("customer", 1))
    assert found.certain == (kind != "customer")


def test_only_captured_writes_are_folded(maker: Maker) -> None:
    """An explicit event that says something changed is history, not state."""
    said = Event(
        action="customer.renamed",
        kind="change",
        targets=(TargetRows("customer", ((1,),)),),
        changes={"name": ("a", "b")},
        time=time_at(2),
    )
    maker.add(baseline_event(row(1)), said)
    (found,) = state(maker.store, target=TargetOf("customer", 1))
    assert found.state.columns == row(1)
    assert row_change_of(said, 0) is None
    assert baseline_of(said, 0) is None
