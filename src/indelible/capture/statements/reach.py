"""The keys within reach of a SELECT: those of a table, or of the tables whose keys a view has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from indelible.capture.schema import Table
from indelible.capture.statements.carried import Carried, Inexact
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.plan import Taken
from indelible.capture.statements.sources import Items, Source
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.subjects import subject_of
from indelible.capture.statements.view_keys import Part, part_of


def keys_in_reach(
    statement: Statement,
    source: Source,
    items: Items,
    *,
    new_name: Callable[[], str] | None,
) -> tuple[list[Carried], list[Inexact]]:
    """The keys of the rows that `source` hands out in `items`, and what of it can't be named.

    `new_name` gives names that the text doesn't have; without it no subjects are fetched.
    """
    handed = frozenset(items.columns.get(source.alias, ()))
    table, view = source.table, source.view
    if view is None:
        parts = [] if table is None else [(part_of(table), handed)]
        inexact = []
    else:
        parts = []
        inexact = [Inexact(lacking, "statement", why) for lacking, why in view.lacking]
        for part in view.parts:
            of_part = (part.columns.get(column.lower(), frozenset()) for column in handed)
            columns = frozenset().union(*of_part)
            if columns or not items.columns:
                parts.append((part, columns))
    found = []
    for part, columns in parts:
        if not statement.policy.table(part.table.name).reads:
            continue
        why = _why_unnamed(statement, part.table)
        if why is not None:
            inexact.append(Inexact(part.table, "statement", why))
            continue
        one = _carried(statement, source, part, columns, new_name)
        found.append(one if view is None else replace(one, alias=None))
    return found, inexact


def key_among(items: Items, one: Carried, dialect: Dialect) -> Taken | None:
    """The key where the select list has it already; the subject too, if it is there; None where it
    hasn't."""
    if one.alias is None:
        return None
    places = [items.positions.get((one.alias, column.lower())) for column in one.table.id_columns]
    subject = None
    if one.subject_name is not None:
        subject = items.positions.get((one.alias, one.subject_name.lower()))
    known = tuple(place for place in places if place is not None)
    return dialect.selected(one, known, subject) if len(known) == len(places) else None


def _why_unnamed(statement: Statement, table: Table) -> str | None:
    why = statement.dialect.why_unnamed(table)
    mask = statement.policy.table(table.name).mask
    if why is None and any(column.lower() in mask for column in table.id_columns):
        why = "its key is masked"
    return why


def _carried(
    statement: Statement,
    source: Source,
    part: Part,
    columns: frozenset[str],
    new_name: Callable[[], str] | None,
) -> Carried:
    quote_name = statement.dialect.quote_name
    alias = quote_name(source.alias)

    def value_of(column: str) -> str | None:
        name: str | None = column
        if source.view is not None:
            same = (each for each in part.as_they_are if part.columns[each.lower()] == {column})
            name = next(same, None)
        return None if name is None else f"{alias}.{quote_name(name)}"

    subject = None
    if new_name is not None:
        subject = subject_of(statement, value_of, part.table, new_name)
    return Carried(
        table=part.table,
        columns=columns,
        key=tuple(f"{alias}.{quote_name(column)}" for column in part.key),
        subject=subject.value if subject is not None else None,
        subject_name=subject.name if subject is not None else None,
        subject_type=subject.type if subject is not None else "",
        alias=source.alias,
        optional=source.optional or part.optional,
    )
