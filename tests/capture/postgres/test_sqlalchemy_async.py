"""Asynchronous SQLAlchemy on PostgreSQL, through psycopg and through asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import NullPool, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from tests.servers import PgBouncer

from indelible import Actor, Trail, acting_as
from indelible.capture.postgres.wires import Wire
from indelible.capture.sqlalchemy import capture

from .test_sqlalchemy import ALICE, BOB, Bill, Person, done_by, site, trail, url_of
from .test_trail import Site

__all__ = ["site", "trail"]

Work = Callable[[AsyncConnection], Awaitable[object]]
AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}


@pytest.fixture(params=["psycopg", "asyncpg"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plain(site: Site, driver: str) -> AsyncEngine:
    """Without capture; a connection each, as each test runs several event loops."""
    return create_async_engine(url_of(site.database, "app", driver), poolclass=NullPool)


@pytest.fixture
def engine(plain: AsyncEngine, trail: Trail) -> Iterator[AsyncEngine]:
    engine = create_async_engine(plain.url, poolclass=NullPool)
    capture(engine, trail)
    yield engine
    asyncio.run(engine.dispose())


def run(engine: AsyncEngine, work: Work, **options: str) -> None:
    """`work` as Alice, on one connection that is committed in the end."""

    async def all_of_it() -> None:
        async with engine.connect() as connection:
            await work(await connection.execution_options(**options))
            await connection.commit()

    with acting_as(ALICE):
        asyncio.run(all_of_it())


def test_a_unit_of_work_is_whose_it_was(engine: AsyncEngine, trail: Trail) -> None:
    async def work() -> None:
        async with AsyncSession(engine) as session:
            session.add(Person(id=1, name="Zara"))
            await session.flush()
            session.add_all(Bill(id=n, person_id=1, total=5) for n in (1, 2))
            await session.run_sync(lambda inner: trail.record("bill.sent", on=inner))
            await session.commit()
            bill = await session.get_one(Bill, 1)
            bill.total = 6
            await session.commit()
            await session.run_sync(lambda inner: trail.record("bill.lost", on=inner))
            await session.rollback()

    with acting_as(ALICE, reason="ticket 1"):
        asyncio.run(work())
    assert done_by(trail, ALICE) == [
        "person.insert person:1",
        "bill.insert bill:1",
        "bill.insert bill:2",
        "bill.update bill:1",
    ]
    transactions = [each.event.transaction for each in trail.changes(by=ALICE)]
    assert transactions[0] == transactions[2] != transactions[3]
    (sent,) = (each.event for each in trail.events(by=ALICE) if each.event.kind == "event")
    assert (sent.action, sent.transaction) == ("bill.sent", transactions[0])
    assert list(trail.notices()) == []


def test_two_in_one_transaction_and_a_savepoint(engine: AsyncEngine, trail: Trail) -> None:
    async def work(connection: AsyncConnection) -> None:
        inner = await connection.begin_nested()
        await connection.execute(text("INSERT INTO person VALUES (1, 'gone')"))
        await inner.rollback()
        await connection.execute(text("INSERT INTO person VALUES (2, 'a')"))
        with acting_as(BOB):
            await connection.execute(text("INSERT INTO person VALUES (3, 'b')"))
        await connection.execute(text("INSERT INTO person VALUES (4, 'a')"))

    run(engine, work)
    assert done_by(trail, ALICE) == ["person.insert person:2", "person.insert person:4"]
    assert done_by(trail, BOB) == ["person.insert person:3"]
    assert list(trail.notices()) == []


def test_in_autocommit_each_statement_is_whose_it_was(engine: AsyncEngine, trail: Trail) -> None:
    """It gets the transaction that the server would have made; errors are the statement's own."""

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
        with pytest.raises(IntegrityError, match="duplicate key"):
            await connection.execute(text("INSERT INTO person VALUES (1, 'again')"))
        with acting_as(BOB):
            returned = await connection.execute(text("UPDATE person SET name = 'b' RETURNING name"))
            assert returned.scalar_one() == "b"
        many = [{"id": n, "person_id": 1, "total": n} for n in (1, 2)]
        await connection.execute(Bill.__table__.insert(), many)
        await connection.execute(text("VACUUM person"))

    run(engine, work, **AUTOCOMMIT)
    assert done_by(trail, ALICE) == [
        "person.insert person:1",
        "bill.insert bill:1",
        "bill.insert bill:2",
    ]
    assert done_by(trail, BOB) == ["person.update person:1"]
    assert list(trail.notices()) == []


