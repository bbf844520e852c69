"""The rows of a PostgreSQL database, a table at a time, each in a snapshot of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.baseline import Baseline
from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.installed import read_installed
from indelible.capture.postgres.locking import lock_target, locked
from indelible.capture.postgres.log import LogDrain
from indelible.capture.postgres.outbox import outbox_state
from indelible.capture.postgres.plan import plan_install, uses_log
from indelible.capture.postgres.schema import read_schema
from indelible.capture.postgres.values import ROWS
from indelible.errors import DeliveryError
from indelible.invariants.live import LiveTable, Snapshot
from indelible.invariants.server_live import PATIENCE_S, pages_of, server_table
from indelible.policy.model import Policy, Server


class PostgresLive:
    """`live.LiveDatabase` of a server.

    A table is locked against writers for a moment, in which its snapshot is fixed: then whatever
    the outbox has of it is in the snapshot, and nothing else can be.
    """

    def __init__(self, server: Server, policy: Policy) -> None:
        """Raises `NotInstalledError`, `ConfigurationError` and `DeliveryError`."""
        self._server = server
        self._policy = policy
        self.tables: list[LiveTable] = []
        self._layouts: dict[str, tuple[int, Layout]] = {}
        with server_errors(server), contextlib.closing(connect(server)) as connection:
            state = outbox_state(connection)
            self.incarnation, self.opened = state.incarnation, state.epoch
            schema, installed = read_schema(connection), read_installed(connection)
        plan = plan_install(schema, policy, installed, server.profile)
        self.not_captured = [(one.name, one.why) for one in plan.unseen]
        self.drifts = [(drift.table, drift.what) for drift in plan.drifts]
        due = {work.root.oid: work.layout for work in plan.works}
        for relation in schema.relations.values():
            if relation.root != relation.oid:
                continue
            row = installed.captured.get(relation.oid)
            before = installed.layouts.get(row.layout) if row is not None else None
            layout = due.get(relation.oid, before)
            if layout is not None and layout.table in plan.tables:
                self._layouts[layout.table] = (relation.oid, layout)
                baseline = row.baseline if row is not None else None
                self.tables.append(server_table(layout, before, baseline))

    @contextlib.contextmanager
    def snapshot(self, table: LiveTable) -> Iterator[Snapshot]:
        """See `LiveDatabase.snapshot`."""
        oid, layout = self._layouts[table.name]
        with contextlib.ExitStack() as stack:
            stack.enter_context(server_errors(self._server))
            locking, reading, draining = (
                stack.enter_context(contextlib.closing(connect(self._server))) for _ in range(3)
            )
            schema = read_schema(locking)
            root = schema.relations.get(oid)
            if root is None:
                raise DeliveryError(f"{self._server}: the table {table.name} is gone by now")
            with locked(locking, lock_target(root), PATIENCE_S):
                if uses_log(self._server.profile):
                    LogDrain(draining).drain()
                baseline = stack.enter_context(
                    contextlib.closing(Baseline(reading, self.incarnation))
                )
            rows = baseline.rows(schema, root, layout, self._policy)
            estimate = baseline.estimate(schema, root)
            yield Snapshot(baseline.position, estimate, pages_of(layout, ROWS, rows))
