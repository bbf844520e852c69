"""What a reconciliation needs of the database as it is now; a module a database supplies it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from indelible.capture.outbox_layout import Layout
from indelible.events.values import Id, Value

LiveRow = tuple[Id, tuple[Value, ...]]
"""A row's id, and its values in the order of `LiveTable.columns`."""


class LiveTable(msgspec.Struct, frozen=True, kw_only=True):
    """A captured table. `columns` are those whose values the policy lets be captured.

    `masked` ones never are; of `without_values` only that they changed. `keyless` says what rows of
    a table without a key are called by, as `TargetRows.keyless` does. With `has_types` a value of
    another type is one of another time's column; without, any column holds any type. `uninstalled`
    is None where the database says that the table is captured whole; else why it isn't, of which
    the trail may know better.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    masked: tuple[str, ...] = ()
    without_values: tuple[str, ...] = ()
    keyless: Literal["rowid", "values"] | None = None
    has_types: bool = False
    uninstalled: str | None = None


class Snapshot(NamedTuple):
    """A table at one moment. Of its changes those up to outbox row `position` are in it, and no
    later ones; `estimate` is how many rows there are, about."""

    position: int
    estimate: int
    pages: Iterator[Sequence[LiveRow]]


class LiveDatabase(Protocol):
    """The application's database, only read. Every method raises `DeliveryError` where it can't
    be reached, and `ConfigurationError` where a right is missing."""

    @property
    def incarnation(self) -> str: ...

    @property
    def opened(self) -> int:
        """The epoch in which its incarnation began."""

    @property
    def tables(self) -> Sequence[LiveTable]:
        """The tables that are captured."""

    @property
    def not_captured(self) -> Sequence[tuple[str, str]]:
        """The tables that nobody captures or that can't be compared, and why."""

    @property
    def drifts(self) -> Sequence[tuple[str, str]]:
        """The tables whose triggers aren't as they should be, and how."""

    def snapshot(self, table: LiveTable) -> AbstractContextManager[Snapshot]:
        """The rows of `table`, all of one moment. The application goes on meanwhile."""


NOT_INSTALLED: Final = "not captured: run `indelible install`"
RENAMED: Final = "the policy calls its rows another kind than `indelible install` did: run it again"
BASELINE_UNWRITTEN: Final = "its baseline isn't all written down: run `indelible install`"


def live_table(
    layout: Layout,
    *,
    keyless: Literal["rowid", "values"] | None,
    has_types: bool,
    uninstalled: str | None,
) -> LiveTable:
    """The table that `layout` is of; see `LiveTable`."""
    named = [slot for slot in layout.slots if slot.column is not None]
    return LiveTable(
        name=layout.table,
        kind=layout.kind,
        columns=tuple(slot.column or "" for slot in named if slot.mode == "value"),
        masked=layout.masked,
        without_values=tuple(slot.column or "" for slot in named if slot.mode == "changed"),
        keyless=keyless,
        has_types=has_types,
        uninstalled=uninstalled,
    )
