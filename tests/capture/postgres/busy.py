"""Threads that write to a PostgreSQL database, and know what they committed."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any

import psycopg
from tests.servers import Database

from indelible.capture.postgres.context import ContextSender
from indelible.events.context import acting_as, current_frame
from indelible.events.model import Actor

SCHEMA = (
    "CREATE TABLE account (id integer PRIMARY KEY, owner text, amount integer, version integer)",
    "CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "writer text, n integer)",
    "INSERT INTO account SELECT n, 'o' || n, 0, 0 FROM generate_series(1, 20) AS n",
)


class Writer(threading.Thread):
    """Commits some transactions and rolls back others until `stop`; a lost server ends it."""

    def __init__(self, number: int, database: Database, sender: ContextSender, seed: int) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self.actor = Actor("staff", f"w{number}")
        self.number = number
        self.stop = threading.Event()
        self.committed = 0
        self.error: BaseException | None = None
        self._database = database
        self._sender = sender
        self._rng = random.Random(seed)

    def run(self) -> None:
        try:
            with contextlib.closing(self._database.connect("app")) as connection:
                while not self.stop.is_set():
                    with contextlib.suppress(psycopg.errors.DeadlockDetected, ZeroDivisionError):
                        self._once(connection)
                        self.committed += 1
        except psycopg.OperationalError:
            pass  # the server was stopped under us
        except BaseException as error:
            self.error = error

    def _once(self, connection: psycopg.Connection[Any]) -> None:
        rng = self._rng
        with acting_as(self.actor), connection.transaction(), connection.cursor() as cursor:
            self._sender.send_context(cursor, current_frame())
            for _ in range(rng.randrange(1, 5)):
                cursor.execute(
                    "UPDATE account SET amount = amount + 1, version = version + 1 WHERE id = %s",
                    (rng.randrange(1, 21),),
                )
                cursor.execute(
                    "INSERT INTO note (writer, n) VALUES (%s, %s)",
                    (self.actor.id, self.committed),
                )
            if rng.randrange(4) == 0:
                cursor.execute("SAVEPOINT s")
                cursor.execute("DELETE FROM note WHERE writer = %s", (self.actor.id,))
                cursor.execute("ROLLBACK TO s")
            if rng.randrange(3) == 0:
                raise ZeroDivisionError
