"""SQLAlchemy on MariaDB: whoever acts did it, and nothing else changes for the application."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, String, create_engine, event, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.mariadb_server import MariadbDatabase

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.errors import CaptureError

from .test_drivers import is_open
from .test_trail import Site

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")
TASKS, THREADS, ROUNDS = 200, 16, 4


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(99))


class Pet(Base):
    __tablename__ = "pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("person.id"))


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute(
        "CREATE TABLE person (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(99))",
        "CREATE TABLE pet (id INT PRIMARY KEY, owner_id INT, "
        "FOREIGN KEY (owner_id) REFERENCES person (id))",
        "CREATE VIEW named AS SELECT name FROM person",
        "CREATE FUNCTION rename_all(n VARCHAR(99)) RETURNS INT MODIFIES SQL DATA "
        "BEGIN UPDATE person SET name = n; RETURN 1; END",
    )
    mariadb_database.server.execute(f"GRANT EXECUTE ON {mariadb_database.name}.* TO app@'%'")
    site = Site(mariadb_database, tmp_path, "[tables.person]\nsubject = 'self'\n")
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


def url_of(site: Site, driver: str = "pymysql") -> str:
    return site.database.url("app").replace("mysql://", f"mysql+{driver}://")


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    """As SQLAlchemy calls it."""
    return getattr(request, "param", "pymysql")


through_each = pytest.mark.parametrize("driver", ["pymysql", "mysqldb"], indirect=True)


@pytest.fixture
def plain(site: Site, driver: str) -> Iterator[Engine]:
    engine = create_engine(url_of(site, driver))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(site: Site, trail: Trail, driver: str) -> Iterator[Engine]:
    engine = create_engine(url_of(site, driver), pool_size=1, max_overflow=0)
    capture(engine, trail)
    yield engine
    engine.dispose()


def done_by(trail: Trail, actor: Actor) -> list[str]:
    trail.flush()
    return [
        f"{finding.event.action} {target.kind}:{target.ids[0][0]}"
        for finding in trail.changes(by=actor)
        for target in finding.event.targets
    ]


def unattributed(trail: Trail) -> list[str]:
    trail.flush()
    return [n.message for n in trail.notices() if n.action == "changes.unattributed"]


def test_whoever_acts_did_it(engine: Engine, trail: Trail) -> None:
    """Core, the ORM, functions in a SELECT; two actors in one transaction; what is rolled back."""
    with acting_as(ALICE), Session(engine) as session:
        session.add(Person(id=1, name="a"))
        session.commit()
        session.add(Person(id=2, name="b"))
        session.rollback()
        session.execute(update(Person).values(name="c"))
        with acting_as(BOB):
            session.execute(text("INSERT INTO pet VALUES (1, 1)"))
        session.execute(text("DELETE FROM pet"))
        session.commit()
    with acting_as(BOB), engine.begin() as connection:
        assert connection.scalar(text("SELECT rename_all('x')")) == 1
    assert done_by(trail, ALICE) == [
        "person.insert person:1",
        "person.update person:1",
        "pet.delete pet:1",
    ]
    assert done_by(trail, BOB) == ["pet.insert pet:1", "person.update person:1"]
    transactions = {
        finding.event.transaction for actor in (ALICE, BOB) for finding in trail.changes(by=actor)
    }
    assert len(transactions) == 3
    assert not unattributed(trail)
    trail.verify()


def test_savepoints_keep_the_actor(engine: Engine, trail: Trail) -> None:
    """A user variable isn't rolled back: the same transaction goes on."""
    with acting_as(ALICE), Session(engine) as session:
        session.add(Person(id=1, name="a"))
        session.flush()
        with contextlib.suppress(RuntimeError), session.begin_nested():
            session.add(Person(id=2, name="b"))
            session.flush()
            raise RuntimeError
        session.add(Person(id=3, name="c"))
        session.commit()
    assert done_by(trail, ALICE) == ["person.insert person:1", "person.insert person:3"]
    assert len({f.event.transaction for f in trail.changes(by=ALICE)}) == 1


@pytest.mark.parametrize(
    ("driver", "ending"),
    [
        *(("pymysql", how) for how in ("commit", "rollback", "text", "autocommit")),
        *(("mysqldb", how) for how in ("autocommit", "error", "close")),
    ],
    indirect=["driver"],
)
def test_nobody_inherits_who_acted(engine: Engine, trail: Trail, ending: str) -> None:
    """The variable ends with the transaction, however that ends, and so does what it says."""
    options = {"isolation_level": "AUTOCOMMIT"} if ending == "autocommit" else {}
    with engine.connect() as connection:
        connection = connection.execution_options(**options)
        with acting_as(ALICE):
            connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
            if ending == "error":
                with pytest.raises(IntegrityError):
                    connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
                connection.rollback()
            elif ending == "text":
                connection.execute(text("COMMIT"))
            elif ending in ("commit", "rollback"):
                getattr(connection, ending)()
        driver: Any = connection.connection.driver_connection
        if ending == "close":
            connection.close()
        with driver.cursor() as cursor:
            cursor.execute("SELECT @indelible_ctx")
            assert cursor.fetchone() == (None,)
            # By somebody who goes past us.
            cursor.execute("INSERT INTO person VALUES (9, 'z')")
            driver.commit()
    assert len(unattributed(trail)) == 1
    assert "person.insert person:9" not in done_by(trail, ALICE)