def test_a_task_that_is_cancelled_in_autocommit_leaves_nothing_open(
    engine: AsyncEngine, site: Site, trail: Trail
) -> None:
    """The transaction that was begun for its statement goes with it."""

    async def work(connection: AsyncConnection) -> None:
        slow = text("INSERT INTO person SELECT 1, 'late' FROM pg_sleep(60)")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.execute(slow), timeout=0.5)
        await connection.rollback()

    async def another() -> None:
        async with engine.connect() as connection:
            connection = await connection.execution_options(**AUTOCOMMIT)
            with acting_as(BOB):
                await connection.execute(text("INSERT INTO person VALUES (2, 'b')"))

    run(engine, work, **AUTOCOMMIT)
    asyncio.run(another())
    assert done_by(trail, ALICE) == []
    assert done_by(trail, BOB) == ["person.insert person:2"]
    with contextlib.closing(site.database.connect("postgres")) as connection:
        open_ones = connection.execute(
            "SELECT query FROM pg_stat_activity WHERE usename = 'app' AND xact_start IS NOT NULL"
        ).fetchall()
    assert open_ones == []


def test_errors_are_the_applications_own(engine: AsyncEngine, plain: AsyncEngine) -> None:
    said: dict[AsyncEngine, list[str]] = {plain: [], engine: []}

    for one in (plain, engine):

        async def work(connection: AsyncConnection, one: AsyncEngine = one) -> None:
            for statement in (
                "INSERT INTO person VALUES (1, NULL)",
                "SELECT 1",  # in a transaction that failed
                "INSERT INTO nowhere VALUES (1)",
            ):
                with pytest.raises(DBAPIError) as caught:
                    await connection.execute(text(statement))
                said[one].append(str(caught.value))
            await connection.rollback()

        run(one, work)
        run(one, work)
    assert said[plain] == said[engine]
    assert len(said[plain]) == 6


def test_a_constraint_that_is_checked_at_the_end_fails_the_statement(
    engine: AsyncEngine, plain: AsyncEngine, site: Site, trail: Trail
) -> None:
    site.database.execute(
        "ALTER TABLE bill ALTER CONSTRAINT bill_person_id_fkey DEFERRABLE INITIALLY DEFERRED"
    )
    said = []

    async def work(connection: AsyncConnection) -> None:
        with pytest.raises(IntegrityError) as caught:
            await connection.execute(text("INSERT INTO bill VALUES (1, 99, 1)"))
        said.append(str(caught.value))
        assert (await connection.execute(text("SELECT count(*) FROM bill"))).scalar() == 0

    for one in (plain, engine):
        run(one, work, **AUTOCOMMIT)
    assert said[0] == said[1]
    assert done_by(trail, ALICE) == []


