"""What `install` has to do: the schema, the policy and what is there, in; statements out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from indelible.capture.outbox_layout import (
    BASE_COLUMNS,
    Layout,
    decode_layout,
    encode_layout,
    layout_for,
)
from indelible.capture.schema import Schema, Table, Trigger, Unseen
from indelible.capture.sqlite_names import NOTES, OUTBOX, is_ours, quote_name
from indelible.capture.sqlite_nesting import entangled_tables
from indelible.capture.sqlite_schema import affinity
from indelible.capture.sqlite_triggers import TriggerSql, triggers_for
from indelible.errors import ConfigurationError
from indelible.policy.model import Policy

What = Literal[
    "new",
    "altered",
    "dropped",
    "excluded",
    "triggers missing",
    "triggers altered",
    "older than an application's trigger",
]
_LAYOUT: Final = "layout:"
_TABLE: Final = "table:"
_BASELINE: Final = "baseline:"
BASELINE_DUE: Final = "due"


class Drift(msgspec.Struct, frozen=True):
    """A table of which the triggers that are there no longer see everything, and why."""

    table: str
    what: What

    def __str__(self) -> str:
        return f"{self.table}: {self.what}"


class Installed(msgspec.Struct, frozen=True):
    """What an earlier `install` left: `meta` is empty where there was none."""

    meta: dict[str, str]
    outbox_slots: int
    notes_slots: int

    def layouts(self) -> dict[int, Layout]:
        return layouts_of(self.meta)

    def numbers(self) -> dict[str, int]:
        """The layout in use of each table, by lower-case name."""
        return numbers_of(self.meta)


class InstallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`statements` bring the database there; `meta` is what to write down (None: forget)."""

    statements: tuple[str, ...]
    meta: dict[str, str | None]
    drifts: tuple[Drift, ...]
    unseen: tuple[Unseen, ...]
    layouts: dict[int, Layout]


def layouts_of(meta: Mapping[str, str]) -> dict[int, Layout]:
    """The layouts in `indelible_meta`, by number."""
    return {
        int(name.removeprefix(_LAYOUT)): decode_layout(text)
        for name, text in meta.items()
        if name.startswith(_LAYOUT)
    }


def numbers_of(meta: Mapping[str, str]) -> dict[str, int]:
    """The number of the layout in use of each table, by lower-case name."""
    return {
        name.removeprefix(_TABLE): int(number)
        for name, number in meta.items()
        if name.startswith(_TABLE)
    }


def baseline_key(table: str) -> str:
    """Where `indelible_meta` says whether the table's baseline is due."""
    return _BASELINE + table.lower()


def plan_install(
    schema: Schema, policy: Policy, installed: Installed, *, max_columns: int = 2_000
) -> InstallPlan:
    """Everything between what is there and what the policy wants.

    Raises `ConfigurationError` where the policy can't be followed; see `layout_for`.
    """
    planner = _Planner(schema, policy, installed, max_columns)
    for table in schema.capturable():
        planner.table(table)
    planner.rest()
    return planner.plan()


