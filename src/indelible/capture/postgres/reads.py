"""Reads on PostgreSQL: which rows of which tables a statement handed out.

What names mean is a session's to say (its search path, its role, its temporary tables): it is
asked before its first read, and again after a statement that may have changed it. A rewritten
text is trusted once the server explained it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from indelible.capture.access import Access
from indelible.capture.access_event import Who
from indelible.capture.access_log import AccessLog
from indelible.capture.postgres.readable import Session
from indelible.capture.postgres.schema import named_sql
from indelible.capture.postgres.server_reads import UNASKED, Plans, ServerReads, SessionPlanner
from indelible.capture.postgres.tokens import IN_LISTS
from indelible.capture.postgres.verbs import may_be_query
from indelible.capture.postgres.wires import Wire
from indelible.capture.statement_parameters import Parameters, by_name
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.planner import Entry
from indelible.capture.trying import repeated, rewritten, settle

Query = Callable[[str, Any], list[Any]]
"""All rows of a statement with its parameters."""

_REFUSED: Final = "the database refused the hidden columns"
_UNTRIED: Final = "the statement could not be tried"
_OF_STAMPS: Final = re.compile(r" on (?:pg_rewrite|pg_attribute) [ra]$")
_SYNTAX_OR_ACCESS: Final = "42"
"""The class of SQLSTATE of what a statement names and may not, or what isn't there."""


