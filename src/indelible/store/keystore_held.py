"""A keystore that is held open by who looks into it often, and whether others changed it since."""

from __future__ import annotations

import sqlite3
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from indelible.events.model import Subject
from indelible.store.keystore import WAIT_S, Enrolled, Keystore


class HeldKeystore:
    """One connection, and the master key once it was needed. For one thread at a time.

    A child that is forked uses it under a lock that was held over the fork
    (`indelible.forking.hold_while_forking`, with `begin_in_child`): a transaction that is under way
    mustn't be seen twice.
    """

    def __init__(self, keystore: Keystore, wait_s: float = WAIT_S) -> None:
        self.keystore: Final = keystore
        self._wait_s = wait_s
        self._connection: sqlite3.Connection | None = None
        self._master: X25519PrivateKey | None = None
        self._inode = 0
        self._version: int | None = None
        self._inherited: list[sqlite3.Connection] = []

    @property
    def connection(self) -> sqlite3.Connection:
        """In autocommit. Raises SQLite's errors (`Keystore.errors`)."""
        if self._connection is None:
            self._connection = self.keystore.connect(self._wait_s)
        return self._connection

    def has_changed(self) -> bool:
        """Whether others committed since this was asked last, or put another file in its place.

        True at first. Raises `KeystoreError` where there is none any more, and `StoreBusyError`.
        """
        inode = self.keystore.inode()
        if inode != self._inode:
            self.close()
            self._inode = inode
        with self.keystore.errors():
            # Not by the file's times, which may be the same for two commits.
            (version,) = self.connection.execute("PRAGMA data_version").fetchall()[0]
        if version == self._version:
            return False
        self._version, self._master = version, None
        return True

    def enrolled(self, subject: tuple[str, str]) -> Enrolled | None:
        """The subject's token and public key; None where it has none."""
        with self.keystore.errors():
            return self.keystore.enrolled(self.connection, subject)

    def subject_of(self, token: str) -> Subject | None:
        """Whose token it is; None for one that isn't known, or any more."""
        with self.keystore.errors():
            return self.keystore.named(self.connection, token)

    def private_key(self, token: str) -> X25519PrivateKey | None:
        """See `Keystore.private_key`."""
        with self.keystore.errors():
            wrapped = self.keystore.wrapped(self.connection, token)
            if wrapped is None:
                return None
            if self._master is None:
                self._master = self.keystore.master_key(self.connection)
        return self.keystore.unwrap(self._master, token, wrapped)

    def close(self) -> None:
        """Hold nothing any more; the next call opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = self._master = None

    def begin_in_child(self) -> None:
        """A forked child neither uses its parent's connection nor closes it."""
        if self._connection is not None:
            self._inherited.append(self._connection)
        self._connection = self._version = self._master = None
