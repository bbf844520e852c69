"""What can't be compared is said; what a restored backup took back is no finding."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from indelible import Trail
from indelible.capture.sqlite_install import suspend
from indelible.errors import ConfigurationError, DeliveryError
from indelible.events.codec import encode_draft
from indelible.events.model import Event, TargetRows

from .site import Site

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, card TEXT, notes TEXT);
INSERT INTO customer VALUES (1, 'Zara', '4711', 'n'), (2, 'Yan', '4712', 'm');
CREATE TABLE bare (v);
INSERT INTO bare VALUES ('x'), (CAST(x'ff41' AS TEXT)), (x'00ff'), (0.1), (NULL);
INSERT INTO bare VALUES (9007199254740993);
CREATE TABLE cache (id INTEGER PRIMARY KEY, v);
CREATE VIRTUAL TABLE search USING fts5(body);
"""
POLICY = """
[tables.customer]
mask = ["card"]
without_values = ["notes"]
[tables.cache]
writes = false
"""


def test_columns_that_policy_withholds(tmp_path: Path) -> None:
    """Masked columns and those without values can't be compared: said, and never shown."""
    site = Site(tmp_path, SCHEMA, POLICY)
    site.unseen("UPDATE customer SET card = 'stolen', notes = 'secret' WHERE id = 1")
    site.unseen("DELETE FROM customer WHERE id = 2; INSERT INTO cache VALUES (1, 1)")

    found = site.reconcile()
    site.stop()

    (difference,) = found.differences
    assert (difference.id, difference.what) == ((2,), "missing")
    assert set(difference.columns) == {"id", "name"}
    customer = found.reports["customer"]
    assert customer.compared == ("id", "name")
    assert customer.notes == ("masked, never captured: card", "captured without values: notes")
    assert found.reports["cache"].not_compared == "writes = false in the policy"
    assert "virtual table" in (found.reports["search"].not_compared or "")
    assert found.summary.not_compared == 7  # the virtual table's own tables, too


def test_keys_only(tmp_path: Path) -> None:
    """With `baseline = "keys"` rows that came or went are found, and values changed since."""
    site = Site(tmp_path, SCHEMA, '[tables.default]\nbaseline = "keys"\n')
    site.run("UPDATE customer SET name = 'Yasmin' WHERE id = 2")
    site.unseen("UPDATE customer SET name = 'nobody knows'; INSERT INTO customer (id) VALUES (3)")

    found = site.reconcile("customer")
    site.stop()

    assert found.names == [("customer:2", "differs"), ("customer:3", "extra")]
    assert "name: the trail has no value of 1 of 3 rows" in found.reports["customer"].notes
    assert "card: the trail has no value of 2 of 3 rows" in found.reports["customer"].notes


def test_a_table_without_a_key(tmp_path: Path) -> None:
    """Rows named by rowid are compared, every type of value; a VACUUM may have renumbered them, so
    that nothing about them is certain."""
    site = Site(tmp_path, SCHEMA)
    site.run("INSERT INTO bare VALUES ('seen')", "UPDATE bare SET v = 0.3 WHERE v = 0.1")
    assert site.reconcile("bare").said == []
    site.unseen("UPDATE bare SET v = 'unseen' WHERE v = 'x'")

    found = site.reconcile("bare")
    site.stop()

    (difference,) = found.differences
    assert (difference.id, difference.columns) == ((1,), {"v": ("x", "unseen")})
    assert not difference.certain
    assert "VACUUM" in (difference.why or "")


def test_columns_and_tables_that_came_and_went(tmp_path: Path) -> None:
    """What was altered since is said; the rest of the table is compared."""
    site = Site(tmp_path, SCHEMA)
    site.trail.flush()
    site.unseen("UPDATE customer SET name = 'unseen' WHERE id = 1")
    site.direct(
        "ALTER TABLE customer ADD COLUMN more INTEGER DEFAULT 5; DROP TABLE cache;"
        "CREATE TABLE fresh (id INTEGER PRIMARY KEY); INSERT INTO fresh VALUES (1)"
    )

    found = site.reconcile()
    assert found.said == [("customer:1", "differs", {"name": ("Zara", "unseen")})]
    assert found.reports["customer"].notes == (
        "its triggers aren't as they should be: altered",
        "more: the trail has no value of 2 of 2 rows",
    )
    assert found.reports["fresh"].not_compared == "not captured: run `indelible install`"
    assert found.reports["cache"].not_compared == "dropped since it was captured"

    # A baseline is written when the application starts: then they are compared.
    site.stop()
    site.start()
    found = site.reconcile()
    site.stop()
    assert found.reports["fresh"].rows == 1
    assert found.reports["customer"].compared[-1] == "more"


