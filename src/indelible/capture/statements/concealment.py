"""Columns spliced into a derived table show nowhere but in the rows that we strip of them."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from indelible.capture.statements.sources import Items
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import NotUnderstoodError


def check_concealed(statement: Statement, select: exp.Select, items: Items) -> None:
    """Raises `NotUnderstoodError` where a star would show it, or the whole row as a value;
    `select` hands out rows to the application, which are stripped of it."""
    if statement.dialect.has_row_values:
        _check_row_values(statement)
    if items.starred and select.args.get("order") is not None:
        for ordered in select.args["order"].expressions:
            if isinstance(ordered.this, exp.Literal):
                raise NotUnderstoodError("ORDER BY a number over a starred derived table")
    for other in statement.root.find_all(exp.Select):
        if other is not select and any(
            isinstance(item, exp.Star)
            or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star))
            for item in other.expressions
        ):
            for table in _tables_from(other):
                if not statement.is_base_table(table):
                    raise NotUnderstoodError("a star over a derived table")
            if any(True for _ in _queries_from(other)):
                raise NotUnderstoodError("a star over a derived table")


def _check_row_values(statement: Statement) -> None:
    """Raises where the whole row of a derived table is a value: what was spliced into it would
    be in that."""
    root = statement.root
    # With their columns: a name means one of these first.
    derived: dict[str, set[str]] = {}
    for each in root.find_all(exp.Subquery, exp.CTE, exp.Lateral):
        names = each.args["alias"].columns if each.alias else ()
        query = each.this
        selected = query.named_selects if isinstance(query, exp.Query | exp.Subquery) else ()
        columns = {one.name for one in names} or set(selected)
        if "*" in columns and isinstance(query, exp.Select):
            columns |= _columns_from(statement, query)
        derived[each.alias.lower()] = {name.lower() for name in columns}
    for table in root.find_all(exp.Table):
        if table.name.lower() in derived:
            derived[table.alias_or_name.lower()] = derived[table.name.lower()]
    functions = statement.functions
    for column in root.find_all(exp.Column):
        name, alias = column.name.lower(), column.table.lower()
        if isinstance(column.this, exp.Star):
            is_row = alias in derived and not isinstance(column.parent, exp.Select)
        elif alias:  # a call may be written as a column
            is_row = name not in derived.get(alias, (name,)) and (
                name not in functions and statement.dialect.is_function(name)
            )
        else:
            is_row = name in derived and name not in derived[name]
        if is_row:
            raise NotUnderstoodError("the whole row of a derived table as a value")


def _columns_from(statement: Statement, select: exp.Select) -> set[str]:
    """The names of the columns that a star of `select` stands for, as far as it is known."""
    schema = statement.schema
    found = [statement.dialect.resolve(table, schema, {}).table for table in _tables_from(select)]
    return {column.name for table in found if table is not None for column in table.columns}


def _tables_from(select: exp.Select) -> Iterator[exp.Table]:
    for clause in (select.args.get("from_"), *(select.args.get("joins") or ())):
        if clause is not None and isinstance(clause.this, exp.Table):
            yield clause.this


def _queries_from(select: exp.Select) -> Iterator[exp.Subquery]:
    for clause in (select.args.get("from_"), *(select.args.get("joins") or ())):
        if clause is not None and isinstance(clause.this, exp.Subquery):
            yield clause.this
