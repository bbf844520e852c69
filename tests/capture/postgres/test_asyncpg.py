"""Plain asyncpg connections: whose each change was, and every row that was read."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from indelible import Target, Trail, acting_as
from indelible.capture.asyncpg import connect, connection_class, create_pool

from .test_psycopg import ALICE, BOB, done_by, read_by, site, trail
from .test_trail import Site

__all__ = ["site", "trail"]

NINE = "INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n"
NAMES = "SELECT name FROM person WHERE id <= $1 ORDER BY id"

Say = Callable[[Any], AsyncIterator[object]]


def as_alice(site: Site, trail: Trail, work: Callable[[Any], Any], **options: Any) -> None:
    """`work` on a captured connection."""

    async def all_of_it() -> None:
        connection = await connect(site.database.url("app"), trail=trail, **options)
        try:
            await work(connection)
        finally:
            await connection.close()

    with acting_as(ALICE, reason="ticket 1"):
        asyncio.run(all_of_it())


def both(site: Site, trail: Trail, say: Say, **options: Any) -> None:
    """What is said of a captured connection, as Alice, is what is said of a plain one."""

    async def said(connection: Any) -> list[str]:
        try:
            return [repr(each) async for each in say(connection)]
        finally:
            await connection.close()

    async def plain() -> list[str]:
        return await said(await asyncpg.connect(site.database.url("app"), **options))

    async def captured() -> list[str]:
        return await said(await connect(site.database.url("app"), trail=trail, **options))

    expected = asyncio.run(plain())
    with acting_as(ALICE):
        assert asyncio.run(captured()) == expected


@pytest.mark.parametrize("is_open", [False, True], ids=["autocommit", "transaction"])
def test_every_way_to_write(site: Site, trail: Trail, *, is_open: bool) -> None:
    """Text, with arguments, many, prepared; COPY of files and records, with rows handed back."""

    async def work(connection: Any) -> None:
        transaction = connection.transaction()
        if is_open:
            await transaction.start()
        add = "INSERT INTO person VALUES ($1, $2)"
        assert await connection.execute("INSERT INTO person VALUES (1, 'a;')") == "INSERT 0 1"
        assert await connection.execute(add, 2, "b") == "INSERT 0 1"
        both = "INSERT INTO person VALUES (3, 'c'); INSERT INTO person VALUES (4, 'd')"
        assert await connection.execute(both) == "INSERT 0 1"
        await connection.executemany(add, [(5, "e"), (6, "f")])
        more = f"{add} RETURNING id"
        assert await connection.fetchmany(more, [(7, "g"), (8, "h")]) == [(7,), (8,)]
        assert await connection.fetch(more, 9, "i") == [(9,)]
        prepared = await connection.prepare(more)
        assert await prepared.fetchval(10, "j") == 10
        await prepared.executemany([(11, "k"), (12, "l")])
        await connection.copy_to_table("person", source=io.BytesIO(b"13\tm\n"))
        await connection.copy_records_to_table("person", records=[(14, "n"), (15, "o")])
        if is_open:
            await transaction.commit()
        assert not connection.is_in_transaction()

    as_alice(site, trail, work)
    assert done_by(trail, ALICE) == sorted(f"person.insert person:{n}" for n in range(1, 16))
    assert list(trail.notices()) == []


def tell(record: Any) -> list[Any]:
    """All that a record says of itself."""
    found: list[Any] = [record, str(record), len(record), bool(record), tuple(record)]
    found += [isinstance(record, asyncpg.Record), type(record).__name__, hash(record)]
    found += [list(record.keys()), list(record.values()), list(record.items()), dict(record)]
    keys = (
        0,
        -1,
        1,
        -2,
        5,
        slice(0, 9),
        slice(None, None, -1),
        "name",
        "id",
        "up",
        "zz",
        None,
        1.5,
    )
    for key in (*keys, "__indelible_1"):
        for ask in (
            lambda key: record[key],
            lambda key: record.get(key),
            lambda key: record.get(key, "nothing"),
            lambda key: key in record,
        ):
            try:
                found.append(ask(key))
            except Exception as error:
                found.append((type(error), str(error)))
    found += [record == tuple(record), tuple(record) == record, record != record, record == {}]
    found += [record < (*record, 1), record <= tuple(record), record > (), record >= (record[0],)]
    return found


class Own(asyncpg.Record):  # type: ignore[misc]
    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __repr__(self) -> str:
        return f"own {super().__repr__()} {len(self)}"


@pytest.mark.parametrize("kind", [asyncpg.Record, Own])
@pytest.mark.parametrize(
    "columns", ["name", "name, upper(name) AS up", "id, name", "p.*", "p.*, name", "name, id, name"]
)
def test_records_are_those_that_they_were(
    site: Site, trail: Trail, columns: str, kind: Any
) -> None:
    site.database.execute(NINE)
    site.database.execute("ALTER TABLE person ADD COLUMN more int DEFAULT 5")

    async def say(connection: Any) -> AsyncIterator[object]:
        text = f"SELECT {columns} FROM person p WHERE id <= $1 ORDER BY id"
        for records in (
            await connection.fetch(text, 2),
            await (await connection.prepare(text)).fetch(2),
            await connection.fetch(text, 2, record_class=Own),
        ):
            for record in records:
                yield tell(record)
            yield records[0] == records[0], records[0] == records[1], records[0] < records[1]
            yield sorted(records, reverse=True), len({*records})
        other = await asyncpg.connect(site.database.url("app"))
        plain = await other.fetchrow(text, 2)
        await other.close()
        yield records[0] == plain, plain == records[0], plain < records[1], {plain, records[0]}
        yield await connection.fetchval(text, 1, column=-1)

    both(site, trail, say, record_class=kind)
    assert read_by(trail, ALICE) == [(n, True) for n in (1, 2, 1, 2, 1, 2, 1)]


def test_only_what_was_handed_out_counts(site: Site, trail: Trail) -> None:
    """However it is fetched."""
    site.database.execute(NINE)
    fetched: list[int] = []

    async def say(connection: Any) -> AsyncIterator[object]:
        yield await connection.fetch(NAMES, 2)
        yield await connection.fetchrow(NAMES, 3)
        yield await connection.fetchrow(NAMES, 0)
        yield await connection.fetchval(NAMES, 4)
        yield await connection.fetchval(NAMES, 0)
        yield await connection.execute(NAMES, 5)
        prepared = await connection.prepare(NAMES)
        yield await prepared.fetch(2)
        yield await prepared.fetchrow(2), prepared.get_statusmsg()
        yield await prepared.fetchrow(0)
        yield await prepared.fetchval(2)
        async with connection.transaction():
            found = []
            async for record in connection.cursor(NAMES, 9, prefetch=2):
                found.append(record)
                if len(found) == 3:
                    break
            yield found
            yield [record async for record in connection.cursor(NAMES, 3)]
            yield [record async for record in prepared.cursor(2)]
            yield [record async for record in connection.cursor(NAMES, 0)]
            for cursor in (await connection.cursor(NAMES, 6), await prepared.cursor(6)):
                yield await cursor.fetchrow()
                yield await cursor.forward(2)
                yield await cursor.fetch(2)
                yield repr(cursor).split(" ")[1:3]
                yield await cursor.fetch(2), await cursor.fetch(1), await cursor.fetchrow()
        yield connection.is_in_transaction()

    both(site, trail, say)
    fetched += [1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 3, 1, 2, 3, 1, 2]
    fetched += [1, 4, 5, 6] * 2
    ids = [(n, True) for n in fetched]
    assert sorted(each for each in read_by(trail, ALICE) if each[0]) == sorted(ids)
    assert all(is_certain for _, is_certain in read_by(trail, ALICE))


def test_a_prepared_statement_is_the_applications_own(site: Site, trail: Trail) -> None:
    """Its text, columns and plan; and it goes on after another statement of the same text."""
    site.database.execute(NINE)

    async def say(connection: Any) -> AsyncIterator[object]:
        prepared = await connection.prepare(NAMES)
        for _ in range(2):
            yield prepared.get_query(), prepared.get_attributes(), prepared.get_parameters()
            yield await prepared.fetch(2), prepared.get_statusmsg()
        yield [each["Plan"]["Output"] for each in await prepared.explain(2)]
        again = await connection.prepare(NAMES, name="mine")
        yield again.get_name(), await again.fetchval(1), await prepared.fetchval(1)
        del again
        yield await prepared.fetch(3)
        with pytest.raises(asyncpg.PostgresSyntaxError) as caught:
            await connection.prepare("SELEC")
        yield str(caught.value)
        with pytest.raises(asyncpg.InterfaceError) as caught:
            await prepared.fetch()
        yield str(caught.value)
        await connection.close()
        for use in (prepared.fetch, prepared.fetchval, prepared.fetchrow, prepared.cursor):
            with pytest.raises(asyncpg.InterfaceError) as caught:
                use(1)
            yield str(caught.value)

    both(site, trail, say)


def test_what_is_not_fetched_row_by_row_is_told_by_statement(site: Site, trail: Trail) -> None:
    site.database.execute(NINE)

    async def work(connection: Any) -> None:
        out = io.BytesIO()
        await connection.copy_from_table("person", output=out)
        await connection.copy_from_query(NAMES, 2, output=out)
        assert out.getvalue().endswith(b"\nn1\nn2\n")
        names = await connection.fetchmany("SELECT name FROM person WHERE id = $1", [(1,), (2,)])
        assert names == [("n1",), ("n2",)]
        await connection.executemany("SELECT name FROM person WHERE id = $1", [(1,), (2,)])
        prepared = await connection.prepare("SELECT name FROM person WHERE id = $1")
        assert await prepared.fetchmany([(1,), (2,)]) == names

    as_alice(site, trail, work)
    assert read_by(trail, ALICE) == [(None, False)] * 5


def test_nested_savepoints(site: Site, trail: Trail) -> None:
    async def work(connection: Any) -> None:
        async with connection.transaction():
            with pytest.raises(RuntimeError):
                async with connection.transaction():
                    with acting_as(BOB):
                        await connection.execute("INSERT INTO person VALUES (1, 'gone')")
                    raise RuntimeError
            await connection.execute("INSERT INTO person VALUES (2, 'stays')")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction(), connection.transaction():
                    await connection.execute("INSERT INTO person VALUES (2, 'again')")
            with acting_as(BOB):
                await connection.execute("INSERT INTO person VALUES (3, 'stays')")
            await connection.execute("INSERT INTO person VALUES (4, 'stays')")
        with pytest.raises(RuntimeError):
            async with connection.transaction():
                await connection.execute("INSERT INTO person VALUES (5, 'gone')")
                raise RuntimeError

    as_alice(site, trail, work)
    assert done_by(trail, ALICE) == [f"person.insert person:{n}" for n in (2, 4)]
    assert done_by(trail, BOB) == ["person.insert person:3"]
    assert list(trail.notices()) == []


def test_an_explicit_event_shares_the_transactions_fate(site: Site, trail: Trail) -> None:
    """On a connection, and on one of a pool."""

    async def work() -> None:
        url = site.database.url("app")
        pool = create_pool(url, trail=trail, min_size=1, max_size=1)
        async with pool, pool.acquire() as connection:
            async with connection.transaction():
                await trail.record_async("a.merged", target=Target("a", 1), on=connection)
            with pytest.raises(RuntimeError):
                async with connection.transaction():
                    await trail.record_async("a.split", target=Target("a", 1), on=connection)
                    raise RuntimeError

    with acting_as(ALICE):
        asyncio.run(work())
    trail.flush()
    assert [each.event.action for each in trail.events(by=ALICE)] == ["a.merged"]


@pytest.mark.parametrize("is_open", [False, True], ids=["autocommit", "transaction"])
def test_results_are_those_without_capture(site: Site, trail: Trail, *, is_open: bool) -> None:
    """Rows, statuses, errors and transaction states, one after the other."""
    texts: list[Any] = [
        "DELETE FROM person",
        "SELECT count(*) FROM person",
        "INSERT INTO person VALUES (1, 'a') RETURNING *",
        "SELECT named(1)",
        "INSERT INTO person VALUES (2, 'b')",
        "SELECT name FROM person",
        "INSERT INTO person VALUES (2, 'b')",
        "SELECT name FROM person",
        "ROLLBACK",
        "no statement",
        "ROLLBACK",
        "SELECT nothing FROM person",
        "SELECT name FROM person WHERE id = $1",
        "",
        "INSERT INTO person VALUES (3, 'c'); DELETE FROM person",
        "BEGIN",
        "SELECT current_setting('transaction_isolation')",
        "COMMIT",
    ]

    async def say(connection: Any) -> AsyncIterator[object]:
        for text in texts:
            for use in (connection.execute, connection.fetch):
                if is_open and not connection.is_in_transaction():
                    await connection.execute("BEGIN")
                try:
                    said: object = await use(text)
                except Exception as error:
                    said = type(error), str(error)
                yield text, said, connection.is_in_transaction()
        cursor = connection.cursor("SELECT name FROM person")
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
        with pytest.raises(asyncpg.PostgresError) as caught:
            await cursor
        yield type(caught.value), str(caught.value)
        with pytest.raises(asyncpg.PostgresError) as caught:
            await anext(aiter(connection.cursor("SELECT name FROM person")))
        yield type(caught.value), str(caught.value)
        with pytest.raises(asyncpg.InterfaceError) as interface:
            await connection.cursor("SELECT name FROM person", prefetch=3)
        yield str(interface.value)
        await connection.close()
        with pytest.raises(asyncpg.InterfaceError) as interface:
            await connection.fetch("SELECT 1")
        yield str(interface.value)

    both(site, trail, say)


@pytest.mark.parametrize("text", [7, None, b"SELECT 1"])
def test_what_is_no_text_is_refused_by_the_driver(site: Site, trail: Trail, text: Any) -> None:
    for how in ("execute", "fetch", "prepare", "fetchmany"):

        async def say(connection: Any, how: str = how) -> AsyncIterator[object]:
            with pytest.raises(Exception) as caught:
                await getattr(connection, how)(text, *[[]] * (how == "fetchmany"))
            yield type(caught.value), str(caught.value), connection.is_closed()

        both(site, trail, say)


def test_a_timeout_is_for_all_of_a_statement(site: Site, trail: Trail) -> None:
    """What capture asks before it included; nothing stays open, and the connection goes on."""
    site.database.execute(NINE)
    for timeout in (-1, "x"):
        with pytest.raises(Exception) as plain:
            asyncio.run(said_of_timeout(asyncpg.connect(site.database.url("app")), timeout))
        with pytest.raises(Exception) as captured:
            url = site.database.url("app")
            asyncio.run(said_of_timeout(connect(url, trail=trail), timeout))
        assert (type(captured.value), str(captured.value)) == (type(plain.value), str(plain.value))

    async def say(connection: Any) -> AsyncIterator[object]:
        lock = site.database.connect("postgres")
        lock.execute("BEGIN; LOCK TABLE person")
        for text in ("SELECT name FROM person", "DELETE FROM person"):
            with pytest.raises(TimeoutError):
                await connection.fetch(text, timeout=0.3)
            yield connection.is_in_transaction()
            with pytest.raises(TimeoutError):
                await connection.execute(text, timeout=0.3)
            yield connection.is_in_transaction()
        lock.close()
        yield await connection.fetch("SELECT name FROM person ORDER BY id")

    both(site, trail, say)
    assert done_by(trail, ALICE) == []


async def said_of_timeout(connecting: Any, timeout: Any) -> None:
    connection = await connecting
    try:
        await connection.fetch("SELECT 1", timeout=timeout)
    finally:
        await connection.close()


def test_tasks_that_share_a_connection_are_refused_as_without_capture(
    site: Site, trail: Trail
) -> None:
    """One goes on; what the others wanted isn't done, in its transaction or otherwise."""

    async def say(connection: Any) -> AsyncIterator[object]:
        await connection.execute("DELETE FROM person")
        writes = [f"INSERT INTO person VALUES ({n}, 'x')" for n in range(5)]
        done = await asyncio.gather(*map(connection.execute, writes), return_exceptions=True)
        yield [(type(each), str(each)) for each in done]
        yield connection.is_in_transaction()
        yield await connection.fetch("SELECT id FROM person")

    both(site, trail, say)
    assert done_by(trail, ALICE) == ["person.delete person:0", "person.insert person:0"]


