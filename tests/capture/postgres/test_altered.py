"""A table that is altered under capture: the application's writes go on, and so does the trail."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from tests.capture.postgres.capturing import Captured
from tests.servers import Database

from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.events.values import ABSENT, CHANGED, TypedValue

TABLE = (
    "CREATE TABLE note (id integer PRIMARY KEY, body text, size integer, secret text, extra text)"
)
POLICY = "[tables.note]\nsubject = 'self'\nwithout_values = ['secret']\nmask = ['extra']\n"


def changes_of(captured: Captured, after: int = 0) -> list[dict[str, Any]]:
    events = [decode_event(seal(each.draft)) for each in captured.decoded(after).events]
    assert {event.kind for event in events} <= {"change"}
    return [dict(event.changes or {}) for event in events]


def seal(draft: bytes) -> bytes:
    header = b'{"v":1,"id":"a.1.1","time":"2026-01-01T00:00:00.000000Z",'
    return header + b'"producer":{"id":"a","epoch":1,"seq":1},' + draft[1:]


@pytest.mark.parametrize("is_inherited", [False, True], ids=["statements", "rows"])
def test_columns_that_go_leave_the_application_alone(
    database: Database, is_inherited: bool
) -> None:
    """Dropped and renamed: what is left is recorded, and what is gone is said to be."""
    database.execute(TABLE)
    if is_inherited:
        database.execute("CREATE TABLE note_of_old () INHERITS (note)")
    captured = Captured(database, POLICY)
    database.execute(
        "INSERT INTO note VALUES (1, 'a', 1, 's', 'e'), (2, 'b', 2, 's', 'e')",
        "ALTER TABLE note DROP COLUMN size",
        "ALTER TABLE note RENAME COLUMN secret TO hidden",
        "INSERT INTO note VALUES (3, 'c', 's', 'e')",
        "UPDATE note SET body = body || '!' WHERE id < 3",
        "DELETE FROM note WHERE id = 2",
        "TRUNCATE note",
    )
    first, second, third, *updated, deleted, one, three = changes_of(captured)
    assert [first["size"], second["size"]] == [(ABSENT, 1), (ABSENT, 2)]
    assert third["body"] == (ABSENT, "c")
    assert third["size"] == (ABSENT, ABSENT)
    assert updated == [
        {"body": ("a", "a!"), "secret": (CHANGED, CHANGED)},
        {"body": ("b", "b!"), "secret": (CHANGED, CHANGED)},
    ]
    assert deleted["id"] == (2, ABSENT)
    assert {one["id"], three["id"]} == {(1, ABSENT), (3, ABSENT)}


def test_install_sees_the_new_columns(database: Database) -> None:
    database.execute(TABLE)
    captured = Captured(database, POLICY)
    database.execute("ALTER TABLE note DROP COLUMN size", "ALTER TABLE note ADD COLUMN pages int")
    report = captured.install()
    assert [str(drift) for drift in report.drifts] == ["note: altered"]
    database.execute("INSERT INTO note VALUES (1, 'a', 's', 'e', 7)")
    (change,) = changes_of(captured)
    assert change["pages"] == (ABSENT, 7)
    assert "size" not in change


def test_another_type_and_another_name_of_the_table(database: Database) -> None:
    """A text where an integer was, in a table by another name."""
    database.execute(TABLE)
    captured = Captured(database, POLICY)
    database.execute(
        "ALTER TABLE note ALTER COLUMN size TYPE text USING 'no number'",
        "INSERT INTO note VALUES (1, 'a', 'many', 's', 'e')",
        "ALTER TABLE note RENAME TO remark",
        "UPDATE remark SET size = 'more'",
        "DELETE FROM remark",
    )
    inserted, updated, deleted = changes_of(captured)
    assert inserted["size"] == (ABSENT, TypedValue("pg:text", "many"))
    assert updated["size"] == (TypedValue("pg:text", "many"), TypedValue("pg:text", "more"))
    assert deleted["id"] == (1, ABSENT)


def test_a_subject_path_that_breaks(database: Database) -> None:
    """The parent that whose data it is leads over was renamed, and its key dropped: unknown."""
    database.execute(
        "CREATE TABLE person (id integer PRIMARY KEY, name text)",
        "CREATE TABLE bill (id integer PRIMARY KEY, person_id integer REFERENCES person)",
        "CREATE TABLE line (id integer PRIMARY KEY, bill_id integer REFERENCES bill)",
    )
    captured = Captured(
        database,
        "[tables.person]\nsubject = 'self'\n"
        "[tables.bill]\nsubject = 'person_id -> person'\n"
        "[tables.line]\nsubject = 'bill_id -> bill.person_id -> person'\n",
    )
    database.execute(
        "INSERT INTO person VALUES (1, 'Zara')",
        "INSERT INTO bill VALUES (1, 1)",
        "ALTER TABLE bill RENAME COLUMN person_id TO whose",
        "INSERT INTO line VALUES (1, 1)",
        "INSERT INTO bill VALUES (2, 1)",
    )
    events: list[Event] = [decode_event(seal(each.draft)) for each in captured.decoded().events]
    assert [[str(subject) for subject in event.subjects] for event in events] == [
        ["person:1"],
        ["person:1"],
        ["person:(unknown)"],
        ["person:(unknown)"],
    ]


def test_a_savepoint_that_fails_is_no_worse_than_before(database: Database) -> None:
    """Looking may fail inside of a transaction, and leaves it as it was."""
    database.execute(TABLE)
    captured = Captured(database, POLICY)
    with contextlib.closing(database.connect("owner")) as connection:
        connection.execute("ALTER TABLE note DROP COLUMN body")
        with connection.transaction():
            connection.execute("INSERT INTO note VALUES (1, 2, 's', 'e')")
            connection.execute("SAVEPOINT a")
            connection.execute("INSERT INTO note VALUES (2, 3, 's', 'e')")
            connection.execute("ROLLBACK TO a")
            connection.execute("UPDATE note SET size = 9")
    inserted, updated = changes_of(captured)
    assert inserted["body"] == (ABSENT, ABSENT)
    assert updated["size"] == (2, 9)
