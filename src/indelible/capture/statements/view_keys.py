"""Which keys of base tables a view hands out in columns of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from indelible.capture.schema import Column, Table
from indelible.capture.statements.sources import Scope, Source, read_items, resolve_scope
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    has_value_windows,
    is_aggregated,
    value_subqueries,
    walk_own,
)

_KEYLESS = "read through a view that doesn't hand out its key"
_WITHIN = "read through a query in a view"


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one base table, as a view hands them out: one to each of its rows, or none.

    `key` are the view's columns that hold the table's key. `columns` maps columns of the view, in
    lower case, to those of the table that they are made of; `as_they_are` are those that hold one
    of the table's columns and nothing else. `optional`: an outer join may put
    NULLs in place of the row.
    """

    table: Table
    key: tuple[str, ...]
    columns: Mapping[str, frozenset[str]]
    as_they_are: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ViewVersion:
    """A view as it was defined: `version` is another once it is replaced."""

    relation: str
    version: str


@dataclass(frozen=True, slots=True)
class View:
    """A view: `shape` has its columns, `lacking` the tables whose keys it hasn't, and why.

    True while the database has each of `versions`, its own first, its columns these names, and the
    relations `unfiltered` hand out all their rows to everybody. `is_fragile` as a statement may be.
    """

    shape: Table
    parts: tuple[Part, ...]
    lacking: tuple[tuple[Table, str], ...]
    versions: tuple[ViewVersion, ...]
    is_fragile: bool
    unfiltered: tuple[str, ...] = ()


def part_of(table: Table) -> Part:
    """A table as a view of itself."""
    columns = {name.lower(): frozenset({name}) for name in table.names}
    return Part(table, table.id_columns, columns, table.names)


def read_view(
    statement: Statement, name: str, version: ViewVersion, columns: tuple[str, ...] | None = None
) -> View:
    """What the view of that name and definition hands out; `columns` where the definition doesn't
    tell their names. Raises `NotUnderstoodError`."""
    statement.dialect.check(statement)
    root = statement.root
    if not isinstance(root, exp.Select):
        raise NotUnderstoodError("a view of a set operation")
    if statement.arm(root).distinct or is_aggregated(root) or has_value_windows(root):
        raise NotUnderstoodError("a view whose rows stand for several")
    named = statement.named_queries(root, statement.spans.query, {})
    scope = resolve_scope(root, statement.names(named))
    items = read_items(root, scope)
    told = tuple(item.alias_or_name for item in root.expressions)
    columns = columns or told
    if len({column.lower() for column in columns}) < len(columns) or "\\" in "".join(columns):
        raise NotUnderstoodError("a view with columns that may be taken for others")
    if items.has_star or told != columns:
        raise NotUnderstoodError("a view whose columns can't be told")
    made = _made_of(root, scope, columns)
    parts: list[Part] = []
    lacking: list[tuple[Table, str]] = []
    versions = [version]
    for source in scope.sources:
        lacking += ((table, source.why) for table in source.behind)
        query = source.query if source.cte is None else named[source.cte].tree
        if query is not None:
            lacking += ((table, _WITHIN) for table in statement.tables_read_by(query, named))
        if source.view is not None:
            lacking += source.view.lacking
            versions += source.view.versions
        for part in _parts_of(source):
            own = {
                column: frozenset().union(
                    *(part.columns.get(each, ()) for each in by[source.alias])
                )
                for column, by in made.items()
                if source.alias in by
            }
            own = {column: names for column, names in own.items() if names}
            places = [items.positions.get((source.alias, key.lower())) for key in part.key]
            key = tuple(columns[place] for place in places if place is not None)
            if len(key) < len(places) or not key:
                if own or not items.columns:
                    lacking.append((part.table, _KEYLESS))
                continue
            bare = (items.positions.get((source.alias, each.lower())) for each in part.as_they_are)
            as_they_are = tuple(columns[place] for place in bare if place is not None)
            optional = part.optional or source.optional
            parts.append(Part(part.table, key, own, as_they_are, optional))
    for value in value_subqueries(root):
        lacking += ((table, _WITHIN) for table in statement.tables_read_by(value, named))
    shape = Table(name=name, columns=tuple(map(Column, columns)))
    is_fragile = statement.dialect.is_fragile(statement)
    return View(shape, tuple(parts), tuple(lacking), tuple(versions), is_fragile)


def _parts_of(source: Source) -> Iterator[Part]:
    if source.view is not None:
        yield from source.view.parts
    elif source.table is not None:
        yield part_of(source.table)


def _made_of(
    root: exp.Select, scope: Scope, columns: tuple[str, ...]
) -> dict[str, dict[str, set[str]]]:
    """The sources' columns (in lower case, by alias) that each column is made of."""
    made: dict[str, dict[str, set[str]]] = {column.lower(): {} for column in columns}
    for column, item in zip(columns, root.expressions, strict=True):
        for node in walk_own(item):
            if isinstance(node, exp.Column):
                for source, name in scope.possible_owners(node):
                    made[column.lower()].setdefault(source.alias, set()).add(name.lower())
    return made
