"""Reads on PostgreSQL: which rows of which tables a statement handed out.

What names mean is a session's to say (its search path, its role, its temporary tables): it is
asked before its first read, and again after a statement that may have changed it. A rewritten
text is trusted once the server explained it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from indelible.capture.access import Access
from indelible.capture.access_log import AccessLog
from indelible.capture.database_reads import DatabaseReads
from indelible.capture.host import CaptureHost
from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.dialect import PostgresDialect
from indelible.capture.postgres.readable import (
    NOTHING,
    Readable,
    Session,
    read_readable,
    schema_for,
)
from indelible.capture.postgres.schema import named_sql
from indelible.capture.postgres.tokens import IN_LISTS, tokenize
from indelible.capture.postgres.verbs import may_be_query
from indelible.capture.postgres.wires import Wire
from indelible.capture.statement_parameters import Parameters
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.planner import MAX_PLANS, Entry, Planner
from indelible.capture.statements.tokens import Kind, expand, unquote
from indelible.errors import IndelibleError
from indelible.policy.model import Policy, Server

K = TypeVar("K")
T = TypeVar("T")
Query = Callable[[str, Any], list[Any]]
"""All rows of a statement with its parameters."""

_CHECK_S: Final = 30.0
_LOOKS: Final = 20
"""So often in between, at most, a text that reads from what isn't known lets us look again."""
_LOOK_S: Final = 10.0
_MAX_MEANINGS: Final = 64
_MAX_SESSIONS: Final = 512
_TRIES: Final = 3
_BY_STATEMENT: Final = "its rows were handed out in a way that isn't seen"
_REFUSED: Final = "the database refused the hidden columns"
_UNTRIED: Final = "the statement could not be tried"
_SYNTAX_OR_ACCESS: Final = "42"
"""The class of SQLSTATE of what a statement names and may not, or what isn't there."""
_UNSETTLING: Final = re.compile(
    r"\b(?:temp|temporary|search_path|role|authorization|set_config|discard|reset|call|do|execute)\b",
    re.IGNORECASE,
)
_UNASKED: Final = Session((), "", frozenset())


class ServerReads:
    """What the reads of all connections to one database share. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self.shared = DatabaseReads(trail)
        self._policy = trail.policy
        self._server = server
        self._looking = threading.Lock()
        self._looked_s = float("-inf")
        self._looks_left = _LOOKS
        self._readable: Readable = NOTHING
        self._plans: dict[Session, Plans] = {}
        self._planners: dict[Session, SessionPlanner] = {}

    def connection(self, wire: Wire) -> ConnectionReads:
        """The reads of one connection."""
        return ConnectionReads(self, wire)

    def planner(self, session: Session) -> SessionPlanner:
        """Plans for sessions like this one, on the schema as it was seen last."""
        if self._looked_s == float("-inf"):
            self._look()
        readable = self._readable
        # Of temporary tables only those matter that hide another; others may be new each time.
        hiding = frozenset(name for name in session.temporary if name.lower() in readable.bare)
        meaning = replace(session, temporary=hiding)
        found = self._planners.get(meaning)
        if found is None or found.readable is not readable:
            plans = self._plans_for(replace(meaning, user=""), readable)
            found = SessionPlanner(plans)
            _keep(self._planners, meaning, found, at_most=_MAX_SESSIONS)
        return found

    def unasked_plans(self, text: str) -> Plans:
        """Plans that don't depend on a session: of what is recorded by statement."""
        plans = self.planner(_UNASKED).plans
        if plans.is_new(text) and plans.reads_from_unknown(text):
            self.look_again()
            plans = self.planner(_UNASKED).plans
        return plans

    def is_current(self, planner: SessionPlanner) -> bool:
        """Whether `planner` still is that of its session."""
        if time.monotonic() - self._looked_s > _CHECK_S:
            self._looked_s = time.monotonic()
            self._looks_left = _LOOKS
            # No statement has to wait for it.
            with contextlib.suppress(RuntimeError):  # the interpreter ends
                threading.Thread(target=self._look, name="indelible-look", daemon=True).start()
        return planner.readable is self._readable

    def look_again(self) -> None:
        """Something runs that the schema as we know it doesn't explain."""
        if self._looks_left:
            self._looks_left -= 1
            self._look()

    def _plans_for(self, meaning: Session, readable: Readable) -> Plans:
        plans = self._plans.get(meaning)
        if plans is None or plans.readable is not readable:
            plans = Plans(readable, meaning, self._policy)
            _keep(self._plans, meaning, plans, at_most=_MAX_MEANINGS)
        return plans

    def _look(self) -> None:
        """Read what there is; what can't be read now stays as it was known."""
        # A process that was forked meanwhile may hold the lock for good.
        if not self._looking.acquire(timeout=_LOOK_S):
            return
        try:
            with contextlib.suppress(IndelibleError), server_errors(self._server):
                with contextlib.closing(connect(self._server)) as connection:
                    readable = read_readable(connection)
                if readable != self._readable:
                    self._readable = readable
            self._looked_s = time.monotonic()
        finally:
            self._looking.release()


