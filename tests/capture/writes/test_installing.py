"""Installing capture, doing it again after a migration, and taking it away."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from indelible.capture.sqlite_install import check, install, uninstall
from indelible.errors import CaptureError, ConfigurationError, NotInstalledError

from .capturing import Captured, MemoryHost, MemoryJournal, policy_of
from .folding import event_of, fold, live

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE);
CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer REFERENCES customer ON DELETE CASCADE, n);
CREATE TRIGGER stamp AFTER INSERT ON invoice BEGIN UPDATE invoice SET n = 1 WHERE id = NEW.id; END;
CREATE VIEW rich AS SELECT * FROM customer;
INSERT INTO customer VALUES (1, 'zara', 'z@example.org'), (2, 'yul', NULL);
INSERT INTO invoice VALUES (10, 1, 5);
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


def dump(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = ["sqlite_schema", "customer", "invoice"]
        found: list[tuple[object, ...]] = []
        for table in tables:
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            found += [
                (table, *(row[:3] + row[4:] if table == "sqlite_schema" else row)) for row in rows
            ]
    return [row for row in found if row[2] != "sqlite_sequence"]


def master(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        return rows.fetchall()


def run(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_dry_run_changes_nothing(path: Path) -> None:
    """`--dry-run` gives the SQL that would run, and the file stays byte for byte the same."""
    before = path.read_bytes()
    journal = MemoryJournal()

    report = install(path, policy_of(), journal=journal, dry_run=True)

    assert path.read_bytes() == before
    assert journal.drafts == []
    assert any('ON "customer"' in statement for statement in report.statements)


def test_what_the_dry_run_prints_is_what_install_runs(path: Path) -> None:
    """The printed SQL is the SQL."""
    journal = MemoryJournal()
    printed = install(path, policy_of(), journal=journal, dry_run=True).statements

    assert install(path, policy_of(), journal=journal).statements == printed


def test_installing_twice_does_nothing_the_second_time(path: Path) -> None:
    """A second run reports no change, runs no SQL and writes no baseline."""
    journal = MemoryJournal()
    first = install(path, policy_of(), journal=journal)
    written = len(journal.drafts)

    second = install(path, policy_of(), journal=journal)

    assert first.is_first
    assert first.baseline_rows == 3
    assert (second.statements, second.drifts, second.baseline_rows) == ((), (), 0)
    assert len(journal.drafts) == written
    assert check(path, policy_of()) == []


def test_a_migration_is_named_and_followed(path: Path) -> None:
    """After a column, a table and an application's trigger came, each table is named once."""
    journal = MemoryJournal()
    install(path, policy_of(), journal=journal)
    run(
        path,
        "ALTER TABLE customer ADD COLUMN town DEFAULT 'Basel'",
        "CREATE TABLE note (a, b)",
        "CREATE TRIGGER later AFTER INSERT ON invoice BEGIN SELECT 1; END",
    )
    expected = {
        "customer: altered",
        "note: new",
        "invoice: older than an application's trigger",
    }

    assert {str(drift) for drift in check(path, policy_of())} == expected
    report = install(path, policy_of(), journal=journal)

    assert {str(drift) for drift in report.drifts} == expected
    assert check(path, policy_of()) == []


def test_rows_that_waited_during_a_migration_are_still_read(path: Path) -> None:
    """A change from before the migration is decoded with the columns that it was written with."""
    connection = sqlite3.connect(path, isolation_level=None)
    captured = Captured(connection)
    connection.execute("INSERT INTO customer VALUES (3, 'xi', NULL)")
    captured.context.detach()
    connection.execute("ALTER TABLE customer ADD COLUMN town DEFAULT 'Basel'")
    install(connection, policy_of(), journal=captured.host.journal)
    connection.execute("INSERT INTO customer VALUES (4, 'wim', NULL, 'Bern')")

    changes = [event_of(event.draft).changes or {} for event in captured.decoded().events]

    assert [set(columns) for columns in changes] == [
        {"id", "name", "email"},
        {"id", "name", "email", "town"},
    ]
    connection.close()


def test_dropped_triggers_are_found(path: Path) -> None:
    """Whoever drops one of our triggers is seen to have done so."""
    install(path, policy_of(), journal=MemoryJournal())
    run(path, 'DROP TRIGGER "indelible_customer_after_delete"')

    assert [str(drift) for drift in check(path, policy_of())] == ["customer: triggers missing"]


