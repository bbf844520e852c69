"""What `capture.servers` asks of a server, on MariaDB and MySQL."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from indelible.capture.context_ledger import ConnectionLedger as make_ledger
from indelible.capture.horizon import Horizon, OutboxRows, OutboxState
from indelible.capture.host import Journal
from indelible.capture.mariadb import outbox
from indelible.capture.mariadb.baseline import Baseline
from indelible.capture.mariadb.connecting import (
    connect,
    database_of,
    load_driver,
    said,
    server_errors,
)
from indelible.capture.mariadb.install import (
    check,
    check_on,
    incarnation_of,
    install,
    masters_on,
    relay_rights,
    suspend,
    unasked_on,
    uninstall,
)
from indelible.capture.mariadb.installed import OutboxSql, check_installed, read_installed
from indelible.capture.mariadb.locking import locked
from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.plan import plan_install
from indelible.capture.mariadb.schema import fetch, named_sql, read_files, read_schema
from indelible.capture.mariadb.sessions import read_sessions
from indelible.capture.mariadb.values import ROWS
from indelible.capture.outbox_layout import Layout
from indelible.capture.restored_baseline import Progress, draft_restored
from indelible.capture.sealing import Sealing
from indelible.capture.servers import Drift, Holder, Ledger, LogLook, ServerLook
from indelible.capture.sessions import SessionsLook
from indelible.capture.text_rows import TextDecoder
from indelible.errors import DeliveryError
from indelible.policy.model import Policy, Server

if TYPE_CHECKING:
    from indelible.capture.mariadb.server_audit import ServerAuditLog
    from indelible.capture.statements.planner import Planner

__all__ = [
    "check",
    "incarnation_of",
    "install",
    "look_at",
    "make_decoder",
    "make_ledger",
    "open_outbox",
    "relay_rights",
    "restored_pages",
    "suspend",
    "uninstall",
]

_PATIENCE_S = 1.0
_LOOK_S = 0.12
"""InnoDB lists its transactions anew only for who waits for longer than 0.1 seconds."""
_STALE_S = 1.0
"""For so long others may keep it from that."""


def make_decoder(
    incarnation: str,
    layouts: Mapping[int, Layout],
    context_key: bytes,
    ledger: Ledger | None,
    sealing: Sealing,
) -> TextDecoder:
    """See `servers.Backend`."""
    return TextDecoder(incarnation, layouts, context_key, ledger, ROWS, sealing)


class MariadbOutbox:
    """`servers.ServerOutbox` over one connection in autocommit: each statement sees what is
    committed, and between statements nothing is held."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sql = OutboxSql(database_of(server))
        self._connection = connect(server)
        self._looked_s = float("-inf")
        self._unseen_s: float | None = None

    def state(self) -> OutboxState:
        with self._errors():
            return outbox.outbox_state(self._connection, self._sql)

    def note_horizon(self, horizon: Horizon, state: OutboxState) -> None:
        now = time.monotonic()
        if horizon.settled >= state.newest or now - self._looked_s < _LOOK_S:
            return
        self._looked_s = now
        with self._errors():
            if outbox.note_horizon(self._connection, self._sql, horizon, state):
                self._unseen_s = None
            elif self._unseen_s is None:
                self._unseen_s = now
            elif now - self._unseen_s > _STALE_S:
                numbers = outbox.running_by_monitor(self._connection, self._sql)
                if numbers is not None:
                    outbox.note_numbers(horizon, state, numbers)

    def read(
        self, since: int, settled: int, *, limit: int, max_bytes: int, known: Mapping[int, Layout]
    ) -> OutboxRows:
        with self._errors():
            found = outbox.read_outbox(
                self._connection,
                self._sql,
                since,
                settled,
                limit=limit,
                max_bytes=max_bytes,
                known=known,
            )
            if any(row[0] != since for row in found.rows):
                outbox.make_durable(self._connection, self._sql)
            return found

    def forget(self, below: int) -> bool:
        with self._errors():
            return outbox.forget_rows(self._connection, self._sql, below)

    def holder(self) -> Holder | None:
        with self._errors():
            return outbox.read_holder(self._connection, self._sql)

    def sessions(self) -> SessionsLook:
        with self._errors():
            return read_sessions(self._connection, self._sql)

    def statement_log(self) -> ServerAuditLog:
        from indelible.capture.mariadb.server_audit import ServerAuditLog

        return ServerAuditLog(database_of(self._server))

    def planner(self, policy: Policy) -> Planner:
        from indelible.capture.mariadb.server_reads import planner_on

        with self._errors():
            return planner_on(self._connection, database_of(self._server), policy)

    def fingerprint(self) -> str:
        with self._errors():
            database = {"database": database_of(self._server)}
            ((found,),) = fetch(self._connection, named_sql("catalog.sql")["fingerprint"], database)
            return f"{found} {read_files(self._connection, database_of(self._server))}"

    def check(self, policy: Policy) -> list[Drift]:
        with self._errors():
            return check_on(self._connection, self._server, policy)

    def fall_back(self, policy: Policy, journal: Journal) -> bool:
        return False

    def log(self) -> LogLook | None:
        return None

    def close(self) -> None:
        with contextlib.suppress(load_driver().Error):  # closed already
            self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except load_driver().Error as error:
            raise DeliveryError(f"{self._server}: {said(error, self._server)}") from None


def open_outbox(server: Server) -> MariadbOutbox:
    """See `servers.Backend`."""
    return MariadbOutbox(server)


def look_at(server: Server, policy: Policy) -> ServerLook:
    """See `servers.Backend`."""
    sql = OutboxSql(database_of(server))
    with server_errors(server), contextlib.closing(connect(server)) as connection:
        check_installed(connection, sql)
        state = outbox.outbox_state(connection, sql)
        schema = read_schema(connection, database_of(server))
        plan = plan_install(schema, policy, read_installed(connection, sql))
        return ServerLook(
            incarnation=state.incarnation,
            newest=state.newest,
            holder=outbox.read_holder(connection, sql),
            masters=masters_on(connection, server),
            unasked=unasked_on(connection, server),
            unseen=plan.unseen,
        )


def restored_pages(
    server: Server,
    policy: Policy,
    journal: Journal,
    incarnation: str,
    epoch: int,
    progress: Progress,
) -> Iterator[None]:
    """See `servers.Backend`. As in `install` a table is locked for a moment, in which its snapshot
    is fixed.

    Raises `DeliveryError`, and `ConfigurationError` where a table isn't free for a moment.
    """
    database = database_of(server)
    sql = OutboxSql(database)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server_errors(server))
        connection = stack.enter_context(contextlib.closing(connect(server)))
        check_installed(connection, sql)
        installed = read_installed(connection, sql)
        if installed.meta.get("incarnation") != incarnation:
            return  # another database by now: what is due for that is known elsewhere
        schema = read_schema(connection, database)
        for row in installed.captured.values():
            if schema.tables.table(row.name) is None or row.name in progress.tables:
                continue
            layout = installed.layouts[row.layout]
            quoted = f"{quote_name(database)}.{quote_name(row.name)}"
            with locked(connection, [quoted], _PATIENCE_S):
                baseline = Baseline(connect(server), sql, incarnation)
            with contextlib.closing(baseline):
                for _ in baseline.write(schema, layout, policy, journal, epoch=epoch):
                    yield
            journal.append(draft_restored(layout.kind, incarnation, baseline.position, epoch))
            # The trail must hold the table before the file says that it does.
            journal.sync()
            progress.add(row.name)
