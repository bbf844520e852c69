"""On PostgreSQL and MariaDB names of persons become tokens as on SQLite, from triggers and log."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture import aiomysql as captured_aiomysql
from indelible.capture import asyncpg as captured_asyncpg
from indelible.capture import mysqlclient as captured_mysqlclient
from indelible.capture import psycopg as captured_psycopg
from indelible.capture import psycopg2 as captured_psycopg2
from indelible.capture import pymysql as captured_pymysql
from indelible.events.values import ERASED, ERASED_NAME, Value
from indelible.integrity.keys import create_signing_key
from indelible.tlog import add_signatures, format_note, sign_note
from indelible.tlog.note import Note
from tests.capture.mariadb.alone import options_of
from tests.capture.mariadb.test_trail import Site as MariadbSite
from tests.capture.postgres.test_trail import Site
from tests.mariadb_server import MariadbDatabase
from tests.servers import Database

from .searching import found_in

ALICE, TRUDY = Actor("staff", "alice"), Actor("staff", "trudy")
ZARA, YAN, NEW, MOVED = (
    f"{who}@somewhere.example.org" for who in ("zara.of", "yan.of", "new.of", "moved.of")
)
NUMBER = "0190f3c1-5a5a-7000-8000-00000000cafe"
NAMES = (ZARA, YAN, NEW, MOVED, NUMBER, NUMBER.replace("-", ""))
SCHEMA = (
    "CREATE TABLE customer (email varchar(60) PRIMARY KEY, level varchar(9))",
    "CREATE TABLE invoice (id integer PRIMARY KEY, customer_email varchar(60), total integer)",
    "CREATE TABLE line (id integer PRIMARY KEY, invoice_id integer, body varchar(20))",
    f"INSERT INTO customer VALUES ('{ZARA}', 'gold'), ('{YAN}', 'tin')",
    f"INSERT INTO invoice VALUES (1, '{ZARA}', 10), (2, '{YAN}', 20)",
    "INSERT INTO line VALUES (1, 1, 'lamp')",
)
PATIENT = (
    "CREATE TABLE patient (number uuid PRIMARY KEY, ward varchar(9))",
    f"INSERT INTO patient VALUES ('{NUMBER}', 'a')",
)
POLICY = """
[tables.customer]
subject = "self"
personal = ["email"]
[tables.invoice]
subject = "customer_email -> customer"
[tables.line]
subject = "invoice_id -> invoice.customer_email -> customer"
[tables.patient]
subject = "self"
personal = ["number"]
"""
WRITES = (
    f"INSERT INTO customer VALUES ('{NEW}', 'new')",
    f"UPDATE customer SET email = '{MOVED}' WHERE email = '{NEW}'",
    f"UPDATE invoice SET customer_email = '{MOVED}' WHERE id = 2",
    "UPDATE line SET body = 'bulb'",
    "UPDATE patient SET ward = 'b'",
    f"DELETE FROM customer WHERE email = '{YAN}'",
)
READS = (
    "SELECT * FROM customer",
    "SELECT level FROM customer",
    f"SELECT total FROM invoice WHERE customer_email = '{ZARA}'",
    "SELECT count(*), max(total) FROM invoice",
    "SELECT DISTINCT level FROM customer",
    "SELECT body FROM line",
    "SELECT ward FROM patient",
)


def used(site: Site, connection: Any) -> None:
    """The application writes as Alice and reads as Trudy."""
    with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
        with acting_as(ALICE):
            for statement in WRITES:
                cursor.execute(statement)
            connection.commit()
        with acting_as(TRUDY):
            for statement in READS:
                cursor.execute(statement)
                assert cursor.fetchall()
            cursor.execute("SELECT level FROM customer WHERE email = %s", (ZARA,))
            assert cursor.fetchall()
            connection.commit()


async def used_asynchronously(connection: Any, placeholder: str) -> None:
    """The same by asyncpg or aiomysql."""
    is_asyncpg = hasattr(connection, "fetch")

    async def fetch(statement: str, *values: object) -> list[Any]:
        if is_asyncpg:
            return list(await connection.fetch(statement, *values))
        async with connection.cursor() as cursor:
            await cursor.execute(statement, values)
            return list(await cursor.fetchall())

    with acting_as(ALICE):
        for statement in WRITES:
            await fetch(statement)
        if not is_asyncpg:
            await connection.commit()
    with acting_as(TRUDY):
        for statement in READS:
            assert await fetch(statement)
        assert await fetch(f"SELECT level FROM customer WHERE email = {placeholder}", ZARA)
    closing = connection.close()
    if closing is not None:
        await closing


def changes_of(trail: Any, kind: str, row_id: Value) -> list[tuple[Value, Value]]:
    found = trail.history(Target(kind, (row_id,)))
    column = "customer_email" if kind == "invoice" else "email"
    changes = (finding.event.changes or {} for finding in found)
    return [each[column] for each in changes if column in each]


def check(site: Site, directory: Path) -> None:
    """Of a site that was used."""
    zara = Subject("customer", ZARA)
    with site.trail() as trail:
        trail.flush()
        assert {line.partition(":")[0] for line in found_in(directory, NAMES)} == {
            "trail.db.keystore"
        }
        trail.verify()
        certain = trail.accessors(of=zara).certain()
        who = {str(one.actor): (one.reads, one.changes) for one in certain}
        assert who["staff:alice"] == (0, 1)  # of her invoice's line
        assert who["staff:trudy"][0] >= 5
        read = {(one.kind, one.id and one.id[0]) for one in trail.accesses(by=TRUDY)}
        assert {("customer", ZARA), ("customer", MOVED), ("invoice", 1), ("line", 1)} <= read
        assert changes_of(trail, "customer", MOVED)[0] == (NEW, MOVED)
        assert changes_of(trail, "invoice", 2) == [(YAN, MOVED)]
        (state,) = trail.state(Target("customer", ZARA))
        assert state.state.columns == {"email": ZARA, "level": "gold"}
        assert len(list(trail.history(Target("patient", NUMBER)))) >= 3
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0

        plan = trail.plan_reversal(by=ALICE)
        assert plan.conflicts == ()
        with acting_as(ALICE):
            plan.apply()
        trail.flush()
    with contextlib.closing(site.database.connect("owner")) as look:
        cursor = look.cursor()
        cursor.execute("SELECT email FROM customer ORDER BY email")
        assert [row[0] for row in cursor.fetchall()] == [YAN, ZARA]
        cursor.execute("SELECT customer_email FROM invoice ORDER BY id")
        assert [row[0] for row in cursor.fetchall()] == [ZARA, YAN]
        cursor.execute(f"DELETE FROM customer WHERE email = '{ZARA}'")
        cursor.execute("DELETE FROM invoice WHERE id = 1")
        look.commit()

    with site.trail() as trail:
        trail.flush()
        text = trail.erasures.request("subject.erase", zara, reason="r")
        token = next(line for line in text.splitlines() if len(line) == 32)
        keys = [create_signing_key(directory / name, name) for name in ("one", "two")]
        vkeys = ", ".join(f'"{key.verifier_key}"' for key in keys)
        note = format_note(add_signatures(Note(text, ()), [sign_note(text, k) for k in keys]))
    with site.config.open("a") as config:
        config.write(f"[retention]\nauthorisers = {{k = 2, keys = [{vkeys}]}}\n")
    with site.trail() as trail:
        trail.erasures.erase(zara, note)
        assert found_in(directory, (ZARA,)) == []
        assert trail.verify().acts.erased == 1
        assert list(trail.accessors(of=zara).certain()) == []
        gone = Subject("customer", f"{ERASED_NAME}{token}")
        assert {str(one.actor) for one in trail.accessors(of=gone)} >= {"staff:trudy"}
        assert (ERASED, ERASED) not in changes_of(trail, "invoice", 2)
        *_, summary = trail.reconcile()
        assert summary.differences.total == 0
        assert "source.conflict" not in {notice.action for notice in trail.notices()}


@pytest.mark.parametrize(
    "driver", [captured_psycopg, captured_psycopg2], ids=["psycopg", "psycopg2"]
)
def test_postgres(database: Database, tmp_path: Path, driver: Any) -> None:
    database.execute(*SCHEMA, *PATIENT)
    database.grant()
    site = Site(database, tmp_path, POLICY)
    site.run("install")
    with site.trail() as trail:
        used(site, driver.connect(database.url("app"), trail=trail))
    check(site, tmp_path)


def test_the_log_of_postgres(logged: Database, tmp_path: Path) -> None:
    logged.execute(*SCHEMA, *PATIENT)
    logged.grant()
    site = Site(logged, tmp_path, POLICY, profile="log")
    site.run("install")
    with site.trail() as trail:
        used(site, captured_psycopg.connect(logged.url("app"), trail=trail))
    check(site, tmp_path)


def test_a_table_without_a_key(database: Database, tmp_path: Path) -> None:
    """All of its values name a row there: none of them may be a person's name."""
    database.execute(*SCHEMA, "CREATE TABLE bare (who varchar(60), what text)")
    database.grant()
    bare = "[tables.bare]\nsubject = 'who -> customer'\n"
    site = Site(database, tmp_path, POLICY.partition("[tables.patient]")[0] + bare)
    said = site.run("install", code=1)
    assert "table bare: who is personal and says which row it is" in said


