"""An application on a database that is really captured, and what an operator does to its file."""

import shutil
import sqlite3
from pathlib import Path

from indelible.capture.sealing import NO_SEALING
from indelible.capture.sqlite_context import WriteContext
from indelible.capture.sqlite_install import install
from indelible.events.context import current_frame
from indelible.policy.model import Policy
from indelible.transport.outbox_reader import SqliteOutboxReader

INCARNATION = "0123456789abcdef"
OPENED = 1_600_000_000_000_000
KEY = bytes(range(32))
READ_S = 0.05


class ListJournal:
    """Keeps what `install` writes of the rows that were there."""

    def __init__(self) -> None:
        self.sealing = NO_SEALING
        self.drafts: list[bytes] = []

    def append(self, draft: bytes) -> str:
        self.drafts.append(draft)
        return str(len(self.drafts))

    append_later = append  # type: ignore[assignment]

    def sync(self) -> None:
        pass


class Host:
    """What a captured connection asks of the trail."""

    context_key = KEY

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.journal = ListJournal()

    def delivered_through(self, incarnation: str) -> int:
        return 0

    def watch_database(self, path: Path) -> None:
        pass

    def notice(self, action: str, message: str, **details: str) -> None:
        raise AssertionError(message)


class Application:
    """Writes notes; deletes delivered outbox rows in its transactions, as its triggers would."""

    def __init__(self, path: Path, *, journal_mode: str = "wal") -> None:
        self.path = path
        self.policy = Policy(
            trail=path.with_name("trail.db"),
            journals=path.with_name("journals"),
            keys=path.with_name("keys"),
            origin="example.org/shop",
        )
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        self.connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text)")
        self.connection.execute("CREATE TABLE label (name TEXT PRIMARY KEY)")
        install(
            path,
            self.policy,
            journal=ListJournal(),
            clock_ns=lambda: OPENED * 1_000,
            rng=lambda count: INCARNATION,
        )

    def write(self, *notes: object, delivered_through: int = 0) -> None:
        """One transaction, with one row of the outbox for each note."""
        self.connection.execute("BEGIN IMMEDIATE")
        for note in notes:
            self.connection.execute("INSERT INTO note (text) VALUES (?)", (note,))
        self.connection.execute("DELETE FROM indelible_outbox WHERE id < ?", (delivered_through,))
        self.connection.execute("COMMIT")

    def write_as_actor(self, *notes: object) -> None:
        """One transaction of whoever is acting now, on a connection that says so."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        context = WriteContext(connection, Host(self.policy))
        for statement in ("BEGIN", *notes, "COMMIT"):
            context.enter(current_frame())
            if statement in ("BEGIN", "COMMIT"):
                connection.execute(str(statement))
            else:
                connection.execute("INSERT INTO note (text) VALUES (?)", (statement,))
            context.leave()
        context.ended()
        connection.close()

    def replay(self, row: int) -> None:
        """What somebody with access to the database can do: use a row's context again."""
        columns = "time, ctx, layout, op, s0, s1, o0, n0, o1, n1"
        self.connection.execute(
            f"INSERT INTO indelible_outbox ({columns}) "
            f"SELECT {columns} FROM indelible_outbox WHERE id = ?",
            (row,),
        )

    def ids(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT id FROM indelible_outbox")]

    def reader(self, path: Path) -> SqliteOutboxReader:
        return SqliteOutboxReader(
            path, context_key=KEY, ledgers=self.policy.journals, read_s=READ_S
        )

    def back_up(self, to: Path) -> None:
        copy = sqlite3.connect(to)
        self.connection.backup(copy)
        copy.close()

    def restore(self, backup: Path) -> None:
        """As an operator does it: stopped, the file replaced, started again."""
        self.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(backup, self.path)
        self.connection = sqlite3.connect(self.path, isolation_level=None)

    def close(self) -> None:
        self.connection.close()
