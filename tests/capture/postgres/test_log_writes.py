"""Under `profile = "log"` every way in which rows are written is in the trail as under triggers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.capture.writes.folding import event_of, fold
from tests.servers import Database

from indelible.capture.postgres.log_rows import full_xid
from indelible.capture.postgres.pgoutput import UNCHANGED, Update, parse_message
from indelible.errors import MalformedEventError
from indelible.events.model import Event
from indelible.events.values import ABSENT

from .capturing import Captured
from .test_values import TYPES, VALUES
from .test_writes import KINDS, SCHEMA, STATEMENTS, WRITES


def events(captured: Captured) -> list[Event]:
    return [event_of(one.draft, one.seq) for one in captured.decoded().events]


def actions(captured: Captured) -> list[str]:
    return [event.action for event in events(captured)]


def told(captured: Captured) -> list[tuple[object, ...]]:
    """All that an event says of rows."""
    return [(e.action, e.targets, e.subjects, e.changes) for e in events(captured)]


def on_both(
    logged: Database,
    before: Sequence[str],
    writes: Sequence[str],
    tables: str = "",
    role: str = "owner",
) -> tuple[Captured, Captured]:
    """The same written to two databases: one captured by triggers, one by the log."""
    found = []
    for profile in ("triggers", "log"):
        database = Database(logged.server, f"{logged.name}_{profile}")
        database.execute(*before)
        captured = Captured(database, tables, profile)  # type: ignore[arg-type]
        for statement in writes:
            with contextlib.suppress(psycopg.Error):
                database.execute(statement, role=role)
        found.append(captured)
    return found[0], found[1]


@pytest.fixture(autouse=True)
def dropped(logged: Database) -> object:
    """What `on_both` makes goes with the test."""
    yield
    for profile in ("triggers", "log"):
        Database.named(logged.server, f"{logged.name}_{profile}").drop()


def test_each_statement_as_by_triggers(logged: Database) -> None:
    """Every statement of `test_writes`, each on the same rows: the same events in the same order;
    but TRUNCATE, whose rows the log doesn't tell, is one event that says so."""
    again = ("DELETE FROM t", SCHEMA[1])
    writes = [statement for statement, _ in STATEMENTS if not statement.startswith("TRUNCATE")]
    assert len(writes) == len(STATEMENTS) - 1
    by_triggers, by_log = on_both(
        logged, SCHEMA, [one for write in writes for one in (write, *again)], role="postgres"
    )
    assert len(told(by_log)) > 5 * len(writes)
    assert told(by_log) == told(by_triggers)
    assert fold(by_log.drafts()) == by_log.live()

    by_log.database.execute("TRUNCATE t")
    *_, event = events(by_log)
    (target,) = event.targets
    assert (event.action, event.kind) == ("t.truncate", "change")
    assert (target.coverage, target.ids) == ("superset", ())


def test_tables_of_every_kind(logged: Database) -> None:
    """Odd names, other schemas, identity columns, replica identities, no key, inheritance,
    partitions; computed columns and unlogged tables aren't in the log, and that is said."""
    logged.execute(*KINDS)
    captured = Captured(logged, profile="log")
    logged.execute(*(one for one in WRITES if not one.startswith("TRUNCATE")))
    assert fold(captured.drafts()) == captured.live()
    assert [(one.name, one.why.partition(":")[0]) for one in captured.report.unseen] == [
        ("loose", "an unlogged table")
    ]
    generated = [event for event in events(captured) if event.targets[0].kind == "gen"]
    assert generated and not any("w" in (event.changes or {}) for event in generated)
    moved = [e.action for e in events(captured) if e.targets[0].kind == "deep"][-2:]
    assert moved == ["deep.delete", "deep.insert"]
    logged.execute("TRUNCATE deep, parent")
    assert sorted(actions(captured)[-3:]) == ["child.truncate", "deep.truncate", "parent.truncate"]


