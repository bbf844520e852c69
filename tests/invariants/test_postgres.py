"""On PostgreSQL: what a superuser did past the triggers is named, and nothing else is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from indelible import Trail
from indelible.errors import DeliveryError, NotInstalledError
from indelible.events.values import ABSENT, TypedValue
from tests.capture.postgres.test_trail import Site
from tests.servers import Database

from .site import Found

SCHEMA = (
    "CREATE TYPE mood AS ENUM ('glad', 'sad')",
    "CREATE TABLE customer (id uuid PRIMARY KEY, name text NOT NULL, card text, notes text,"
    " mood mood, tags text[], born date, balance numeric(12,3), ratio double precision, blob bytea,"
    " extra jsonb, seen timestamptz, bits bit varying(9), code char(4), ok boolean,"
    " shout text GENERATED ALWAYS AS (upper(name)) STORED)",
    "CREATE TABLE line (invoice_id integer, place bigint, text varchar(20),"
    " PRIMARY KEY (invoice_id, place))",
    "CREATE TABLE bare (a text, b integer)",
    "CREATE TABLE part (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (100) TO (200)",
)
ZARA = "0190f3c1-0000-7000-8000-000000000001"
YAN = "0190f3c1-0000-7000-8000-000000000002"
BEFORE = (
    f"INSERT INTO customer VALUES ('{ZARA}', 'Zara', '4711', 'n', 'glad', '{{a,\"b,c\",NULL}}',"
    " '1990-02-03', 1.500, 'NaN', '\\x00ff', '{\"k\": [1, \"ü\"]}',"
    " '2026-01-01 12:00:00.123456+02', B'101', 'ab', true)",
    f"INSERT INTO customer (id, name) VALUES ('{YAN}', 'Yan')",
    "INSERT INTO line VALUES (1, 1, 'one'), (1, 9007199254740993, 'two'), (2, 1, 'three')",
    "INSERT INTO bare VALUES ('x', 1), ('x', 1), ('y', NULL)",
    "INSERT INTO part VALUES (1, 'low'), (101, 'high')",
)
POLICY = "[tables.customer]\nmask = ['card']\nwithout_values = ['notes']\n"
UUID = "pg:uuid"


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    database.execute(*SCHEMA, *BEFORE)
    database.grant()
    site = Site(database, tmp_path, POLICY)
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


SEEN = (
    f"UPDATE customer SET name = 'Zoe', card = 'x', notes = 'm', balance = 2 WHERE id = '{ZARA}'",
    "INSERT INTO line VALUES (3, 1, 'four')",
    "UPDATE line SET place = 77, text = 'moved' WHERE invoice_id = 2",
    "DELETE FROM line WHERE place = 9007199254740993",
    "DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare WHERE a = 'x' LIMIT 1)",
    "UPDATE bare SET b = 5 WHERE a = 'y'",
    "UPDATE part SET id = 150 WHERE id = 1",
)


def reconcile(trail: Trail, *tables: str) -> Found:
    return Found(trail.reconcile(*tables))


def test_nothing_is_found_where_all_was_seen(site: Site, trail: Trail) -> None:
    """Every type, changed keys, rows that moved to another partition, tables without a key."""
    site.database.execute(*SEEN, role="app")
    site.database.execute("TRUNCATE part; INSERT INTO part VALUES (7, 'again')")

    found = reconcile(trail)

    assert found.said == []
    assert {name: one.rows for name, one in found.reports.items()} == {
        "customer": 2,
        "line": 3,
        "bare": 2,
        "part": 1,
    }
    customer = found.reports["customer"]
    assert "shout" in customer.compared
    assert not {"card", "notes"} & set(customer.compared)
    assert customer.notes == (
        "masked, never captured: card",
        "captured without values: notes",
    )


def test_a_superusers_hand(site: Site, trail: Trail) -> None:
    """`session_replication_role = replica` keeps ordinary triggers from firing, ours fire; a
    superuser who disables them and puts them back leaves rows that are named."""
    site.database.execute(*SEEN, role="app")
    superuser = site.database.connect("postgres")
    superuser.execute("SET session_replication_role = replica")
    superuser.execute(f"UPDATE customer SET name = 'seen all the same' WHERE id = '{YAN}'")
    superuser.execute("RESET session_replication_role")
    trail.flush()
    assert reconcile(trail).said == []
    for table in ("customer", "line", "bare", "part_high"):
        superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    superuser.execute(f"UPDATE customer SET card = '1', notes = 'x' WHERE id = '{ZARA}'")
    superuser.execute(f"UPDATE customer SET balance = 1000, mood = 'sad' WHERE id = '{ZARA}'")
    superuser.execute("DELETE FROM line WHERE invoice_id = 1")
    superuser.execute("INSERT INTO line VALUES (4, 4, 'unseen')")
    superuser.execute("DELETE FROM bare WHERE a = 'y'")
    superuser.execute("INSERT INTO bare VALUES ('x', 1), ('x', 1)")
    superuser.execute("UPDATE part_high SET v = 'unseen' WHERE id = 150")
    for table in ("customer", "line", "bare", "part_high"):
        superuser.execute(
            f"DO $$ DECLARE t text; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = "
            f"'{table}'::regclass AND NOT tgisinternal LOOP EXECUTE "
            f"format('ALTER TABLE {table} ENABLE ALWAYS TRIGGER %I', t); END LOOP; END $$"
        )
    superuser.close()

    found = reconcile(trail)

    said = {(name, what): columns for name, what, columns in found.said}
    assert said == {
        (f"customer:{ZARA}", "differs"): {
            "balance": (TypedValue("pg:numeric", "2.000"), TypedValue("pg:numeric", "1000.000")),
            "mood": (TypedValue("pg:public.mood", "glad"), TypedValue("pg:public.mood", "sad")),
        },
        ("line:[1,1]", "missing"): {
            "invoice_id": (1, ABSENT),
            "place": (1, ABSENT),
            "text": ("one", ABSENT),
        },
        ("line:[4,4]", "extra"): {
            "invoice_id": (ABSENT, 4),
            "place": (ABSENT, 4),
            "text": (ABSENT, "unseen"),
        },
        ('bare:["y",5]', "missing"): {},
        ('bare:["x",1]', "extra"): {},
        ("part:150", "differs"): {"v": ("low", "unseen")},
    }
    copies = {d.id: d.copies for d in found.differences if d.kind == "bare"}
    assert copies == {("y", 5): 1, ("x", 1): 2}


def test_waiting_rows_deleted_from_the_outbox(site: Site) -> None:
    """A waiting row that a superuser deletes looks rolled back to the relay; reconciliation names
    what it told."""
    site.database.execute("UPDATE line SET text = 'hidden' WHERE invoice_id = 2", role="app")
    site.database.execute("DELETE FROM indelible.outbox", role="postgres")
    with site.trail() as trail:
        trail.flush()
        assert list(trail.events(action="source.gap", system=True)) == []

        assert reconcile(trail).said == [("line:[2,1]", "differs", {"text": ("three", "hidden")})]


def test_columns_that_came_and_went(site: Site, trail: Trail) -> None:
    """What the trail can't know of a table that was altered is said, and is no finding."""
    site.database.execute(
        "ALTER TABLE line ADD COLUMN more integer DEFAULT 5",
        "ALTER TABLE customer DROP COLUMN born",
        "ALTER TABLE part ALTER COLUMN v TYPE integer USING length(v)",
    )

    found = reconcile(trail)

    assert found.said == []
    assert found.reports["line"].compared == ("invoice_id", "place", "text")
    assert "more: the trail has no value of 3 of 3 rows" in found.reports["line"].notes
    assert any("triggers aren't as they should be" in n for n in found.reports["line"].notes)
    assert "v: of another type than the trail has it: not compared" in found.reports["part"].notes


