"""Asynchronous drivers alone: tasks that share connections, are cancelled, lose their server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
import pytest
from tests.servers import PgBouncer

from indelible import Actor, Trail, acting_as
from indelible.capture import asyncpg as captured_asyncpg
from indelible.capture.postgres.transaction import WritingTransaction
from indelible.capture.psycopg import async_connection_class
from indelible.errors import CaptureError

from .test_psycopg import ALICE, BOB, done_by, read_by, site, trail
from .test_trail import Site

__all__ = ["site", "trail"]

TASKS, ROUNDS = 120, 3


@dataclass(frozen=True)
class Driver:
    """Connections in autocommit, of a pool or alone; captured, where there is a trail."""

    connect: Callable[[str, Trail | None], AbstractAsyncContextManager[Any]]
    pool: Callable[[str, Trail, int], AbstractAsyncContextManager[Any]]
    fetch: Callable[..., Any]
    """All rows of a text."""


@contextlib.asynccontextmanager
async def _psycopg_connect(url: str, trail: Trail | None) -> AsyncIterator[Any]:
    kind = psycopg.AsyncConnection if trail is None else async_connection_class(trail)
    connection = await kind.connect(url, autocommit=True)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _psycopg_pool(url: str, trail: Trail, size: int) -> AsyncIterator[Any]:
    async with psycopg_pool.AsyncConnectionPool(
        url,
        connection_class=async_connection_class(trail),
        kwargs={"autocommit": True, "prepare_threshold": None},
        min_size=size,
        max_size=size,
        open=False,
    ) as pool:
        yield pool.connection


async def _psycopg_fetch(connection: Any, text: str) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(text)
    return list(await cursor.fetchall())


@contextlib.asynccontextmanager
async def _asyncpg_connect(url: str, trail: Trail | None) -> AsyncIterator[Any]:
    make = asyncpg.connect(url) if trail is None else captured_asyncpg.connect(url, trail=trail)
    connection = await make
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@contextlib.asynccontextmanager
async def _asyncpg_pool(url: str, trail: Trail, size: int) -> AsyncIterator[Any]:
    options = {"statement_cache_size": 0, "min_size": size, "max_size": size}
    async with captured_asyncpg.create_pool(url, trail=trail, **options) as pool:
        yield pool.acquire


async def _asyncpg_fetch(connection: Any, text: str) -> list[Any]:
    return list(await connection.fetch(text))


DRIVERS = {
    "psycopg": Driver(_psycopg_connect, _psycopg_pool, _psycopg_fetch),
    "asyncpg": Driver(_asyncpg_connect, _asyncpg_pool, _asyncpg_fetch),
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pgbouncer"])
def test_nobody_is_taken_for_another(
    site: Site, trail: Trail, driver: Driver, *, pooled: bool
) -> None:
    """Many tasks over few connections, each as somebody else; every other autocommits."""
    site.database.execute(f"INSERT INTO person SELECT n, '' FROM generate_series(0, {TASKS}) AS n")
    bouncer = PgBouncer(site.database, pool_size=3) if pooled else None

    async def task(acquire: Any, n: int) -> None:
        for step in range(ROUNDS):
            with acting_as(Actor("staff", f"number {n}")):
                async with acquire() as connection:
                    write = f"UPDATE person SET name = '{step}' WHERE id = {n}"
                    if n % 2:
                        await connection.execute(write)
                    else:
                        async with connection.transaction():
                            await connection.execute(write)
                    read = f"SELECT name FROM person WHERE id = {n}"
                    assert [tuple(row) for row in await driver.fetch(connection, read)] == [
                        (str(step),)
                    ]

    async def all_tasks() -> None:
        async with driver.pool((bouncer or site.database).url("app"), trail, 5) as acquire:
            await asyncio.gather(*(task(acquire, n) for n in range(TASKS)))

    try:
        asyncio.run(all_tasks())
    finally:
        if bouncer is not None:
            bouncer.remove()
    for n in range(TASKS):
        actor = Actor("staff", f"number {n}")
        assert done_by(trail, actor) == [f"person.update person:{n}"] * ROUNDS
        assert read_by(trail, actor) == [(n, True)] * ROUNDS


def test_cancelled_wherever_it_is_no_task_leaves_its_transaction_to_another(
    site: Site, trail: Trail, driver: Driver
) -> None:
    """The next to have the connection commits, as itself; in autocommit and in a transaction."""
    rounds = 120

    async def write(acquire: Any, id_: int, actor: Actor, *, alone: bool) -> None:
        with acting_as(actor):
            async with acquire() as connection:
                insert = f"INSERT INTO person VALUES ({id_}, 'x')"
                if alone:
                    await connection.execute(insert)
                else:
                    async with connection.transaction():
                        await connection.execute(insert)

    async def all_rounds() -> None:
        async with driver.pool(site.database.url("app"), trail, 1) as acquire:
            for n in range(rounds):
                task = asyncio.create_task(write(acquire, 1_000 + n, ALICE, alone=n % 2 == 1))
                await asyncio.sleep(n * 0.00005)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await write(acquire, n, BOB, alone=True)

    asyncio.run(all_rounds())
    assert done_by(trail, BOB) == sorted(f"person.insert person:{n}" for n in range(rounds))
    with contextlib.closing(site.database.connect("postgres")) as connection:
        rows = connection.execute("SELECT id FROM person ORDER BY id").fetchall()
    ids = [id_ for (id_,) in rows]
    assert ids[:rounds] == list(range(rounds))
    assert done_by(trail, ALICE) == [f"person.insert person:{id_}" for id_ in ids[rounds:]]
    assert list(trail.notices()) == []


@pytest.mark.parametrize("is_open", [False, True], ids=["autocommit", "transaction"])
def test_a_read_that_is_cancelled_wherever_it_is_leaves_the_connection_usable(
    site: Site, trail: Trail, driver: Driver, *, is_open: bool
) -> None:
    """While its text is tried, too: a transaction that is open stays open, and can be ended."""
    site.database.execute("INSERT INTO person VALUES (1, 'a')")

    async def work() -> None:
        async with driver.connect(site.database.url("app"), trail) as connection:
            for n in range(60):
                if is_open:
                    await connection.execute("BEGIN")
                text = f"SELECT name AS name_{n} FROM person WHERE id = 1"
                with acting_as(BOB):
                    task = asyncio.create_task(driver.fetch(connection, text))
                await asyncio.sleep(n * 0.0001)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if is_open:
                    await connection.execute("ROLLBACK")
                await connection.execute(f"UPDATE person SET name = '{n}'")
                rows = await driver.fetch(connection, "SELECT name FROM person WHERE id = 1")
                assert [tuple(row) for row in rows] == [(str(n),)]
                assert open_transactions(site) == []

    with acting_as(ALICE):
        asyncio.run(work())
    assert done_by(trail, ALICE) == ["person.update person:1"] * 60
    assert [each for each in read_by(trail, ALICE) if each[0]] == [(1, True)] * 60


def open_transactions(site: Site) -> list[Any]:
    with contextlib.closing(site.database.connect("postgres")) as connection:
        return connection.execute(
            "SELECT query FROM pg_stat_activity WHERE usename = 'app' AND xact_start IS NOT NULL"
        ).fetchall()


def test_a_task_that_is_cancelled_in_autocommit_leaves_nothing_open(
    site: Site, trail: Trail, driver: Driver
) -> None:
    """The transaction that was begun for its statement goes with it."""

    async def work() -> None:
        async with driver.connect(site.database.url("app"), trail) as connection:
            with acting_as(ALICE):
                slow = connection.execute("INSERT INTO person SELECT 1, 'x' FROM pg_sleep(60)")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(slow, timeout=0.5)
            assert open_transactions(site) == []
            with acting_as(BOB):
                await connection.execute("INSERT INTO person VALUES (2, 'b')")

    asyncio.run(work())
    assert done_by(trail, ALICE) == []
    assert done_by(trail, BOB) == ["person.insert person:2"]


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("is_twice", [False, True])
def test_cancelled_while_who_acts_is_told(
    site: Site,
    trail: Trail,
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_told: bool,
    is_twice: bool,
) -> None:
    """Before or after the server knows, and again while that is taken back: nothing stays open."""

    async def work() -> None:
        async with driver.connect(site.database.url("app"), trail) as connection:
            with acting_as(BOB):
                await connection.execute("INSERT INTO person VALUES (1, 'x')")
            wire = type(connection.captured.transaction._wire)
            begin, take_back = wire.begin, WritingTransaction._take_back
            task: asyncio.Task[Any]

            def cancelled(own: Any, *arguments: Any) -> None:
                if is_told:
                    begin(own, *arguments)
                raise asyncio.CancelledError

            def again(own: Any) -> None:
                if is_twice:
                    task.cancel()
                take_back(own)

            monkeypatch.setattr(wire, "begin", cancelled)
            monkeypatch.setattr(WritingTransaction, "_take_back", again)
            with acting_as(ALICE):
                task = asyncio.create_task(connection.execute("DELETE FROM person"))
            with pytest.raises(asyncio.CancelledError):
                await task
            monkeypatch.undo()
            await asyncio.sleep(0.1)
            assert open_transactions(site) == []
            with (
                acting_as(BOB),
                contextlib.suppress(psycopg.OperationalError, asyncpg.InterfaceError),
            ):
                await connection.execute("INSERT INTO person VALUES (3, 'x')")
                assert not is_twice or done_by(trail, BOB)[1:]

    asyncio.run(work())
    assert done_by(trail, ALICE) == []
    expected = [f"person.insert person:{n}" for n in (1, 3)]
    assert done_by(trail, BOB) == (expected[:1] if is_twice else expected)


def test_what_capture_waits_for_holds_up_no_other_task(
    site: Site, trail: Trail, driver: Driver
) -> None:
    """A new text is explained first, which waits for a lock that another task has."""
    site.database.execute("INSERT INTO person VALUES (1, 'a')")
    url = site.database.url("app")

    async def work() -> None:
        async with driver.connect(url, trail) as one, driver.connect(url, trail) as other:
            text = "SELECT name FROM person WHERE id = 1"
            async with one.transaction():
                await one.execute("LOCK TABLE person")
                reading = asyncio.create_task(driver.fetch(other, text))
                await asyncio.sleep(0.2)
                assert not reading.done()
                await one.execute("UPDATE person SET name = 'b'")
            assert [tuple(row) for row in await reading] == [("b",)]

    with acting_as(ALICE):
        asyncio.run(asyncio.wait_for(work(), 30))
    assert (1, True) in read_by(trail, ALICE)


def test_tasks_that_share_a_connection(site: Site, trail: Trail) -> None:
    """Who acts and the statement go together, whatever the others say meanwhile."""

    async def work(connection: Any, n: int) -> None:
        with acting_as(Actor("staff", f"number {n}")):
            for step in range(ROUNDS):
                await connection.execute(f"INSERT INTO person VALUES ({n * ROUNDS + step}, 'x')")

    async def all_tasks() -> None:
        async with _psycopg_connect(site.database.url("app"), trail) as connection:
            await asyncio.gather(*(work(connection, n) for n in range(TASKS)))

    asyncio.run(all_tasks())
    for n in range(TASKS):
        assert done_by(trail, Actor("staff", f"number {n}")) == sorted(
            f"person.insert person:{n * ROUNDS + step}" for step in range(ROUNDS)
        )


@pytest.mark.parametrize("is_open", [False, True], ids=["autocommit", "transaction"])
@pytest.mark.parametrize(
    "text", ["INSERT INTO person VALUES (1, 'x')", "SELECT name FROM person"], ids=["write", "read"]
)
def test_a_server_that_goes_away(
    site: Site, trail: Trail, driver: Driver, text: str, *, is_open: bool
) -> None:
    """What is raised says so, then and later, as without capture; nothing was written."""

    async def said(trail: Trail | None) -> list[object]:
        found: list[object] = []
        async with driver.connect(site.database.url("app"), trail) as connection:
            if is_open:
                await connection.execute("BEGIN")
            ((pid,),) = await driver.fetch(connection, "SELECT pg_backend_pid()")
            site.database.execute(f"SELECT pg_terminate_backend({pid}, 5000)", role="postgres")
            for _ in range(2):
                with pytest.raises(Exception) as caught:
                    await connection.execute(text)
                found.append((type(caught.value), str(caught.value)))
        async with driver.connect(site.database.url("app"), trail) as connection:
            found.append(list(map(tuple, await driver.fetch(connection, "SELECT id FROM person"))))
        return found

    expected = asyncio.run(said(None))
    with acting_as(ALICE):
        assert asyncio.run(said(trail)) == expected
    assert done_by(trail, ALICE) == []


def test_a_trail_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "indelible.toml").write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    with (
        Trail.create(tmp_path / "indelible.toml") as trail,
        pytest.raises(CaptureError, match=r"expected \[database\] url"),
    ):
        async_connection_class(trail)