def test_a_read_is_answered_with_its_statement(engine: AsyncEngine, trail: Trail) -> None:
    """Whichever way its driver writes parameters; and it tells nobody who acts."""

    async def work(connection: AsyncConnection) -> None:
        (await connection.execute(select(Person.name).where(Person.id == 77).limit(3))).all()
        told = await connection.exec_driver_sql("SHOW indelible.ctx")
        assert told.scalar() in (None, "")

    async def stream(connection: AsyncConnection) -> None:
        async with connection.stream(select(Bill.total)) as rows:
            assert [row async for row in rows] == []

    async def read(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("SELECT set_config('indelible.ctx', '', false)")
        await connection.commit()
        await work(connection)
        await stream(connection)

    run(engine, read)
    trail.flush()
    found = list(trail.access_events(by=ALICE).certain())
    assert [each.event.action for each in found] == ["person.read", "bill.read"]
    statement = found[0].event.statement
    assert statement is not None
    assert "77" not in statement.text
    assert statement.text.startswith("SELECT person.name FROM person WHERE person.id =")


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pgbouncer"])
def test_nobody_is_taken_for_another(
    site: Site, trail: Trail, driver: str, *, pooled: bool
) -> None:
    """100 tasks over a pool of few connections, each as somebody else; every other autocommits."""
    tasks, rounds = 100, 4
    bouncer = PgBouncer(site.database, pool_size=3) if pooled else None
    url = (bouncer or site.database).url("app")
    arguments: dict[str, object] = {"prepare_threshold": None}
    if driver == "asyncpg":
        # What SQLAlchemy's documentation asks for behind a pooler in transaction mode.
        arguments = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["prepared_statement_name_func"] = lambda: ""
    engine = create_async_engine(
        url.replace("postgresql://", f"postgresql+{driver}://"),
        pool_size=5,
        max_overflow=0,
        connect_args=arguments,
    )
    capture(engine, trail)

    async def task(n: int) -> None:
        options = AUTOCOMMIT if n % 2 else {}
        own = engine.execution_options(**options)
        for round_ in range(rounds):
            with acting_as(Actor("staff", f"number {n}")):
                async with own.begin() as connection:
                    await connection.execute(
                        text("UPDATE person SET name = :name WHERE id = :id"),
                        {"name": f"round {round_}", "id": n},
                    )

    async def all_tasks() -> None:
        async with engine.begin() as connection:
            people = [{"id": n, "name": ""} for n in range(tasks)]
            await connection.execute(Person.__table__.insert(), people)
        await asyncio.gather(*map(task, range(tasks)))
        await engine.dispose()

    try:
        asyncio.run(all_tasks())
    finally:
        if bouncer is not None:
            bouncer.remove()
    for n in range(tasks):
        assert (
            done_by(trail, Actor("staff", f"number {n}")) == [f"person.update person:{n}"] * rounds
        )


def test_cancelled_wherever_it_is_no_task_leaves_its_transaction_to_another(
    site: Site, trail: Trail, driver: str
) -> None:
    """The next to have the connection commits, as itself; in autocommit and in a transaction."""
    engine = create_async_engine(url_of(site.database, "app", driver), pool_size=1, max_overflow=0)
    capture(engine, trail)
    rounds = 120

    async def write(id_: int, actor: Actor, **options: str) -> None:
        with acting_as(actor):
            async with engine.execution_options(**options).begin() as connection:
                await connection.execute(text(f"INSERT INTO person VALUES ({id_}, 'x')"))

    async def all_rounds() -> None:
        for n in range(rounds):
            options = AUTOCOMMIT if n % 2 else {}
            task = asyncio.create_task(write(1_000 + n, ALICE, **options))
            await asyncio.sleep(n * 0.00005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await write(n, BOB, **AUTOCOMMIT)
        await engine.dispose()

    asyncio.run(all_rounds())
    assert done_by(trail, BOB) == [f"person.insert person:{n}" for n in range(rounds)]
    with contextlib.closing(site.database.connect("postgres")) as connection:
        rows = connection.execute("SELECT id FROM person ORDER BY id").fetchall()
    ids = [id_ for (id_,) in rows]
    assert ids[:rounds] == list(range(rounds))
    assert done_by(trail, ALICE) == [f"person.insert person:{id_}" for id_ in ids[rounds:]]
    assert list(trail.notices()) == []


@pytest.mark.parametrize("is_told", [False, True])
def test_cancelled_while_who_acts_is_told(
    site: Site, trail: Trail, driver: str, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    """Between BEGIN and the statement, before or after the server knows: nothing is left open."""
    engine = create_async_engine(
        url_of(site.database, "app", driver), pool_size=1, max_overflow=0, **AUTOCOMMIT
    )
    capture(engine, trail)
    tell = Wire.tell

    def cancelled(wire: Wire, *arguments: Any) -> None:
        monkeypatch.undo()
        if is_told:
            tell(wire, *arguments)
        raise asyncio.CancelledError

    async def write(id_: int, actor: Actor) -> None:
        with acting_as(actor):
            async with engine.begin() as connection:
                await connection.execute(text(f"INSERT INTO person VALUES ({id_}, 'x')"))

    async def work() -> None:
        await write(1, BOB)
        monkeypatch.setattr(Wire, "tell", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await write(2, ALICE)
        await write(3, BOB)
        await engine.dispose()

    asyncio.run(work())
    assert done_by(trail, ALICE) == []
    assert done_by(trail, BOB) == ["person.insert person:1", "person.insert person:3"]
