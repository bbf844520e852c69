"""Reversing what one actor did: what goes back, what is left alone, and why."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import StaticPool, create_engine, text

from indelible.errors import ReversalError
from indelible.events.context import acting_as, current_frame
from indelible.events.model import Actor
from indelible.events.values import CHANGED, MASKED
from indelible.reversal.plan import Selection
from indelible.reversal.steps import Plan
from indelible.reversal.writer import apply_reversal, plan_on

from .recorder import Recorder, masked

BOB, CAROL, ADMIN = Actor("staff", "bob"), Actor("staff", "carol"), Actor("staff", "admin")
SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE, boss INTEGER
  REFERENCES customer ON UPDATE CASCADE);
CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer
  ON DELETE CASCADE ON UPDATE CASCADE, total REAL, double_total REAL AS (total * 2));
CREATE TABLE item (invoice INTEGER REFERENCES invoice, line INTEGER, note, PRIMARY KEY
  (invoice, line)) WITHOUT ROWID;
CREATE TABLE loose (a, b);
INSERT INTO customer VALUES (1, 'Zara', 'z@example.org', NULL), (2, 'Yann', NULL, 1);
INSERT INTO invoice VALUES (10, 1, 9.5), (11, 2, 3);
INSERT INTO item VALUES (10, 1, 'a'), (10, 2, x'00ff');
INSERT INTO loose VALUES (1, 'x'), (2, 'y');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "application.db"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(SCHEMA)
    yield Recorder(connection)
    connection.close()


def snapshot(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {
        table: [
            tuple((type(value), value) for value in row)
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        ]
        for (table,) in tables
    }


def reverse(recorder: Recorder, selection: Selection | None = None, *, force: bool = False) -> Plan:
    selection = recorder.of(BOB) if selection is None else selection
    with acting_as(ADMIN):
        return apply_reversal(
            recorder.connection,
            lambda connection: selection,
            kind_of=str.lower,
            context_of=lambda connection: recorder,
            frame=current_frame(),
            force=force,
        )


def why(plan: Plan) -> str:
    return str(Plan(steps=plan.conflicts, unplanned=plan.unplanned))


def test_everything_that_one_actor_did_goes_back(recorder: Recorder) -> None:
    """Updates, insertions, deletions, cascades and changed keys are undone, bit for bit."""
    first = snapshot(recorder.connection)
    with recorder.acting(BOB) as db:
        db.execute("UPDATE customer SET name = 'Zarah', email = NULL WHERE id = 1")
        db.execute("UPDATE customer SET name = 'Zahra' WHERE id = 1")
        db.execute("INSERT INTO customer VALUES (3, 'New', 'z@example.org', 2)")
        db.execute("UPDATE customer SET boss = 3 WHERE id = 2")
        db.execute("INSERT INTO invoice (id, customer, total) VALUES (12, 3, 1e999)")
        db.execute("DELETE FROM item WHERE invoice = 10")
        db.execute("DELETE FROM invoice WHERE id = 11")
        db.execute("UPDATE customer SET id = 7 WHERE id = 3")
        db.execute("UPDATE loose SET b = CAST(x'fffe' AS TEXT), a = 9223372036854775807")
        db.execute("DELETE FROM loose WHERE rowid = 2")
        db.execute("INSERT INTO loose VALUES ('new', NULL)")

    plan = reverse(recorder)

    assert not plan.conflicts, why(plan)
    assert snapshot(recorder.connection) == first


@pytest.mark.parametrize(
    "value", ["CAST(x'ff00fe' AS TEXT)", "'a' || char(0) || 'b'", "-9e999", "9223372036854775807",
              "x''", "''", "0.1", "-0.0", "1e308", "NULL", "x'0001'"],
)  # fmt: skip
def test_values_go_back_bit_for_bit(recorder: Recorder, value: str) -> None:
    """Text that isn't UTF-8, NUL, 64-bit integers, infinities and blobs come back as they were."""
    db = recorder.connection
    db.execute(f"UPDATE loose SET a = {value}, b = {value}")
    seen = "SELECT typeof(a), hex(CAST(a AS BLOB)), typeof(b), b IS a, a = 0.1 FROM loose"
    first = db.execute(seen).fetchall()
    recorder._pending.clear()
    with recorder.acting(BOB):
        db.execute("UPDATE loose SET a = 'other' WHERE rowid = 1")
        db.execute("DELETE FROM loose WHERE rowid = 2")
    assert not reverse(recorder).conflicts
    assert db.execute(seen).fetchall() == first


