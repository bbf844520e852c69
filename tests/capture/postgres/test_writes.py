"""Every way in which rows are written is in the trail, row by row, as it was."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import psycopg
import pytest
from tests.capture.writes.folding import event_of, fold
from tests.servers import Database

from indelible.events.model import Event
from indelible.policy.model import Profile

from .capturing import Captured


def events(captured: Captured) -> list[Event]:
    return [event_of(one.draft, one.seq) for one in captured.decoded().events]


def actions(captured: Captured) -> list[str]:
    return [event.action for event in events(captured)]


SCHEMA = (
    "CREATE TABLE t (id integer PRIMARY KEY, v text, w integer UNIQUE)",
    "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)",
)


STATEMENTS = [
    ("INSERT INTO t VALUES (3, 'c', 3), (4, 'd', 4)", ["t.insert"] * 2),
    ("UPDATE t SET v = v || 'x'", ["t.update"] * 2),
    ("UPDATE t SET id = id + 10", ["t.update"] * 2),
    ("DELETE FROM t", ["t.delete"] * 2),
    ("TRUNCATE t", ["t.delete"] * 2),
    (
        "INSERT INTO t VALUES (1, 'z', 9), (3, 'c', 3) "
        "ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        ["t.update", "t.insert"],
    ),
    ("INSERT INTO t VALUES (1, 'z', 9) ON CONFLICT DO NOTHING", []),
    (
        "WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING *) "
        "INSERT INTO t SELECT id, v || '!', w FROM gone",
        ["t.delete", "t.insert"],
    ),
    (
        "MERGE INTO t USING (VALUES (1), (3)) AS s (id) ON s.id = t.id "
        "WHEN MATCHED THEN UPDATE SET v = 'merged' "
        "WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new', NULL)",
        ["t.update", "t.insert"],
    ),
    ("UPDATE t SET v = v WHERE false", []),
    ("COPY t FROM PROGRAM 'printf \"7\\\\tx\\\\t7\\\\n\"'", ["t.insert"]),
]


@pytest.mark.parametrize(("statement", "expected"), STATEMENTS)
def test_each_row_of_each_statement(
    database: Database, statement: str, expected: list[str]
) -> None:
    """One event a row, and folding them on the baseline gives the table."""
    database.execute(*SCHEMA)
    captured = Captured(database)

    database.execute(statement, role="postgres" if "COPY" in statement else "owner")

    assert actions(captured) == expected
    assert fold(captured.drafts()) == captured.live()


KINDS = (
    'CREATE SCHEMA "Odd"',
    'CREATE TABLE "Odd"."My ""Table" ("a:b" text, "A" integer, a integer, '
    'PRIMARY KEY ("A", "a:b"))',
    "CREATE TABLE gen (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v integer, "
    "w integer GENERATED ALWAYS AS (v * 2) STORED)",
    "CREATE TABLE identified (v integer NOT NULL, w text)",
    "CREATE UNIQUE INDEX identity ON identified (v)",
    "ALTER TABLE identified REPLICA IDENTITY USING INDEX identity",
    "CREATE TABLE keyless (v text, n numeric)",
    "CREATE TABLE parent (id integer PRIMARY KEY, v text)",
    "CREATE TABLE child (extra text, PRIMARY KEY (id)) INHERITS (parent)",
    "CREATE TABLE deep (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE deep_a PARTITION OF deep FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)",
    "CREATE TABLE deep_a1 PARTITION OF deep_a FOR VALUES FROM (0) TO (5)",
    "CREATE TABLE deep_b PARTITION OF deep DEFAULT",
    "CREATE UNLOGGED TABLE loose (id uuid PRIMARY KEY)",
    "CREATE MATERIALIZED VIEW mv AS SELECT 1",
    "INSERT INTO child VALUES (5, 'there', 'x')",
    "INSERT INTO keyless VALUES ('there', 1)",
)
WRITES = (
    'INSERT INTO "Odd"."My ""Table" VALUES (\'x\', 1, 1), (\'y\', 1, 2)',
    'UPDATE "Odd"."My ""Table" SET "A" = 2, a = 9 WHERE "a:b" = \'x\'',
    "INSERT INTO gen (v) VALUES (1), (2)",
    "UPDATE gen SET v = v + 1",
    "INSERT INTO identified VALUES (1, 'a'), (2, 'b')",
    "UPDATE identified SET v = v + 10",
    "INSERT INTO keyless VALUES ('a', 1.0), (NULL, NULL)",
    "UPDATE keyless SET n = 2 WHERE v = 'a'",
    f"INSERT INTO keyless VALUES ('{'long' * 500}', 3)",
    "DELETE FROM keyless WHERE v IS NULL",
    "INSERT INTO parent VALUES (1, 'p')",
    "INSERT INTO child VALUES (2, 'c', 'e')",
    "UPDATE parent SET v = v || '!'",
    "DELETE FROM parent WHERE id = 5",
    "INSERT INTO deep VALUES (1, 'a'), (20, 'b')",
    "INSERT INTO deep_a1 VALUES (2, 'direct')",
    "UPDATE deep SET id = id + 19 WHERE id = 2",
    "TRUNCATE deep_a1",
    "INSERT INTO loose VALUES ('0190f3c1-0000-7000-8000-000000000001')",
)


def test_tables_of_every_kind(database: Database) -> None:
    """Composite keys, odd names, other schemas, generated and identity columns, replica
    identities, no key at all, inheritance, partitions of partitions: all fold to what is there."""
    database.execute(*KINDS)
    captured = Captured(database)
    database.execute(*WRITES)
    assert fold(captured.drafts()) == captured.live()
    keyless = [e for e in events(captured) if e.targets[0].kind == "keyless"]
    assert {e.targets[0].keyless for e in keyless} == {"values"}
    (deleted,) = (e for e in events(captured) if e.action == "child.delete")
    assert deleted.changes is not None and "extra" in deleted.changes
    database.execute("TRUNCATE deep, parent")
    assert fold(captured.drafts()) == captured.live()


@pytest.mark.parametrize("profile", ["triggers", "log"])
def test_what_is_masked_never_enters_the_outbox(logged: Database, profile: Profile) -> None:
    """Masked values are in no row; of others only that they changed is kept."""
    logged.execute("CREATE TABLE t (id integer PRIMARY KEY, card text, notes json, v text)")
    masked = "[tables.t]\nmask = ['card']\nwithout_values = ['notes']\n"
    captured = Captured(logged, masked, profile)
    logged.execute(
        "INSERT INTO t VALUES (1, 'secret', '{\"a\": \"private\"}', 'x'), (2, 'secret', '1', 'y')",
        "UPDATE t SET card = 'secreter', notes = '{}' WHERE id = 1",
        "UPDATE t SET notes = CASE id WHEN 2 THEN '3' ELSE notes END",
        "DELETE FROM t",
    )
    assert not any(word in repr(captured.rows()) for word in ("secret", "private"))
    said = [sorted(e.changes or {}) for e in events(captured)]
    assert sorted(said[2:5]) == [[], ["notes"], ["notes"]]
    everything = ["card", "id", "notes", "v"]
    assert [said[0], said[-1]] == [everything, everything]


def test_subjects_follow_longer_paths(database: Database) -> None:
    """A row two foreign keys away names whose it is."""
    database.execute(
        "CREATE TABLE customer (id uuid PRIMARY KEY)",
        "CREATE TABLE invoice (id integer PRIMARY KEY, customer_id uuid REFERENCES customer)",
        "CREATE TABLE line (id integer PRIMARY KEY, invoice_id integer REFERENCES invoice)",
        "INSERT INTO customer VALUES ('0190f3c1-0000-7000-8000-000000000001')",
        "INSERT INTO invoice VALUES (1, '0190f3c1-0000-7000-8000-000000000001'), (2, NULL)",
        "INSERT INTO line VALUES (7, 1)",
    )
    captured = Captured(
        database,
        "[tables.customer]\nsubject = 'self'\n"
        "[tables.line]\nsubject = 'invoice_id -> invoice.customer_id -> customer'\n",
    )
    database.execute("INSERT INTO line VALUES (1, 1), (2, 2), (3, NULL)")
    subjects = [[subject.id for subject in e.subjects] for e in events(captured)]
    assert subjects == [["0190f3c1-0000-7000-8000-000000000001"], [], []]
    baselines = [event_of(draft) for draft in captured.journal.drafts]
    (line,) = (e for e in baselines if e.targets[0].kind == "line")
    assert [subject.id for subject in line.subjects] == ["0190f3c1-0000-7000-8000-000000000001"]


def test_a_row_that_is_kept_out_of_its_new_partition(database: Database) -> None:
    """It left the old one and came nowhere, with others or alone: the statement goes on, and what
    left and what came is told as what it is."""
    database.execute(
        "CREATE TABLE p (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
        "CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id = 11 THEN RETURN NULL; END IF; RETURN NEW; END'",
        "CREATE TRIGGER keep_out BEFORE INSERT ON p2 FOR EACH ROW EXECUTE FUNCTION keep_out()",
        "INSERT INTO p VALUES (1, 'a'), (2, 'b')",
    )
    captured = Captured(database)

    database.execute("UPDATE p SET id = id + 10")
    assert sorted(actions(captured)) == ["p.delete", "p.delete", "p.insert"]

    database.execute("INSERT INTO p VALUES (1, 'alone')")
    database.execute("UPDATE p SET id = id + 10 WHERE id = 1")
    assert actions(captured)[3:] == ["p.insert", "p.delete"]
    assert fold(captured.drafts()) == captured.live()


def test_what_fails_half_way_leaves_nothing(database: Database) -> None:
    """A statement that fails, deferred or at once, was never there."""
    database.execute(
        *SCHEMA,
        "CREATE TABLE c (id integer PRIMARY KEY, t integer REFERENCES t "
        "DEFERRABLE INITIALLY DEFERRED)",
    )
    captured = Captured(database)
    for failing in (
        "INSERT INTO t VALUES (8, 'x', 8), (9, 'y', 1)",
        "UPDATE t SET w = 1",
        "INSERT INTO c VALUES (1, 99)",
    ):
        with pytest.raises(psycopg.Error):
            database.execute(failing)
    assert actions(captured) == []


def test_many_rows_after_few(database: Database) -> None:
    """A plan that was made for single rows isn't used against many."""
    database.execute("CREATE TABLE t (id integer PRIMARY KEY, v text)")
    captured = Captured(database)
    with contextlib.closing(database.connect(options="-c statement_timeout=20000")) as connection:
        connection.execute("INSERT INTO t SELECT n, 'v' FROM generate_series(1, 20000) AS n")
        for n in range(1, 9):
            connection.execute("UPDATE t SET v = 'w' WHERE id BETWEEN %s AND %s", (n, n + n % 2))
        connection.execute("UPDATE t SET id = -id")
    assert len(captured.rows()) == 20_000 + 12 + 20_000
    assert fold(captured.drafts()) == captured.live()


def test_importing_indelible_needs_no_driver() -> None:
    """`import indelible` loads no psycopg; without it the error names the pip command."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import indelible, indelible.trail, indelible.cli.install\n"
        "from indelible.capture.postgres.connecting import connect\n"
        "from indelible.policy import Server\n"
        "try: connect(Server('postgresql://x/y'))\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'indelible[postgres]'" in done.stdout
