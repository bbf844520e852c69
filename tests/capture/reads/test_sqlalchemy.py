"""What an application does with SQLAlchemy, sync and async, with capture and without."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Engine,
    ForeignKey,
    String,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    contains_eager,
    deferred,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)

from indelible.capture.sqlalchemy import capture
from indelible.errors import CaptureError
from indelible.events.context import acting_as
from indelible.events.model import Actor

from .host import MemoryHost, ids_by_kind, targets

ALICE = Actor("staff", "alice")
Keys = dict[str, str]
"""Kind to the query of the keys that must be recorded."""


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "Customer"
    id: Mapped[int] = mapped_column("CustomerId", primary_key=True)
    name: Mapped[str] = mapped_column("LastName")
    country: Mapped[str] = mapped_column("Country")
    email: Mapped[str] = deferred(mapped_column("Email", String))
    invoices: Mapped[list[Invoice]] = relationship(order_by="Invoice.id", back_populates="customer")


class Invoice(Base):
    __tablename__ = "Invoice"
    id: Mapped[int] = mapped_column("InvoiceId", primary_key=True)
    customer_id: Mapped[int] = mapped_column("CustomerId", ForeignKey("Customer.CustomerId"))
    total: Mapped[float] = mapped_column("Total")
    customer: Mapped[Customer] = relationship(back_populates="invoices")


class PlaylistTrack(Base):
    __tablename__ = "PlaylistTrack"
    playlist: Mapped[int] = mapped_column("PlaylistId", primary_key=True)
    track: Mapped[int] = mapped_column("TrackId", primary_key=True)


class Part(Base):
    __tablename__ = "part"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent: Mapped[int | None]
    name: Mapped[str]


_OF_2 = "SELECT InvoiceId FROM Invoice WHERE CustomerId = 2"
_CANADA = "SELECT CustomerId FROM Customer WHERE Country = 'Canada'"
_OF_CANADA = f"SELECT InvoiceId FROM Invoice WHERE CustomerId IN ({_CANADA})"


def get(s: Session) -> object:
    found = s.get(Customer, 2)
    assert found is not None
    return found.name, s.get(Customer, 9999), s.get(Customer, 2) is found


def get_by_composite_key(s: Session) -> object:
    found = s.get(PlaylistTrack, (17, 3))
    return found is not None and found.track


def list_of_entities(s: Session) -> object:
    return [c.name for c in s.scalars(select(Customer).where(Customer.country == "Canada"))]


def joined_load(s: Session) -> object:
    query = select(Customer).options(joinedload(Customer.invoices)).where(Customer.id == 2)
    return [(c.name, [i.total for i in c.invoices]) for c in s.scalars(query).unique()]


def select_in_load(s: Session) -> object:
    query = (
        select(Customer)
        .options(selectinload(Customer.invoices))
        .where(Customer.country == "Canada")
        .order_by(Customer.id)
    )
    return [(c.name, [i.total for i in c.invoices]) for c in s.scalars(query)]


def subquery_load(s: Session) -> object:
    query = select(Customer).options(subqueryload(Customer.invoices)).where(Customer.id == 2)
    return [(c.name, [i.total for i in c.invoices]) for c in s.scalars(query)]


def joined_load_with_a_limit(s: Session) -> object:
    query = (
        select(Customer)
        .options(joinedload(Customer.invoices))
        .order_by(Customer.id)
        .limit(1)
        .offset(1)
    )
    return [(c.name, [i.total for i in c.invoices]) for c in s.scalars(query).unique()]


def contained_eager(s: Session) -> object:
    query = (
        select(Customer)
        .join(Customer.invoices)
        .where(Invoice.customer_id == 2)
        .options(contains_eager(Customer.invoices))
        .order_by(Invoice.id)
    )
    return [(c.name, [i.total for i in c.invoices]) for c in s.scalars(query).unique()]


def lazy_and_deferred_load(s: Session) -> object:
    customer = s.get(Customer, 2)
    assert customer is not None
    return [i.total for i in customer.invoices], customer.email


def columns(s: Session) -> object:
    return s.execute(
        select(Customer.name).where(Customer.country == "Canada").order_by(Customer.name)
    ).all()


def count(s: Session) -> object:
    query = select(func.count()).select_from(Customer).where(Customer.country == "Canada")
    return s.scalar(query), s.query(Customer).filter_by(country="Canada").count()


def grouped(s: Session) -> object:
    query = (
        select(Invoice.customer_id, func.sum(Invoice.total))
        .where(Invoice.customer_id == 2)
        .group_by(Invoice.customer_id)
        .having(func.count() > 1)
    )
    return s.execute(query).all()


def in_list(s: Session) -> object:
    query = select(Customer.name).where(Customer.id.in_([2, 3])).order_by(Customer.id)
    return s.scalars(query).all(), s.scalars(query.where(Customer.id.in_([2, 3, 4, 5]))).all()


def self_join(s: Session) -> object:
    wheel, car = aliased(Part), aliased(Part)
    query = select(wheel.name, car.name).join(car, wheel.parent == car.id).where(wheel.id == 2)
    return s.execute(query).all()


def named_subquery(s: Session) -> object:
    sums = (
        select(Invoice.customer_id.label("c"), func.sum(Invoice.total).label("t"))
        .where(Invoice.customer_id == 2)
        .group_by(Invoice.customer_id)
        .cte("sums")
    )
    return s.execute(select(Customer.name, sums.c.t).join(sums, sums.c.c == Customer.id)).all()


def yield_per(s: Session) -> object:
    query = select(Customer).order_by(Customer.id).where(Customer.country == "Canada")
    result = s.scalars(query.execution_options(yield_per=3))
    return [[c.name for c in part] for part in result.partitions()]


def left_early(s: Session) -> object:
    # On the connection: a session takes all rows at once, whatever is done with them then.
    query = select(Invoice.total).where(Invoice.customer_id == 2).order_by(Invoice.id)
    result = s.connection().execute(query.execution_options(stream_results=True, max_row_buffer=5))
    first = result.fetchone()
    second = result.fetchmany(2)
    result.close()
    return first, second


def first_and_one(s: Session) -> object:
    query = select(Customer.name).where(Customer.id == 2)
    return (
        s.execute(query).first(), s.execute(query).one(), s.scalars(query).one_or_none(),
        s.scalar(query), s.execute(query).mappings().all(), s.execute(query).scalar_one(),
        s.execute(query).keys(),
    )  # fmt: skip


def text_query(s: Session) -> object:
    query = text("SELECT LastName AS n FROM Customer WHERE CustomerId IN :ids ORDER BY 1")
    result = s.execute(query.bindparams(bindparam("ids", expanding=True)), {"ids": [2, 3]})
    return list(result.keys()), result.all()


def driver_sql(s: Session) -> object:
    result = s.connection().exec_driver_sql("SELECT LastName FROM Customer WHERE CustomerId = 2")
    return list(result.keys()), result.fetchmany(5), result.fetchmany(5)


def scroll(s: Session) -> object:
    result = s.execute(
        select(Customer.name).where(Customer.country == "Canada").order_by(Customer.name)
    )
    return [row for row in result], result.closed  # noqa: C416


def writes(s: Session) -> object:
    parts = [Part(name=f"p{n}") for n in range(5)]
    s.add_all(parts)
    s.flush()
    ids = [part.id for part in parts]
    returned = s.scalars(
        insert(Part).returning(Part.id, sort_by_parameter_order=True),
        [{"name": f"q{n}"} for n in range(3)],
    ).all()
    changed = s.execute(update(Part).where(Part.id == 1).values(name="cart"))
    found = ids, returned, changed.rowcount, s.scalar(select(func.count(Part.id)))
    s.rollback()
    return found


WORKS: list[tuple[Callable[[Session], object], Keys]] = [
    (get, {"customer": "SELECT 2"}),
    (get_by_composite_key, {"playlisttrack": "SELECT 17, 3"}),
    (list_of_entities, {"customer": _CANADA}),
    (joined_load, {"customer": "SELECT 2", "invoice": _OF_2}),
    (select_in_load, {"customer": _CANADA, "invoice": _OF_CANADA}),
    (subquery_load, {"customer": "SELECT 2", "invoice": _OF_2}),
    (joined_load_with_a_limit, {"customer": "SELECT 2", "invoice": _OF_2}),
    (contained_eager, {"customer": "SELECT 2", "invoice": _OF_2}),
    (lazy_and_deferred_load, {"customer": "SELECT 2", "invoice": _OF_2}),
    (columns, {"customer": _CANADA}),
    (count, {"customer": _CANADA}),
    (grouped, {"invoice": _OF_2}),
    (in_list, {"customer": "VALUES (2), (3)"}),
    (self_join, {"part": "VALUES (2), (1)"}),
    (named_subquery, {"customer": "SELECT 2", "invoice": _OF_2}),
    (yield_per, {"customer": _CANADA}),
    (left_early, {"invoice": f"{_OF_2} ORDER BY InvoiceId LIMIT 3"}),
    (first_and_one, {"customer": "SELECT 2"}),
    (text_query, {"customer": "VALUES (2), (3)"}),
    (driver_sql, {"customer": "SELECT 2"}),
    (scroll, {"customer": _CANADA}),
    (writes, {"part": ""}),
]


def in_session(path: Path, work: Callable[[Session], object], host: MemoryHost | None) -> object:
    engine = create_engine(f"sqlite:///{path}")
    if host is not None:
        capture(engine, host)
    with Session(engine) as session:
        found = work(session)
    engine.dispose()
    return found


def in_async_session(
    path: Path, work: Callable[[Session], object], host: MemoryHost | None
) -> object:
    async def run() -> object:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        if host is not None:
            capture(engine, host)
        async with AsyncSession(engine) as session:
            found = await session.run_sync(work)
        await engine.dispose()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("run", [in_session, in_async_session])
@pytest.mark.parametrize(("work", "keys"), WORKS, ids=lambda one: getattr(one, "__name__", ""))
def test_the_orm_gets_what_it_always_got(
    run: Callable[..., object],
    work: Callable[[Session], object],
    keys: Keys,
    database: Path,
    plain_copy: Path,
    host: MemoryHost,
) -> None:
    """Every way of loading gives the same objects, and records exactly the rows loaded."""
    expected = repr(run(plain_copy, work, None))

    with acting_as(ALICE):
        assert repr(run(database, work, host)) == expected

    events = host.take()
    plain = sqlite3.connect(plain_copy)
    oracle = {
        kind: set(plain.execute(query).fetchall()) if query else set()
        for kind, query in keys.items()
    }
    plain.close()
    assert ids_by_kind(events) == oracle
    if work is not writes:
        assert {target.coverage for target in targets(events)} == {"exact"}
    assert {event.actor for event in events} == {ALICE}


@pytest.fixture
def engines(database: Path, host: MemoryHost) -> Iterator[tuple[Engine, Engine]]:
    plain = create_engine(f"sqlite:///{database}")
    captured = create_engine(f"sqlite:///{database}")
    capture(captured, host)
    host.take()
    yield plain, captured
    plain.dispose()
    captured.dispose()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nothing FROM Customer",
        "SELECT LastName FROM Customer WHERE CustomerId = :x AND",
        "SELECT DISTINCT LastName FROM Customer WHERE CustomerId = :missing",
        "SELECT abs(-9223372036854775808) FROM Customer",
        "INSERT INTO part (id) VALUES (1)",
        "INSERT INTO part (nothing) SELECT CustomerId FROM Customer",
    ],
)
def test_errors_show_the_text_of_the_application(sql: str, engines: tuple[Engine, Engine]) -> None:
    """Exceptions have the same class, words, statement and parameters."""
    errors = []
    for engine in engines:
        with engine.connect() as connection, pytest.raises(Exception) as caught:
            connection.execute(text(sql), {"x": 1}).all()
        error: Any = caught.value
        statement = getattr(error, "statement", None)
        errors.append((type(error), str(error), statement, getattr(error, "params", None)))

    assert errors[0] == errors[1]
    assert "indelible" not in errors[1][1]


def test_an_error_while_rows_are_fetched_is_the_same(engines: tuple[Engine, Engine]) -> None:
    """A row that can't be read fails alike, after the rows before it were recorded."""
    errors = []
    for engine in engines:

        @event.listens_for(engine, "connect")
        def add_function(connection: Any, record: Any) -> None:
            connection.create_function("picky", 1, lambda v: 1 // (50 - v))

        with engine.connect() as connection:
            result = connection.execute(text("SELECT v, picky(id) FROM big ORDER BY id"))
            with pytest.raises(DBAPIError) as caught:
                result.fetchall()
            errors.append((str(caught.value), result.closed))

    assert errors[0] == errors[1]


def test_hooks_see_the_text_of_the_application(engines: tuple[Engine, Engine]) -> None:
    """Listeners and counts are those of an engine without capture."""
    seen: list[list[str]] = []
    for engine in engines:
        texts: list[str] = []
        seen.append(texts)

        @event.listens_for(engine, "after_cursor_execute")
        def note(
            connection: Connection, cursor: Any, statement: str, *rest: Any, texts: Any = texts
        ) -> None:
            texts.append(statement)

        with engine.connect() as connection:
            connection.execute(select(Customer.name))
            connection.execute(select(Customer.country).distinct()).all()

    assert seen[0] == seen[1]


def test_another_database_or_a_second_call_is_refused(
    engines: tuple[Engine, Engine], host: MemoryHost
) -> None:
    """`capture` says what it can't do, when it is called."""
    with pytest.raises(CaptureError, match="captured already"):
        capture(engines[1], host)
    other: Any = type("Other", (), {})()
    other.dialect = type("Dialect", (), {"name": "oracle", "driver": "oracledb"})()
    with pytest.raises(CaptureError, match=r"got oracle\+oracledb"):
        capture(other, host)


def test_200_tasks_never_mix_their_actors(database: Path, host: MemoryHost) -> None:
    """Each of 200 concurrent tasks reads its own row, under its own name."""

    async def work(engine: Any, number: int) -> None:
        with acting_as(Actor("staff", str(number))):
            async with engine.connect() as connection:
                await asyncio.sleep(0)
                query = text("SELECT v FROM big WHERE id = :id")
                row = (await connection.execute(query, {"id": number})).one()
                assert row.v == f"v{number}"
                stream = await connection.stream(query, {"id": number + 1000})
                assert [row.v async for row in stream] == [f"v{number + 1000}"]

    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}", pool_size=20)
        capture(engine, host)
        await asyncio.gather(*(work(engine, number) for number in range(1, 201)))
        await engine.dispose()

    asyncio.run(run())

    found = {
        (event.actor.id, row[0])
        for event in host.take()
        if event.actor
        for target in event.targets
        for row in target.ids
    }
    expected = {(str(n), n) for n in range(1, 201)} | {(str(n), n + 1000) for n in range(1, 201)}
    assert found == expected


