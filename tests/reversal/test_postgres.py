"""Reversing on PostgreSQL: what an actor did is undone bit by bit, and nobody else's work is."""

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
from tests.capture.postgres.test_trail import Site
from tests.servers import Database

BOB, CAROL, EVE = Actor("staff", "bob"), Actor("staff", "carol"), Actor("staff", "eve")
SCHEMA = (
    "CREATE TYPE mood AS ENUM ('glad', 'sad')",
    "CREATE DOMAIN positive AS integer CHECK (value > 0)",
    "CREATE TABLE customer (id uuid PRIMARY KEY, name text NOT NULL, mood mood, tags text[],"
    " born date, balance numeric(12,3), ratio double precision, blob bytea, extra jsonb,"
    " seen timestamptz, span int4range, bits bit varying(9), code char(4), n positive,"
    " shout text GENERATED ALWAYS AS (upper(name)) STORED)",
    "CREATE TABLE invoice (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " customer_id uuid REFERENCES customer, total numeric CHECK (total < 1000))",
    "CREATE TABLE line (invoice_id integer REFERENCES invoice ON DELETE CASCADE, place integer,"
    " text varchar(20), PRIMARY KEY (invoice_id, place))",
    "CREATE TABLE node (id integer PRIMARY KEY, parent integer REFERENCES node)",
)
ZARA = "0190f3c1-0000-7000-8000-000000000001"
YAN = "0190f3c1-0000-7000-8000-000000000002"
BEFORE = (
    f"INSERT INTO customer VALUES ('{ZARA}', 'Zara', 'glad', '{{a,\"b,c\",NULL}}', '1990-02-03',"
    " 1.500, 'NaN', '\\x00ff', '{\"k\": [1, \"ü\"]}', '2026-01-01 12:00:00.123456+02', '[1,5)',"
    " B'101', 'ab', 7)",
    f"INSERT INTO customer (id, name) VALUES ('{YAN}', 'Yan')",
    f"INSERT INTO invoice (customer_id, total) VALUES ('{ZARA}', 10.50), ('{YAN}', 20)",
    "INSERT INTO line VALUES (1, 1, 'one'), (1, 2, 'two'), (2, 1, 'three')",
    "INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2)",
)
TABLES = ("customer", "invoice", "line", "node")


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    database.execute(*SCHEMA, *BEFORE)
    database.grant()
    site = Site(database, tmp_path)
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


def dump(site: Site) -> dict[str, list[Any]]:
    with contextlib.closing(site.database.connect()) as connection:
        return {
            table: connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1").fetchall()
            for table in TABLES
        }


def work(site: Site, trail: Trail, actor: Actor, *statements: str) -> None:
    sender = site.sender(trail)
    with contextlib.closing(site.database.connect("app")) as connection:
        for statement in statements:
            with acting_as(actor), connection.transaction(), connection.cursor() as cursor:
                sender.send_context(cursor, current_frame())
                cursor.execute(statement)
    trail.flush()


DAMAGE = (
    f"UPDATE customer SET name = 'X', mood = 'sad', tags = NULL, born = NULL, balance = 0, n = 9,"
    f" ratio = '-Infinity', blob = '', extra = '[]', seen = now(), span = NULL, bits = B'0',"
    f" code = 'zzzz' WHERE id = '{ZARA}'",
    "DELETE FROM invoice WHERE id = 1",  # and its lines, by the cascade
    f"INSERT INTO invoice (customer_id, total) VALUES ('{YAN}', 5)",
    "UPDATE line SET place = 9, text = 'moved' WHERE invoice_id = 2",
    "DELETE FROM node WHERE id = 3",
    "UPDATE node SET parent = NULL WHERE id = 2",
    "DELETE FROM node WHERE id = 1",
)


def test_everything_is_as_it_was(site: Site, trail: Trail) -> None:
    """Every type, identity and generated columns, cascades, trees: bit by bit."""
    before = dump(site)
    work(site, trail, BOB, *DAMAGE)
    assert dump(site) != before
    plan = trail.plan_reversal(by=BOB)
    assert plan.conflicts == (), str(plan)
    assert dump(site) != before, "a plan writes nothing"
    with acting_as(EVE, reason="bob was wrong"):
        done = plan.apply()
    assert dump(site) == before
    assert done.conflicts == (), str(done)
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
        f"UPDATE customer SET name = 'B', balance = 2 WHERE id = '{ZARA}'",
        f"UPDATE customer SET name = 'B' WHERE id = '{YAN}'",
        f"INSERT INTO invoice (customer_id, total) VALUES ('{YAN}', 7)",
    )
    work(
        site,
        trail,
        CAROL,
        f"UPDATE customer SET name = 'C' WHERE id = '{ZARA}'",
        "INSERT INTO line VALUES (3, 1, 'refers to it')",
    )
    plan = trail.plan_reversal(by=BOB)
    assert "changed since" in str(plan)
    assert "line:[3,1] refers to it" in str(plan)
    with acting_as(EVE):
        plan.apply()
    states = {
        name: next(iter(trail.state(Target("customer", name)))).state.columns
        for name in (ZARA, YAN)
        if trail.flush() is None
    }
    assert states[ZARA]["name"] == "C"
    assert states[YAN]["name"] == "Yan"
    assert "1.500" in str(states[ZARA]["balance"])
    assert site.run("reverse", "--by", "staff:bob", code=1)