def test_the_database_cant_hide_a_table(tmp_path: Path) -> None:
    """Where the database says that a table isn't captured but the trail has rows of it, the trail
    is believed."""
    site = Site(tmp_path, SCHEMA)
    site.trail.flush()
    site.unseen("UPDATE customer SET name = 'unseen' WHERE id = 1")
    site.direct("DELETE FROM indelible_meta WHERE key = 'table:customer'")

    found = site.reconcile("customer")
    site.stop()

    assert found.names == [("customer:1", "differs")]
    assert "but the trail has rows of it" in found.reports["customer"].notes[0]


def test_two_tables_of_one_kind(tmp_path: Path) -> None:
    """Rows that the trail doesn't tell apart aren't compared."""
    site = Site(tmp_path, SCHEMA, '[tables.bare]\nkind = "customer"\n')

    found = site.reconcile("customer")
    site.stop()

    assert "another table has its kind" in (found.reports["customer"].not_compared or "")


def test_a_kind_that_was_renamed(tmp_path: Path) -> None:
    """Rows that the trail knows by another kind aren't taken for new ones."""
    site = Site(tmp_path, SCHEMA)
    site.stop()
    text = site.configuration.read_text()
    site.configuration.write_text(f'{text}[tables.customer]\nkind = "client"\n')
    site.trail = Trail.open(site.configuration)  # and nobody installs

    found = site.reconcile("customer")
    site.trail.close()

    assert found.said == []
    assert "another kind" in (found.reports["customer"].not_compared or "")


def test_changes_that_werent_seen_by_row(tmp_path: Path) -> None:
    """Where an entry says that it can't tell the rows, nothing about the table is certain."""
    site = Site(tmp_path, SCHEMA)
    rows = TargetRows("customer", coverage="statement", why="only its text was seen")
    event = Event(action="customer.update", kind="change", targets=(rows,))
    site.trail.journal.append(encode_draft(event))
    site.unseen("UPDATE customer SET name = 'unseen' WHERE id = 1")

    found = site.reconcile("customer")
    site.stop()

    (difference,) = found.differences
    assert not difference.certain
    assert difference.why == "not all changes of the table were seen by row"
    assert "changes that weren't seen by row: 1" in found.reports["customer"].notes


