"""The plan of one query: what its own rows name, and which companion queries name the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from indelible.capture.schema import Table
from indelible.capture.statements.arms import arms_of
from indelible.capture.statements.carried import Carried, Inexact
from indelible.capture.statements.exposing import Exposing
from indelible.capture.statements.plan import Companion, Plan, Taken, TargetPlan, Verb
from indelible.capture.statements.shown import kept_parameters, shown_text
from indelible.capture.statements.statement import NamedQuery, Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    has_bare_extreme,
    has_value_windows,
    is_aggregated,
    own_clauses,
    value_subqueries,
)
from indelible.capture.statements.tokens import COLLAPSED
from indelible.events.model import Coverage
from indelible.policy.model import Policy

_ORDER: Final[dict[Coverage, int]] = {"exact": 0, "superset": 1, "statement": 2}


def plan_query(
    statement: Statement,
    *,
    converted: bool,
    with_subjects: bool,
    with_values: bool = True,
    beside: bool = False,
) -> Plan:
    """The plan of `statement`. Raises `NotUnderstoodError` where only its text can be recorded.

    `converted`: the driver converts values on their way, so what stands in a row isn't what
    stands in the table. Without `with_subjects` no column is fetched to name subjects, without
    `with_values` none for queries in the select list. `beside`: an aggregate whose own text must
    stay as it is.
    """
    statement.dialect.check(statement)
    root = statement.root
    targets = Targets(statement)
    companions = Companions(statement, targets, with_subjects=with_subjects)
    named = statement.named_queries(root, statement.spans.query, {})
    exposing = None
    if isinstance(root, exp.Select):
        grouped = _can_group(root, statement)
        values = list(value_subqueries(root))
        needs_companion = (
            beside
            or (statement.arm(root).distinct and not grouped)
            or has_value_windows(root)
            or (statement.dialect.has_bare_columns and has_bare_extreme(root))
        )
        if needs_companion:
            companions.add(root, named, is_whole=True)
        else:
            exposing = Exposing(
                statement, with_subjects=with_subjects, add_companion=companions.add
            )
            inside = []
            if with_values and not grouped:
                inside = [one for one in values if not companions.may_take(one, named)]
                values = [one for one in values if not any(one is other for other in inside)]
            targets.take(
                exposing.take(root, named, converted=converted, grouped=grouped, values=inside)
            )
            targets.lower(exposing.inexact)
        for subquery in values:
            companions.add_value(subquery, named)
    elif isinstance(root, exp.SetOperation):
        joined = Exposing(statement, with_subjects=with_subjects, add_companion=companions.add)
        try:
            targets.take(joined.take_joined(root, named))
        except NotUnderstoodError:
            companions.add(root, named, is_whole=True)
        else:
            targets.lower(joined.inexact)
            exposing = joined
    elif not isinstance(root, exp.Values):
        raise NotUnderstoodError("a query in brackets")
    return _finished(statement, targets, companions.made, exposing)


def _finished(
    statement: Statement,
    targets: Targets,
    companions: Iterable[Companion],
    exposing: Exposing | None,
) -> Plan:
    text = statement.text
    is_spliced = exposing is not None and bool(exposing.edits.made)
    tables = _captured_tables(statement.tables_under(statement.root), statement.policy)
    return Plan(
        verb=Verb.READ,
        shown_text=shown_text(text, statement.tokens, statement.schema, statement.dialect),
        text=exposing.edits.apply(text, 0, len(text)) if exposing and is_spliced else None,
        hidden=exposing.hidden if exposing else 0,
        is_stamped=exposing is not None and exposing.is_stamped,
        needs_all=exposing is not None and exposing.needs_all,
        starred=exposing.starred if exposing else False,
        prefix=statement.prefix,
        checked_names=exposing.checked_names if exposing else (),
        fragile=statement.dialect.is_fragile(statement),
        targets=targets.finish(),
        companions=tuple(companions),
        tables=tables,
        parameters=kept_parameters(
            statement.root,
            statement.marks,
            len(statement.parameters),
            tables,
            statement.policy,
        ),
        collapsed=tuple(
            text[token.start : token.end] == COLLAPSED for token in statement.parameters
        ),
    )


def _can_group(root: exp.Select, statement: Statement) -> bool:
    """Whether its DISTINCT can be had as GROUP BY."""
    return bool(
        statement.dialect.groups_distinct
        and statement.arm(root).distinct
        and not is_aggregated(root)
        and not any(isinstance(node, exp.Window) for node in own_clauses(root))
    )


def has_values(statement: Statement) -> bool:
    """Whether queries stand in its select list, whose values are handed out."""
    root = statement.root
    return isinstance(root, exp.Select) and any(True for _ in value_subqueries(root))


def can_go_beside(statement: Statement) -> bool:
    """Whether the keys of an aggregate can also be had from a query of their own."""
    root = statement.root
    return (
        isinstance(root, exp.Select) and is_aggregated(root) and not statement.spans.query.limited
    )


def _captured_tables(tables: Iterable[Table], policy: Policy) -> tuple[str, ...]:
    names = dict.fromkeys(table.name for table in tables)
    return tuple(name for name in names if policy.table(name).reads)


@dataclass(slots=True)
class _Gathered:
    table: Table
    columns: set[str] = field(default_factory=set)
    taken: list[Taken] = field(default_factory=list)
    coverage: Coverage = "exact"
    why: str | None = None


class Targets:
    """What is known of each table that the statement reads; its parts add to it."""

    def __init__(self, statement: Statement) -> None:
        self._policy = statement.policy
        self._gathered: dict[str, _Gathered] = {}

    def take(self, found: Iterable[tuple[Carried, Taken]]) -> None:
        """These keys stand in the statement's own rows."""
        for carried, taken in found:
            gathered = self._of(carried.table)
            gathered.columns |= carried.columns
            gathered.taken.append(taken)

    def number(self, carried: Carried) -> int:
        """Which target this is, for keys that a companion fetches."""
        self._of(carried.table).columns |= carried.columns
        return list(self._gathered).index(carried.table.name)

    def lower(self, inexact: Iterable[Inexact]) -> None:
        """Some rows of these tables can't be named; the worse coverage counts."""
        for one in inexact:
            if not self._policy.table(one.table.name).reads:
                continue
            gathered = self._of(one.table)
            if _ORDER[one.coverage] > _ORDER[gathered.coverage]:
                gathered.coverage, gathered.why = one.coverage, one.why

    def finish(self) -> tuple[TargetPlan, ...]:
        return tuple(
            TargetPlan(
                policy=self._policy.table(gathered.table.name),
                columns=tuple(c for c in gathered.table.names if c in gathered.columns),
                keyless=gathered.table.keyless,
                coverage=gathered.coverage,
                why=gathered.why,
                taken=tuple(gathered.taken),
            )
            for gathered in self._gathered.values()
        )

    def _of(self, table: Table) -> _Gathered:
        return self._gathered.setdefault(table.name, _Gathered(table))


