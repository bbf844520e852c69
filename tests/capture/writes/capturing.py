"""A database under capture, with everything around it held in memory."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from indelible.capture.change_drafts import DecodedRows
from indelible.capture.context_ledger import ContextLedger
from indelible.capture.outbox_rows import OutboxDecoder
from indelible.capture.sealing import NO_SEALING
from indelible.capture.sqlite_context import Nonces, WriteContext
from indelible.capture.sqlite_install import InstallReport, install
from indelible.capture.sqlite_outbox import outbox_state, read_layouts, read_outbox
from indelible.policy.load import parse_policy
from indelible.policy.model import Policy

KEY = b"k" * 32


def policy_of(tables: str = "") -> Policy:
    """A policy with these `[tables.…]`."""
    return parse_policy(f'[trail]\nurl = "sqlite:///trail.db"\n{tables}')


class MemoryJournal:
    """A `Journal` that remembers."""

    def __init__(self) -> None:
        self.sealing = NO_SEALING
        self.drafts: list[bytes] = []
        self.synced = 0

    def append(self, draft: bytes) -> str:
        self.drafts.append(draft)
        return f"memory.1.{len(self.drafts)}"

    def append_later(self, draft: bytes) -> None:
        self.append(draft)

    def sync(self) -> None:
        self.synced = len(self.drafts)


class MemoryHost:
    """A `CaptureHost` that remembers."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or policy_of()
        self.journal = MemoryJournal()
        self.context_key = KEY
        self.delivered = 0
        self.notices: list[str] = []

    def delivered_through(self, incarnation: str) -> int:
        return self.delivered

    def watch_database(self, path: Path) -> None:
        pass

    def watch_server(self) -> None:
        pass

    def notice(self, action: str, message: str, **details: str) -> None:
        self.notices.append(action)


class Captured:
    """One database: `connection` is instrumented, the trail is what `drafts` gives."""

    def __init__(
        self, connection: sqlite3.Connection, host: MemoryHost | None = None, **settings: object
    ) -> None:
        self.connection = connection
        self.host = host or MemoryHost()
        self.report: InstallReport = install(
            connection, self.host.policy, journal=self.host.journal
        )
        self.ledger = ContextLedger()
        self.context = WriteContext(connection, self.host, nonces=Nonces())

    def decoder(self) -> OutboxDecoder:
        return OutboxDecoder(
            outbox_state(self.reader).incarnation,
            read_layouts(self.reader),
            KEY,
            ContextLedger(),
        )

    @property
    def reader(self) -> sqlite3.Connection:
        """The same database as a relay sees it: no authorizer of ours."""
        self.connection.set_authorizer(None)
        return self.connection

    def decoded(self, after_id: int = 0) -> DecodedRows:
        """Every row of the outbox behind `after_id`, decoded."""
        decoder = self.decoder()
        page = read_outbox(self.reader, after_id, 1_000_000, max_bytes=2**40, max_s=60.0)
        assert page.is_end
        self.connection.set_authorizer(self.context._authorize)
        return decoder.decode(page.rows)

    def drafts(self) -> list[bytes]:
        """Baseline and changes, in the order in which they count."""
        return [*self.host.journal.drafts, *(event.draft for event in self.decoded().events)]
