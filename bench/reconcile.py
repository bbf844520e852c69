"""How long reconciling takes: `python -m bench reconcile [--rows N] [--changes N]`.

An SQLite table of N rows (an integer key, two texts, an integer, a real, a time, a note that may be
NULL) is written down by `install`; then some of its rows are changed through the trail, and a few
past it. A process of its own reconciles it on one core: seconds, processor time, rows a second, and
the most memory that it had. It has to name exactly what was changed past the trail.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import describe_machine
from indelible import Actor, Trail, acting_as
from indelible.capture.sqlite3 import connect
from indelible.invariants.differences import Difference

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL,
    points INTEGER, balance REAL, created TEXT, note TEXT);
"""
UNSEEN = ((17, "points"), (500, "balance"), (999, "note"))
COLUMNS = ("rows", "changes", "differences", "seconds", "cpu s", "rows/s", "peak MB")
_CHANGES_A_TRANSACTION = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench reconcile")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if chosen.measure is not None:
        measure(chosen.measure)
        return
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory:
        build(Path(directory), chosen.rows, chosen.changes)
        command = [sys.executable, "-m", "bench", "reconcile", "--measure", directory]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
    if found["differences"] != len(UNSEEN):
        sys.exit(f"expected {len(UNSEEN)} differences, got {found['differences']}")
    print("  ".join(f"{name:>12}" for name in COLUMNS))
    print("  ".join(f"{found.get(name, chosen.changes):>12}" for name in COLUMNS))


def build(directory: Path, rows: int, changes: int) -> None:
    """The application's database and its trail, as both would be."""
    database = directory / "app.db"
    with contextlib.closing(sqlite3.connect(database)) as plain:
        plain.execute("PRAGMA journal_mode = WAL")
        plain.executescript(SCHEMA)
        plain.executemany(
            "INSERT INTO customer VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    n,
                    f"Customer number {n}",
                    f"customer.{n}@example.com",
                    n % 1_000,
                    n / 7,
                    "2026-01-01 12:00:00",
                    None if n % 3 else "has called twice",
                )
                for n in range(1, rows + 1)
            ),
        )
        plain.commit()
    configuration = directory / "indelible.toml"
    configuration.write_text(
        '[trail]\nurl = "sqlite:///trail.db"\n[database]\nurl = "sqlite:///app.db"\n'
    )
    with Trail.create(configuration) as trail:
        connection = connect(database, trail=trail)
        with acting_as(Actor("staff", "alice")):
            for first in range(0, changes, _CHANGES_A_TRANSACTION):
                for n in range(first, min(first + _CHANGES_A_TRANSACTION, changes)):
                    connection.execute(
                        "UPDATE customer SET points = points + 1 WHERE id = ?",
                        (1 + n * 7_919 % rows,),
                    )
                connection.commit()
        connection.close()
        trail.flush(600)
    with contextlib.closing(sqlite3.connect(database)) as plain:
        triggers = plain.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
        ).fetchall()
        for name, _ in triggers:
            plain.execute(f'DROP TRIGGER "{name}"')
        for row, column in UNSEEN:
            plain.execute(f"UPDATE customer SET {column} = 'unseen' WHERE id = ?", (row,))
        for _, sql in triggers:
            plain.execute(sql)
        plain.commit()


def measure(directory: Path) -> None:
    """Reconcile, in a process that does nothing else."""
    started, cpu = time.perf_counter(), time.process_time()
    with Trail.open(directory / "indelible.toml") as trail:
        found = list(trail.reconcile())
    seconds = time.perf_counter() - started
    rows = found[-1].rows  # type: ignore[union-attr]
    result = {
        "rows": rows,
        "differences": sum(isinstance(one, Difference) for one in found),
        "seconds": round(seconds, 1),
        "cpu s": round(time.process_time() - cpu, 1),
        "rows/s": round(rows / seconds),
        "peak MB": _peak_mb(),
    }
    print(json.dumps(result))


def _peak_mb() -> int:
    """Of this process alone: `getrusage` counts what it was forked from, too."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1_024)
