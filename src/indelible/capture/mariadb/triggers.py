"""Triggers that capture one table's writes: schema and layout in, SQL out. Pure.

The server has row triggers only, and lets none write the table that it fires for: so the order of
the outbox is the order in which things happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from indelible.capture.mariadb.names import CONTEXT, quote_name, schema_name, trigger_name
from indelible.capture.mariadb.schema import MariadbSchema
from indelible.capture.mariadb.values import image_sql
from indelible.capture.outbox_layout import OP_DELETE, OP_INSERT, OP_UPDATE, Layout
from indelible.policy.model import Hop, Policy

# Not NOW(), which is a whole statement's; nor SYSDATE() alone, which is in the session's time zone.
TIME: Final = (
    "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"
    "+TIMESTAMPDIFF(MICROSECOND,NOW(6),SYSDATE(6))"
)
CONTEXT_TEXT: Final = f"LEFT(CONVERT({CONTEXT} USING utf8mb4),65536)"


class TriggerSql(msgspec.Struct, frozen=True):
    """One trigger of ours; `body` is how the catalogue has it."""

    name: str
    table: str
    event: str
    body: str

    def create(self, database: str) -> str:
        where = quote_name(database)
        return (
            f"CREATE TRIGGER {where}.{quote_name(self.name)} AFTER {self.event} "
            f"ON {where}.{quote_name(self.table)} FOR EACH ROW {self.body}"
        )


def triggers_for(
    schema: MariadbSchema, layout: Layout, number: int, policy: Policy
) -> tuple[TriggerSql, ...]:
    """Those for the writes to the layout's table."""
    writer = RowSql(schema, layout, policy)
    old, new = writer.image("OLD"), writer.image("NEW")
    put: dict[str, tuple[int, dict[str, str]]] = {
        "INSERT": (OP_INSERT, {"s1": writer.subject("NEW"), "new": new}),
        "UPDATE": (
            OP_UPDATE,
            {
                "s0": writer.subject("OLD"),
                "s1": writer.subject("NEW"),
                "old": old,
                "new": new,
                "changed": writer.changed(),
            },
        ),
        "DELETE": (OP_DELETE, {"s0": writer.subject("OLD"), "old": old}),
    }
    outbox = f"{quote_name(schema_name(schema.database))}.outbox"
    found = []
    for event, (op, pieces) in put.items():
        pieces = {name: piece for name, piece in pieces.items() if piece != "NULL"}
        body = (
            f"INSERT INTO {outbox} (time,ctx,layout,op,connection,client,{','.join(pieces)}) "
            f"VALUES ({TIME},{CONTEXT_TEXT},{number},{op},CONNECTION_ID(),SESSION_USER(),"
            f"{','.join(pieces.values())})"
        )
        name = trigger_name(number, event.lower())
        found.append(TriggerSql(name, layout.table, event, body))
    return tuple(found)


class RowSql:
    """What a row of one table is written as."""

    def __init__(self, schema: MariadbSchema, layout: Layout, policy: Policy) -> None:
        self._schema = schema
        self._layout = layout
        self._policy = policy
        kept = [place for place, slot in enumerate(layout.slots) if slot.mode == "value"]
        self._kept = [layout.slots[place] for place in kept]
        self._key = [kept.index(place) for place in layout.key]

    def image(self, alias: str) -> str:
        """The columns of which values are kept."""
        return image_sql(
            [slot.type for slot in self._kept],
            [f"{alias}.{quote_name(slot.column or '')}" for slot in self._kept],
            self._key,
        )

    def changed(self) -> str:
        """A digit for each column of which only that is kept: whether its bytes changed."""
        bits = [
            f"NOT CAST(OLD.{name} AS BINARY)<=>CAST(NEW.{name} AS BINARY)"
            for name in (
                quote_name(slot.column or "")
                for slot in self._layout.slots
                if slot.mode == "changed"
            )
        ]
        return f"CONCAT({','.join(bits)})" if bits else "NULL"

    def subject(self, alias: str) -> str:
        """`=` and whose row it is; empty for nobody's, NULL for one that can't be found."""
        subject = self._layout.subject
        path = self._policy.table(self._layout.table).subject
        if subject is None or subject.source != "stored" or path is None:
            return "NULL"
        return self._path(alias, path.hops, 0)

    def _path(self, alias: str, hops: Sequence[Hop], depth: int) -> str:
        here = self._layout.table if depth == 0 else hops[depth - 1].table
        table = self._schema.tables.table(here)
        exact = table.column(hops[depth].column) if table is not None else None
        column = f"{alias}.{quote_name(exact.name if exact is not None else hops[depth].column)}"
        if depth == len(hops) - 1:
            found = f"CONCAT('=',{column})"
        else:
            parent = self._schema.tables.table(hops[depth].table)
            name, key = (parent.name, parent.key[0]) if parent is not None else ("", "")
            row = f"p{depth}"
            found = (
                f"(SELECT {self._path(row, hops, depth + 1)} FROM "
                f"{quote_name(self._schema.database)}.{quote_name(name)} AS {row} "
                f"WHERE {row}.{quote_name(key)}={column})"
            )
        return f"IF({column} IS NULL,'',{found})"


def baseline_sql(schema: MariadbSchema, layout: Layout, policy: Policy) -> str:
    """Every row of the layout's table, as triggers would write it: its subject and its image."""
    row = RowSql(schema, layout, policy)
    table = f"{quote_name(schema.database)}.{quote_name(layout.table)}"
    return f"SELECT {row.subject('t')}, {row.image('t')} FROM {table} AS t"
