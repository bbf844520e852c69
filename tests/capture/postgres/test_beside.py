"""Keys that are asked for beside a statement's rows: they are those of what it handed out, of the
same moment, and nothing else about it changes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
from sqlalchemy import Connection, text
from tests.capture.reads.host import MemoryHost, targets

from indelible.capture import asyncpg as captured_asyncpg
from indelible.capture import psycopg as captured_psycopg
from indelible.capture import psycopg2 as captured_psycopg2
from indelible.capture.statements.beside import MAX_ROWS_BESIDE
from indelible.events.context import acting_as

from .reading import TRUDY, loop
from .test_reads import Shop, ask, shop
from .test_views import make, pytestmark

__all__ = ["loop", "pytestmark", "shop"]

UNION = "SELECT name FROM customer WHERE id < 4 UNION SELECT v FROM vault WHERE v = 'tin'"
TOTALS = "SELECT name, sum(id) OVER (ORDER BY id) FROM customer WHERE id < 4 ORDER BY id"
THREE = ("customer", (1, 2, 3), "exact")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_values_that_go_by_their_place(shop: Shop, driver: str) -> None:
    """The rows are those of a plain driver, and the keys those of the values that were given; what
    the driver says it ran is the application's own text."""
    text = (
        "WITH c AS (SELECT name FROM customer WHERE id = %s) SELECT name, 1 FROM c "
        "UNION SELECT name, %s FROM customer WHERE id IN (%s, %s) AND email <> %s "
        "UNION SELECT v, %s FROM vault WHERE id IN (%s, %s) ORDER BY 1, 2"
    )
    values: Any = (5, 2, 7, 8, "e7", 3, 1, 2)
    url, host = shop.database.url("app"), shop.host
    makers: list[Callable[[], Any]] = [
        lambda: psycopg.connect(url),
        lambda: captured_psycopg.connect(url, trail=host),
    ]
    if driver == "psycopg2":
        makers = [
            lambda: psycopg2.connect(url),
            lambda: captured_psycopg2.connect(url, trail=host),
        ]
    seen = []
    for connect in makers:
        with contextlib.closing(connect()) as connection, acting_as(TRUDY):
            for kind in (tuple, list):
                cursor = connection.cursor()
                cursor.execute(text, kind(values))
                ran = cursor.query if driver == "psycopg2" else None
                seen.append((cursor.fetchall(), repr(cursor.description), cursor.rowcount, ran))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert {one for one in shop.taken() if one[1]} == {
        ("customer", (5, 8), "exact"),
        ("vault", (1, 2), "exact"),
    }


def test_values_that_are_numbered(shop: Shop, loop: asyncio.Runner) -> None:
    """asyncpg's are said again by their numbers."""

    async def read(host: MemoryHost | None) -> Any:
        url = shop.database.url("app")
        connection = await (
            asyncpg.connect(url) if host is None else captured_asyncpg.connect(url, trail=host)
        )
        try:
            with acting_as(TRUDY):
                return await connection.fetch(
                    "SELECT name FROM customer WHERE id IN ($1, $2) UNION "
                    "SELECT email FROM customer WHERE id IN ($2, $1) ORDER BY 1",
                    3,
                    4,
                )
        finally:
            await connection.close()

    assert loop.run(read(shop.host)) == loop.run(read(None))
    assert shop.taken() == [("customer", (3, 4), "exact")]


def test_rows_that_are_not_all_fetched(shop: Shop) -> None:
    """The keys may be of rows that nobody got: a superset, or no keys where a row's value is made
    of others'."""

    def first(sql: str) -> Callable[[Connection], Any]:
        return lambda connection: tuple(connection.execute(text(sql)).fetchmany(1)[0])

    shop.read(first(UNION + " ORDER BY 1"))
    found = shop.taken()
    assert ("customer", (1, 2, 3), "superset") in found
    shop.read(first(TOTALS))
    assert ("customer", (), "statement") in shop.taken()
    shop.read(ask(TOTALS))
    assert shop.taken() == [THREE]