class _Planner:
    def __init__(
        self, schema: Schema, policy: Policy, installed: Installed, max_columns: int
    ) -> None:
        self._schema = schema
        self._policy = policy
        self._installed = installed
        self._max_columns = max_columns
        self._known = installed.layouts()
        self._numbers = installed.numbers()
        self._entangled = entangled_tables(schema)
        self._next = max(self._known, default=0) + 1
        self._statements: list[str] = []
        self._meta: dict[str, str | None] = {}
        self._drifts: list[Drift] = []
        self._unseen = list(schema.unseen())
        self._layouts: dict[int, Layout] = {}
        self._expected: set[str] = set()
        self._drops: list[str] = []

    def table(self, table: Table) -> None:
        name = table.name.lower()
        if not self._policy.table(table.name).writes:
            self._unseen.append(Unseen(table.name, "writes = false in the policy"))
            if name in self._numbers:
                self._drifts.append(Drift(table.name, "excluded"))
                self._meta[_TABLE + name] = None
            return
        layout = layout_for(self._schema, table, self._policy)
        if BASE_COLUMNS + 2 * len(layout.slots) > self._max_columns:
            raise ConfigurationError(
                f"table {table.name}: expected at most {(self._max_columns - BASE_COLUMNS) // 2} "
                f"captured columns, found {len(layout.slots)}: an outbox row holds each twice; "
                "mask some, or set writes = false"
            )
        number = self._numbers.get(name)
        is_new = number is None
        is_altered = number is not None and self._known.get(number) != layout
        if number is None or is_altered:
            number = self._next
            self._next += 1
            self._meta[f"{_LAYOUT}{number}"] = encode_layout(layout)
            self._meta[_TABLE + name] = str(number)
        self._layouts[number] = layout
        wanted = triggers_for(
            self._schema,
            table,
            layout,
            number,
            self._policy,
            is_entangled=name in self._entangled,
        )
        self._expected |= {trigger.name.lower() for trigger in wanted}
        what: What | None = "new" if is_new else "altered" if is_altered else None
        found = self._trigger_drift(table, wanted)
        if what is None and found is None:
            return
        if self._installed.meta:
            self._drifts.append(Drift(table.name, what or found or "altered"))
        # Rows may have come or changed while nobody looked, or were recorded out of order.
        self._meta[baseline_key(table.name)] = BASELINE_DUE
        self._statements += [trigger.sql for trigger in wanted]
        self._drops += [one.name for one in self._ours(table)]

    def _ours(self, table: Table) -> list[Trigger]:
        name = table.name.lower()
        return [one for one in self._schema.triggers if is_ours(one.name) and _is_on(one, name)]

    def _trigger_drift(self, table: Table, wanted: list[TriggerSql]) -> What | None:
        ours = self._ours(table)
        if {one.name for one in ours} != {one.name for one in wanted}:
            is_less = {one.name for one in wanted} - {one.name for one in ours}
            return "triggers missing" if is_less else "triggers altered"
        texts = {one.name: one.sql for one in ours}
        in_order = [one.name for one in sorted(ours, key=lambda one: one.age)]
        if any(texts[one.name] != one.sql for one in wanted) or in_order != [
            one.name for one in wanted
        ]:
            return "triggers altered"
        name = table.name.lower()
        theirs = [
            one.age for one in self._schema.triggers if not is_ours(one.name) and _is_on(one, name)
        ]
        if theirs and max(theirs) > min(one.age for one in ours):
            return "older than an application's trigger"
        return None

    def _converted_keys(self) -> list[Unseen]:
        """Keys that SQLite (seen in 3.40) converts in place while it looks for their children."""
        found = []
        for table in self._schema.capturable():
            for key in table.foreign_keys:
                parent = self._schema.table(key.table)
                if parent is None:
                    continue
                to = [name or own for name, own in zip(key.parents, parent.key, strict=False)]
                for child, name in zip(key.columns, to or key.parents, strict=False):
                    ours, theirs = table.column(child), parent.column(name or "")
                    if ours and theirs and affinity(ours.type) != affinity(theirs.type):
                        found.append(
                            Unseen(
                                f"{parent.name}.{theirs.name}",
                                f"{table.name}.{ours.name} refers to it with another type: "
                                "SQLite may show triggers its value converted to that type",
                            )
                        )
        return found

    def rest(self) -> None:
        """Tables that are gone, and triggers of ours that belong to none."""
        live = {table.name.lower() for table in self._schema.capturable()}
        for name in self._numbers:
            if name not in live:
                self._drifts.append(Drift(name, "dropped"))
                self._meta[_TABLE + name] = None
                self._meta[baseline_key(name)] = None
        self._drops += [
            one.name
            for one in self._schema.triggers
            if is_ours(one.name) and one.name.lower() not in self._expected
        ]

    def plan(self) -> InstallPlan:
        slots = max((len(layout.slots) for layout in self._layouts.values()), default=1)
        statements = [f"DROP TRIGGER {quote_name(name)}" for name in dict.fromkeys(self._drops)]
        for table, there in (
            (OUTBOX, self._installed.outbox_slots),
            (NOTES, self._installed.notes_slots),
        ):
            for slot in range(max(there, 1), slots):
                statements += [
                    f"ALTER TABLE {table} ADD COLUMN o{slot}",
                    f"ALTER TABLE {table} ADD COLUMN n{slot}",
                ]
        return InstallPlan(
            statements=(*statements, *self._statements),
            meta=self._meta,
            drifts=tuple(self._drifts),
            unseen=(*self._unseen, *self._converted_keys()),
            layouts=self._layouts,
        )


def _is_on(trigger: Trigger, table: str) -> bool:
    return trigger.table.lower() == table
