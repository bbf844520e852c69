"""The layout: what stands in which column of an outbox row, for one table at one time.

A layout is written down in `indelible_meta` under its number, and every outbox row names its
number: rows that wait while a migration changes the table are still read as they were written.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

import msgspec

from indelible.capture.schema import Schema, Table
from indelible.errors import CaptureError, ConfigurationError
from indelible.events.personal import Personal
from indelible.policy.model import Policy, SubjectPath, TablePolicy

OP_INSERT: Final = 1
OP_UPDATE: Final = 2
OP_DELETE: Final = 3
OP_REPLACED: Final = 4
OP_EVENT: Final = 9

BASE_COLUMNS: Final = 7
"""`id, time, ctx, layout, op, s0, s1` come before the slots: `o0, n0, o1, n1, …`."""

NOBODY: Final = b""
"""Stands in `s0` and `s1` for a row that belongs to no subject; NULL is one not found."""


class Slot(msgspec.Struct, frozen=True):
    """One pair of columns. `column` is None for the rowid; of a `changed` one only that is kept.

    `type` is the column's type where rows hold it as the server's text.
    """

    column: str | None
    mode: Literal["value", "changed"] = "value"
    type: str = ""


class LayoutSubject(msgspec.Struct, frozen=True):
    """Whose row it is: the row itself (`self`), a slot's value, or `s0` and `s1`."""

    kind: str
    source: Literal["self", "slot", "stored"]
    slot: int = 0