def test_more_rows_than_are_told(shop: Shop) -> None:
    """Behind so many rows there is no list of keys; the result is what it was."""
    shop.database.execute(
        "CREATE TABLE many (id int PRIMARY KEY, v int)",
        f"INSERT INTO many SELECT n, n % 3 FROM generate_series(1, {MAX_ROWS_BESIDE}) AS n",
    )
    shop.database.grant()
    sql = "SELECT v FROM many UNION SELECT 7 ORDER BY 1"
    shop.read(ask(sql))
    (target,) = {target.coverage for target in targets(shop.host.take())}
    assert target == "exact"
    shop.database.execute("INSERT INTO many VALUES (0, 0)")
    shop.read(ask(sql))
    (one,) = targets(shop.host.take())
    assert (one.ids, one.coverage) == ((), "statement")
    assert one.why == "more rows stand behind it than are told"


def test_errors_and_transactions(shop: Shop) -> None:
    """What fails, fails as it would alone, and leaves the transaction as it would."""
    shop.read(
        ask(
            "SELECT 1 / (id - 2) FROM customer UNION SELECT 5 FROM vault ORDER BY 1",
            UNION,
            "SELECT name, sum(id) OVER (ORDER BY 1 / (id - 2)) FROM customer LIMIT 3",
            "SELECT name FROM customer UNION SELECT id FROM vault",
            "SELECT DISTINCT count(*), nothing FROM customer GROUP BY name",
            # Never comes to the row that it would fail for.
            "SELECT count(*) FROM vault UNION ALL SELECT id FROM customer WHERE 1 / (id - 9) < 1 "
            "LIMIT 2",
        )
    )


def test_names_that_would_mean_the_statements_own_columns(shop: Shop) -> None:
    """In a query that is asked beside a row, what isn't found must not be taken from that row."""
    sql = (
        "SELECT c.id, x.name, x.v FROM customer c CROSS JOIN LATERAL "
        "(SELECT DISTINCT name, v FROM vault WHERE vault.id = c.id AND email < 'e3') AS x "
        "ORDER BY 1, 2"
    )
    shop.read(ask(sql))
    found = [one for one in shop.taken() if one[0] == "vault" and one[1]]
    assert not found


def test_a_list_of_the_moment_of_the_rows(shop: Shop) -> None:
    """While others commit all the time, under READ COMMITTED: the keys are always those of the
    very rows that were handed out."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(shop.database.url(), autocommit=True) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                connection.execute(
                    "UPDATE customer SET name = CASE WHEN mod(id, 3) = %s THEN 'in' ELSE 'out' END",
                    (number % 3,),
                )

    sql = (
        "SELECT id::text AS id FROM (SELECT id FROM customer WHERE name = 'in' GROUP BY id) AS d "
        "EXCEPT SELECT 'x' UNION SELECT v FROM vault ORDER BY 1"
    )
    plain = "SELECT id::text FROM customer WHERE name = 'in' UNION SELECT v FROM vault ORDER BY 1"
    thread = threading.Thread(target=write)
    thread.start()
    different: set[tuple[int, ...]] = set()
    try:
        with acting_as(TRUDY):
            began_s = time.monotonic()
            while len(different) < 3 or time.monotonic() < began_s + 0.5:
                assert time.monotonic() < began_s + 20
                for each in (plain, sql):
                    (rows,) = shop.captured.run(ask(each))
                    ids = tuple(map(int, re.findall(r"'(\d)'", rows)))
                    found = {
                        (tuple(sorted(found)), coverage)
                        for kind, found, coverage in shop.taken()
                        if kind == "customer" and found
                    }
                    coverage = "superset" if each is sql else "exact"
                    assert found == {(ids, coverage)}
                    different.add(ids)
    finally:
        stop.set()
        thread.join()


def test_a_strict_table_beside_another(shop: Shop) -> None:
    """Its keys are on disk before a row is handed over."""

    def read(connection: Connection) -> Any:
        result = connection.execute(text(UNION + " ORDER BY 1"))
        assert result.fetchone() is not None
        return shop.taken()

    with acting_as(TRUDY):
        assert ("vault", (2,), "superset") in shop.captured.run(read)


def test_row_security_that_comes_between(shop: Shop) -> None:
    """A view of groups reads its tables as its owner: where the rows aren't the same for everybody
    their keys aren't asked for, also where that is so since a moment ago."""
    make(shop, "CREATE VIEW spent AS SELECT count(*) AS n FROM customer GROUP BY left(name, 1)")
    shop.read(ask("SELECT n FROM spent"))
    assert shop.taken() == [("customer", tuple(range(1, 10)), "exact")]
    shop.database.execute(
        "ALTER TABLE customer ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON customer TO app USING (id < 3)",
    )
    shop.read(ask("SELECT n FROM spent"))
    assert shop.taken() == [("customer", (), "statement")]
    shop.read(ask("SELECT 1 FROM nothing_of_that_name", "SELECT n FROM spent -- seen anew"))
    assert shop.taken()[-1] == ("customer", (), "statement")


