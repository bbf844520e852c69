"""What could go wrong with reads through each driver alone, as `test_reads.py` has it of engines.

Transactions are begun by text, which every driver takes.
"""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.capture.reads.host import MemoryHost, targets
from tests.servers import Database

from indelible.errors import DeliveryError
from indelible.events.context import acting_as

from .alone import ALONE, asking
from .reading import TRUDY, host_of, loop
from .test_reads import BY_NAME, TABLES, told

__all__ = ["loop"]

Talk = Callable[..., list[tuple[str, tuple[Any, ...], str]]]


@pytest.fixture
def host(database: Database) -> MemoryHost:
    database.execute(*TABLES)
    database.grant()
    return host_of(database)


@pytest.fixture(params=ALONE)
def talk(
    request: pytest.FixtureRequest, database: Database, host: MemoryHost, loop: asyncio.Runner
) -> Iterator[Talk]:
    """Says texts on a plain connection and on a captured one, which hear the same; what was
    recorded."""

    async def heard(host: MemoryHost | None, texts: tuple[Any, ...]) -> list[object]:
        async with asking(request.param, database.url("app"), host) as ask:
            found = []
            for text in texts:
                if callable(text):
                    text()
                else:
                    found.append(await ask(text))
            return found

    def talk(*texts: Any, undo: str | None = None) -> list[tuple[str, tuple[Any, ...], str]]:
        host.take()
        expected = loop.run(heard(None, texts))
        if undo is not None:
            database.execute(*undo.split(";"))
        with acting_as(TRUDY):
            seen = loop.run(heard(host, texts), context=contextvars.copy_context())
        assert seen == expected
        return [told(target) for target in targets(host.take())]

    yield talk


ONE, OTHER = ("customer", (1,), "exact"), ("b.customer", (100,), "exact")


def test_a_name_means_what_the_search_path_says(talk: Talk) -> None:
    path = "SET search_path = b, public"
    assert talk(BY_NAME, "BEGIN", path, BY_NAME, "ROLLBACK", BY_NAME) == [ONE, OTHER, ONE]
    assert talk("BEGIN", path, BY_NAME, "COMMIT", BY_NAME) == [OTHER, OTHER]
    texts = ("BEGIN", "SAVEPOINT a", path, BY_NAME, "ROLLBACK TO a", BY_NAME, "COMMIT", BY_NAME)
    assert talk(*texts) == [OTHER, ONE, ONE]
    texts = ("BEGIN", path, BY_NAME, "ROLLBACK", "BEGIN", BY_NAME, "COMMIT", "BEGIN", BY_NAME)
    assert talk(*texts) == [OTHER, ONE, ONE]


def test_a_temporary_table_hides_the_table_of_its_name(talk: Talk) -> None:
    make = "CREATE TEMP TABLE customer ON COMMIT DROP AS SELECT 100 AS id, 'n1' AS name"
    found = talk("BEGIN", BY_NAME, make, BY_NAME, "ROLLBACK", BY_NAME)
    assert found[0] == found[-1] == ONE
    assert all(coverage == "statement" for _, _, coverage in found[1:-1])


def test_a_role_that_may_not_read_the_key_reads_on(talk: Talk, database: Database) -> None:
    database.execute("REVOKE ALL ON customer FROM app", "GRANT SELECT (name) ON customer TO app")
    database.execute("ALTER ROLE app NOINHERIT", "GRANT owner TO app", role="postgres")
    unnamed = ("customer", (), "statement")
    try:
        found = talk(BY_NAME, "SET ROLE owner", BY_NAME, "RESET ROLE", BY_NAME)
    finally:
        database.execute("ALTER ROLE app INHERIT", "REVOKE owner FROM app", role="postgres")
    assert found == [unnamed, ONE, unnamed]


def test_errors_are_those_of_the_application_s_text(talk: Talk) -> None:
    """And a transaction that has failed stays so."""
    texts = (
        "SELECT nothing FROM customer",
        "ROLLBACK",
        "SELECT name FROM customer WHERE 1 / (id - id) = 1",
        "ROLLBACK",
        "SELECT * FROM nowhere",
        "ROLLBACK",
        "BEGIN",
        "INSERT INTO customer VALUES (1, 'again')",
        BY_NAME,
        BY_NAME,
        "ROLLBACK",
        "SELEC 1",
        "ROLLBACK",
        BY_NAME,
    )
    assert talk(*texts)[-1] == ONE


def test_a_key_that_is_renamed_costs_nothing(talk: Talk, database: Database) -> None:
    rename = "ALTER TABLE customer RENAME COLUMN {} TO {}"
    found = talk(
        BY_NAME,
        "COMMIT",
        lambda: database.execute(rename.format("id", "number")),
        BY_NAME,
        "COMMIT",
        BY_NAME,
        undo=rename.format("number", "id"),
    )
    assert found == [ONE, ("customer", (), "statement"), ONE]


def test_a_column_that_comes_between_is_noticed(talk: Talk, database: Database) -> None:
    """A star stands for other columns than it did: no key is read from the wrong one."""
    text = "SELECT c.name, c.* FROM customer c WHERE name = 'n2'"
    changes = (
        "ALTER TABLE customer DROP COLUMN id",
        "ALTER TABLE customer ADD COLUMN id int",
        "UPDATE customer SET id = substr(name, 2)::int",
    )
    first, *others = talk(
        text,
        "COMMIT",
        lambda: database.execute(*changes),
        text,
        "ROLLBACK",
        text,
        undo="ALTER TABLE customer DROP COLUMN id; ALTER TABLE customer DROP COLUMN email; "
        "ALTER TABLE customer RENAME COLUMN name TO old; "
        "ALTER TABLE customer ADD COLUMN id int; UPDATE customer SET id = substr(old, 2)::int; "
        "ALTER TABLE customer ADD PRIMARY KEY (id); ALTER TABLE customer ADD COLUMN name text; "
        "UPDATE customer SET name = old; ALTER TABLE customer DROP COLUMN old; "
        "ALTER TABLE customer ADD COLUMN email text; UPDATE customer SET email = 'e' || id",
    )
    assert first == ("customer", (2,), "exact")
    assert others == [("customer", (), "statement")] * 2


def test_under_strict_rows_wait_for_the_trail(
    database: Database, host: MemoryHost, talk: Talk
) -> None:
    """And aren't handed out where it can't be written."""
    expected = [("vault", (), "exact"), ("vault", (1, 2), "exact")]
    assert talk("SELECT v FROM vault ORDER BY id") == expected
    host.journal.is_full = True
    with pytest.raises(AssertionError, match=DeliveryError.__name__):
        talk("SELECT v FROM vault")
    host.journal.is_full = False


@pytest.mark.parametrize(
    ("missing", "module", "extra"),
    [
        ("psycopg", "psycopg", "postgres"),
        ("psycopg", "psycopg_async", "postgres"),
        ("greenlet", "psycopg_async", "postgres-async"),
        ("psycopg2", "psycopg2", "psycopg2"),
        ("asyncpg", "asyncpg", "asyncpg"),
        ("pymysql", "pymysql", "mariadb"),
        ("MySQLdb", "mysqlclient", "mysqlclient"),
        ("aiomysql", "aiomysql", "aiomysql"),
    ],
)
def test_a_missing_extra_is_named(missing: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"try: import indelible.capture.{module}\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'indelible[{extra}]'" in done.stdout
