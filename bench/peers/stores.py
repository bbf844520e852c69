"""The databases that variants work on, and what each library left in them or beside them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from tests.servers import Database

from bench.peers import works
from indelible.events.codec import decode_event
from indelible.trail import Trail
from indelible.transport.journal_files import JournalFile
from indelible.transport.journal_frames import FrameKind


class Kept(NamedTuple):
    """How many rows were recorded, and of how many it is known who wrote or read them."""

    rows: int
    attributed: int

    def since(self, before: Kept) -> Kept:
        return Kept(self.rows - before.rows, self.attributed - before.attributed)


class Recording(NamedTuple):
    """The tables that a library writes to, and the SQL that counts what they hold."""

    tables: tuple[str, ...]
    count: str


RECORDINGS = {
    "auditlog": Recording(
        ("auditlog_logentry",), "SELECT count(*), count(actor_id) FROM auditlog_logentry"
    ),
    "simple_history": Recording(
        ("shop_historicalitem",), "SELECT count(*), count(history_user_id) FROM shop_historicalitem"
    ),
    "pghistory": Recording(
        ("shop_itemevent", "pghistory_context"),
        "SELECT count(*), count(pgh_context_id) FROM shop_itemevent",
    ),
    "continuum": Recording(
        ("item_version", "transaction"),
        "SELECT count(*), count(t.user_id) FROM item_version v "
        'LEFT JOIN "transaction" t ON t.id = v.transaction_id',
    ),
    "postgresql_audit": Recording(
        ("activity", "transaction"),
        "SELECT count(*), count(t.actor_id) FROM activity a "
        'LEFT JOIN "transaction" t ON t.id = a.transaction_id',
    ),
}
IN_SERVER = Recording(
    ("indelible.outbox",), "SELECT count(*), count(ctx) FROM indelible.outbox WHERE op < 8"
)
IN_FILE = Recording(
    ("indelible_outbox",), "SELECT count(*), count(ctx) FROM indelible_outbox WHERE op < 8"
)


class Journals:
    """The trail of one captured variant, which nobody relays, and the reads in its journals."""

    def __init__(self, directory: Path, url: str) -> None:
        config = directory / "indelible.toml"
        server = f"[database]\nurl = '{url}'\n" if url else ""
        # A relay in an application's process looks once and then sleeps: its time is no request's.
        config.write_text(
            f"[trail]\nurl = 'sqlite:///trail.db'\n[relay]\npoll_s = 86400.0\n{server}"
        )
        with Trail.create(config) as trail:
            self._directory = trail.policy.journals
        self._read_to: dict[Path, int] = {}
        self._kept = Kept(0, 0)

    def count(self) -> Kept:
        """The rows that all accesses so far name, where they name all that were read."""
        rows, attributed = self._kept
        for path in sorted(self._directory.glob("*.journal")):
            with contextlib.closing(JournalFile(path)) as file:
                is_at_end = False
                while not is_at_end:
                    piece = file.read(
                        self._read_to.get(path, 0), limit=10_000, max_bytes=1 << 24, is_final=False
                    )
                    self._read_to[path], is_at_end = piece.end, piece.is_at_end
                    for frame in piece.frames:
                        if frame.kind is FrameKind.EVENT:
                            named, known = _named(frame.bodies)
                            rows, attributed = rows + named, attributed + known
        self._kept = Kept(rows, attributed)
        return self._kept


def _named(bodies: tuple[bytes, ...]) -> tuple[int, int]:
    named = known = 0
    for body in bodies:
        event = decode_event(body)
        if event.kind == "access":
            rows = sum(len(t.ids) for t in event.targets if t.coverage == "exact")
            named += rows
            known += rows if event.actor is not None else 0
    return named, known


class Store:
    """The application's database, filled anew before each work that writes."""

    _connection: psycopg.Connection[Any] | sqlite3.Connection

    def __init__(self, recording: Recording | None) -> None:
        self._recording = recording

    def clean(self) -> None:
        """20,000 rows, as after a VACUUM, and nothing recorded."""
        raise NotImplementedError

    def count(self) -> Kept:
        """What was recorded since."""
        if self._recording is None:
            return Kept(0, 0)
        return Kept(*self._connection.execute(self._recording.count).fetchone())

    def serving(self) -> list[int]:
        """The server's processes that work for this database."""
        return []


class ServerStore(Store):
    def __init__(self, database: Database, recording: Recording | None) -> None:
        super().__init__(recording)
        self._connection = database.connect("postgres")

    def clean(self) -> None:
        columns = ", ".join(works.COLUMNS)
        self._connection.execute("TRUNCATE item")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY item ({columns}) FROM STDIN") as copy,
        ):
            for n in range(1, works.ROWS + 1):
                copy.write_row(list(works.row(n).values()))
        self._connection.execute(
            "SELECT setval(pg_get_serial_sequence('item', 'id'), max(id)) FROM item"
        )
        if self._recording:
            tables = ", ".join(self._recording.tables)
            self._connection.execute(f"TRUNCATE {tables} CASCADE")
        self._connection.execute("VACUUM ANALYZE")
        self._connection.execute("CHECKPOINT")

    def serving(self) -> list[int]:
        found = self._connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return [row[0] for row in found]


class FileStore(Store):
    def __init__(self, path: Path, recording: Recording | None) -> None:
        super().__init__(recording)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)

    def clean(self) -> None:
        columns = ", ".join(works.COLUMNS)
        places = ", ".join(f":{name}" for name in works.COLUMNS)
        tables = self._recording.tables if self._recording else ()
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("DELETE FROM item")
        self._connection.executemany(
            f"INSERT INTO item ({columns}) VALUES ({places})",
            (works.row(n) for n in range(1, works.ROWS + 1)),
        )
        for table in tables:
            self._connection.execute(f'DELETE FROM "{table}"')
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
