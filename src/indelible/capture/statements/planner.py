"""From the text of a statement to its plan, remembered by text."""

from __future__ import annotations

import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from indelible.capture.schema import Schema, Table
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.plan import Plan, TargetPlan, Verb
from indelible.capture.statements.queries import can_go_beside, has_values, plan_beside, plan_query
from indelible.capture.statements.shown import mentioned_tables, shown_text, tables_behind
from indelible.capture.statements.spans import NotAQueryError
from indelible.capture.statements.sqlite import SQLITE
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import NotUnderstoodError, UnknownReadError
from indelible.capture.statements.targets import worst_coverage
from indelible.capture.statements.tokens import Kind, Token
from indelible.capture.statements.views import SchemaDefinitions, with_views_inlined
from indelible.policy.model import Policy

_log = logging.getLogger(__name__)

MAX_PLANS: Final = 2_048
_MAX_TEXT: Final = 200_000
_ESCAPED_NAME: Final = re.compile('[uU]&"')
_WORD: Final = re.compile(r"[\w$]+")
_READ_BY_A_WRITE: Final = "read by a write"


class Entry:
    """What is remembered of one text: its candidates, best first, and whether the first held.

    `is_trusted` once the plan in use was seen to be one that the database prepares. Threads may
    find out the same thing at the same time: both name the plan that they tried. `tries` counts
    those that told nothing.
    """

    __slots__ = ("_candidates", "is_trusted", "plan", "tries")

    def __init__(self, candidates: Sequence[Plan]) -> None:
        self._candidates = tuple(candidates)
        self.plan = candidates[0]
        self.is_trusted = self.plan.text is None
        self.tries = 0

    def untried(self) -> Entry:
        """The same, as it was at first."""
        return Entry(self._candidates)

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

    def __init__(
        self,
        schema: Schema,
        policy: Policy,
        dialect: Dialect = SQLITE,
        *,
        max_plans: int = MAX_PLANS,
    ) -> None:
        self.schema = schema
        self._policy = policy
        self._dialect = dialect
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
        collapsed = self._dialect.in_lists.collapse(text)
        entry = self._by_collapsed.get((collapsed, converted))
        if entry is None:
            entry = Entry(self._candidates(collapsed, converted))
            _remember(self._by_collapsed, (collapsed, converted), entry, self._max_plans)
        if len(text) <= _MAX_TEXT:
            _remember(self._by_text, (text, converted), entry, self._max_plans)
        return entry

    def by_statement(self, text: str, why: str) -> Plan:
        """Of a text whose rows go unseen, and why; made anew each time."""
        tokens = self._dialect.tokenize(text)
        if self._dialect.verb_of(text, tokens) is Verb.READ:
            plan = self._opaque(text, tokens, why)
            if plan.targets and not self._dialect.hands_out_nothing(tokens):
                return plan
        return self.entry(text).plan

    def logged(
        self, text: str, reads: Sequence[str], why: str, *, is_read: bool | None = None
    ) -> Plan:
        """Of a statement that a server wrote down: it ran, and no more is known of its rows.

        `reads` are the tables and views that it read, where the log says; else those are taken
        that `text` names, all that it may name where it isn't understood. `is_read` says whether
        it is more than a write, where that is known.
        """
        tokens = self._dialect.tokenize(text)
        verb = self._dialect.verb_of(text, tokens)
        if is_read is None:
            is_read = verb is Verb.READ
        shown = shown_text(text, tokens, self.schema, self._dialect)
        tables = [table for name in reads for table in tables_behind(name, self.schema)]
        if not tables:
            span = (0, None) if is_read else self._dialect.read_part(text, tokens)
            if span is None or (is_read and self._dialect.hands_out_nothing(tokens)):
                return Plan(verb=verb, shown_text=shown)
            if any(token.kind is Kind.ILLEGAL for token in tokens):
                tokens, span = _words(text), (0, None)
            tables = mentioned_tables(text, tokens, self.schema, *span)
            if _ESCAPED_NAME.search(text) is not None:
                tables = list(self.schema.tables.values())
        return self._by_tables(verb, shown, tables, why)

    def unseen(self, how: str, table: str | None) -> Plan:
        """Of something that hands out rows without a statement; all tables' where None."""
        tables = [
            shape
            for shape in self.schema.tables.values()
            if table is None or shape.name.lower() == table.lower()
        ]
        return self._by_tables(Verb.READ, how, tables, f"{how} shows no rows")

    def _candidates(self, text: str, converted: bool) -> list[Plan]:
        tokens = self._dialect.tokenize(text)
        verb = self._dialect.verb_of(text, tokens)
        if verb is not Verb.READ:
            return [self._of_write(text, tokens, verb)]
        if self._dialect.hands_out_nothing(tokens):
            return [Plan(verb=verb)]
        candidates: list[Plan] = []
        why = "" if self.schema.is_utf8 else "a database in UTF-16"
        reads_unknown = False
        try:
            if why:
                raise NotUnderstoodError(why)
            inlined = with_views_inlined(
                text, tokens, self.schema, self._dialect, SchemaDefinitions(self.schema)
            )
            statement = Statement(
                text if inlined is None else inlined,
                tokens if inlined is None else self._dialect.tokenize(inlined),
                self.schema,
                self._policy,
                self._dialect,
            )
            try:
                full = plan_query(statement, converted=converted, with_subjects=True)
            except NotUnderstoodError:
                candidates += self._seen_through(statement, None)
                raise
            candidates += [*self._seen_through(statement, full), full]
            if full.text is not None:
                candidates += _further(statement, full, converted=converted)
            if inlined is not None:
                shown = shown_text(text, tokens, self.schema, self._dialect)
                candidates = [
                    replace(one, shown_text=shown, inlines_views=True) for one in candidates
                ]
        except (NotAQueryError, NotUnderstoodError) as problem:
            why = str(problem)
            reads_unknown = isinstance(problem, UnknownReadError)
        except RecursionError:
            why = "nested too deeply"
        except (AttributeError, TypeError, LookupError, ValueError):
            # A tree of another shape than any seen so far: no reason for a read to fail.
            _log.exception("a statement could not be planned; its rows won't be named")
            why = "planning failed"
        if not candidates or candidates[-1].text is not None:
            candidates.append(
                self._opaque(
                    text,
                    tokens,
                    why or "the database refused the hidden columns",
                    reads_unknown=reads_unknown,
                )
            )
        return candidates

    def _seen_through(self, statement: Statement, full: Plan | None) -> list[Plan]:
        """A plan that names rows behind views which `full` doesn't, if there is one."""
        if full is not None and not worst_coverage(full):
            return []
        try:
            found = self._dialect.seen_through(statement)
            if found is None:
                return []
            inner = Statement(
                found.text,
                self._dialect.tokenize(found.text),
                self.schema,
                self._policy,
                self._dialect,
            )
            plan = plan_beside(inner, statement, found.views)
        except (NotAQueryError, NotUnderstoodError):
            return []
        is_better = full is None or worst_coverage(plan) < worst_coverage(full)
        return [plan] if plan.beside and is_better else []

    def _opaque(
        self, text: str, tokens: tuple[Token, ...], why: str, *, reads_unknown: bool = False
    ) -> Plan:
        """Run it untouched, and say of every table it mentions that its rows aren't known."""
        plan = self._unnamed(Verb.READ, text, tokens, why, 0, None)
        return replace(plan, unknown=reads_unknown and not plan.targets)

    def _of_write(self, text: str, tokens: tuple[Token, ...], verb: Verb) -> Plan:
        spans = self._dialect.read_part(text, tokens)
        if spans is None:
            shown = shown_text(text, tokens, self.schema, self._dialect)
            unknown = self._dialect.hands_out_unknown(tokens)
            return Plan(verb=verb, shown_text=shown, unknown=unknown)
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
        shown = shown_text(text, tokens, self.schema, self._dialect)
        tables = mentioned_tables(text, tokens, self.schema, start, end)
        return self._by_tables(verb, shown, tables, why)

    def _by_tables(self, verb: Verb, shown: str, tables: Sequence[Table], why: str) -> Plan:
        """It read `tables`, as far as their reads are captured."""
        policies = {table.name: self._policy.table(table.name) for table in tables}
        read = {name: policy for name, policy in policies.items() if policy.reads}
        return Plan(
            verb=verb,
            shown_text=shown,
            targets=tuple(
                TargetPlan(policy, (), coverage="statement", why=why) for policy in read.values()
            ),
            tables=tuple(read),
        )


