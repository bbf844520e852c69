"""SQLAlchemy engines on PostgreSQL: whoever acts when a transaction writes is who changed it.

What happens asynchronously is in `test_sqlalchemy_async`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, ForeignKey, create_engine, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.servers import Database, PgBouncer

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.errors import CaptureError

from .test_trail import Site

ALICE, BOB = Actor("staff", "alice"), Actor("staff", "bob")
TASKS, THREADS, ROUNDS = 200, 16, 5


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Bill(Base):
    __tablename__ = "bill"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    total: Mapped[int]


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    owner = create_engine(url_of(database, "owner"))
    Base.metadata.create_all(owner)
    owner.dispose()
    database.grant()
    site = Site(
        database,
        tmp_path,
        "[tables.person]\nsubject = 'self'\n[tables.bill]\nsubject = 'person_id -> person'\n",
    )
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


@pytest.fixture(params=["psycopg", "psycopg2"])
def plain(request: pytest.FixtureRequest, site: Site) -> Iterator[Engine]:
    """Without capture."""
    engine = create_engine(url_of(site.database, "app", request.param))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(plain: Engine, trail: Trail) -> Iterator[Engine]:
    engine = create_engine(plain.url)
    capture(engine, trail)
    yield engine
    engine.dispose()


def url_of(database: Database, role: str, driver: str = "psycopg") -> str:
    return database.url(role).replace("postgresql://", f"postgresql+{driver}://")


def done_by(trail: Trail, actor: Actor) -> list[str]:
    trail.flush()
    return [f"{each.event.action} {each.target_text}" for each in trail.changes(by=actor)]


def test_a_unit_of_work_is_whose_it_was(engine: Engine, trail: Trail) -> None:
    with acting_as(ALICE, reason="ticket 1"), Session(engine) as session:
        session.add(Person(id=1, name="Zara"))
        session.flush()
        session.add(Bill(id=1, person_id=1, total=5))
        session.commit()
        bill = session.get(Bill, 1)
        assert bill is not None
        bill.total = 6
        session.commit()
    assert done_by(trail, ALICE) == [
        "person.insert person:1",
        "bill.insert bill:1",
        "bill.update bill:1",
    ]
    transactions = [each.event.transaction for each in trail.changes(by=ALICE)]
    assert transactions[0] == transactions[1] != transactions[2]
    assert {each.event.reason for each in trail.changes(by=ALICE)} == {"ticket 1"}
    assert list(trail.notices()) == []


def test_a_change_refers_to_the_decision_that_it_was_made_under(
    engine: Engine, trail: Trail
) -> None:
    """A row each statement; one transaction may be under several, one after the other."""
    with acting_as(ALICE), engine.begin() as connection:
        trail.decide("person.create", allowed=True, target="person", rule='o"wners\n')
        connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
        trail.decide("person.create", allowed=False, target=Target("person", 2), rule="hold")
        connection.execute(text("INSERT INTO person VALUES (2, 'a'), (3, 'a')"))
        connection.execute(text("UPDATE person SET name = 'b' WHERE id = 3"))
    trail.flush()
    assert list(trail.notices()) == []
    assert [each.decision_text for each in trail.changes(by=ALICE)] == [
        'allow by o"wners\n',
        "deny by hold",
        'allow by o"wners\n',
        "",
    ]
    assert [(each.target_text, each.lack_text) for each in trail.unauthorised(by=ALICE)] == [
        ("person:2", "deny by hold"),
        ("person:3", "no decision"),
    ]


def test_two_in_one_transaction(engine: Engine, trail: Trail) -> None:
    """Each statement is whose it was when it ran; nobody's follows nobody's."""
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (1, 'nobody')"))
        with acting_as(ALICE):
            connection.execute(text("INSERT INTO person VALUES (2, 'a')"))
            with acting_as(BOB):
                connection.execute(text("INSERT INTO person VALUES (3, 'b')"))
            connection.execute(text("INSERT INTO person VALUES (4, 'a')"))
        connection.execute(text("INSERT INTO person VALUES (5, 'nobody')"))
    assert done_by(trail, ALICE) == ["person.insert person:2", "person.insert person:4"]
    assert done_by(trail, BOB) == ["person.insert person:3"]
    # One for each pass of the relay that carried some.
    counts = [re.search(r"nobody that is known: (\d)", n.message) for n in trail.notices()]
    assert sum(int(count[1]) for count in counts if count is not None) == 2


def test_a_savepoint_that_is_rolled_back_takes_nobody_along(engine: Engine, trail: Trail) -> None:
    """Told inside of it, told again behind it: by SQLAlchemy's savepoints and by the text's own."""
    with acting_as(ALICE), engine.begin() as connection:
        for n in (1, 3):
            connection.execute(text("SELECT 1"))
            inner = connection.begin_nested()
            connection.execute(text(f"INSERT INTO person VALUES ({n}, 'gone')"))
            inner.rollback()
            connection.execute(text(f"INSERT INTO person VALUES ({n + 1}, 'stays')"))
        connection.execute(text("SAVEPOINT mine"))
        with acting_as(BOB):
            connection.execute(text("INSERT INTO person VALUES (5, 'gone')"))
        connection.execute(text("ROLLBACK TO SAVEPOINT mine"))
        with acting_as(BOB):
            connection.execute(text("INSERT INTO person VALUES (6, 'stays')"))
    assert done_by(trail, ALICE) == ["person.insert person:2", "person.insert person:4"]
    assert done_by(trail, BOB) == ["person.insert person:6"]
    assert list(trail.notices()) == []


def test_a_read_tells_nobody_anything(engine: Engine, trail: Trail) -> None:
    with acting_as(ALICE), engine.connect() as connection:
        list(connection.execute(select(Person)))
        told = connection.execute(text("SELECT current_setting('indelible.ctx', true)"))
        # `current_setting` isn't known to write nothing, so this very statement tells.
        assert (told.scalar() or "").find("alice") > 0
        connection.rollback()
        list(connection.execute(select(Person).with_for_update()))
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT current_setting('indelible.ctx', true)")
            assert cursor.fetchone() in ((None,), ("",))


def test_reads_are_answered_with_their_rows_and_statements(engine: Engine, trail: Trail) -> None:
    texts = [
        "SELECT name, 'secret' FROM person WHERE id = 77 AND name <> E'a\\'b'",
        "SELECT name FROM person WHERE name = 'a\\b' OR name = 'secret'",
        "SELECT 1 FROM bill WHERE 'secret' = ANY (ARRAY['secret', 'b'])",
        "SELECT count(*) FROM pg_catalog.pg_class",
        "SELECT 1",
    ]
    with acting_as(ALICE), Session(engine) as session:
        session.add_all([Person(id=77, name="secret"), Person(id=78, name="Zara")])
        session.commit()
        assert session.get_one(Person, 77).name == "secret"
        session.scalars(select(Person).outerjoin(Bill, Bill.person_id == Person.id)).all()
        for one in texts:
            session.execute(text(one)).all()
        with pytest.raises(Exception, match="nowhere"):
            session.execute(text("SELECT * FROM person, nowhere"))
    trail.flush()
    answer = trail.access_events(by=ALICE)
    certain = [each for each in answer.certain() if each.event.kind == "access"]
    possible = list(answer.possible())
    assert [[target.ids for target in each.event.targets] for each in certain] == [
        [((77,),)],
        [((77,), (78,))],
        [((77,),)],
        [()],
    ]
    statements = [each.event.statement for each in (*certain[2:], *possible)]
    assert [each and each.text for each in statements] == [
        "SELECT name, ? FROM person WHERE id = ? AND name <> ?",
        "SELECT ? FROM bill WHERE ? = ANY (ARRAY[?, ?])",
        "SELECT (not shown)",
    ]
    who = {(found.actor, found.certain) for found in trail.accessors(of=Subject("person", "78"))}
    assert who == {(ALICE, True), (ALICE, False)}
    assert list(trail.notices()) == []


def test_what_a_transaction_was_told_ends_with_it(engine: Engine, trail: Trail) -> None:
    """The next to have the connection of the pool isn't taken for whoever had it before."""
    with acting_as(ALICE), engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (2, 'nobody')"))
    with acting_as(ALICE), engine.connect() as connection:
        connection.execute(text("INSERT INTO person VALUES (3, 'a')"))
        connection.execute(text("COMMIT"))
        connection.execute(text("SELECT 1"))
        connection.execute(text("INSERT INTO person VALUES (4, 'a')"))
        connection.exec_driver_sql("COMMIT; BEGIN")
        connection.execute(text("INSERT INTO person VALUES (5, 'a')"))
        connection.commit()
        connection.execute(text("SELECT 1"))
        connection.execute(text("INSERT INTO person VALUES (6, 'a')"))
        connection.commit()
    assert done_by(trail, ALICE) == [f"person.insert person:{n}" for n in (1, 3, 4, 5, 6)]
    found = [each.event for each in trail.changes(by=ALICE)]
    assert len({event.transaction for event in found}) == 5
    assert [notice.action for notice in trail.notices()] == ["changes.unattributed"]


