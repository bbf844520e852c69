"""What the reads of all connections to one MariaDB database share: its schema, and plans."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from indelible.capture.database_reads import DatabaseReads
from indelible.capture.host import CaptureHost
from indelible.capture.looks import Looks
from indelible.capture.mariadb.connecting import Connection, connect, database_of, server_errors
from indelible.capture.mariadb.dialect import COMMENT_EDGES, MariadbDialect
from indelible.capture.mariadb.schema import fetch, named_sql, read_schema
from indelible.capture.mariadb.tokens import has_unknown_quotes, tokenize
from indelible.capture.mariadb.views import FoundDefinition
from indelible.capture.schema import Schema
from indelible.capture.statements.plan import Plan
from indelible.capture.statements.planner import MAX_PLANS, Entry, Planner
from indelible.capture.statements.syntax import function_names, words
from indelible.capture.statements.tokens import Kind, names_in, unquote
from indelible.policy.model import Policy, Server

K = TypeVar("K")
T = TypeVar("T")

_MAX_TEXT: Final = 50_000
"""What is found out of longer texts isn't kept."""
_UNSETTLING: Final = words("CALL EXECUTE PREPARE TEMPORARY")
_WORD: Final = re.compile("[A-Z]+")


class _Readable(msgspec.Struct, frozen=True):
    """What statements can name: `functions` are those of the application, by their names in lower
    case; of `partly_starred` tables a star leaves columns out. `definitions` of views that we may
    see into, by their names."""

    schema: Schema
    definitions: Mapping[str, FoundDefinition] = {}
    partly_starred: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


class _Plans:
    """What is known of texts on one schema. Safe for threads: at worst it is found out twice."""

    def __init__(self, readable: _Readable, database: str, policy: Policy) -> None:
        self.readable = readable
        self._dialect = MariadbDialect(
            database, readable.schema, policy, readable.definitions, readable.partly_starred
        )
        self.planner = Planner(readable.schema, policy, self._dialect)
        self._by_statement: dict[tuple[str, str], Plan] = {}
        self._unsettling: dict[str, bool] = {}

    def by_statement(self, text: str, why: str) -> Plan:
        """What is recorded of `text` whose rows can't be named, and why they can't."""
        plan = self._by_statement.get((text, why))
        if plan is None:
            plan = self.planner.by_statement(text, why)
            if len(text) <= _MAX_TEXT:
                _keep(self._by_statement, (text, why), plan)
        return plan

    def is_new(self, text: str) -> bool:
        return len(text) <= _MAX_TEXT and text not in self._unsettling

    def unsettles(self, text: str) -> bool:
        """Whether names may mean something else in a session from `text` on."""
        known = self._unsettling.get(text)
        if known is None:
            known = self._may_unsettle(text)
            if len(text) <= _MAX_TEXT:
                _keep(self._unsettling, text, known)
        return known

    def reads_from_unknown(self, text: str) -> bool:
        """Whether a name behind FROM or JOIN is no table's: that of a new one, perhaps."""
        schema = self.readable.schema
        for before, token in itertools.pairwise(tokenize(text)):
            if before.upper in ("FROM", "JOIN") and token.kind in (Kind.WORD, Kind.QUOTED):
                name = unquote(text[token.start : token.end]).lower()
                if not (name in schema.tables or name in schema.views):
                    return True
        return False

    def _may_unsettle(self, text: str) -> bool:
        """It makes a temporary table, which hides another, or goes to another database; or it runs
        what may do so."""
        tokens = tokenize(text)
        found = {token.upper for token in tokens}
        if has_unknown_quotes(tokens):
            found.update(_WORD.findall(text.upper()))
        if found & _UNSETTLING:
            return True
        has_more = ";" in text.rstrip("; \n") or any(edge in text for edge in COMMENT_EDGES)
        if "USE" in found and (tokens[0].upper == "USE" or has_more):
            return True
        called = function_names(text, tokens, self._dialect.keywords)
        return bool(called & self.readable.functions)


class ServerReads:
    """What the reads of all connections to one database share. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self.shared = DatabaseReads(trail)
        self.database = database_of(server)
        self._policy = trail.policy
        self._server = server
        self._looks = Looks(_Readable(Schema({})), self._read)
        self._plans = self._plans_on(self._looks.known)

    def entry(self, text: str) -> Entry:
        """What is to be done with `text` where names mean what the schema says."""
        return self._plans_for(text).planner.entry(text)

    def by_statement(self, text: str, why: str) -> Plan:
        """What is recorded of `text` whose rows can't be named, and why they can't."""
        return self._plans_for(text).by_statement(text, why)

    def unsettles(self, text: str) -> bool:
        """Whether names may mean something else in a session from `text` on."""
        return self._plans_for(text).unsettles(text)

    def schema_changed(self) -> None:
        """A statement ran after which tables may be others: look before the next one."""
        self._looks.expect_change()

    def look_again(self) -> None:
        """Something ran that the schema as we know it doesn't explain."""
        self._looks.look_again()

    def _plans_on(self, readable: _Readable) -> _Plans:
        return _Plans(readable, self.database, self._policy)

    def _plans_for(self, text: str) -> _Plans:
        self._looks.look_if_due()
        plans = self._current()
        if plans.is_new(text) and plans.reads_from_unknown(text):
            self.look_again()
            plans = self._current()
        return plans

    def _current(self) -> _Plans:
        plans, known = self._plans, self._looks.known
        if plans.readable is not known:
            plans = self._plans = self._plans_on(known)
        return plans

    def _read(self) -> _Readable:
        with server_errors(self._server), contextlib.closing(connect(self._server)) as connection:
            return _read(connection, self.database)


def planner_on(connection: Connection, database: str, policy: Policy) -> Planner:
    """Of texts of any session. Raises `pymysql.Error`."""
    return _Plans(_read(connection, database), database, policy).planner


def _keep(cache: dict[K, T], key: K, value: T) -> None:
    """Keep it, of so many."""
    if len(cache) >= MAX_PLANS:
        cache.clear()
    cache[key] = value


def _read(connection: Connection, database: str) -> _Readable:
    sql = named_sql("catalog.sql")
    found = read_schema(connection, database).tables
    tables = tuple(found.tables)
    views = fetch(connection, sql["views"], (database,))
    starred = fetch(connection, sql["partly_starred"], (database,))
    return _Readable(
        Schema(
            tables=found.tables,
            # Of one that we may not see into: any table.
            views={name.lower(): names_in(text) if text else tables for name, text, _ in views},
            has_typed_text=True,
        ),
        {name: FoundDefinition(text, version) for name, text, version in views if text},
        frozenset(name for (name,) in starred),
        frozenset(name.lower() for (name,) in fetch(connection, sql["functions"])),
    )
