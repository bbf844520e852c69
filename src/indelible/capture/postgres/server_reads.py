"""What the reads of all connections to one PostgreSQL server share: its schema, and plans.

Plans are made for what names mean (search path, hiding temporary tables), and tried for each role.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.structs import replace

from indelible.capture.database_reads import DatabaseReads
from indelible.capture.host import CaptureHost
from indelible.capture.looks import Looks
from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.dialect import PostgresDialect
from indelible.capture.postgres.readable import (
    NOTHING,
    Readable,
    Session,
    read_readable,
    schema_for,
)
from indelible.capture.postgres.tokens import tokenize
from indelible.capture.statements.plan import Plan
from indelible.capture.statements.planner import MAX_PLANS, Entry, Planner
from indelible.capture.statements.tokens import Kind, unquote
from indelible.policy.model import Policy, Server

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

K = TypeVar("K")
T = TypeVar("T")

_MAX_MEANINGS: Final = 64
_MAX_SESSIONS: Final = 512
_BY_STATEMENT: Final = "its rows were handed out in a way that isn't seen"
_UNSETTLING: Final = re.compile(
    r"\b(?:temp|temporary|search_path|role|authorization|set_config|discard|reset|call|do|execute)\b",
    re.IGNORECASE,
)
UNASKED: Final = Session((), "", frozenset())
"""Of a session of which nothing is known: a name may be in any schema."""


class ServerReads:
    """What the reads of all connections to one database share. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self.shared = DatabaseReads(trail)
        self._policy = trail.policy
        self._server = server
        self._looks = Looks(NOTHING, self._read)
        self._plans: dict[Session, Plans] = {}
        self._planners: dict[Session, SessionPlanner] = {}

    def planner(self, session: Session) -> SessionPlanner:
        """Plans for sessions like this one, on the schema as it was seen last."""
        self._looks.look_if_due()
        readable = self._looks.known
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
        plans = self.planner(UNASKED).plans
        if plans.is_new(text) and plans.reads_from_unknown(text):
            self.look_again()
            plans = self.planner(UNASKED).plans
        return plans

    def is_current(self, planner: SessionPlanner) -> bool:
        """Whether `planner` still is that of its session."""
        self._looks.look_if_due()
        return planner.readable is self._looks.known

    def look_again(self) -> None:
        """Something runs that the schema as we know it doesn't explain."""
        self._looks.look_again()

    def _plans_for(self, meaning: Session, readable: Readable) -> Plans:
        plans = self._plans.get(meaning)
        if plans is None or plans.readable is not readable:
            plans = Plans(readable, meaning, self._policy)
            _keep(self._plans, meaning, plans, at_most=_MAX_MEANINGS)
        return plans

    def _read(self) -> Readable:
        with server_errors(self._server), contextlib.closing(connect(self._server)) as connection:
            return read_readable(connection)


class Plans:
    """What is known of texts where names mean the same, whoever asks."""

    def __init__(self, readable: Readable, meaning: Session, policy: Policy) -> None:
        self.readable = readable
        self._dialect = PostgresDialect(readable, meaning, policy)
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


def planner_on(connection: Connection, policy: Policy) -> Planner:
    """Of texts of any session: a name may be in any schema. Raises `psycopg.Error`."""
    readable = read_readable(connection)
    anybody = Session((), "", frozenset())
    dialect = PostgresDialect(readable, anybody, policy)
    return Planner(schema_for(readable, anybody), policy, dialect)


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


def _keep(cache: dict[K, T], key: K, value: T, *, at_most: int = MAX_PLANS) -> None:
    """Keep it; what was kept first goes where there is too much."""
    if len(cache) >= at_most:
        with contextlib.suppress(KeyError, RuntimeError, StopIteration):  # other threads do, too
            del cache[next(iter(cache))]
    cache[key] = value
