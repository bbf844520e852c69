"""Power lost at any write or sync of the application's database: a change and its outbox row are
both there, or neither is.
"""

from __future__ import annotations

import copy
import random
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
from tests.capture.writes.capturing import Captured
from tests.capture.writes.folding import fold, live
from tests.integrity.recording_vfs import Loss, RecordingDisk, check_crashes

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, note TEXT);
CREATE TABLE invoice (
  id INTEGER PRIMARY KEY, no TEXT UNIQUE, customer_id REFERENCES customer ON DELETE CASCADE
);
CREATE TABLE progress (done INTEGER);
INSERT INTO progress VALUES (0);
INSERT INTO customer SELECT value, 'customer ' || value, NULL FROM
  (WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < 60)
   SELECT value FROM s);
"""
TRANSACTIONS = (
    ("INSERT INTO invoice SELECT id, 'n' || id, id FROM customer",),
    ("UPDATE customer SET note = hex(zeroblob(900)) WHERE id % 3 = 0", "DELETE FROM customer"),
    ("INSERT INTO customer VALUES (1, 'Zara', 'x'), (2, 'Bob', 'y')",),
    ("INSERT OR REPLACE INTO invoice VALUES (7, 'n1', 1), (8, 'n1', 2), (9, 'n2', 2)",),
    ("SAVEPOINT s", "DELETE FROM invoice", "ROLLBACK TO s", "UPDATE invoice SET id = id + 100"),
    ("UPDATE customer SET note = hex(zeroblob(6000)) WHERE id = 1", "DELETE FROM invoice"),
)


class Recording(NamedTuple):
    """What was done to the database, with every step of its disk."""

    disk: RecordingDisk
    baseline: list[bytes]
    acknowledged: list[int]
    """Steps of the disk after each commit that had returned."""


@pytest.fixture(scope="module", params=["wal", "delete"])
def recording(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recording]:
    directory = tmp_path_factory.mktemp("application")
    path = directory / "app.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {request.param}")
    connection.executescript(SCHEMA)
    baseline = Captured(connection).host.journal.drafts
    connection.close()
    disk = RecordingDisk(directory)
    client = disk.connect(path)
    client.execute("PRAGMA foreign_keys = ON")
    # FULL doesn't sync the directory: a rollback journal could be back, and undo a commit.
    client.execute("PRAGMA synchronous = EXTRA")
    acknowledged = [0]
    for number, statements in enumerate(TRANSACTIONS, start=1):
        client.execute("BEGIN IMMEDIATE")
        for statement in statements:
            client.execute(statement)
        client.execute("UPDATE progress SET done = ?", (number,))
        client.execute("COMMIT")
        acknowledged.append(len(disk.steps))
    client.close()
    yield Recording(disk, baseline, acknowledged)
    disk.close()


def check_each(
    recording: Recording, after: Iterable[int], loss: Loss, directory: Path, seed: int
) -> None:
    def check(steps: int) -> None:
        check_what_is_left(recording, directory / "app.db", steps)

    check_crashes(recording.disk, after, loss, directory, seed=seed, check=check)


def check_what_is_left(recording: Recording, path: Path, steps: int) -> None:
    promised = sum(1 for at in recording.acknowledged[1:] if at <= steps)
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (done,) = connection.execute("SELECT done FROM progress").fetchone()
        assert done >= promised, "acknowledged and lost"
        captured = Captured(connection)
        drafts = [*recording.baseline, *(event.draft for event in captured.decoded().events)]
        assert fold(drafts) == live(captured.reader)
    finally:
        connection.close()


@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_some_steps(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """After a crash at any of these steps the outbox tells just what the tables hold."""
    rng = random.Random(loss)
    steps = len(recording.disk.steps)
    around = {at + by for at in recording.acknowledged for by in (-2, -1, 0, 1)}
    chosen = {0, steps, *rng.sample(range(steps), min(steps, 10))}
    chosen |= {at for at in around if 0 <= at <= steps}
    check_each(recording, sorted(chosen), loss, tmp_path, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_every_step(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """The same after each single write and sync."""
    check_each(recording, range(len(recording.disk.steps) + 1), loss, tmp_path, seed=2)


def test_without_syncs_a_commit_would_be_lost(recording: Recording, tmp_path: Path) -> None:
    """The test can fail: a disk that forgets syncs loses what was committed."""
    disk = copy.copy(recording.disk)
    disk.steps = [step for step in recording.disk.steps if step.data is not None]
    broken = recording._replace(disk=disk, acknowledged=[0, 0])
    with pytest.raises(AssertionError, match="acknowledged and lost"):
        check_each(broken, [len(disk.steps)], "unsynced", tmp_path, seed=3)