def test_isolation_and_read_only_are_kept(engine: Engine, trail: Trail) -> None:
    """BEGIN, which is sent along, is the one that the application asked for."""
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    with acting_as(ALICE), serializable.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
        level = connection.execute(text("SHOW transaction_isolation")).scalar()
        assert level == "serializable"
    assert done_by(trail, ALICE) == ["person.insert person:1"]


def test_in_autocommit_each_statement_is_whose_it_was(engine: Engine, trail: Trail) -> None:
    """It gets the transaction that the server would have made; errors are the statement's own."""
    options = {"isolation_level": "AUTOCOMMIT"}
    with engine.connect().execution_options(**options) as connection:
        with acting_as(ALICE):
            connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
            with pytest.raises(IntegrityError, match="duplicate key"):
                connection.execute(text("INSERT INTO person VALUES (1, 'again')"))
            returned = connection.execute(
                text("UPDATE person SET name = 'b' WHERE id = 1 RETURNING name")
            )
            assert returned.scalar_one() == "b"
            many = [{"id": n, "person_id": 1, "total": n} for n in (1, 2)]
            connection.execute(Bill.__table__.insert(), many)
            connection.execute(text("VACUUM person"))
        with acting_as(BOB):
            connection.execute(text("DELETE FROM bill WHERE id = 1"))
            connection.execute(text("SELECT 1"))
        connection.execute(text("DELETE FROM bill WHERE id = 2"))
        with pytest.raises(CaptureError, match="autocommit"):
            trail.record("person.greeted", on=connection)
    assert done_by(trail, ALICE) == [
        "person.insert person:1",
        "person.update person:1",
        "bill.insert bill:1",
        "bill.insert bill:2",
    ]
    assert done_by(trail, BOB) == ["bill.delete bill:1"]
    (notice,) = trail.notices()
    assert "nobody that is known: 1" in notice.message


