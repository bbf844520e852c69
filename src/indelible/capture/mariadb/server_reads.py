"""What the reads of all connections to one MariaDB database share: its schema, and plans."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from typing import Final

import msgspec

from indelible.capture.database_reads import DatabaseReads
from indelible.capture.host import CaptureHost
from indelible.capture.mariadb.connecting import Connection, connect, database_of, server_errors
from indelible.capture.mariadb.dialect import MariadbDialect
from indelible.capture.mariadb.schema import fetch, named_sql, read_schema
from indelible.capture.mariadb.tokens import has_unknown_quotes, tokenize
from indelible.capture.schema import Schema
from indelible.capture.statements.plan import Plan
from indelible.capture.statements.planner import MAX_PLANS, Entry, Planner
from indelible.capture.statements.syntax import function_names, words
from indelible.capture.statements.tokens import Kind, names_in, unquote
from indelible.errors import IndelibleError
from indelible.policy.model import Server

_CHECK_S: Final = 30.0
_LOOKS: Final = 20
"""So often in between, at most, something that isn't explained lets us look again."""
_UNSETTLING: Final = words("CALL EXECUTE IMMEDIATE PREPARE TEMPORARY")


class _Readable(msgspec.Struct, frozen=True):
    """What statements can name: `functions` are those of the application, by their names in lower
    case; of `partly_starred` tables a star leaves columns out."""

    schema: Schema
    partly_starred: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


class ServerReads:
    """What the reads of all connections to one database share. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self.shared = DatabaseReads(trail)
        self.database = database_of(server)
        self._policy = trail.policy
        self._server = server
        self._looking = threading.Lock()
        self._looked_s = float("-inf")
        self._looks_left = _LOOKS
        self._use(_Readable(Schema({})))

    def _use(self, readable: _Readable) -> None:
        self._readable = readable
        self._dialect = MariadbDialect(self.database, readable.partly_starred)
        self._planner = Planner(readable.schema, self._policy, self._dialect)
        self._by_statement: dict[tuple[str, str], Plan] = {}
        self._seen: dict[str, bool] = {}

    def entry(self, text: str) -> Entry:
        """What is to be done with `text` where names mean what the schema says."""
        self._look_if_due(text)
        return self._planner.entry(text)

    def plan_by_statement(self, text: str, why: str) -> Plan:
        """What is recorded of `text` whose rows can't be named, and why they can't."""
        self._look_if_due(text)
        plans = self._by_statement
        plan = plans.get((text, why))
        if plan is None:
            plan = self._planner.by_statement(text, why)
            if len(plans) >= MAX_PLANS:
                plans.clear()
            plans[text, why] = plan
        return plan

    def unsettles(self, text: str) -> bool:
        """Whether names may mean something else in a session from `text` on."""
        self._look_if_due(text)
        return self._seen[text]

    def look_again(self) -> None:
        """Something ran that the schema as we know it doesn't explain, or that changed it."""
        if self._looks_left:
            self._looks_left -= 1
            self._look()

    def _look_if_due(self, text: str) -> None:
        if time.monotonic() - self._looked_s > _CHECK_S:
            self._looks_left = _LOOKS
            self._look()
        if text not in self._seen:
            if self._reads_from_unknown(text):
                self.look_again()
            if len(self._seen) >= MAX_PLANS:
                self._seen.clear()
            self._seen[text] = self._may_unsettle(text)

    def _reads_from_unknown(self, text: str) -> bool:
        schema = self._readable.schema
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
            found.update(text.upper().replace(";", " ").replace("`", " ").split())
        starts = [token.upper for token in tokens[:1]]
        starts += [
            after.upper for token, after in itertools.pairwise(tokens) if text[token.start] == ";"
        ]
        called = function_names(text, tokens, self._dialect.keywords)
        return bool(found & _UNSETTLING or "USE" in starts or called & self._readable.functions)

    def _look(self) -> None:
        """Read what there is; what can't be read now stays as it was known."""
        if not self._looking.acquire(timeout=10.0):
            self._looking = threading.Lock()  # of a thread that stayed behind in a fork, perhaps
            return
        try:
            self._looked_s = time.monotonic()
            with contextlib.suppress(IndelibleError), server_errors(self._server):
                with contextlib.closing(connect(self._server)) as connection:
                    readable = _read(connection, self.database)
                if readable != self._readable:
                    self._use(readable)
        finally:
            self._looking.release()


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
            views={name.lower(): names_in(text) if text else tables for name, text in views},
            has_typed_text=True,
        ),
        frozenset(name for (name,) in starred),
        frozenset(name.lower() for (name,) in fetch(connection, sql["functions"])),
    )
