"""What the actors look at: through the ORM, Core, text and the driver, sync and async."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import exists, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, aliased, joinedload, selectinload, undefer

from .chinook import (
    Album,
    Artist,
    Customer,
    Employee,
    Invoice,
    InvoiceLine,
    LoyaltyCard,
    PlaylistTrack,
    SupportCase,
    Track,
)
from .oracle import Witness
from .shapes import SHAPES, Shape
from .sites import Site

Read = Callable[[Site, Witness], None]


def orm_reads(random_: random.Random) -> Iterator[tuple[str, Read]]:
    """Each way by which the ORM and Core read."""
    customer, other = random_.sample(range(14, 59), 2)

    def get(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.CustomerId = ?", customer)
        with Session(site.engine) as session:
            found = session.get_one(Customer, customer)
            again = session.get_one(Customer, customer)
            witness.sees(found.last_name, found is again)

    def get_nothing(site: Site, witness: Witness) -> None:
        witness.probes("Customer")
        with Session(site.engine) as session:
            witness.sees(session.get(Customer, 4711))

    def entities(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.Country = 'Brazil'")
        with Session(site.engine) as session:
            found = session.scalars(
                select(Customer).where(Customer.country == "Brazil").order_by(Customer.id)
            )
            witness.sees([(c.id, c.email) for c in found])

    def join(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.Country = 'Germany'")
        witness.reads(
            "Invoice", "t.CustomerId IN (SELECT CustomerId FROM Customer WHERE Country = 'Germany')"
        )
        with Session(site.engine) as session:
            found = session.execute(
                select(Invoice, Customer)
                .join(Invoice.customer)
                .where(Customer.country == "Germany")
                .order_by(Invoice.id)
            )
            witness.sees([(i.total, i.date, c.last_name) for i, c in found])

    def joined_loading(site: Site, witness: Witness) -> None:
        witness.reads("Album", "t.AlbumId IN (1, 5)")
        witness.reads(
            "Artist", "t.ArtistId IN (SELECT ArtistId FROM Album WHERE AlbumId IN (1, 5))"
        )
        witness.reads("Track", "t.AlbumId IN (1, 5)")
        with Session(site.engine) as session:
            found = session.scalars(
                select(Album)
                .where(Album.id.in_([1, 5]))
                .options(joinedload(Album.artist), joinedload(Album.tracks))
                .order_by(Album.id)
            ).unique()
            witness.sees([(a.title, a.artist.name, [t.name for t in a.tracks]) for a in found])

    def select_in_loading(site: Site, witness: Witness) -> None:
        wanted = "SELECT ArtistId FROM Artist WHERE Name LIKE 'Iron%'"
        witness.reads("Artist", f"t.ArtistId IN ({wanted})")
        witness.reads("Album", f"t.ArtistId IN ({wanted})")
        with Session(site.engine) as session:
            found = session.scalars(
                select(Artist)
                .where(Artist.name.like("Iron%"))
                .options(selectinload(Artist.albums))
                .order_by(Artist.id)
            )
            witness.sees([(a.name, [album.title for album in a.albums]) for a in found])

    def lazy_loading(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.CustomerId = ?", other)
        witness.reads("Invoice", "t.CustomerId = ?", other)
        witness.reads(
            "InvoiceLine",
            "t.InvoiceId = (SELECT min(InvoiceId) FROM Invoice WHERE CustomerId = ?)",
            other,
        )
        with Session(site.engine) as session:
            found = session.get_one(Customer, other)
            invoices = found.invoices
            witness.sees(len(invoices), [(n.track_id, n.price) for n in invoices[0].lines])

    def deferred_loading(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.CustomerId IN (?, ?)", customer, other)
        with Session(site.engine) as session:
            witness.sees(session.get_one(Customer, customer).fax)
            statement = select(Customer).where(Customer.id == other).options(undefer(Customer.fax))
            witness.sees(session.scalars(statement).one().fax)

    def expired(site: Site, witness: Witness) -> None:
        witness.reads("Employee", "t.EmployeeId IN (3, 2)")
        with Session(site.engine) as session:
            found = session.get_one(Employee, 3)
            session.expire(found)
            manager = found.manager
            assert manager is not None
            witness.sees(found.title, manager.last_name)
            session.refresh(manager)

    def columns(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.SupportRepId = 4")
        with Session(site.engine) as session:
            found = session.execute(
                select(Customer.first_name, Customer.city.label("town"))
                .where(Customer.support_rep_id == 4)
                .order_by(Customer.first_name, Customer.city)
            )
            witness.sees(list(found.keys()), found.all())

    def count(site: Site, witness: Witness) -> None:
        witness.reads("Invoice", "t.CustomerId = ?", customer)
        with Session(site.engine) as session:
            witness.sees(
                session.scalar(
                    select(func.count()).select_from(Invoice).where(Invoice.customer_id == customer)
                )
            )

    def group(site: Site, witness: Witness) -> None:
        groups = "SELECT BillingCountry FROM Invoice GROUP BY 1 HAVING count(*) BETWEEN 8 AND 30"
        witness.reads("Invoice", f"t.BillingCountry IN ({groups})")
        with Session(site.engine) as session:
            found = session.execute(
                select(Invoice.country, func.count(), func.sum(Invoice.total))
                .group_by(Invoice.country)
                .having(func.count().between(8, 30))
                .order_by(Invoice.country)
            )
            witness.sees(found.all())

    def unique_values(site: Site, witness: Witness) -> None:
        witness.reads("Track", "t.AlbumId BETWEEN 20 AND 30")
        with Session(site.engine) as session:
            found = session.scalars(
                select(Track.composer)
                .distinct()
                .where(Track.album_id.between(20, 30))
                .order_by(Track.composer)
            )
            witness.sees(found.all())

    def union(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.Country = 'USA'")
        witness.reads("Employee", "1")
        with Session(site.engine) as session:
            both = (
                select(Customer.last_name)
                .where(Customer.country == "USA")
                .union(select(Employee.last_name))
            )
            witness.sees(session.execute(both.order_by(text("1"))).all())

    def common_table(site: Site, witness: Witness) -> None:
        witness.reads("Invoice", "t.Total > 18")
        witness.reads(
            "Customer", "t.CustomerId IN (SELECT CustomerId FROM Invoice WHERE Total > 18)"
        )
        with Session(site.engine) as session:
            big = select(Invoice.customer_id, Invoice.total).where(Invoice.total > 18).cte("big")
            found = session.execute(
                select(Customer.email, big.c.total)
                .join(big, big.c.customer_id == Customer.id)
                .order_by(Customer.id)
            )
            witness.sees(found.all())

    def has_any(site: Site, witness: Witness) -> None:
        witness.reads("Customer", "t.CustomerId IN (SELECT CustomerId FROM SupportCase)")
        witness.probes("SupportCase")
        with Session(site.engine) as session:
            found = session.scalars(
                select(Customer)
                .where(exists().where(SupportCase.customer_id == Customer.id))
                .order_by(Customer.id)
            )
            witness.sees([c.id for c in found])

    def window(site: Site, witness: Witness) -> None:
        witness.reads("Invoice", "t.CustomerId = ?", other)
        with Session(site.engine) as session:
            running = func.sum(Invoice.total).over(order_by=Invoice.id)
            found = session.execute(
                select(Invoice.total, running)
                .where(Invoice.customer_id == other)
                .order_by(Invoice.id)
            )
            witness.sees(found.all())

    def page(site: Site, witness: Witness) -> None:
        witness.reads(
            "Album", "t.AlbumId IN (SELECT AlbumId FROM Album ORDER BY Title, AlbumId LIMIT 7, 12)"
        )
        with Session(site.engine) as session:
            found = session.scalars(
                select(Album).order_by(Album.title, Album.id).limit(12).offset(7)
            )
            witness.sees([a.title for a in found])

    def yielding(site: Site, witness: Witness) -> None:
        witness.reads("Track", "t.TrackId <= 30")
        with Session(site.engine) as session:
            found = session.scalars(
                select(Track).order_by(Track.id), execution_options={"yield_per": 10}
            )
            witness.sees([next(found).name for _ in range(30)])
            found.close()

    def partial(site: Site, witness: Witness) -> None:
        witness.reads("Track", "t.TrackId BETWEEN 101 AND 107")
        with site.engine.connect() as connection:
            found = connection.execute(
                select(Track.name).where(Track.id > 100).order_by(Track.id),
                execution_options={"stream_results": True},
            )
            witness.sees(found.fetchmany(3), found.fetchone(), found.fetchmany(3))
            found.close()

    def abandoned(site: Site, witness: Witness) -> None:
        witness.reads("Track", "t.TrackId BETWEEN 201 AND 203")
        with site.engine.connect() as connection:
            found = iter(
                connection.execute(select(Track.name).where(Track.id > 200).order_by(Track.id))
            )
            witness.sees([next(found) for _ in range(3)])

    def composite(site: Site, witness: Witness) -> None:
        witness.reads("PlaylistTrack", "t.PlaylistId = 1 AND t.TrackId = 7 OR t.PlaylistId = 9")
        with Session(site.engine) as session:
            one = session.get_one(PlaylistTrack, (1, 7))
            more = session.scalars(
                select(PlaylistTrack.track_id).where(PlaylistTrack.playlist_id == 9)
            )
            witness.sees(one.track_id, more.all())

    def alias(site: Site, witness: Witness) -> None:
        witness.reads("Employee", "t.EmployeeId <> 1 OR t.EmployeeId = 1")
        with Session(site.engine) as session:
            manager = aliased(Employee, name="manager")
            found = session.execute(
                select(Employee, manager.last_name)
                .join(manager, Employee.reports_to == manager.id)
                .order_by(Employee.id)
            )
            witness.sees([(e.last_name, name) for e, name in found])

    def aggregate_of_cards(site: Site, witness: Witness) -> None:
        witness.reads("LoyaltyCard", "t.Points > 50")
        with Session(site.engine) as session:
            witness.sees(
                session.execute(
                    select(func.count(LoyaltyCard.card_no), func.sum(LoyaltyCard.points)).where(
                        LoyaltyCard.points > 50
                    )
                ).one()
            )

    def line_entities(site: Site, witness: Witness) -> None:
        witness.reads("InvoiceLine", "t.InvoiceId = 300")
        with Session(site.engine) as session:
            found = session.scalars(
                select(InvoiceLine).where(InvoiceLine.invoice_id == 300).order_by(InvoiceLine.id)
            )
            witness.sees([n.track_id for n in found])

    def broken(site: Site, witness: Witness) -> None:
        with site.engine.connect() as connection:
            for sql in (
                "SELEC * FROM Customer",
                "SELECT Nonsense FROM Customer",
                "SELECT * FROM Nowhere",
                "SELECT count(*), FROM Customer",
            ):
                error = witness.fails(lambda sql=sql: connection.execute(text(sql)))
                assert isinstance(error, DBAPIError)
            witness.fails(
                lambda: connection.exec_driver_sql("SELECT * FROM Customer WHERE Fax = ?", ())
            )

    for read in (
        get,
        get_nothing,
        entities,
        join,
        joined_loading,
        select_in_loading,
        lazy_loading,
        deferred_loading,
        expired,
        columns,
        count,
        group,
        unique_values,
        union,
        common_table,
        has_any,
        window,
        page,
        yielding,
        partial,
        abandoned,
        composite,
        alias,
        aggregate_of_cards,
        line_entities,
        broken,
    ):
        yield f"orm: {read.__name__.replace('_', ' ')}", read


def _seen(shape: Shape, rows: list[Any]) -> list[Any]:
    return rows if shape.ordered else sorted(rows, key=repr)


def text_reads() -> Iterator[tuple[str, Read]]:
    """Every shape as SQLAlchemy's text, then as SQL for the driver."""
    for shape in SHAPES:

        def through_text(site: Site, witness: Witness, shape: Shape = shape) -> None:
            shape.declare(witness)
            head, *tails = shape.sql.replace(":", r"\:").split("?")
            literal = {"text that looks like SQL"}
            with site.engine.connect() as connection:
                if shape.name in literal:
                    result = connection.exec_driver_sql(shape.sql, tuple(shape.parameters))
                else:
                    named = head + "".join(f":p{n}{tail}" for n, tail in enumerate(tails))
                    values = {f"p{n}": value for n, value in enumerate(shape.parameters)}
                    result = connection.execute(text(named), values)
                witness.sees(list(result.keys()), _seen(shape, [tuple(row) for row in result]))

        yield f"text: {shape.name}", through_text


