"""What the actors change: every path by which a write can reach SQLite, and what goes wrong."""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
from collections.abc import Callable

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session

from indelible import Outcome, Subject, Target

from .chinook import (
    Album,
    Artist,
    CaseNote,
    Customer,
    Genre,
    Invoice,
    InvoiceLine,
    LoyaltyCard,
    Playlist,
    PlaylistTrack,
    Shelf,
    SupportCase,
    Track,
)
from .oracle import Said, Witness
from .sites import Site, opened
from .snapshots import connect_plainly
from .withheld import SECRET_BODY, SECRET_FAX

Write = Callable[[Site, Witness], None]

NOON = dt.datetime(2026, 11, 23, 12)


def _session(site: Site) -> Session:
    return Session(site.engine, expire_on_commit=False)


# The ORM.


def unit_of_work(site: Site, witness: Witness) -> None:
    """A new customer with invoice and lines, and another's telephone, in one commit."""
    witness.reads("Customer", "t.CustomerId = 5")
    with _session(site) as session, session.begin():
        session.get_one(Customer, 5).phone = "+420 2 4172 0000"
        lines = [InvoiceLine(track_id=n, price=0.99, quantity=n) for n in (1, 2, 3)]
        new = Customer(first_name="Zara", last_name="Quist", email="zara@example.org", city="Gent")
        new.invoices = [Invoice(date=NOON, total=5.94, country="Belgium", lines=lines)]
        session.add(new)
        session.flush()
        witness.sees(new.id, new.invoices[0].id, [line.id for line in lines])


def orphan(site: Site, witness: Witness) -> None:
    """A line is taken off an invoice, whose total follows; all is read again after the commit."""
    witness.reads("Invoice", "t.InvoiceId = 96")
    witness.reads("InvoiceLine", "t.InvoiceId = 96")
    with Session(site.engine) as session:
        invoice = session.get_one(Invoice, 96)
        gone = invoice.lines[0]
        invoice.lines.remove(gone)
        invoice.total = invoice.total - gone.price
        session.commit()
        witness.sees(invoice.total, [line.id for line in invoice.lines])


def delete_customer(site: Site, witness: Witness) -> None:
    """The ORM deletes invoices and lines, the database cases and notes, and a card loses hers."""
    witness.reads("Customer", "t.CustomerId = 2")
    witness.reads("Invoice", "t.CustomerId = 2")
    witness.reads(
        "InvoiceLine", "t.InvoiceId IN (SELECT InvoiceId FROM Invoice WHERE CustomerId = 2)"
    )
    with _session(site) as session, session.begin():
        session.delete(session.get_one(Customer, 2))


def bulk_insert(site: Site, witness: Witness) -> None:
    with _session(site) as session, session.begin():
        session.execute(insert(Playlist), [{"id": n, "name": f"mix {n}"} for n in range(100, 105)])
        session.bulk_insert_mappings(Playlist, [{"id": 105, "name": "mappings"}])
        session.bulk_save_objects([Playlist(id=106, name="objects"), Playlist(id=107)])


def bulk_update(site: Site, witness: Witness) -> None:
    """By key, many at once; a trigger of the application writes the history of prices."""
    with _session(site) as session, session.begin():
        session.execute(update(Track), [{"id": n, "price": 1.29} for n in (10, 11, 12)])
        session.bulk_update_mappings(Track, [{"id": n, "price": 1.49} for n in (13, 14)])


def many_values(site: Site, witness: Witness) -> None:
    """The ORM numbers the rows by INSERT … RETURNING in batches."""
    with _session(site) as session, session.begin():
        new = [Artist(name=f"Band {n}") for n in range(30)]
        session.add_all(new)
        session.flush()
        witness.sees([artist.id for artist in new])


def orm_update_and_delete(site: Site, witness: Witness) -> None:
    with _session(site) as session, session.begin():
        changed = session.execute(
            update(Track)
            .where(Track.album_id == 3)
            .values(composer=func.upper(Track.composer))
            .execution_options(synchronize_session=False)
        )
        gone = session.execute(
            delete(PlaylistTrack)
            .where(PlaylistTrack.playlist_id == 16, PlaylistTrack.track_id < 2100)
            .execution_options(synchronize_session=False)
        )
        witness.sees(changed.rowcount, gone.rowcount)


