"""The plan of one query: what its own rows name, and which companion queries name the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

from indelible.capture.schema import Table
from indelible.capture.statements.beside import beside_rows
from indelible.capture.statements.companions import Companions
from indelible.capture.statements.exposing import Exposing
from indelible.capture.statements.plan import Plan, Verb
from indelible.capture.statements.shown import kept_parameters, shown_text
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    has_bare_extreme,
    has_value_windows,
    is_aggregated,
    own_clauses,
    value_subqueries,
)
from indelible.capture.statements.targets import Targets
from indelible.capture.statements.tokens import COLLAPSED
from indelible.capture.statements.view_keys import View
from indelible.policy.model import Policy


def plan_query(
    statement: Statement,
    *,
    converted: bool,
    with_subjects: bool,
    with_values: bool = True,
    beside: bool = False,
    may_add: bool = True,
) -> Plan:
    """The plan of `statement`. Raises `NotUnderstoodError` where only its text can be recorded.

    `converted`: the driver converts values on their way, so what stands in a row isn't what
    stands in the table. Without `with_subjects` no column is fetched to name subjects, without
    `with_values` none for queries in the select list. `beside`: an aggregate whose own text must
    stay as it is. Without `may_add` nothing is asked but the statement itself.
    """
    statement.dialect.check(statement)
    root = statement.root
    targets = Targets(statement)
    companions = Companions(statement, targets, with_subjects=with_subjects, may_add=may_add)
    named = statement.named_queries(root, statement.spans.query, {})
    exposing = None
    if isinstance(root, exp.Select):
        grouped = _can_group(root, statement)
        values = list(value_subqueries(root))
        is_shared = has_value_windows(root)
        needs_companion = (
            beside
            or (statement.arm(root).distinct and not grouped)
            or (is_shared and not _hands_out_every_row(root, statement))
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
            exposing.needs_all |= is_shared
        for subquery in values:
            companions.add_value(subquery, named)
    elif isinstance(root, exp.SetOperation):
        joined = Exposing(statement, with_subjects=with_subjects, add_companion=companions.add)
        try:
            targets.take(joined.take_joined(root, named))
        except NotUnderstoodError:
            targets = Targets(statement)
            companions = Companions(
                statement, targets, with_subjects=with_subjects, may_add=may_add
            )
            companions.add(root, named, is_whole=True)
        else:
            targets.lower(joined.inexact)
            exposing = joined
    elif not isinstance(root, exp.Values):
        raise NotUnderstoodError("a query in brackets")
    return _finished(statement, targets, companions, exposing)


def plan_beside(statement: Statement, shown: Statement, views: Mapping[str, View]) -> Plan:
    """The plan of `shown`, with the keys that `statement` has beside its rows.

    `statement` has the same placeholders and finds the same rows, while `views` are as they were
    read. Raises `NotUnderstoodError`.
    """
    statement.dialect.check(statement)
    targets = Targets(statement)
    companions = Companions(statement, targets, with_subjects=True)
    root = statement.root
    if isinstance(root, exp.Values):
        raise NotUnderstoodError("values")
    named = statement.named_queries(root, statement.spans.query, {})
    companions.add(root, named, is_whole=True)
    if isinstance(root, exp.Select):
        for subquery in value_subqueries(root):
            companions.add_value(subquery, named)
    companions.views.update(views)
    return _finished(statement, targets, companions, None, shown)


def _finished(
    statement: Statement,
    targets: Targets,
    companions: Companions,
    exposing: Exposing | None,
    shown: Statement | None = None,
) -> Plan:
    text = statement.text
    tables = _captured_tables(statement.tables_under(statement.root), statement.policy)
    is_spliced = exposing is not None and bool(exposing.edits.made)
    plan = Plan(
        verb=Verb.READ,
        shown_text=_shown(shown or statement),
        text=exposing.edits.apply(text, 0, len(text)) if exposing and is_spliced else None,
        hidden=exposing.hidden if exposing else 0,
        is_stamped=exposing is not None and exposing.is_stamped,
        needs_all=exposing is not None and exposing.needs_all,
        starred=exposing.starred if exposing else False,
        prefix=statement.prefix,
        checked_names=exposing.checked_names if exposing else (),
        fragile=statement.dialect.is_fragile(statement),
        targets=targets.finish(),
        companions=tuple(companions.made),
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
        goes_by_place=statement.has_bare_parameters,
    )
    if companions.made and not statement.dialect.has_companions:
        views = companions.views if exposing is None else exposing.views | companions.views
        return beside_rows(plan, statement, shown or statement, views)
    return plan


def _shown(statement: Statement) -> str:
    return shown_text(statement.text, statement.tokens, statement.schema, statement.dialect)


def _can_group(root: exp.Select, statement: Statement) -> bool:
    """Whether its DISTINCT can be had as GROUP BY."""
    return bool(
        statement.dialect.groups_distinct
        and statement.arm(root).distinct
        and not is_aggregated(root)
        and not any(isinstance(node, exp.Window) for node in own_clauses(root))
    )


def _hands_out_every_row(root: exp.Select, statement: Statement) -> bool:
    """Whether each row that a window function may take values from is handed out itself, with its
    key, so that the keys of all rows are those of all that was read."""
    distinct = root.args.get("distinct")
    return bool(
        not statement.dialect.has_companions
        and not statement.query(root).limited
        and distinct is None
        and not statement.dialect.multiplies_rows(statement)
    )


def has_values(statement: Statement) -> bool:
    """Whether queries stand in its select list, whose values are handed out."""
    root = statement.root
    return isinstance(root, exp.Select) and any(True for _ in value_subqueries(root))


def can_go_beside(statement: Statement) -> bool:
    """Whether keys can also be had from a query of their own, where rows are made of several."""
    root = statement.root
    if not isinstance(root, exp.Select):
        return False
    if statement.dialect.has_companions:
        return is_aggregated(root) and not statement.spans.query.limited
    return is_aggregated(root) or any(isinstance(node, exp.Window) for node in own_clauses(root))


def _captured_tables(tables: Iterable[Table], policy: Policy) -> tuple[str, ...]:
    names = dict.fromkeys(table.name for table in tables)
    return tuple(name for name in names if policy.table(name).reads)
