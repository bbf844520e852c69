"""A captured database's outbox, read by pages and decoded, with the memory of used contexts.

Which contexts were used is kept in a file beside the journals, one for each epoch, and is on disk
before any event that it judged is delivered. Where the file is lost, a context that was copied
earlier can be used once more without being contested: that the file is lost is noticed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from indelible.capture.context_ledger import ContextLedger
from indelible.capture.outbox_layout import Layout
from indelible.capture.outbox_rows import (
    DecodedEvent,
    DecodedRows,
    OutboxDecoder,
    OutboxNotice,
    OutboxRow,
)
from indelible.capture.sqlite_outbox import OutboxRows, outbox_state, read_outbox
from indelible.errors import CaptureError
from indelible.transport.journal_writing import make_private_directory
from indelible.transport.outbox import OutboxPage

_INCARNATION: Final = re.compile(r"[0-9a-f]{1,64}")


class SqliteOutboxReader:
    """Implements `indelible.transport.outbox.OutboxReader` on a file.

    Each page is one read transaction on a connection of its own, which ends after `read_s`, is
    read-only to SQLite itself, and waits at most `read_s` for a lock: between pages nothing of the
    application's is held or open. In WAL mode SQLite keeps its `-wal` and `-shm` files beside.
    """

    def __init__(self, path: Path, *, context_key: bytes, ledgers: Path, read_s: float) -> None:
        """`ledgers` is the directory for the memory of used contexts."""
        self._path = path
        self._key = context_key
        self._ledgers = ledgers
        self._read_s = read_s
        self._incarnation = ""
        self._layouts: dict[int, Layout] = {}
        self._judges: dict[int, _Judge] = {}
        self._unjudged = self._decoder(ContextLedger())

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

    def decode(self, rows: Sequence[OutboxRow], epoch: int, delivered: int) -> DecodedRows:
        """See `OutboxReader.decode`."""
        judge = self._judges.get(epoch)
        if judge is None:
            path = self._ledgers / f"{self._incarnation}.{epoch}.ledger"
            judge = self._judges[epoch] = _Judge(path, self._decoder)
        self._learn(judge.decoder)
        return judge.decode(rows, delivered)

    def decode_alone(self, row: OutboxRow) -> DecodedEvent:
        """See `OutboxReader.decode_alone`."""
        self._learn(self._unjudged)
        return self._unjudged.decode([row]).events[0]

    def _learn(self, decoder: OutboxDecoder) -> None:
        known = decoder.known
        decoder.learn({n: found for n, found in self._layouts.items() if n not in known})

    def _decoder(self, ledger: ContextLedger) -> OutboxDecoder:
        return OutboxDecoder(self._incarnation, {}, self._key, ledger)

    def _begin(self, incarnation: str) -> None:
        if incarnation != self._incarnation:
            if not _INCARNATION.fullmatch(incarnation):
                raise CaptureError("expected hexadecimal digits as incarnation in indelible_meta")
            self._incarnation = incarnation
            self._layouts.clear()
            self._judges.clear()
            self._unjudged = self._decoder(ContextLedger())

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


class _Judge:
    """A decoder whose ledger is remembered in a file."""

    def __init__(self, path: Path, make_decoder: Callable[[ContextLedger], OutboxDecoder]) -> None:
        self._path = path
        self._ledger = self._load()
        self._saved_through = self._ledger.through
        self._is_checked = False
        self._lost_before: int | None = None
        self.decoder = make_decoder(self._ledger)

    def decode(self, rows: Sequence[OutboxRow], delivered: int) -> DecodedRows:
        decoded = self.decoder.decode(rows)
        if not decoded.events:
            return decoded
        first = decoded.events[0].seq
        if not self._is_checked and self._saved_through < delivered:
            self._lost_before = first
        self._is_checked = True
        if self._ledger.through > self._saved_through:
            self._save()
            self._saved_through = self._ledger.through
        if first == self._lost_before:
            # Again where the same rows are fetched again: they weren't delivered.
            decoded.notices.append(_lost(first))
        return decoded

    def _load(self) -> ContextLedger:
        try:
            return ContextLedger(self._path.read_bytes())
        except (FileNotFoundError, msgspec.MsgspecError):
            return ContextLedger()

    def _save(self) -> None:
        make_private_directory(self._path.parent)
        new = self._path.with_name(self._path.name + ".new")
        fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(self._ledger.encode())
            file.flush()
            os.fdatasync(fd)
        new.replace(self._path)


def _lost(seq: int) -> OutboxNotice:
    return OutboxNotice(
        "context.memory_lost",
        f"which contexts were used before row {seq} isn't known any more: one that was copied "
        "then can be used again unseen",
        {"outbox_id": str(seq)},
    )