def test_a_view_that_a_role_reads_without_its_tables(shop: Shop) -> None:
    """Keys are asked for with the role's own rights: without them the read goes on as before."""
    make(shop, "CREATE VIEW spent AS SELECT count(*) AS n FROM customer GROUP BY left(name, 1)")
    shop.database.execute("REVOKE ALL ON customer FROM app")
    shop.read(ask("SELECT n FROM spent", "SELECT n FROM spent"))
    assert set(shop.taken()) == {("customer", (), "statement")}


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_view_of_groups_that_is_replaced(shop: Shop, level: str) -> None:
    """Between our look and the statement, or within its transaction: no other rows are named."""
    few = "CREATE OR REPLACE VIEW spent AS SELECT count(*) AS n FROM customer WHERE id {}"
    make(shop, few.format("< 4"))
    shop.read(ask("SELECT n FROM spent"))
    assert shop.taken() == [THREE]

    def work(connection: Connection) -> Any:
        connection.execution_options(isolation_level=level)
        connection.execute(text("SELECT 1 FROM b.customer")).all()
        make(shop, few.format("> 7"))
        return connection.execute(text("SELECT n FROM spent")).scalar_one()

    with acting_as(TRUDY):
        assert shop.captured.run(work) == 2
    assert shop.taken()[-1] == ("customer", (), "statement")


def test_a_name_that_shadows_what_a_definition_reads(shop: Shop) -> None:
    """A definition's tables stay those that it was made with, whatever the session's path or its
    temporary tables say."""
    make(
        shop,
        "CREATE VIEW spent AS SELECT count(*) AS n FROM customer WHERE id < 4 GROUP BY name > ''",
    )
    shop.read(
        ask(
            "SELECT n FROM spent",
            "SET search_path = b, public",
            "SELECT n FROM spent",
            "CREATE TEMP TABLE customer (id int PRIMARY KEY, name text)",
            "INSERT INTO customer VALUES (70, 'x')",
            "SELECT n FROM spent",
            "DROP TABLE pg_temp.customer",
            "SET search_path = public, pg_catalog",
            "SELECT n FROM spent",
        )
    )
    found = [one for one in shop.taken() if one[0] == "customer"]
    assert found[:2] == [THREE, THREE]
    assert all(one in (THREE, ("customer", (), "statement")) for one in found)
    assert found[-1] == ("customer", (), "statement")


def test_row_security_that_writes(shop: Shop) -> None:
    """A policy may call anything: a table that has one is read as often as without capture."""
    make(
        shop,
        "CREATE SEQUENCE looks",
        "SELECT nextval('looks')",
        "GRANT ALL ON SEQUENCE looks TO app",
        "CREATE POLICY looked ON customer TO app USING (id < 4 AND nextval('public.looks') > 0)",
        "ALTER TABLE customer ENABLE ROW LEVEL SECURITY",
    )

    def looks(connection: Connection) -> Any:
        before = connection.execute(text("SELECT last_value FROM looks")).scalar_one()
        connection.execute(text(UNION)).all()
        connection.execute(text(TOTALS)).all()
        return connection.execute(text("SELECT last_value FROM looks")).scalar_one() - before

    assert shop.read(looks) == 6
    assert ("customer", (), "statement") in shop.taken()


def test_a_view_that_writes(shop: Shop) -> None:
    """What has an effect happens once, as often as without capture."""
    make(
        shop,
        "CREATE TABLE seen (n int)",
        "CREATE FUNCTION note_it() RETURNS int LANGUAGE sql VOLATILE AS "
        "'INSERT INTO public.seen VALUES (1) RETURNING 1'",
        "CREATE VIEW noted AS SELECT count(*) AS n, note_it() AS m FROM customer GROUP BY name",
        "GRANT ALL ON seen TO app",
    )

    def count(connection: Connection) -> Any:
        connection.execute(text("SELECT n FROM noted UNION SELECT 1")).all()
        connection.execute(text("SELECT n, m FROM noted")).all()
        found = connection.execute(text("SELECT count(*) FROM seen")).scalar_one()
        connection.rollback()
        return found

    shop.read(count)
    assert {one[1:] for one in shop.taken() if one[0] == "customer"} == {((), "statement")}