def test_while_the_application_writes(site: Site, trail: Trail) -> None:
    """Rows that change while they are read are no findings; what was changed unseen still is."""
    site.database.execute(
        "INSERT INTO part SELECT n, 'v' FROM generate_series(2, 99) AS n", role="app"
    )
    stop = threading.Event()

    def work(seed: int) -> None:
        with contextlib.closing(site.database.connect("app")) as app:
            n = seed
            while not stop.is_set():
                n = (n * 31 + 7) % 99 + 1
                with contextlib.suppress(psycopg.errors.DeadlockDetected), app.transaction():
                    app.execute("UPDATE part SET v = v || 'x' WHERE id = %s", (n,))
                    app.execute("DELETE FROM part WHERE id = %s", (n % 13,))
                    app.execute(
                        "INSERT INTO part VALUES (%s, 'new') ON CONFLICT DO NOTHING", (n % 17,)
                    )
                    app.execute("UPDATE part SET v = left(v, 5) WHERE id = %s", (n,))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(2):
            assert reconcile(trail, "part").said == []
        site.database.execute(
            "ALTER TABLE part_high DISABLE TRIGGER USER",
            "UPDATE part_high SET v = 'unseen' WHERE id = 101",
        )
        assert reconcile(trail, "part").said == [("part:101", "differs", {"v": ("high", "unseen")})]
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_read_from_the_log(logged: Database, tmp_path: Path) -> None:
    """Where the log tells the writes, what was written before the snapshot is in the trail, too."""
    logged.execute(*SCHEMA, *BEFORE)
    logged.grant()
    site = Site(logged, tmp_path, POLICY, profile="log")
    site.run("install")
    with site.trail() as trail:
        logged.execute("TRUNCATE bare")
        assert reconcile(trail).said == []
        logged.execute(*SEEN, role="app")
        assert reconcile(trail).said == []
        logged.execute("TRUNCATE line; INSERT INTO line VALUES (8, 8, 'after')")

        found = reconcile(trail)

        assert found.said == []
        assert "it was emptied by TRUNCATE, and which rows went wasn't told" in (
            found.reports["line"].notes
        )


def test_out_of_reach(site: Site, database: Database) -> None:
    """A server that doesn't answer, or one without an outbox, is said so."""
    assert site.run("reconcile").count("rows compared") == 4
    with contextlib.closing(site.database.connect("postgres")) as superuser:
        superuser.execute("DROP SCHEMA indelible CASCADE")
    config = site.config.read_text()
    unreachable = config.replace(f":{database.server.port}/", ":1/")
    for text, error in ((config, NotInstalledError), (unreachable, DeliveryError)):
        site.config.write_text(text)
        trail = Trail.open(site.config)
        with pytest.raises(error):
            reconcile(trail)
        trail.close(timeout_s=0.1)