def test_what_the_database_refuses_is_a_conflict(site: Site, trail: Trail) -> None:
    """A constraint that is newer than what would be restored; the rest is restored."""
    work(
        site,
        trail,
        BOB,
        "UPDATE invoice SET total = 1 WHERE id = 1",
        "UPDATE invoice SET total = 2 WHERE id = 2",
    )
    site.database.execute(
        "ALTER TABLE invoice ADD CONSTRAINT low CHECK (total < 15 OR total IS NULL) NOT VALID"
    )
    with acting_as(EVE):
        plan = trail.plan_reversal(by=BOB).apply()
    (conflict,) = plan.conflicts
    assert conflict.id == (2,)
    assert "low" in str(conflict)
    rows = dict(row for row in _totals(site))
    assert rows == {1: "10.50", 2: "2"}


def _totals(site: Site) -> list[tuple[int, str]]:
    with contextlib.closing(site.database.connect()) as connection:
        return [
            (row[0], str(row[1]))
            for row in connection.execute("SELECT id, total FROM invoice ORDER BY id")
        ]


def test_a_writer_in_between_is_waited_for(site: Site, trail: Trail) -> None:
    """A change that commits while the reversal waits for its lock isn't overwritten."""
    work(site, trail, BOB, "UPDATE invoice SET total = 1 WHERE id = 1")
    plan = trail.plan_reversal(by=BOB)
    done: list[Any] = []
    with contextlib.closing(site.database.connect("app")) as other:
        with other.transaction():
            other.execute("UPDATE invoice SET total = 3 WHERE id = 1")

            def apply() -> None:
                with acting_as(EVE):
                    done.append(plan.apply())

            thread = threading.Thread(target=apply)
            thread.start()
            time.sleep(0.5)
            assert not done
        thread.join()
    assert [step.decision for step in done[0].steps] == ["conflict"]
    assert _totals(site)[0] == (1, "3")


def test_tables_that_stay_busy_are_given_up(
    site: Site, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indelible.reversal.postgres_writer._LOCK_MS", 300)
    work(site, trail, BOB, "UPDATE invoice SET total = 1 WHERE id = 1")
    plan = trail.plan_reversal(by=BOB)
    with contextlib.closing(site.database.connect("app")) as other, other.transaction():
        other.execute("UPDATE invoice SET total = 3 WHERE id = 2")
        with acting_as(EVE), pytest.raises(ReversalError, match="end those that are idle"):
            plan.apply()
    assert _totals(site)[0] == (1, "1")


def test_from_the_command_line(site: Site, trail: Trail) -> None:
    before = dump(site)
    work(site, trail, BOB, *DAMAGE)
    assert "nothing was written" in site.run("reverse", "--by", "staff:bob")
    site.run("reverse", "--by", "staff:bob", "--apply", "--as", "staff:eve")
    assert dump(site) == before


def test_everything_is_as_it_was_by_the_log(logged: Database, tmp_path: Path) -> None:
    """Under `profile = "log"`, too; a change that only the log has yet is found."""
    logged.execute(*SCHEMA, *BEFORE)
    logged.grant()
    site = Site(logged, tmp_path, profile="log")
    site.run("install")
    with site.trail() as trail:
        before = dump(site)
        work(site, trail, BOB, *DAMAGE)
        assert dump(site) != before
    with Trail.open(site.config, relay=False) as trail:
        plan = trail.plan_reversal(by=BOB)
        # Nobody relays: this stands in the log and nowhere else.
        logged.execute("UPDATE line SET text = 'later' WHERE invoice_id = 2")
        with acting_as(EVE):
            done = plan.apply()
        assert [str(step.id) for step in done.conflicts] == ["(2, 9)"], str(done)
        logged.execute("UPDATE line SET text = 'moved' WHERE invoice_id = 2")
        with acting_as(EVE):
            trail.plan_reversal(by=BOB, force=True).apply()
    assert dump(site) == before
    with site.trail() as trail:
        trail.flush()
        reversing = [each.event for each in trail.changes(by=EVE)]
        assert reversing
        assert all(event.reverses for event in reversing)
        trail.verify()
