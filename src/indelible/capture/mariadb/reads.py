"""Reads on MariaDB: which statements ran, and which tables they mention."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from typing import Final

from indelible.capture.access import Access
from indelible.capture.access_log import AccessLog
from indelible.capture.database_reads import DatabaseReads
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.connecting import connect, database_of, server_errors
from indelible.capture.mariadb.dialect import MARIADB
from indelible.capture.mariadb.schema import fetch, named_sql, read_schema
from indelible.capture.mariadb.tokens import tokenize
from indelible.capture.schema import Schema
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.planner import MAX_PLANS, Planner
from indelible.capture.statements.tokens import Kind, names_in, unquote
from indelible.errors import IndelibleError
from indelible.policy.model import Policy, Server

_CHECK_S: Final = 30.0
_LOOKS: Final = 20
"""So often in between, at most, a text that reads from what isn't known lets us look again."""
_BY_STATEMENT: Final = "rows aren't named on MariaDB"


class ServerReads:
    """What the reads of all connections to one database share. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self.shared = DatabaseReads(trail)
        self._policy: Policy = trail.policy
        self._server = server
        self._looking = threading.Lock()
        self._looked_s = float("-inf")
        self._looks_left = _LOOKS
        self._schema = Schema({})
        self._planner = Planner(self._schema, self._policy, MARIADB)
        self._plans: dict[str, Plan] = {}

    def plan(self, text: str) -> Plan:
        """What is recorded of `text`."""
        if time.monotonic() - self._looked_s > _CHECK_S:
            self._looks_left = _LOOKS
            self._look()
        plan = self._plans.get(text)
        if plan is None:
            if self._looks_left and self._reads_from_unknown(text):
                self._looks_left -= 1
                self._look()
            plan = self._planner.by_statement(text, _BY_STATEMENT)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[text] = plan
        return plan

    def schema_changed(self) -> None:
        """A statement ran after which tables may be others."""
        self._looked_s = float("-inf")

    def _reads_from_unknown(self, text: str) -> bool:
        schema = self._schema
        for before, token in itertools.pairwise(tokenize(text)):
            if before.upper in ("FROM", "JOIN") and token.kind in (Kind.WORD, Kind.QUOTED):
                name = unquote(text[token.start : token.end]).lower()
                if not (name in schema.tables or name in schema.views):
                    return True
        return False

    def _look(self) -> None:
        """Read what there is; what can't be read now stays as it was known."""
        if not self._looking.acquire(timeout=10.0):
            self._looking = threading.Lock()  # of a thread that stayed behind in a fork, perhaps
            return
        try:
            self._looked_s = time.monotonic()
            with contextlib.suppress(IndelibleError), server_errors(self._server):
                with contextlib.closing(connect(self._server)) as connection:
                    database = database_of(self._server)
                    schema = read_schema(connection, database).tables
                    views = fetch(connection, named_sql("catalog.sql")["views"], (database,))
                tables = tuple(schema.tables)
                found = Schema(
                    tables=schema.tables,
                    # Of one that we may not see into: any table.
                    views={
                        name.lower(): names_in(text) if text else tables for name, text in views
                    },
                    has_typed_text=True,
                )
                if found != self._schema:
                    self._schema = found
                    self._planner = Planner(found, self._policy, MARIADB)
                    self._plans = {}
        finally:
            self._looking.release()


class ConnectionReads:
    """The reads of one connection. Used as that is: by one at a time."""

    def __init__(self, server: ServerReads) -> None:
        self._server = server
        self._log = AccessLog(server.shared)

    def record(self, text: str, transaction: str | None) -> None:
        """`text` ran. Raises `DeliveryError` under `strict` only."""
        plan = self._server.plan(text)
        if plan.verb is Verb.SCHEMA:
            self._server.schema_changed()
        if plan.is_captured:
            access = Access(self._log, plan, "", (), self._log.reader(), transaction)
            access.hand_over((), exhausted=True)

    def check_in(self) -> None:
        """The connection goes back or is closed: what nobody read is on disk, too."""
        self._log.check_in()
