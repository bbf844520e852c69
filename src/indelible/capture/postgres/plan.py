"""What `install` has to do: the schema, the policy and what is there, in; statements out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from indelible.capture.outbox_layout import Layout, encode_layout, layout_for
from indelible.capture.postgres.names import AFTER_PREFIX, quote_name
from indelible.capture.postgres.schema import FoundTrigger, PostgresSchema, Relation
from indelible.capture.postgres.triggers import Captured, TriggerSql, capture_sql
from indelible.capture.schema import Unseen
from indelible.capture.servers import Drift
from indelible.policy.model import Policy

_FIRES: Final = {"O": "not always", "D": "disabled", "R": "only in replicas"}


class CapturedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` wrote down of one relation.

    `seen` tells trigger and function as they were from any that were touched since. `baseline` is
    the outbox id that its rows were written down at; None: due.
    """

    relation: int
    name: str
    root: int
    layout: int
    seen: str
    baseline: int | None


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier `install` left: `meta` is empty where there was none."""

    meta: dict[str, str]
    layouts: dict[int, Layout]
    captured: dict[int, CapturedRow]


class TableWork(msgspec.Struct, frozen=True, kw_only=True):
    """What a root table and its partitions need; done in one transaction.

    `drops` and `creates` are statements. `is_due`: its rows have to be written down.
    """

    root: Relation
    layout: Layout
    number: int
    is_new_layout: bool
    captured: tuple[Captured, ...]
    drops: tuple[str, ...]
    creates: tuple[str, ...]
    is_due: bool

    @property
    def locked(self) -> str:
        """The table to lock: all partitions with it."""
        return self.root.quoted


class InstallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`gone` are relations that are captured no longer, `drops` what they leave."""

    works: tuple[TableWork, ...]
    drops: tuple[str, ...]
    gone: tuple[int, ...]
    drifts: tuple[Drift, ...]
    unseen: tuple[Unseen, ...]
    tables: tuple[str, ...]


def seen_text(schema: PostgresSchema, captured: Captured) -> str:
    """The versions of the triggers and the function that are there."""
    function = schema.functions.get(captured.function.name)
    parts = [
        f"{one.name}:{one.xmin}"
        for one in schema.triggers
        if one.relation == captured.relation.oid and one.is_ours
    ]
    return " ".join(sorted([*parts, f"{captured.function.name}:{function and function.xmin}"]))


def plan_install(schema: PostgresSchema, policy: Policy, installed: Installed) -> InstallPlan:
    """Everything between what is there and what the policy wants.

    Raises `ConfigurationError` where the policy can't be followed; see `layout_for`.
    """
    planner = _Planner(schema, policy, installed)
    for relation in schema.relations.values():
        if relation.root == relation.oid:
            planner.table(relation)
    return planner.plan()


