"""Rows that were nested in each other are read in the order in which they happened.

A nest is what one statement of a client's recorded of one table. Its rows keep their numbers and
their times: the changes move. The rows of a nest say all that is needed for that, and stay in the
outbox until the last of them is delivered, so whoever reads any of them finds the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.capture.change_drafts import OutboxNotice, OutboxRow
from indelible.capture.outbox_layout import Layout
from indelible.capture.postgres.nested_order import NestedChange, Put, find_moves
from indelible.capture.postgres.schema import named_sql
from indelible.capture.postgres.triggers import can_look
from indelible.capture.postgres.values import ROWS
from indelible.capture.text_rows import TableRows, gone_places
from indelible.errors import MalformedEventError
from indelible.events.values import Native

if TYPE_CHECKING:
    from psycopg import Cursor

_ROWS_AT_ONCE: Final = 5_000
_OWN: Final = 2
"""So many of a row's columns are of its number, not of what it says: the number and the time."""


class Nest(NamedTuple):
    """Rows of one transaction and one layout with numbers above `begun`, up to `until`."""

    xid: int
    layout: int
    begun: int
    until: int


class Nests:
    """Remembers of the nests that were read last which rows of theirs move."""

    def __init__(self) -> None:
        self._moves: dict[Nest, dict[int, int]] = {}
        self._notices: list[OutboxNotice] = []

    def take_notices(self) -> list[OutboxNotice]:
        """Of nests read since this was called last: what a person has to see."""
        notices, self._notices = self._notices, []
        return notices

    def in_order(
        self, cursor: Cursor[Any], rows: Sequence[OutboxRow], layouts: Mapping[int, Layout]
    ) -> list[OutboxRow]:
        """`rows`, which are ascending and committed, with the changes that belong at their numbers.

        Raises `psycopg.Error`.
        """
        if not rows:
            return []
        moves = self._find_moves(cursor, rows[0][0], rows[-1][0], layouts)
        others = [moves.get(row[0]) for row in rows]
        wanted = [number for number in others if number is not None]
        if not wanted:
            return list(rows)
        said = {row[0]: row for row in cursor.execute(_sql("read_these"), (wanted,)).fetchall()}
        return [
            row[:_OWN] + said[other][_OWN:] if other is not None else row
            for row, other in zip(rows, others, strict=True)
        ]

    def _find_moves(
        self, cursor: Cursor[Any], since: Native, until: Native, layouts: Mapping[int, Layout]
    ) -> dict[Native, int]:
        known, self._moves = self._moves, {}
        between = {"since": since, "until": until}
        for nest in map(Nest._make, cursor.execute(_sql("nests"), between).fetchall()):
            layout = layouts.get(nest.layout)
            if nest in known:
                self._moves[nest] = known[nest]
            elif layout is not None:
                moves = find_moves(list(_changes(cursor, nest, layout)))
                self._moves[nest] = moves.numbers
                # Without a key rows of equal values are one.
                if layout.key and not moves.is_clear:
                    self._notices.append(_unclear_notice(nest, layout))
        return {seq: other for moves in self._moves.values() for seq, other in moves.items()}


def _unclear_notice(nest: Nest, layout: Layout) -> OutboxNotice:
    return OutboxNotice(
        "nest.unclear",
        f"{layout.table}: what one statement wrote fits into no order; what its rows were during "
        "that and behind it may be wrong (`indelible reconcile` shows the latter)",
        {"outbox_ids": f"{nest.begun + 1}-{nest.until}", "table": layout.table},
    )


def _changes(cursor: Cursor[Any], nest: Nest, layout: Layout) -> Iterator[NestedChange]:
    reader = _PlaceReader(layout)
    since = nest.begun
    while rows := cursor.execute(
        _sql("nested"), {**nest._asdict(), "since": since, "limit": _ROWS_AT_ONCE}
    ).fetchall():
        for row in rows:
            try:
                yield reader.change(*row)
            except MalformedEventError:
                continue
        since = rows[-1][0]


class _PlaceReader:
    """Tells from rows of the outbox which rows of the table they are of."""

    def __init__(self, layout: Layout) -> None:
        self._rows = TableRows(layout, ROWS)
        self._can_look = can_look(layout)

    def change(
        self,
        seq: int,
        depth: int,
        old: str | None,
        new: str | None,
        changed: str | None,
        left_old: str | None,
        left_new: str | None,
        was_looked_at: bool,
    ) -> NestedChange:
        """Raises `MalformedEventError` for a row that isn't of this layout."""
        gone = gone_places(changed)
        before = self._put(old, gone)
        after = self._put(new, gone)
        left: list[Put] = []
        if was_looked_at and self._can_look and gone is None:
            if before is not None and (after is None or before.place != after.place):
                left += self._found(before.place, left_old)
            if after is not None:
                left += [after] if left_new is None else self._found(after.place, left_new)
        return NestedChange(seq, depth, before, after, tuple(left))

    def _put(self, text: str | None, gone: Collection[int] | None = None) -> Put | None:
        if text is None:
            return None
        image = hashlib.blake2b(text.encode(), digest_size=16).digest()
        # Without a key rows go by all their values.
        is_keyed = self._rows.layout.key
        return Put(self._rows.read(text, gone or ()).id if is_keyed else image, image)

    def _found(self, place: Hashable, text: str | None) -> list[Put]:
        there = self._put(text or None)
        if there is None:
            return [Put(place, None)]
        # The key's `=` may find a row that goes by another name: -0 for 0.
        return [there] if there.place == place else [Put(place, None), there]


def _sql(name: str) -> str:
    return named_sql("outbox.sql")[name]
