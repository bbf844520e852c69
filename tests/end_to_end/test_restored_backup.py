"""The application's database is copied away, worked on for days, and the copy is put back."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.capture.sqlite_install import check
from indelible.events.values import format_id
from indelible.questions.fold import BaselineChunk, RowState, baseline_of, fold
from indelible.questions.reading import read_events
from indelible.questions.row_change import RowChange, row_change_of
from indelible.questions.window import Window

BOB, CAROL = Actor("staff", "bob"), Actor("staff", "carol")
MANY = 1_300
"""Rows of a table that takes several pages."""
SCHEMA = f"""
CREATE TABLE row (id INTEGER PRIMARY KEY, v);
INSERT INTO row VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four');
CREATE TABLE bare (v);
INSERT INTO bare VALUES ('x'), (CAST(x'ff41' AS TEXT));
CREATE TABLE pair (a TEXT, b INTEGER, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
INSERT INTO pair WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
    SELECT CASE WHEN i % 7 THEN 'k' || i % 5 ELSE CAST(x'fe' AS TEXT) END, i, i / 8.0 FROM n;
CREATE TABLE emptied (id INTEGER PRIMARY KEY);
"""


class Site:
    """An application with its trail; `stop` and `start` as an operator does."""

    def __init__(self, directory: Path, mode: str) -> None:
        self.database = directory / "app.db"
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.executescript(SCHEMA)
        self.configuration = directory / "indelible.toml"
        self.configuration.write_text(
            '[trail]\nurl = "sqlite:///trail.db"\n[database]\nurl = "sqlite:///app.db"\n'
        )
        Trail.create(self.configuration).close()
        self.trail: Trail
        self.engine: Engine
        self.start()

    def start(self) -> None:
        self.trail = Trail.open(self.configuration)
        self.engine = create_engine(f"sqlite:///{self.database}")
        capture(self.engine, self.trail)

    def stop(self) -> None:
        self.engine.dispose()
        self.trail.close()

    def run(self, actor: Actor, *statements: str) -> None:
        with acting_as(actor), self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        self.trail.flush()

    def back_up(self) -> Path:
        self.stop()
        copy = self.database.with_name("backup.db")
        shutil.copy(self.database, copy)
        self.start()
        return copy

    def restore(self, copy: Path) -> None:
        self.stop()
        for suffix in ("-wal", "-shm"):
            Path(f"{self.database}{suffix}").unlink(missing_ok=True)
        shutil.copy(copy, self.database)
        self.start()
        self.settle()

    def settle(self) -> None:
        """The baseline that is due is in the trail."""
        self.trail.flush()
        deadline = time.monotonic() + 30
        while not self.trail.is_relaying or self.trail.is_reading_restored:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.5)
        while self.trail.is_reading_restored:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.trail.flush()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def state(self, target: Target) -> RowState:
        (finding,) = self.trail.state(target)
        assert finding.certain, finding.why
        return finding.state

    def folded(self, kind: str) -> dict[str, dict[str, object]]:
        """Every row of a kind, as baselines and changes make it."""
        chunks: list[BaselineChunk] = []
        changes: list[RowChange] = []
        for seen in read_events(self.trail.reader, [], Window(), size=self.trail.reader.size):
            chunk = baseline_of(seen.event, seen.indexes[0])
            change = row_change_of(seen.event, seen.indexes[0])
            if chunk is not None and chunk.kind == kind:
                chunks.append(chunk)
            elif change is not None and change.kind == kind:
                changes.append(change)
        rows = fold(chunks, changes).items()
        return {format_id(row_id): dict(row.columns) for row_id, row in rows if row.present}


@pytest.fixture(params=["delete", "wal"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, request.param)
    yield site
    site.stop()


def lose_days(site: Site) -> None:
    """Rows inserted, updated and deleted after the backup, which is then put back."""
    site.run(BOB, "UPDATE row SET v = 'before' WHERE id = 1")
    copy = site.back_up()
    site.run(
        BOB,
        "INSERT INTO row VALUES (9, 'nine')",
        "UPDATE row SET v = 'lost' WHERE id = 2",
        "DELETE FROM row WHERE id = 3",
        "UPDATE row SET id = 40 WHERE id = 4",
        "INSERT INTO emptied VALUES (1)",
        "DELETE FROM pair WHERE b < 100",
    )
    site.run(CAROL, "UPDATE row SET v = 'lost too' WHERE id = 1")
    site.restore(copy)


def test_state_says_that_a_restore_took_rows_back(site: Site) -> None:
    """Inserted rows are gone, deleted ones there, changed ones as they were; each says why."""
    lose_days(site)

    nine = site.state(Target("row", 9))
    assert (nine.present, nine.restored, nine.columns["v"]) == (False, True, "nine")
    for row_id, value in ((1, "before"), (2, "two"), (3, "three"), (4, "four")):
        found = site.state(Target("row", row_id))
        assert (found.present, found.restored, found.columns["v"]) == (True, True, value), row_id
    forty = site.state(Target("row", 40))
    assert (forty.present, forty.restored) == (False, True)
    one = site.state(Target("emptied", 1))
    assert (one.present, one.restored) == (False, True)


def test_folding_gives_the_restored_database(site: Site) -> None:
    """Every table, also those without a key or with text that isn't UTF-8; then what came since."""
    lose_days(site)
    assert len(site.folded("pair")) == MANY
    assert sorted(row["v"] for row in site.folded("row").values()) == sorted(
        value for _, value in site.rows("SELECT * FROM row")
    )
    assert len(site.folded("bare")) == 2
    assert site.folded("emptied") == {}

    site.run(CAROL, "INSERT INTO row VALUES (9, 'again')", "DELETE FROM pair WHERE b > 50")

    assert len(site.folded("pair")) == 50
    again = site.state(Target("row", 9))
    assert (again.present, again.restored, again.columns["v"]) == (True, False, "again")


def test_history_has_the_restore_of_the_rows_that_it_took_back(site: Site) -> None:
    """Between what the lost days did to a row and what came after stands the restore; of rows that
    nothing happened to in those days it says nothing."""
    lose_days(site)
    site.run(CAROL, "INSERT INTO row VALUES (5, 'five')", "UPDATE row SET v = 'new' WHERE id = 2")

    found = list(site.trail.history(Target("row", 2)))
    assert all(finding.certain for finding in found)
    actions = [finding.event.action for finding in found if finding.event.kind != "access"]
    expected = "table.baseline row.update incarnation.opened table.baseline row.update"
    assert actions == expected.split()
    for untouched in (Target("row", 5), Target("bare", 1)):
        history = site.trail.history(untouched)
        assert "incarnation.opened" not in [finding.event.action for finding in history]


def test_before_the_restore_the_lost_days_stand(site: Site) -> None:
    """A moment in the lost days is answered as it was then."""
    copy = site.back_up()
    site.run(BOB, "INSERT INTO row VALUES (9, 'nine')")
    copied = dt.datetime.now(dt.UTC)
    site.restore(copy)
    (finding,) = site.trail.state(Target("row", 9), at=copied)
    assert finding.state.present and not finding.state.restored


def test_a_reversal_leaves_out_what_the_restore_took_back(site: Site) -> None:
    """What was lost needs no reversal, and lost changes of others are in nobody's way."""
    lose_days(site)
    site.run(CAROL, "UPDATE row SET v = 'new' WHERE id = 2")

    plan = site.trail.plan_reversal(by=BOB)

    # Carol's later change of row 1 is lost, her change of row 2 isn't Bob's to lose.
    assert [step.target_text for step in plan.restorable] == ["row:1"]
    assert not plan.conflicts
    lost = [step for step in plan.plan.already_so if step.why and "restored backup" in step.why]
    assert {"row:9", "row:2", "row:3"} <= {step.target_text for step in lost}
    with acting_as(CAROL, reason="reversal"):
        plan.apply()
    assert site.rows("SELECT v FROM row WHERE id IN (1, 2) ORDER BY id") == [("one",), ("new",)]
    site.trail.flush()
    assert site.state(Target("row", 1)).columns["v"] == "one"


def test_reversing_after_the_restore_meets_the_rows_of_the_backup_once(site: Site) -> None:
    """The change that came back with the backup's outbox isn't taken for another's."""
    copy = site.back_up()
    site.run(BOB, "UPDATE row SET v = 'mine' WHERE id = 1")
    copy = site.back_up()
    site.run(BOB, "UPDATE row SET v = 'lost' WHERE id = 2")
    site.restore(copy)

    plan = site.trail.plan_reversal(by=BOB)

    assert not plan.conflicts
    with acting_as(CAROL):
        plan.apply()
    assert site.rows("SELECT v FROM row WHERE id IN (1, 2) ORDER BY id") == [("one",), ("two",)]


def test_a_second_restore_takes_back_what_came_after_the_first(site: Site) -> None:
    """The same backup put back twice, with other lost days each time."""
    copy = site.back_up()
    site.run(BOB, "UPDATE row SET v = 'first' WHERE id = 1", "INSERT INTO row VALUES (8, 'a')")
    site.restore(copy)
    site.run(BOB, "UPDATE row SET v = 'second' WHERE id = 2", "INSERT INTO row VALUES (9, 'b')")
    site.restore(copy)

    values = sorted(row["v"] for row in site.folded("row").values())
    assert values == ["four", "one", "three", "two"]
    for row_id in (8, 9):
        found = site.state(Target("row", row_id))
        assert (found.present, found.restored) == (False, True)
    assert not site.trail.plan_reversal(by=BOB).restorable


def test_the_trail_verifies_and_is_complete(site: Site) -> None:
    """After a restore the trail verifies, no table drifted, and only the restore is noticed."""
    size = site.trail.verify().size
    lose_days(site)

    after = site.trail.verify()
    assert after.size > size
    assert check(site.database, site.trail.policy) == []
    actions = {notice.action for notice in site.trail.notices()}
    # The gap says that the positions before stand in the epoch before.
    assert {"incarnation.opened"} <= actions
    assert actions <= {"incarnation.opened", "database.restored", "source.gap"}
    for source in site.trail.reader.sources():
        assert not source.missing


def test_the_baseline_is_written_once(site: Site) -> None:
    """A later start finds the file that says so, and reads nothing again."""
    lose_days(site)
    before = [f.event.id for f in site.trail.events(system=True, action="table.restored")]
    site.stop()
    site.start()
    site.settle()

    assert len(before) == 4
    assert [f.event.id for f in site.trail.events(system=True, action="table.restored")] == before


def test_the_application_goes_on_while_the_baseline_is_read(site: Site) -> None:
    """Rows that come, go, change and move between pages are as the live database has them."""
    many = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)"
    site.run(BOB, f"INSERT INTO row {many} SELECT i, 'v' || i FROM n")
    copy = site.back_up()
    site.run(BOB, "DELETE FROM row WHERE id < 12000")
    site.stop()
    shutil.copy(copy, site.database)
    site.start()
    deadline = time.monotonic() + 30
    while not site.trail.is_reading_restored:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    writes = 0
    with acting_as(CAROL):
        while site.trail.is_reading_restored or writes < 5:
            writes += 1
            with site.engine.begin() as connection:
                for sql in (
                    f"UPDATE row SET id = {50_000 + writes} WHERE id = {100 + writes}",
                    f"UPDATE row SET id = -{writes} WHERE id = {14_000 - writes}",
                    f"UPDATE row SET v = 'w' WHERE id IN ({200 + writes}, {13_000 - writes})",
                    f"DELETE FROM row WHERE id IN ({300 + writes}, {12_000 - writes})",
                    f"INSERT INTO row VALUES ({60_000 + writes}, 'new')",
                ):
                    connection.execute(text(sql))
            time.sleep(0.02)
    site.settle()

    found = {int(row_id): columns for row_id, columns in site.folded("row").items()}
    live = dict(site.rows("SELECT id, v FROM row"))
    assert found.keys() == live.keys()
    # A row that moved in front of the page under way keeps what its change said of it: its key.
    for row_id, value in live.items():
        assert found[row_id].get("v", value) == value
    assert sum("v" not in columns for columns in found.values()) <= writes
    for finding in site.trail.state(Target("row", -1)):
        assert finding.state.present
        assert finding.state.complete == ("v" in finding.state.columns)


def test_an_interrupted_baseline_goes_on(site: Site) -> None:
    """Stopped while it reads, the next process does the rest, and a table half done again."""
    many = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)"
    site.run(BOB, f"INSERT INTO row {many} SELECT i, 'v' || i FROM n")
    copy = site.back_up()
    site.run(BOB, "DELETE FROM row WHERE id > 12000")
    site.stop()
    shutil.copy(copy, site.database)
    site.start()
    deadline = time.monotonic() + 30
    while not site.trail.is_reading_restored:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    (gone,) = site.trail.state(Target("row", 14_000))
    assert not gone.certain and "isn't written down yet" in (gone.why or "")
    site.stop()
    site.start()
    site.settle()

    assert len(site.folded("row")) == len(site.rows("SELECT id FROM row"))
    back = site.state(Target("row", 14_000))
    assert back.present and back.restored