def test_what_somebody_else_changed_since_is_left_alone(recorder: Recorder) -> None:
    """A column that another actor changed later stays, and the plan names who and when."""
    with recorder.acting(BOB) as db:
        db.execute("UPDATE customer SET name = 'Bob was here', email = 'b@example.org' WHERE id=1")
    with recorder.acting(CAROL) as db:
        db.execute("UPDATE customer SET name = 'Carol was here' WHERE id = 1")

    plan = reverse(recorder)

    (step,) = plan.conflicts
    assert step.decision == "restore"
    conflict = next(column for column in step.columns if column.decision == "conflict")
    assert conflict.column == "name"
    assert "it was changed since by staff:carol at 2023-11-14T22:13:22.000000Z" in why(plan)
    zara = "SELECT name, email FROM customer WHERE id = 1"
    assert recorder.connection.execute(zara).fetchone() == ("Carol was here", "z@example.org")
    reverse(recorder, force=True)
    assert recorder.connection.execute(zara).fetchone() == ("Zara", "z@example.org")


def test_others_in_between_keep_what_they_made(recorder: Recorder) -> None:
    """Where Bob overwrote Carol, who had overwritten Bob, Carol's value comes back."""
    for n, actor in enumerate([BOB, CAROL, BOB, BOB]):
        with recorder.acting(actor) as db:
            db.execute("UPDATE customer SET name = ? WHERE id = 1", (f"name {n}",))
    assert not reverse(recorder).conflicts
    assert recorder.connection.execute("SELECT name FROM customer WHERE id = 1").fetchone() == (
        "name 1",
    )


def test_applying_twice_changes_nothing_more(recorder: Recorder) -> None:
    """A second reversal writes nothing, also before the trail has heard of the first."""
    with recorder.acting(BOB) as db:
        db.execute("UPDATE customer SET name = 'B' WHERE id = 1")
        db.execute("UPDATE customer SET id = 8, name = 'C' WHERE id = 2")
        db.execute("DELETE FROM item WHERE line = 1")
        db.execute("INSERT INTO loose VALUES (3, 'z')")
    known = len(recorder.events)
    assert reverse(recorder).restorable
    once = snapshot(recorder.connection)
    later = list(recorder.events)

    plan = reverse(recorder)
    assert (plan.restorable, plan.conflicts) == ((), ())
    recorder.forget_after(known)
    plan = reverse(recorder)
    assert (plan.restorable, plan.conflicts) == ((), ())
    assert snapshot(recorder.connection) == once
    assert all(event.reverses and event.actor == ADMIN for event in later[known:])


def test_a_reversal_can_be_reversed(recorder: Recorder) -> None:
    """What the reversal changed comes back when the reversal itself is reversed, and so on."""
    with recorder.acting(BOB) as db:
        db.execute("UPDATE customer SET name = 'B' WHERE id = 1")
        db.execute("DELETE FROM item WHERE line = 1")
        db.execute("INSERT INTO loose VALUES (3, 'z')")
    bobs = snapshot(recorder.connection)
    reverse(recorder)
    first = snapshot(recorder.connection)
    assert not reverse(recorder, recorder.of(ADMIN)).conflicts
    assert snapshot(recorder.connection) == bobs
    assert not reverse(recorder).conflicts
    assert snapshot(recorder.connection) == first