def generated_columns(site: Site, witness: Witness) -> None:
    with _session(site) as session, session.begin():
        new = SupportCase(customer_id=5, opened_by=3, title="Second Thoughts", priority=2)
        session.add(new)
        session.flush()
        witness.sees(new.id, new.slug, new.title_length)
    with site.engine.begin() as connection:
        connection.execute(
            update(SupportCase).where(SupportCase.id == 2).values(title="Found Parcel")
        )


def nested_rollback(site: Site, witness: Witness) -> None:
    """The inner half is taken back, the outer one stays."""
    witness.reads("Customer", "t.CustomerId IN (15, 16)")
    with _session(site) as session, session.begin():
        session.get_one(Customer, 15).company = "Kept Ltd"
        session.flush()
        with contextlib.suppress(ZeroDivisionError), session.begin_nested():
            session.get_one(Customer, 16).company = "Lost Ltd"
            session.add(Genre(id=900, name="Lost"))
            session.flush()
            _ = 1 / 0
        session.add(Genre(id=901, name="Kept"))


def rolled_back(site: Site, witness: Witness) -> None:
    """Nothing of a transaction that is rolled back ever was, but its reads were."""
    witness.reads("Customer", "t.CustomerId = 17")
    with _session(site) as session:
        session.get_one(Customer, 17).email = "never@example.org"
        session.add(Artist(id=5000, name="Never"))
        session.flush()
        session.execute(delete(PlaylistTrack).where(PlaylistTrack.playlist_id == 1))
        session.rollback()
    with site.engine.connect() as connection:
        connection.execute(text("UPDATE Setting SET Value = 'never' WHERE Name = 'vat'"))


def refused(site: Site, witness: Witness) -> None:
    """The flush fails half-way through; the session goes on in another transaction."""
    with _session(site) as session:
        session.add_all(
            [CaseNote(case_id=4, note_no=9, body="a"), CaseNote(case_id=777, note_no=1, body="b")]
        )
        witness.fails(session.flush)
        session.rollback()
        session.add(CaseNote(case_id=4, note_no=2, body="after all"))
        session.commit()


# Core and text.


def core(site: Site, witness: Witness) -> None:
    witness.reads("Customer", "t.Country = 'Portugal'")
    with site.engine.begin() as connection:
        result = connection.execute(insert(Artist).values(name="One"))
        witness.sees(result.inserted_primary_key, result.lastrowid)
        connection.execute(insert(Artist).values([{"name": "Two"}, {"name": "Three"}]))
        result = connection.execute(
            update(Customer).where(Customer.country == "Portugal").values(fax=SECRET_FAX)
        )
        witness.sees(result.rowcount)
        found = connection.execute(select(Customer.id).where(Customer.fax == SECRET_FAX))
        witness.sees(found.all())
        query = text(f"SELECT LastName FROM Customer WHERE Fax = '{SECRET_FAX}'")
        witness.sees(connection.execute(query).all())
        result = connection.execute(delete(Shelf).where(Shelf.id == 3))
        witness.sees(result.rowcount)


def plain_text(site: Site, witness: Witness) -> None:
    with site.engine.begin() as connection:
        result = connection.execute(
            text("UPDATE Customer SET State = :state WHERE Country = :country"),
            {"state": "n/a", "country": "India"},
        )
        witness.sees(result.rowcount)
        connection.exec_driver_sql(
            "INSERT INTO Setting (Name, Value) VALUES (?, ?)", ("colour", "blue")
        )


def executemany(site: Site, witness: Witness) -> None:
    with site.engine.begin() as connection:
        result = connection.execute(
            text("INSERT INTO Visit (CustomerId, Page, Seconds) VALUES (:c, :p, :s)"),
            [{"c": n, "p": f"/{n}", "s": n / 4} for n in (20, 21, 22)],
        )
        witness.sees(result.rowcount)
    with opened(site.connect()) as connection:
        cursor = connection.executemany(
            "UPDATE Visit SET Seconds = Seconds + ? WHERE CustomerId = ?", [(1, 20), (2, 21)]
        )
        witness.sees(cursor.rowcount, cursor.lastrowid, connection.in_transaction)
        connection.commit()


