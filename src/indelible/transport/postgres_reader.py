"""A captured PostgreSQL database's outbox, read by pages and decoded, delivered rows deleted.

Which contexts were used is kept in a file beside the journals, as for SQLite.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.capture.change_drafts import DecodedEvent, DecodedRows, OutboxRow
from indelible.capture.context_ledger import TransactionLedger
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.connecting import connect, load_driver, said
from indelible.capture.postgres.nests import Nests
from indelible.capture.postgres.outbox import (
    Holder,
    Horizon,
    forget_rows,
    note_horizon,
    outbox_state,
    read_holder,
    read_outbox,
)
from indelible.capture.postgres.rows import PostgresDecoder
from indelible.errors import CaptureError, DeliveryError
from indelible.policy.model import Server
from indelible.transport.context_memory import ContextMemory
from indelible.transport.outbox import OutboxPage

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_INCARNATION: Final = re.compile(r"[0-9a-f]{1,64}")
_STATEMENT_MS: Final = 30_000
_HELD_S: Final = 5.0
_FORGET_TIMES: Final = 20


class PostgresOutboxReader:
    """Implements `indelible.transport.outbox.OutboxReader` on a server.

    One connection, in autocommit: each statement sees what is committed, and between statements
    nothing is held. It is opened anew after an error.
    """

    def __init__(
        self,
        server: Server,
        *,
        context_key: bytes,
        ledgers: Path,
        waits: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ledgers` is the directory for the memory of used contexts.

        With `waits=False` pages have every row that is committed, although others may still appear
        between them: for who holds a lock against those.
        """
        self._waits = waits
        self._server = server
        self._key = context_key
        self._ledgers = ledgers
        self._monotonic = monotonic
        self._connection: Connection | None = None
        self._incarnation = ""
        self._horizon = Horizon()
        self._layouts: dict[int, Layout] = {}
        self._nests = Nests()
        self._memories: dict[int, tuple[ContextMemory[TransactionLedger], PostgresDecoder]] = {}
        self._held_since: float | None = None
        self._held_at = 0
        self._ended = 0

    def read_page(self, since: int, *, limit: int, max_bytes: int) -> OutboxPage:
        """See `OutboxReader.read_page`."""
        with self._errors() as connection:
            state = outbox_state(connection)
            self._begin(state.incarnation)
            if self._waits:
                note_horizon(connection, self._horizon, state)
            settled = min(self._horizon.settled, state.newest) if self._waits else state.newest
            page = read_outbox(
                connection,
                since,
                settled,
                limit=limit,
                max_bytes=max_bytes,
                known=self._layouts,
                nests=self._nests,
            )
        self._layouts |= page.layouts
        if page.is_end:
            self._ended = self._horizon.oldest
        self._note_holding(state.newest)
        return OutboxPage(
            incarnation=state.incarnation,
            opened=state.epoch,
            last_id=state.newest,
            rows=tuple(page.rows),
            is_whole=page.is_end,
            settled=settled,
        )

    def forget(self, below: int) -> None:
        """See `OutboxReader.forget`: they are deleted here, some thousands at a time."""
        with self._errors() as connection:
            for _ in range(_FORGET_TIMES):
                if not forget_rows(connection, below):
                    return

    def decode(self, rows: Sequence[OutboxRow], epoch: int, delivered: int) -> DecodedRows:
        """See `OutboxReader.decode`."""
        found = self._memories.get(epoch)
        if found is None:
            path = self._ledgers / f"{self._incarnation}.{epoch}.ledger"
            memory = ContextMemory(path, TransactionLedger)
            found = self._memories[epoch] = (memory, self._decoder(memory.ledger))
        memory, decoder = found
        self._learn(decoder)
        decoded = memory.judged(decoder.decode(rows), delivered)
        decoded.notices.extend(self._nests.take_notices())
        if rows:
            memory.ledger.forget(self._ended)
        return decoded

    def decode_alone(self, row: OutboxRow) -> DecodedEvent:
        """See `OutboxReader.decode_alone`."""
        return self._decoder(None).decode([row]).events[0]

    def held_by(self) -> tuple[float, Holder] | None:
        """For how many seconds something waits that isn't settled, and who keeps it so; None where
        nothing does for long."""
        if self._held_since is None or self._monotonic() - self._held_since < _HELD_S:
            return None
        with self._errors() as connection:
            holder = read_holder(connection)
        return (self._monotonic() - self._held_since, holder) if holder is not None else None

    def close(self) -> None:
        """End the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """The reader's connection, for other looks at the same database."""
        with self._errors() as connection:
            yield connection

    def _note_holding(self, newest: int) -> None:
        if newest <= self._horizon.settled:
            self._held_since = None
        elif self._held_since is None or self._horizon.settled > self._held_at:
            self._held_since = self._monotonic()
        self._held_at = self._horizon.settled

    def _learn(self, decoder: PostgresDecoder) -> None:
        known = decoder.known
        decoder.learn({n: found for n, found in self._layouts.items() if n not in known})

    def _decoder(self, ledger: TransactionLedger | None) -> PostgresDecoder:
        return PostgresDecoder(self._incarnation, self._layouts, self._key, ledger)

    def _begin(self, incarnation: str) -> None:
        if incarnation != self._incarnation:
            if not _INCARNATION.fullmatch(incarnation):
                raise CaptureError("expected hexadecimal digits as incarnation in indelible.meta")
            self._incarnation = incarnation
            self._horizon = Horizon()
            self._ended = 0
            self._layouts.clear()
            self._nests = Nests()
            self._memories.clear()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[Connection]:
        driver = load_driver()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._server, statement_ms=_STATEMENT_MS)
                # Another server may answer now, restored to another time.
                self._horizon = Horizon()
                self._nests = Nests()
            yield self._connection
        except driver.Error as error:
            self.close()
            raise DeliveryError(f"{self._server}: {said(error, self._server)}") from None