def test_uninstalling_leaves_the_database_as_it_was(path: Path) -> None:
    """Schema and rows are those from before; only what the application wrote since is new."""
    before = dump(path)
    install(path, policy_of(), journal=MemoryJournal())
    assert dump(path) != before

    assert uninstall(path).discarded == 0

    assert dump(path) == before
    with pytest.raises(NotInstalledError, match="indelible install"):
        check(path, policy_of())


def test_only_an_empty_sqlite_sequence_stays(path: Path) -> None:
    """Every byte of `sqlite_master` is as before, but for a table that VACUUM takes away."""
    before = master(path)
    install(path, policy_of(), journal=MemoryJournal())
    run(path, "INSERT INTO customer VALUES (3, 'xi', NULL)")

    assert uninstall(path, force=True).leaves_sequence

    after = master(path)
    assert [row for row in after if row not in before] == [
        ("table", "sqlite_sequence", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)")
    ]
    assert [row for row in after if row in before] == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_sequence").fetchone() == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    run(path, "VACUUM")
    assert master(path) == before


def test_the_applications_own_sqlite_sequence_is_left_alone(path: Path) -> None:
    """Where the application has AUTOINCREMENT itself, nothing at all is left or lost."""
    run(
        path,
        "CREATE TABLE ticket (id INTEGER PRIMARY KEY AUTOINCREMENT, v)",
        "INSERT INTO ticket VALUES (41, 'a')",
    )
    before = master(path)
    install(path, policy_of(), journal=MemoryJournal())

    assert not uninstall(path).leaves_sequence

    assert master(path) == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("ticket", 41)]


def test_waiting_rows_are_not_thrown_away(path: Path) -> None:
    """With undelivered changes `uninstall` refuses, says how many, and changes nothing."""
    install(path, policy_of(), journal=MemoryJournal())
    run(path, "INSERT INTO customer VALUES (3, 'xi', NULL)")
    before = path.read_bytes()

    with pytest.raises(CaptureError, match="1 wait"):
        uninstall(path)

    assert path.read_bytes() == before
    assert uninstall(path, force=True).discarded == 1


def test_what_no_trigger_sees_is_named(path: Path) -> None:
    """Virtual tables, their shadow tables and tables without capture are in the report."""
    run(path, "CREATE VIRTUAL TABLE words USING fts5(body)")
    policy = policy_of("[tables.invoice]\nwrites = false")

    report = install(path, policy, journal=MemoryJournal())

    unseen = {one.name for one in report.unseen}
    assert {"words", "words_data", "invoice"} <= unseen
    assert report.tables == ("customer",)
    run(path, "INSERT INTO words VALUES ('still works')")


def test_a_policy_about_columns_that_are_not_there_is_refused(path: Path) -> None:
    """A misspelt column is an error that names it, and nothing is installed."""
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match="emial"):
        install(path, policy_of('[tables.customer]\nmask = ["emial"]'), journal=MemoryJournal())

    assert path.read_bytes() == before


def test_masked_values_reach_neither_outbox_nor_baseline(path: Path) -> None:
    """No byte of a masked column is in the outbox, the notes of triggers, or a draft."""
    secret = "s3cret-value"
    run(path, f"UPDATE customer SET email = '{secret}' WHERE id = 1")
    connection = sqlite3.connect(path, isolation_level=None)
    host = MemoryHost(policy_of('[tables.customer]\nmask = ["email"]'))
    captured = Captured(connection, host)
    connection.execute(f"REPLACE INTO customer VALUES (3, 'xi', '{secret}')")
    connection.execute("UPDATE customer SET name = 'xo' WHERE id = 3")
    connection.execute("DELETE FROM customer WHERE id = 3")

    drafts = captured.drafts()

    assert not any(secret.encode() in draft for draft in drafts)
    for table in ("indelible_outbox", "indelible_notes"):
        rows = captured.reader.execute(f"SELECT * FROM {table}").fetchall()
        assert secret not in repr(rows)
    assert drafts[-1].count(b'"masked"') == 1
    connection.close()


def test_baseline_and_changes_give_the_live_rows(path: Path) -> None:
    """Folding what was there and what changed since gives each live row, bit by bit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    captured = Captured(connection)
    for statement in (
        "INSERT OR REPLACE INTO customer VALUES (7, 'zoe', 'z@example.org')",
        "INSERT INTO invoice VALUES (11, 7, 0.1), (12, 2, x'00ff')",
        "UPDATE invoice SET n = 9e999 FROM customer AS c WHERE c.id = customer AND c.id = 7",
        "DELETE FROM customer WHERE id = 2",
    ):
        connection.execute(statement)

    assert fold(captured.drafts()) == live(captured.reader)
    connection.close()
