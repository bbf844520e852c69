"""The SELECTs that set operators join: which hold what, and how hidden columns stand in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as replace_fields
from sqlglot import exp

from indelible.capture.statements.carried import Carried
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.plan import Taken
from indelible.capture.statements.sources import Scope, Source
from indelible.capture.statements.statement import NamedQuery, Statement
from indelible.capture.statements.syntax import NotUnderstoodError, walk_own


def arms_of(tree: exp.Expr) -> Iterator[exp.Select]:
    """Each SELECT, in the order of the text. Raises `NotUnderstoodError` for brackets."""
    if isinstance(tree, exp.Select):
        yield tree
    elif isinstance(tree, exp.SetOperation):
        # Brackets around one of them have nothing else in them (`spans`).
        for side in (tree.this, tree.expression):
            yield from arms_of(side.this if isinstance(side, exp.Subquery) else side)
    elif not isinstance(tree, exp.Values):
        raise NotUnderstoodError("a set operation over brackets")


def joined_arms(tree: exp.Expr, statement: Statement) -> list[exp.Select]:
    """The arms of `tree` where each of their rows is one of its own, so that it can carry keys.

    Raises `NotUnderstoodError` for all but UNION ALL.
    """
    arms = list(arms_of(tree))
    query = statement.query(arms[0]) if arms else None
    if query is None or [statement.arm(select) for select in arms] != query.arms:
        raise NotUnderstoodError("a set operation over values")
    if any(operator != "UNION ALL" for operator in query.operators):
        raise NotUnderstoodError("a set operation whose rows stand for several")
    return arms


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for keys of one table: `columns` are its SQL in each arm, NULLs where there are
    none; `taken` is how they are read (no places yet)."""

    one: Carried
    columns: tuple[Sequence[str], ...]
    taken: Taken
    is_in_first: bool


def slots_of(carried: Sequence[Sequence[Carried]], dialect: Dialect) -> list[Slot]:
    """Slots for all that each arm carries. Raises `NotUnderstoodError` where arms don't go
    together."""
    found: dict[tuple[str, int], dict[int, Carried]] = {}
    for number, arm in enumerate(carried):
        seen: Counter[str] = Counter()
        for one in arm:
            found.setdefault((one.table.name, seen[one.table.name]), {})[number] = one
            seen[one.table.name] += 1
    slots = []
    for by_arm in found.values():
        columns: list[Sequence[str]] = []
        ways = set()
        for number in range(len(carried)):
            some = by_arm.get(number)
            if some is None:
                columns.append(dialect.no_key(next(iter(by_arm.values()))))
                continue
            if some.array is not None:
                raise NotUnderstoodError("groups beside other rows")
            expressions, taken = dialect.hidden_columns(some, aggregated=False)
            columns.append(expressions)
            ways.add(replace_fields(taken, optional=True))
        if len(ways) != 1 or len({len(each) for each in columns}) != 1:
            raise NotUnderstoodError("rows of one table with other keys")
        first = next(iter(by_arm.values()))
        optional = len(by_arm) < len(carried) or any(one.optional for one in by_arm.values())
        one = replace(
            first,
            columns=frozenset().union(*(one.columns for one in by_arm.values())),
            optional=optional,
        )
        slots.append(
            Slot(one, tuple(columns), replace_fields(ways.pop(), optional=optional), 0 in by_arm)
        )
    return slots


def handed_on(
    cte: NamedQuery, arms: Sequence[exp.Select], scope_of: Callable[[exp.Select], Scope]
) -> frozenset[str]:
    """The columns of the recursive query `cte` in which a row may hold what rows before it did.

    Raises `NotUnderstoodError` where that can't be told.
    """
    scopes = [scope_of(select) for select in arms]
    selves = sum(source.cte == cte.name for scope in scopes for source in scope.sources)
    if selves != sum(table.name.lower() == cte.name for table in cte.tree.find_all(exp.Table)):
        raise NotUnderstoodError("a recursive query that reads itself in a query of its own")
    holding: set[str] = set()
    on: set[str] = set()
    size = -1
    while size < len(holding) + len(on):
        size = len(holding) + len(on)
        for select, scope in zip(arms, scopes, strict=True):
            if len(select.expressions) != len(cte.columns):
                raise NotUnderstoodError("a recursive query whose columns can't be counted")
            for name, item in zip(cte.columns, select.expressions, strict=True):
                _follow(name, item, scope, cte, holding, on)
    return frozenset(on)


def hands_out(select: exp.Select, source: Source, names: frozenset[str]) -> bool:
    """Whether a column of `source` that is among `names` may be handed out by `select`."""
    alias = source.alias.lower()
    for item in select.expressions:
        for node in item.find_all(exp.Star, exp.Column):
            if isinstance(node, exp.Star):
                if names and not isinstance(node.parent, exp.Func):
                    return True
            elif node.table.lower() in ("", alias) and node.name.lower() in (*names, alias):
                return bool(names)
    return False


def _follow(
    name: str, item: exp.Expr, scope: Scope, cte: NamedQuery, holding: set[str], on: set[str]
) -> None:
    """Add `name` where `item` holds a table's values, and where it has them from rows before."""
    own = {source.alias.lower() for source in scope.sources if source.cte == cte.name}
    for node in walk_own(item):
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Func):
            raise NotUnderstoodError("a star in a recursive query")
        if isinstance(node, exp.Query | exp.Subquery):
            raise NotUnderstoodError("a query in the select list of a recursive one")
        if not isinstance(node, exp.Column):
            continue
        qualifier, column = node.table.lower(), node.name.lower()
        if qualifier not in own and (qualifier or _may_be_of_others(node, scope, cte)):
            holding.add(name)
        if own and (qualifier in own or (not qualifier and column in (*cte.columns, *own))):
            before = holding if column in own else holding & {column}
            if before:
                holding.add(name)
                on.add(name)


def _may_be_of_others(column: exp.Column, scope: Scope, cte: NamedQuery) -> bool:
    """Whether a column without a qualifier may be of another source than `cte` itself."""
    return any(True for _ in scope.possible_owners(column)) or any(
        source.table is None and source.cte != cte.name for source in scope.sources
    )
