"""What `install` has to do: the schema, the policy and what is there, in; statements out. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.schema import FoundTrigger, MariadbSchema
from indelible.capture.mariadb.triggers import TriggerSql, triggers_for
from indelible.capture.outbox_layout import Layout, layout_for
from indelible.capture.schema import Table, Unseen
from indelible.capture.servers import Drift
from indelible.errors import ConfigurationError
from indelible.policy.model import Policy


class CapturedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` wrote down of one table.

    `seen` tells table and triggers as they were from any that were touched since. `baseline` is
    the outbox id that its rows were written down at; None: due.
    """

    name: str
    layout: int
    seen: str
    baseline: int | None


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier `install` left: `meta` is empty where there was none."""

    meta: Mapping[str, str]
    layouts: Mapping[int, Layout]
    captured: Mapping[str, CapturedRow]


class TableWork(msgspec.Struct, frozen=True, kw_only=True):
    """What a table needs, done while it is locked."""

    table: str
    layout: Layout
    number: int
    drops: tuple[str, ...]
    creates: tuple[str, ...]


class InstallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`drops` take triggers off what isn't captured any more, table by table; `gone` are all such
    tables."""

    works: tuple[TableWork, ...]
    drops: Mapping[str, tuple[str, ...]]
    gone: tuple[str, ...]
    drifts: tuple[Drift, ...]
    unseen: tuple[Unseen, ...]
    tables: tuple[str, ...]

    @property
    def statements(self) -> tuple[str, ...]:
        drops = [statement for each in self.drops.values() for statement in each]
        works = [statement for work in self.works for statement in (*work.drops, *work.creates)]
        return (*drops, *works)


def seen_text(schema: MariadbSchema, table: str) -> str:
    """When the table and our triggers on it were made."""
    folded = table.lower()
    parts = [
        f"{one.name}:{one.created}"
        for one in schema.triggers
        if one.table.lower() == folded and one.is_ours
    ]
    return " ".join([schema.made.get(folded, ""), *sorted(parts)])


def plan_install(schema: MariadbSchema, policy: Policy, installed: Installed) -> InstallPlan:
    """Everything between what is there and what the policy wants.

    Raises `ConfigurationError` where the policy can't be followed (`layout_for`), or where foreign
    keys change rows of captured tables, for which no trigger fires.
    """
    _refuse_cascades(schema, policy)
    planner = _Planner(schema, policy, installed)
    for table in schema.tables.tables.values():
        planner.table(table)
    return planner.plan()


def _refuse_cascades(schema: MariadbSchema, policy: Policy) -> None:
    hidden = [
        f"{table}.{name} ({what})"
        for table, name, what in schema.cascades
        if policy.table(table).writes
    ]
    if hidden:
        raise ConfigurationError(
            "expected no foreign keys that change rows of captured tables, as the server fires no "
            f"trigger for what they do; found {', '.join(hidden)}: let the application do it "
            "(ON DELETE RESTRICT), or set writes = false for the table"
        )


class _Planner:
    def __init__(self, schema: MariadbSchema, policy: Policy, installed: Installed) -> None:
        self._schema = schema
        self._policy = policy
        self._installed = installed
        self._next = max(installed.layouts, default=0) + 1
        self._works: list[TableWork] = []
        self._drifts: list[Drift] = []
        self._unseen: list[Unseen] = []
        self._wanted: dict[str, None] = {}

    def table(self, table: Table) -> None:
        rules = self._policy.table(table.name)
        if table.unseen is not None or not rules.writes:
            why = table.unseen or "writes = false in the policy"
            self._unseen.append(Unseen(table.name, why))
            return
        layout = layout_for(self._schema.tables, table, self._policy)
        layout = msgspec.structs.replace(layout, kind=layout.kind.replace(":", "_"))
        before = self._installed.captured.get(table.name)
        number = before.layout if before is not None else None
        if number is None or self._installed.layouts.get(number) != layout:
            number = self._next
            self._next += 1
        triggers = triggers_for(self._schema, layout, number, self._policy)
        self._wanted[table.name] = None
        what = self._what(table.name, before, number, triggers)
        if what is None:
            return
        if self._installed.meta:
            self._drifts.append(Drift(table.name, what))
        self._works.append(
            TableWork(
                table=table.name,
                layout=layout,
                number=number,
                drops=tuple(self._drop(one) for one in self._ours(table.name)),
                creates=tuple(one.create(self._schema.database) for one in triggers),
            )
        )

    def _what(
        self, table: str, before: CapturedRow | None, number: int, wanted: tuple[TriggerSql, ...]
    ) -> str | None:
        """Why the triggers have to be made anew; None where they are as they should."""
        if before is None:
            return "new"
        if before.layout != number:
            return "altered"
        found = {one.name: one for one in self._ours(table)}
        if found.keys() < {one.name for one in wanted}:
            return "triggers missing"
        if found.keys() != {one.name for one in wanted} or any(
            (found[one.name].timing, found[one.name].event, found[one.name].body)
            != ("AFTER", one.event, one.body)
            for one in wanted
        ):
            return "triggers altered"
        if before.baseline is None:
            return "its rows aren't all written down yet"
        if before.seen != seen_text(self._schema, table):
            return "it was altered, emptied by TRUNCATE or made anew, or its triggers were"
        return None

    def _ours(self, table: str) -> list[FoundTrigger]:
        return [one for one in self._schema.triggers if one.table == table and one.is_ours]

    def _drop(self, trigger: FoundTrigger) -> str:
        return f"DROP TRIGGER {quote_name(self._schema.database)}.{quote_name(trigger.name)}"

    def plan(self) -> InstallPlan:
        gone = [name for name in self._installed.captured if name not in self._wanted]
        drops: dict[str, tuple[str, ...]] = {}
        for name in gone:
            is_there = self._schema.tables.table(name) is not None
            self._drifts.append(Drift(name, "excluded" if is_there else "dropped"))
        for one in self._schema.triggers:
            if one.is_ours and one.table not in self._wanted:
                drops[one.table] = (*drops.get(one.table, ()), self._drop(one))
        return InstallPlan(
            works=tuple(self._works),
            drops=drops,
            gone=tuple(gone),
            drifts=tuple(self._drifts),
            unseen=tuple(self._unseen),
            tables=tuple(self._wanted),
        )