def upserts(site: Site, witness: Witness) -> None:
    new = upsert(LoyaltyCard)
    statement = new.on_conflict_do_update(
        index_elements=["CardNo"],
        set_={"Points": LoyaltyCard.points + new.excluded.Points},
    )
    ignoring = upsert(LoyaltyCard).on_conflict_do_nothing()
    with site.engine.begin() as connection:
        result = connection.execute(
            statement,
            [
                {"CardNo": "L-0005", "CustomerId": 5, "Points": 30},
                {"CardNo": "L-0021", "CustomerId": 21, "Points": 1},
            ],
        )
        witness.sees(result.rowcount)
        result = connection.execute(ignoring, {"CardNo": "L-0007", "Points": 5})
        witness.sees(result.rowcount)


def insert_from_select(site: Site, witness: Witness) -> None:
    witness.reads("PlaylistTrack", "t.PlaylistId = 17 AND t.TrackId < 100", sure=False)
    with site.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO PlaylistTrack (PlaylistId, TrackId)"
                " SELECT 100, TrackId FROM PlaylistTrack WHERE PlaylistId = 17 AND TrackId < 100"
            )
        )


def returning(site: Site, witness: Witness) -> None:
    with site.engine.begin() as connection:
        added = connection.execute(
            insert(Genre).values(name="Polka").returning(Genre.id, Genre.name)
        )
        witness.sees(added.all())
        changed = connection.execute(
            update(Album)
            .where(Album.id.in_([2, 3]))
            .values(title=Album.title + " (remastered)")
            .returning(Album.id, Album.title)
        )
        witness.sees(sorted(changed.all()))
        gone = connection.execute(
            delete(CaseNote).where(CaseNote.case_id == 5).returning(CaseNote.body)
        )
        witness.sees(gone.all())


# The `sqlite3` module.


def replace(site: Site, witness: Witness) -> None:
    """Rows that another key's newcomer, or their own new version, pushes out."""
    with opened(site.connect()) as connection:
        cursor = connection.execute(
            "INSERT OR REPLACE INTO LoyaltyCard (CardNo, CustomerId, Points) VALUES"
            " ('L-0900', 12, 7)"
        )
        witness.sees(cursor.rowcount, cursor.lastrowid)
        connection.execute("REPLACE INTO LoyaltyCard VALUES ('L-0007', 10, 1, 'none')")
        connection.execute("REPLACE INTO Setting VALUES ('greeting', 'Servus')")
        connection.execute(
            "UPDATE OR REPLACE LoyaltyCard SET CustomerId = 13 WHERE CardNo = 'L-spare'"
        )
        connection.commit()


def cascades(site: Site, witness: Witness) -> None:
    with opened(site.connect()) as connection:
        cursor = connection.execute("DELETE FROM Shelf WHERE ShelfId = 2")
        witness.sees(cursor.rowcount)
        cursor = connection.execute("DELETE FROM Employee WHERE EmployeeId = 8")
        witness.sees(cursor.rowcount)
        connection.commit()


def update_from(site: Site, witness: Witness) -> None:
    witness.reads("Invoice", "t.CustomerId IN (5, 20)", sure=False)
    with opened(site.connect()) as connection:
        cursor = connection.execute(
            "UPDATE LoyaltyCard SET Points = Points + s.Spent FROM (SELECT CustomerId,"
            " CAST(sum(Total) AS INTEGER) AS Spent FROM Invoice GROUP BY CustomerId) AS s"
            " WHERE s.CustomerId = LoyaltyCard.CustomerId AND s.CustomerId IN (5, 20)"
        )
        witness.sees(cursor.rowcount)
        connection.commit()


def returning_driver(site: Site, witness: Witness) -> None:
    with opened(site.connect()) as connection:
        rows = connection.execute(
            "INSERT INTO CaseNote VALUES (4, 5, 'five'), (4, 6, 'six') RETURNING NoteNo, Body"
        ).fetchall()
        witness.sees(rows)
        connection.commit()


def without_rowid(site: Site, witness: Witness) -> None:
    with opened(site.connect()) as connection, connection:
        connection.execute(f"INSERT INTO CaseNote VALUES (6, 1, 'rang'), (6, 2, '{SECRET_BODY}')")
        connection.execute("UPDATE CaseNote SET Body = NULL WHERE CaseId = 6 AND NoteNo = 2")
        connection.execute("DELETE FROM CaseNote WHERE CaseId = 4 AND NoteNo = 1")
        connection.execute("UPDATE Setting SET Value = 20 WHERE Name = 'limit'")


