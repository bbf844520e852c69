"""What capture costs PostgreSQL: CPU of the backend and of the client, with triggers and without.

`python -m bench.capture_postgres`. Starts a server of its own, as the tests do.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from pathlib import Path
from typing import Any

from tests.capture.writes.capturing import KEY, MemoryJournal, policy_of
from tests.servers import Database, PostgresServer

from indelible import Actor, acting_as
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.install import incarnation_of, install
from indelible.events.context import current_frame
from indelible.policy import Server

_ROWS = 20_000
_TRANSACTIONS = 1_000
_ROUNDS = 3
_TABLE = (
    "CREATE TABLE item (id integer PRIMARY KEY, a text, b text, c integer, d integer, "
    "e numeric(12,2), f text, g boolean, h date, i timestamptz, j text, k integer)"
)
_ROW = (
    "n, 'name ' || n, repeat('x', 60), n, n * 2, n / 100.0, repeat('y', 80), mod(n, 2) = 0, "
    "'2026-01-01', '2026-01-01 00:00+00', 'note ' || n, mod(n, 7)"
)


def main() -> None:
    server = PostgresServer(shared_buffers="512MB")
    try:
        databases = {}
        for name in ("plain", "captured"):
            database = databases[name] = Database(server, name)
            database.execute(_TABLE)
        server_of = Server(databases["captured"].url())
        install(server_of, policy_of(), journal=MemoryJournal())
        sender = ContextSender(KEY, incarnation_of(server_of))
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for _ in range(_ROUNDS):
            for name, database in databases.items():
                for work, cost in measure(database, sender if name == "captured" else None).items():
                    found.setdefault(work, {}).setdefault(name, []).append(cost)
        for work, costs in found.items():
            cpu = {name: statistics.median(c for c, _ in each) for name, each in costs.items()}
            wall = {name: statistics.median(w for _, w in each) for name, each in costs.items()}
            count = _TRANSACTIONS if "transaction" in work else _ROWS
            added = (wall["captured"] - wall["plain"]) / count * 1e6
            print(
                f"{work:32} plain {wall['plain'] * 1e3:7.0f} ms  captured "
                f"{wall['captured'] * 1e3:7.0f} ms  x{wall['captured'] / wall['plain']:.2f} wall  "
                f"x{cpu['captured'] / cpu['plain']:.2f} CPU  {added:+.1f} µs each"
            )
    finally:
        server.remove()


def measure(database: Database, sender: ContextSender | None) -> dict[str, tuple[float, float]]:
    database.execute("TRUNCATE item")
    if sender is not None:
        database.execute("TRUNCATE indelible.outbox")
    database.execute("VACUUM")
    found = {}
    with contextlib.closing(database.connect()) as connection:
        pid = connection.info.backend_pid

        def timed(work: Any) -> tuple[float, float]:
            cpu, wall = cpu_of(pid), time.perf_counter()
            work()
            return cpu_of(pid) - cpu, time.perf_counter() - wall

        def one_by_one(statement: str) -> None:
            for n in range(_TRANSACTIONS):
                with (
                    acting_as(Actor("staff", "alice")),
                    connection.transaction(),
                    connection.cursor() as cursor,
                ):
                    if sender is not None:
                        sender.send_context(cursor, current_frame())
                    cursor.execute(statement, (n,))

        insert = f"INSERT INTO item SELECT {_ROW} FROM (VALUES (%s::integer)) AS s (n)"
        found["insert, a transaction each"] = timed(lambda: one_by_one(insert))
        connection.execute("ANALYZE item")
        change = "UPDATE item SET c = c + 1, a = a || '!' WHERE id = %s"
        found["update, a transaction each"] = timed(lambda: one_by_one(change))
        connection.execute("TRUNCATE item")
        found["insert of 20,000 rows"] = timed(
            lambda: connection.execute(
                f"INSERT INTO item SELECT {_ROW} FROM generate_series(1, {_ROWS}) AS n"
            )
        )
        found["update of 20,000 rows"] = timed(
            lambda: connection.execute("UPDATE item SET c = c + 1, a = a || '!'")
        )
        found["delete of 20,000 rows"] = timed(lambda: connection.execute("DELETE FROM item"))
    return found


def cpu_of(pid: int) -> float:
    """Seconds of this process and of the backend."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()


if __name__ == "__main__":
    main()
