"""What `install` has to do: the schema, the policy and what is there, in; statements out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from indelible.capture.outbox_layout import Layout, encode_layout, layout_for
from indelible.capture.postgres.names import AFTER_PREFIX, quote_name
from indelible.capture.postgres.schema import FoundTrigger, PostgresSchema, Relation
from indelible.capture.postgres.triggers import (
    Captured,
    FunctionSql,
    TriggerSql,
    capture_sql,
    function_name,
)
from indelible.capture.schema import Unseen
from indelible.capture.servers import Drift
from indelible.policy.model import Policy, Profile

_IDENTITY: Final = " REPLICA IDENTITY "
_TOUCHED: Final = (
    "triggers or function were touched, and are again as they were",
    "the publication was touched, and is again as it was",
)
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


class Identity(msgspec.Struct, frozen=True):
    """A relation's REPLICA IDENTITY as it was before us, and the index that it named."""

    letter: str
    index: str | None


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier `install` left: `meta` is empty where there was none."""

    meta: dict[str, str]
    layouts: dict[int, Layout]
    captured: dict[int, CapturedRow]
    identities: dict[int, Identity] = {}
    is_lost: bool = False
    """Whether the log can't be read from where it was read to."""

    @property
    def profile(self) -> Profile:
        """What sees the writes now."""
        return profile_of(self.meta)


def profile_of(meta: Mapping[str, str]) -> Profile:
    """The profile of which an outbox is."""
    found = meta.get("profile")
    if found == "log":
        return "log"
    return "both" if found == "both" else "triggers"


def uses_log(profile: Profile) -> bool:
    """Whether the log is read."""
    return profile != "triggers"


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
    def mode(self) -> str:
        """How the table has to be locked: another REPLICA IDENTITY keeps readers out, too."""
        is_alone = any(_IDENTITY in one for one in (*self.drops, *self.creates))
        return "ACCESS EXCLUSIVE" if is_alone else "SHARE ROW EXCLUSIVE"


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
    function = schema.functions.get(function_name(captured.relation))
    parts = [
        f"{one.name}:{one.xmin}"
        for one in schema.triggers
        if one.relation == captured.relation.oid and one.is_ours
    ]
    if function is not None:
        parts.append(f"{function.name}:{function.xmin}")
    if captured.relation.published is not None:
        parts.append(f"published:{captured.relation.published}")
    return " ".join(sorted(parts))


def plan_install(
    schema: PostgresSchema, policy: Policy, installed: Installed, profile: Profile
) -> InstallPlan:
    """Everything between what is there and what the policy wants.

    Raises `ConfigurationError` where the policy can't be followed; see `layout_for`.
    """
    planner = _Planner(schema, policy, installed, profile)
    for relation in schema.relations.values():
        if relation.root == relation.oid:
            planner.table(relation)
    return planner.plan()