def test_both_see_the_same(logged: Database) -> None:
    """Whatever is written, by whatever way: triggers and log count the same rows."""
    logged.execute(*KINDS, *SCHEMA)
    captured = Captured(logged, profile="both")
    logged.execute(*WRITES, "TRUNCATE deep, parent")
    for statement, _ in STATEMENTS:
        logged.execute(statement, "DELETE FROM t", SCHEMA[1], role="postgres")
    logged.execute("SET session_replication_role = replica; DELETE FROM t", role="postgres")
    assert len(told(captured)) > 80
    assert "capture.differs" not in actions(captured)
    assert fold(captured.drafts()) == captured.live()


def test_subjects_as_by_triggers(logged: Database) -> None:
    """A row two foreign keys away names whose it is, whatever is in the names."""
    zara = "0190f3c1-0000-7000-8000-000000000001"
    by_triggers, by_log = on_both(
        logged,
        (
            "CREATE TABLE customer (id uuid PRIMARY KEY)",
            "CREATE TABLE invoice (id integer PRIMARY KEY, customer_id uuid REFERENCES customer)",
            'CREATE TABLE line (id integer PRIMARY KEY, "of %s" integer REFERENCES invoice)',
            f"INSERT INTO customer VALUES ('{zara}')",
            f"INSERT INTO invoice VALUES (1, '{zara}'), (2, NULL)",
        ),
        ("INSERT INTO line VALUES (1, 1), (2, 2), (3, NULL)", 'UPDATE line SET "of %s" = 1'),
        "[tables.customer]\nsubject = 'self'\n"
        "[tables.line]\nsubject = 'of %s -> invoice.customer_id -> customer'\n",
    )
    assert told(by_log) == told(by_triggers)
    assert [len(event.subjects) for event in events(by_log)] == [1, 0, 0, 1, 1, 1]


def test_what_fails_half_way_leaves_nothing(logged: Database) -> None:
    """A statement that fails, deferred or at once, was never there; nor what a savepoint undid."""
    logged.execute(
        *SCHEMA,
        "CREATE TABLE c (id integer PRIMARY KEY, t integer REFERENCES t "
        "DEFERRABLE INITIALLY DEFERRED)",
    )
    captured = Captured(logged, profile="log")
    for failing in ("UPDATE t SET w = 1", "INSERT INTO c VALUES (1, 99)"):
        with pytest.raises(psycopg.Error):
            logged.execute(failing)
    logged.execute("BEGIN; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; UPDATE t SET v = 'k'; COMMIT")
    assert actions(captured) == ["t.update"] * 2


def test_every_type_keeps_every_bit(logged: Database) -> None:
    """Each type's value is what triggers record, whatever the session's settings."""
    columns = ", ".join(f"c{n} {type_}" for n, (type_, _) in enumerate(VALUES))
    values = ", ".join(value for _, value in VALUES)
    by_triggers, by_log = on_both(
        logged,
        (*TYPES, f"CREATE TABLE t (id integer PRIMARY KEY, {columns})"),
        (
            f"INSERT INTO t VALUES (1, {values})",
            "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = 0; "
            f"SET bytea_output = 'escape'; INSERT INTO t VALUES (2, {values})",
            "UPDATE t SET c0 = NOT c0",
        ),
    )
    assert len(told(by_log)) == 4
    assert told(by_log) == told(by_triggers)
    assert fold(by_log.drafts()) == by_log.live()


def test_long_values_that_a_statement_left_alone(logged: Database) -> None:
    """What stands out of line and wasn't written isn't lost, nor taken for a change."""
    logged.execute("CREATE TABLE t (id integer PRIMARY KEY, long text, v integer)")
    captured = Captured(logged, profile="log")
    logged.execute(
        "ALTER TABLE t ALTER COLUMN long SET STORAGE EXTERNAL",
        f"INSERT INTO t VALUES (1, '{'long' * 5_000}', 1)",
        "UPDATE t SET v = 2",
        "DELETE FROM t",
    )
    assert [sorted(event.changes or {}) for event in events(captured)] == [
        ["id", "long", "v"],
        ["v"],
        ["id", "long", "v"],
    ]


