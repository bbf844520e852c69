"""The sample database with what it lacks: cascades, triggers of the application, odd keys.

`make_database` copies the file and adds the tables; the classes map what the day works on.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import Computed, DateTime, Float, ForeignKey, Integer, LargeBinary, String, event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column, relationship

ROOT = Path(__file__).parents[2]
SAMPLES = Path(os.environ.get("INDELIBLE_SAMPLES", ROOT.parent / "shared" / "data"))

EXTRA_SCHEMA = """
CREATE TABLE SupportCase (
    CaseId INTEGER PRIMARY KEY AUTOINCREMENT,
    CustomerId INTEGER NOT NULL REFERENCES Customer (CustomerId)
        ON DELETE CASCADE ON UPDATE CASCADE,
    OpenedBy INTEGER REFERENCES Employee (EmployeeId) ON DELETE SET NULL,
    Title TEXT NOT NULL,
    Priority INTEGER NOT NULL DEFAULT 3 CHECK (Priority BETWEEN 1 AND 5),
    Slug TEXT GENERATED ALWAYS AS (lower(replace(Title, ' ', '-'))) STORED,
    TitleLength INTEGER GENERATED ALWAYS AS (length(Title)) VIRTUAL
);
CREATE TABLE CaseNote (
    CaseId INTEGER NOT NULL REFERENCES SupportCase (CaseId) ON DELETE CASCADE,
    NoteNo INTEGER NOT NULL,
    Body TEXT,
    PRIMARY KEY (CaseId, NoteNo)
) WITHOUT ROWID;
CREATE TABLE LoyaltyCard (
    CardNo TEXT NOT NULL PRIMARY KEY,
    CustomerId INTEGER UNIQUE REFERENCES Customer (CustomerId) ON DELETE SET NULL,
    Points INTEGER NOT NULL DEFAULT 0,
    Rank TEXT NOT NULL DEFAULT 'none'
);
CREATE TABLE Visit (CustomerId INTEGER, Page TEXT, Seconds REAL);
CREATE TABLE Setting (Name TEXT NOT NULL PRIMARY KEY, Value) WITHOUT ROWID;
CREATE TABLE Shelf (
    ShelfId INTEGER PRIMARY KEY,
    ParentId INTEGER REFERENCES Shelf (ShelfId) ON DELETE CASCADE,
    Label TEXT NOT NULL
);
CREATE TABLE PriceChange (
    PriceChangeId INTEGER PRIMARY KEY AUTOINCREMENT,
    TrackId INTEGER NOT NULL,
    OldPrice NUMERIC(10,2),
    NewPrice NUMERIC(10,2)
);
CREATE TRIGGER track_price AFTER UPDATE OF UnitPrice ON Track
WHEN OLD.UnitPrice IS NOT NEW.UnitPrice
BEGIN
    INSERT INTO PriceChange (TrackId, OldPrice, NewPrice)
    VALUES (NEW.TrackId, OLD.UnitPrice, NEW.UnitPrice);
END;
CREATE TRIGGER card_rank AFTER UPDATE OF Points ON LoyaltyCard
BEGIN
    UPDATE LoyaltyCard
    SET Rank = CASE WHEN NEW.Points >= 1000 THEN 'gold' WHEN NEW.Points >= 100 THEN 'silver'
        ELSE 'none' END
    WHERE CardNo = NEW.CardNo;
END;
CREATE VIEW CustomerTotal AS
    SELECT c.CustomerId, c.LastName, SUM(i.Total) AS Total
    FROM Customer c JOIN Invoice i ON i.CustomerId = c.CustomerId
    GROUP BY c.CustomerId, c.LastName;

INSERT INTO SupportCase (CustomerId, OpenedBy, Title, Priority) VALUES
    (2, 5, 'Wrong Invoice', 2), (5, 4, 'Lost Parcel', 3), (5, 4, 'Double Charge', 1),
    (7, 8, 'Scratched Disc', 4), (12, 3, 'New Address', 5), (13, 8, 'Call Me Back', 3);
INSERT INTO CaseNote (CaseId, NoteNo, Body) VALUES
    (1, 1, 'called'), (1, 2, 'wrote'), (2, 1, 'searching'), (3, 1, 'refund due'),
    (3, 2, 'refunded'), (4, 1, 'replaced'), (5, 1, 'noted');
INSERT INTO LoyaltyCard (CardNo, CustomerId, Points, Rank) VALUES
    ('L-0002', 2, 40, 'none'), ('L-0005', 5, 120, 'silver'), ('L-0007', 7, 990, 'silver'),
    ('L-0010', 10, 5, 'none'), ('L-0012', 12, 60, 'none'), ('L-0013', 13, 77, 'none'),
    ('L-0020', 20, 0, 'none'), ('L-spare', NULL, 0, 'none');
