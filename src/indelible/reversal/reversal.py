"""A reversal as a person sees it: a plan to look at, then one transaction that carries it out."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from indelible.capture.host import CaptureHost
from indelible.capture.sqlite_context import WriteContext
from indelible.capture.sqlite_schema import path_of_database
from indelible.errors import ReversalError
from indelible.events.codec import decode_event, seal
from indelible.events.context import Frame, current_frame
from indelible.events.model import Producer
from indelible.policy.model import Server
from indelible.questions.restores import read_restores
from indelible.questions.row_change import RowChange, row_change_of
from indelible.questions.window import Window
from indelible.reversal.gather import refresh_selection
from indelible.reversal.plan import Selection
from indelible.reversal.sqlite_rows import query
from indelible.reversal.steps import Plan, Step
from indelible.reversal.writer import apply_reversal, plan_on
from indelible.store.protocol import TrailReader
from indelible.transport.outbox import OutboxPage, OutboxReader

_BUSY_TIMEOUT_S = 10.0
_PAGE_ROWS = 1_000
_PAGE_BYTES = 8 << 20


class Database(Protocol):
    """Where a reversal is carried out. Every method raises `ReversalError`."""

    def plan(self, selection: Selection, *, force: bool) -> Plan:
        """The plan against the database as it is now; writes nothing."""

    def apply(
        self,
        select: Callable[[], Selection],
        frame: Frame,
        before: Selection,
        *,
        force: bool,
        keep: bool = True,
    ) -> Plan:
        """Reverse what `select` gives, called under the database's lock, as `frame`'s changes.

        Without `keep` it is all rolled back once it is known that it could be committed.
        """


class Reversal:
    """What reversing `selection` would do to `database`; nothing is written before `apply`."""

    def __init__(
        self,
        selection: Selection,
        database: Database,
        *,
        reader: TrailReader,
        outbox: OutboxReader,
        force: bool = False,
    ) -> None:
        """Makes the plan against the database as it is. Raises `ReversalError`.

        `outbox` gives rows as soon as they are committed.
        """
        self._selection = selection
        self._database = database
        self._reader = reader
        self._outbox = outbox
        self._force = force
        self.plan: Plan = database.plan(selection, force=force)

    @property
    def restorable(self) -> tuple[Step, ...]:
        """Rows that would be written."""
        return self.plan.restorable

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """Rows that are left alone, in whole or in some column, and why."""
        return self.plan.conflicts

    def __str__(self) -> str:
        return str(self.plan)

    def apply(self, database: object = None, *, keep: bool = True) -> Plan:
        """Carry it out as whoever is acting (`acting_as`), and return the plan that was.

        Without `keep` that is a rehearsal: it is rolled back where it would be committed.
        Each row is decided again under the database's lock; applying twice changes nothing more.
        `database` (an engine, a connection) only says which file, where it moved. Raises
        `ReversalError`; the database is then as it was.
        """
        if database is not None and isinstance(self._database, SqliteDatabase):
            self._database.path = database_path(database)
        frame = current_frame()
        if frame is None or frame.actor is None:
            raise ReversalError(
                "expected somebody to reverse as: with acting_as(Actor(...), reason=...)"
            )
        with contextlib.closing(self._outbox):
            return self._database.apply(
                lambda: refresh_selection(self._reader, self._selection, self._pending()),
                frame,
                self._selection,
                force=self._force,
                keep=keep,
            )

    def _pending(self) -> Iterator[RowChange]:
        """The changes that wait in the outbox, whether or not the trail has some of them too."""
        since = 1
        restores = read_restores(self._reader, Window(), size=self._reader.size)
        while True:
            page = self._outbox.read_page(since, limit=_PAGE_ROWS, max_bytes=_PAGE_BYTES)
            epoch = self._epoch_of(page)
            # Rows that came with the backup are in the trail, of the epoch before.
            here = (page.incarnation, epoch)
            held = max(
                (one.after for one in restores if (one.incarnation, one.epoch) == here), default=0
            )
            for row in page.rows:
                decoded = self._outbox.decode_alone(row)
                since = decoded.seq + 1
                if decoded.seq <= held:
                    continue
                place = Producer(page.incarnation, epoch, decoded.seq)
                event = decode_event(seal(decoded.draft, decoded.time, place))
                change = row_change_of(event, -1)
                if change is not None:
                    yield change
            if page.is_whole or not page.rows:
                return

    def _epoch_of(self, page: OutboxPage) -> int:
        """The epoch that the relay gives to rows of this outbox: a later one after a restore."""
        known = [
            source.epoch
            for source in self._reader.sources()
            if source.producer_id == page.incarnation
        ]
        return max([page.opened, *known])


def server_database(server: Server, context_key: bytes, kind_of: Callable[[str], str]) -> Database:
    """The policy's server. Its modules are imported here: most trails need no driver."""
    if server.is_mariadb:
        from indelible.reversal.mariadb_writer import MariadbDatabase

        return MariadbDatabase(server, context_key, kind_of)
    from indelible.reversal.postgres_writer import PostgresDatabase

    return PostgresDatabase(server, context_key, kind_of)


class SqliteDatabase:
    """The file at `path`. Foreign keys are enforced, whether or not the application does."""

    def __init__(self, path: Path, host: CaptureHost) -> None:
        self.path = path
        self._host = host

    def plan(self, selection: Selection, *, force: bool) -> Plan:
        """See `Database.plan`."""
        with self._connection() as connection:
            return plan_on(connection, selection, kind_of=self._kind_of, force=force)

    def apply(
        self,
        select: Callable[[], Selection],
        frame: Frame,
        before: Selection,
        *,
        force: bool,
        keep: bool = True,
    ) -> Plan:
        """See `Database.apply`."""
        with self._connection() as connection:
            return apply_reversal(
                connection,
                lambda _: select(),
                kind_of=self._kind_of,
                context_of=lambda borrowed: WriteContext(borrowed, self._host),
                frame=frame,
                force=force,
                keep=keep,
            )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # One of our own: the application's has a context of its own, which must stay.
        if not self.path.is_file():
            raise ReversalError(f"expected the application's database at {self.path}, none there")
        with contextlib.closing(
            sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection

    def _kind_of(self, table: str) -> str:
        return self._host.policy.table(table).kind


def database_path(database: Any) -> Path:
    """The file under an engine, a connection, or a path. Raises `ReversalError`."""
    if isinstance(database, str | Path):
        return Path(database)
    if isinstance(database, sqlite3.Connection):
        return path_of_database(partial(query, database))
    engine = getattr(database, "sync_engine", getattr(database, "engine", database))
    file = getattr(getattr(engine, "url", None), "database", None)
    if not isinstance(file, str) or not file:
        raise ReversalError(
            "expected a path, a sqlite3 connection or a SQLAlchemy engine on a file, got "
            f"{type(database).__module__}.{type(database).__qualname__}"
        )
    return Path(file)
