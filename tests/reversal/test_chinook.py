"""A day of one employee's work on the sample shop, taken back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from indelible.events.context import acting_as, current_frame
from indelible.events.model import Actor
from indelible.reversal.steps import Plan
from indelible.reversal.writer import apply_reversal

from .recorder import Recorder

SAMPLES = Path(
    os.environ.get("INDELIBLE_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "data")
)
BOB, CAROL = Actor("staff", "bob"), Actor("staff", "carol")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    path = tmp_path / "chinook.sqlite"
    shutil.copyfile(SAMPLES / "chinook" / "chinook.sqlite", path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield Recorder(connection)


def reverse(recorder: Recorder, actor: Actor) -> Plan:
    with acting_as(Actor("staff", "auditor")):
        return apply_reversal(
            recorder.connection,
            lambda connection: recorder.of(actor),
            kind_of=str.lower,
            context_of=lambda connection: recorder,
            frame=current_frame(),
        )


def dump(recorder: Recorder) -> list[str]:
    with closing(sqlite3.connect(":memory:")) as copy:
        recorder.connection.backup(copy)
        return sorted(copy.iterdump())


def work(recorder: Recorder) -> None:
    """Prices raised, a customer with invoices removed, an album with its tracks replaced."""
    with recorder.acting(BOB) as shop:
        shop.execute("UPDATE Track SET UnitPrice = UnitPrice * 2 WHERE AlbumId < 40")
        shop.execute(
            "DELETE FROM InvoiceLine WHERE InvoiceId IN "
            "(SELECT InvoiceId FROM Invoice WHERE CustomerId = 2)"
        )
        shop.execute("DELETE FROM Invoice WHERE CustomerId = 2")
        shop.execute("DELETE FROM Customer WHERE CustomerId = 2")
        shop.execute("UPDATE Employee SET ReportsTo = 1 WHERE ReportsTo IS NOT NULL")
        shop.execute("DELETE FROM PlaylistTrack WHERE TrackId < 50")
        shop.execute("INSERT INTO Album (AlbumId, Title, ArtistId) VALUES (9000, 'New', 1)")
        shop.execute("UPDATE Track SET AlbumId = 9000 WHERE AlbumId = 1")
        shop.execute("UPDATE Customer SET Company = upper(Company), Fax = NULL")


def test_a_day_is_taken_back_whole(recorder: Recorder) -> None:
    """Thousands of rows in tables that refer to each other are as they were, to the byte."""
    before = dump(recorder)
    work(recorder)
    plan = reverse(recorder, BOB)
    assert not plan.conflicts
    assert len(plan.restorable) > 400
    assert dump(recorder) == before


def test_colleagues_keep_what_they_did_since(recorder: Recorder) -> None:
    """What others built on it stays, and every row of it is named with who and why."""
    work(recorder)
    with recorder.acting(CAROL) as shop:
        shop.execute("UPDATE Customer SET Fax = 'none' WHERE CustomerId = 5")
        shop.execute("INSERT INTO Album (AlbumId, Title, ArtistId) VALUES (9001, 'Other', 1)")
        shop.execute("UPDATE Track SET AlbumId = 9000 WHERE TrackId = 15")
    plan = reverse(recorder, BOB)
    assert {step.target_text for step in plan.conflicts} == {"customer:5", "album:9000"}
    assert "track:15 refers to it" in str(plan)
    fax = "SELECT Fax FROM Customer WHERE CustomerId = 5"
    assert recorder.connection.execute(fax).fetchone() == ("none",)
    assert not reverse(recorder, BOB).restorable