@pytest.mark.parametrize(
    ("bobs", "others", "expected"),
    [
        ("INSERT INTO customer VALUES (3, 'N', NULL, NULL)",
         "INSERT INTO invoice (id, customer) VALUES (13, 3)", "invoice:13 refers to it"),
        ("INSERT INTO customer VALUES (3, 'N', NULL, NULL)",
         "UPDATE customer SET name = 'M' WHERE id = 3", "it was changed since by staff:carol"),
        ("DELETE FROM loose WHERE rowid = 2",
         "INSERT INTO loose (rowid, a) VALUES (2, 5)", "its key is taken again by staff:carol"),
        ("UPDATE customer SET name = 'B' WHERE id = 2",
         "DELETE FROM customer WHERE id = 2", "the row is gone by staff:carol"),
        ("UPDATE customer SET email = NULL WHERE id = 1",
         "UPDATE customer SET email = 'z@example.org' WHERE id = 2",
         "its value is taken by customer:2"),
        ("UPDATE customer SET boss = NULL WHERE id = 2",
         "UPDATE invoice SET customer = 2;; DELETE FROM customer WHERE id = 1",
         "it refers to customer:1, which is gone"),
        ("DELETE FROM invoice WHERE id = 11",
         "DELETE FROM customer WHERE id = 2", "it refers to customer:2, which is gone"),
        ("UPDATE customer SET id = 5 WHERE id = 2",
         "INSERT INTO customer VALUES (2, 'K', NULL, NULL)", "its key is taken by customer:2"),
        ("UPDATE customer SET name = 'B'", "ALTER TABLE customer DROP COLUMN name",
         "the column no longer exists"),
        ("INSERT INTO customer VALUES (3, 'N', NULL, NULL)",
         "CREATE TRIGGER t BEFORE DELETE ON customer BEGIN SELECT RAISE(ABORT, 'kept'); END",
         "the database refuses it: kept"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_a_conflict(
    recorder: Recorder, bobs: str, others: str, expected: str
) -> None:
    """Nothing that others rely on is destroyed: it is named in the plan and stays as it is."""
    with recorder.acting(BOB) as db:
        db.execute(bobs)
    if "ALTER" in others:
        for verb in ("INSERT", "UPDATE", "DELETE"):
            recorder.connection.execute(f"DROP TRIGGER record_customer_{verb}")
    with recorder.acting(CAROL) as db:
        for statement in others.split(";;"):
            db.execute(statement)
    before = snapshot(recorder.connection)
    plan = reverse(recorder)
    assert expected in why(plan)
    assert not plan.restorable
    assert snapshot(recorder.connection) == before


@pytest.mark.parametrize(("marker", "expected"), [(MASKED, "masked"), (CHANGED, "no values")])
def test_what_the_trail_does_not_hold_is_never_restored(
    recorder: Recorder, marker: object, expected: str
) -> None:
    """Masked columns and those kept without values are conflicts, whatever force is used."""
    with recorder.acting(BOB) as db:
        db.execute("DELETE FROM item WHERE line = 2")
        db.execute("UPDATE item SET note = 'b'")
    recorder.events = [masked(event, "note", marker) for event in recorder.events]  # type: ignore[arg-type]
    before = snapshot(recorder.connection)
    plan = reverse(recorder, force=True)
    assert not plan.restorable
    assert expected in why(plan)
    assert snapshot(recorder.connection) == before


def test_a_trigger_that_interferes_is_corrected_once(recorder: Recorder) -> None:
    """Where the application's trigger writes a planned column, the second write holds."""
    db = recorder.connection
    db.execute(
        "CREATE TRIGGER stamp AFTER UPDATE OF name ON customer BEGIN "
        "UPDATE customer SET email = 'stamp' || NEW.name WHERE id = NEW.id; END"
    )
    first = snapshot(db)
    with recorder.acting(BOB):
        db.execute("UPDATE customer SET name = 'B' WHERE id = 1")
    assert not reverse(recorder).conflicts
    assert snapshot(db) == first


def test_a_trigger_that_insists_rolls_everything_back(recorder: Recorder) -> None:
    """Where the trigger writes it again and again, nothing is reversed and the column is named."""
    db = recorder.connection
    with recorder.acting(BOB):
        db.execute("UPDATE customer SET name = 'B', email = 'b' WHERE id = 1")
        db.execute("UPDATE item SET note = 'c'")
    db.execute(
        "CREATE TRIGGER insist AFTER UPDATE ON customer BEGIN "
        "UPDATE customer SET email = 'insisted' WHERE id = NEW.id; END"
    )
    before = snapshot(db)
    with pytest.raises(ReversalError, match=r"customer:1 \(email\)") as caught:
        reverse(recorder)
    assert "z@example.org" not in str(caught.value)
    assert snapshot(db) == before
    assert not db.in_transaction


def test_a_row_that_follows_its_own_trigger_is_as_it_was(recorder: Recorder) -> None:
    """A counter kept by the application's trigger ends where it began, though nobody planned it."""
    db = recorder.connection
    db.execute("CREATE TABLE counted (id INTEGER PRIMARY KEY, n)")
    db.execute("INSERT INTO counted VALUES (1, 0)")
    db.execute("CREATE TRIGGER up AFTER INSERT ON loose BEGIN UPDATE counted SET n = n + 1; END")
    db.execute("CREATE TRIGGER down AFTER DELETE ON loose BEGIN UPDATE counted SET n = n - 1; END")
    recorder._watch("counted")
    with recorder.acting(BOB):
        db.execute("INSERT INTO loose VALUES (8, 8)")
        db.execute("INSERT INTO loose VALUES (9, 9)")
    assert not reverse(recorder).conflicts
    assert db.execute("SELECT n FROM counted").fetchone() == (0,)


def test_a_connection_inside_a_transaction_is_refused(recorder: Recorder) -> None:
    """A reversal is a transaction of its own."""
    recorder.connection.execute("BEGIN")
    with pytest.raises(ReversalError, match="outside of a transaction"):
        reverse(recorder)
    recorder.connection.execute("ROLLBACK")


def test_a_locked_database_is_an_error(recorder: Recorder, path: Path) -> None:
    """Where another writer holds the lock for too long nothing happens, and it is said."""
    recorder.connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReversalError, match="locked"):
        reverse(recorder)
    other.close()


@pytest.mark.parametrize("handed", ["engine", "connection"])
def test_sqlalchemy_is_borrowed_from(recorder: Recorder, handed: str) -> None:
    """An engine or a connection of SQLAlchemy will do; it can be used as before afterwards."""
    engine = create_engine("sqlite://", creator=lambda: recorder.connection, poolclass=StaticPool)
    with recorder.acting(BOB) as db:
        db.execute("UPDATE customer SET name = 'B' WHERE id = 1")
    with engine.connect() as connection, acting_as(ADMIN):
        plan = apply_reversal(
            engine if handed == "engine" else connection,
            lambda _: recorder.of(BOB),
            kind_of=str.lower,
            context_of=lambda _: recorder,
            frame=current_frame(),
        )
        assert plan.restorable
        names = connection.execute(text("SELECT name FROM customer ORDER BY id")).scalars().all()
        assert names == ["Zara", "Yann"]


def test_two_rows_that_had_the_same_key_get_it_once(recorder: Recorder) -> None:
    """Of two deleted rows with one key the last comes back; the other is named, never mixed in."""
    with recorder.acting(CAROL) as db:
        db.execute("INSERT INTO customer VALUES (4, 'first', NULL, NULL)")
    with recorder.acting(BOB) as db:
        db.execute("DELETE FROM customer WHERE id = 4")
    with recorder.acting(CAROL) as db:
        db.execute("INSERT INTO customer VALUES (5, 'second', NULL, NULL)")
        db.execute("UPDATE customer SET id = 4 WHERE id = 5")
    with recorder.acting(BOB) as db:
        db.execute("DELETE FROM customer WHERE id = 4")
    plan = reverse(recorder)
    assert "its key goes to customer:4, which had it later" in why(plan)
    found = recorder.connection.execute("SELECT id, name FROM customer WHERE id > 2").fetchall()
    assert found == [(4, "second")]


def test_anything_else_is_refused(recorder: Recorder) -> None:
    """What isn't a database that we know how to write to is named in the error."""
    with pytest.raises(ReversalError, match=r"expected a sqlite3\.Connection.*got builtins\.str"):
        plan_on("app.db", recorder.of(BOB), kind_of=str.lower)


def test_a_kind_without_a_table_is_unplanned(recorder: Recorder) -> None:
    """What was done to a table that is gone can't be reversed, and is listed."""
    with recorder.acting(BOB) as db:
        db.execute("INSERT INTO loose VALUES (9, 9)")
    for verb in ("INSERT", "UPDATE", "DELETE"):
        recorder.connection.execute(f"DROP TRIGGER record_loose_{verb}")
    recorder.connection.execute("DROP TABLE loose")
    plan = reverse(recorder)
    assert [each.why for each in plan.unplanned] == ["the database has no table of kind loose"]
    assert "can't be reversed: loose.insert" in str(plan)


def test_planning_writes_nothing(recorder: Recorder) -> None:
    """A plan can be looked at before anything is done; it shows no values in its own repr."""
    with recorder.acting(BOB) as db:
        db.execute("UPDATE customer SET name = 'Secret', email = NULL WHERE id = 1")
    before = snapshot(recorder.connection)
    plan = plan_on(recorder.connection, recorder.of(BOB), kind_of=str.lower)
    assert str(plan) == "restore: update customer:1\n  restore: name\n  restore: email"
    assert repr(plan) == "Plan(1 restorable, 0 already so, 0 with conflicts, 0 unplanned)"
    assert "Secret" not in repr(plan.steps)
    assert snapshot(recorder.connection) == before