class _Planner:
    def __init__(
        self, schema: PostgresSchema, policy: Policy, installed: Installed, profile: Profile
    ) -> None:
        self._profile = profile
        self._uses_log = uses_log(profile)
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
        generated = {one.name for one in table.columns if one.is_generated}
        why = table.unseen or (None if rules.writes else "writes = false in the policy")
        if why is None and self._profile == "log":
            why = self._unlogged(root, generated.intersection(table.key))
        if why is not None:
            self._unseen.append(Unseen(table.name, why))
            return
        if self._uses_log and not root.has_primary:
            # What REPLICA IDENTITY named is no key any more.
            table = msgspec.structs.replace(table, key=())
        left_out = generated if self._profile == "log" else ()
        layout = layout_for(self._schema.tables, table, self._policy, left_out)
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
            if self._why_unseen(member) is None
        )
        for member in members:
            why = self._why_unseen(member)
            if why is not None and member is not root:
                self._unseen.append(Unseen(member.display, why))
        self._tables.append(table.name)
        drops: list[str] = []
        creates: list[str] = []
        is_touched = False
        was_here = any(row.relation == root.oid for row in before)
        for each in captured:
            self._wanted[each.relation.oid] = each
            what = self._what(each, is_altered=was_here and is_new_layout)
            if what is None:
                continue
            if self._installed.meta:
                self._drifts.append(Drift(each.relation.display, what))
            is_touched = True
            drops += self._drops(each)
            creates += self._creates(each)
        detached = {row.relation for row in before} - {each.relation.oid for each in captured}
        for oid in detached:
            self._drifts.append(
                Drift(self._installed.captured[oid].name, f"no partition of {table.name} any more")
            )
        row = self._installed.captured.get(root.oid)
        is_due = is_touched or bool(detached) or row is None or row.baseline is None
        if row is not None and row.baseline is None and not is_touched:
            self._drifts.append(Drift(table.name, "its rows aren't all written down yet"))
        if is_due:
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

    def _why_unseen(self, relation: Relation) -> str | None:
        if relation.unseen is None and self._profile == "log":
            return self._unlogged(relation, ())
        return relation.unseen

    def _unlogged(self, relation: Relation, computed: Collection[str]) -> str | None:
        if not relation.is_logged:
            return "an unlogged table: the log doesn't have it"
        if computed:
            return "its key is computed (GENERATED): the log doesn't have it"
        return None

    def _drops(self, captured: Captured) -> list[str]:
        """What has to go before `_creates`; the log's part in that order in which no write of the
        application's fails."""
        relation = captured.relation
        found = _trigger_drops(relation, self._ours(relation.oid))
        if captured.function is None and function_name(relation) in self._schema.functions:
            found.append(f"DROP FUNCTION indelible.{function_name(relation)}()")
        if relation.is_listed and not (self._uses_log and relation.published):
            found.append(f"ALTER PUBLICATION indelible DROP TABLE ONLY {relation.quoted}")
        if not self._uses_log:
            found += self._identity_back(relation)
        return found

    def _creates(self, captured: Captured) -> list[str]:
        found = []
        relation, function = captured.relation, captured.function
        if function is not None:
            found.append(function.sql)
            found.append(f"REVOKE ALL ON FUNCTION indelible.{function.name}() FROM PUBLIC")
        for trigger in captured.triggers:
            found += [trigger.sql, _always(relation, trigger)]
        if self._uses_log and relation.is_readable:
            if relation.identity != "f":
                found.append(f"ALTER TABLE {relation.quoted}{_IDENTITY}FULL")
            if relation.published is None:
                found.append(f"ALTER PUBLICATION indelible ADD TABLE ONLY {relation.quoted}")
        return found

    def _identity_back(self, relation: Relation) -> list[str]:
        before = self._installed.identities.get(relation.oid)
        return identity_back(relation, before) if before is not None else []

    def _capture(
        self, relation: Relation, layout: Layout, number: int, *, is_entangled: bool
    ) -> Captured:
        if self._profile == "log":
            return Captured(relation=relation, number=number, layout=layout)
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
        if self._uses_log and self._installed.is_lost:
            return "the log told not everything of it"
        if self._installed.profile != self._profile:
            return f"captured by {self._installed.profile}, by {self._profile} in the policy"
        found = {one.name: one for one in self._ours(oid)}
        if wanted.function is not None:
            what = self._what_of_triggers(wanted, wanted.function, found)
        else:
            what = "its triggers are still there" if found else None
        if row.root != wanted.relation.root:
            what = f"attached to another table (it was {row.name})"
        if what is None and self._uses_log and wanted.relation.is_readable:
            if wanted.relation.identity != "f":
                what = "its REPLICA IDENTITY isn't FULL"
            elif wanted.relation.published is None:
                what = "not in the publication, or in part"
        if what is None and row.seen != seen_text(self._schema, wanted):
            what = _TOUCHED[wanted.function is None]
        return what

    def _what_of_triggers(
        self, wanted: Captured, of: FunctionSql, found: dict[str, FoundTrigger]
    ) -> str | None:
        function = self._schema.functions.get(of.name)
        if function is None or set(found) < {one.name for one in wanted.triggers}:
            return "triggers missing"
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
        if other.function is not None and function.source == other.function.source:
            return "triggers of the application or foreign keys came or went"
        if (
            function.source != of.source
            or not function.is_definer
            or not function.is_owned
            or function.settings != of.settings
        ):
            return "function replaced"
        if any(not self._is_as_wanted(found.pop(one.name), one) for one in wanted.triggers):
            return "triggers altered"
        return "triggers altered" if found else None

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
                drops += _trigger_drops(relation, self._ours(oid))
                if relation.is_listed:
                    drops.append(f"ALTER PUBLICATION indelible DROP TABLE ONLY {relation.quoted}")
                drops += self._identity_back(relation)
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


def identity_back(relation: Relation, before: Identity) -> list[str]:
    """What makes a relation's REPLICA IDENTITY what it was before us."""
    if before.letter == "f" or relation.identity != "f":
        return []
    index = f"USING INDEX {quote_name(before.index)}" if before.index is not None else "NOTHING"
    way = {"d": "DEFAULT", "n": "NOTHING"}.get(before.letter, index)
    return [f"ALTER TABLE {relation.quoted}{_IDENTITY}{way}"]


def _trigger_drops(relation: Relation, triggers: Iterable[FoundTrigger]) -> list[str]:
    return [f"DROP TRIGGER {quote_name(one.name)} ON {relation.quoted}" for one in triggers]


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