def _further(statement: Statement, full: Plan, *, converted: bool) -> Iterator[Plan]:
    """What else there is where the database refuses `full`, best first."""
    keys_only = plan_query(statement, converted=converted, with_subjects=False)
    if keys_only.text != full.text:
        yield keys_only
    with contextlib.suppress(NotUnderstoodError):
        if has_values(statement):
            yield plan_query(statement, converted=converted, with_subjects=True, with_values=False)
    with contextlib.suppress(NotUnderstoodError):
        if can_go_beside(statement):
            yield plan_query(statement, converted=True, with_subjects=True, beside=True)
    with contextlib.suppress(NotUnderstoodError):
        if full.beside:
            yield plan_query(statement, converted=converted, with_subjects=True, may_add=False)


def unplanned(text: str) -> Entry:
    """Of a text on a schema that couldn't be read: it runs as it is, and is all that's recorded."""
    tokens = SQLITE.tokenize(text)
    verb = SQLITE.verb_of(text, tokens)
    shown = shown_text(text, tokens, Schema({}), SQLITE)
    return Entry([Plan(verb=verb, shown_text=shown, unknown=verb is Verb.READ)])


def _words(text: str) -> tuple[Token, ...]:
    """Every word of `text`, in comments and strings, too."""
    return tuple(Token(Kind.WORD, *word.span(), "") for word in _WORD.finditer(text))


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