class Layout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a table's rows stand in the outbox.

    `key` are the slots of the primary key, in key order; empty for a table without one. `rowid`
    is the slot of the rowid where it stands in for a key: always for a table without one, and
    where the key holds a NULL, which SQLite doesn't keep unique. `sealed` are the columns whose
    values are sealed for the row's subject when they are read from here.
    """

    table: str
    kind: str
    slots: tuple[Slot, ...]
    key: tuple[int, ...]
    rowid: int | None
    masked: tuple[str, ...]
    subject: LayoutSubject | None
    sealed: tuple[str, ...] = ()


def layout_for(
    schema: Schema, table: Table, policy: Policy, left_out: Collection[str] = ()
) -> Layout:
    """The layout of `table` under `policy`, without the columns `left_out`.

    Raises `ConfigurationError` for a policy that the table can't follow: a column that isn't
    there, a key that may not be captured, a subject that can't be found.
    """
    rules = policy.table(table.name)
    names = {column.name.lower() for column in table.columns}
    _check_rules(table, rules, names, is_listed=table.name.lower() in policy.tables)
    _check_personal(schema, table, rules, policy)
    slots = [
        Slot(
            column.name,
            "changed" if column.name.lower() in rules.without_values else "value",
            column.type if schema.has_typed_text else "",
        )
        for column in table.columns
        if column.name.lower() not in rules.mask and column.name not in left_out
    ]
    places = {slot.column.lower(): place for place, slot in enumerate(slots) if slot.column}
    exactly = {slot.column: place for place, slot in enumerate(slots)}
    rowid = None
    if not schema.has_typed_text and (not table.key or table.key_can_be_null):
        if table.rowid is None:
            raise ConfigurationError(
                f"table {table.name}: expected a key or a rowid by which rows can be told apart, "
                "found neither; give it a primary key or set writes = false for it"
            )
        rowid = len(slots)
        slots.append(Slot(None))
    return Layout(
        table=table.name,
        kind=rules.kind,
        slots=tuple(slots),
        key=tuple(exactly[name] for name in table.key),
        rowid=rowid,
        masked=tuple(c.name for c in table.columns if c.name.lower() in rules.mask),
        subject=_subject(schema, table, rules, places),
        sealed=_sealed(schema, table, rules),
    )


def _check_rules(table: Table, rules: TablePolicy, names: set[str], *, is_listed: bool) -> None:
    kept_back = rules.mask | rules.without_values
    for name in table.key:
        if name.lower() in kept_back:
            raise ConfigurationError(
                f"table {table.name}: column {name} is part of the primary key and can't be "
                "masked or kept without values: the key says which row it was"
            )
    missing = sorted((kept_back | rules.seal | rules.personal.keys()) - names)
    if missing and is_listed:
        raise ConfigurationError(
            f"table {table.name}: expected columns {', '.join(missing)} of the policy, "
            f"the table has {', '.join(column.name for column in table.columns)}"
        )


def _check_personal(schema: Schema, table: Table, rules: TablePolicy, policy: Policy) -> None:
    key = table.key or (table.names if schema.has_typed_text else ())
    problem = policy.personal.key_problem(rules.kind, key)
    if problem is not None:
        raise ConfigurationError(f"table {table.name}: {problem}")
    kept_back = rules.mask | rules.without_values | rules.seal | rules.personal.keys()
    for foreign in table.foreign_keys:
        parent = policy.table(foreign.table)
        home = policy.personal.keys.get(parent.kind)
        for column, named in zip(foreign.columns, foreign.parents, strict=True):
            leads = home is not None and (named is None or parent.personal.get(named.lower()))
            if leads and column.lower() not in kept_back:
                raise ConfigurationError(
                    f"table {table.name}: column {column} refers to {foreign.table}, whose key is "
                    f'personal: expected personal = ["{column} -> {foreign.table}"], or it masked'
                )


def check_key(layout: Layout, personal: Personal, *, is_text: bool = False) -> None:
    """Raise `CaptureError` for a table whose rows go by names that no token can stand for.

    With `is_text` rows of a table without a key go by all their values.
    """
    places = layout.key or (range(len(layout.slots)) if is_text else ())
    names = [layout.slots[place].column or "" for place in places]
    problem = personal.key_problem(layout.kind, names)
    if problem is not None:
        raise CaptureError(
            f"table {layout.table}: {problem}; change `personal`, or the table, and run "
            "`indelible install`"
        )


def _sealed(schema: Schema, table: Table, rules: TablePolicy) -> tuple[str, ...]:
    """The columns to seal; raises `ConfigurationError` for one whose value stands elsewhere."""
    found = tuple(column.name for column in table.columns if column.name.lower() in rules.seal)
    named = {name.lower() for name in table.key}
    if rules.subject is not None and rules.subject.hops:
        named.add(rules.subject.hops[0].column.lower())
    for name in found:
        folded = name.lower()
        if folded in named:
            raise ConfigurationError(
                f"table {table.name}: column {name} says which row it is, or whose, and can't be "
                "sealed"
            )
        if folded in rules.mask | rules.without_values:
            raise ConfigurationError(
                f"table {table.name}: expected column {name} sealed, or masked, or without values: "
                "one of them"
            )
    if found and rules.subject is None:
        raise ConfigurationError(
            f"table {table.name}: expected a subject for whom columns are sealed, it has none"
        )
    if found and schema.has_typed_text and not table.key:
        raise ConfigurationError(
            f"table {table.name}: expected a primary key beside sealed columns: without one all of "
            "a row's values name it"
        )
    return found


def _subject(
    schema: Schema, table: Table, rules: TablePolicy, places: dict[str, int]
) -> LayoutSubject | None:
    path = rules.subject
    if path is None:
        return None
    if not path.hops:
        return LayoutSubject(path.kind, "self")
    _check_path(schema, table, path)
    first = path.hops[0].column.lower()
    if first not in places:
        raise ConfigurationError(
            f"table {table.name}: column {path.hops[0].column} names the subject and is masked"
        )
    if len(path.hops) == 1 and rules.without_values.isdisjoint({first}):
        return LayoutSubject(path.kind, "slot", places[first])
    return LayoutSubject(path.kind, "stored")


def _check_path(schema: Schema, table: Table, path: SubjectPath) -> None:
    here: Table | None = table
    for place, hop in enumerate(path.hops):
        if here is None or here.column(hop.column) is None:
            raise ConfigurationError(
                f"table {table.name}: the subject's path names a column {hop.column} that "
                f"{here.name if here else 'the table before it'} doesn't have"
            )
        here = schema.table(hop.table)
        is_last = place == len(path.hops) - 1
        if not is_last and (here is None or len(here.key) != 1):
            raise ConfigurationError(
                f"table {table.name}: the subject's path goes through {hop.table}: expected a "
                "table of this database with a primary key of one column"
            )


_decode: Final = msgspec.json.Decoder(Layout).decode


def encode_layout(layout: Layout) -> str:
    return msgspec.json.encode(layout).decode()


def decode_layout(text: str | bytes) -> Layout:
    """Raises `msgspec.MsgspecError` for anything that `encode_layout` didn't write."""
    return _decode(text)