def test_a_connection_that_goes_back_to_its_pool_is_as_new(site: Site, trail: Trail) -> None:
    """What resets it is no read, and names mean again what they meant."""
    site.database.execute(
        "CREATE SCHEMA other",
        "CREATE TABLE other.person (id int PRIMARY KEY, name text)",
        "GRANT USAGE ON SCHEMA other TO app",
        "GRANT ALL ON other.person TO app",
        "INSERT INTO other.person VALUES (77, 'o')",
        NINE,
    )
    text = "SELECT name FROM person WHERE id IN (1, 77)"

    async def work() -> None:
        url = site.database.url("app")
        async with create_pool(url, trail=trail, min_size=1, max_size=1) as pool:
            assert await pool.fetch(text) == [("n1",)]
            async with pool.acquire() as connection:
                await connection.execute("SET search_path = other")
                assert await connection.fetch(text) == [("o",)]
            assert await pool.fetch(text) == [("n1",)]
            async with pool.acquire() as connection:
                with pytest.raises(RuntimeError):
                    async with connection.transaction():
                        await connection.execute("SET search_path = other")
                        assert await connection.fetch(text) == [("o",)]
                        raise RuntimeError
                assert await connection.fetch(text) == [("n1",)]

    with acting_as(ALICE):
        asyncio.run(work())
    trail.flush()
    answer = trail.access_events(by=ALICE)
    assert list(answer.possible()) == []
    found = [(t.kind, t.ids) for each in answer.certain() for t in each.event.targets]
    first, second = ("person", ((1,),)), ("other.person", ((77,),))
    assert found == [first, second, first, second, first]