def test_a_constraint_that_is_checked_at_the_end_fails_the_statement(
    engine: Engine, plain: Engine, site: Site, trail: Trail
) -> None:
    """In autocommit the end is the statement's: the application gets the server's own error."""
    site.database.execute(
        "ALTER TABLE bill ALTER CONSTRAINT bill_person_id_fkey DEFERRABLE INITIALLY DEFERRED"
    )
    said = []
    for one in (plain, engine):
        with acting_as(ALICE), one.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            with pytest.raises(IntegrityError) as caught:
                connection.execute(text("INSERT INTO bill VALUES (1, 99, 1)"))
            said.append(str(caught.value))
            assert connection.execute(text("SELECT count(*) FROM bill")).scalar() == 0
    assert said[0] == said[1]
    assert done_by(trail, ALICE) == []


def test_an_event_shares_its_transactions_fate(engine: Engine, trail: Trail) -> None:
    zara = {"target": Target("person", "1"), "subject": Subject("person", "1")}
    with acting_as(ALICE), Session(engine) as session:
        session.add(Person(id=1, name="Zara"))
        trail.record("person.welcomed", on=session, **zara)
        session.commit()
        trail.record("person.forgotten", on=session, **zara)
        session.rollback()
    trail.flush()
    events = list(trail.events(by=ALICE))
    assert [each.event.action for each in events] == ["person.welcomed"]
    (change,) = trail.changes(by=ALICE)
    assert change.event.transaction == events[0].event.transaction


def test_errors_are_the_applications_own(engine: Engine, plain: Engine) -> None:
    said = []
    for one in (plain, engine):
        with acting_as(ALICE), one.connect() as connection:
            for statement in (
                "INSERT INTO person VALUES (1, NULL)",
                "SELECT 1",  # in a transaction that failed
                "INSERT INTO nowhere VALUES (1)",
            ):
                with contextlib.suppress(Exception):
                    try:
                        connection.execute(text(statement))
                    except Exception as error:
                        said.append((one is plain, str(error)))
                        raise
    assert [text for is_plain, text in said if is_plain] == [
        text for is_plain, text in said if not is_plain
    ]
    assert len(said) == 6


