"""Reads on PostgreSQL: that a statement read from these tables, not yet which of their rows.

So that no answer is silent: each is an access of coverage `statement`, and counts as possible.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections import OrderedDict
from typing import Final

import msgspec

from indelible.capture.access_event import AccessStatement, AccessTarget, encode_access
from indelible.capture.database_reads import DatabaseReads
from indelible.capture.host import CaptureHost
from indelible.capture.postgres.connecting import connect, server_errors
from indelible.capture.postgres.schema import read_schema
from indelible.capture.postgres.tokens import has_unknown_quotes, tokenize
from indelible.capture.schema import Schema
from indelible.capture.statements.shown import mentioned_tables
from indelible.capture.statements.tokens import Kind, Token, unquote
from indelible.errors import DeliveryError, IndelibleError
from indelible.events.context import Frame
from indelible.policy.model import Durability, Server

_WHY: Final = "reads on PostgreSQL aren't told by row yet"
_LITERALS: Final = frozenset({Kind.STRING, Kind.BLOB, Kind.NUMBER})
_READS: Final = re.compile(r"\b(?:select|table)\b|\bcopy\b.*\bto\b", re.IGNORECASE | re.DOTALL)
_CATALOGUES: Final = frozenset({"PG_CATALOG", "INFORMATION_SCHEMA"})
_CHECK_S: Final = 30.0
_LOOKS: Final = 20
"""So often in between, at most, a text that reads from what isn't known lets us look again."""
_MAX_PLANS: Final = 2_048


class ReadPlan(msgspec.Struct, frozen=True):
    """What is recorded of a statement: the tables that it mentions, and its text."""

    action: str
    targets: tuple[AccessTarget, ...]
    statement: AccessStatement
    durability: Durability


class StatementReads:
    """The reads of one database. Safe for threads."""

    def __init__(self, trail: CaptureHost, server: Server) -> None:
        self._shared = DatabaseReads(trail)
        self._trail = trail
        self._server = server
        self._looking = threading.Lock()
        self._schema = Schema({})
        self._looked_s = float("-inf")
        self._looks_left = _LOOKS
        self._must_sync = False
        self._plans: OrderedDict[str, ReadPlan | None] = OrderedDict()

    def record(self, text: str, frame: Frame | None, transaction: str | None) -> None:
        """`text` ran for `frame`'s actor. Raises `DeliveryError` under `strict` only."""
        plan = self._plan(text)
        if plan is None:
            return
        draft = encode_access(
            action=plan.action,
            who=self._shared.who(frame),
            targets=plan.targets,
            subjects=(),
            statement=plan.statement,
            transaction=transaction,
            part=None,
        )
        self._append(draft, plan.durability, frame)

    def check_in(self) -> None:
        """A connection goes back, or a request has ended: what nobody read is on disk, too."""
        if self._must_sync:
            self._must_sync = False
            try:
                self._trail.journal.sync()
            except DeliveryError as problem:
                self._shared.lost(problem)

    def _append(self, draft: bytes, durability: Durability, frame: Frame | None) -> None:
        journal = self._trail.journal
        if durability == "async":
            journal.append_later(draft)
            return
        try:
            journal.append(draft)
            if durability == "strict":
                journal.sync()
            elif frame is None:
                self._must_sync = True
            else:
                self._shared.scope(frame.scope).must_sync = True
        except DeliveryError as problem:
            if durability == "strict":
                raise
            self._shared.lost(problem)

    def _plan(self, text: str) -> ReadPlan | None:
        """None where no application's table is read."""
        if _READS.search(text) is None:
            return None
        if time.monotonic() - self._looked_s > _CHECK_S:
            self._looks_left = _LOOKS
            self._look()
        try:
            return self._plans[text]
        except KeyError:
            tokens = tokenize(text)
            if self._looks_left and _reads_from_unknown(text, tokens, self._schema):
                self._looks_left -= 1
                self._look()
            plan = self._plans[text] = self._make(text, tokens)
            while len(self._plans) > _MAX_PLANS:
                with contextlib.suppress(KeyError):
                    self._plans.popitem(last=False)
            return plan

    def _make(self, text: str, tokens: tuple[Token, ...]) -> ReadPlan | None:
        words = {token.upper for token in tokens}
        if words & _CATALOGUES:
            return None
        policies = [
            self._trail.policy.table(table.name)
            for table in mentioned_tables(text, tokens, self._schema)
        ]
        policies = [policy for policy in policies if policy.reads]
        is_unknown = not self._schema.tables and "FROM" in words
        if not policies and not is_unknown:
            return None
        return ReadPlan(
            f"{policies[0].kind if policies else 'statement'}.read",
            tuple(AccessTarget(policy.kind, coverage="statement", why=_WHY) for policy in policies),
            AccessStatement(shown(text, tokens), tables=tuple(one.table for one in policies)),
            max((one.durability for one in policies), key=_ORDER.index, default="request"),
        )

    def _look(self) -> None:
        """Read which tables there are; what can't be read now stays as it was known."""
        with self._looking:
            with contextlib.suppress(IndelibleError), server_errors(self._server):
                with contextlib.closing(connect(self._server)) as connection:
                    schema = read_schema(connection).tables
                if schema != self._schema:
                    self._schema = schema
                    self._plans.clear()
            self._looked_s = time.monotonic()


def _reads_from_unknown(text: str, tokens: tuple[Token, ...], schema: Schema) -> bool:
    """Whether a name behind FROM or JOIN is no table's: that of a new one, perhaps."""
    return any(
        before.upper in ("FROM", "JOIN")
        and token.kind in (Kind.WORD, Kind.QUOTED)
        and unquote(text[token.start : token.end]).lower() not in schema.tables
        for before, token in itertools.pairwise(tokens)
    )


_ORDER: Final[tuple[Durability, ...]] = ("async", "request", "strict")


def shown(text: str, tokens: tuple[Token, ...]) -> str:
    """`text` with `?` for literals; nothing of one that may quote in ways that we don't know."""
    if has_unknown_quotes(tokens):
        return f"{tokens[0].upper if tokens else ''} (not shown)"
    pieces = []
    end = 0
    for token in tokens:
        pieces.append("" if token.start == end else " ")
        pieces.append("?" if token.kind in _LITERALS else text[token.start : token.end])
        end = token.end
    return "".join(pieces).strip()
