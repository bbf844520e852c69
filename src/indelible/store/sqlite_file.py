"""The file of a trail: made, opened, and its failures told apart.

Whoever can write this file can edit, remove and add entries; `indelible verify` finds it. They can
put an older copy of the whole file in its place; only a verifier that remembers more finds that.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from indelible.errors import (
    NoTrailError,
    StoreBusyError,
    StoreFullError,
    TrailExistsError,
    TrailFormatError,
)
from indelible.named_sql import load_statements
from indelible.store.errors import MalformedBlockError, StoreReadOnlyError
from indelible.tlog import EMPTY_ROOT

APPLICATION_ID: Final = 0x494E4445
FORMAT: Final = 5
BUSY_TIMEOUT_S: Final = 10.0
_MAX_IDLE: Final = 4


def statements() -> Mapping[str, str]:
    """The named statements of `queries.sql`."""
    return load_statements(__package__, "queries.sql")


def create_trail_file(path: Path, *, origin: str, vkey: str, source_id: str) -> None:
    """Make an empty trail at `path`, durably or not at all, readable by its owner only.

    Raises `TrailExistsError` where there is anything already.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb"):
            path.chmod(0o600)
    except FileExistsError:
        raise TrailExistsError(f"expected no file at {path}, there is one already") from None
    except OSError as error:
        raise StoreReadOnlyError(f"can't make a trail at {path}: {error.strerror}") from None
    try:
        with store_errors(path), contextlib.closing(_connect(path)) as connection:
            connection.execute("PRAGMA page_size = 8192")
            # The file shrinks by what was sealed, in slices.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_schema()}")
            named = statements()
            connection.execute(named["create_trail"], (origin, vkey, source_id, EMPTY_ROOT))
            connection.execute(named["create_lease"])
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def open_connection(path: Path) -> sqlite3.Connection:
    """A connection to the trail at `path`, in autocommit mode, which syncs every commit.

    Raises `NoTrailError` where there is no file and `TrailFormatError` where it is no trail of a
    format that we read.
    """
    if not path.is_file():
        raise NoTrailError(f"expected a trail at {path}, there is none: `indelible init` makes one")
    with store_errors(path):
        connection = _connect(path)
        try:
            _check_format(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def flush_log(connection: sqlite3.Connection, path: Path) -> None:
    """All that was committed stands in the file itself, and what it replaced nowhere any more.

    Raises `StoreBusyError` while somebody reads what was before.
    """
    with store_errors(path):
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise StoreBusyError(
                f"expected nobody to read {path} as it was before within {BUSY_TIMEOUT_S:g} s, "
                "somebody does: run it again"
            )


Connect = Callable[[Path], sqlite3.Connection]
"""How a trail's file is opened; a test may record and break what the connection does."""


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """SQLite's failures as ours, by who must act."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusyError(
                f"expected {path} to be free within {BUSY_TIMEOUT_S:g} s, another process holds it"
            ) from None
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StoreFullError(
                f"expected room to write {path}: {error}; nothing that was acknowledged is lost: "
                "make room, it goes on by itself"
            ) from None
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise StoreReadOnlyError(f"expected to be allowed to write {path}: {error}") from None
        if code == sqlite3.SQLITE_NOTADB:
            raise TrailFormatError(f"expected a trail at {path}: {error}") from None
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT):
            raise MalformedBlockError(
                f"expected {path} as it was written, the file is damaged: {error}"
            ) from None
        raise


class ReadConnections:
    """Connections for readers: each read has one to itself, in one short transaction."""

    def __init__(self, path: Path, connect: Connect = open_connection) -> None:
        self.path = path
        self._connect = connect
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._is_closed = False
        self._pid = os.getpid()
        self._inherited: list[queue.LifoQueue[sqlite3.Connection]] = []

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """One consistent view, let go when the block ends."""
        if self._pid != os.getpid():
            # A forked child must neither use its parent's connections nor close them: closing
            # would drop the parent's locks.
            self._inherited.append(self._idle)
            self._idle = queue.LifoQueue()
            self._pid = os.getpid()
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect(self.path)
        try:
            with store_errors(self.path):
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.rollback()
        finally:
            if self._is_closed or self._idle.qsize() >= _MAX_IDLE:
                connection.close()
            else:
                self._idle.put(connection)

    def close(self) -> None:
        """Close what is idle now; what is in use closes itself."""
        self._is_closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    # FULL: what is acknowledged survives loss of power, at one fdatasync a commit.
    # What is replaced is overwritten where its page is written anyhow.
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _schema() -> str:
    return resources.files(__package__).joinpath("schema.sql").read_text("utf-8")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise TrailFormatError(f"expected a trail at {path}, it is another SQLite database")
    if version != FORMAT:
        raise TrailFormatError(
            f"expected a trail of format {FORMAT} at {path}, it has format {version}: "
            "use the Indelible that made it"
        )
