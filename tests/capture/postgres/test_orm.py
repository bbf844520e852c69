"""What SQLAlchemy's ORM does on its own: loading strategies, refreshes, pages, streams.

Results are those without capture, and the rows recorded those that a key query by hand finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, ForeignKey, Select, exists, func, select, text
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    column_property,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)
from tests.capture.reads.host import MemoryHost, ids_by_kind, targets
from tests.servers import Database

from indelible.events.context import acting_as

from .reading import DRIVERS, TRUDY, Reader, chinook, host_of, loop
from .test_shapes import keys_of, told

__all__ = ["chinook", "loop"]


class Base(DeclarativeBase):
    pass


class Artist(Base):
    __tablename__ = "artist"
    artist_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    albums: Mapped[list[Album]] = relationship(order_by="Album.album_id")


class Album(Base):
    __tablename__ = "album"
    album_id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    artist_id: Mapped[int] = mapped_column(ForeignKey("artist.artist_id"))
    artist: Mapped[Artist] = relationship(viewonly=True)
    tracks: Mapped[list[Track]] = relationship(order_by="Track.track_id")


class Track(Base):
    __tablename__ = "track"
    track_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    composer: Mapped[str | None] = mapped_column(deferred=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("album.album_id"))


class PlaylistTrack(Base):
    __tablename__ = "playlist_track"
    playlist_id: Mapped[int] = mapped_column(primary_key=True)
    track_id: Mapped[int] = mapped_column(primary_key=True)


class Invoice(Base):
    __tablename__ = "invoice"
    invoice_id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.customer_id"))
    total: Mapped[float]
    billing_country: Mapped[str]


class Customer(Base):
    __tablename__ = "customer"
    customer_id: Mapped[int] = mapped_column(primary_key=True)
    last_name: Mapped[str]
    country: Mapped[str]
    invoices: Mapped[list[Invoice]] = relationship(order_by=Invoice.invoice_id)


class Payer(Base):
    """A customer with a value that a correlated query computes."""

    __table__ = Customer.__table__
    spent = column_property(
        select(func.sum(Invoice.total))
        .where(Invoice.customer_id == Customer.__table__.c.customer_id)
        .scalar_subquery()
    )


Case = tuple[Callable[[Session], Any], dict[str, str]]


def all_of(statement: Select[Any]) -> Callable[[Session], Any]:
    return lambda session: repr(session.execute(statement).all())


def get(session: Session) -> Any:
    found = session.get_one(Customer, 5)
    return found.last_name, session.get_one(Customer, 5) is found, session.get(Customer, 5000)


def lazy(session: Session) -> Any:
    return [invoice.total for invoice in session.get_one(Customer, 6).invoices]


def deferred(session: Session) -> Any:
    return session.get_one(Track, 6).composer


def expired(session: Session) -> Any:
    found = session.get_one(Album, 3)
    session.expire(found)
    session.refresh(found)
    return found.title, found.artist.name


def joined(session: Session) -> Any:
    statement = select(Album).where(Album.album_id.in_([1, 5])).order_by(Album.album_id)
    options = joinedload(Album.artist), joinedload(Album.tracks)
    found = session.scalars(statement.options(*options)).unique()
    return [(each.title, each.artist.name, [t.name for t in each.tracks]) for each in found]


def by_loader(loader: Any) -> Callable[[Session], Any]:
    def work(session: Session) -> Any:
        statement = select(Artist).where(Artist.name.like("Iron%")).order_by(Artist.artist_id)
        found = session.scalars(statement.options(loader(Artist.albums)))
        return [(each.name, [album.title for album in each.albums]) for each in found]

    return work


def page(session: Session) -> Any:
    statement = select(Album).order_by(Album.title, Album.album_id).limit(5).offset(7)
    return [each.title for each in session.scalars(statement)]


def yielding(session: Session) -> Any:
    options = {"yield_per": 10}
    found = session.scalars(select(Track).order_by(Track.track_id), execution_options=options)
    first = [next(found).name for _ in range(30)]
    found.close()
    return first


def partial(session: Session) -> Any:
    found = session.connection().execute(
        select(Track.name).where(Track.track_id > 100).order_by(Track.track_id),
        execution_options={"stream_results": True},
    )
    some = [*found.fetchmany(3), found.fetchone(), *found.fetchmany(2)]
    found.close()
    return repr(some)


def payers(session: Session) -> Any:
    statement = select(Payer).where(Customer.customer_id < 4).order_by(Customer.customer_id)
    return [(each.last_name, each.spent) for each in session.scalars(statement)]


def composite(session: Session) -> Any:
    one = session.get_one(PlaylistTrack, (1, 7))
    more = select(PlaylistTrack.track_id).where(PlaylistTrack.playlist_id == 9)
    return one.track_id, session.scalars(more).all()


_IRON = "SELECT artist_id FROM artist WHERE name LIKE 'Iron%'"
_BIG = select(Invoice.customer_id, Invoice.total).where(Invoice.total > 18).cte("big")
_OTHER = aliased(Customer, name="other")
CASES: dict[str, Case] = {
    "get": (get, {"customer": "SELECT 5"}),
    "lazy": (
        lazy,
        {"customer": "SELECT 6", "invoice": "SELECT invoice_id FROM invoice WHERE customer_id = 6"},
    ),
    "deferred": (deferred, {"track": "SELECT 6"}),
    "expired": (
        expired,
        {"album": "SELECT 3", "artist": "SELECT artist_id FROM album WHERE album_id = 3"},
    ),
    "joined loading": (
        joined,
        {
            "album": "VALUES (1), (5)",
            "artist": "SELECT artist_id FROM album WHERE album_id IN (1, 5)",
            "track": "SELECT track_id FROM track WHERE album_id IN (1, 5)",
        },
    ),
    "select-in loading": (
        by_loader(selectinload),
        {"artist": _IRON, "album": f"SELECT album_id FROM album WHERE artist_id IN ({_IRON})"},
    ),
    "subquery loading": (
        by_loader(subqueryload),
        {"artist": _IRON, "album": f"SELECT album_id FROM album WHERE artist_id IN ({_IRON})"},
    ),
    "columns": (
        all_of(select(Customer.last_name).where(Customer.country == "USA").order_by(text("1"))),
        {"customer": "SELECT customer_id FROM customer WHERE country = 'USA'"},
    ),
    "count": (
        all_of(select(func.count()).select_from(Invoice).where(Invoice.customer_id == 7)),
        {"invoice": "SELECT invoice_id FROM invoice WHERE customer_id = 7"},
    ),
    "groups": (
        all_of(
            select(Invoice.billing_country, func.count(), func.sum(Invoice.total))
            .where(Invoice.total > 10)
            .group_by(Invoice.billing_country)
            .having(func.count() > 3)
            .order_by(Invoice.billing_country)
        ),
        {
            "invoice": "SELECT invoice_id FROM invoice WHERE total > 10 AND billing_country IN "
            "(SELECT billing_country FROM invoice WHERE total > 10 GROUP BY 1 HAVING count(*) > 3)"
        },
    ),
    "distinct": (
        all_of(
            select(Track.composer)
            .distinct()
            .where(Track.album_id.between(20, 30))
            .order_by(Track.composer)
        ),
        {"track": "SELECT track_id FROM track WHERE album_id BETWEEN 20 AND 30"},
    ),
    "common table": (
        all_of(
            select(Customer.last_name, _BIG.c.total)
            .join(_BIG, _BIG.c.customer_id == Customer.customer_id)
            .order_by(Customer.customer_id)
        ),
        {
            "customer": "SELECT customer_id FROM invoice WHERE total > 18",
            "invoice": "SELECT invoice_id FROM invoice WHERE total > 18",
        },
    ),
    "exists": (
        all_of(
            select(Customer.last_name)
            .where(exists().where(Invoice.customer_id == Customer.customer_id, Invoice.total > 22))
            .order_by(Customer.customer_id)
        ),
        {"customer": "SELECT customer_id FROM invoice WHERE total > 22"},
    ),
    "an alias": (
        all_of(
            select(Customer.last_name, _OTHER.last_name)
            .join(_OTHER, _OTHER.customer_id == Customer.customer_id + 1)
            .where(Customer.customer_id == 9)
        ),
        {"customer": "VALUES (9), (10)"},
    ),
    "a page": (
        page,
        {"album": "SELECT album_id FROM album ORDER BY title, album_id LIMIT 5 OFFSET 7"},
    ),
    "yield_per": (yielding, {"track": "SELECT generate_series(1, 30)"}),
    "a part of a stream": (partial, {"track": "SELECT generate_series(101, 106)"}),
    "a value of a correlated query": (
        payers,
        {
            "customer": "VALUES (1), (2), (3)",
            "invoice": "SELECT invoice_id FROM invoice WHERE customer_id < 4",
        },
    ),
    "composite keys": (
        composite,
        {
            "playlist_track": "SELECT playlist_id || '/' || track_id FROM playlist_track "
            "WHERE playlist_id = 9 OR (playlist_id = 1 AND track_id = 7)"
        },
    ),
}


@pytest.fixture(scope="module", params=DRIVERS, ids=lambda it: f"{it[0]}{'-async' * it[1]}")
def readers(
    request: pytest.FixtureRequest, chinook: Database, loop: asyncio.Runner
) -> Iterator[tuple[Reader, Reader, MemoryHost]]:
    """Without capture, with capture, and the trail of that."""
    host = host_of(chinook)
    plain, captured = (
        Reader(chinook, request.param, loop),
        Reader(chinook, request.param, loop, host),
    )
    yield plain, captured, host
    plain.close()
    captured.close()


@pytest.mark.parametrize("case", CASES)
def test_what_the_orm_reads(
    case: str, readers: tuple[Reader, Reader, MemoryHost], chinook: Database
) -> None:
    plain, captured, host = readers
    run, expected = CASES[case]

    def work(connection: Connection) -> Any:
        with Session(connection) as session:
            return run(session)

    host.take()
    alone = plain.run(work)
    with acting_as(TRUDY):
        audited = captured.run(work)
    assert audited == alone
    events = host.take()
    assert {target.coverage for target in targets(events)} == {"exact"}
    found = {kind: set(map(told, ids)) for kind, ids in ids_by_kind(events).items()}
    assert found == {kind: keys_of(chinook, query) for kind, query in expected.items()}
    assert {event.actor for event in events} == {TRUDY}
