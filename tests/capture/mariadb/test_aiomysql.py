"""aiomysql by itself: what it hands out is what it always hands out, and the trail knows of it."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import aiomysql
import pytest

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.aiomysql import connect, create_pool

from .test_drivers import (
    ALICE,
    BOB,
    KINDS,
    STATEMENTS,
    arguments,
    read,
    site,
    told,
    trail,
)
from .test_trail import Site

__all__ = ["site", "trail"]

TASKS, ROUNDS = 200, 4


def options(site: Site, **more: Any) -> dict[str, Any]:
    found = arguments(site, **more)
    found["db"] = found.pop("database")
    return found


def as_captured(site: Site, trail: Trail, work: Callable[[Any], Awaitable[None]]) -> None:
    """`work` on a captured connection."""

    async def run() -> None:
        async with connect(**options(site), trail=trail) as connection:
            await work(connection)

    asyncio.run(run())


def looked_at(connection: Any, cursor: Any) -> list[object]:
    """All that is said of the last statement."""
    found = [cursor.rowcount, cursor.lastrowid, cursor.rownumber, cursor.description]
    found += [cursor._executed, cursor._last_executed, connection.insert_id()]
    found += [connection.affected_rows(), connection.get_transaction_status()]
    return found


async def left_in(cursor: Any) -> list[object]:
    """All that is still to be fetched."""
    found = [await cursor.fetchall()]
    while await cursor.nextset():
        found.append(await cursor.fetchall())
    return found


async def said_of(connection: Any, kind: Any) -> list[object]:
    found: list[object] = []
    async with connection.cursor(kind) as cursor:
        for text, parameters in STATEMENTS:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    found.append((text, await cursor.execute(text, parameters)))
                    found += looked_at(connection, cursor)
                    found += [await cursor.fetchone(), await cursor.fetchmany(1)]
                    found += [[row async for row in cursor], await left_in(cursor)]
                except (aiomysql.Error, TypeError) as error:
                    found.append((text, type(error), error.args))
                    while connection._result is not None and connection._result.has_next:
                        await connection.next_result()
            found += [[str(each.message) for each in warned], looked_at(connection, cursor)]
        rows = [("m",), ("n",)]
        for many in ("INSERT INTO person (name) VALUES (%s)", "UPDATE person SET name = %s"):
            found += [await cursor.executemany(many, rows), looked_at(connection, cursor)]
        found += [await cursor.executemany(many, []), await cursor.callproc("people")]
        found += await left_in(cursor)
        found += [await cursor.callproc("add_to", (5, "s")), *await left_in(cursor)]
        await cursor.execute("SELECT @_add_to_0, @_add_to_1")
        found.append(await cursor.fetchall())
        await cursor.execute("SELECT name FROM person")  # and isn't fetched
        await cursor.scroll(2)
        found += [await cursor.fetchone(), cursor.rownumber]
    with pytest.raises(aiomysql.ProgrammingError) as caught:
        await cursor.execute("SELECT 1")
    found.append(caught.value.args)
    return found


@pytest.mark.parametrize("is_autocommit", [False, True], ids=["transaction", "autocommit"])
@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_a_plain_connection(
    site: Site, trail: Trail, kind: str, *, is_autocommit: bool
) -> None:
    """Rows, names, counts, ids, warnings, errors, what is left to fetch, and the state of the
    transaction."""

    async def run(connecting: Any) -> list[object]:
        async with connecting as connection:
            found = await said_of(connection, getattr(aiomysql, kind))
            await connection.rollback()
            return found

    seen = []
    for is_captured in (False, True):
        site.database.execute(
            "DELETE FROM person",
            "ALTER TABLE person AUTO_INCREMENT = 1",
            "INSERT INTO person (name) VALUES ('a'), ('b'), ('c')",
        )
        wanted = options(site, autocommit=is_autocommit)
        with acting_as(ALICE):
            made = connect(**wanted, trail=trail) if is_captured else aiomysql.connect(**wanted)
            seen.append(asyncio.run(run(made)))
    assert list(map(repr, seen[0])) == list(map(repr, seen[1]))


def test_only_rows_that_were_handed_out_count(site: Site, trail: Trail) -> None:
    """And what goes past is told by statement: unbuffered cursors, and no cursor at all."""

    both = aiomysql.cursors.DeserializationCursor, aiomysql.DictCursor

    async def work(connection: Any) -> None:
        with acting_as(ALICE):
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT name FROM person ORDER BY id")
                assert await cursor.fetchone() == ("a",)
                assert await cursor.fetchmany(1) == (("b",),)
            async with connection.cursor(*both) as cursor:
                await cursor.execute("SELECT name FROM person ORDER BY id LIMIT 1")
                assert await cursor.fetchall() == [{"name": "a"}]
        with acting_as(BOB):
            async with connection.cursor(aiomysql.DictCursor) as cursor:
                await cursor.execute("SELECT name FROM person WHERE id = %s", (3,))
                assert [row async for row in cursor] == [{"name": "c"}]
        with acting_as(Actor("staff", "carol")):
            async with connection.cursor(aiomysql.SSCursor) as cursor:
                await cursor.execute("SELECT name FROM person ORDER BY id")
                assert [row async for row in cursor] == [("a",), ("b",), ("c",)]
            await connection.query("SELECT name FROM person")

    as_captured(site, trail, work)
    assert read(trail, ALICE) == [("person:1", 2, True), ("person:2", 1, True)]
    assert read(trail, BOB) == [("person:3", 1, True)]
    assert read(trail, Actor("staff", "carol")) == [("person:(some)", 2, False)]


def test_whoever_acts_did_it(site: Site, trail: Trail) -> None:
    """In transactions and autocommit, and nobody after: the variable ends with each."""

    async def work(connection: Any) -> None:
        async with connection.cursor() as cursor:
            with acting_as(ALICE):
                await cursor.execute("UPDATE person SET name = 'x' WHERE id = 1")
                await trail.record_async(
                    "person.renamed", target=Target("person", 1), on=connection
                )
            with acting_as(BOB):
                rows = [("y", 2), ("z", 3)]
                await cursor.executemany("UPDATE person SET name = %s WHERE id = %s", rows)
            await connection.commit()
            await connection.autocommit(True)
            with acting_as(ALICE):
                await cursor.execute("DELETE FROM person WHERE id = 1")
            with connection.inside():
                await cursor.execute("SELECT @indelible_ctx")
                assert await cursor.fetchone() == (None,)
            await connection.query("DELETE FROM person WHERE id = 2")

    as_captured(site, trail, work)
    assert told(trail, ALICE) == ["person.update 1", "person.delete 1"]
    assert told(trail, BOB) == ["person.update 2", "person.update 3"]
    (event,) = trail.events(action="person.renamed")
    assert event.event.actor == ALICE
    assert len([n for n in trail.notices() if n.action == "changes.unattributed"]) == 1
    trail.verify()


def test_nobody_is_taken_for_another(site: Site, trail: Trail) -> None:
    """200 tasks over a pool of five connections, each as somebody else; then ten on one."""
    site.database.execute("DELETE FROM person")

    async def task(pool: Any, n: int) -> None:
        with acting_as(Actor("staff", str(n))):
            for round_ in range(ROUNDS):
                async with pool.acquire() as connection, connection.cursor() as cursor:
                    await cursor.execute(
                        "INSERT INTO person (id, name) VALUES (%s, 'n')", (n * 10 + round_,)
                    )
                    await (connection.rollback() if round_ == 2 else connection.commit())
                    await cursor.execute("SELECT name FROM person WHERE id = %s", (n * 10,))
                    assert await cursor.fetchall() == (("n",),)
                    await connection.rollback()

    async def on_one(connection: Any, n: int) -> None:
        with acting_as(Actor("staff", str(n))):
            cursor = await connection.cursor()
            await cursor.execute("UPDATE person SET name = %s WHERE id = %s", ("o", n * 10))

    async def run() -> None:
        async with create_pool(1, 5, **options(site), trail=trail) as pool:
            await asyncio.gather(*(task(pool, n) for n in range(1, TASKS + 1)))
            assert pool.size <= 5
        async with connect(**options(site, autocommit=True), trail=trail) as connection:
            await asyncio.gather(*(on_one(connection, n) for n in range(1, 11)))

    asyncio.run(run())
    for n in range(1, TASKS + 1):
        actor = Actor("staff", str(n))
        expected = [f"person.insert {n * 10 + round_}" for round_ in (0, 1, 3)]
        assert told(trail, actor) == expected + [f"person.update {n * 10}"] * (n <= 10)
        assert read(trail, actor) == [(f"person:{n * 10}", ROUNDS, True)]
    trail.verify()


def test_a_cancelled_task_leaves_nothing_behind(site: Site, trail: Trail) -> None:
    """Cancelled at any moment: the next user of the pool writes as itself."""
    site.database.execute("DELETE FROM person")

    async def write(pool: Any, n: int, actor: Actor | None) -> None:
        with acting_as(actor) if actor is not None else contextlib.nullcontext():
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute("INSERT INTO person VALUES (%s, 'a')", (n,))

    async def run() -> int:
        cancelled = 0
        async with create_pool(1, 1, **options(site, autocommit=True), trail=trail) as pool:
            for n in range(1, 81):
                task = asyncio.create_task(write(pool, 1_000 + n, ALICE))
                await asyncio.sleep(n * 0.00005)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                cancelled += task.cancelled()
                await write(pool, 2_000 + n, BOB if n % 2 else None)
        return cancelled

    assert asyncio.run(run()) > 5
    assert told(trail, BOB) == [f"person.insert {2_000 + n}" for n in range(1, 81, 2)]
    assert all(int(each.rpartition(" ")[2]) < 2_000 for each in told(trail, ALICE))
    for n in range(2_002, 2_081, 2):
        (found,) = trail.history(Target("person", n))
        assert (found.event.action, found.event.actor) == ("person.insert", None)
    trail.verify()


def test_a_server_that_goes_away_is_the_statements_own_error(site: Site, trail: Trail) -> None:
    async def said(connecting: Any) -> object:
        async with connecting as connection:
            site.database.server.execute(f"KILL {connection.thread_id()}")
            with pytest.raises(aiomysql.Error) as caught:
                cursor = await connection.cursor()
                await cursor.execute("INSERT INTO person (name) VALUES ('a')")
            await connection.ping()
            async with connection.cursor() as cursor:
                await cursor.execute("INSERT INTO person (id, name) VALUES (9, 'a')")
            await connection.commit()
            return type(caught.value), caught.value.args

    plain = asyncio.run(said(aiomysql.connect(**options(site))))
    site.database.execute("DELETE FROM person")
    with acting_as(ALICE):
        assert asyncio.run(said(connect(**options(site), trail=trail))) == plain
    assert told(trail, ALICE) == ["person.insert 9"]
