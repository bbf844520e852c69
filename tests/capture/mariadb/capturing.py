"""A MariaDB database under capture, with everything around it held in memory."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.capture.writes.capturing import KEY, MemoryJournal, policy_of
from tests.capture.writes.folding import Rows
from tests.mariadb_server import MariadbDatabase

from indelible.capture.change_drafts import DecodedRows, OutboxRow
from indelible.capture.context_ledger import ConnectionLedger
from indelible.capture.mariadb.connecting import connect
from indelible.capture.mariadb.context import ContextSender
from indelible.capture.mariadb.install import InstallReport, incarnation_of, install
from indelible.capture.mariadb.installed import OutboxSql, read_installed, read_layouts
from indelible.capture.mariadb.outbox import newest_id, read_outbox
from indelible.capture.mariadb.schema import fetch, read_schema
from indelible.capture.mariadb.triggers import baseline_sql
from indelible.capture.mariadb.values import ROWS
from indelible.capture.text_rows import TableRows, TextDecoder
from indelible.policy.model import Policy, Server


class Captured:
    """One database after `install`: the trail is what `drafts` gives."""

    def __init__(self, database: MariadbDatabase, tables: str = "", **settings: Any) -> None:
        self.database = database
        self.policy: Policy = policy_of(tables)
        self.server = Server(database.url(), ("app",))
        self.sql = OutboxSql(database.name)
        self.journal = MemoryJournal()
        self.report: InstallReport = self.install(**settings)

    def install(self, **settings: Any) -> InstallReport:
        return install(self.server, self.policy, journal=self.journal, **settings)

    @property
    def incarnation(self) -> str:
        return incarnation_of(self.server)

    def sender(self) -> ContextSender:
        return ContextSender(KEY, self.incarnation, self.database.name)

    def ours(self) -> contextlib.closing[Any]:
        return contextlib.closing(connect(self.server))

    def newest(self) -> int:
        """The id of the outbox's last row."""
        with self.ours() as connection:
            return newest_id(connection, self.sql)

    def rows(self, after_id: int = 0) -> list[OutboxRow]:
        newest = self.newest()
        with self.ours() as connection:
            return read_outbox(
                connection, self.sql, after_id + 1, newest, limit=1_000_000, max_bytes=1 << 40
            ).rows

    def decoded(self, after_id: int = 0) -> DecodedRows:
        """Every row of the outbox behind `after_id`, decoded."""
        with self.ours() as connection:
            layouts = read_layouts(connection, self.sql)
        decoder = TextDecoder(self.incarnation, layouts, KEY, ConnectionLedger(), ROWS)
        return decoder.decode(self.rows(after_id))

    def drafts(self) -> list[bytes]:
        """Baseline and changes, in the order in which they count."""
        return [*self.journal.drafts, *(event.draft for event in self.decoded().events)]

    def live(self) -> Rows:
        """Every row of every captured table, as a fold names it."""
        rows: Rows = {}
        with self.ours() as connection:
            schema = read_schema(connection, self.database.name)
            installed = read_installed(connection, self.sql)
            for captured in installed.captured.values():
                layout = installed.layouts[captured.layout]
                reader = TableRows(layout, ROWS)
                for _, text in fetch(connection, baseline_sql(schema, layout, self.policy)):
                    image = reader.read(text)
                    assert (layout.kind, image.id) not in rows, "a test's rows must differ"
                    rows[layout.kind, image.id] = dict(
                        zip(reader.columns, image.values, strict=True)
                    )
        return rows
