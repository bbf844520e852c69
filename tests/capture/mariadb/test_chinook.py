"""A day at the Chinook shop, on MariaDB: who did what to whose records, and how to undo it."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

from pymysql.constants import CLIENT
from sqlalchemy import create_engine, text
from tests.end_to_end.chinook import SAMPLES
from tests.mariadb_server import MariadbDatabase

from indelible import Actor, Subject, acting_as
from indelible.capture.sqlalchemy import capture

from .test_trail import Site

ALICE, BOB, EVE = (Actor("staff", name) for name in ("alice", "bob", "eve"))
TABLES = (
    "[tables.Customer]\nsubject = 'self'\n"
    "[tables.Invoice]\nsubject = 'CustomerId -> Customer'\n"
    "[tables.InvoiceLine]\nsubject = 'InvoiceId -> Invoice.CustomerId -> Customer'\n"
)
DAY = (
    "UPDATE Invoice SET Total = Total + 1 WHERE CustomerId = {customer}",
    "UPDATE Customer SET Phone = NULL, Company = 'Größe & Söhne' WHERE CustomerId = {customer}",
    "UPDATE InvoiceLine SET Quantity = Quantity + 1 WHERE InvoiceId = {invoice}",
    "DELETE FROM InvoiceLine WHERE InvoiceLineId = {line}",
    "INSERT INTO Playlist VALUES ({new}, 'p {new}') ON DUPLICATE KEY UPDATE Name = 'again'",
    "INSERT INTO PlaylistTrack SELECT 1, TrackId FROM Track WHERE TrackId = {new} "
    "ON DUPLICATE KEY UPDATE PlaylistTrack.TrackId = PlaylistTrack.TrackId",
    "UPDATE Track, Album SET Track.UnitPrice = 0.5, Album.Title = CONCAT(Album.Title, '!') "
    "WHERE Track.AlbumId = Album.AlbumId AND Album.AlbumId = {album}",
    "DELETE FROM PlaylistTrack WHERE PlaylistId = {playlist} AND TrackId < 100",
)


def loaded(database: MariadbDatabase) -> None:
    script = (SAMPLES / "chinook" / "chinook_mysql.sql").read_text(encoding="utf-8")
    script = script[script.index("CREATE TABLE") :]
    connection = database.connect(client_flag=CLIENT.MULTI_STATEMENTS)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
        cursor.execute(script)
        while cursor.nextset():
            pass


def rows_of(database: MariadbDatabase) -> dict[str, Any]:
    with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        tables = [row[0] for row in cursor.fetchall()]
        found = {}
        for table in tables:
            cursor.execute(f"SELECT * FROM `{table}`")
            found[table] = sorted(cursor.fetchall(), key=repr)
        return found


def test_a_day_at_the_shop(mariadb_database: MariadbDatabase, tmp_path: Path) -> None:
    """Each of 120 random statements by one of two is in the answers about that one alone, and
    what Bob did is undone without touching what Alice did to other rows."""
    loaded(mariadb_database)
    site = Site(mariadb_database, tmp_path, TABLES)
    assert "15607 rows of 11 tables" in " ".join(site.run("install").split())
    rng = random.Random(20261130)
    engine = create_engine(site.database.url("app").replace("mysql:", "mysql+pymysql:"))
    with site.trail() as trail:
        capture(engine, trail)

        def work(actor: Actor, odd: int, count: int) -> None:
            for _ in range(count):
                values = {
                    "customer": rng.randrange(59 // 2) * 2 + 1 + odd,
                    "invoice": rng.randrange(200) * 2 + 1 + odd,
                    "line": rng.randrange(1_000) * 2 + 1 + odd,
                    "new": rng.randrange(100, 200) * 2 + odd,
                    "album": rng.randrange(150) * 2 + 1 + odd,
                    "playlist": 5 if odd else 8,
                }
                with acting_as(actor), engine.begin() as connection:
                    connection.execute(text(rng.choice(DAY).format(**values)))

        work(ALICE, 0, 60)
        before = rows_of(mariadb_database)
        work(BOB, 1, 60)
        with acting_as(BOB), engine.connect() as connection:
            connection.execute(text("SELECT * FROM Customer WHERE CustomerId = 7")).all()
        trail.flush()
        assert rows_of(mariadb_database) != before

        by_bob = list(trail.changes(by=BOB))
        assert by_bob
        assert all(each.event.actor == BOB for each in by_bob)
        touched = {subject.id for each in by_bob for subject in each.event.subjects if subject.id}
        assert touched
        customers = [each for each in by_bob if each.event.targets[0].kind == "customer"]
        assert all(int(str(each.event.targets[0].ids[0][0])) % 2 == 0 for each in customers)
        (mine,) = [
            each for each in trail.accessors(of=Subject("customer", "7")) if each.actor == BOB
        ]
        assert mine.certain
        assert mine.reads >= 1

        with acting_as(EVE):
            done = trail.plan_reversal(by=BOB).apply()
        assert done.conflicts == (), str(done)
        assert rows_of(mariadb_database) == before
        trail.verify()
    engine.dispose()
