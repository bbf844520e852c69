"""Reversing on MariaDB: what an actor did is undone bit by bit, and nobody else's work is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible import Actor, Target, Trail, acting_as
from indelible.errors import ReversalError
from indelible.events.context import current_frame
from tests.capture.mariadb.test_trail import Site
from tests.mariadb_server import MariadbDatabase

BOB, CAROL, EVE = Actor("staff", "bob"), Actor("staff", "carol"), Actor("staff", "eve")
SCHEMA = (
    "CREATE TABLE customer (id CHAR(9) PRIMARY KEY, name VARCHAR(40) NOT NULL, mood "
    "ENUM('glad', 'sad'), tags SET('a', 'b', 'c'), born DATE, balance DECIMAL(12,3), "
    "ratio DOUBLE, part FLOAT, raw BLOB, extra JSON, seen TIMESTAMP(6) NULL, at DATETIME(3), "
    "bits BIT(9), big BIGINT UNSIGNED, place POINT, year_ YEAR, key_ UUID, ip INET6, "
    "shout VARCHAR(40) GENERATED ALWAYS AS (UPPER(name)) STORED, "
    "touched TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP)",
    "CREATE TABLE invoice (id INT AUTO_INCREMENT PRIMARY KEY, customer_id CHAR(9), total "
    "DECIMAL(10,2) CHECK (total < 1000), FOREIGN KEY (customer_id) REFERENCES customer (id))",
    "CREATE TABLE line (invoice_id INT, place INT, text VARCHAR(20) CHARACTER SET latin1, "
    "PRIMARY KEY (invoice_id, place), FOREIGN KEY (invoice_id) REFERENCES invoice (id))",
    "CREATE TABLE node (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES node (id))",
)
BEFORE = (
    "SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    "INSERT INTO customer (id, name, mood, tags, born, balance, ratio, part, raw, extra, seen, at, "
    "bits, big, place, year_, key_, ip) VALUES ('zara', 'Zara', 'glad', 'a,c', '1990-02-03', 1.5, "
    "0.1e0 + 0.2e0, 0.1, X'00FF27', '{\"k\":  [1, \"ü\"]}', '2026-01-01 12:00:00.123456', "
    "'2026-03-29 02:30:00.001', b'101', 18446744073709551615, ST_GeomFromText('POINT(1.5 -2)', "
    "4326), 1999, '0190f3c1-0000-7000-8000-000000000001', '2001:db8::1')",
    "INSERT INTO customer (id, name) VALUES ('yan', 'Yan')",
    "INSERT INTO invoice (id, customer_id, total) VALUES (0, 'yan', 1), (1, 'zara', 10.50), "
    "(2, 'yan', 20)",
    "INSERT INTO line VALUES (1, 1, 'é€'), (1, 2, 'two'), (2, 1, 'three')",
    "INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2)",
)
DAMAGE = (
    "UPDATE customer SET name = 'X', mood = 'sad', tags = NULL, born = '0000-00-00', balance = 0, "
    "ratio = -1.7976931348623157e308, part = 3.4028234e38, raw = '', extra = '[]', seen = NOW(6), "
    "at = NULL, bits = b'0', big = 0, place = NULL, year_ = NULL, key_ = NULL, ip = NULL "
    "WHERE id = 'zara'",
    "DELETE FROM line WHERE invoice_id = 1",
    "DELETE FROM invoice WHERE id IN (0, 1)",
    "INSERT INTO invoice (customer_id, total) VALUES ('yan', 5)",
    "UPDATE line SET place = 9, text = 'moved' WHERE invoice_id = 2",
    "DELETE FROM node WHERE id = 3",
    "UPDATE node SET parent = NULL WHERE id = 2",
    "DELETE FROM node WHERE id = 1",
    "REPLACE INTO node VALUES (2, 2)",
    "UPDATE customer SET name = 'yan' WHERE id = 'YAN'",
)
TABLES = ("customer", "invoice", "line", "node")


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute(*SCHEMA, *BEFORE)
    site = Site(mariadb_database, tmp_path)
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


def dump(site: Site) -> dict[str, Any]:
    """Every row, floats and times bit by bit; but for what the server touches by itself."""
    found = {}
    connection = site.database.connect()
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for table in TABLES:
            columns = "*"
            if table == "customer":
                columns = (
                    "id, name, mood, tags, born, balance, ratio, CAST(part AS DOUBLE), HEX(raw), "
                    "extra, seen, at, HEX(bits), big, HEX(place), year_, key_, ip, shout"
                )
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
            found[table] = cursor.fetchall()
    return found


def work(site: Site, trail: Trail, actor: Actor, *statements: str) -> None:
    sender = site.sender(trail)
    connection = site.database.connect("app", autocommit=False)
    with contextlib.closing(connection), connection.cursor() as cursor, acting_as(actor):
        cursor.execute("SET sql_mode = ''")
        for statement in statements:
            sender.send_context(cursor, current_frame())
            cursor.execute(statement)
            connection.commit()
    trail.flush()


def test_everything_is_as_it_was(site: Site, trail: Trail) -> None:
    """Every type, ids of 0, generated columns, trees, other character sets: bit by bit."""
    before = dump(site)
    work(site, trail, BOB, *DAMAGE)
    assert dump(site) != before
    plan = trail.plan_reversal(by=BOB)
    assert plan.conflicts == (), str(plan)
    assert dump(site) != before, "a plan writes nothing"
    with acting_as(EVE, reason="bob was wrong"):
        done = plan.apply()
    assert done.conflicts == (), str(done)
    assert dump(site) == before
    with acting_as(EVE):
        again = trail.plan_reversal(by=BOB).apply()
    assert again.restorable == ()
    trail.flush()
    reversing = [each.event for each in trail.changes(by=EVE)]
    undone = {event for each in reversing for event in each.reverses}
    assert undone == {each.event.id for each in trail.changes(by=BOB)}
    assert {each.reason for each in reversing} == {"bob was wrong"}
    trail.verify()


def test_what_others_changed_since_is_left_alone(site: Site, trail: Trail) -> None:
    work(
        site,
        trail,
        BOB,
        "UPDATE customer SET name = 'B', balance = 2 WHERE id = 'zara'",
        "UPDATE customer SET name = 'B' WHERE id = 'yan'",
        "INSERT INTO invoice (customer_id, total) VALUES ('yan', 7)",
    )
    work(
        site,
        trail,
        CAROL,
        "UPDATE customer SET name = 'C' WHERE id = 'zara'",
        "INSERT INTO line VALUES (3, 1, 'refers to it')",
    )
    plan = trail.plan_reversal(by=BOB)
    assert "changed since" in str(plan)
    assert "line:[3,1] refers to it" in str(plan)
    with acting_as(EVE):
        plan.apply()
    trail.flush()
    states = {
        name: next(iter(trail.state(Target("customer", name)))).state.columns
        for name in ("zara", "yan")
    }
    assert states["zara"]["name"] == "C"
    assert states["yan"]["name"] == "Yan"
    assert "1.500" in str(states["zara"]["balance"])
    assert site.run("reverse", "--by", "staff:bob", code=1)


def test_a_key_that_only_its_case_tells_apart_is_another_rows(site: Site, trail: Trail) -> None:
    """The server takes `ZARA` for `zara`: a row that was renamed so isn't the one that was."""
    work(site, trail, BOB, "INSERT INTO customer (id, name) VALUES ('ann', 'Ann')")
    work(site, trail, CAROL, "UPDATE customer SET id = 'ANN' WHERE id = 'ann'")
    with acting_as(EVE):
        done = trail.plan_reversal(by=BOB).apply()
    assert done.restorable == ()
    with contextlib.closing(site.database.connect()) as look, look.cursor() as cursor:
        cursor.execute("SELECT id FROM customer WHERE name = 'Ann'")
        assert cursor.fetchall() == (("ANN",),)


