"""The standing changes of each row, column by column: what was reversed since is taken out.

A row is followed through its changed keys, and through deletion to the next insertion of its key.
Its existence is one more column, absent or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Final

import msgspec

from indelible.events.values import ABSENT, Id, Value
from indelible.questions.row_change import Position, RowChange

PRESENT: Final = True
"""Of the existence of a row that is there; one that isn't is `ABSENT`."""
Span = tuple[Position, Position]
"""The positions of a first and a last change."""


class Link(msgspec.Struct, frozen=True):
    """One column's part in one change. `selected`: it is to be reversed."""

    change: RowChange
    before: Value
    after: Value
    selected: bool


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The last selected changes of a column that nobody else's came between.

    Reversed, the column is `before` again; as they left it, it is `after`. `all_links` are all
    selected changes of the column, also those that somebody else's came after. `since` is the last
    change by somebody else that came after the run, if any.
    """

    links: tuple[Link, ...]
    all_links: tuple[Link, ...]
    since: RowChange | None

    @property
    def before(self) -> Value:
        return self.links[0].before

    @property
    def after(self) -> Value:
        return self.links[-1].after


class Chain:
    """The standing changes of one column, oldest first."""

    __slots__ = ("_reversed", "links")

    def __init__(self) -> None:
        self.links: list[Link] = []
        self._reversed: dict[str, list[Link]] = {}

    def append(self, link: Link) -> None:
        """Add a later change; one that reverses the last ones takes them out instead."""
        is_reversal = bool(link.change.reverses) and not link.selected
        if not (is_reversal and (self._take_out(link) or self._put_back(link))):
            self.links.append(link)

    def forget_detour(self, reversal: RowChange) -> None:
        """Take out the last changes if `reversal` reversed them and they led back to the start.

        A row deleted and inserted again is put right by an update, which changes no existence.
        """
        start = self._tail_reversed_by(reversal)
        if start < len(self.links) and self.links[start].before == self.links[-1].after:
            del self.links[start:]

    def run(self, without: Sequence[Span] = ()) -> Run | None:
        """The last run of selected changes; None where none stands."""
        links = self.effective(without)
        end = len(links)
        while end and not links[end - 1].selected:
            end -= 1
        if not end:
            return None
        start = end - 1
        while start and links[start - 1].selected:
            start -= 1
        return Run(
            links=tuple(links[start:end]),
            all_links=tuple(link for link in links if link.selected),
            since=links[-1].change if end < len(links) else None,
        )

    def effective(self, without: Sequence[Span] = ()) -> list[Link]:
        """The standing changes, without those by which others came back to where they began, nor
        any in these spans of positions."""
        standing = [
            link
            for link in self.links
            if not any(first <= link.change.position <= last for first, last in without)
        ]
        kept: list[Link] = []
        for selected, group in groupby(standing, key=lambda link: link.selected):
            links = list(group)
            if selected or links[0].before != links[-1].after:
                kept += links
        return kept

    def came_and_went(self) -> Sequence[Span]:
        """Of existence: when there was a row that others inserted and deleted again.

        What was done to its columns meanwhile, by whomever, is gone with it.
        """
        spans = []
        for selected, group in groupby(self.links, key=lambda link: link.selected):
            links = list(group)
            if not selected and links[0].before == links[-1].after == ABSENT:
                spans.append((links[0].change.position, links[-1].change.position))
        return spans

    def _take_out(self, link: Link) -> bool:
        start = self._tail_reversed_by(link.change)
        taken = self.links[start:]
        if not taken or taken[0].before != link.after or taken[-1].after != link.before:
            return False
        self._reversed[link.change.event] = taken
        del self.links[start:]
        return True

    def _tail_reversed_by(self, reversal: RowChange) -> int:
        """From where on all links are of events that `reversal` reverses.

        What came after those and led back to where they had ended counts as one of them.
        """
        end = len(self.links)
        while end and self.links[end - 1].change.event not in reversal.reverses:
            end -= 1
        if end < len(self.links) and self.links[end].before != self.links[-1].after:
            return len(self.links)
        start = end
        while start and self.links[start - 1].change.event in reversal.reverses:
            start -= 1
        return start if start < end else len(self.links)

    def _put_back(self, link: Link) -> bool:
        """A reversal was itself reversed: what it took out stands again."""
        for event in link.change.reverses:
            taken = self._reversed.get(event)
            if taken and taken[0].before == link.before and taken[-1].after == link.after:
                self.links += self._reversed.pop(event)
                return True
        return False


class RowChains:
    """One row: `id` is where it stands after its last change, or stood when it was deleted."""

    __slots__ = ("alive", "changes", "columns", "existence", "id", "kind")

    def __init__(self, kind: str, row_id: Id) -> None:
        self.kind = kind
        self.id = row_id
        self.alive = True
        self.existence = Chain()
        self.columns: dict[str, Chain] = {}
        self.changes: list[RowChange] = []

    def append(self, change: RowChange, *, selected: bool) -> None:
        self.changes.append(change)
        self.id = change.id
        self.alive = change.verb != "delete"
        if change.verb == "insert":
            self.existence.append(Link(change, ABSENT, PRESENT, selected))
        elif change.verb == "delete":
            self.existence.append(Link(change, PRESENT, ABSENT, selected))
        elif change.reverses and not selected:
            self.existence.forget_detour(change)
        for name, (before, after) in change.columns.items():
            chain = self.columns.setdefault(name, Chain())
            chain.append(Link(change, before, after, selected))


def link_rows(changes: Iterable[RowChange], selected: Collection[str]) -> Sequence[RowChains]:
    """Every row that `changes` touch, by their first change; any order of changes will do."""
    rows: list[RowChains] = []
    alive: dict[tuple[str, Id], RowChains] = {}
    dead: dict[tuple[str, Id], list[RowChains]] = {}
    touched: dict[str, RowChains] = {}
    for change in sorted(changes, key=lambda change: change.position):
        before, after = (change.kind, change.id_before), (change.kind, change.id)
        row = alive.pop(before, None)
        if row is None and change.verb == "insert":
            # A reversal may bring a row back under the key that it had before it was changed.
            brought_back = (touched[event] for event in change.reverses if event in touched)
            row = next((one for one in brought_back if not one.alive), None)
            waiting = dead.get(before if row is None else (row.kind, row.id), [])
            if row is not None:
                waiting.remove(row)
            elif waiting:
                row = waiting.pop()
        if row is None:
            row = RowChains(change.kind, change.id_before)
            rows.append(row)
        row.append(change, selected=change.event in selected)
        touched[change.event] = row
        if row.alive:
            alive[after] = row
        else:
            dead.setdefault(after, []).append(row)
    return rows
