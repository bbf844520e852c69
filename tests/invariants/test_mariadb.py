"""On MariaDB: what no trigger sees there, TRUNCATE first of all, is named; nothing else is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from indelible import Trail
from indelible.errors import DeliveryError
from indelible.events.values import ABSENT, TypedValue
from tests.capture.mariadb.test_trail import Site
from tests.mariadb_server import MariadbDatabase
from tests.reversal.test_mariadb import BEFORE, SCHEMA

from .site import Found

KEYLESS = (
    "CREATE TABLE bare (a VARCHAR(20), b INT)",
    "INSERT INTO bare VALUES ('x', 1), ('x', 1), ('y', NULL)",
)
SEEN = (
    "UPDATE customer SET name = 'Zoe', mood = 'sad', balance = 2, part = 0.3, at = NOW(3), "
    "place = NULL, raw = X'00' WHERE id = 'zara'",
    "UPDATE line SET place = 9, text = 'moved' WHERE invoice_id = 2",
    "INSERT INTO invoice (customer_id, total) VALUES ('yan', 5)",
    "DELETE FROM line WHERE invoice_id = 1 AND place = 2",
    "REPLACE INTO node VALUES (3, 1)",
    "UPDATE customer SET id = 'YAN2', name = 'yan' WHERE name = 'Yan' AND id NOT IN "
    "(SELECT customer_id FROM invoice)",
    "DELETE FROM bare WHERE a = 'x' LIMIT 1",
    "UPDATE bare SET b = 5 WHERE a = 'y'",
)


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute(*SCHEMA, *BEFORE, *KEYLESS)
    site = Site(mariadb_database, tmp_path)
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


def reconcile(trail: Trail, *tables: str) -> Found:
    return Found(trail.reconcile(*tables))


def test_nothing_is_found_where_all_was_seen(site: Site, trail: Trail) -> None:
    """Every type, changed keys, and a table without one."""
    site.database.execute(*SEEN)

    found = reconcile(trail)

    assert found.said == []
    assert {name: one.rows for name, one in found.reports.items()} == {
        "bare": 2,
        "customer": 2,
        "invoice": 4,
        "line": 2,
        "node": 3,
    }


def test_truncate(site: Site, trail: Trail) -> None:
    """No trigger sees TRUNCATE: every row that went is named."""
    site.database.execute(*SEEN)
    trail.flush()
    before = trail.reader.size
    site.database.execute("TRUNCATE line", "TRUNCATE bare")

    found = reconcile(trail)

    assert all(
        b'"kind":"change"' not in entry.body
        for entry in trail.reader.entries(before, trail.reader.size)
    )
    assert found.names == [
        ('bare:["x",1]', "missing"),
        ('bare:["y",5]', "missing"),
        ("line:[1,1]", "missing"),
        ("line:[2,9]", "missing"),
    ]
    assert found.said[2][2] == {
        "invoice_id": (1, ABSENT),
        "place": (1, ABSENT),
        "text": ("é€", ABSENT),
    }
    assert any("emptied by TRUNCATE" in note for note in found.reports["line"].notes)


def test_triggers_dropped_and_put_back(site: Site, trail: Trail) -> None:
    """Rows written while the triggers were away are named, column by column."""
    connection = site.database.connect()
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SHOW TRIGGERS LIKE 'customer'")
        triggers = [row[0] for row in cursor.fetchall()]
        texts = []
        for name in triggers:
            cursor.execute(f"SHOW CREATE TRIGGER `{name}`")
            texts.append(cursor.fetchone()[2])
            cursor.execute(f"DROP TRIGGER `{name}`")
        cursor.execute("UPDATE customer SET balance = 99, part = 0.5 WHERE id = 'zara'")
        cursor.execute("UPDATE customer SET touched = NULL WHERE id = 'zara'")
        for text in texts:
            cursor.execute(text)
        connection.commit()

    assert reconcile(trail, "customer").said == [
        (
            "customer:zara",
            "differs",
            {
                "balance": (TypedValue("my:decimal", "1.500"), TypedValue("my:decimal", "99.000")),
                "part": (
                    TypedValue("real", (0.10000000149011612).hex()),
                    TypedValue("real", (0.5).hex()),
                ),
            },
        )
    ]


def test_waiting_rows_deleted_from_the_outbox(site: Site) -> None:
    """A waiting row that the owner deletes looks rolled back to the relay; reconciliation names
    what it told."""
    site.database.execute(
        "UPDATE line SET text = 'hidden' WHERE invoice_id = 2",
        f"DELETE FROM {site.database.name}_indelible.outbox",
    )
    with site.trail() as trail:
        trail.flush()
        assert list(trail.events(action="source.gap", system=True)) == []

        assert reconcile(trail, "line").said == [
            ("line:[2,1]", "differs", {"text": ("three", "hidden")})
        ]


def test_while_the_application_writes(site: Site, trail: Trail) -> None:
    """Rows that change while they are read are no findings."""
    stop = threading.Event()

    def work(seed: int) -> None:
        connection = site.database.connect(autocommit=True)
        with contextlib.closing(connection), connection.cursor() as cursor:
            n = seed
            while not stop.is_set():
                n = (n * 31 + 7) % 97 + 4
                with contextlib.suppress(pymysql.err.OperationalError):
                    cursor.execute("REPLACE INTO line VALUES (2, %s, %s)", (n, f"t{n}"))
                    cursor.execute("UPDATE line SET text = 'v' WHERE place = %s", (n % 31,))
                    cursor.execute("DELETE FROM line WHERE place = %s", (n % 13 + 4,))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(2):
            assert reconcile(trail, "line").said == []
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_out_of_reach(site: Site, mariadb_database: MariadbDatabase) -> None:
    """A server that doesn't answer is said so."""
    config = site.config.read_text()
    site.config.write_text(config.replace(f":{mariadb_database.server.port}/", ":1/"))
    unreachable = Trail.open(site.config)
    with pytest.raises(DeliveryError):
        reconcile(unreachable)
    unreachable.close(timeout_s=0.1)