class _Planner:
    def __init__(self, schema: PostgresSchema, policy: Policy, installed: Installed) -> None:
        self._schema = schema
        self._policy = policy
        self._installed = installed
        self._entangled = entangled_tables(schema)
        self._next = max(installed.layouts, default=0) + 1
        self._works: list[TableWork] = []
        self._drifts: list[Drift] = []
        self._unseen: list[Unseen] = []
        self._tables: list[str] = []
        self._wanted: dict[int, Captured] = {}

    def table(self, root: Relation) -> None:
        table = self._schema.table(root)
        if table is None:
            return
        rules = self._policy.table(table.name)
        if table.unseen is not None or not rules.writes:
            why = table.unseen or "writes = false in the policy"
            self._unseen.append(Unseen(table.name, why))
            return
        layout = layout_for(self._schema.tables, table, self._policy)
        layout = msgspec.structs.replace(layout, kind=layout.kind.replace(":", "_"))
        members = [one for one in self._schema.relations.values() if one.root == root.oid]
        before = [row for row in self._installed.captured.values() if row.root == root.oid]
        number = next((row.layout for row in before if row.relation == root.oid), None)
        is_new_layout = number is None or self._installed.layouts.get(number) != layout
        if number is None or is_new_layout:
            number = self._next
            self._next += 1
        is_entangled = root.oid in self._entangled
        captured = tuple(
            self._capture(member, layout, number, is_entangled=is_entangled)
            for member in members
            if member.unseen is None
        )
        for member in members:
            if member.unseen is not None and member is not root:
                self._unseen.append(Unseen(member.display, member.unseen))
        self._tables.append(table.name)
        drops, creates = [], []
        was_here = any(row.relation == root.oid for row in before)
        for each in captured:
            self._wanted[each.relation.oid] = each
            what = self._what(each, is_altered=was_here and is_new_layout)
            if what is None:
                continue
            if self._installed.meta:
                self._drifts.append(Drift(each.relation.display, what))
            drops += [
                f"DROP TRIGGER {quote_name(one.name)} ON {each.relation.quoted}"
                for one in self._ours(each.relation.oid)
            ]
            creates.append(each.function.sql)
            revoke = f"REVOKE ALL ON FUNCTION indelible.{each.function.name}() FROM PUBLIC"
            creates.append(revoke)
            for trigger in each.triggers:
                creates += [trigger.sql, _always(each.relation, trigger)]
        detached = {row.relation for row in before} - {each.relation.oid for each in captured}
        for oid in detached:
            self._drifts.append(
                Drift(self._installed.captured[oid].name, f"no partition of {table.name} any more")
            )
        row = self._installed.captured.get(root.oid)
        is_due = bool(creates) or bool(detached) or row is None or row.baseline is None
        if row is not None and row.baseline is None and not creates:
            self._drifts.append(Drift(table.name, "its rows aren't all written down yet"))
        if creates or is_due:
            self._works.append(
                TableWork(
                    root=root,
                    layout=layout,
                    number=number,
                    is_new_layout=is_new_layout,
                    captured=captured,
                    drops=tuple(drops),
                    creates=tuple(creates),
                    is_due=is_due,
                )
            )

    def _capture(
        self, relation: Relation, layout: Layout, number: int, *, is_entangled: bool
    ) -> Captured:
        return capture_sql(
            self._schema, relation, layout, number, self._policy, is_entangled=is_entangled
        )

    def _what(self, wanted: Captured, *, is_altered: bool) -> str | None:
        """Why triggers and function have to be made anew; None where they are as they should."""
        oid = wanted.relation.oid
        row = self._installed.captured.get(oid)
        if row is None:
            return "new" if wanted.relation.root == oid else "new partition"
        if is_altered:
            return "altered"
        function = self._schema.functions.get(wanted.function.name)
        found = {one.name: one for one in self._ours(oid)}
        if function is None or set(found) < {one.name for one in wanted.triggers}:
            return "triggers missing"
        if row.root != wanted.relation.root:
            return f"attached to another table (it was {row.name})"
        for trigger in wanted.triggers:
            one = found.get(trigger.name)
            if one is None:
                return "triggers missing"
            if one.enabled != "A":
                return f"trigger {_FIRES.get(one.enabled, 'altered')}"
        if not function.is_private:
            return "its function may be attached by others"
        is_entangled = wanted.relation.root in self._entangled
        other = self._capture(
            wanted.relation, wanted.layout, wanted.number, is_entangled=not is_entangled
        )
        if function.source == other.function.source:
            return "triggers of the application or foreign keys came or went"
        if (
            function.source != wanted.function.source
            or not function.is_definer
            or not function.is_owned
            or function.settings != wanted.function.settings
        ):
            return "function replaced"
        if any(not self._is_as_wanted(found.pop(one.name), one) for one in wanted.triggers):
            return "triggers altered"
        if found:
            return "triggers altered"
        if row.seen != seen_text(self._schema, wanted):
            return "triggers or function were touched, and are again as they were"
        return None

    def _is_as_wanted(self, found: FoundTrigger, wanted: TriggerSql) -> bool:
        function = self._schema.functions.get(wanted.function)
        return function is not None and (found.type, found.function) == (wanted.type, function.oid)

    def _ours(self, oid: int) -> list[FoundTrigger]:
        return [one for one in self._schema.triggers if one.relation == oid and is_ours(one)]

    def plan(self) -> InstallPlan:
        gone = [oid for oid in self._installed.captured if oid not in self._wanted]
        drops = []
        for oid in gone:
            row = self._installed.captured[oid]
            relation = self._schema.relations.get(oid)
            self._drifts.append(Drift(row.name, "dropped" if relation is None else "excluded"))
            if relation is not None:
                drops += [
                    f"DROP TRIGGER {quote_name(one.name)} ON {relation.quoted}"
                    for one in self._ours(oid)
                ]
            if f"write_{oid}" in self._schema.functions:
                drops.append(f"DROP FUNCTION indelible.write_{oid}()")
        for name in ("stray", "altered", "record"):
            function = self._schema.functions.get(name)
            if self._installed.meta and (function is None or not function.is_owned):
                self._drifts.append(Drift(f"indelible.{name}", "missing: uninstall and install"))
            elif function is not None and name != "record" and not function.is_private:
                self._drifts.append(Drift(f"indelible.{name}", "open to others"))
        for one in self._schema.triggers:
            # Attached by somebody: a statement there is recorded as a stray.
            relation = self._schema.relations.get(one.relation)
            name = relation.display if relation is not None else str(one.relation)
            if one.is_ours and one.relation not in self._wanted and one.relation not in gone:
                self._drifts.append(Drift(name, f"a function of ours is attached as {one.name}"))
        return InstallPlan(
            works=tuple(self._works),
            drops=tuple(drops),
            gone=tuple(gone),
            drifts=tuple(self._drifts),
            unseen=tuple(self._unseen),
            tables=tuple(self._tables),
        )


