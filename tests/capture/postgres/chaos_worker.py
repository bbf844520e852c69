"""One process of an application on a server: threads that write and read until it is killed.

    python -m tests.capture.postgres.chaos_worker DIRECTORY NAME URL THREADS

What was promised (a commit returned, an `acting_as` in which rows were read has ended) is a line
in `DIRECTORY/acks.NAME`, written with one call after the promise. A server or a pooler that is
away is waited for.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from indelible import Actor, Trail, acting_as
from indelible.capture.sqlalchemy import capture

CONNECT = {"connect_timeout": 5}
INSERT = text("INSERT INTO work VALUES (:id, :n, 0)")
READ = text("SELECT n, times FROM work WHERE id = :id")  # the key isn't among what is asked for
UPDATE = text("UPDATE work SET times = :times WHERE id = :id")


class Worker:
    """What the threads of one process share."""

    def __init__(self, directory: Path, name: str, url: str) -> None:
        self.name = name
        self.engine = create_engine(
            url,
            pool_size=4,
            max_overflow=0,
            connect_args=CONNECT | ({"prepare_threshold": None} if "postgresql" in url else {}),
        )
        capture(self.engine, Trail.open(directory / "indelible.toml", relay=False))
        self._acks = os.open(
            directory / f"acks.{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )

    def promise(self, what: str, which: str) -> None:
        os.write(self._acks, f"{what} {which}\n".encode())

    def work(self, thread: int) -> None:
        n = 0
        while True:
            n += 1
            row = f"{self.name}.{thread}.{n}"
            try:
                self._write_and_read(Actor("worker", f"{self.name}.{thread}"), row, n)
            except DBAPIError:
                time.sleep(0.05)

    def _write_and_read(self, actor: Actor, row: str, n: int) -> None:
        with acting_as(actor):
            with self.engine.begin() as connection:
                connection.execute(
                    text("INSERT INTO work VALUES (:id, :n, 0)"), {"id": row, "n": n}
                )
            self.promise("row", row)
            with self.engine.connect() as connection:
                assert connection.execute(READ, {"id": row}).all() == [(n, 0)]
                if n % 3 == 0:
                    connection.execute(
                        text("UPDATE work SET times = 1 WHERE id = :id"), {"id": row}
                    )
                    connection.commit()
                    self.promise("update", row)
                elif n % 5 == 0:
                    connection.execute(
                        text("UPDATE work SET times = 9 WHERE id = :id"), {"id": row}
                    )
                    connection.rollback()
        self.promise("read", row)


if __name__ == "__main__":
    # A server that died in between is no news to its pool.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    worker = Worker(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    for number in range(int(sys.argv[4])):
        threading.Thread(target=worker.work, args=(number,)).start()
