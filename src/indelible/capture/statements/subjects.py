"""Whose data a row is, as SQL beside it: its own column, or what its foreign keys lead to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from indelible.capture.schema import Column, Table
from indelible.capture.statements.statement import Statement


class Subject(NamedTuple):
    """`value` is the SQL that names a row's subject, `name` its column if the row has it.

    `type` is the column's, as declared.
    """

    value: str
    name: str | None
    type: str


def subject_of(
    statement: Statement,
    value_of: Callable[[str], str | None],
    table: Table,
    new_name: Callable[[], str],
) -> Subject | None:
    """What names the subject of a row of `table`, where that isn't its key.

    None where nothing can. `value_of` is the SQL of a column of the row, None of one that is out of
    reach; `new_name` gives names that the text doesn't have.
    """
    path = statement.policy.table(table.name).subject
    if path is None or not path.hops:
        return None
    dialect = statement.dialect
    own = column = _kept_column(statement, table, path.hops[0].column)
    if column is None:
        return None
    value = value_of(column.name)
    if value is None:
        return None
    for hop, following in itertools.pairwise(path.hops):
        parent = statement.schema.table(hop.table)
        if parent is None or len(parent.id_columns) != 1:
            return None
        name = dialect.followed_as(parent)
        column = _kept_column(statement, parent, following.column)
        if name is None or column is None:
            return None
        row = new_name()
        value = (
            f"(SELECT {row}.{dialect.quote_name(column.name)} FROM {name} AS {row} "
            f"WHERE {row}.{dialect.quote_name(parent.id_columns[0])} = {value})"
        )
        table, own = parent, None
    if not dialect.can_carry(table, column.name):
        return None
    return Subject(value, own.name if own is not None else None, column.type)


def _kept_column(statement: Statement, table: Table, name: str) -> Column | None:
    """The column of that name, unless its values mustn't be kept."""
    policy = statement.policy.table(table.name)
    if name.lower() in policy.mask or name.lower() in policy.without_values:
        return None
    return table.column(name)