def test_codecs_of_the_application_change_nothing(site: Site, trail: Trail) -> None:
    """Of what is told and asked; keys that they change are not made up."""
    site.database.execute(NINE)

    async def say(connection: Any) -> AsyncIterator[object]:
        options = {"schema": "pg_catalog", "encoder": str.upper, "decoder": str.upper}
        for kind in ("text", "name", "text[]"):
            with contextlib.suppress(Exception):
                await connection.set_type_codec(kind, **options)
        yield await connection.fetch("SELECT name FROM person WHERE name = $1", "n1")
        yield await connection.execute("DELETE FROM person WHERE id = $1", 10)
        yield await connection.fetch("SELECT name FROM person WHERE id = $1", 2)
        yield await connection.execute("INSERT INTO person VALUES (10, $1)", "x")
        await connection.set_type_codec(
            "int4", schema="pg_catalog", encoder=str, decoder=lambda text: f"number {text}"
        )
        yield await connection.fetch("SELECT name FROM person WHERE id = 3")
        yield await connection.execute("DELETE FROM person WHERE id = 10")

    both(site, trail, say)
    assert done_by(trail, ALICE) == ["person.delete person:10", "person.insert person:10"]
    assert read_by(trail, ALICE)[-2:] == [(2, True), (None, False)]


def test_the_class_is_made_once_for_each_trail(trail: Trail) -> None:
    assert connection_class(trail) is connection_class(trail)