def test_what_the_database_refuses_is_a_conflict(site: Site, trail: Trail) -> None:
    """A constraint that is newer than what would be restored; the rest is restored. What the
    server quotes of a row isn't said."""
    work(
        site,
        trail,
        BOB,
        "UPDATE invoice SET total = 1 WHERE id = 1",
        "UPDATE invoice SET total = 2 WHERE id = 2",
    )
    site.database.execute("ALTER TABLE invoice ADD CONSTRAINT low CHECK (total < 15)")
    with acting_as(EVE):
        plan = trail.plan_reversal(by=BOB).apply()
    (conflict,) = plan.conflicts
    assert conflict.id == (2,)
    assert "a CHECK constraint (error 4025)" in str(conflict)
    assert totals(site) == {0: "1.00", 1: "10.50", 2: "2.00"}


def totals(site: Site) -> dict[int, str]:
    with contextlib.closing(site.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, total FROM invoice ORDER BY id")
        return {row[0]: str(row[1]) for row in cursor.fetchall()}


def test_a_writer_in_between_is_waited_for(site: Site, trail: Trail) -> None:
    """A change that commits while the reversal waits for its lock isn't overwritten."""
    work(site, trail, BOB, "UPDATE invoice SET total = 1 WHERE id = 1")
    plan = trail.plan_reversal(by=BOB)
    done: list[Any] = []
    with contextlib.closing(site.database.connect("app", autocommit=False)) as other:
        other.cursor().execute("UPDATE invoice SET total = 3 WHERE id = 1")

        def apply() -> None:
            with acting_as(EVE):
                done.append(plan.apply())

        thread = threading.Thread(target=apply)
        thread.start()
        time.sleep(0.5)
        assert not done
        other.commit()
        thread.join()
    assert [step.decision for step in done[0].steps] == ["conflict"]
    assert totals(site)[1] == "3.00"


def test_rows_that_stay_busy_are_given_up(
    site: Site, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.reversal.mariadb_writer._LOCK_S", 1)
    work(site, trail, BOB, "UPDATE invoice SET total = 1 WHERE id = 1")
    plan = trail.plan_reversal(by=BOB)
    with contextlib.closing(site.database.connect("app", autocommit=False)) as other:
        other.cursor().execute("UPDATE invoice SET total = 3 WHERE id = 1")
        with acting_as(EVE), pytest.raises(ReversalError, match="end those that are idle"):
            plan.apply()
    assert totals(site)[1] == "1.00"


def test_from_the_command_line(site: Site, trail: Trail) -> None:
    before = dump(site)
    work(site, trail, BOB, *DAMAGE)
    assert "nothing was written" in site.run("reverse", "--by", "staff:bob")
    site.run("reverse", "--by", "staff:bob", "--apply", "--as", "staff:eve")
    assert dump(site) == before
