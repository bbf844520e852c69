"""Names and tokens looked up in a keystore by the thousand: by one connection that stays open."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any, Final

from indelible.events.model import Subject
from indelible.named_sql import load_statements
from indelible.store.keystore import Enrolled, Keystore

_SQL: Final = load_statements(__package__, "keystore.sql")


class LookUp:
    """Reads what is committed. Safe for threads; after a fork the child opens one of its own."""

    def __init__(self, keystore: Keystore) -> None:
        self._keystore = keystore
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0)
        self._inherited: list[sqlite3.Connection] = []

    def enrolled(self, subject: tuple[str, str]) -> Enrolled | None:
        """The subject's token and public key; None where it has none."""
        found = self._row("subject", subject)
        return None if found is None else Enrolled(*found)

    def subject_of(self, token: str) -> Subject | None:
        """Whose token it is; None for one that isn't known, or any more."""
        found = self._row("name", (token,))
        return None if found is None else Subject(*found)

    def close(self) -> None:
        """Let go of the file; the next look opens it again."""
        with self._lock:
            self._close()

    def _row(self, statement: str, parameters: tuple[str, ...]) -> Any:
        with self._lock, self._keystore.errors():
            # Another file may stand there: it was put back.
            here = (os.getpid(), self._keystore.version()[0])
            if self._connection is None or here != self._opened:
                if self._connection is not None and here[0] != self._opened[0]:
                    # A child must neither use its parent's nor close it.
                    self._inherited.append(self._connection)
                    self._connection = None
                self._close()
                self._connection = self._keystore.connect()
                self._opened = here
            return self._connection.execute(_SQL[statement], parameters).fetchone()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
