"""A captured database's outbox, read by pages and decoded, with the memory of used contexts.

Which contexts were used is kept in a file beside the journals, one for each epoch, and is on disk
before any event that it judged is delivered. Where the file is lost, a context that was copied
earlier can be used once more without being contested: that the file is lost is noticed.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from indelible.capture.change_drafts import (
    DecodedEvent,
    DecodedRows,
    OutboxRow,
)
from indelible.capture.context_ledger import ContextLedger
from indelible.capture.outbox_layout import Layout
from indelible.capture.outbox_rows import OutboxDecoder
from indelible.capture.sealing import BLANK, NO_SEALING, Sealing
from indelible.capture.sqlite_outbox import OutboxRows, outbox_state, read_outbox
from indelible.errors import CaptureError
from indelible.transport.context_memory import ContextMemory
from indelible.transport.outbox import OutboxPage

_INCARNATION: Final = re.compile(r"[0-9a-f]{1,64}")


class SqliteOutboxReader:
    """Implements `indelible.transport.outbox.OutboxReader` on a file.

    Each page is one read transaction on a connection of its own, which ends after `read_s`, is
    read-only to SQLite itself, and waits at most `read_s` for a lock: between pages nothing of the
    application's is held or open. In WAL mode SQLite keeps its `-wal` and `-shm` files beside.
    """

    def __init__(
        self,
        path: Path,
        *,
        context_key: bytes,
        ledgers: Path,
        read_s: float,
        sealing: Sealing = NO_SEALING,
        alone: Sealing = BLANK,
    ) -> None:
        """`ledgers` is the directory for the memory of used contexts. `sealing` seals what is
        delivered, `alone` what `decode_alone` gives."""
        self._sealing = sealing
        self._alone = alone
        self._path = path
        self._key = context_key
        self._ledgers = ledgers
        self._read_s = read_s
        self._incarnation = ""
        self._layouts: dict[int, Layout] = {}
        self._memories: dict[int, tuple[ContextMemory[ContextLedger], OutboxDecoder]] = {}
        self._unjudged = self._decoder(ContextLedger(), alone)

    def read_page(self, since: int, *, limit: int, max_bytes: int) -> OutboxPage:
        """See `OutboxReader.read_page`."""
        with contextlib.closing(self._connect()) as connection:
            connection.execute("BEGIN")  # one snapshot for all that follows
            state = outbox_state(connection)
            self._begin(state.incarnation)
            page = self._read(connection, since - 1, limit, max_bytes)
            rows = page.rows
            if len(rows) == 1 < limit and not page.is_end:
                # The one that shows where we are took all the room: it must not hold us there.
                page = self._read(connection, cast("int", rows[0][0]), 1, max_bytes)
                rows = rows + page.rows
        for row in rows:
            if type(row[0]) is not int:
                raise CaptureError(
                    "expected numbers as ids of indelible_outbox, got something else"
                )
        return OutboxPage(
            incarnation=state.incarnation,
            opened=state.epoch,
            last_id=state.newest,
            rows=tuple(rows),
            is_whole=page.is_end,
        )

    def forget(self, below: int) -> None:
        """See `OutboxReader.forget`: the application's own triggers delete them."""

    def close(self) -> None:
        """See `OutboxReader.close`: nothing is held between pages."""

    def decode(self, rows: Sequence[OutboxRow], epoch: int, delivered: int) -> DecodedRows:
        """See `OutboxReader.decode`."""
        found = self._memories.get(epoch)
        if found is None:
            path = self._ledgers / f"{self._incarnation}.{epoch}.ledger"
            memory = ContextMemory(path, ContextLedger)
            found = self._memories[epoch] = (
                memory,
                self._decoder(memory.ledger, self._sealing),
            )
        memory, decoder = found
        self._learn(decoder)
        return memory.judged(decoder.decode(rows), delivered)

    def decode_alone(self, row: OutboxRow) -> DecodedEvent:
        """See `OutboxReader.decode_alone`."""
        self._learn(self._unjudged)
        return self._unjudged.decode([row]).events[0]

    def _learn(self, decoder: OutboxDecoder) -> None:
        known = decoder.known
        decoder.learn({n: found for n, found in self._layouts.items() if n not in known})

    def _decoder(self, ledger: ContextLedger, sealing: Sealing) -> OutboxDecoder:
        return OutboxDecoder(self._incarnation, {}, self._key, ledger, sealing)

    def _begin(self, incarnation: str) -> None:
        if incarnation != self._incarnation:
            if not _INCARNATION.fullmatch(incarnation):
                raise CaptureError("expected hexadecimal digits as incarnation in indelible_meta")
            self._incarnation = incarnation
            self._layouts.clear()
            self._memories.clear()
            self._unjudged = self._decoder(ContextLedger(), self._alone)

    def _read(
        self, connection: sqlite3.Connection, after: int, limit: int, max_bytes: int
    ) -> OutboxRows:
        page = read_outbox(
            connection,
            after,
            limit,
            known=self._layouts,
            max_bytes=max_bytes,
            max_s=self._read_s,
        )
        self._layouts |= page.layouts
        return page

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=self._read_s,
            isolation_level=None,
            check_same_thread=False,
        )