class Companions:
    """The queries of keys that are run beside a statement."""

    def __init__(self, statement: Statement, targets: Targets, *, with_subjects: bool) -> None:
        self._statement = statement
        self._targets = targets
        self._with_subjects = with_subjects
        self.made: list[Companion] = []

    def add(self, tree: exp.Expr, named: Mapping[str, NamedQuery], is_whole: bool) -> None:
        """Fetch the keys of every row that `tree` is made of.

        `is_whole`: all rows of `tree` are handed out in the end; otherwise these keys are a
        superset. Raises `NotUnderstoodError`.
        """
        self._statement.dialect.check_repeatable(self._statement)
        arms = list(arms_of(tree))
        if not arms:
            return
        query = self._statement.query(arms[0])
        why = None
        if not is_whole:
            why = "rows of a derived table, not all of which need be handed out"
        elif query.limited:
            why = "LIMIT over rows that stand for several"
        elif any(operator in ("EXCEPT", "INTERSECT") for operator in query.operators):
            why = "rows that another query may have taken out"
        for select in arms:
            number = query.arms.index(self._statement.arm(select))
            if number and query.operators[number - 1] == "EXCEPT":
                continue
            self._add_arm(select, named, why=why, end=self._statement.arm(select).end)

    def may_take(self, value: exp.Subquery | exp.Query, named: Mapping[str, NamedQuery]) -> bool:
        """Whether the rows behind a value can be asked for in a query by itself."""
        select = value.unnest()
        return self._statement.dialect.has_companions and not (
            isinstance(select, exp.Select) and self._is_correlated(select, named)
        )

    def add_value(
        self, subquery: exp.Subquery | exp.Query, named: Mapping[str, NamedQuery]
    ) -> None:
        """Fetch the keys of the row that a scalar subquery in the select list hands out."""
        select = subquery.unnest()
        try:
            if not isinstance(select, exp.Select):
                raise NotUnderstoodError("a set operation as a value")
            if self._is_correlated(select, named):
                raise NotUnderstoodError("a correlated subquery")
            self._statement.dialect.check_repeatable(self._statement)
            if self._statement.arm(select).distinct or has_value_windows(select):
                raise NotUnderstoodError("DISTINCT or a window function in a value")
            self._add_arm(
                select,
                named,
                end=self._statement.query(select).end,
                is_value=True,
            )
        except NotUnderstoodError as problem:
            self._targets.lower(
                Inexact(table, "statement", str(problem))
                for table in self._statement.tables_read_by(subquery, named)
            )

    def _add_arm(
        self,
        select: exp.Select,
        named: Mapping[str, NamedQuery],
        *,
        end: int,
        why: str | None = None,
        is_value: bool = False,
    ) -> None:
        statement = self._statement
        arm, query = statement.arm(select), statement.query(select)
        exposing = Exposing(
            statement, with_subjects=self._with_subjects, add_companion=_no_companion
        )
        if query is not statement.spans.query:
            named = statement.named_queries(select, query, named)
        taken = exposing.take(select, named, converted=True)
        self._targets.lower(exposing.inexact)
        if not taken:
            return
        if arm.distinct:
            exposing.edits.made.append((*arm.distinct, ""))
        head = self._head(query.start, query.arms_start)
        # Its own columns may be converted by the application or not be UTF-8: only ours come out.
        text = exposing.edits.apply(statement.text, *head) + " "
        text += exposing.edits.apply(statement.text, arm.start, end)
        text = f"SELECT {', '.join(exposing.names)} FROM ({text})"
        head_parameters, head_runs = statement.parameters_in(*head)
        parameters, runs = statement.parameters_in(arm.start, end)
        if why is not None:
            self._targets.lower(Inexact(one.table, "superset", why) for one, _ in taken)
        self.made.append(
            Companion(
                text,
                (*head_parameters, *parameters) if statement.has_bare_parameters else None,
                (*head_runs, *runs),
                tuple((self._targets.number(one), place) for one, place in taken),
                whole=not is_value and not _is_one_row(select),
                single=is_value and not is_aggregated(select),
            )
        )

    def _head(self, start: int, arms_start: int) -> tuple[int, int]:
        """The WITH clause that goes before a companion: the statement's, or the query's own."""
        root = self._statement.spans.query
        if start == root.start or not root.ctes:
            return start, arms_start
        if start != arms_start:
            raise NotUnderstoodError("a WITH clause inside of another")
        return root.start, root.arms_start

    def _is_correlated(self, select: exp.Select, named: Mapping[str, NamedQuery]) -> bool:
        """Whether the query may depend on the row that it stands beside."""
        aliases: set[str] = set()
        columns: set[str] = {"rowid", "_rowid_", "oid"}
        for table in select.find_all(exp.Table):
            aliases.add(table.alias_or_name.lower())
            for shape in self._statement.dialect.tables_behind(table, self._statement.schema):
                columns.update(name.lower() for name in shape.names)
        for subquery in select.find_all(exp.Subquery):
            aliases.add(subquery.alias.lower())
        columns.update(alias.alias.lower() for alias in select.find_all(exp.Alias))
        for column in select.find_all(exp.Column):
            if column.table:
                if column.table.lower() not in aliases:
                    return True
            elif not isinstance(column.this, exp.Star) and column.name.lower() not in columns:
                return True
        return False


def _is_one_row(select: exp.Select) -> bool:
    """Whether its one row stands for everything, so that handing it out hands out all."""
    return is_aggregated(select) and select.args.get("group") is None


def _no_companion(tree: exp.Expr, named: Mapping[str, NamedQuery], is_whole: bool) -> None:
    raise NotUnderstoodError("a derived table in a query that needs a second one")
