"""Whether a query that is run again, in the same snapshot, finds the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlglot import exp

from indelible.capture.statements.arms import arms_of
from indelible.capture.statements.sources import Scope, resolve_scope
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    is_aggregate,
    is_aggregated,
    own_clauses,
    walk_own,
    words,
)

_OTHERS: Final = "rows that may be others when they are asked for again"
_PEERLESS: Final = words("rank dense_rank percent_rank cume_dist")
"""Window functions that give rows of equal standing the same."""
_ARITHMETIC: Final = (exp.Identifier, exp.Paren, exp.Distinct, exp.Add, exp.Sub, exp.Mul, exp.Neg)


def check_settled(statement: Statement, *, is_nested: bool = False) -> None:
    """Raises `NotUnderstoodError` where which rows are found may hang on the order in which the
    database happens to find them.

    What leaves rows out of the whole result isn't asked again, nor what their values are, unless
    the statement `is_nested` in another.
    """
    root = statement.root
    own: set[int] = set()
    if not is_nested:
        own = {id(root), *map(id, arms_of(root))}
    named = {cte.alias.lower(): cte for cte in root.find_all(exp.CTE)}
    for query in root.find_all(exp.Query):
        is_limited = id(query) not in own and any(
            query.args.get(clause) is not None for clause in ("limit", "offset")
        )
        if isinstance(query, exp.Select):
            _check(query, statement, named, is_own=id(query) in own, is_limited=is_limited)
        elif is_limited:
            raise NotUnderstoodError(_OTHERS)


def _check(
    select: exp.Select,
    statement: Statement,
    named: dict[str, exp.CTE],
    *,
    is_own: bool,
    is_limited: bool,
) -> None:
    scope = resolve_scope(select, statement.names(named))
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        raise NotUnderstoodError(_OTHERS)
    if is_limited and not has_total_order(select, scope):
        raise NotUnderstoodError(_OTHERS)
    if is_own and select.args.get("having") is None:
        return
    for node in own_clauses(select):
        if isinstance(node, exp.Window) and not is_own and not is_settled_window(node, scope):
            raise NotUnderstoodError(_OTHERS)
        if is_aggregate(node) and not is_orderless(node, scope, statement):
            raise NotUnderstoodError(_OTHERS)


def has_total_order(select: exp.Select, scope: Scope) -> bool:
    """Whether its rows are ordered by the keys of all tables that they come from."""
    aliases = {item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias)}
    order = select.args.get("order")
    terms = [] if order is None else [term.this for term in order.expressions]
    return not is_aggregated(select) and orders_every_row(
        (
            term
            for term in terms
            if isinstance(term, exp.Column) and (term.table or term.name.lower() not in aliases)
        ),
        scope,
    )


def orders_every_row(columns: Iterable[exp.Column], scope: Scope) -> bool:
    """Whether no two rows of `scope` are equal in `columns`: the keys of all its tables."""
    by: set[tuple[str, str]] = set()
    for column in columns:
        owner = scope.owner(column)
        if owner is not None:
            by.add((owner[0].alias, owner[1]))
    return all(
        source.table is not None
        and bool(source.table.key)
        and all((source.alias, column) in by for column in source.table.key)
        for source in scope.sources
    )


def is_orderless(call: exp.Expr, scope: Scope, statement: Statement) -> bool:
    """Whether an aggregate gives the same in whatever order its rows come."""
    name = _name_of(call)
    return name in statement.dialect.orderless or (
        name in ("sum", "avg")
        and all(
            isinstance(node, _ARITHMETIC) or _is_exact(node, scope, statement)
            for node in walk_own(call)
            if node is not call
        )
    )


def _is_exact(node: exp.Expr, scope: Scope, statement: Statement) -> bool:
    """Whether it is a number that sums of aren't rounded."""
    if isinstance(node, exp.Literal):
        return not node.is_string and "e" not in node.name.lower()
    owner = scope.owner(node) if isinstance(node, exp.Column) else None
    if owner is None or owner[0].table is None:
        return False
    column = owner[0].table.column(owner[1])
    return column is not None and column.type in statement.dialect.exact_types


def is_settled_window(window: exp.Window, scope: Scope) -> bool:
    """Whether it gives each row the same in whatever order they come."""
    if _name_of(window.this) in _PEERLESS:
        return True
    order = window.args.get("order")
    terms = [] if order is None else [term.this for term in order.expressions]
    by = [*terms, *(window.args.get("partition_by") or ())]
    return orders_every_row((term for term in by if isinstance(term, exp.Column)), scope)


def _name_of(call: exp.Expr) -> str:
    if isinstance(call, exp.Anonymous | exp.AnonymousAggFunc):
        return call.name.lower()
    return call.sql_name().lower() if isinstance(call, exp.Func) else ""
