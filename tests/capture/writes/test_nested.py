"""Writes inside writes to the same table: trees with foreign keys, triggers on their own table."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from tests.capture.writes.capturing import Captured, MemoryHost, policy_of
from tests.capture.writes.folding import event_of, fold, live

TREE = """
CREATE TABLE node (
  id INTEGER PRIMARY KEY, name TEXT UNIQUE, secret TEXT,
  parent REFERENCES node ON DELETE CASCADE ON UPDATE CASCADE
);
INSERT INTO node VALUES (1, 'root', 's', NULL), (2, 'left', 's', 1), (3, 'right', 's', 1),
                        (4, 'leaf', 's', 2);
PRAGMA foreign_keys = ON;
"""


@pytest.fixture
def connection() -> Any:
    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        connection.executescript(TREE)
        yield connection
    connection.close()


def changes(captured: Captured) -> list[tuple[str, Any, Any]]:
    """(action, id before, id after) of each change."""
    found = []
    for decoded in captured.decoded().events:
        event = event_of(decoded.draft)
        (target,) = event.targets
        before = target.ids_before[0] if target.ids_before else None
        found.append((event.action, before, target.ids[0]))
    return found


def test_a_subtree_that_goes_with_its_root(connection: sqlite3.Connection) -> None:
    """Deleting a node records each node below it once, and no other."""
    captured = Captured(connection)
    connection.execute("DELETE FROM node WHERE id = 2")
    assert sorted(changes(captured)) == [("node.delete", None, (2,)), ("node.delete", None, (4,))]
    assert fold(captured.drafts()) == live(captured.reader)


def test_a_key_that_its_children_follow(connection: sqlite3.Connection) -> None:
    """A changed key is one change, and each child's reference another."""
    captured = Captured(connection)
    connection.execute("UPDATE node SET id = 9 WHERE id = 1")
    assert sorted(changes(captured), key=str) == [
        ("node.update", (1,), (9,)),
        ("node.update", None, (2,)),
        ("node.update", None, (3,)),
    ]
    assert fold(captured.drafts()) == live(captured.reader)


def test_a_node_that_replaces_another(connection: sqlite3.Connection) -> None:
    """REPLACE records the row that it deleted, what went with that, and the new row."""
    captured = Captured(connection)
    connection.execute("INSERT OR REPLACE INTO node VALUES (7, 'left', 's', 1)")
    assert sorted(changes(captured)) == [
        ("node.delete", None, (2,)),
        ("node.delete", None, (4,)),
        ("node.insert", None, (7,)),
    ]
    assert fold(captured.drafts()) == live(captured.reader)


def test_an_update_that_changes_nothing(connection: sqlite3.Connection) -> None:
    """It is a change without columns, as on any other table."""
    captured = Captured(connection)
    connection.execute("UPDATE node SET name = name WHERE id = 3")
    (decoded,) = captured.decoded().events
    assert event_of(decoded.draft).changes == {}


def test_a_column_of_which_no_value_is_kept(connection: sqlite3.Connection) -> None:
    """That it changed is recorded, and only where it did."""
    policy = policy_of('[tables.node]\nwithout_values = ["secret"]')
    captured = Captured(connection, MemoryHost(policy))
    connection.execute("UPDATE node SET secret = 't' WHERE id = 3")
    connection.execute("UPDATE node SET secret = 't', name = 'r' WHERE id = 3")
    first, second = (event_of(one.draft).changes for one in captured.decoded().events)
    assert [*first] == ["secret"]
    assert [*second] == ["name"]
    assert b'"s"' not in b"".join(one.draft for one in captured.decoded().events)


def test_rows_that_statements_ignore_leave_little_behind(connection: sqlite3.Connection) -> None:
    """No trigger fires when a write is ignored; what was noted for it doesn't pile up."""
    captured = Captured(connection)
    rows = [(n, f"n{n % 400}", "s", 1) for n in range(10, 3_010)]
    connection.executemany("INSERT OR IGNORE INTO node VALUES (?, ?, ?, ?)", rows)
    (left,) = captured.reader.execute("SELECT count(*) FROM indelible_notes").fetchone()
    assert left < 1_000
    assert fold(captured.drafts()) == live(captured.reader)
