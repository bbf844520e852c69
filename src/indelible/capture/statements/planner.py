"""From the text of a statement to its plan, remembered by text."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from indelible.capture.schema import Schema
from indelible.capture.statements.plan import Plan, TargetPlan, Verb
from indelible.capture.statements.queries import can_go_beside, plan_query
from indelible.capture.statements.shown import mentioned_tables, shown_text
from indelible.capture.statements.spans import NotAQueryError
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import NotUnderstoodError, words
from indelible.capture.statements.tokens import Kind, Token, collapse, tokenize
from indelible.policy.model import Policy

_log = logging.getLogger(__name__)

MAX_PLANS: Final = 2_048
_MAX_TEXT: Final = 200_000
_HARMLESS_PRAGMAS: Final = words("""
    application_id auto_vacuum automatic_index busy_timeout cache_size cache_spill
    collation_list compile_options data_version database_list defer_foreign_keys encoding
    foreign_key_check foreign_key_list foreign_keys freelist_count function_list index_info
    index_list index_xinfo integrity_check journal_mode journal_size_limit locking_mode
    max_page_count mmap_size module_list page_count page_size pragma_list query_only quick_check
    read_uncommitted recursive_triggers schema_version secure_delete soft_heap_limit synchronous
    table_info table_list table_xinfo temp_store threads trusted_schema user_version
    wal_autocheckpoint
    """)
_WITH_ARGUMENT: Final = words("""
    foreign_key_check foreign_key_list index_info index_list index_xinfo integrity_check
    quick_check table_info table_list table_xinfo
    """)
_SCHEMA_VERBS: Final = frozenset({"CREATE", "DROP", "ALTER", "ATTACH", "DETACH"})
_READ_BY_A_WRITE: Final = "read by a write"


class Entry:
    """What is remembered of one text: its candidates, best first, and whether the first held.

    `is_trusted` once the plan in use was seen to be one that the database prepares. Threads may
    find out the same thing at the same time: both name the plan that they tried.
    """

    __slots__ = ("_candidates", "is_trusted", "plan")

    def __init__(self, candidates: Sequence[Plan]) -> None:
        self._candidates = tuple(candidates)
        self.plan = candidates[0]
        self.is_trusted = self.plan.text is None

    def trust(self, plan: Plan) -> None:
        """`plan` holds."""
        if plan is self.plan:
            self.is_trusted = True

    def give_up(self, plan: Plan) -> None:
        """`plan` doesn't hold: the next best one from now on."""
        if plan is self.plan:
            self.is_trusted = False
            place = next(n for n, one in enumerate(self._candidates) if one is plan)
            self.plan = self._candidates[place + 1]
            self.is_trusted = self.plan.text is None


class Planner:
    """Plans for one schema. Safe for threads: at worst a text is planned twice."""

    def __init__(self, schema: Schema, policy: Policy, *, max_plans: int = MAX_PLANS) -> None:
        self.schema = schema
        self._policy = policy
        self._max_plans = max_plans
        self._by_text: OrderedDict[tuple[str, bool], Entry] = OrderedDict()
        self._by_collapsed: OrderedDict[tuple[str, bool], Entry] = OrderedDict()

    def entry(self, text: str, *, converted: bool = False) -> Entry:
        """What is to be done with `text`; never raises.

        `converted`: the connection converts values between the table and the row.
        """
        found = self._by_text.get((text, converted))
        if found is not None:
            return found
        collapsed = collapse(text)
        entry = self._by_collapsed.get((collapsed, converted))
        if entry is None:
            entry = Entry(self._candidates(collapsed, converted))
            _remember(self._by_collapsed, (collapsed, converted), entry, self._max_plans)
        if len(text) <= _MAX_TEXT:
            _remember(self._by_text, (text, converted), entry, self._max_plans)
        return entry

    def unseen(self, how: str, table: str | None) -> Plan:
        """Of something that hands out rows without a statement; all tables' where None."""
        names = [
            shape.name
            for shape in self.schema.tables.values()
            if table is None or shape.name.lower() == table.lower()
        ]
        policies = [self._policy.table(name) for name in names]
        targets = [
            TargetPlan(policy, (), coverage="statement", why=f"{how} shows no rows")
            for policy in policies
            if policy.reads
        ]
        return Plan(
            verb=Verb.READ,
            shown_text=how,
            targets=tuple(targets),
            tables=tuple(target.policy.table for target in targets),
        )

    def _candidates(self, text: str, converted: bool) -> list[Plan]:
        tokens = tokenize(text)
        heads = [token.upper for token in tokens]
        verb = verb_of(text, tokens)
        if verb is not Verb.READ:
            return [self._of_write(text, tokens, verb)]
        if heads[:1] in (["EXPLAIN"], ["PRAGMA"]):
            return [Plan(verb=verb)]
        candidates: list[Plan] = []
        why = "" if self.schema.is_utf8 else "a database in UTF-16"
        try:
            if why:
                raise NotUnderstoodError(why)
            statement = Statement(text, tokens, self.schema, self._policy)
            full = plan_query(statement, converted=converted, with_subjects=True)
            candidates.append(full)
            if full.text is not None:
                keys_only = plan_query(statement, converted=converted, with_subjects=False)
                if keys_only.text != full.text:
                    candidates.append(keys_only)
                if can_go_beside(statement):
                    candidates.append(
                        plan_query(statement, converted=True, with_subjects=True, beside=True)
                    )
        except (NotAQueryError, NotUnderstoodError) as problem:
            why = str(problem)
        except RecursionError:
            why = "nested too deeply"
        except (AttributeError, TypeError, LookupError, ValueError):
            # A tree of another shape than any seen so far: no reason for a read to fail.
            _log.exception("a statement could not be planned; its rows won't be named")
            why = "planning failed"
        if not candidates or candidates[-1].text is not None:
            candidates.append(
                self._opaque(text, tokens, why or "the database refused the hidden columns")
            )
        return candidates

    def _opaque(self, text: str, tokens: tuple[Token, ...], why: str) -> Plan:
        """Run it untouched, and say of every table it mentions that its rows aren't known."""
        return self._unnamed(Verb.READ, text, tokens, why, 0, None)

    def _of_write(self, text: str, tokens: tuple[Token, ...], verb: Verb) -> Plan:
        spans = _read_part(text, tokens)
        if spans is None:
            return Plan(verb=verb)
        return self._unnamed(verb, text, tokens, _READ_BY_A_WRITE, *spans)

    def _unnamed(
        self,
        verb: Verb,
        text: str,
        tokens: tuple[Token, ...],
        why: str,
        start: int,
        end: int | None,
    ) -> Plan:
        tables = [
            table
            for table in mentioned_tables(text, tokens, self.schema, start, end)
            if self._policy.table(table.name).reads
        ]
        return Plan(
            verb=verb,
            shown_text=shown_text(text, tokens, self.schema),
            targets=tuple(
                TargetPlan(self._policy.table(table.name), (), coverage="statement", why=why)
                for table in tables
            ),
            tables=tuple(table.name for table in tables),
        )


