"""Rows of a recursion that hold what rows before them said are named only if all were fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.capture.sqlite3 import Connection, connect
from indelible.events.context import acting_as
from indelible.events.model import Actor

from .host import MemoryHost, targets

PATHS = (
    "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
    "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
    "SELECT path FROM tree ORDER BY path DESC"
)


def one(connection: Connection) -> None:
    cursor = connection.execute(PATHS)
    assert cursor.fetchone() == ("car/wheel/tyre",)
    cursor.close()


def one_and_no_more_in_this_request(connection: Connection) -> None:
    cursor = connection.execute(PATHS)
    with acting_as(Actor("staff", "trudy")):
        cursor = connection.execute(PATHS)
        cursor.fetchone()
    assert cursor.fetchall() == [("car/wheel",), ("car",)]


def one_by_one(connection: Connection) -> None:
    assert len(list(connection.execute(PATHS))) == 3


def at_most(connection: Connection) -> None:
    assert len(connection.execute(PATHS).fetchmany(2)) == 2


def all_at_once(connection: Connection) -> None:
    assert len(connection.execute(PATHS).fetchall()) == 3


@pytest.mark.parametrize(
    ("fetch", "is_told"),
    [
        (one, False),
        (one_and_no_more_in_this_request, False),
        (at_most, False),
        (one_by_one, True),
        (all_at_once, True),
    ],
)
def test_only_all_rows_name_theirs(
    database: Path, host: MemoryHost, fetch: Callable[[Connection], None], is_told: bool
) -> None:
    """The first row has three rows' names in it, and only one's key beside it."""
    connection = connect(database, trail=host)
    fetch(connection)
    connection.close()
    found = targets(host.take())
    assert found
    assert {(target.coverage, target.ids) for target in found} == (
        {("exact", ((3,), (2,), (1,)))} if is_told else {("statement", ())}
    )
