"""Whatever is wrong around a trail is said in words that help, and loses nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible import Actor, Subject, Target, Trail, acting_as
from indelible.capture import sqlite3 as captured_sqlite3
from indelible.capture.sqlite_install import install, suspend
from indelible.errors import (
    CaptureError,
    ConfigurationError,
    DeliveryError,
    EventTooLargeError,
    NoTrailError,
    PolicyError,
    TrailExistsError,
    TrailFormatError,
    WindowError,
)

from . import disk_filler
from . import without_rights as without_rights_
from .answers import fold_trail
from .snapshots import Snapshot, connect_plainly, read_tables, take_snapshot

ALICE = Actor("staff", "alice")
CONFIGURATION = """\
[trail]
url = "sqlite:///trail.db"

[database]
url = "sqlite:///app.db"

[tables.work]
durability = "request"
"""
SCHEMA = """
CREATE TABLE work (Id TEXT PRIMARY KEY, Times INTEGER NOT NULL, Note TEXT);
INSERT INTO work VALUES ('old', 1, 'from before');
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a database and a configuration; no trail yet."""
    run(tmp_path / "app.db", SCHEMA)
    (tmp_path / "indelible.toml").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture
def trail(site: Path) -> Iterator[Trail]:
    """The site's trail, open, its database captured."""
    with Trail.create(site / "indelible.toml") as trail:
        connect(site, trail).close()
        yield trail


@pytest.fixture
def closed(site: Path) -> Path:
    """The site with a trail that no process has open, its database captured."""
    with Trail.create(site / "indelible.toml") as trail:
        connect(site, trail).close()
    return site


@contextlib.contextmanager
def opened(site: Path) -> Iterator[Trail]:
    """As the application's next process opens it."""
    with Trail.open(site / "indelible.toml") as trail:
        yield trail


def run(database: Path, script: str) -> None:
    """As another client does."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)


def connect(site: Path, trail: Trail, **options: object) -> sqlite3.Connection:
    return captured_sqlite3.connect(site / "app.db", trail=trail, **options)


def write(site: Path, trail: Trail, *statements: str) -> None:
    with acting_as(ALICE), contextlib.closing(connect(site, trail)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def live_rows(site: Path) -> Snapshot:
    with contextlib.closing(connect_plainly(site / "app.db")) as connection:
        return take_snapshot(connection, read_tables(connection))


def told_rows(site: Path, trail: Trail) -> Snapshot:
    trail.flush()
    with contextlib.closing(connect_plainly(site / "app.db")) as connection:
        tables = read_tables(connection)
    return fold_trail(trail, tables)


def noticed(trail: Trail) -> str:
    trail.flush()
    return "\n".join(f"{notice.action}: {notice.message}" for notice in trail.notices())


# Configuration and the trail's file.


def test_an_unknown_key_is_named_with_file_line_and_what_is_allowed(site: Path) -> None:
    """A misspelt setting doesn't silently leave something uncaptured."""
    path = site / "indelible.toml"
    path.write_text(path.read_text() + 'masc = ["Note"]\n')

    with pytest.raises(
        PolicyError, match=r"indelible\.toml, line 9 \[tables\.work\]: unknown key 'masc'; allowed"
    ) as caught:
        Trail.create(path)

    assert "mask" in str(caught.value)
    assert not (site / "trail.db").exists()


def test_opening_where_no_trail_is_makes_none(site: Path) -> None:
    """A wrong path is an error, not an empty trail."""
    with pytest.raises(NoTrailError, match="indelible init"):
        Trail.open(site / "indelible.toml")

    assert sorted(path.name for path in site.iterdir()) == ["app.db", "indelible.toml"]


def test_creating_where_a_trail_is_leaves_it_alone(site: Path, trail: Trail) -> None:
    """`init` twice doesn't begin anew."""
    trail.record("user.logged_in")
    with pytest.raises(TrailExistsError):
        Trail.create(site / "indelible.toml")

    trail.flush()
    assert len(list(trail.events(action="user.logged_in"))) == 1
    trail.verify()


def test_a_trail_of_a_newer_format_is_left_alone(closed: Path) -> None:
    """An older Indelible neither reads nor writes what it doesn't understand."""
    with contextlib.closing(sqlite3.connect(closed / "trail.db")) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (closed / "trail.db").read_bytes()

    with pytest.raises(TrailFormatError, match=rf"{version + 1}"):
        Trail.open(closed / "indelible.toml")

    assert (closed / "trail.db").read_bytes() == before