def test_long_values(tmp_path: Path) -> None:
    """Rows of megabytes are compared a few at a time."""
    site = Site(tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
    site.run("INSERT INTO t VALUES (1, zeroblob(40000)), (2, randomblob(3000000))")
    site.unseen("UPDATE t SET v = zeroblob(5000000) WHERE id = 1; INSERT INTO t VALUES (3, 'x')")

    assert site.reconcile().names == [("t:1", "differs"), ("t:3", "extra")]
    site.stop()


def test_a_migration_while_capture_is_suspended(tmp_path: Path) -> None:
    """What a migration changed while the triggers were away is named, once."""
    site = Site(tmp_path, SCHEMA)
    site.trail.flush()
    suspend(site.database, journal=site.trail.journal)
    site.direct("UPDATE customer SET name = upper(name); ALTER TABLE customer DROP COLUMN card")
    site.stop()
    site.start()

    assert site.reconcile("customer").names == [
        ("customer:1", "overwritten"),
        ("customer:2", "overwritten"),
    ]
    assert site.reconcile("customer").said == []
    site.stop()


def test_a_name_that_isnt_there(tmp_path: Path) -> None:
    """A table that the database hasn't, and a database that isn't there, are errors."""
    site = Site(tmp_path, SCHEMA)
    with pytest.raises(ConfigurationError, match="got nobody; it has bare, cache, customer"):
        site.reconcile("nobody")
    site.stop()
    site.database.rename(tmp_path / "moved.db")
    trail = Trail.open(site.configuration)
    with pytest.raises(DeliveryError, match="none there"):
        list(trail.reconcile())
    trail.close(timeout_s=0.1)


def test_after_a_restored_backup(tmp_path: Path) -> None:
    """What the backup took back is no finding; what was changed unseen since is one."""
    site = Site(tmp_path, SCHEMA)
    site.run("INSERT INTO customer VALUES (3, 'Xaver', '', '')")
    site.stop()
    copy = shutil.copy(site.database, tmp_path / "backup.db")
    site.start()
    site.run("UPDATE customer SET name = 'lost' WHERE id = 1", "DELETE FROM customer WHERE id = 2")
    site.run("INSERT INTO customer VALUES (4, 'Wim', '', '')")
    site.stop()
    for suffix in ("-wal", "-shm"):
        Path(f"{site.database}{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, site.database)
    site.start()
    settle(site)
    site.run("UPDATE customer SET name = 'since' WHERE id = 3")

    assert site.reconcile().said == []
    site.unseen("UPDATE customer SET name = 'unseen' WHERE id = 2")
    assert site.reconcile().said == [("customer:2", "differs", {"name": ("Yan", "unseen")})]
    site.stop()


def test_before_a_restored_backup_is_written_down(tmp_path: Path) -> None:
    """Until the trail has what a restored database held, nothing of it can be compared."""
    site = Site(tmp_path, SCHEMA)
    site.trail.flush()
    with contextlib.closing(sqlite3.connect(site.database)) as connection:
        (meta,) = connection.execute(
            "SELECT json_group_object(key, value) FROM indelible_meta"
        ).fetchone()
    known = json.loads(meta)
    epoch = str(int(known["epoch"]) + 1)
    site.trail.notice(
        "incarnation.opened", "restored", incarnation=known["incarnation"], epoch=epoch, after="0"
    )

    found = site.reconcile("customer")
    site.stop()

    assert found.said == []
    assert "restored from a backup" in (found.reports["customer"].not_compared or "")


def settle(site: Site) -> None:
    """The baseline that is due is in the trail."""
    deadline = time.monotonic() + 30
    site.trail.flush()
    while not list(site.trail.events(action="table.restored", system=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while site.trail.is_reading_restored:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    site.trail.flush()


def test_a_table_that_is_empty_from_the_beginning(tmp_path: Path) -> None:
    """There is no baseline of an empty table: rows that come unseen are found all the same."""
    site = Site(tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    site.run("INSERT INTO t VALUES (1, 'seen')")
    site.unseen("INSERT INTO t VALUES (2, 'unseen')")

    assert site.reconcile().names == [("t:2", "extra")]
    site.stop()


def test_the_scratch_file_is_gone_with_the_process(tmp_path: Path) -> None:
    """What is kept meanwhile has no name in any directory, so nothing stays of it."""
    site = Site(tmp_path, SCHEMA)
    before = files(tmp_path)
    found = site.trail.reconcile()
    next(iter(found))
    assert files(tmp_path) == before
    found.close()  # type: ignore[attr-defined]
    # Given up in the middle, it says nothing; begun again, it ends.
    assert not list(site.trail.events(action="reconcile.finished", system=True))
    assert site.reconcile().summary.rows == 8
    site.stop()


def files(directory: Path) -> list[str]:
    """All but what SQLite keeps beside a database that is open."""
    names = sorted(path.name for path in directory.rglob("*"))
    return [name for name in names if not name.endswith(("-wal", "-shm"))]


def test_an_event_that_was_set_aside(tmp_path: Path) -> None:
    """Deliveries that were no events are said, and rows that they were about are found."""
    site = Site(tmp_path, SCHEMA)
    site.trail.flush()
    with contextlib.closing(sqlite3.connect(site.database)) as connection:
        connection.execute("UPDATE customer SET name = 'broken' WHERE id = 1")
        connection.execute(
            "UPDATE indelible_outbox SET layout = 77 WHERE id = "
            "(SELECT max(id) FROM indelible_outbox)"
        )
        connection.commit()

    found = site.reconcile("customer")
    site.stop()

    assert found.said == [("customer:1", "differs", {"name": ("Zara", "broken")})]
    assert "outbox rows that couldn't be read: 1" in found.summary.notes
