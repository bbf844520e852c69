"""Each attack first goes unseen by everything else, and is then named by reconciliation."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible import Target, Trail
from indelible.capture.sqlite_install import check
from indelible.events.values import ABSENT, TypedValue
from indelible.policy import load_policy

from .site import Site

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, balance INTEGER);
INSERT INTO customer VALUES (1, 'Zara', 10), (2, 'Yan', 20), (3, 'Xaver', 30);
CREATE TABLE pair (a TEXT, b INTEGER, v REAL, PRIMARY KEY (a, b)) WITHOUT ROWID;
INSERT INTO pair VALUES ('x', 1, 0.5), ('x', 2, 1.5);
"""


@pytest.fixture(params=["wal", "delete"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, SCHEMA, mode=request.param)
    yield site
    site.stop()


def real(value: float) -> TypedValue:
    return TypedValue("real", value.hex())


def column_of(trail: Trail, row: int, name: str) -> object:
    """What the trail says a customer's column is."""
    trail.flush()
    (finding,) = trail.state(Target("customer", str(row)))
    assert finding.certain
    return finding.state.columns[name]


def balance(trail: Trail, row: int) -> object:
    return column_of(trail, row, "balance")


def test_nothing_is_found_where_all_was_seen(site: Site) -> None:
    """Writes of the application, and of another client that triggers fire for, are no finding."""
    site.run(
        "UPDATE customer SET balance = 11 WHERE id = 1",
        "INSERT INTO customer VALUES (4, 'Wim', 40)",
        "DELETE FROM customer WHERE id = 2",
        "UPDATE customer SET id = 30, name = 'Ximena' WHERE id = 3",
        "UPDATE customer SET balance = 12 WHERE id = 1",
        "UPDATE pair SET b = 9 WHERE b = 2",
        "INSERT OR REPLACE INTO pair VALUES ('x', 1, 2.5)",
    )
    site.direct("UPDATE customer SET balance = 13 WHERE id = 1")

    found = site.reconcile()

    assert found.said == []
    assert found.reports["customer"].rows == 3
    assert found.reports["customer"].compared == ("id", "name", "balance")
    assert found.reports["pair"].rows == 2
    assert found.summary.differences.total == 0
    assert site.trail.notices() == () or all(
        not notice.action.startswith("reconcile") for notice in site.trail.notices()
    )


def test_triggers_dropped_and_put_back(site: Site) -> None:
    """Rows written while the triggers were away are named, with what they should be."""
    site.run("UPDATE customer SET balance = 11 WHERE id = 1")
    site.unseen(
        "UPDATE customer SET balance = 1000000 WHERE id = 1;"
        "DELETE FROM customer WHERE id = 2;"
        "INSERT INTO customer VALUES (66, 'Mallory', 1);"
        "UPDATE pair SET v = 9 WHERE b = 2"
    )
    assert check(site.database, load_policy(site.configuration)) == []
    assert balance(site.trail, 1) == 11

    found = site.reconcile()

    assert sorted(found.said) == [
        ("customer:1", "differs", {"balance": (11, 1_000_000)}),
        (
            "customer:2",
            "missing",
            {"id": (2, ABSENT), "name": ("Yan", ABSENT), "balance": (20, ABSENT)},
        ),
        (
            "customer:66",
            "extra",
            {"id": (ABSENT, 66), "name": (ABSENT, "Mallory"), "balance": (ABSENT, 1)},
        ),
        ('pair:["x",2]', "differs", found.said[-1][2]),
    ]
    assert all(difference.certain for difference in found.differences)


def test_a_schema_written_by_hand(site: Site) -> None:
    """A client that cuts the triggers out of the schema itself leaves none of them to fire."""
    connection = sqlite3.connect(site.database, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    triggers = connection.execute("SELECT * FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    connection.execute("DELETE FROM sqlite_schema WHERE type = 'trigger'")
    connection.close()
    site.direct("UPDATE customer SET name = 'Nobody' WHERE id = 3")
    connection = sqlite3.connect(site.database, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", triggers)
    connection.close()
    assert check(site.database, load_policy(site.configuration)) == []
    assert column_of(site.trail, 3, "name") == "Xaver"

    assert site.reconcile().said == [("customer:3", "differs", {"name": ("Xaver", "Nobody")})]


def test_waiting_outbox_rows_deleted(site: Site) -> None:
    """What waits in the outbox and is deleted before the relay takes it is named, with its hole."""
    site.run("UPDATE customer SET balance = 11 WHERE id = 1")
    site.trail.flush()
    site.stop()
    site.direct(
        "UPDATE customer SET balance = 99 WHERE id = 2;"
        "DELETE FROM indelible_outbox WHERE id = (SELECT max(id) FROM indelible_outbox)"
    )
    site.start()
    assert balance(site.trail, 2) == 20

    found = site.reconcile()

    assert found.said == [("customer:2", "differs", {"balance": (20, 99)})]
    assert any("never reached the trail (lost)" in note for note in found.summary.notes)


def test_an_unseen_change_that_a_seen_one_overwrote(site: Site) -> None:
    """What was changed unseen and is overwritten by now: the entry that found it so is named."""
    site.run("UPDATE customer SET balance = 11 WHERE id = 1")
    site.unseen("UPDATE customer SET balance = 1000000 WHERE id = 1")
    site.run("UPDATE customer SET balance = 0 WHERE id = 1")
    assert balance(site.trail, 1) == 0

    (difference,) = site.reconcile().differences

    assert (difference.what, difference.columns) == (
        "overwritten",
        {"balance": (11, 1_000_000)},
    )
    assert difference.index is not None
    event = next(iter(site.trail.reader.entries(difference.index, difference.index)))
    assert b'"balance":[1000000,0]' in event.body
    # It is in the trail by now, and isn't found again.
    assert site.reconcile().said == []


def test_an_unseen_row_deleted_and_one_deleted_unseen(site: Site) -> None:
    """A row that the trail never had is deleted, and one is inserted where the trail has one."""
    site.unseen("INSERT INTO customer VALUES (5, 'Vic', 5); DELETE FROM customer WHERE id = 1")
    site.run("DELETE FROM customer WHERE id = 5", "INSERT INTO customer VALUES (1, 'Zoe', 1)")

    assert site.reconcile().names == [("customer:1", "overwritten"), ("customer:5", "overwritten")]


def test_a_new_baseline_hides_nothing(site: Site) -> None:
    """`install` after the triggers were away writes down what is there: not as if it had been."""
    site.run("UPDATE customer SET balance = 11 WHERE id = 1")
    site.trail.flush()
    names = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
    connection = sqlite3.connect(site.database)
    for (name,) in connection.execute(names).fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("UPDATE customer SET balance = 7 WHERE id = 1")
    connection.execute("DELETE FROM customer WHERE id = 2")
    connection.commit()
    connection.close()
    site.stop()
    site.start()  # installs again

    assert sorted(site.reconcile().names) == [
        ("customer:1", "overwritten"),
        ("customer:2", "missing"),
    ]


def test_rows_that_came_before_a_new_baseline(site: Site) -> None:
    """A row inserted unseen, then written down by `install`, is no old one: the trail was whole
    when it was reconciled before."""
    assert site.reconcile().said == []
    site.stop()
    with contextlib.closing(sqlite3.connect(site.database)) as connection:
        names = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        for (name,) in connection.execute(names).fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("INSERT INTO customer VALUES (66, 'Mallory', 1)")
        connection.commit()
    site.start()

    assert site.reconcile().names == [("customer:66", "overwritten")]
    assert site.reconcile().said == []


def test_changed_and_changed_back(site: Site) -> None:
    """What is as the trail says is no finding, whatever it was meanwhile: nothing shows it."""
    site.unseen("UPDATE customer SET balance = 5 WHERE id = 1")
    site.unseen("UPDATE customer SET balance = 10 WHERE id = 1")

    assert site.reconcile().said == []


def test_a_detour_that_sums_up(site: Site) -> None:
    """Unseen steps between which seen ones lead in a circle end elsewhere than the trail does."""
    site.unseen("UPDATE customer SET balance = 50 WHERE id = 1")
    site.run("UPDATE customer SET balance = 60 WHERE id = 1")
    site.run("UPDATE customer SET balance = 50 WHERE id = 1")
    site.unseen("UPDATE customer SET balance = 10 WHERE id = 1")

    assert site.reconcile().said == [
        ("customer:1", "overwritten", {"balance": (10, 50)}),
        ("customer:1", "differs", {"balance": (50, 10)}),
    ]


def test_differences_are_in_the_trail(site: Site) -> None:
    """Who asks for a row's history finds that it was changed unseen; status shows it until seen."""
    site.unseen("UPDATE customer SET balance = 5 WHERE id = 1")

    site.reconcile()

    (notice,) = (n for n in site.trail.notices() if n.action == "reconcile.differs")
    assert notice.message == "customer: changed without the trail seeing it: 1 differs"
    events = list(site.trail.events(action="reconcile.*", system=True))
    assert [one.event.action for one in events] == ["reconcile.differs", "reconcile.finished"]
    assert events[0].event.targets[0].ids == ((1,),)
    assert events[0].event.targets[0].columns == ("balance",)
    assert events[1].event.details is not None
    assert events[1].event.details["differs"] == 1