def test_an_abandoned_stream_keeps_what_was_handed_over(database: Path, host: MemoryHost) -> None:
    """Of a stream left after two rows, two rows are recorded though more were buffered."""

    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
        capture(engine, host)
        with acting_as(ALICE):
            async with engine.connect() as connection:
                stream = await connection.stream(text("SELECT v FROM big ORDER BY id"))
                await stream.fetchone()
                await stream.fetchone()
        await engine.dispose()

    asyncio.run(run())

    assert ids_by_kind(host.take()) == {"big": {(1,), (2,)}}


def test_unattributed_reads_are_durable_at_check_in(
    engines: tuple[Engine, Engine], host: MemoryHost
) -> None:
    """Outside of any `acting_as` a read is on disk when its connection is back in the pool."""
    with engines[1].connect() as connection:
        result = connection.execute(select(Customer.name))
        result.fetchone()
    assert host.journal.is_synced
    assert ids_by_kind(host.take()) == {"customer": {(1,)}}


def test_tables_made_after_capture_are_captured(tmp_path: Path, host: MemoryHost) -> None:
    """`create_all` on a captured engine, in a new file even, leaves no table unseen."""
    path = tmp_path / "new.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    capture(engine, host)
    Base.metadata.create_all(engine)
    with acting_as(ALICE), Session(engine) as session:
        session.add(Part(name="bolt"))
        session.commit()
    engine.dispose()

    plain = sqlite3.connect(path)
    triggers = plain.execute(
        "SELECT count(DISTINCT tbl_name) FROM sqlite_master WHERE type = 'trigger'"
    )
    waiting = plain.execute("SELECT count(*) FROM indelible_outbox WHERE ctx IS NOT NULL")
    assert triggers.fetchone() == (len(Base.metadata.tables),)
    assert waiting.fetchone() == (1,)
    plain.close()