def test_a_file_that_is_no_trail_is_left_alone(closed: Path) -> None:
    """Neither another database nor a text file is taken for a trail."""
    for other in ((closed / "app.db").read_bytes(), b"not a database, but long enough" * 100):
        (closed / "trail.db").write_bytes(other)
        (closed / "trail.db-wal").unlink(missing_ok=True)
        with pytest.raises(TrailFormatError, match="expected a trail at"):
            Trail.open(closed / "indelible.toml")
        assert (closed / "trail.db").read_bytes() == other


# Locks, permissions, space.


def test_while_the_trail_is_locked_events_wait_and_then_arrive(site: Path, trail: Trail) -> None:
    """The application goes on; what it captured meanwhile comes when the lock is gone."""
    other = sqlite3.connect(site / "trail.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write(site, trail, "INSERT INTO work VALUES ('while locked', 1, NULL)")
    event = trail.record("user.logged_in")
    with pytest.raises(DeliveryError):
        trail.flush(1.0)
    other.execute("ROLLBACK")
    other.close()

    trail.flush(30.0)
    assert event is not None
    assert trail.reader.index_of(event) is not None
    assert told_rows(site, trail) == live_rows(site)
    trail.verify()


def test_a_locked_database_fails_as_it_does_without_capture(site: Path, trail: Trail) -> None:
    """The application gets SQLite's own error after its own timeout, and the write isn't told."""
    other = sqlite3.connect(site / "app.db", isolation_level=None)
    with contextlib.closing(connect(site, trail, timeout=0.1)) as connection:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            connection.execute("UPDATE work SET Times = 2")
        other.execute("ROLLBACK")
        with acting_as(ALICE), connection:
            connection.execute("UPDATE work SET Times = 3")
    other.close()

    trail.flush()
    assert len(list(trail.changes(by=ALICE))) == 1
    assert told_rows(site, trail) == live_rows(site)


def without_rights(what: str, site: Path) -> str:
    """What a process says that may write only what permissions allow, as root otherwise isn't."""
    rights = "-dac_override,-dac_read_search,-fowner"
    drop = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    done = subprocess.run(
        [
            *(drop if os.geteuid() == 0 else ()),
            *(sys.executable, without_rights_.__file__, what, site),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_read_only_database_cant_be_captured_and_says_so(closed: Path) -> None:
    """Set-up fails at the start, with what to check, not at the first write."""
    run(closed / "app.db", "CREATE TABLE later (Id INTEGER PRIMARY KEY)")
    (closed / "app.db").chmod(0o444)

    said = without_rights("install", closed)

    assert said.startswith("refused:")
    assert "read-only" in said


def test_a_read_only_trail_keeps_events_waiting(closed: Path) -> None:
    """What can't be carried stays where it is, and comes when the trail can be written."""
    for name in ("trail.db", "trail.db-wal", "trail.db-shm"):
        with contextlib.suppress(FileNotFoundError):
            (closed / name).chmod(0o444)

    assert without_rights("work", closed).startswith("waiting:")

    for path in closed.glob("trail.db*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    with opened(closed) as again:
        again.flush(30.0)
        assert len(list(again.events(action="user.logged_in"))) == 1
        assert [f.event.changes for f in again.changes(by=ALICE)] == [{"Times": (1, 8)}]
        again.verify()


def test_a_full_disk_refuses_and_loses_nothing(closed: Path) -> None:
    """What was promised before the disk was full is in the trail once there is room again."""
    done = subprocess.run(
        [sys.executable, disk_filler.__file__, closed, "300000"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = [line.split(" ") for line in done.stdout.splitlines()]
    kept = {what: [words[1] for words in said if words[0] == what] for what in ("row", "event")}
    refused = {(words[1], words[2]) for words in said if words[0] == "refused"}

    assert kept["row"] and kept["event"]
    assert refused == {("row", "OperationalError"), ("event", "StoreFullError")}, done.stderr
    with opened(closed) as again:
        again.flush(60)
        rows = {str(key[0]).partition(":")[0] for key in live_rows(closed)["work"]}
        assert rows >= set(kept["row"])
        assert all(again.reader.index_of(event) is not None for event in kept["event"])
        assert told_rows(closed, again) == live_rows(closed)
        again.verify()


# Migrations that meet our triggers.


def test_a_dropped_table_is_noticed(closed: Path) -> None:
    """Its rows stay in the trail; the other tables are captured on."""
    with opened(closed) as trail:
        write(closed, trail, "INSERT INTO work VALUES ('a', 1, NULL)")
    run(closed / "app.db", "CREATE TABLE other (Id INTEGER PRIMARY KEY); DROP TABLE work")
    with opened(closed) as trail:
        write(closed, trail, "INSERT INTO other VALUES (7)")

        assert "work: dropped" in noticed(trail)
        actions = [finding.event.action for finding in trail.changes(by=ALICE)]
        assert actions == ["work.insert", "other.insert"]
        assert list(trail.state(Target("work", "a")))


def test_dropping_a_column_says_what_is_in_the_way(closed: Path) -> None:
    """The error names our trigger; with capture suspended it goes, and is captured on."""
    with opened(closed) as trail:
        write(closed, trail, "INSERT INTO work VALUES ('a', 1, 'gone soon')")
        with (
            contextlib.closing(connect(closed, trail)) as connection,
            pytest.raises((sqlite3.OperationalError, CaptureError), match="indelible"),
        ):
            connection.execute("ALTER TABLE work DROP COLUMN Note")
        assert told_rows(closed, trail) == live_rows(closed)
        suspend(closed / "app.db", journal=trail.journal)
    run(closed / "app.db", "ALTER TABLE work DROP COLUMN Note")
    with opened(closed) as trail:
        write(closed, trail, "INSERT INTO work VALUES ('b', 2)")

        assert "work: " in noticed(trail)
        assert told_rows(closed, trail) == live_rows(closed)


REBUILD = """
BEGIN;
CREATE TABLE fresh (Id TEXT PRIMARY KEY, Times INTEGER, Note TEXT, Extra REAL);
INSERT INTO fresh SELECT Id, Times, Note, 1.5 FROM work;
DROP TABLE work;
ALTER TABLE fresh RENAME TO work;
INSERT INTO work VALUES ('unseen', 1, '', 2);
COMMIT;
"""


def test_a_rebuilt_table_is_noticed_and_captured_again(closed: Path) -> None:
    """A batch migration drops our triggers silently: the next process finds out."""
    run(closed / "app.db", REBUILD)
    with opened(closed) as trail:
        write(closed, trail, "UPDATE work SET Extra = 3 WHERE Id = 'old'")

        assert "work: " in noticed(trail)
        assert len(list(trail.changes(by=ALICE))) == 1
        assert told_rows(closed, trail) == live_rows(closed)


def test_a_table_rebuilt_under_a_running_application_is_noticed(site: Path, trail: Trail) -> None:
    """Nobody has to start anew for the trail to say that it no longer sees a table.

    What is written until `install` runs again is in the baseline that it takes.
    """
    run(site / "app.db", REBUILD)
    write(site, trail, "UPDATE work SET Extra = 3 WHERE Id = 'old'")

    deadline = time.monotonic() + 20
    while "work: " not in noticed(trail) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "work: " in noticed(trail)

    install(site / "app.db", trail.policy, journal=trail.journal)
    write(site, trail, "UPDATE work SET Extra = 4 WHERE Id = 'old'")
    assert told_rows(site, trail) == live_rows(site)


def test_an_added_column_is_noticed_and_captured(closed: Path) -> None:
    """Its values are in the trail from the next process on."""
    run(closed / "app.db", "ALTER TABLE work ADD COLUMN Extra DEFAULT 'standard'")
    with opened(closed) as trail:
        write(closed, trail, "UPDATE work SET Extra = 'own'")

        assert "work: altered" in noticed(trail)
        (finding,) = trail.changes(by=ALICE)
        assert finding.event.changes == {"Extra": ("standard", "own")}
        assert told_rows(closed, trail) == live_rows(closed)


def test_a_newer_trigger_of_the_application_is_noticed(closed: Path) -> None:
    """Ours must be the newest, or the order of changes would be told wrongly."""
    run(
        closed / "app.db",
        "CREATE TRIGGER count AFTER UPDATE OF Note ON work BEGIN"
        " UPDATE work SET Times = Times + 1 WHERE Id = NEW.Id; END",
    )
    with opened(closed) as trail:
        write(closed, trail, "UPDATE work SET Note = 'twice changed'")

        assert "older than an application's trigger" in noticed(trail)
        assert told_rows(closed, trail) == live_rows(closed)


def test_an_untrusted_schema_is_refused_in_words(site: Path, trail: Trail) -> None:
    """Where triggers may not say who acts, nothing is written that couldn't be attributed."""
    before = live_rows(site)
    with contextlib.closing(connect(site, trail)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        with pytest.raises(ConfigurationError, match="trusted_schema = ON"):
            connection.execute("UPDATE work SET Times = 100")
        connection.rollback()

    assert live_rows(site) == before
    assert told_rows(site, trail) == before


# Questions and events.


@pytest.mark.parametrize(
    "ask",
    [
        lambda trail, **window: trail.changes(by=ALICE, **window),
        lambda trail, **window: trail.accesses(by=ALICE, **window),
        lambda trail, **window: trail.accessors(of=Subject("customer", "zara"), **window),
        lambda trail, **window: trail.plan_reversal(by=ALICE, **window),
        lambda trail, **window: trail.events(**window),
        lambda trail, **window: trail.history(Target("work", "old"), **window),
    ],
    ids=["changes", "accesses", "accessors", "plan_reversal", "events", "history"],
)
def test_a_window_that_ends_before_it_starts_is_refused(
    trail: Trail, ask: Callable[..., object]
) -> None:
    """Both instants are named as they were understood."""
    with pytest.raises(WindowError, match="before") as caught:
        ask(trail, since="2026-03-02 10:00Z", until="2026-03-02 09:00Z")

    assert "2026-03-02T10:00:00.000000Z" in str(caught.value)
    assert "2026-03-02T09:00:00.000000Z" in str(caught.value)


def test_an_unknown_actor_or_target_gives_an_empty_answer_that_says_so(
    site: Path, trail: Trail
) -> None:
    """`known` tells a name mistyped from somebody who did nothing."""
    write(site, trail, "UPDATE work SET Times = 5")
    trail.flush()
    for answer in (
        trail.changes(by=Actor("staff", "alcie")),
        trail.accesses(by=Actor("staff", "alcie")),
        trail.accessors(of=Subject("customer", "zarra")),
        trail.history(Target("work", "odl")),
        trail.state(Target("work", "odl")),
    ):
        assert not list(answer)
        assert not answer.known
    assert trail.changes(by=ALICE).known
    assert trail.history(Target("work", "old")).known
    plan = trail.plan_reversal(by=Actor("staff", "alcie"))
    assert not plan.restorable
    assert not plan.conflicts


@pytest.mark.parametrize("size", [60_000, 65_400, 65_535, 66_000, 3_000_000])
def test_a_value_larger_than_an_event_is_kept_whole(site: Path, trail: Trail, size: int) -> None:
    """It is cut into parts, found once, and put together again; the reversal restores it."""
    before = live_rows(site)
    with acting_as(ALICE), contextlib.closing(connect(site, trail)) as connection, connection:
        connection.execute("UPDATE work SET Note = ?", ("ü\0" * (size // 3),))
        connection.execute("INSERT INTO work VALUES ('blob', 1, ?)", (os.urandom(size),))
    event = trail.record("file.sent", details={"content": "y" * size})
    trail.flush()

    assert len(list(trail.changes(by=ALICE))) == 2
    (sent,) = trail.events(action="file.sent")
    assert sent.event.id == event
    assert sent.event.details == {"content": "y" * size}
    assert told_rows(site, trail) == live_rows(site)
    assert all(len(entry.body) <= 65_535 for entry in trail.reader.entries(0, trail.reader.size))
    with acting_as(ALICE), contextlib.closing(connect(site, trail)) as connection:
        trail.plan_reversal(by=ALICE).apply(connection)
    assert live_rows(site) == before
    trail.verify()


def test_an_event_that_cant_be_cut_is_refused_where_it_is_said(trail: Trail) -> None:
    """Thousands of targets don't fit into one event: the caller hears it, at once."""
    with pytest.raises(EventTooLargeError, match="name fewer targets"):
        trail.record("report.filed", target=[Target("work", f"row {n}") for n in range(20_000)])

    trail.record("report.filed", target=Target("work", "one"))
    trail.flush()
    assert len(list(trail.events(action="report.filed"))) == 1


def test_a_database_restored_from_an_older_backup_is_a_source_of_its_own(
    closed: Path,
) -> None:
    """What the lost days held stays in the trail; what is written now is told beside it."""
    with opened(closed) as trail:
        write(closed, trail, "INSERT INTO work VALUES ('kept', 1, NULL)")
    shutil.copyfile(closed / "app.db", closed / "backup.db")
    with opened(closed) as trail:
        for name in ("lost 1", "lost 2", "lost 3"):
            write(closed, trail, f"INSERT INTO work VALUES ('{name}', 1, NULL)")
    shutil.copyfile(closed / "backup.db", closed / "app.db")

    with opened(closed) as again:
        write(closed, again, "INSERT INTO work VALUES ('after', 1, NULL)")
        write(closed, again, "UPDATE work SET Times = 2 WHERE Id = 'kept'")
        deadline = time.monotonic() + 20
        while "database.restored" not in noticed(again) and time.monotonic() < deadline:
            time.sleep(0.1)

        assert "database.restored" in noticed(again)
        told = {str(finding.event.targets[0].ids[0][0]) for finding in again.changes(by=ALICE)}
        assert told == {"kept", "lost 1", "lost 2", "lost 3", "after"}
        again.verify()
