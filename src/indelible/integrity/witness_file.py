"""The file of a witness: for each tlog what it cosigned last, and what it refused.

Whoever can write this file, or put an older copy of it in its place, can make the witness cosign
another history. So never restore it from a backup: make a new witness, with a new key.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from indelible.errors import ConfigurationError
from indelible.named_sql import load_statements
from indelible.store.sqlite_file import BUSY_TIMEOUT_S, Connect, store_errors
from indelible.tlog import EMPTY_ROOT, Hash, Size, VerifierKey

APPLICATION_ID: Final = 0x494E4457
FORMAT: Final = 1
MOST_REFUSED: Final = 1_000
"""Unproven refusals kept of a tlog: any signed checkpoint can be sent with a bad proof."""


class WitnessedTlog(NamedTuple):
    """A tlog, and how far it was witnessed. `heard` and `retired` are POSIX seconds."""

    origin: str
    key: VerifierKey
    size: Size
    root: Hash
    checkpoint: bytes | None
    heard: int
    retired: int | None


class Refused(NamedTuple):
    """A checkpoint that the tlog's key signed, and that isn't one of the tree that was cosigned.

    `known` is the signed and cosigned checkpoint that it contradicts. With `proven` both have the
    same size, and whoever holds the tlog's public key can see that it signed two histories.
    Without, all that is known is that nobody proved the two to be consistent.
    """

    origin: str
    size: Size
    root: Hash
    offered: bytes
    known: bytes
    proven: bool
    seen: int
    acknowledged: str | None = None


class WitnessFile:
    """See above. Safe for threads and processes; each method that writes is one durable commit."""

    def __init__(self, path: Path, *, connect: Connect | None = None) -> None:
        """Raises `ConfigurationError` where there is no witness's file of this format.

        `connect` gives the connection, so that a test can record and break its steps.
        """
        if not path.is_file():
            raise ConfigurationError(
                f"expected a witness at {path}, there is none: `indelible witness init` makes one"
            )
        self.path = path
        self._sql = load_statements(__package__, "witness_queries.sql")
        self._writing = threading.Lock()
        with store_errors(path):
            self._connection = (connect or _connect)(path)
            try:
                _check_format(self._connection, path)
                row = self._connection.execute(self._sql["vkey"]).fetchone()
            except BaseException:
                self._connection.close()
                raise
        self.vkey: str = row[0]

    @classmethod
    def create(cls, path: Path, vkey: str) -> WitnessFile:
        """Make an empty one, durably or not at all, for that key; raises `ConfigurationError`."""
        try:
            with path.open("xb"):
                path.chmod(0o600)
        except OSError as error:
            raise ConfigurationError(f"can't make a witness at {path}: {error.strerror}") from None
        try:
            with store_errors(path), contextlib.closing(_connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                schema = resources.files(__package__).joinpath("witness_schema.sql")
                connection.executescript(f"BEGIN IMMEDIATE; {schema.read_text('utf-8')}")
                named = load_statements(__package__, "witness_queries.sql")
                connection.execute(named["create"], (vkey,))
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("COMMIT")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return cls(path)

    def add_tlog(self, origin: str, key: VerifierKey, now: int) -> None:
        """Witness this tlog from now on; raises `ConfigurationError` for one that is there."""
        with self.transaction() as connection:
            if connection.execute(self._sql["tlog"], (origin,)).fetchone() is not None:
                raise ConfigurationError(f"expected a tlog that isn't witnessed yet, came {origin}")
            connection.execute(self._sql["add"], (origin, str(key), EMPTY_ROOT, now))

    def retire_tlog(self, origin: str, now: int) -> None:
        """Cosign it no more and don't miss it; what was cosigned stays.

        Raises `ConfigurationError` for a tlog that isn't witnessed.
        """
        with self.transaction() as connection:
            if connection.execute(self._sql["retire"], (now, origin)).rowcount != 1:
                raise ConfigurationError(f"expected a tlog that is witnessed, came {origin}")

    def rekey_tlog(self, origin: str, key: VerifierKey) -> None:
        """Expect its checkpoints to be signed by `key` from now on; what was cosigned stays."""
        with self.transaction() as connection:
            if connection.execute(self._sql["rekey"], (str(key), origin)).rowcount != 1:
                raise ConfigurationError(f"expected a tlog that is witnessed, came {origin}")

    def tlog(self, origin: str) -> WitnessedTlog | None:
        with self._writing, store_errors(self.path):
            row = self._connection.execute(self._sql["tlog"], (origin,)).fetchone()
        return None if row is None else _tlog(row)

    def tlogs(self) -> list[WitnessedTlog]:
        with self._writing, store_errors(self.path):
            rows = self._connection.execute(self._sql["tlogs"]).fetchall()
        return [_tlog(row) for row in rows]

    def refused(self) -> list[Refused]:
        with self._writing, store_errors(self.path):
            rows = self._connection.execute(self._sql["refusals"]).fetchall()
        return [Refused(*row)._replace(proven=bool(row[5])) for row in rows]

    def acknowledge(self, origin: str, reason: str) -> int:
        """Say that all that was refused of this tlog was looked at; how many there were."""
        with self.transaction() as connection:
            return connection.execute(self._sql["acknowledge"], (reason, origin)).rowcount

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it durably when the block ends, or nothing. Nobody else writes meanwhile."""
        connection = self._connection
        with self._writing, store_errors(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def read_tlog(self, connection: sqlite3.Connection, origin: str) -> WitnessedTlog | None:
        """The tlog, within a transaction."""
        row = connection.execute(self._sql["tlog"], (origin,)).fetchone()
        return None if row is None else _tlog(row)

    def replace(
        self,
        connection: sqlite3.Connection,
        known: WitnessedTlog,
        size: Size,
        root: Hash,
        checkpoint: bytes,
        now: int,
    ) -> None:
        """Within a transaction: go from `known`, which must still be so, to a cosigned checkpoint.

        Raises `ConfigurationError` where it isn't so any more: nothing may be cosigned then.
        """
        changed = connection.execute(
            self._sql["replace"],
            {
                "origin": known.origin,
                "old_size": known.size,
                "old_root": known.root,
                "size": size,
                "root": root,
                "checkpoint": checkpoint,
                "heard": now,
            },
        ).rowcount
        if changed != 1:
            raise ConfigurationError(
                f"expected {known.origin} as it was read, it changed meanwhile"
            )
        connection.execute(self._sql["withdraw"], (known.origin, size, root))

    def refuse(self, connection: sqlite3.Connection, refused: Refused) -> None:
        """Within a transaction: keep what was refused, once."""
        values = refused._asdict() | {"proven": int(refused.proven), "most": MOST_REFUSED}
        connection.execute(self._sql["refuse"], values)

    def close(self) -> None:
        with self._writing:
            self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    # FULL: what was cosigned is on disk before the cosignature is given out.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


_MARKS: Final = ("application_id", "user_version")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    found = [connection.execute(f"PRAGMA {each}").fetchone()[0] for each in _MARKS]
    if found != [APPLICATION_ID, FORMAT]:
        raise ConfigurationError(
            f"expected a witness of format {FORMAT} at {path}, it is another database or format"
        )


def _tlog(row: tuple[str, str, int, bytes, bytes | None, int, int | None]) -> WitnessedTlog:
    return WitnessedTlog(
        row[0], VerifierKey.parse(row[1]), Size(row[2]), Hash(row[3]), row[4], row[5], row[6]
    )