class Plans:
    """What is known of texts where names mean the same, whoever asks."""

    def __init__(self, readable: Readable, meaning: Session, policy: Policy) -> None:
        self.readable = readable
        self._dialect = PostgresDialect(readable, meaning)
        self._schema = schema_for(readable, meaning)
        self._planner = Planner(self._schema, policy, self._dialect)
        self.entry = self._planner.entry
        self._unsettling: dict[str, bool] = {}
        self._unnamed: dict[str, Plan] = {}

    def is_new(self, text: str) -> bool:
        """Whether nobody has asked yet if `text` unsettles anything."""
        return text not in self._unsettling

    def by_statement(self, text: str) -> Plan:
        """What is recorded of `text` where its rows go unseen."""
        plan = self._unnamed.get(text)
        if plan is None:
            plan = self._planner.by_statement(text, _BY_STATEMENT)
            _keep(self._unnamed, text, plan)
        return plan

    def reads_from_unknown(self, text: str) -> bool:
        """Whether a name behind FROM or JOIN is no table's: that of a new one, perhaps."""
        schema = self._schema
        for before, token in itertools.pairwise(tokenize(text)):
            if before.upper in ("FROM", "JOIN") and token.kind in (Kind.WORD, Kind.QUOTED):
                name = unquote(text[token.start : token.end]).lower()
                if not (name in schema.tables or name in schema.views or name in schema.aliases):
                    return True
        return False

    def unsettles(self, text: str) -> bool:
        """Whether names may mean something else in a session after `text` ran in it."""
        known = self._unsettling.get(text)
        if known is None:
            known = _UNSETTLING.search(text) is not None or self._dialect.may_change_names(
                text, tokenize(text)
            )
            _keep(self._unsettling, text, known)
        return known


class SessionPlanner:
    """Which of its plans the server took of one role: another may read less."""

    def __init__(self, plans: Plans) -> None:
        self.plans = plans
        self.readable = plans.readable
        self._entries: dict[Entry, Entry] = {}

    def entry(self, text: str) -> Entry:
        """What is to be done with `text`; never raises."""
        shared = self.plans.entry(text)
        own = self._entries.get(shared)
        if own is None:
            own = shared.untried()
            _keep(self._entries, shared, own)
        return own


