"""On PostgreSQL and MariaDB values are sealed as on SQLite, those of the baseline too."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.errors import ConfigurationError
from indelible.events.context import current_frame
from indelible.events.values import ABSENT, ERASED, MASKED, Value
from indelible.integrity.keys import create_signing_key
from indelible.tlog import add_signatures, format_note, sign_note
from indelible.tlog.note import Note
from tests.capture.mariadb.test_trail import Site as MariadbSite
from tests.capture.postgres.test_trail import Site
from tests.mariadb_server import MariadbDatabase
from tests.servers import Database

from .searching import found_in

ALICE = Actor("staff", "alice")
ADDRESS = "198.51.100.77"
BEFORE, AFTER, MOVED, YANS = (f"{word}.of.zara@example.org" for word in ("a", "b", "c", "yans"))
SCHEMA = (
    "CREATE TABLE customer (id varchar(36) PRIMARY KEY, email varchar(80), level varchar(9))",
    "CREATE TABLE invoice (id integer PRIMARY KEY, customer_id varchar(36))",
    "CREATE TABLE line (id integer PRIMARY KEY, invoice_id integer, body text)",
    f"INSERT INTO customer VALUES ('zara', '{BEFORE}', 'gold'), ('yan', '{YANS}', 'tin')",
    "INSERT INTO invoice VALUES (1, 'zara'), (2, 'yan')",
    f"INSERT INTO line VALUES (1, 1, '{BEFORE}'), (9, 5, '{BEFORE}')",
)
POLICY = """
[tables.customer]
subject = "self"
seal = ["email"]
[tables.line]
subject = "invoice_id -> invoice.customer_id -> customer"
seal = ["body"]
"""
WRITES = (
    f"UPDATE customer SET email = '{AFTER}' WHERE id = 'zara'",
    f"UPDATE line SET invoice_id = 2, body = '{MOVED}' WHERE id = 1",
    "DELETE FROM customer WHERE id = 'zara'",
)
HERS = ("UPDATE customer SET level = 'brass' WHERE id = 'yan'",)


def work(site: Site) -> None:
    """The last row of the outbox is nobody's, as sooner or later it is."""
    with site.trail() as trail, contextlib.closing(site.database.connect("app")) as app:
        sender = site.sender(trail)
        for acting, statements in (
            (acting_as(ALICE), WRITES),
            (acting_as(Actor("customer", "zara"), ip=ADDRESS), HERS),
        ):
            with acting, app.cursor() as cursor:
                cursor.execute("BEGIN")
                sender.send_context(cursor, current_frame())
                for statement in statements:
                    cursor.execute(statement)
                if isinstance(site, MariadbSite):
                    site.sender(trail).clear(cursor)
                app.commit()
        trail.flush()


def values(trail: Trail, kind: str, row_id: Value, column: str) -> list[tuple[Value, Value]]:
    found = trail.history(Target(kind, (row_id,)))
    changes = (finding.event.changes or {} for finding in found)
    return [each[column] for each in changes if column in each]


def addresses(trail: Trail) -> list[object]:
    """From where Zara changed what."""
    found = trail.history(Target("customer", ("yan",)))
    return [each.event.context["ip"] for each in found if each.event.context]


def check(site: Site, directory: Path) -> None:
    site.run("install")
    work(site)
    assert found_in(directory, (BEFORE, AFTER, MOVED, YANS, ADDRESS)) == []
    zara = Subject("customer", "zara")
    with site.trail() as trail:
        assert values(trail, "customer", "zara", "email") == [(BEFORE, AFTER), (AFTER, ABSENT)]
        assert values(trail, "line", 1, "body") == [(BEFORE, MOVED)]
        assert addresses(trail) == [ADDRESS]
        states = {line: trail.state(Target("line", (line,))) for line in (1, 9)}
        assert [one.state.columns["body"] for one in states[9]] == [MASKED]
        assert [one.state.columns["body"] for one in states[1]] == [MOVED]

        text = trail.erasures.request("subject.erase", zara, reason="r")
        keys = [create_signing_key(directory / name, name) for name in ("one", "two")]
        vkeys = ", ".join(f'"{key.verifier_key}"' for key in keys)
        note = format_note(add_signatures(Note(text, ()), [sign_note(text, k) for k in keys]))
    with site.config.open("a") as config:
        config.write(f"[retention]\nauthorisers = {{k = 2, keys = [{vkeys}]}}\n")
    with site.trail() as trail:
        assert trail.erasures.erase(zara, note) == 1
        assert values(trail, "customer", "zara", "email") == [(ERASED, ERASED), (ERASED, ABSENT)]
        assert values(trail, "line", 1, "body") == [(ERASED, MOVED)]
        assert addresses(trail) == [ERASED]
        assert trail.verify().acts.erased == 1
        assert "it was lawfully erased" in str(trail.plan_reversal(by=ALICE))
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0  # type: ignore[union-attr]


def test_postgres(database: Database, tmp_path: Path) -> None:
    database.execute(*SCHEMA)
    database.grant()
    check(Site(database, tmp_path, POLICY), tmp_path)


def test_mariadb(mariadb_database: MariadbDatabase, tmp_path: Path) -> None:
    mariadb_database.execute(*SCHEMA)
    check(MariadbSite(mariadb_database, tmp_path, POLICY), tmp_path)


def test_a_table_without_a_key_can_not_be_sealed(database: Database, tmp_path: Path) -> None:
    """All of its values name a row there."""
    database.execute("CREATE TABLE bare (a text, b text)")
    database.grant()
    site = Site(database, tmp_path, "[tables.bare]\nsubject = 'a -> customer'\nseal = ['b']\n")
    with site.trail() as trail:
        from indelible.capture.postgres.backend import install

        with pytest.raises(ConfigurationError, match="expected a primary key beside sealed"):
            install(site.server, trail.policy, journal=trail.journal)
