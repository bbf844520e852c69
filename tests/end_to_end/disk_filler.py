"""A process whose disk is full after so many bytes: it writes until nothing more fits.

    python disk_filler.py DIRECTORY BYTES

The limit is the operating system's on the size of each file, so every write beyond it fails as on
a full disk. Each line of its output is a promise: a row that was committed, an event's id.
"""

from __future__ import annotations

import resource
import signal
import sqlite3
import sys
from pathlib import Path

from indelible import Actor, Target, Trail, acting_as
from indelible.capture import sqlite3 as captured_sqlite3
from indelible.errors import IndelibleError


def main(directory: Path, limit: int) -> None:
    trail = Trail.open(directory / "indelible.toml")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    connection = captured_sqlite3.connect(directory / "app.db", trail=trail)
    refusals = {"row": 0, "event": 0}
    with acting_as(Actor("worker", "filler")):
        for n in range(1_000_000):
            try:
                with connection:
                    connection.execute(
                        "INSERT INTO work VALUES (?, 0, NULL)", (f"{n}:{'x' * 2_000}",)
                    )
                print("row", n, flush=True)
            except sqlite3.Error as error:
                print("refused", "row", type(error).__name__, error, flush=True)
                refusals["row"] += 1
            try:
                event = trail.record(
                    "row.considered", target=Target("row", n), details={"why": "y" * 2_000}
                )
                print("event", event, flush=True)
            except IndelibleError as error:
                print("refused", "event", type(error).__name__, error, flush=True)
                refusals["event"] += 1
            if refusals["row"] > 3 and (refusals["event"] > 3 or refusals["row"] > 3_000):
                break
    sys.stdout.flush()
    # What a process that has no disk left can't carry, the next one will.
    signal.raise_signal(signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
