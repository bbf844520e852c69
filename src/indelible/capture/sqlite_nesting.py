"""Which writes may happen inside another one, before our AFTER trigger sees it. Pure.

Inside a write run the application's BEFORE triggers, the foreign keys' actions (also those of a
row that REPLACE deletes), and all that these fire. Where that leads back to the same table, rows
are recorded in another order than they changed in, unless triggers keep book (`sqlite_triggers`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from indelible.capture.schema import Schema
from indelible.capture.sqlite_definitions import parse_trigger
from indelible.capture.sqlite_names import is_ours

_ACTING: Final = ("CASCADE", "SET NULL", "SET DEFAULT")


class Write(NamedTuple):
    """`how` is insert, update or delete; `table` is in lower case."""

    table: str
    how: str


def entangled_tables(schema: Schema) -> frozenset[str]:
    """Tables (lower case) whose writes may have writes to the same table inside."""
    graph = _Graph(schema)
    names = (table.name.lower() for table in schema.capturable())
    return frozenset(name for name in names if graph.is_entangled(name))


class _Graph:
    def __init__(self, schema: Schema) -> None:
        self._before: dict[Write, set[Write]] = {}
        self._after: dict[Write, set[Write]] = {}
        self._actions: dict[Write, set[Write]] = {}
        for trigger in schema.triggers:
            if is_ours(trigger.name):
                continue
            text = parse_trigger(trigger.sql)
            place = Write(trigger.table.lower(), text.event)
            steps = self._after if text.timing == "after" else self._before
            steps.setdefault(place, set()).update(Write(*written) for written in text.writes)
        for table in schema.capturable():
            for key in table.foreign_keys:
                self._act(key.table, "delete", key.on_delete, table.name)
                self._act(key.table, "update", key.on_update, table.name)

    def _act(self, parent: str, event: str, action: str, child: str) -> None:
        if action in _ACTING:
            is_deletion = event == "delete" and action == "CASCADE"
            write = Write(child.lower(), "delete" if is_deletion else "update")
            self._actions.setdefault(Write(parent.lower(), event), set()).add(write)

    def is_entangled(self, table: str) -> bool:
        for how in ("insert", "update", "delete"):
            write = Write(table, how)
            inside = set(self._before.get(write, ()))
            if how != "delete":
                # What goes with a deleted row can't touch it any more.
                inside |= self._acting(write)
            if any(found.table == table for found in self._closure(inside)):
                return True
        return False

    def _acting(self, write: Write) -> set[Write]:
        found = set(self._actions.get(write, ()))
        if write.how != "delete":
            found |= self._actions.get(Write(write.table, "delete"), set())
        return found

    def _closure(self, start: set[Write]) -> set[Write]:
        seen: set[Write] = set()
        todo = list(start)
        while todo:
            write = todo.pop()
            if write in seen:
                continue
            seen.add(write)
            todo += self._before.get(write, set())
            todo += self._after.get(write, set())
            todo += self._acting(write)
        return seen