def without_key(site: Site, witness: Witness) -> None:
    with opened(site.connect()) as connection, connection:
        connection.execute("INSERT INTO Visit VALUES (7, '/twice', 1), (7, '/twice', 1)")
        connection.execute("UPDATE Visit SET Page = '/HOME' WHERE Page = '/home'")
        cursor = connection.execute("DELETE FROM Visit WHERE CustomerId = 12")
        witness.sees(cursor.rowcount)


def changed_keys(site: Site, witness: Witness) -> None:
    witness.moves("LoyaltyCard", "L-0020", "L-0020-b")
    witness.moves("CaseNote", (3, 1), (3, 11))
    witness.moves("CaseNote", (3, 2), (3, 12))
    witness.moves("Visit", 2, 1000)
    witness.moves("Playlist", 107, 1107)
    with opened(site.connect()) as connection, connection:
        connection.execute("UPDATE LoyaltyCard SET CardNo = 'L-0020-b' WHERE CardNo = 'L-0020'")
        connection.execute("UPDATE CaseNote SET NoteNo = NoteNo + 10 WHERE CaseId = 3")
        connection.execute("UPDATE Visit SET rowid = 1000, Seconds = 9.5 WHERE rowid = 2")
        connection.execute("UPDATE Playlist SET PlaylistId = 1107 WHERE PlaylistId = 107")


def key_cascade(site: Site, witness: Witness) -> None:
    """A customer's key changes, and the database carries it to her case and no further."""
    witness.moves("Customer", 61, 161)
    with opened(site.connect()) as connection:
        connection.execute("UPDATE Customer SET CustomerId = 161 WHERE CustomerId = 61")
        connection.commit()


def newcomer(site: Site, witness: Witness) -> None:
    with opened(site.connect(isolation_level=None)) as connection:
        cursor = connection.execute(
            "INSERT INTO Customer (CustomerId, FirstName, LastName, Email)"
            " VALUES (61, 'Yusuf', 'Demir', 'yusuf@example.org')"
        )
        witness.sees(cursor.lastrowid)
        connection.execute(
            "INSERT INTO SupportCase (CustomerId, Title) VALUES (61, 'Welcome Pack')"
        )