def test_each_statement_in_autocommit_is_its_own(engine: Engine, trail: Trail) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with acting_as(ALICE):
            connection.execute(text("INSERT INTO person VALUES (1, 'a'), (2, 'b')"))
            connection.execute(text("UPDATE person SET name = 'c' WHERE id = 1"))
        connection.execute(text("DELETE FROM person WHERE id = 1"))
    assert done_by(trail, ALICE) == [
        "person.insert person:1",
        "person.insert person:2",
        "person.update person:1",
    ]
    assert len({f.event.transaction for f in trail.changes(by=ALICE)}) == 2
    assert len(unattributed(trail)) == 1


def test_explicit_events_commit_with_the_transaction(engine: Engine, trail: Trail) -> None:
    for is_kept in (True, False):
        with acting_as(ALICE), Session(engine) as session:
            trail.record("person.greeted", target=Target("person", 1), on=session)
            session.commit() if is_kept else session.rollback()
    trail.flush()
    (found,) = trail.events(action="person.greeted")
    assert found.event.actor == ALICE


STATEMENTS = (
    "SELECT * FROM person",
    "SELECT 1, 'a%%b'",
    "INSERT INTO person (name) VALUES ('x')",
    "INSERT INTO person VALUES (1, 'twice')",
    "INSERT INTO missing VALUES (1)",
    "SELECT nonsense FROM",
    "SHOW TABLES",
    "SET @x = 5",
    "SELECT @x := 6",
    "DO SLEEP(0)",
    "ROLLBACK",
    "START TRANSACTION",
    "SELECT * FROM person FOR UPDATE",
    "INSERT INTO person (name) VALUES ('r') RETURNING id, name",
    "EXPLAIN UPDATE person SET name = 'y'",
    "ANALYZE UPDATE person SET name = 'y'",
    "/*!50000 UPDATE person SET name = 'z' */",
    "SELECT LAST_INSERT_ID(), ROW_COUNT()",
)


@through_each
@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "AUTOCOMMIT"])
def test_what_the_application_sees_is_what_it_is_without_capture(
    site: Site, engine: Engine, plain: Engine, isolation: str
) -> None:
    """Rows, counts, ids, error texts and the state of the transaction."""
    seen = []
    for one in (plain, engine):
        site.database.execute("DELETE FROM person", "ALTER TABLE person AUTO_INCREMENT = 1")
        site.database.execute("INSERT INTO person VALUES (1, 'a')")
        found: list[object] = []
        with acting_as(ALICE), one.connect() as connection:
            connection = connection.execution_options(isolation_level=isolation)
            for statement in STATEMENTS:
                try:
                    result = connection.exec_driver_sql(statement)
                    found.append((result.rowcount, result.returns_rows))
                    if result.returns_rows and not statement.startswith(("EXPLAIN", "ANALYZE")):
                        found.append((tuple(result.keys()), result.fetchall()))
                except DBAPIError as error:
                    found.append((type(error), str(error)))
                found.append(is_open(connection.connection.driver_connection))
        seen.append(found)
    assert seen[0] == seen[1]


def test_reads_are_told_by_row(site: Site, engine: Engine, trail: Trail) -> None:
    """Others of each table that a statement mentions, views seen through; what is unknown says
    so."""
    site.database.execute("INSERT INTO person VALUES (1, 'a')", "INSERT INTO pet VALUES (2, 1)")
    with acting_as(ALICE), engine.connect() as connection:
        for statement in (
            "SELECT name FROM person WHERE id = 1",
            "SELECT p.id, name FROM pet p JOIN person ON p.owner_id = person.id",
            "SELECT * FROM `named`",
            "SELECT 1",
            "INSERT INTO pet SELECT id, id FROM person",
            "SELECT rename_all('b')",
        ):
            result = connection.execute(text(statement))
            assert not result.returns_rows or result.all()
        connection.rollback()
    trail.flush()
    found = {
        (finding.target_text, finding.reads, finding.certain)
        for finding in trail.accesses(by=ALICE)
        if finding.reads
    }
    assert found == {
        ("person:1", 2, True),
        ("pet:2", 1, True),
        ("person:(some)", 2, False),
        ("pet:(some)", 1, False),
    }
    assert trail.accessors(of=Subject("person", "1"))