class ConnectionReads:
    """The reads of one connection. Used as that is: by one at a time."""

    def __init__(self, server: ServerReads, wire: Wire) -> None:
        self._server = server
        self._wire = wire
        self._log = AccessLog(server.shared)
        self._session: Session | None = None
        self._planner: SessionPlanner | None = None
        self._is_unsettled = False

    def run(
        self,
        text: str,
        parameters: Parameters | None,
        run: Callable[[str], object],
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
        if not is_seen or not may_be_query(text):
            run(text)
            self.record(text, transaction)
            return None
        planner = self._planner_of(text)
        entry = planner.entry(text)
        plan = entry.plan
        if not plan.is_captured:
            run(text)
            self._ran(planner.plans, plan, text)
            return None
        if not entry.is_trusted:
            plan = self._settle(entry, text, parameters, query or self._wire.query)
        named = _by_name(parameters)
        access = Access(self._log, plan, text, named, self._log.reader(), transaction)
        access.announce()
        if plan.text is None:
            run(text)
        elif not entry.is_trusted:
            access.ran_original(_UNTRIED)
            run(text)
        else:
            self._run_rewritten(access, entry, _rewritten(plan, text), text, run)
        self._ran(planner.plans, plan, text)
        self._log.open_accesses[access] = None
        return access

    def record(self, text: str, transaction: str | None) -> None:
        """`text` ran, whose rows we don't see: by statement. Raises `DeliveryError` under `strict`
        only."""
        planner = self._planner
        if planner is None or self._is_unsettled or not self._server.is_current(planner):
            plans = self._server.unasked_plans(text)
        else:
            plans = planner.plans
        plan = plans.by_statement(text)
        self._ran(plans, plan, text)
        if plan.is_captured:
            access = Access(self._log, plan, "", (), self._log.reader(), transaction)
            access.hand_over((), exhausted=True)

    def schema_changed(self) -> None:
        """What ran shows that the schema isn't the one that we know."""
        self._server.look_again()

    def check_in(self) -> None:
        """The connection goes back or is closed: no open result outlives this."""
        self._log.check_in()

    def _ran(self, plans: Plans, plan: Plan, text: str) -> None:
        if plan.verb is Verb.SCHEMA:
            self._server.look_again()
        if plans.unsettles(text):
            self._is_unsettled = True

    def _planner_of(self, text: str) -> SessionPlanner:
        """Plans for what names mean now."""
        server = self._server
        planner = self._planner
        if planner is None or self._is_unsettled or not server.is_current(planner):
            self._session = self._ask_session()
            planner = self._planner = server.planner(self._session)
        if planner.plans.is_new(text) and planner.plans.reads_from_unknown(text):
            server.look_again()
            planner = self._planner = server.planner(self._session or _UNASKED)
        return planner

    def _ask_session(self) -> Session:
        """What names mean now; asked where it may have changed."""
        wire = self._wire
        if self._session is not None and not self._is_unsettled:
            return self._session
        known = self._session or _UNASKED
        if not wire.is_idle and not wire.is_open:
            return known  # the transaction has failed: nothing can be asked, nor read
        # A change may be taken back with its transaction: then it's to be asked once more.
        self._is_unsettled = not wire.is_idle and not wire.is_autocommit
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
        """The plan to follow now. A rewritten text is one only once the server explained it."""
        while not entry.is_trusted:
            plan = entry.plan
            changed = self._explain(_rewritten(plan, text), parameters, query)
            if changed is None or plan.fragile:
                own = self._explain(text, parameters, query)
                wire = self._wire
                is_lost = not (wire.is_idle or wire.is_open)  # which says nothing of the text
                if own is None and (is_lost or entry.tries < _TRIES):
                    entry.tries += not is_lost
                    return plan  # the original fails by itself: its own error must be seen
                if changed is None or changed != own:
                    entry.give_up(plan)
                    continue
            entry.trust(plan)
        return entry.plan

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
        # Whether an index covers all makes no difference.
        return [str(row[0]).replace("Index Only Scan", "Index Scan") for row in rows]

    def _run_rewritten(
        self,
        access: Access,
        entry: Entry,
        rewritten: str,
        text: str,
        run: Callable[[str], object],
    ) -> None:
        wire = self._wire
        is_first = wire.is_idle
        try:
            run(rewritten)
        except Exception as error:
            if not _sqlstate(error).startswith(_SYNTAX_OR_ACCESS):
                raise
            # Trusted, and refused now: the schema changed, or what may be read of it.
            entry.give_up(access.plan)
            self._server.look_again()
            if not is_first:
                raise
            if not wire.is_idle:
                wire.undo()  # its transaction, in which nothing else has been done
            access.ran_original(_REFUSED)
            run(text)


def _keep(cache: dict[K, T], key: K, value: T, *, at_most: int = MAX_PLANS) -> None:
    """Keep it; what was kept first goes where there is too much."""
    if len(cache) >= at_most:
        with contextlib.suppress(KeyError, RuntimeError, StopIteration):  # other threads do, too
            del cache[next(iter(cache))]
    cache[key] = value


def _by_name(parameters: Parameters | None) -> Mapping[str, object]:
    """So that either all or none are shown: `$2` may stand before `$1`."""
    if isinstance(parameters, Mapping):
        return parameters
    if isinstance(parameters, Sequence):
        return {str(number): value for number, value in enumerate(parameters, 1)}
    return {}  # none, or what the driver has refused


def _rewritten(plan: Plan, text: str) -> str:
    own = plan.text or ""
    return expand(own, IN_LISTS.runs(text)) if plan.has_runs else own


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
