"""The SQL vocabulary of one table's triggers: its columns, images, outbox rows and notes. Pure.

An *image* is a row's captured values; a row's *identity* are those that tell it from the others
of its table at one moment: its key, or the rowid where a key may be NULL or there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from indelible.capture.outbox_layout import Layout
from indelible.capture.schema import Schema, Table
from indelible.capture.sqlite_names import (
    ASK_CONTEXT,
    ASK_DELIVERED_THROUGH,
    ASK_TIME,
    NOTES,
    OUTBOX,
    quote_name,
)
from indelible.capture.sqlite_subjects import subject_of
from indelible.policy.model import Policy

_TRIM_EVERY: Final = 64
_TRIM_AT_ONCE: Final = 2_000

# A foreign client's clock gives milliseconds. In the same millisecond as the row before, take
# that row's time, or time would seem to run backwards.
_FOREIGN_TIME: Final = (
    "(SELECT CASE WHEN last.time BETWEEN own.ms AND own.ms + 999 THEN last.time ELSE own.ms END "
    "FROM (SELECT 1000 * CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS ms)"
    f" AS own LEFT JOIN (SELECT time FROM {OUTBOX} ORDER BY id DESC LIMIT 1) AS last)"
)
_TIME: Final = f"coalesce(sqlite_compileoption_get({ASK_TIME}), {_FOREIGN_TIME})"
_CONTEXT: Final = f"sqlite_compileoption_get({ASK_CONTEXT})"

# Rows that were delivered go with a later write of the application's, some at a time. The last
# one stays: it shows whether the database is the one that it was delivered from.
TRIM: Final = (
    f"DELETE FROM {OUTBOX} WHERE id < CASE WHEN last_insert_rowid() % {_TRIM_EVERY} = 0 THEN "
    f"(SELECT min(through, (SELECT min(id) FROM {OUTBOX}) + {_TRIM_AT_ONCE}) FROM "
    f"(SELECT sqlite_compileoption_get({ASK_DELIVERED_THROUGH}) AS through) "
    f"WHERE EXISTS (SELECT 1 FROM {OUTBOX} WHERE id = through)) END"
)


def same(left: Sequence[str], right: Sequence[str]) -> str:
    """Each on the left is the one on the right, NULLs too, by the collation of the left."""
    pairs = (f"{a} IS {b}" for a, b in zip(left, right, strict=True))
    return "(" + " AND ".join(pairs) + ")"


def is_other(left: Sequence[str], right: Sequence[str]) -> str:
    """Some value on the left isn't, bit by bit, the one on the right."""
    pairs = (
        f"typeof({a}) <> typeof({b}) OR {a} IS NOT {b} COLLATE BINARY"
        for a, b in zip(left, right, strict=True)
    )
    return "(" + " OR ".join(pairs) + ")"


class RowSql:
    """How the rows of one table are written in SQL, under one layout."""

    def __init__(
        self, schema: Schema, table: Table, layout: Layout, number: int, policy: Policy
    ) -> None:
        self.schema = schema
        self.table = table
        self.policy = policy
        self.layout = layout
        self.number = number
        self.name = quote_name(table.name)
        self.all = range(len(layout.slots))
        self.values = [n for n in self.all if layout.slots[n].mode == "value"]
        self.identity = (layout.rowid,) if layout.rowid is not None else layout.key
        self._path = policy.table(table.name).subject
        self.is_subject_stored = layout.subject is not None and layout.subject.source == "stored"

    def column(self, alias: str, slot: int) -> str:
        name = self.layout.slots[slot].column or self.table.rowid or ""
        return f"{alias}.{quote_name(name)}"

    def image(self, alias: str) -> list[str]:
        """The captured values of OLD, NEW or a row of the table."""
        return [self.column(alias, slot) for slot in self.values]

    def key(self, alias: str) -> list[str]:
        """The identity of OLD, NEW or a row of the table."""
        return [self.column(alias, slot) for slot in self.identity]

    def noted_image(self, note: str, side: str) -> list[str]:
        """The same of a note's or an outbox row's `o` or `n`."""
        return [f"{note}.{side}{slot}" for slot in self.values]

    def noted_key(self, note: str, side: str = "o") -> list[str]:
        return [f"{note}.{side}{slot}" for slot in self.identity]

    def is_row(self, note: str, alias: str, side: str = "o") -> str:
        """The note's row is the one that `alias` stands for, by its bits."""
        return same(self.noted_key(note, side), self.key(alias))

    def olds(self, alias: str) -> dict[str, str]:
        """`o` columns with the image of `alias`."""
        return {f"o{slot}": self.column(alias, slot) for slot in self.values}

    def news(self) -> dict[str, str]:
        """`n` columns of an update: NEW's values, or only whether they changed."""
        return {f"n{slot}": self._new(slot) for slot in self.all}

    def _new(self, slot: int) -> str:
        old, new = self.column("OLD", slot), self.column("NEW", slot)
        if self.layout.slots[slot].mode == "value":
            return new
        return is_other([old], [new])

    def subjects(self, before: str | None, after: str | None) -> dict[str, str]:
        """`s0` and `s1`, where they aren't in the image anyway."""
        if not self.is_subject_stored or self._path is None:
            return {}
        rows = {"s0": before, "s1": after}
        return {
            name: subject_of(self.schema, self._path, alias, is_in_trigger=True)
            for name, alias in rows.items()
            if alias is not None
        }

    def put(self, op: str, columns: dict[str, str], source: str = "") -> str:
        """An outbox row; `source` is a FROM (and WHERE) for values that come from one."""
        row = {"time": _TIME, "ctx": _CONTEXT, "layout": str(self.number), "op": op, **columns}
        return _insert(OUTBOX, row, source)

    def note(self, kind: int, columns: dict[str, str], source: str = "") -> str:
        """A note; with `source` one for each of its rows."""
        return _insert(NOTES, {"layout": str(self.number), "kind": str(kind), **columns}, source)


def _insert(table: str, row: dict[str, str], source: str) -> str:
    values = ", ".join(row.values())
    given = f"SELECT {values}{source}" if source else f"VALUES ({values})"
    return f"INSERT INTO {table} ({', '.join(row)})\n    {given}"
