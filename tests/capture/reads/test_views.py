"""Views, whose definitions stand in a text in place of their names: who may change what they mean,
and when."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from indelible.capture.sqlite3 import connect

from .host import MemoryHost, ids_by_kind, targets

READ = "SELECT FirstName FROM canadian ORDER BY 1"
CANADIANS = {(3,), (14,), (15,), (29,), (30,), (31,), (32,), (33,)}
CHILEAN = "CREATE VIEW canadian AS SELECT CustomerId, FirstName FROM Customer WHERE Country='Chile'"


def replace_view(path: Path, definition: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript(f"BEGIN; DROP VIEW canadian; {definition}; COMMIT")


def test_a_view_that_somebody_else_replaced_counts_at_once(
    database: Path, host: MemoryHost
) -> None:
    """The result is that of the view as it is when the statement runs, and so are the rows."""
    connection = connect(database, trail=host)
    connection.execute(READ).fetchall()
    host.take()

    replace_view(database, CHILEAN)

    assert connection.execute(READ).fetchall() == [("Luis",)]
    assert ids_by_kind(host.take()) == {"customer": {(57,)}}
    connection.close()


def test_a_view_of_a_snapshot_is_that_of_the_snapshot(database: Path, host: MemoryHost) -> None:
    """In a transaction that began before, the old definition counts, until it is over."""
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA journal_mode = WAL")
    connection = connect(database, trail=host, isolation_level=None)
    connection.execute("BEGIN")
    before = connection.execute(READ).fetchall()
    host.take()

    replace_view(database, CHILEAN)

    assert connection.execute(READ).fetchall() == before
    assert ids_by_kind(host.take()) == {"customer": CANADIANS}
    connection.execute("COMMIT")
    assert connection.execute(READ).fetchall() == [("Luis",)]
    assert ids_by_kind(host.take()) == {"customer": {(57,)}}
    connection.close()


def test_a_view_changes_and_is_rolled_back(database: Path, host: MemoryHost) -> None:
    """A view means what it means inside of the transaction that changes it."""
    connection = connect(database, trail=host, isolation_level=None)
    before = connection.execute(READ).fetchall()
    connection.execute("BEGIN")
    connection.execute("DROP VIEW canadian")
    connection.execute(CHILEAN)
    host.take()

    assert connection.execute(READ).fetchall() == [("Luis",)]
    assert ids_by_kind(host.take()) == {"customer": {(57,)}}
    connection.execute("ROLLBACK")
    assert connection.execute(READ).fetchall() == before
    assert ids_by_kind(host.take()) == {"customer": CANADIANS}
    connection.close()


def test_views_that_change_all_the_time(database: Path, host: MemoryHost) -> None:
    """While another connection replaces a view as fast as it can, no result mixes both, and the
    rows recorded are those handed out."""
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        canadian = other.execute("SELECT sql FROM sqlite_schema WHERE name='canadian'").fetchone()
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            replace_view(database, CHILEAN)
            replace_view(database, canadian[0])

    thread = threading.Thread(target=change)
    connection = connect(database, trail=host)
    thread.start()
    exact: Counter[int] = Counter()
    try:
        while min(exact[1], exact[8]) < 20 and exact.total() < 5_000:
            rows = connection.execute(READ).fetchall()
            for target in targets(host.take()):  # none where the schema didn't hold still for us
                assert target.coverage == "exact"
                assert set(target.ids) == ({(57,)} if len(rows) == 1 else CANADIANS)
                exact[len(rows)] += 1
    finally:
        stop.set()
        thread.join()
        connection.close()
    assert set(exact) == {1, 8}


def test_rows_that_are_still_to_be_fetched_are_of_the_view_as_it_was(
    database: Path, host: MemoryHost
) -> None:
    """A cursor half-way through goes on over the definition that it began with."""
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA journal_mode = WAL")
    connection = connect(database, trail=host)
    cursor = connection.execute(READ)
    first = cursor.fetchone()
    replace_view(database, CHILEAN)

    assert len({first, *cursor.fetchall()}) == 8
    assert ids_by_kind(host.take()) == {"customer": CANADIANS}
    connection.close()


@pytest.mark.parametrize(
    "hiding",
    [
        "CREATE TEMP TABLE Customer (CustomerId, FirstName, Country)",
        "CREATE TEMP VIEW Customer AS SELECT 7 CustomerId, 'x' FirstName, 'Canada' Country",
        "CREATE TEMP VIEW canadian AS SELECT 'x' AS FirstName",
        "ATTACH ':memory:' AS main2",
    ],
)
def test_temporary_names_change_nothing(database: Path, host: MemoryHost, hiding: str) -> None:
    """What a name means in a view isn't what it means in a session."""
    with closing(sqlite3.connect(database)) as plain:
        plain.execute(hiding)
        expected = plain.execute(READ).fetchall()
    connection = connect(database, trail=host)
    connection.execute(READ).fetchall()
    connection.execute(hiding)
    host.take()

    assert connection.execute(READ).fetchall() == expected
    for target in targets(host.take()):
        assert target.coverage == "statement" or set(target.ids) == CANADIANS
    connection.close()


@pytest.mark.parametrize(
    "breaking",
    ["DROP VIEW canadian", "DROP TABLE Customer"],
)
def test_what_fails_without_capture_fails_with_it(
    database: Path, host: MemoryHost, breaking: str
) -> None:
    """The error of a view that is gone, or of one over a table that is, is the database's own."""

    def outcome(connection: sqlite3.Connection) -> object:
        try:
            return connection.execute(READ).fetchall()
        except sqlite3.Error as error:
            return str(error)

    connection = connect(database, trail=host)
    connection.execute(READ).fetchall()
    with closing(sqlite3.connect(database)) as other:
        other.execute(breaking)
        other.commit()
        expected = outcome(other)

    assert outcome(connection) == expected
    connection.close()


def test_a_function_in_a_view_is_called_as_often_as_without_us(
    database: Path, plain_copy: Path, host: MemoryHost
) -> None:
    """A function of the application that a view calls sees each row once."""

    def calls_of(connection: sqlite3.Connection) -> list[int]:
        calls: list[int] = []
        connection.create_function("seen", 1, lambda key: calls.append(key) or key)
        connection.execute("CREATE VIEW calling AS SELECT seen(GenreId) AS g FROM Genre")
        connection.execute("SELECT g FROM calling ORDER BY g LIMIT 3").fetchall()
        connection.close()
        return calls

    assert calls_of(connect(database, trail=host)) == calls_of(sqlite3.connect(plain_copy))