def unplanned(text: str) -> Entry:
    """Of a text on a schema that couldn't be read: it runs as it is, and is all that's recorded."""
    tokens = tokenize(text)
    verb = verb_of(text, tokens)
    shown = shown_text(text, tokens, Schema({}))
    return Entry([Plan(verb=verb, shown_text=shown, unknown=verb is Verb.READ)])


def verb_of(text: str, tokens: tuple[Token, ...]) -> Verb:
    """What the statement may do. What isn't recognised is a write.

    SQLite has no writes inside of a SELECT, so the first word decides, or with a WITH clause
    the first that stands outside of brackets.
    """
    heads = [token.upper for token in tokens]
    first = heads[0] if heads else ""
    if first in ("SELECT", "VALUES", "EXPLAIN", ""):
        return Verb.READ if not _has_more(text, tokens) else Verb.WRITE
    if first == "PRAGMA":
        return _verb_of_pragma(text, tokens)
    if first == "WITH":
        depth = 0
        for token in tokens:
            character = text[token.start]
            if token.kind is Kind.PUNCTUATION:
                depth += (character == "(") - (character == ")")
            elif depth == 0 and token.upper in ("SELECT", "VALUES"):
                return Verb.READ
            elif depth == 0 and token.upper in ("INSERT", "UPDATE", "DELETE", "REPLACE"):
                return Verb.WRITE
        return Verb.WRITE
    return Verb.SCHEMA if first in _SCHEMA_VERBS else Verb.WRITE


def _has_more(text: str, tokens: tuple[Token, ...]) -> bool:
    """Whether something stands after a semicolon (the driver will refuse it)."""
    return any(token.kind is Kind.PUNCTUATION and text[token.start] == ";" for token in tokens[:-1])


def _verb_of_pragma(text: str, tokens: tuple[Token, ...]) -> Verb:
    names = [text[token.start : token.end].lower() for token in tokens[1:]]
    if len(names) > 2 and names[1] == ".":
        names = names[2:]
    if not names or names[0] not in _HARMLESS_PRAGMAS:
        return Verb.WRITE
    if len(names) == 1 or names[1] == ";":
        return Verb.READ
    if names[1] == "(" and names[0] in _WITH_ARGUMENT:
        return Verb.READ
    return Verb.WRITE


def _read_part(text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
    """From where to where a write takes other rows' values; None where it doesn't.

    An INSERT takes them in its SELECT, an UPDATE in its SET and FROM; what a WHERE tests is only
    consulted. A WITH clause before counts as taken too: better one table too many.
    """
    heads = [token.upper for token in tokens]
    verbs = ("INSERT", "REPLACE", "UPDATE", "DELETE", "CREATE")
    verb = next((word for word in heads if word in verbs), "")
    if verb in ("INSERT", "REPLACE") and "INTO" in heads:
        if heads[0] == "WITH" and "SELECT" in heads:
            return 0, None
        for place in range(heads.index("INTO") + 2, len(heads)):
            if heads[place] in ("SELECT", "WITH"):
                return tokens[place].start, None
    elif verb == "UPDATE" and ("SELECT" in heads or "FROM" in heads):
        return _between_set_and_where(text, tokens)
    elif verb == "CREATE" and "TABLE" in heads[:3] and "AS" in heads[:10]:
        return tokens[heads.index("AS")].start, None
    return None


def _between_set_and_where(text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
    depth = 0
    start = None
    for token in tokens:
        if token.kind is Kind.PUNCTUATION:
            depth += (text[token.start] == "(") - (text[token.start] == ")")
        elif depth == 0 and token.upper == "SET" and start is None:
            start = token.end
        elif depth == 0 and token.upper in ("WHERE", "RETURNING") and start is not None:
            return start, token.start
    return None if start is None else (start, None)


def _remember(
    cache: OrderedDict[tuple[str, bool], Entry],
    key: tuple[str, bool],
    entry: Entry,
    limit: int,
) -> None:
    cache[key] = entry
    while len(cache) > limit:
        try:
            cache.popitem(last=False)
        except KeyError:
            return
