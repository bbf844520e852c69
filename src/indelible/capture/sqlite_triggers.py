"""The triggers of one table: its schema and its layout in, SQL out. Pure.

AFTER triggers copy old and new values into the outbox; no differences are worked out. BEFORE
triggers note what AFTER triggers can't know: rows that REPLACE deletes (`sqlite_replaced`), and
on tables where writes can be nested in each other those under way (`sqlite_nested`).

Of several triggers SQLite fires the newest first. Ours are newer than the application's, so a
change is recorded before what the application's triggers make of it. Tables of ours have no
constraints: the conflict clause of the application's statement overrides those of its triggers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from indelible.capture.outbox_layout import OP_DELETE, OP_INSERT, OP_UPDATE, Layout
from indelible.capture.schema import Schema, Table
from indelible.capture.sqlite_names import PREFIX, quote_name
from indelible.capture.sqlite_nested import NestedSql
from indelible.capture.sqlite_replaced import ReplacedSql
from indelible.capture.sqlite_rows import TRIM, RowSql
from indelible.capture.sqlite_subjects import forget_passages, note_passages
from indelible.policy.model import Policy


class TriggerSql(NamedTuple):
    """One trigger of ours. Those of a table must be created in the order they come in."""

    name: str
    sql: str


def triggers_for(
    schema: Schema,
    table: Table,
    layout: Layout,
    number: int,
    policy: Policy,
    *,
    is_entangled: bool,
) -> list[TriggerSql]:
    """All triggers that capture the writes of `table` under the layout `number`."""
    rows = RowSql(schema, table, layout, number, policy)
    replaced = ReplacedSql(rows)
    write = _nested if is_entangled else _plain
    return write(rows, replaced)


def _plain(rows: RowSql, replaced: ReplacedSql) -> list[TriggerSql]:
    of_keys = replaced.of_keys()
    stale = replaced.forget_stale()
    passages = note_passages(rows.schema, rows.table, rows.policy)
    passed = forget_passages(rows.schema, rows.table, rows.policy)
    insert = rows.put(str(OP_INSERT), _inserted(rows))
    changed = {**rows.subjects("OLD", "NEW"), **rows.olds("OLD"), **rows.news()}
    deleted = rows.put(str(OP_DELETE), {**rows.subjects("OLD", None), **rows.olds("OLD")})
    found = [
        _trigger(rows, "BEFORE INSERT", "", [stale, *replaced.note(is_update=False)]),
        _trigger(rows, "BEFORE UPDATE", of_keys, [stale, *replaced.note(is_update=True)]),
        _trigger(rows, "AFTER INSERT", "", [replaced.put(old=None), insert, TRIM]),
        _trigger(rows, "AFTER UPDATE", "", [rows.put(str(OP_UPDATE), changed), TRIM]),
        _trigger(rows, "AFTER DELETE", "", [deleted, replaced.forget_row(), *passed, TRIM]),
        # Fires before the other: what an update replaced was gone when it wrote its row.
        _trigger(rows, "AFTER UPDATE", of_keys, [replaced.put(old="OLD")], "_key"),
    ]
    if passages:
        found.append(_trigger(rows, "BEFORE DELETE", "", passages))
    return found


def _nested(rows: RowSql, replaced: ReplacedSql) -> list[TriggerSql]:
    nested = NestedSql(rows, replaced)
    passages = note_passages(rows.schema, rows.table, rows.policy)
    passed = forget_passages(rows.schema, rows.table, rows.policy)
    return [
        _trigger(rows, "BEFORE INSERT", "", nested.before("insert")),
        _trigger(rows, "BEFORE UPDATE", "", nested.before("update")),
        _trigger(rows, "BEFORE DELETE", "", [*nested.before("delete"), *passages]),
        _trigger(rows, "AFTER INSERT", "", [*nested.after("insert"), TRIM]),
        _trigger(rows, "AFTER UPDATE", "", [*nested.after("update"), TRIM]),
        _trigger(rows, "AFTER DELETE", "", [*nested.after("delete"), *passed, TRIM]),
    ]


def _inserted(rows: RowSql) -> dict[str, str]:
    image = {f"n{slot}": rows.column("NEW", slot) for slot in rows.values}
    return {**rows.subjects(None, "NEW"), **image}


def _trigger(
    rows: RowSql, event: str, of: str, body: Sequence[str], suffix: str = ""
) -> TriggerSql:
    name = f"{PREFIX}{rows.table.name}_{event.lower().replace(' ', '_')}{suffix}"
    statements = "".join(f"  {statement};\n" for statement in body)
    return TriggerSql(
        name,
        f"CREATE TRIGGER {quote_name(name)} {event}{of} ON {rows.name}\nBEGIN\n{statements}END",
    )