@pytest.mark.parametrize(
    "driver", [captured_pymysql, captured_mysqlclient], ids=["pymysql", "mysqlclient"]
)
def test_mariadb(mariadb_database: MariadbDatabase, tmp_path: Path, driver: Any) -> None:
    mariadb_database.execute(*SCHEMA, *PATIENT)
    options = options_of(mariadb_database.url("app"))
    options["database"] = options.pop("db")
    site = MariadbSite(mariadb_database, tmp_path, POLICY)
    site.run("install")
    with site.trail() as trail:
        used(site, driver.connect(**options, trail=trail))
    check(site, tmp_path)


def test_asyncpg(database: Database, tmp_path: Path) -> None:
    database.execute(*SCHEMA, *PATIENT)
    database.grant()
    site = Site(database, tmp_path, POLICY)
    site.run("install")

    async def use(trail: Trail) -> None:
        connection = await captured_asyncpg.connect(database.url("app"), trail=trail)
        await used_asynchronously(connection, "$1")

    with site.trail() as trail:
        asyncio.run(use(trail))
    check(site, tmp_path)


def test_aiomysql(mariadb_database: MariadbDatabase, tmp_path: Path) -> None:
    mariadb_database.execute(*SCHEMA, *PATIENT)
    site = MariadbSite(mariadb_database, tmp_path, POLICY)
    site.run("install")
    options = options_of(mariadb_database.url("app"))

    async def use(trail: Trail) -> None:
        connection = await captured_aiomysql.connect(**options, trail=trail)
        await used_asynchronously(connection, "%s")

    with site.trail() as trail:
        asyncio.run(use(trail))
    check(site, tmp_path)
