"""The rows of a MariaDB or MySQL database, a table at a time, each in a snapshot of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from indelible.capture.mariadb.baseline import Baseline
from indelible.capture.mariadb.connecting import connect, database_of, server_errors
from indelible.capture.mariadb.installed import OutboxSql, read_installed
from indelible.capture.mariadb.locking import locked
from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.outbox import outbox_state
from indelible.capture.mariadb.plan import plan_install
from indelible.capture.mariadb.schema import read_schema
from indelible.capture.mariadb.values import ROWS
from indelible.capture.outbox_layout import Layout
from indelible.errors import DeliveryError
from indelible.invariants.live import LiveTable, Snapshot
from indelible.invariants.server_live import PATIENCE_S, pages_of, server_table
from indelible.policy.model import Policy, Server


class MariadbLive:
    """`live.LiveDatabase` of a server.

    A table is locked for a moment, in which its snapshot is fixed: then whatever the outbox has of
    it is in the snapshot, and nothing else can be.
    """

    def __init__(self, server: Server, policy: Policy) -> None:
        """Raises `NotInstalledError`, `ConfigurationError` and `DeliveryError`."""
        self._server = server
        self._policy = policy
        self._database = database_of(server)
        self._sql = OutboxSql(self._database)
        self._layouts: dict[str, Layout] = {}
        with server_errors(server), contextlib.closing(connect(server)) as connection:
            state = outbox_state(connection, self._sql)
            self.incarnation, self.opened = state.incarnation, state.epoch
            schema = read_schema(connection, self._database)
            installed = read_installed(connection, self._sql)
        plan = plan_install(schema, policy, installed)
        self.not_captured = [(one.name, one.why) for one in plan.unseen]
        self.drifts = [(drift.table, drift.what) for drift in plan.drifts]
        self.tables: list[LiveTable] = []
        due = {work.table: work.layout for work in plan.works}
        for name in plan.tables:
            row = installed.captured.get(name)
            before = installed.layouts.get(row.layout) if row is not None else None
            layout = due.get(name, before)
            if layout is not None:
                self._layouts[name] = layout
                baseline = row.baseline if row is not None else None
                self.tables.append(server_table(layout, before, baseline))

    @contextlib.contextmanager
    def snapshot(self, table: LiveTable) -> Iterator[Snapshot]:
        """See `LiveDatabase.snapshot`."""
        layout = self._layouts[table.name]
        quoted = f"{quote_name(self._database)}.{quote_name(table.name)}"
        with contextlib.ExitStack() as stack:
            stack.enter_context(server_errors(self._server))
            locking, reading = (
                stack.enter_context(contextlib.closing(connect(self._server))) for _ in range(2)
            )
            schema = read_schema(locking, self._database)
            if schema.tables.table(table.name) is None:
                raise DeliveryError(f"{self._server}: the table {table.name} is gone by now")
            with locked(locking, [quoted], PATIENCE_S):
                baseline = Baseline(reading, self._sql, self.incarnation)
            rows = baseline.rows(schema, layout, self._policy)
            estimate = schema.rows.get(table.name.lower(), 0)
            yield Snapshot(baseline.position, estimate, pages_of(layout, ROWS, rows))
