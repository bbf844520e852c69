"""One process of an application: several threads that write, read and record until it is killed.

    python busy_worker.py DIRECTORY NAME THREADS SECONDS

Everything that was promised (a commit or `record` returned) is a line in `DIRECTORY/acks.NAME`,
written with one call after the promise: a row inserted, a row updated, an event's id. While it
relays, the file `DIRECTORY/leads.NAME` is there.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from indelible import Actor, Target, Trail, acting_as
from indelible.capture import sqlite3 as captured_sqlite3
from indelible.capture.sqlalchemy import capture

TIMEOUT_S = 60.0


class Worker:
    """What the threads of one process share."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self.trail = Trail.open(directory / "indelible.toml")
        self.engine = create_engine(
            f"sqlite:///{directory / 'app.db'}",
            connect_args={"timeout": TIMEOUT_S},
            poolclass=NullPool,
        )
        capture(self.engine, self.trail)
        self._acks = os.open(
            directory / f"acks.{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )

    def promise(self, what: str, which: str) -> None:
        os.write(self._acks, f"{what} {which}\n".encode())

    def say_who_leads(self, until: float) -> None:
        mark = self.directory / f"leads.{self.name}"
        while time.monotonic() < until:
            if self.trail.is_relaying:
                mark.write_text(str(os.getpid()))
            else:
                mark.unlink(missing_ok=True)
            time.sleep(0.05)

    def work(self, thread: int, until: float) -> None:
        """Half of the threads use SQLAlchemy, half `sqlite3`."""
        random_ = random.Random(f"{self.name}.{thread}")
        n = 0
        with acting_as(Actor("worker", f"{self.name}.{thread}")):
            while time.monotonic() < until:
                n += 1
                row = f"{self.name}.{thread}.{n}"
                chance = random_.random()
                (self._through_engine if thread % 2 else self._through_driver)(row, chance)
                if chance < 0.5:
                    event = self.trail.record("row.considered", target=Target("row", row))
                    self.promise("event", str(event))

    def _through_engine(self, row: str, chance: float) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO Work VALUES (:id, 0)"), {"id": row})
        self.promise("row", row)
        with self.engine.connect() as connection:
            if chance < 0.3:
                connection.execute(text("UPDATE Work SET Times = 1 WHERE Id = :id"), {"id": row})
                connection.commit()
                self.promise("update", row)
            elif chance < 0.4:
                connection.execute(text("UPDATE Work SET Times = 9 WHERE Id = :id"), {"id": row})
                connection.rollback()

    def _through_driver(self, row: str, chance: float) -> None:
        connection = captured_sqlite3.connect(
            self.directory / "app.db", trail=self.trail, timeout=TIMEOUT_S
        )
        try:
            connection.execute("INSERT INTO Work VALUES (?, 0)", (row,))
            connection.commit()
            self.promise("row", row)
            if chance < 0.3:
                connection.execute("SELECT Times FROM Work WHERE Id = ?", (row,)).fetchall()
                connection.execute("UPDATE Work SET Times = 1 WHERE Id = ?", (row,))
                self.trail.record("row.settled", target=Target("row", row), on=connection)
                connection.commit()
                self.promise("update", row)
                self.promise("settled", row)
        finally:
            connection.close()


def main(directory: Path, name: str, threads: int, seconds: float) -> None:
    worker = Worker(directory, name)
    until = time.monotonic() + seconds
    running = [
        threading.Thread(target=worker.work, args=(thread, until)) for thread in range(threads)
    ]
    running.append(threading.Thread(target=worker.say_who_leads, args=(until,)))
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    worker.engine.dispose()
    worker.trail.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