INSERT INTO Visit (CustomerId, Page, Seconds) VALUES
    (5, '/home', 1.5), (5, '/rock', 12.25), (7, '/home', 0.1), (2, '/cart', 3.0),
    (5, '/home', 1.5), (NULL, '/home', 2.0), (12, '/jazz', 7.75);
INSERT INTO Setting (Name, Value) VALUES
    ('vat', 0.19), ('greeting', 'Grüß Gott'), ('limit', 9007199254740993), ('seal', x'00ff01'),
    ('nothing', NULL);
INSERT INTO Shelf (ShelfId, ParentId, Label) VALUES
    (1, NULL, 'all'), (2, 1, 'vinyl'), (3, 2, '7 inch'), (4, 2, '12 inch'), (5, 1, 'tape'),
    (6, 4, 'white label');
"""


def make_database(path: Path) -> Path:
    """A copy of the sample at `path` with the tables above."""
    shutil.copyfile(SAMPLES / "chinook" / "chinook.sqlite", path)
    connection = sqlite3.connect(path)
    connection.executescript(EXTRA_SCHEMA)
    connection.close()
    return path


def enforce_foreign_keys(engine: Engine) -> None:
    """SQLite enforces foreign keys only on connections that ask for it."""

    @event.listens_for(engine, "connect")
    def connected(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()


class Base(DeclarativeBase):
    pass


class Artist(Base):
    __tablename__ = "Artist"
    id: Mapped[int] = mapped_column("ArtistId", primary_key=True)
    name: Mapped[str | None] = mapped_column("Name", String(120))
    albums: Mapped[list[Album]] = relationship(back_populates="artist", order_by="Album.id")


class Album(Base):
    __tablename__ = "Album"
    id: Mapped[int] = mapped_column("AlbumId", primary_key=True)
    title: Mapped[str] = mapped_column("Title", String(160))
    artist_id: Mapped[int] = mapped_column("ArtistId", ForeignKey("Artist.ArtistId"))
    artist: Mapped[Artist] = relationship(back_populates="albums")
    tracks: Mapped[list[Track]] = relationship(back_populates="album", order_by="Track.id")


class Genre(Base):
    __tablename__ = "Genre"
    id: Mapped[int] = mapped_column("GenreId", primary_key=True)
    name: Mapped[str | None] = mapped_column("Name", String(120))


class MediaType(Base):
    __tablename__ = "MediaType"
    id: Mapped[int] = mapped_column("MediaTypeId", primary_key=True)
    name: Mapped[str | None] = mapped_column("Name", String(120))


class Track(Base):
    __tablename__ = "Track"
    id: Mapped[int] = mapped_column("TrackId", primary_key=True)
    name: Mapped[str] = mapped_column("Name", String(200))
    album_id: Mapped[int | None] = mapped_column("AlbumId", ForeignKey("Album.AlbumId"))
    media_type_id: Mapped[int] = mapped_column("MediaTypeId", ForeignKey("MediaType.MediaTypeId"))
    genre_id: Mapped[int | None] = mapped_column("GenreId", ForeignKey("Genre.GenreId"))
    composer: Mapped[str | None] = mapped_column("Composer", String(220))
    milliseconds: Mapped[int] = mapped_column("Milliseconds", Integer)
    size: Mapped[int | None] = mapped_column("Bytes", Integer)
    price: Mapped[float] = mapped_column("UnitPrice", Float)
    album: Mapped[Album | None] = relationship(back_populates="tracks")


class Playlist(Base):
    __tablename__ = "Playlist"
    id: Mapped[int] = mapped_column("PlaylistId", primary_key=True)
    name: Mapped[str | None] = mapped_column("Name", String(120))


class PlaylistTrack(Base):
    __tablename__ = "PlaylistTrack"
    playlist_id: Mapped[int] = mapped_column(
        "PlaylistId", ForeignKey("Playlist.PlaylistId"), primary_key=True
    )
    track_id: Mapped[int] = mapped_column("TrackId", ForeignKey("Track.TrackId"), primary_key=True)


class Employee(Base):
    __tablename__ = "Employee"
    id: Mapped[int] = mapped_column("EmployeeId", primary_key=True)
    last_name: Mapped[str] = mapped_column("LastName", String(20))
    first_name: Mapped[str] = mapped_column("FirstName", String(20))
    title: Mapped[str | None] = mapped_column("Title", String(30))
    reports_to: Mapped[int | None] = mapped_column("ReportsTo", ForeignKey("Employee.EmployeeId"))
    city: Mapped[str | None] = mapped_column("City", String(40))
    manager: Mapped[Employee | None] = relationship(remote_side=[id])


class Customer(Base):
    __tablename__ = "Customer"
    id: Mapped[int] = mapped_column("CustomerId", primary_key=True)
    first_name: Mapped[str] = mapped_column("FirstName", String(40))
    last_name: Mapped[str] = mapped_column("LastName", String(20))
    company: Mapped[str | None] = mapped_column("Company", String(80))
    address: Mapped[str | None] = mapped_column("Address", String(70))
    city: Mapped[str | None] = mapped_column("City", String(40))
    country: Mapped[str | None] = mapped_column("Country", String(40))
    phone: Mapped[str | None] = mapped_column("Phone", String(24))
    fax: Mapped[str | None] = deferred(mapped_column("Fax", String(24)))
    email: Mapped[str] = mapped_column("Email", String(60))
    support_rep_id: Mapped[int | None] = mapped_column(
        "SupportRepId", ForeignKey("Employee.EmployeeId")
    )
    invoices: Mapped[list[Invoice]] = relationship(
        back_populates="customer", order_by="Invoice.id", cascade="all, delete-orphan"
    )
    cases: Mapped[list[SupportCase]] = relationship(
        back_populates="customer", passive_deletes=True, order_by="SupportCase.id"
    )


class Invoice(Base):
    __tablename__ = "Invoice"
    id: Mapped[int] = mapped_column("InvoiceId", primary_key=True)
    customer_id: Mapped[int] = mapped_column("CustomerId", ForeignKey("Customer.CustomerId"))
    date: Mapped[dt.datetime] = mapped_column("InvoiceDate", DateTime)
    address: Mapped[str | None] = mapped_column("BillingAddress", String(70))
    country: Mapped[str | None] = mapped_column("BillingCountry", String(40))
    total: Mapped[float] = mapped_column("Total", Float)
    customer: Mapped[Customer] = relationship(back_populates="invoices")
    lines: Mapped[list[InvoiceLine]] = relationship(
        back_populates="invoice", order_by="InvoiceLine.id", cascade="all, delete-orphan"
    )


class InvoiceLine(Base):
    __tablename__ = "InvoiceLine"
    id: Mapped[int] = mapped_column("InvoiceLineId", primary_key=True)
    invoice_id: Mapped[int] = mapped_column("InvoiceId", ForeignKey("Invoice.InvoiceId"))
    track_id: Mapped[int] = mapped_column("TrackId", ForeignKey("Track.TrackId"))
    price: Mapped[float] = mapped_column("UnitPrice", Float)
    quantity: Mapped[int] = mapped_column("Quantity", Integer)
    invoice: Mapped[Invoice] = relationship(back_populates="lines")


class SupportCase(Base):
    __tablename__ = "SupportCase"
    id: Mapped[int] = mapped_column("CaseId", primary_key=True)
    customer_id: Mapped[int] = mapped_column("CustomerId", ForeignKey("Customer.CustomerId"))
    opened_by: Mapped[int | None] = mapped_column("OpenedBy", ForeignKey("Employee.EmployeeId"))
    title: Mapped[str] = mapped_column("Title", String)
    priority: Mapped[int] = mapped_column("Priority", Integer)
    slug: Mapped[str | None] = mapped_column("Slug", String, Computed("", persisted=True))
    title_length: Mapped[int | None] = mapped_column("TitleLength", Integer, Computed(""))
    customer: Mapped[Customer] = relationship(back_populates="cases")


class CaseNote(Base):
    __tablename__ = "CaseNote"
    case_id: Mapped[int] = mapped_column(
        "CaseId", ForeignKey("SupportCase.CaseId"), primary_key=True
    )
    note_no: Mapped[int] = mapped_column("NoteNo", primary_key=True)
    body: Mapped[str | None] = mapped_column("Body", String)


class LoyaltyCard(Base):
    __tablename__ = "LoyaltyCard"
    card_no: Mapped[str] = mapped_column("CardNo", String, primary_key=True)
    customer_id: Mapped[int | None] = mapped_column("CustomerId", ForeignKey("Customer.CustomerId"))
    points: Mapped[int] = mapped_column("Points", Integer, server_default="0")
    rank: Mapped[str] = mapped_column("Rank", String, server_default="none")


class Setting(Base):
    __tablename__ = "Setting"
    name: Mapped[str] = mapped_column("Name", String, primary_key=True)
    value: Mapped[bytes | None] = mapped_column("Value", LargeBinary)


class Shelf(Base):
    __tablename__ = "Shelf"
    id: Mapped[int] = mapped_column("ShelfId", primary_key=True)
    parent_id: Mapped[int | None] = mapped_column("ParentId", ForeignKey("Shelf.ShelfId"))
    label: Mapped[str] = mapped_column("Label", String)
