"""What a plan needs to know of the database as it is now; a database module supplies it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from indelible.events.values import Id, Value

Row = Mapping[str, Value]


class ForeignKey(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` of a child refer to `parent_columns` of the table of kind `parent_kind`.

    `follows_update`: the database itself changes the child when the parent's columns change.
    `is_immediate`: a parent has to be there before a child can refer to it.
    """

    child_kind: str
    columns: tuple[str, ...]
    parent_kind: str
    parent_columns: tuple[str, ...]
    follows_update: bool = False
    is_immediate: bool = False


class TableShape(msgspec.Struct, frozen=True, kw_only=True):
    """A table that rows may be restored in.

    `key` are the primary key's columns in its order, or the rowid's name where `keyless`.
    `columns` can be written; `computed` are those that the database computes. `uniques` are
    the sets of columns, other than the key, that no two rows share (indexes on expressions or on
    part of the rows aren't: the database refuses those itself).
    """

    kind: str
    table: str
    key: tuple[str, ...]
    keyless: bool
    columns: tuple[str, ...]
    computed: frozenset[str] = frozenset()
    uniques: tuple[tuple[str, ...], ...] = ()


class LiveRows(Protocol):
    """Reading rows as they are; in one transaction where the answers must fit together."""

    @property
    def shapes(self) -> Mapping[str, TableShape]:
        """Every table, by kind."""

    @property
    def foreign_keys(self) -> Sequence[ForeignKey]:
        """Every declared foreign key; none where the database doesn't enforce them."""

    def row(self, kind: str, row_id: Id) -> Row | None:
        """The writable columns of one row, bit for bit; None where there is none."""

    def find(self, kind: str, columns: Sequence[str], values: Sequence[Value]) -> Iterator[Id]:
        """The ids of the rows that have these values in these columns, as the database compares."""