def test_without_an_outbox_the_application_goes_on(database: Database, tmp_path: Path) -> None:
    """Capture that isn't installed is noticed, once, and breaks nothing."""
    database.execute("CREATE TABLE person (id integer PRIMARY KEY, name text)")
    database.grant()
    site = Site(database, tmp_path)
    engine = create_engine(url_of(database, "app"))
    with site.trail() as trail:
        capture(engine, trail)
        for n in (1, 2):
            with acting_as(ALICE), engine.begin() as connection:
                connection.execute(text(f"INSERT INTO person VALUES ({n}, 'a')"))
        trail.flush()
        (notice,) = trail.notices()
        assert "indelible install" in notice.message
    engine.dispose()


@pytest.fixture(params=["direct", "pgbouncer"])
def reached_at(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    """Where the application's role reaches the database: straight, or pooled by transaction."""
    url = url_of(site.database, "app")
    if request.param == "direct":
        yield url
        return
    bouncer = PgBouncer(site.database, pool_size=3)
    try:
        yield bouncer.url("app").replace("postgresql://", "postgresql+psycopg://")
    finally:
        bouncer.remove()


def test_a_server_that_goes_away_is_the_statements_own_error(
    engine: Engine, plain: Engine, site: Site, trail: Trail
) -> None:
    """In a transaction and in autocommit: what SQLAlchemy says is what it says without capture."""
    said = []
    for one in (plain, engine):
        for options in ({}, {"isolation_level": "AUTOCOMMIT"}):
            with acting_as(ALICE), one.connect().execution_options(**options) as connection:
                pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
                connection.rollback()
                with contextlib.closing(site.database.connect("postgres")) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", (pid,))
                with pytest.raises(OperationalError) as caught:
                    connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
                said.append((type(caught.value.orig), caught.value.statement))
                assert connection.invalidated
    assert [statement for _, statement in said] == ["INSERT INTO person VALUES (1, 'a')"] * 4
    assert done_by(trail, ALICE) == []


def test_nobody_is_taken_for_another(reached_at: str, trail: Trail) -> None:
    """200 tasks and 16 threads over pools of few connections, each as somebody else."""
    pool = {"pool_size": 5, "max_overflow": 0, "connect_args": {"prepare_threshold": None}}
    engine = create_engine(reached_at, **pool)
    async_engine = create_async_engine(reached_at, **pool)
    capture(engine, trail)
    capture(async_engine, trail)
    with engine.begin() as connection:
        people = range(1, TASKS + THREADS + 1)
        connection.execute(Person.__table__.insert(), [{"id": n, "name": ""} for n in people])

    async def task(n: int) -> None:
        for round_ in range(ROUNDS):
            with acting_as(Actor("staff", f"number {n}")):
                async with AsyncSession(async_engine) as session:
                    person = await session.get_one(Person, n)
                    person.name = f"round {round_}"
                    await session.commit()
                    # By another connection, perhaps, and without the key.
                    name = select(Person.name).where(Person.id == n)
                    assert (await session.scalar(name)) == f"round {round_}"

    async def all_tasks() -> None:
        await asyncio.gather(*(task(n) for n in range(1, TASKS + 1)))
        await async_engine.dispose()

    def work(n: int) -> None:
        for round_ in range(ROUNDS):
            with acting_as(Actor("staff", f"number {n}")), engine.begin() as connection:
                connection.execute(
                    update(Person).where(Person.id == n).values(name=f"round {round_}")
                )
                name = select(Person.name).where(Person.id == n)
                assert connection.execute(name).scalar() == f"round {round_}"

    threads = [
        threading.Thread(target=work, args=(n,)) for n in range(TASKS + 1, TASKS + THREADS + 1)
    ]
    for thread in threads:
        thread.start()
    asyncio.run(all_tasks())
    for thread in threads:
        thread.join()
    engine.dispose()
    for n in people:
        actor = Actor("staff", f"number {n}")
        assert done_by(trail, actor) == [f"person.update person:{n}"] * ROUNDS
        reads = ROUNDS * (2 if n <= TASKS else 1)
        assert [
            (access.target_text, access.certain, access.why, access.reads)
            for access in trail.accesses(by=actor)
        ] == [(f"person:{n}", True, None, reads)]