def driver_reads() -> Iterator[tuple[str, Read]]:
    """Every shape through the `sqlite3` module."""
    for number, shape in enumerate(SHAPES):

        def through_driver(
            site: Site, witness: Witness, shape: Shape = shape, number: int = number
        ) -> None:
            shape.declare(witness)
            connection = site.connect()
            if number % 3 == 0:
                connection.row_factory = sqlite3.Row
            if number % 2:
                cursor = connection.cursor()
                cursor.execute(shape.sql, tuple(shape.parameters))
            else:
                cursor = connection.execute(shape.sql, tuple(shape.parameters))
            rows = list(cursor) if number % 5 else cursor.fetchall()
            names = [list(row.keys()) for row in rows[:1]] if number % 3 == 0 else []
            witness.sees(names, _seen(shape, rows), cursor.rowcount, cursor.lastrowid)
            connection.close()

        yield f"sqlite3: {shape.name}", through_driver


def partial_driver_reads() -> Iterator[tuple[str, Read]]:
    """Cursors of the `sqlite3` module that nobody reads to the end."""

    def some(site: Site, witness: Witness) -> None:
        witness.reads("Track", "t.TrackId BETWEEN 301 AND 306")
        connection = site.connect()
        cursor = connection.execute("SELECT Name FROM Track WHERE TrackId > 300 ORDER BY TrackId")
        witness.sees(cursor.fetchone(), cursor.fetchmany(3), next(cursor), next(iter(cursor)))
        cursor.close()
        connection.close()

    def dropped(site: Site, witness: Witness) -> None:
        witness.reads("Album", "t.AlbumId BETWEEN 11 AND 12")
        connection = site.connect()
        rows = iter(connection.execute("SELECT Title FROM Album WHERE AlbumId > 10 ORDER BY 1, 1"))
        del rows
        rows = iter(
            connection.execute("SELECT Title FROM Album WHERE AlbumId > 10 ORDER BY AlbumId")
        )
        witness.sees(next(rows), next(rows))
        del rows
        connection.close()

    yield "sqlite3: some rows of many", some
    yield "sqlite3: a cursor let go", dropped


