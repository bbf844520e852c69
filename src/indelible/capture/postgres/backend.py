"""What `capture.servers` asks of a server, on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from indelible.capture.context_ledger import TransactionLedger as make_ledger
from indelible.capture.horizon import Horizon, OutboxRows, OutboxState
from indelible.capture.host import Journal
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres import outbox
from indelible.capture.postgres.connecting import connect, load_driver, said
from indelible.capture.postgres.install import (
    check,
    check_on,
    incarnation_of,
    install,
    relay_rights,
    uninstall,
)
from indelible.capture.postgres.installed import look_at_log
from indelible.capture.postgres.log import LogDrain
from indelible.capture.postgres.log_install import ENDED
from indelible.capture.postgres.looking import look_at
from indelible.capture.postgres.nests import Nests
from indelible.capture.postgres.restored import restored_pages
from indelible.capture.postgres.schema import named_sql
from indelible.capture.postgres.sessions import read_sessions
from indelible.capture.postgres.values import ROWS
from indelible.capture.sealing import Sealing
from indelible.capture.servers import Drift, Holder, Ledger, LogLook
from indelible.capture.sessions import SessionsLook
from indelible.capture.text_rows import TextDecoder
from indelible.errors import ConfigurationError, DeliveryError
from indelible.policy.model import Policy, Server

if TYPE_CHECKING:
    from indelible.capture.postgres.pgaudit import PgauditLog
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

_STATEMENT_MS = 30_000


def make_decoder(
    incarnation: str,
    layouts: Mapping[int, Layout],
    context_key: bytes,
    ledger: Ledger | None,
    sealing: Sealing,
) -> TextDecoder:
    """See `servers.Backend`."""
    return TextDecoder(incarnation, layouts, context_key, ledger, ROWS, sealing)


class PostgresOutbox:
    """`servers.ServerOutbox` over one connection in autocommit: each statement sees what is
    committed, and between statements nothing is held."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = connect(server, statement_ms=_STATEMENT_MS)
        self._log = LogDrain(self._connection)
        self._incarnation = ""
        self._nests = Nests()

    def state(self) -> OutboxState:
        with self._errors():
            self._log.drain()
            state = outbox.outbox_state(self._connection)
        if state.incarnation != self._incarnation:
            self._incarnation, self._nests = state.incarnation, Nests()
        if self._log.ended is not None:
            # What ended since may stand in the log only.
            state = state._replace(ended=min(state.ended, self._log.ended))
        return state

    def note_horizon(self, horizon: Horizon, state: OutboxState) -> None:
        with self._errors():
            outbox.note_horizon(self._connection, horizon, state)

    def read(
        self, since: int, settled: int, *, limit: int, max_bytes: int, known: Mapping[int, Layout]
    ) -> OutboxRows:
        with self._errors():
            return outbox.read_outbox(
                self._connection,
                since,
                settled,
                limit=limit,
                max_bytes=max_bytes,
                known=known,
                nests=self._nests,
            )

    def forget(self, below: int) -> bool:
        with self._errors():
            return outbox.forget_rows(self._connection, below, self._log.ended)

    def holder(self) -> Holder | None:
        with self._errors():
            return outbox.read_holder(self._connection)

    def sessions(self) -> SessionsLook:
        with self._errors():
            return read_sessions(self._connection)

    def statement_log(self) -> PgauditLog:
        from indelible.capture.postgres.pgaudit import PgauditLog

        with self._errors():
            row = self._connection.execute("SELECT pg_catalog.current_database()").fetchone()
        return PgauditLog(str(row[0]) if row is not None else "")

    def planner(self, policy: Policy) -> Planner:
        from indelible.capture.postgres.server_reads import planner_on

        with self._errors():
            return planner_on(self._connection, policy)

    def fingerprint(self) -> str:
        with self._errors():
            row = self._connection.execute(named_sql("catalog.sql")["fingerprint"]).fetchone()
        return str(row[0]) if row is not None else ""

    def check(self, policy: Policy) -> list[Drift]:
        with self._errors():
            return check_on(self._connection, self._server, policy)

    def fall_back(self, policy: Policy, journal: Journal) -> bool:
        look = self.log()
        if look is not None and look.lost is None and not look.is_whole:
            # The log needn't have grown for that.
            self._log.look_again()
        if look is None or look.lost in (None, ENDED):
            return False
        by_triggers = msgspec.structs.replace(self._server, profile="triggers")
        install(by_triggers, policy, journal=journal)
        return True

    def log(self) -> LogLook | None:
        with self._errors():
            return look_at_log(self._connection)

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except load_driver().Error as error:
            raise DeliveryError(f"{self._server}: {said(error, self._server)}") from None


def suspend(server: Server, *, journal: Journal) -> None:
    """See `servers.Backend`."""
    raise ConfigurationError("--suspend isn't for PostgreSQL: its triggers are in no way")


def open_outbox(server: Server) -> PostgresOutbox:
    """See `servers.Backend`."""
    return PostgresOutbox(server)
