"""A captured server's outbox, read by pages and decoded, delivered rows deleted.

Which contexts were used is kept in a file beside the journals, as for SQLite.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from indelible.capture.change_drafts import DecodedEvent, DecodedRows, OutboxNotice, OutboxRow
from indelible.capture.horizon import Horizon
from indelible.capture.outbox_layout import Layout
from indelible.capture.sealing import BLANK, NO_SEALING, Sealing
from indelible.capture.servers import Decoder, Holder, Ledger, ServerOutbox, backend_of
from indelible.errors import CaptureError, DeliveryError
from indelible.policy.model import Server
from indelible.transport.context_memory import ContextMemory
from indelible.transport.outbox import OutboxPage

_INCARNATION: Final = re.compile(r"[0-9a-f]{1,64}")
_HELD_S: Final = 5.0
_FORGET_TIMES: Final = 20


class ServerOutboxReader:
    """Implements `indelible.transport.outbox.OutboxReader` on a server.

    One connection, which is opened anew after an error.
    """

    def __init__(
        self,
        server: Server,
        *,
        context_key: bytes,
        ledgers: Path,
        waits: bool = True,
        sealing: Sealing = NO_SEALING,
        alone: Sealing = BLANK,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ledgers` is the directory for the memory of used contexts.

        With `waits=False` pages have every row that is committed, although others may still appear
        between them: for who holds a lock against those. `sealing` seals what is delivered, `alone`
        what `decode_alone` gives.
        """
        self._sealing = sealing
        self._alone = alone
        self._waits = waits
        self._server = server
        self._key = context_key
        self._ledgers = ledgers
        self._monotonic = monotonic
        self._backend = backend_of(server)
        self._outbox: ServerOutbox | None = None
        self._incarnation = ""
        self._horizon = Horizon()
        self._layouts: dict[int, Layout] = {}
        self._memories: dict[int, tuple[ContextMemory[Ledger], Decoder]] = {}
        self._held_since: float | None = None
        self._held_at = 0
        self._ended = 0
        self._forgotten = 0
        self._notices: list[OutboxNotice] = []

    def read_page(self, since: int, *, limit: int, max_bytes: int) -> OutboxPage:
        """See `OutboxReader.read_page`."""
        with self.outbox() as outbox:
            state = outbox.state()
            self._begin(state.incarnation)
            if self._waits:
                outbox.note_horizon(self._horizon, state)
            settled = min(self._horizon.settled, state.newest) if self._waits else state.newest
            page = outbox.read(
                since, settled, limit=limit, max_bytes=max_bytes, known=self._layouts
            )
        self._layouts |= page.layouts
        self._notices += page.notices
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
        if below == self._forgotten:
            return
        with self.outbox() as outbox:
            for _ in range(_FORGET_TIMES):
                if not outbox.forget(below):
                    self._forgotten = below
                    return

    def decode(self, rows: Sequence[OutboxRow], epoch: int, delivered: int) -> DecodedRows:
        """See `OutboxReader.decode`."""
        found = self._memories.get(epoch)
        if found is None:
            path = self._ledgers / f"{self._incarnation}.{epoch}.ledger"
            memory = ContextMemory(path, self._backend.make_ledger)
            decoder = self._decoder(memory.ledger, self._sealing)
            found = self._memories[epoch] = (memory, decoder)
        memory, decoder = found
        self._learn(decoder)
        decoded = memory.judged(decoder.decode(rows), delivered)
        decoded.notices.extend(self._notices)
        self._notices = []
        if rows:
            memory.ledger.forget(self._ended)
        return decoded

    def decode_alone(self, row: OutboxRow) -> DecodedEvent:
        """See `OutboxReader.decode_alone`."""
        return self._decoder(None, self._alone).decode([row]).events[0]

    def held_by(self) -> tuple[float, Holder] | None:
        """For how many seconds something waits that isn't settled, and who keeps it so; None where
        nothing does for long."""
        if self._held_since is None or self._monotonic() - self._held_since < _HELD_S:
            return None
        with self.outbox() as outbox:
            holder = outbox.holder()
        return (self._monotonic() - self._held_since, holder) if holder is not None else None

    def close(self) -> None:
        """End the connection; the next call opens another."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close()

    @contextlib.contextmanager
    def outbox(self) -> Iterator[ServerOutbox]:
        """The reader's connection, for other looks at the same database, too."""
        if self._outbox is None:
            self._outbox = self._backend.open_outbox(self._server)
            # Another server may answer now, restored to another time.
            self._horizon = Horizon()
        try:
            yield self._outbox
        except DeliveryError:
            self.close()
            raise

    def _note_holding(self, newest: int) -> None:
        if newest <= self._horizon.settled:
            self._held_since = None
        elif self._held_since is None or self._horizon.settled > self._held_at:
            self._held_since = self._monotonic()
        self._held_at = self._horizon.settled

    def _learn(self, decoder: Decoder) -> None:
        known = decoder.known
        decoder.learn({n: found for n, found in self._layouts.items() if n not in known})

    def _decoder(self, ledger: Ledger | None, sealing: Sealing) -> Decoder:
        return self._backend.make_decoder(
            self._incarnation, self._layouts, self._key, ledger, sealing
        )

    def _begin(self, incarnation: str) -> None:
        if incarnation != self._incarnation:
            if not _INCARNATION.fullmatch(incarnation):
                raise CaptureError("expected hexadecimal digits as the incarnation")
            self._incarnation = incarnation
            self._horizon = Horizon()
            self._ended = self._forgotten = 0
            self._layouts.clear()
            self._memories.clear()