class ConnectionReads:
    """The reads of one connection. Used as that is: by one at a time."""

    def __init__(self, server: ServerReads, wire: Wire) -> None:
        self._server = server
        self._wire = wire
        self._log = AccessLog(server.shared)
        self._session: Session | None = None
        self._planner: SessionPlanner | None = None
        self._is_unsettled = False
        self._is_changed = False
        """Whether names may mean something else than in the beginning."""
        self._is_changing = False
        """Whether the open transaction may have seen to that, and may take it back."""

    def run(
        self,
        text: str,
        parameters: Parameters | None,
        run: Callable[[str, Any], object],
        transaction: str | None,
        *,
        query: Query | None = None,
        is_seen: bool = True,
    ) -> Access | None:
        """Run `text`, or what its plan makes of it, by way of `run`; `parameters` as it has them.

        What is returned must be given the rows; None where none are recorded, as of a statement
        whose rows go past us (`is_seen`). `query` asks a statement of ours with the same kind of
        parameters. Errors are those of `run`. Raises `DeliveryError` for tables under `strict`.
        """
        if self._is_changing and self._wire.is_idle:
            self._is_changing = False
        if not is_seen or not may_be_query(text):
            run(text, parameters)
            self.record(text, transaction)
            return None
        planner = self._planner_of(text)
        entry = planner.entry(text)
        plan = entry.plan
        if not plan.is_captured:
            run(text, parameters)
            self._ran(planner.plans, plan, text)
            return None
        if not entry.is_trusted:
            plan = self._settle(entry, text, parameters, query or self._wire.query)
        named = by_name(parameters)
        access = Access(self._log, plan, text, named, self.who(), transaction)
        access.announce()
        if plan.text is None:
            run(text, parameters)
        elif not entry.is_trusted:
            access.ran_original(_UNTRIED)
            run(text, parameters)
        else:
            self._run_rewritten(access, entry, text, parameters, run)
        self._ran(planner.plans, plan, text)
        self._log.open_accesses[access] = None
        return access

    def who(self) -> Who:
        """Whoever acts now."""
        return self._log.reader()

    def record(self, text: str, transaction: str | None, who: Who | None = None) -> None:
        """`text` ran, whose rows we don't see: by statement, for `who` began it. Raises
        `DeliveryError` under `strict` only."""
        planner = self._planner
        if planner is None or self._is_unsettled or not self._server.is_current(planner):
            plans = self._server.unasked_plans(text)
        else:
            plans = planner.plans
        plan = plans.by_statement(text)
        self._ran(plans, plan, text)
        if plan.is_captured:
            access = Access(self._log, plan, "", (), who or self.who(), transaction)
            access.hand_over((), exhausted=True)

    def schema_changed(self) -> None:
        """What ran shows that the schema isn't the one that we know."""
        self._server.look_again()

    def session_reset(self) -> None:
        """Names mean what they meant in the beginning."""
        self._is_unsettled |= self._is_changed
        self._is_changed = False

    def check_in(self) -> None:
        """The connection goes back or is closed: no open result outlives this."""
        self._log.check_in()

    def _ran(self, plans: Plans, plan: Plan, text: str) -> None:
        if plans.unsettles(text):
            self._is_unsettled = self._is_changed = True
            self._is_changing = not self._wire.is_idle
        elif plan.verb is Verb.SCHEMA and self._wire.is_idle:  # else nobody sees it yet
            self._server.look_again()

    def _planner_of(self, text: str) -> SessionPlanner:
        """Plans for what names mean now."""
        server = self._server
        planner = self._planner
        if planner is None or self._is_unsettled or not server.is_current(planner):
            self._session = self._ask_session()
            planner = self._planner = server.planner(self._session)
        if planner.plans.is_new(text) and planner.plans.reads_from_unknown(text):
            server.look_again()
            planner = self._planner = server.planner(self._session or UNASKED)
        return planner

    def _ask_session(self) -> Session:
        """What names mean now; asked where it may have changed."""
        wire = self._wire
        if self._session is not None and not self._is_unsettled:
            return self._session
        known = self._session or UNASKED
        if not wire.is_idle and not wire.is_open:
            self._is_unsettled = True
            return known  # the transaction has failed: nothing can be asked, nor read
        # A change may be taken back with its transaction: then it's to be asked once more.
        self._is_unsettled = not wire.is_idle and (self._is_changing or not wire.is_autocommit)
        try:
            ((path, user, temporary),) = wire.query(named_sql("catalog.sql")["session"])
        except Exception:
            # The statement that comes next fails, and says why.
            if wire.is_broken:
                raise
            self._is_unsettled = True
            return known
        return Session(tuple(path), user, frozenset(temporary))

    def _settle(self, entry: Entry, text: str, parameters: Parameters | None, query: Query) -> Plan:
        """The plan to follow now: `trying.settle`."""
        wire = self._wire
        return settle(
            entry,
            text,
            parameters,
            IN_LISTS,
            lambda own, values: self._explain(own, values, query),
            is_lost=lambda: not (wire.is_idle or wire.is_open),
        )

    def _explain(self, text: str, parameters: Parameters | None, query: Query) -> list[str] | None:
        """How the server would go about it; None where it wouldn't, or can't be asked."""
        wire = self._wire
        if wire.is_idle and wire.is_autocommit:
            return self._explained(text, parameters, query)
        if not wire.is_idle and not wire.is_open:
            return None
        try:
            wire.query("SAVEPOINT indelible_explain")
            try:
                return self._explained(text, parameters, query)
            finally:
                wire.query("ROLLBACK TO SAVEPOINT indelible_explain")
                wire.query("RELEASE SAVEPOINT indelible_explain")
        except Exception:
            if wire.is_broken:
                raise
            return None

    def _explained(
        self, text: str, parameters: Parameters | None, query: Query
    ) -> list[str] | None:
        try:
            rows = query(f"EXPLAIN (COSTS OFF) {text}", parameters)
        except Exception:
            # The statement is still to come, and fails by itself if that is why.
            if self._wire.is_broken:
                raise
            return None
        # Whether an index covers all makes no difference, nor what stamps ask.
        lines = _without_stamps([str(row[0]) for row in rows])
        return [line.replace("Index Only Scan", "Index Scan") for line in lines]

    def _run_rewritten(
        self,
        access: Access,
        entry: Entry,
        text: str,
        parameters: Parameters | None,
        run: Callable[[str, Any], object],
    ) -> None:
        wire, plan = self._wire, access.plan
        is_first = wire.is_idle
        try:
            run(rewritten(plan, text, IN_LISTS), repeated(plan, text, parameters, IN_LISTS))
        except Exception as error:
            if not _sqlstate(error).startswith(_SYNTAX_OR_ACCESS):
                raise
            # Trusted, and refused now: the schema changed, or what may be read of it.
            entry.give_up(plan)
            self._server.look_again()
            if not is_first:
                raise
            if not wire.is_idle:
                wire.undo()  # its transaction, in which nothing else has been done
            access.ran_original(_REFUSED)
            run(text, parameters)


def _without_stamps(lines: list[str]) -> list[str]:
    """A query plan without the queries that ask for versions of views (`Dialect.stamp`)."""
    kept: list[str] = []
    start, depth = 0, -1
    for line in [*lines, ""]:
        indent = len(line) - len(line.lstrip())
        if depth >= 0 and indent <= depth:
            if any(_OF_STAMPS.search(each) for each in kept[start:]):
                del kept[start:]
            depth = -1
        if depth < 0 and line.lstrip().startswith("InitPlan"):
            start, depth = len(kept), indent
        kept.append(line)
    return kept[:-1]


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
