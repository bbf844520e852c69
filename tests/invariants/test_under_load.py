"""Reconciling while applications write: nothing that they do is taken for unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from indelible import Trail, acting_as

from .site import ALICE, Found, Site

ROWS = 2_000
SCHEMA = f"""
CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, n INTEGER);
INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {ROWS})
    SELECT i, 'row ' || i, 0 FROM c;
CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO other VALUES (1, 'one'), (2, 'two');
"""
WRITES = (
    "UPDATE t SET n = n + 1 WHERE id % 97 = {n} % 97",
    "DELETE FROM t WHERE id = {n}",
    "INSERT OR REPLACE INTO t VALUES ({n}, 'again', {n})",
    "UPDATE OR REPLACE t SET id = id + 1 WHERE id = {n}",
    "INSERT INTO other (v) VALUES ('more')",
    "UPDATE other SET v = v || 'x' WHERE id = 2",
)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_while_the_application_writes(tmp_path: Path, mode: str) -> None:
    """Threads write all the time; only what was changed past the triggers is found, each time."""
    site = Site(tmp_path, SCHEMA, mode=mode)
    stop = threading.Event()
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        n = seed
        try:
            while not stop.is_set():
                with acting_as(ALICE), site.engine.begin() as connection:
                    for statement in WRITES:
                        n = n * 31 % ROWS + 1
                        connection.execute(text(statement.format(n=n)))
                # SQLite's locks aren't fair: without a pause one writer may starve the other.
                time.sleep(0.01)
        except BaseException as error:
            errors.append(error)

    seeds = (17, 1_234) if mode == "wal" else (17,)
    workers = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
    for worker in workers:
        worker.start()
    try:
        for _ in range(2):
            assert site.reconcile().said == []
        site.unseen("UPDATE other SET v = 'unseen' WHERE id = 1")
        assert site.reconcile().said == [("other:1", "differs", {"v": ("one", "unseen")})]
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert errors == []
    assert site.reconcile().said == [("other:1", "differs", {"v": ("one", "unseen")})]
    site.stop()


def test_another_process_relays(tmp_path: Path) -> None:
    """Where the application itself carries its events, what waits is waited for; where nobody
    does and somebody holds the lease, that is said."""
    site = Site(tmp_path, SCHEMA)
    with Trail.open(site.configuration) as beside:
        assert site.trail.is_relaying
        assert not beside.is_relaying
        site.run("UPDATE t SET v = 'seen' WHERE id < 500")
        site.unseen("UPDATE t SET v = 'unseen' WHERE id = 1000")
        assert Found(beside.reconcile("t")).said == [
            ("t:1000", "differs", {"v": ("row 1000", "unseen")})
        ]

        # What will never come isn't waited for.
        site.direct(
            "BEGIN; UPDATE t SET v = 'hidden' WHERE id = 1500; DELETE FROM indelible_outbox "
            "WHERE id = (SELECT max(id) FROM indelible_outbox); COMMIT"
        )
        found = Found(beside.reconcile("t"))
    assert found.names == [("t:1000", "differs"), ("t:1500", "differs")]
    site.stop()


def test_killed_and_run_again(tmp_path: Path) -> None:
    """A process that is killed while it reconciles leaves nothing that keeps the next from it."""
    site = Site(tmp_path, SCHEMA)
    site.unseen("UPDATE t SET v = 'unseen' WHERE id = 1000")
    site.stop()
    program = (
        "import sys, time; from indelible import Trail\n"
        "trail = Trail.open(sys.argv[1])\n"
        "def pause(what, done, of):\n"
        "    if what == 't':\n"
        "        print('half', flush=True); time.sleep(60)\n"
        "list(trail.reconcile(progress=pause))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(site.configuration)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    site.start()
    deadline = time.monotonic() + 30
    while not site.trail.is_relaying:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert site.reconcile().names == [("t:1000", "differs")]
    site.stop()
