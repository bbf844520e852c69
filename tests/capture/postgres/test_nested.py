"""Writes inside writes to the same table: whatever they did in which order, the trail folds."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.capture.writes.folding import event_of, fold
from tests.servers import Database

from indelible.capture.outbox_layout import OP_INSERT, OP_UPDATE
from indelible.capture.postgres.install import check
from indelible.capture.postgres.outbox import forget_rows, outbox_state, read_outbox
from indelible.transport.server_reader import ServerOutboxReader

from .capturing import KEY, Captured

TABLE = "CREATE TABLE t (k integer PRIMARY KEY, v text)"
ROWS = "INSERT INTO t VALUES (1, 'a'), (2, 'b')"


def trigger(when: str, body: str, *, on: str = "t", name: str = "app") -> tuple[str, str]:
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} "
        f"RETURN {'NEW' if 'BEFORE' in when else 'NULL'}; END $$",
        f"CREATE {when} ON {on} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )


def again(body: str, depth: int = 4) -> str:
    return f"IF pg_trigger_depth() < {depth} THEN {body} END IF;"


MARKS = again("UPDATE t SET v = v || '!' WHERE k = NEW.k;")
HOSTILE = {
    "a trigger's update of what was written": (
        (TABLE, *trigger("TRIGGER app AFTER INSERT OR UPDATE", MARKS)),
        (ROWS, "UPDATE t SET v = 'c'"),
    ),
    "there and back, several times": (
        (
            TABLE,
            ROWS,
            *trigger(
                "TRIGGER app AFTER UPDATE",
                again("UPDATE t SET v = translate(v, 'ab', 'ba') WHERE k = NEW.k;", 6),
            ),
        ),
        ("UPDATE t SET v = 'b'", "UPDATE t SET v = 'a' WHERE k = 1", "UPDATE t SET k = k + 5"),
    ),
    "deleted and put back": (
        (TABLE, ROWS, *trigger("TRIGGER app AFTER DELETE", "INSERT INTO t VALUES (OLD.*);")),
        ("DELETE FROM t", "DELETE FROM t WHERE k = 1"),
    ),
    "inserted and deleted": (
        (TABLE, *trigger("TRIGGER app AFTER INSERT", "DELETE FROM t WHERE k = NEW.k;")),
        (ROWS,),
    ),
    "a BEFORE trigger's update of the row before": (
        (
            TABLE,
            *trigger("TRIGGER app BEFORE INSERT", "UPDATE t SET v = 'old' WHERE v = 'new';"),
        ),
        ("INSERT INTO t VALUES (1, 'new'), (2, 'new'), (3, 'new')",),
    ),
    "a foreign key's action and a trigger's on one row": (
        (
            "CREATE TABLE p (k integer PRIMARY KEY)",
            "CREATE TABLE t (k integer PRIMARY KEY, p integer REFERENCES p ON DELETE SET NULL, "
            "v text)",
            *trigger(
                "TRIGGER app AFTER DELETE", "UPDATE t SET v = v || '!' WHERE p IS NULL;", on="p"
            ),
            "INSERT INTO p VALUES (1), (2)",
            "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')",
        ),
        ("DELETE FROM p",),
    ),
    "MERGE over triggers that insert and update": (
        (
            TABLE,
            ROWS,
            *trigger(
                "TRIGGER app AFTER UPDATE",
                again("INSERT INTO t VALUES (NEW.k + 20, '') ON CONFLICT DO NOTHING;"),
            ),
            *trigger("TRIGGER too AFTER INSERT", again("UPDATE t SET v = v || '+';"), name="too"),
        ),
        (
            "MERGE INTO t USING (VALUES (1), (2), (5)) AS s (k) ON t.k = s.k "
            "WHEN MATCHED AND t.k = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 'm' "
            "WHEN NOT MATCHED THEN INSERT VALUES (s.k, 'n')",
        ),
    ),
    "an upsert that frees a key and takes it, under a self-reference": (
        (
            "CREATE TABLE t (k integer PRIMARY KEY, p integer DEFAULT 1 REFERENCES t "
            "ON UPDATE SET DEFAULT)",
            "INSERT INTO t VALUES (1, NULL), (4, 1), (5, 4)",
        ),
        (
            "INSERT INTO t VALUES (4, 1), (4, 1), (3, 1) "
            "ON CONFLICT (k) DO UPDATE SET k = excluded.k + 6",
        ),
    ),
    "writable CTEs over triggers": (
        (TABLE, ROWS, *trigger("TRIGGER app AFTER INSERT OR UPDATE", MARKS)),
        (
            "WITH gone AS (DELETE FROM t WHERE k = 1 RETURNING v), "
            "up AS (UPDATE t SET v = 'u' WHERE k = 2 RETURNING v) "
            "INSERT INTO t SELECT 1, gone.v FROM gone",
        ),
    ),
    "half of it undone": (
        (
            TABLE,
            *trigger(
                "TRIGGER app AFTER INSERT OR UPDATE",
                again(
                    "BEGIN UPDATE t SET v = v || '!' WHERE k = NEW.k; "
                    "IF NEW.k = 2 THEN RAISE 'no'; END IF; "
                    "EXCEPTION WHEN OTHERS THEN UPDATE t SET k = -k WHERE k = NEW.k; END;"
                ),
            ),
        ),
        (
            ROWS,
            "BEGIN",
            "UPDATE t SET v = 'c'",
            "SAVEPOINT s",
            "UPDATE t SET v = 'd'",
            "ROLLBACK TO s",
            "UPDATE t SET v = 'e' WHERE k = 1",
            "COMMIT",
        ),
    ),
    "deferred constraint triggers": (
        (
            TABLE,
            ROWS,
            *trigger(
                "CONSTRAINT TRIGGER app AFTER INSERT OR UPDATE",
                "IF length(NEW.v) < 4 THEN UPDATE t SET v = v || 'z' WHERE k = NEW.k; END IF;",
                on="t DEFERRABLE INITIALLY DEFERRED",
            ),
        ),
        ("BEGIN", "UPDATE t SET v = 'c'", "UPDATE t SET k = k + 1 WHERE k = 2", "COMMIT"),
    ),
    "tables that write each other": (
        (
            TABLE,
            ROWS,
            "CREATE TABLE u (k integer PRIMARY KEY, v text)",
            "INSERT INTO u SELECT * FROM t",
            *trigger("TRIGGER app AFTER UPDATE", again("UPDATE u SET v = v || 'u';", 6)),
            *trigger(
                "TRIGGER too AFTER UPDATE",
                again("UPDATE t SET v = v || 't' WHERE k = NEW.k;", 6),
                on="u",
                name="too",
            ),
        ),
        ("UPDATE t SET v = 'c'",),
    ),
    "a truncated table that was written before": (
        (
            TABLE,
            "CREATE TABLE u (k integer PRIMARY KEY)",
            *trigger(
                "TRIGGER app AFTER INSERT",
                "INSERT INTO t VALUES (NEW.k, 'a'); TRUNCATE t; INSERT INTO t VALUES (NEW.k, 'b');",
                on="u",
            ),
            *trigger("TRIGGER too AFTER UPDATE", MARKS, name="too"),
        ),
        ("INSERT INTO u VALUES (1), (2)",),
    ),
    "partitions": (
        (
            "CREATE TABLE t (k integer PRIMARY KEY, v text) PARTITION BY RANGE (k)",
            "CREATE TABLE low PARTITION OF t FOR VALUES FROM (MINVALUE) TO (3)",
            "CREATE TABLE high (v text, k integer NOT NULL)",
            "ALTER TABLE t ATTACH PARTITION high FOR VALUES FROM (3) TO (MAXVALUE)",
            ROWS,
            *trigger(
                "TRIGGER app AFTER UPDATE",
                again("UPDATE t SET k = 7 - k, v = v || '!' WHERE k = NEW.k;", 5),
            ),
        ),
        ("UPDATE t SET v = 'c' WHERE k = 1", "UPDATE low SET v = 'd'", "UPDATE t SET v = v"),
    ),
    "an inheritance tree": (
        (
            "CREATE TABLE b (k integer PRIMARY KEY, v text)",
            "CREATE TABLE t (PRIMARY KEY (k)) INHERITS (b)",
            *trigger(
                "TRIGGER app AFTER INSERT OR UPDATE",
                again("UPDATE b SET v = v || '!' WHERE k = NEW.k;"),
            ),
        ),
        (ROWS, "UPDATE b SET v = 'c'"),
    ),
    "no key": (
        ("CREATE TABLE t (k integer, v text)", *trigger("TRIGGER app AFTER UPDATE", MARKS), ROWS),
        ("UPDATE t SET v = 'c'",),
    ),
    "a key of a type of the application's": (
        (
            "CREATE TYPE mood AS ENUM ('a', 'b')",
            "CREATE TABLE t (k mood PRIMARY KEY, v text)",
            *trigger("TRIGGER app AFTER INSERT OR UPDATE", MARKS),
        ),
        ("INSERT INTO t VALUES ('a', 'a'), ('b', 'b')", "UPDATE t SET v = 'c'"),
    ),
    "keys that are equal and not the same": (
        (
            "CREATE TABLE t (k float PRIMARY KEY, v text)",
            "INSERT INTO t VALUES (0, 'a'), (1, 'b')",
            *trigger("TRIGGER app AFTER UPDATE", again("UPDATE t SET k = -k, v = v || '!';")),
        ),
        ("UPDATE t SET v = 'c'",),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_folds_to_what_is_there(database: Database, name: str) -> None:
    """Triggers of the application's, foreign keys' actions and statements that do several things
    may write one row in any order: folding the trail gives the table."""
    schema, statements = HOSTILE[name]
    database.execute(*schema)
    captured = Captured(database)

    with contextlib.closing(database.connect("owner")) as application:
        for statement in statements:
            application.execute(statement)

    assert fold(captured.drafts()) == captured.live()


def test_outer_changes_come_first(database: Database) -> None:
    """What set a trigger off is recorded before what the trigger did."""
    database.execute(TABLE, *trigger("TRIGGER app AFTER INSERT OR UPDATE", MARKS))
    captured = Captured(database)

    database.execute("INSERT INTO t VALUES (1, 'a')")

    events = [event_of(one.draft, one.seq) for one in captured.decoded().events]
    assert [event.action for event in events] == ["t.insert", "t.update", "t.update", "t.update"]
    assert [(event.changes or {})["v"][1] for event in events] == ["a", "a!", "a!!", "a!!!"]


def test_a_nest_is_read_the_same_in_any_pieces(database: Database) -> None:
    """A page may end anywhere in a nest, what was delivered is deleted behind it, and each reader
    may be another: every row says what it says when all are read at once, at its own time."""
    database.execute(TABLE, *trigger("TRIGGER app AFTER INSERT OR UPDATE", MARKS))
    captured = Captured(database)
    database.execute(ROWS, "UPDATE t SET v = 'c'", "DELETE FROM t WHERE k = 1")
    whole = captured.rows()

    pieces = [whole[0]]
    with captured.ours() as connection:
        newest = outbox_state(connection).newest
        while pieces[-1][0] != whole[-1][0]:
            last = pieces[-1][0]
            assert type(last) is int
            again, *rows = read_outbox(connection, last, newest, limit=2, max_bytes=1).rows
            assert again == pieces[-1]
            pieces += rows
            forget_rows(connection, last)
        forget_rows(connection, newest)
        left = connection.execute("SELECT count(*) FROM indelible.outbox").fetchone()

    assert pieces == whole
    assert [row[1] for row in whole] == sorted(row[1] for row in whole if type(row[1]) is int)
    assert left == (1,)


def test_what_fits_into_no_order_is_noticed(database: Database, tmp_path: Path) -> None:
    """Once, with the rows that it is about; they are delivered all the same."""
    database.execute(TABLE, *trigger("TRIGGER app AFTER INSERT", MARKS))
    captured = Captured(database)
    database.execute("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'a')")
    with captured.ours() as connection:
        connection.execute("UPDATE indelible.outbox SET left_new = '(1,z)' WHERE id = 2")
    reader = ServerOutboxReader(captured.server, context_key=KEY, ledgers=tmp_path, waits=False)

    with contextlib.closing(reader):
        for said in (["outbox_ids 1-2, table t"], []):
            page = reader.read_page(1, limit=100, max_bytes=1 << 20)
            decoded = reader.decode(page.rows, page.opened, 0)
            assert said == [
                ", ".join(f"{name} {value}" for name, value in notice.details.items())
                for notice in decoded.notices
                if notice.action == "nest.unclear"
            ]
            assert [row[4] for row in page.rows] == [OP_INSERT, OP_UPDATE] * 2


@pytest.mark.parametrize(
    "altered",
    [
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t ALTER k TYPE bigint",
        "CREATE TYPE twin AS (k integer); ALTER TABLE t ALTER k TYPE twin USING ROW(k)::twin",
        "ALTER TABLE t DROP CONSTRAINT t_pkey, DROP COLUMN k",
    ],
)
def test_an_altered_table_is_written_to_as_before(database: Database, altered: str) -> None:
    """Until `install` runs again: what a trigger writes of its own table is recorded, too."""
    database.execute(
        "CREATE TABLE t (k integer PRIMARY KEY, v text, n integer DEFAULT 0)",
        "INSERT INTO t (k) VALUES (1), (2)",
        *trigger("TRIGGER app AFTER UPDATE", again("UPDATE t SET n = n + 1;", 3)),
    )
    captured = Captured(database)
    database.execute(altered)

    database.execute("UPDATE t SET n = 5")

    events = [event_of(one.draft, one.seq) for one in captured.decoded().events]
    changes = sorted((event.changes or {})["n"] for event in events)
    assert changes == [(0, 5)] * 2 + [(n, n + 1) for n in range(5, 11) for _ in range(2)]


def test_a_trigger_that_comes_later(database: Database) -> None:
    """Once the application has a trigger that may write inside of writes, it is said that `install`
    has to run again."""
    database.execute(TABLE, ROWS)
    captured = Captured(database)
    database.execute(*trigger("TRIGGER app AFTER UPDATE", MARKS))

    drifts = check(captured.server, captured.policy)
    captured.install()
    database.execute("UPDATE t SET v = 'c'")

    assert [str(one) for one in drifts] == [
        "t: triggers of the application or foreign keys came or went"
    ]
    assert check(captured.server, captured.policy) == []
    assert fold(captured.drafts()) == captured.live()


@pytest.mark.parametrize("mark", [0, -1, 1 << 62])
def test_a_mark_of_one_s_own_makes_nothing_vanish(database: Database, mark: int) -> None:
    """Whoever sets the mark of a statement themselves may put its changes out of order, no more."""
    database.execute(TABLE, *trigger("TRIGGER app AFTER UPDATE", MARKS), ROWS)
    database.execute("GRANT ALL ON t TO app")
    captured = Captured(database)
    with contextlib.closing(database.connect("app")) as application:
        (oid,) = application.execute("SELECT 't'::regclass::oid").fetchone() or (0,)
        application.execute(
            f"SELECT set_config('indelible.n{oid}', extract(epoch FROM statement_timestamp()) "
            f"|| ':{mark}', false); UPDATE t SET v = 'c'"
        )

    events = [event_of(one.draft, one.seq) for one in captured.decoded().events]
    assert sorted((event.changes or {})["v"][1] for event in events) == [
        *("c!!!", "c!!!", "c!!", "c!!", "c!", "c!", "c", "c")[::-1]
    ]
    if mark <= 0:
        assert fold(captured.drafts()) == captured.live()