def is_ours(trigger: FoundTrigger) -> bool:
    """Whether the trigger runs a function of ours, or goes by a name of ours."""
    return trigger.is_ours or trigger.name.startswith(AFTER_PREFIX)


def entangled_tables(schema: PostgresSchema) -> frozenset[int]:
    """The roots whose rows may be written by what is nested in a statement that writes them.

    An application's trigger may write anything: its own table, and what foreign keys' actions
    write in the same statement. These write a table's children, so a table is entangled that leads
    back to itself, or to a table with triggers.
    """
    with_triggers = {
        schema.relations[one.relation].root
        for one in schema.triggers
        if one.relation in schema.relations and not is_ours(one)
    }
    children: dict[int, list[int]] = {}
    for parent, child in schema.edges:
        children.setdefault(parent, []).append(child)
    parents = [child for _, child in schema.edges]
    found = set(with_triggers)
    for root in children:
        reached = _reached(root, children)
        if root in reached or (reached | {root}) & with_triggers:
            found |= {root, *reached}
    # Two ways to one child: a row may be changed on one and deleted on the other.
    found |= {child for child in parents if parents.count(child) > 1}
    return frozenset(found)


def _reached(root: int, children: dict[int, list[int]]) -> set[int]:
    reached: set[int] = set()
    waiting = list(children.get(root, ()))
    while waiting:
        child = waiting.pop()
        if child not in reached:
            reached.add(child)
            waiting += children.get(child, ())
    return reached


def layout_statements(works: Iterable[TableWork]) -> list[tuple[int, str]]:
    """Number and text of the layouts to be written down."""
    return [(work.number, encode_layout(work.layout)) for work in works if work.is_new_layout]


def _always(relation: Relation, trigger: TriggerSql) -> str:
    return f"ALTER TABLE {relation.quoted} ENABLE ALWAYS TRIGGER {quote_name(trigger.name)}"
