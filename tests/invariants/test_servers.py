"""Promises on PostgreSQL and MariaDB: a reversal is rehearsed in a transaction that is rolled back,
and triggers that are away show at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from indelible import Trail
from indelible.invariants.verdicts import Verdict
from tests.capture.mariadb.test_trail import Site as MariadbSite
from tests.capture.postgres.test_trail import Site as PostgresSite
from tests.mariadb_server import MariadbDatabase
from tests.reversal import test_mariadb as on_mariadb
from tests.reversal import test_postgres as on_postgres
from tests.servers import Database

PROMISES = """
[[invariant]]
kind = "reversible"
window = "6 months"
{rehearse}
[[invariant]]
kind = "enumerable"
of = ["changes"]
window = "3 years"
"""
ROLLED_BACK = 'rehearse = "rolled-back"'


def checked(site: Any, on: Any, rehearse: str = ROLLED_BACK) -> tuple[list[Verdict], bool]:
    """The verdicts after a day of Bob's, and whether the check left all as it was."""
    with site.config.open("a") as file:
        file.write(PROMISES.format(rehearse=rehearse))
    site.run("install")
    with Trail.open(site.config) as trail:
        on.work(site, trail, on.BOB, *on.DAMAGE)
        before = on.dump(site)
        verdicts = list(trail.check())
        trail.flush()
        reversals = [each for each in trail.changes(by=on.BOB) if each.event.reverses]
        return verdicts, on.dump(site) == before and reversals == []


def test_on_postgres(database: Database, tmp_path: Path) -> None:
    """Bob's day is reversed, with deferred constraints checked, and nothing of it stays."""
    database.execute(*on_postgres.SCHEMA, *on_postgres.BEFORE)
    database.grant()
    (reversible, enumerable), is_same = checked(PostgresSite(database, tmp_path), on_postgres)
    assert reversible.verdict == "holds so far", reversible.words
    assert "rehearsed for 1 actors" in reversible.words
    assert enumerable.verdict == "holds so far", enumerable.words
    assert is_same


def test_on_mariadb(mariadb_database: MariadbDatabase, tmp_path: Path) -> None:
    mariadb_database.execute(*on_mariadb.SCHEMA, *on_mariadb.BEFORE)
    site = MariadbSite(mariadb_database, tmp_path)
    (reversible, enumerable), is_same = checked(site, on_mariadb)
    assert reversible.verdict == "holds so far", reversible.words
    assert "rehearsed for 1 actors" in reversible.words
    assert enumerable.verdict == "holds so far", enumerable.words
    assert is_same


def test_nothing_is_locked_that_the_owner_didnt_allow(database: Database, tmp_path: Path) -> None:
    """A server isn't copied, and without the owner's word nothing is tried: that can't be told."""
    database.execute(*on_postgres.SCHEMA, *on_postgres.BEFORE)
    database.grant()
    (reversible, _), is_same = checked(PostgresSite(database, tmp_path), on_postgres, "")
    assert reversible.verdict == "can't tell"
    assert "a server isn't copied" in reversible.words
    assert is_same


def test_triggers_switched_off_now(database: Database, tmp_path: Path) -> None:
    """They are away as the check looks: no entry says so yet, and it counts."""
    database.execute(*on_postgres.SCHEMA, *on_postgres.BEFORE)
    database.grant()
    site = PostgresSite(database, tmp_path)
    with site.config.open("a") as file:
        file.write(PROMISES.format(rehearse=ROLLED_BACK))
    site.run("install")
    database.execute("ALTER TABLE node DISABLE TRIGGER USER")
    with Trail.open(site.config) as trail:
        _, enumerable = trail.check()
    assert enumerable.verdict == "falls short"
    assert "node" in enumerable.words
