"""SQL that finds whose row it is, along a path of foreign keys. Pure."""

from __future__ import annotations

from indelible.capture.schema import Schema, Table
from indelible.capture.sqlite_names import NOTES, quote_name, quote_text
from indelible.capture.sqlite_notes import PARENT
from indelible.policy.model import Policy, SubjectPath


def subject_of(
    schema: Schema, path: SubjectPath, alias: str, *, is_in_trigger: bool = False
) -> str:
    """An expression for the subject of the row `alias`: a blob of no bytes for nobody (the
    path ends at a NULL), NULL for one that can't be found.

    In a trigger it also finds the way through a row that is being deleted, which CASCADE has
    taken out of its table before the rows that go with it.
    """
    start = f"{alias}.{quote_name(path.hops[0].column)}"
    value = start
    for hop, through in zip(path.hops[1:], path.hops, strict=False):
        parent = schema.table(through.table)
        key = quote_name(parent.key[0] if parent else "")
        found = (
            f"(SELECT ifnull(p.{quote_name(hop.column)}, x'') "
            f"FROM {quote_name(through.table)} AS p WHERE p.{key} = {value})"
        )
        if is_in_trigger:
            found = (
                f"coalesce({found}, (SELECT p.s0 FROM {NOTES} AS p WHERE p.kind = {PARENT} AND "
                f"p.layout = {quote_text(_passage(through.table, hop.column))} AND "
                f"p.o0 = {value} ORDER BY p.id DESC LIMIT 1))"
            )
        value = found
    return f"CASE WHEN {start} IS NULL THEN x'' ELSE {value} END"


def note_passages(schema: Schema, table: Table, policy: Policy) -> list[str]:
    """Before a row of `table` is deleted: where the paths that go through it lead."""
    return [
        f"INSERT INTO {NOTES} (layout, kind, o0, s0)\n"
        f"    SELECT {quote_text(_passage(table.name, path.hops[0].column))}, {PARENT}, "
        f"OLD.{quote_name(table.key[0])}, {subject_of(schema, path, 'OLD', is_in_trigger=True)}"
        for path in _paths_through(schema, table, policy)
    ]


def forget_passages(schema: Schema, table: Table, policy: Policy) -> list[str]:
    """After it was deleted, with all that went with it."""
    return [
        f"DELETE FROM {NOTES} WHERE layout = "
        f"{quote_text(_passage(table.name, path.hops[0].column))} AND "
        f"o0 = OLD.{quote_name(table.key[0])}"
        for path in _paths_through(schema, table, policy)
    ]


def _paths_through(schema: Schema, table: Table, policy: Policy) -> list[SubjectPath]:
    """The rests of other tables' subject paths that go through this one, one for a column."""
    found = {}
    for other in schema.tables.values():
        path = policy.table(other.name).subject
        if path is None:
            continue
        for place, hop in enumerate(path.hops[:-1]):
            if hop.table.lower() == table.name.lower():
                rest = SubjectPath(path.kind, path.hops[place + 1 :])
                found[rest.hops[0].column.lower()] = rest
    return list(found.values())


def _passage(table: str, column: str) -> str:
    return f"{table}.{column}".lower()