def savepoints(site: Site, witness: Witness) -> None:
    with opened(site.connect(isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE Setting SET Value = 1 WHERE Name = 'nothing'")
        connection.execute("SAVEPOINT a")
        connection.execute("UPDATE Setting SET Value = 2 WHERE Name = 'nothing'")
        connection.execute("INSERT INTO Setting VALUES ('inside', 1)")
        connection.execute("SAVEPOINT b")
        connection.execute("DELETE FROM Setting WHERE Name = 'seal'")
        connection.execute("RELEASE b")
        connection.execute("ROLLBACK TO a")
        connection.execute("INSERT INTO Setting VALUES ('after', x'')")
        connection.execute("RELEASE a")
        connection.execute("COMMIT")


def half_way(site: Site, witness: Witness) -> None:
    """Statements that fail after some of their rows, with each of SQLite's conflict clauses."""
    fails = witness.fails
    with opened(site.connect()) as connection:
        run = connection.execute
        run("INSERT INTO SupportCase (CustomerId, Title) VALUES (10, 'Before')")
        fails(
            lambda: run(
                "INSERT INTO SupportCase (CustomerId, Title, Priority)"
                " VALUES (10, 'fine', 1), (10, 'too high', 9)"
            )
        )
        fails(lambda: run("UPDATE SupportCase SET Priority = Priority + 1"))
        fails(lambda: run("INSERT OR FAIL INTO Genre VALUES (801, 'kept'), (1, 'no'), (802, '-')"))
        run("INSERT OR IGNORE INTO Genre VALUES (803, 'kept too'), (1, 'ignored')")
        fails(lambda: run("DELETE FROM Artist WHERE ArtistId IN (1, 25)"))
        fails(
            lambda: connection.executemany(
                "INSERT INTO Genre VALUES (?, ?)", [(804, "a"), (805, "b"), (1, "c"), (806, "d")]
            )
        )
        witness.sees(connection.in_transaction)
        connection.commit()
        run("INSERT INTO Genre VALUES (807, 'gone with the next')")
        fails(lambda: run("INSERT OR ROLLBACK INTO Genre VALUES (1, 'no')"))
        witness.sees(connection.in_transaction)
        run("INSERT INTO Genre VALUES (808, 'later')")
        connection.commit()


def rolled_back_driver(site: Site, witness: Witness) -> None:
    with opened(site.connect()) as connection:
        connection.execute("DELETE FROM Setting")
        connection.execute("INSERT INTO Setting VALUES ('never', 1)")
        connection.rollback()
        connection.execute("UPDATE Customer SET Email = 'never' WHERE CustomerId = 18")


def every_type(site: Site, witness: Witness) -> None:
    """Values that many a format loses."""
    values = {
        "int 53": 2**53 + 1,
        "int 64": -(2**63),
        "infinite": float("inf"),
        "minus": float("-inf"),
        "third": 1 / 3,
        "sum": 0.1 + 0.2,
        "tiny": 5e-324,
        "whole real": 3.0,
        "nul": "a\0b",
        "emoji": "🜨 naïve \u202e",
        "empty": "",
        "empty blob": b"",
        "blob": bytes(range(256)),
        "text number": "007",
        "big": "x" * 100_000,
    }
    with opened(site.connect()) as connection, connection:
        connection.executemany("INSERT INTO Setting VALUES (?, ?)", values.items())
        connection.execute("INSERT INTO Setting VALUES ('bad text', CAST(x'c3286f' AS TEXT))")
        connection.execute("UPDATE Setting SET Value = 3 WHERE Name = 'whole real'")
        connection.execute("UPDATE Setting SET Value = CAST(x'61' AS BLOB) WHERE Name = 'emoji'")


def trouble_removed(site: Site, witness: Witness) -> None:
    """Text that isn't UTF-8 would break the readers that come later."""
    with opened(site.connect()) as connection, connection:
        connection.execute("DELETE FROM Setting WHERE Name = 'bad text'")


def no_difference(site: Site, witness: Witness) -> None:
    """Writes that leave every row as it was."""
    witness.touches("Customer", 30, 31)
    witness.touches("Setting", "come and gone")
    with opened(site.connect()) as connection, connection:
        cursor = connection.execute("UPDATE Customer SET City = City WHERE CustomerId IN (30, 31)")
        witness.sees(cursor.rowcount)
        cursor = connection.execute("UPDATE Customer SET City = 'x' WHERE CustomerId = 4711")
        witness.sees(cursor.rowcount)
        connection.execute("INSERT INTO Setting VALUES ('come and gone', 1)")
        connection.execute("DELETE FROM Setting WHERE Name = 'come and gone'")


def script(site: Site, witness: Witness) -> None:
    with opened(site.connect()) as connection:
        connection.executescript(
            "BEGIN; UPDATE Shelf SET Label = 'everything' WHERE ShelfId = 1;"
            " INSERT INTO Shelf VALUES (7, 1, 'chrome; not metal'); COMMIT;"
        )


def delete_all(site: Site, witness: Witness) -> None:
    """No WHERE: SQLite has a short cut for this."""
    with opened(site.connect()) as connection, connection:
        witness.sees(connection.execute("DELETE FROM Visit").rowcount)


def visits_again(site: Site, witness: Witness) -> None:
    """The new rows take the rowids of those that were deleted."""
    with opened(site.connect()) as connection, connection:
        cursor = connection.execute("INSERT INTO Visit VALUES (9, '/new', 4), (9, '/new', 5)")
        witness.sees(cursor.lastrowid)


# Somebody who has no actor.


def shell(site: Site, witness: Witness) -> None:
    subprocess.run(
        [
            "sqlite3",
            "-cmd",
            ".timeout 10000",
            site.database,
            "UPDATE Customer SET Company = 'Shell Inc' WHERE CustomerId IN (40, 41);"
            " INSERT INTO Genre VALUES (950, 'Shell Rock');",
        ],
        check=True,
        capture_output=True,
    )


def foreign_client(site: Site, witness: Witness) -> None:
    with contextlib.closing(connect_plainly(site.database)) as connection:
        connection.execute("UPDATE Genre SET Name = 'Shell Pop' WHERE GenreId = 950")
        connection.execute("DELETE FROM Setting WHERE Name = 'colour'")


# What no table shows.


def said_in_session(site: Site, witness: Witness) -> None:
    refund = Said("invoice.refund", target=("invoice", "98"), subject=("customer", "1"))
    witness.says(refund)
    target, subject = Target("invoice", "98"), Subject("customer", "1")
    with _session(site) as session, session.begin():
        session.execute(update(Invoice).where(Invoice.id == 98).values(address="returned"))
        site.record("invoice.refund", target=target, subject=subject, on=session)
    with _session(site) as session:
        session.execute(update(Invoice).where(Invoice.id == 98).values(address="never"))
        site.record("invoice.unrefund", target=target, subject=subject, on=session)
        session.rollback()


def said_on_connection(site: Site, witness: Witness) -> None:
    witness.says(Said("report.filed"))
    with opened(site.connect()) as connection:
        connection.execute("UPDATE Setting SET Value = 'filed' WHERE Name = 'after'")
        site.record("report.filed", on=connection)
        connection.commit()
        connection.execute("UPDATE Setting SET Value = 'never' WHERE Name = 'after'")
        site.record("report.unfiled", on=connection)
        connection.rollback()


def said_alone(site: Site, witness: Witness) -> None:
    witness.says(Said("user.logged_in"))
    witness.says(Said("customer.export", outcome="denied", subject=("customer", "7")))
    site.record("user.logged_in")
    site.record("customer.export", subject=Subject("customer", "7"), outcome=Outcome.DENIED)


def seen_in_cache(site: Site, witness: Witness) -> None:
    """A record read from a cache counts as read, because the application says so."""
    witness.says(Said("customer.read", "success", ("customer", "58"), ("customer", "58"), "access"))
    site.record(
        "customer.read",
        target=Target("customer", 58),
        subject=Subject("customer", "58"),
        kind="access",
    )


# Several hands on the same rows, for reversals to meet.


def _sql(*statements: str) -> Write:
    def run(site: Site, witness: Witness) -> None:
        with opened(site.connect()) as connection, connection:
            for statement in statements:
                witness.sees(connection.execute(statement).rowcount)

    return run


bob_meddles = _sql(
    "UPDATE Customer SET Phone = 'bob 1', Fax = 'bob fax' WHERE CustomerId IN (20, 21, 22)",
    "UPDATE Customer SET Address = 'bob street' WHERE CustomerId = 21",
    f"UPDATE CaseNote SET Body = '{SECRET_BODY}' WHERE CaseId = 2",
    "INSERT INTO Playlist VALUES (900, 'bob''s'), (901, 'bob''s other')",
    "DELETE FROM PlaylistTrack WHERE PlaylistId = 18",
    "DELETE FROM Setting WHERE Name IN ('vat', 'limit')",
    "UPDATE Shelf SET Label = 'bob''s' WHERE ShelfId IN (1, 5)",
    "UPDATE Track SET UnitPrice = 9.99 WHERE TrackId BETWEEN 500 AND 505",
)
others_answer = _sql(
    "UPDATE Customer SET Phone = 'mine' WHERE CustomerId = 20",
    "UPDATE Customer SET Address = '801 W 4th Street' WHERE CustomerId = 21",
    "INSERT INTO PlaylistTrack VALUES (900, 1)",
    "INSERT INTO PlaylistTrack VALUES (18, 597)",
    "INSERT INTO Setting VALUES ('vat', 0.21)",
    "DELETE FROM Shelf WHERE ShelfId = 5",
    "UPDATE Track SET UnitPrice = 0.5 WHERE TrackId = 500",
)
bob_again = _sql(
    "UPDATE Customer SET Phone = 'bob 2' WHERE CustomerId IN (20, 22)",
    "UPDATE Customer SET Fax = 'bob fax 2' WHERE CustomerId = 20",
)


def alice_reads_and_writes(site: Site, witness: Witness) -> None:
    """What a page that edits does: reads, shows, changes."""
    witness.reads("Customer", "t.SupportRepId = 5 AND t.Country = 'USA'")
    with _session(site) as session, session.begin():
        found = session.scalars(
            select(Customer)
            .where(Customer.support_rep_id == 5, Customer.country == "USA")
            .order_by(Customer.id)
        )
        for customer in found:
            customer.company = f"{customer.last_name} Inc"
