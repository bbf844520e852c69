"""A PostgreSQL database under capture, with everything around it held in memory."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
from tests.capture.writes.capturing import KEY, MemoryJournal, policy_of
from tests.capture.writes.folding import Rows
from tests.servers import Database

from indelible.capture.change_drafts import DecodedRows, OutboxRow
from indelible.capture.context_ledger import TransactionLedger
from indelible.capture.postgres.connecting import connect
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.install import InstallReport, install, sender_for
from indelible.capture.postgres.installed import read_installed, read_layouts
from indelible.capture.postgres.log import LogDrain
from indelible.capture.postgres.outbox import outbox_state, read_outbox
from indelible.capture.postgres.schema import read_schema
from indelible.capture.postgres.triggers import baseline_sql
from indelible.capture.postgres.values import ROWS
from indelible.capture.text_rows import STAND_IN, TableRows, TextDecoder
from indelible.policy.model import Policy, Profile, Server

__all__ = ["KEY", "STAND_IN", "Captured", "MemoryJournal", "policy_of"]


class Captured:
    """One database after `install`: the trail is what `drafts` gives."""

    def __init__(
        self,
        database: Database,
        tables: str = "",
        profile: Profile = "triggers",
        **settings: Any,
    ) -> None:
        self.database = database
        self.policy: Policy = policy_of(tables)
        self.server = Server(database.url(), ("app",), profile)
        self.journal = MemoryJournal()
        self.report: InstallReport = self.install(**settings)

    def install(self, **settings: Any) -> InstallReport:
        return install(self.server, self.policy, journal=self.journal, **settings)

    @property
    def incarnation(self) -> str:
        with self.ours() as connection:
            return outbox_state(connection).incarnation

    def sender(self) -> ContextSender:
        return sender_for(self.server, KEY)

    def ours(self) -> contextlib.closing[psycopg.Connection[Any]]:
        return contextlib.closing(connect(self.server))

    def newest(self) -> int:
        """The id of the outbox's last row."""
        with self.ours() as connection:
            LogDrain(connection).drain()
            return outbox_state(connection).newest

    def rows(self, after_id: int = 0) -> list[OutboxRow]:
        newest = self.newest()
        with self.ours() as connection:
            return read_outbox(
                connection, after_id + 1, newest, limit=1_000_000, max_bytes=1 << 40
            ).rows

    def decoded(self, after_id: int = 0) -> DecodedRows:
        """Every row of the outbox behind `after_id`, decoded."""
        with self.ours() as connection:
            layouts = read_layouts(connection)
        decoder = TextDecoder(self.incarnation, layouts, KEY, TransactionLedger(), ROWS)
        return decoder.decode(self.rows(after_id))

    def drafts(self) -> list[bytes]:
        """Baseline and changes, in the order in which they count."""
        return [*self.journal.drafts, *(event.draft for event in self.decoded().events)]

    def live(self) -> Rows:
        """Every row of every captured table, as a fold names it."""
        rows: Rows = {}
        with self.ours() as connection:
            schema = read_schema(connection)
            installed = read_installed(connection)
            for captured in installed.captured.values():
                if captured.relation != captured.root:
                    continue
                layout = installed.layouts[captured.layout]
                reader = TableRows(layout, ROWS)
                relation = schema.relations[captured.relation]
                sql = baseline_sql(schema, relation, layout, self.policy)
                for _, text in connection.execute(sql).fetchall():
                    image = reader.read(text)
                    assert (layout.kind, image.id) not in rows, "a test's rows must differ"
                    rows[layout.kind, image.id] = dict(
                        zip(reader.columns, image.values, strict=True)
                    )
        return rows