def test_nested_writes_in_the_order_in_which_they_happened(logged: Database) -> None:
    """What triggers of the application write inside a statement folds to what is there."""
    logged.execute(
        "CREATE TABLE t (k integer PRIMARY KEY, v integer)",
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF pg_trigger_depth() < 3 THEN UPDATE t SET v = v + 1; END IF; RETURN NULL; END $$",
        "CREATE TRIGGER more AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION more()",
    )
    captured = Captured(logged, profile="log")
    logged.execute("INSERT INTO t VALUES (1, 0), (2, 10)", "UPDATE t SET v = v * 2")
    assert fold(captured.drafts()) == captured.live()


def test_a_migration_in_between(logged: Database) -> None:
    """Until `install` runs again a dropped column is absent, one of another type holds its text;
    what was written before is told of the table as it was."""
    logged.execute("CREATE TABLE t (id integer PRIMARY KEY, a text, b integer, c integer)")
    captured = Captured(logged, profile="log")
    logged.execute(
        "INSERT INTO t VALUES (1, 'a', 1, 1)",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ALTER COLUMN b TYPE numeric USING b + 0.5",
        "ALTER TABLE t ADD COLUMN d text",
        "UPDATE t SET c = 2, d = 'd'",
    )
    inserted, updated = events(captured)
    assert set(inserted.changes or {}) == {"id", "a", "b", "c"}
    assert (updated.changes or {})["c"] == (1, 2)
    captured.install()
    logged.execute("UPDATE t SET d = 'e'", "DELETE FROM t")
    *_, last = events(captured)
    assert last.changes is not None
    assert set(last.changes) == {"id", "b", "c", "d"}
    written = [event.draft for event in captured.decoded().events]
    assert fold([captured.journal.drafts[-2], *written[-2:]]) == {}


def test_an_identity_that_was_taken_back(logged: Database) -> None:
    """Where the owner takes REPLICA IDENTITY FULL away, the row is still named, what it was isn't
    made up, and that is drift until `install` runs again."""
    logged.execute(*SCHEMA)
    captured = Captured(logged, profile="log")
    logged.execute(
        "ALTER TABLE t REPLICA IDENTITY DEFAULT",
        "UPDATE t SET v = 'z' WHERE id = 1",
        "UPDATE t SET id = 5 WHERE id = 2",
        "DELETE FROM t WHERE id = 1",
    )
    first, moved, gone = events(captured)
    assert (first.action, first.targets[0].ids, first.changes) == ("t.update", ((1,),), {})
    assert (moved.targets[0].ids, moved.targets[0].ids_before) == (((5,),), ((2,),))
    assert gone.targets[0].ids == ((1,),)
    assert gone.changes is not None
    assert gone.changes["v"] == (ABSENT, ABSENT)
    assert [str(one) for one in captured.install().drifts] == ["t: its REPLICA IDENTITY isn't FULL"]
    assert captured.install().statements == ()


@given(st.integers(0, 2**40), st.integers(-(2**31) + 1, 2**31 - 1))
def test_a_transactions_number_is_found_again(current: int, apart: int) -> None:
    """The log has its last 32 bits; it is the nearest to a number of now, before or behind it."""
    whole = current + apart
    assert whole < 0 or full_xid(whole & 0xFFFF_FFFF, current) == whole


@given(st.binary(max_size=60))
def test_other_bytes_are_no_message(data: bytes) -> None:
    """Whatever comes is a message or our error, and so is each message that was cut off."""
    with contextlib.suppress(MalformedEventError):
        parse_message(data)
    whole = b"U" + bytes(4) + b"O\0\2t\0\0\0\1xnN\0\2u" + b"t\0\0\0\1y"
    assert parse_message(whole) == Update(0, ("x", None), True, (UNCHANGED, "y"))
    for end in range(len(whole)):
        with pytest.raises(MalformedEventError):
            parse_message(whole[:end])