async def async_reads(engine: AsyncEngine, witness: Witness, random_: random.Random) -> None:
    """What a customer's page shows: get, list, lazy pages and a stream, on the async engine."""
    customer = random_.choice(range(14, 59))
    witness.reads("Customer", "t.CustomerId = ?", customer)
    witness.reads("Invoice", "t.CustomerId = ? OR t.BillingCountry = 'Finland'", customer)
    witness.reads("Track", "t.TrackId BETWEEN 401 AND 404")
    witness.reads("Genre", "t.GenreId = 1")
    async with AsyncSession(engine) as session:
        found = await session.get_one(Customer, customer, options=[selectinload(Customer.invoices)])
        witness.sees(found.email, [i.total for i in found.invoices])
        totals = await session.scalars(
            select(Invoice.total).where(Invoice.country == "Finland").order_by(Invoice.id)
        )
        witness.sees(totals.all())
    async with engine.connect() as connection:
        stream = await connection.stream(
            select(Track.name).where(Track.id > 400).order_by(Track.id)
        )
        witness.sees(await stream.fetchmany(3), await stream.fetchone())
        await stream.close()
        row = (await connection.exec_driver_sql("SELECT Name FROM Genre WHERE GenreId = 1")).one()
        witness.sees(row)


async def async_shapes(engine: AsyncEngine, witness: Witness) -> None:
    """Every shape through aiosqlite."""
    async with engine.connect() as connection:
        for shape in SHAPES:
            shape.declare(witness)
            result = await connection.exec_driver_sql(shape.sql, tuple(shape.parameters))
            witness.sees(list(result.keys()), _seen(shape, [tuple(row) for row in result]))
