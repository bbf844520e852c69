"""A column that policy masks, and one kept without values: in no byte of ours, all day long."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from indelible import Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.events.values import CHANGED

from .answers import key_of
from .chinook import make_database
from .conftest import Day
from .sites import POLICY
from .withheld import SECRET_BODY, SECRET_FAX
from .working_day import ACTORS, ALICE

KNOWN_FAX = b"+55 (12) 3923-5566"
"""In the sample from the start, so the baseline met it."""
KNOWN_PHONE = b"+55 (12) 3923-5555"
"""Beside it, and not withheld."""
SECRETS = (SECRET_FAX.encode(), SECRET_BODY.encode(), KNOWN_FAX)


def stored_bytes(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of ours as it is, bodies as they are when unpacked, and every row of the outbox.

    The application's own database holds the values rightly, so of that one only our tables.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.name.startswith("app.db"):
            yield path.name, path.read_bytes()
    with contextlib.closing(sqlite3.connect(directory / "app.db")) as connection:
        connection.text_factory = bytes
        for table in ("indelible_outbox", "indelible_notes", "indelible_meta"):
            for row in connection.execute(f"SELECT * FROM {table}"):
                yield table, b"|".join(cell for cell in row if type(cell) is bytes)
    with Trail.open(directory / "indelible.toml", relay=False) as trail:
        for entry in trail.reader.entries(0, int(trail.reader.size) - 1):
            yield f"entry {entry.index}", entry.body


def holding(directory: Path, value: bytes) -> list[str]:
    return [name for name, stored in stored_bytes(directory) if value in stored]


def test_withheld_values_are_in_no_stored_byte(day: Day, tmp_path: Path) -> None:
    """Written, read, searched for and deleted, they are in no file, outbox row or entry."""
    directory = day.copy(tmp_path)

    application = b"".join(path.read_bytes() for path in directory.glob("app.db*"))
    for secret in SECRETS:
        assert secret in application
        assert holding(directory, secret) == []
    assert holding(directory, KNOWN_PHONE)


def test_withheld_values_are_not_on_their_way_either(tmp_path: Path) -> None:
    """Before anything is carried they are in no journal and in no byte of the outbox."""
    make_database(tmp_path / "app.db")
    (tmp_path / "indelible.toml").write_text(POLICY)
    Trail.create(tmp_path / "indelible.toml").close()
    with Trail.open(tmp_path / "indelible.toml", relay=False) as trail, acting_as(ALICE):
        engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
        capture(engine, trail)
        with engine.begin() as connection:
            for sql in (
                f"UPDATE Customer SET Fax = '{SECRET_FAX}', Phone = 'open 1' WHERE CustomerId = 1",
                f"INSERT INTO CaseNote VALUES (1, 7, '{SECRET_BODY}')",
                "DELETE FROM CaseNote WHERE NoteNo = 7",
                "REPLACE INTO Customer (CustomerId, FirstName, LastName, Email, Fax)"
                f" VALUES (1, 'a', 'b', 'open 2', '{SECRET_FAX}')",
                f"SELECT * FROM Customer WHERE Fax = '{SECRET_FAX}'",
            ):
                connection.execute(text(sql)).close()
            found = connection.execute(
                text("SELECT FirstName FROM Customer WHERE Fax = :fax"), {"fax": SECRET_FAX}
            )
            assert found.all() == [("a",)]
        engine.dispose()

    for secret in SECRETS:
        assert holding(tmp_path, secret) == []
    assert any("journal" in name for name in holding(tmp_path, KNOWN_PHONE))
    assert holding(tmp_path, b"open 1") and holding(tmp_path, b"open 2")


@pytest.mark.parametrize("actor", ACTORS, ids=str)
def test_that_a_value_changed_is_told_and_a_masked_one_is_not(day: Day, actor: object) -> None:
    """An update names `Body` where it changed, without values, and never `Fax`."""
    for step in day.oracle.steps:
        if step.actor != actor:
            continue
        told = set()
        findings = day.trail.changes(by=step.actor, since=step.began, until=step.ended)
        for event in (finding.event for finding in findings):
            if event.action == "customer.update":
                assert "Fax" not in (event.changes or {})
            if event.action == "casenote.update" and "Body" in (event.changes or {}):
                assert event.changes and event.changes["Body"] == (CHANGED, CHANGED)
                told.add(key_of(event.targets[0].ids[0]))
        assert told >= {
            change.after
            for change in step.changes
            if change.table == "CaseNote" and change.before and "Body" in change.columns
        } - {None}
