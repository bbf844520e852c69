"""Delivered rows leave an SQLite database's outbox at once, their bytes overwritten.

Otherwise they go with later writes of the application's, and the last one stays. An event of our
own takes its place, so that whoever relays still finds what it delivered last.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from indelible.capture.host import CaptureHost
from indelible.capture.sqlite_context import WriteContext
from indelible.capture.sqlite_names import NOTES, OUTBOX
from indelible.errors import DeliveryError
from indelible.events.codec import encode_draft
from indelible.events.context import current_frame
from indelible.events.model import Event

CLEARED: Final = "outbox.cleared"
_BUSY_S: Final = 30.0


def clear_outbox(path: Path, host: CaptureHost, carry: Callable[[str, int, str], None]) -> int:
    """How many rows were deleted from the outbox of the database at `path`.

    `carry` returns when the row of that incarnation, number and transaction is in the trail. Raises
    `DeliveryError` where the database stays locked, or can't be written; and what `carry` does.
    """
    if not path.is_file():
        raise DeliveryError(f"expected the application's database at {path}, there is none")
    try:
        with contextlib.closing(
            sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            context = WriteContext(connection, host)
            connection.execute("BEGIN IMMEDIATE")
            transaction = context.transaction or ""
            draft = encode_draft(Event(action=CLEARED, kind="system", transaction=transaction))
            context.record(draft, current_frame())
            last = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
            connection.execute("COMMIT")
            context.ended()
            context.detach()
            carry(context.incarnation, last, transaction)
            connection.execute("BEGIN IMMEDIATE")
            gone = connection.execute(f"DELETE FROM {OUTBOX} WHERE id < ?", (last,)).rowcount
            # No statement is under way while we hold the write lock: its notes are of no use.
            connection.execute(f"DELETE FROM {NOTES}")
            connection.execute("COMMIT")
            # What the write-ahead log has of them goes, too.
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise DeliveryError(
                    f"expected nobody to read {path} for a moment within {_BUSY_S:g} s: its "
                    "write-ahead log still has what was deleted; run it again"
                )
            return gone
    except sqlite3.Error as error:
        raise DeliveryError(
            f"expected to clear the outbox of {path}: {error}; run it again"
        ) from None