@through_each
def test_a_server_that_goes_away_is_the_statements_own_error(
    engine: Engine, plain: Engine, site: Site
) -> None:
    said = []
    for one in (plain, engine):
        with acting_as(ALICE), one.connect() as connection:
            pid = connection.execute(text("SELECT CONNECTION_ID()")).scalar()
            connection.rollback()
            site.database.server.execute(f"KILL {pid}")
            with pytest.raises(OperationalError) as caught:
                connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
            said.append((type(caught.value.orig), caught.value.statement))
    assert said[0] == said[1]
    with acting_as(ALICE), engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (1, 'a')"))


def test_nobody_is_taken_for_another(site: Site, trail: Trail) -> None:
    """200 tasks and 16 threads over pools of few connections, each as somebody else."""
    pool = {"pool_size": 5, "max_overflow": 0}
    engine = create_engine(url_of(site), **pool)
    other_engine = create_engine(url_of(site, "mysqldb"), **pool)
    async_engine = create_async_engine(url_of(site, "aiomysql"), **pool)
    for one in (engine, other_engine, async_engine):
        capture(one, trail)
    people = range(1, TASKS + THREADS + 1)
    with engine.begin() as connection:
        connection.execute(Person.__table__.insert(), [{"id": n, "name": ""} for n in people])

    async def task(n: int) -> None:
        for round_ in range(ROUNDS):
            with acting_as(Actor("staff", f"number {n}")):
                async with AsyncSession(async_engine) as session:
                    person = await session.get_one(Person, n)
                    person.name = f"round {round_}"
                    await (session.rollback() if round_ == 2 else session.commit())

    async def all_tasks() -> None:
        await asyncio.gather(*(task(n) for n in range(1, TASKS + 1)))
        await async_engine.dispose()

    def work(n: int) -> None:
        for round_ in range(ROUNDS):
            level = "AUTOCOMMIT" if round_ % 2 else "REPEATABLE READ"
            one = engine if n % 2 else other_engine
            with acting_as(Actor("staff", f"number {n}")), one.connect() as connection:
                connection.execution_options(isolation_level=level)
                statement = update(Person).where(Person.id == n)
                connection.execute(statement.values(name=f"round {round_}"))
                connection.commit()

    threads = [
        threading.Thread(target=work, args=(n,)) for n in range(TASKS + 1, TASKS + THREADS + 1)
    ]
    for thread in threads:
        thread.start()
    asyncio.run(all_tasks())
    for thread in threads:
        thread.join()
    engine.dispose()
    other_engine.dispose()
    for n in people:
        actor = Actor("staff", f"number {n}")
        flushed = ROUNDS - 1 if n <= TASKS else ROUNDS
        assert done_by(trail, actor) == [f"person.update person:{n}"] * flushed
    assert len(unattributed(trail)) == 1
    trail.verify()


def test_a_cancelled_task_leaves_nothing_behind(site: Site, trail: Trail) -> None:
    """Cancelled at any moment: the next user of the pool writes as itself, and commits."""
    engine = create_async_engine(url_of(site, "aiomysql"), pool_size=1, max_overflow=0)
    capture(engine, trail)

    async def write(n: int, actor: Actor) -> None:
        with acting_as(actor):
            async with engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.execute(text(f"INSERT INTO person VALUES ({n}, 'a')"))

    async def run() -> int:
        await write(1, BOB)
        cancelled = 0
        for n in range(60):
            task = asyncio.create_task(write(1_000 + n, ALICE))
            await asyncio.sleep(n * 0.00005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            cancelled += task.cancelled()
            await write(2_000 + n, BOB)
        await engine.dispose()
        return cancelled

    assert asyncio.run(run()) > 5
    mine = done_by(trail, BOB)
    assert mine == ["person.insert person:1"] + [
        f"person.insert person:{2_000 + n}" for n in range(60)
    ]
    assert all(int(one.rpartition(":")[2]) < 2_000 for one in done_by(trail, ALICE))
    assert not unattributed(trail)


def test_an_engine_for_another_server_is_refused(site: Site, trail: Trail) -> None:
    with pytest.raises(CaptureError, match="through aiomysql, mysqldb, pymysql, got"):
        capture(_engine_through("mariadbconnector"), trail)
    with pytest.raises(CaptureError, match="to name the PostgreSQL server"):
        capture(create_engine("postgresql+psycopg://u@localhost/x"), trail)
    engine = create_engine(url_of(site))
    capture(engine, trail)
    with pytest.raises(CaptureError, match="captured already"):
        capture(engine, trail)


def _engine_through(driver: str) -> Engine:
    engine = create_engine("mysql+pymysql://u@localhost/x")
    engine.dialect.driver = driver
    return engine


def test_listeners_of_the_application_still_fire(engine: Engine, trail: Trail) -> None:
    seen: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda c, u, statement, *_: seen.append(statement)
    )
    with acting_as(ALICE), engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
        connection.scalar(select(Person.name))
    assert [statement.split()[0] for statement in seen] == ["INSERT", "SELECT"]
