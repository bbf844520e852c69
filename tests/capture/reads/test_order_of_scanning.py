"""Results that hang on the order in which SQLite happens to find rows stay what they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from indelible.capture.sqlite3 import connect
from indelible.policy import parse_policy

from .host import MemoryHost

POLICY = """
[trail]
url = "sqlite:///trail.db"
[tables.work]
subject = "owner -> customer"
"""

# The index covers the statements below, but not the owner: with it SQLite reads the table instead.
SCHEMA = """
CREATE TABLE work (id INTEGER PRIMARY KEY, artist INTEGER, title TEXT, owner INTEGER);
CREATE INDEX by_title ON work (title, artist);
INSERT INTO work VALUES (1, 1, 'c', 7), (2, 1, 'b', 8), (3, 1, 'a', 9), (4, 2, 'z', 7);
INSERT INTO work VALUES (5, 2, 'y', 8);
"""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT title, count(*) FROM work GROUP BY artist",
        "SELECT artist, title, count(*) FROM work GROUP BY artist ORDER BY artist",
        "SELECT *, count(*) FROM (SELECT artist, title FROM work) GROUP BY artist",
        "SELECT group_concat(title) FROM work GROUP BY artist",
        "SELECT title FROM work LIMIT 2",
        "SELECT title, row_number() OVER (PARTITION BY artist) FROM work",
    ],
)
def test_a_row_of_a_group_is_the_one_that_it_was(tmp_path: Path, sql: str) -> None:
    """Which row of a group a bare column shows isn't changed by the hidden columns."""
    path = tmp_path / "app.db"
    plain = sqlite3.connect(path)
    plain.executescript(SCHEMA)
    expected = plain.execute(sql).fetchall()
    plain.close()
    host = MemoryHost(parse_policy(POLICY))
    connection = connect(path, trail=host)

    assert connection.execute(sql).fetchall() == expected
    assert [event.action for event in host.take()] == ["work.read"]

    connection.close()
