"""What stands in a FROM clause, and which of it a column name means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlglot import exp

from indelible.capture.schema import Schema, Table
from indelible.capture.sqlite_names import ROWID_NAMES
from indelible.capture.statements.syntax import NotUnderstoodError, walk_own

if TYPE_CHECKING:
    from indelible.capture.statements.dialect import Dialect
    from indelible.capture.statements.view_keys import View


@dataclass(slots=True)
class Source:
    """One item of a FROM clause; exactly one of `table`, `query`, `cte` and `behind`, or none.

    None of them: its rows are no table's (VALUES, `json_each`, the catalogue). `behind` are the
    tables whose rows it hands out, `why` they can't be named. With a `view` the `table` is only
    its shape. `optional`: an outer join may put
    NULLs in place of its row.
    """

    alias: str
    table: Table | None = None
    query: exp.Query | None = None
    cte: str | None = None
    behind: tuple[Table, ...] = ()
    why: str = "read through a view"
    view: View | None = None
    optional: bool = False
    merged: bool = False
    """In a NATURAL or USING join, where one column stands for two."""


@dataclass(slots=True)
class Scope:
    """The sources of one SELECT. `has_row_values`: an alias by itself may mean the whole row."""

    sources: list[Source]
    natural: bool = False
    has_row_values: bool = False

    def tables(self) -> Iterator[tuple[Source, Table]]:
        for source in self.sources:
            if source.table is not None:
                yield source, source.table

    @property
    def is_plain(self) -> bool:
        """Whether all of its columns are known: base tables only, none merged."""
        return all(source.table is not None and not source.merged for source in self.sources)

    def owner(self, column: exp.Column) -> tuple[Source, str] | None:
        """The base table that `column` surely means, with the column's name as declared."""
        qualifier = column.table.lower()
        if qualifier:
            candidates = [s for s in self.sources if s.alias.lower() == qualifier]
        elif self.is_plain:
            candidates = self.sources
        else:
            return None
        found = [
            (source, name)
            for source in candidates
            if source.table is not None and (name := declared_name(source.table, column.name))
        ]
        return found[0] if len(found) == 1 else None

    def possible_owners(self, column: exp.Column) -> Iterator[tuple[Source, str]]:
        """Every base table that `column` may mean, with its column."""
        qualifier = column.table.lower()
        for source, table in self.tables():
            alias = source.alias.lower()
            name = declared_name(table, column.name)
            if name is not None and (not qualifier or alias == qualifier):
                yield source, name
            elif self.has_row_values and alias == (qualifier or column.name.lower()):
                # The whole row: `t`, `t.*` in a call, or `t.full_name`, which calls a function.
                yield from ((source, each) for each in table.names)


def declared_name(table: Table, name: str) -> str | None:
    """The column that `name` reaches in `table`, as declared; None where there is none."""
    folded = name.lower()
    for column in table.names:
        if column.lower() == folded:
            return column
    if folded in ROWID_NAMES and table.has_integer_ids:
        return table.id_columns[0]
    return None


class Names(NamedTuple):
    """What a name in a FROM clause may mean: a named query of `ctes`, or what `schema` has."""

    dialect: Dialect
    schema: Schema
    ctes: Mapping[str, object]

    def alias(self, node: exp.Expr) -> str:
        """The alias of a derived table; empty where it has none."""
        alias = node.args.get("alias")
        return self.dialect.fold(alias.this) if alias is not None and alias.this else ""


def resolve_scope(select: exp.Select, names: Names) -> Scope:
    """The sources of `select`. Raises `NotUnderstoodError` naming what isn't one we know."""
    scope = Scope([], has_row_values=names.dialect.has_row_values)
    from_ = select.args.get("from_")
    if from_ is not None:
        scope.sources += _resolve(from_.this, names)
        _join(scope, from_.this.args.get("joins") or (), names)
    _join(scope, select.args.get("joins") or (), names)
    if select.args.get("laterals"):
        raise NotUnderstoodError("a FROM clause of another dialect")
    return scope


def _join(scope: Scope, joins: Sequence[exp.Join], names: Names) -> None:
    for join in joins:
        right = _resolve(join.this, names)
        side = (join.side or "").upper()
        if side in ("LEFT", "FULL"):
            for source in right:
                source.optional = True
        if side in ("RIGHT", "FULL"):
            for source in scope.sources:
                source.optional = True
        natural = (join.method or "").upper() == "NATURAL"
        scope.natural |= natural
        if natural or join.args.get("using"):
            for source in (*scope.sources, *right):
                source.merged = True
        scope.sources += right


def _resolve(node: exp.Expr, names: Names) -> list[Source]:
    if isinstance(node, exp.Table):
        return [names.dialect.resolve(node, names.schema, names.ctes)]
    alias = names.alias(node)
    if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
        node = node.this
    if isinstance(node, exp.Subquery):
        inner = node.this
        if isinstance(inner, exp.Table | exp.Subquery) and not alias:
            nested = Scope(_resolve(inner, names))
            _join(nested, inner.args.get("joins") or (), names)
            if nested.natural:
                raise NotUnderstoodError("a NATURAL join in brackets")
            return nested.sources
        query = node.unnest()
        if isinstance(query, exp.Values):
            return [Source(alias)]
        if isinstance(query, exp.Query):
            return [Source(alias, query=query)]
    if isinstance(node, exp.Values):
        return [Source(alias)]
    if isinstance(node, exp.Lateral | exp.Unnest) and names.dialect.has_row_values:
        return [Source(alias)]  # a function's, of which `Dialect.check` knows that it reads none
    raise NotUnderstoodError("a FROM clause of another dialect")


@dataclass(slots=True)
class Items:
    """What a select list hands out of base tables.

    `positions` are where a column stands by itself: (alias, declared name) to position.
    `columns` are all that an item is made of, by alias. `starred`: a star stands for columns
    that we can't count. `names` are those the driver must give at the positions of a star.
    """

    positions: dict[tuple[str, str], int] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)
    starred: bool = False
    has_star: bool = False
    names: dict[int, str] = field(default_factory=dict)
    width: int = 0
    """How many columns there are, unless `starred`."""


def read_items(select: exp.Select, scope: Scope) -> Items:
    """What the select list of `select` hands out."""
    items = Items()
    place = 0
    for item in select.expressions:
        bare = item.this if isinstance(item, exp.Alias) else item
        if isinstance(bare, exp.Star) or (
            isinstance(bare, exp.Column) and isinstance(bare.this, exp.Star)
        ):
            place = _read_star(bare, scope, items, place)
            continue
        if isinstance(bare, exp.Column) and not items.starred:
            owner = scope.owner(bare)
            if owner is not None:
                source, name = owner
                items.positions.setdefault((source.alias, name.lower()), place)
                if items.has_star:
                    items.names[place] = item.alias_or_name
        for node in walk_own(item):
            if isinstance(node, exp.Column):
                for source, name in scope.possible_owners(node):
                    items.columns.setdefault(source.alias, set()).add(name)
        place += 1
    items.width = place
    return items


def _read_star(star: exp.Expr, scope: Scope, items: Items, place: int) -> int:
    items.has_star = True
    qualifier = star.table.lower() if isinstance(star, exp.Column) else ""
    for source in scope.sources:
        if qualifier and source.alias.lower() != qualifier:
            continue
        if source.table is None or (source.merged and not qualifier):
            items.starred = True
        if source.table is not None:
            items.columns.setdefault(source.alias, set()).update(source.table.names)
            for column in source.table.names:
                if not items.starred:
                    items.positions.setdefault((source.alias, column.lower()), place)
                    items.names[place] = column
                place += 1
    return place
