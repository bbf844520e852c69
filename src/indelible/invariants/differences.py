"""What a reconciliation finds: differences, and how far each table was compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from indelible.events.model import Change, Timestamp
from indelible.events.values import Id

What = Literal["missing", "extra", "differs", "overwritten"]
SORTS: Final[tuple[What, ...]] = ("missing", "extra", "differs", "overwritten")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One row that was changed without the trail seeing it.

    `missing`: the trail has the row, the database hasn't. `extra`: the other way round. `differs`:
    both have it, with other values. `overwritten`: an entry of the trail itself found another row
    there than the trail had left, so that somebody changed it in between; what they left is gone by
    now. `columns` holds what the trail says and what was found, `absent` where there is no row.
    `index` is the last entry that knows the row, of an overwritten one the entry that found it so.
    `copies`: how many alike, in a table whose rows have no key. Not `certain`: see `why`.
    """

    table: str
    kind: str
    id: Id
    what: What
    columns: dict[str, Change]
    index: int | None = None
    time: Timestamp | None = None
    copies: int = 1
    certain: bool = True
    why: str | None = None


class Counts(msgspec.Struct):
    """How many differences there are of each sort."""

    missing: int = 0
    extra: int = 0
    differs: int = 0
    overwritten: int = 0

    @property
    def total(self) -> int:
        return self.missing + self.extra + self.differs + self.overwritten

    def add(self, what: What, number: int = 1) -> None:
        setattr(self, what, getattr(self, what) + number)

    def items(self) -> Iterator[tuple[What, int]]:
        for what in SORTS:
            yield what, getattr(self, what)

    def __str__(self) -> str:
        return ", ".join(f"{number} {what}" for what, number in self.items() if number) or "none"


class TableReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far one table was compared.

    `rows` of the database were held against the trail, as both stood behind outbox row `position`.
    `compared` are the columns whose values were. `not_compared` says why where the table wasn't;
    `notes` what of it wasn't, or what else is wrong with its capture.
    """

    table: str
    kind: str
    rows: int = 0
    position: int = 0
    compared: tuple[str, ...] = ()
    differences: Counts = msgspec.field(default_factory=Counts)
    not_compared: str | None = None
    notes: tuple[str, ...] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The end: what was compared altogether. `notes` are about the trail as a whole."""

    tables: int
    not_compared: int
    rows: int
    differences: Counts
    size: int
    notes: tuple[str, ...] = ()
