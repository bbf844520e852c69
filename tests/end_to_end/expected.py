"""What reversing one actor must leave, worked out from what the oracle saw and nothing else.

Latest change first: a column that is as the actor left it goes back, one that is so already stays,
one that is anything else is a conflict. `without` says the same from the other side: the values
that the others alone would have left. Values that are kept out of the trail can't be restored:
a masked column's update is nothing that the trail knows, all else of theirs is a conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from indelible import Actor

from .oracle import Step
from .snapshots import (
    ABSENT,
    Bits,
    Key,
    Row,
    RowChange,
    Snapshot,
    Table,
    copy_of,
    difference,
)
from .withheld import WITHOUT_VALUES, veiled, withheld_columns

Name = tuple[str, str]
"""An actor, whomever they acted for."""


def name_of(actor: Actor | None) -> Name | None:
    return None if actor is None else (actor.kind, actor.id)


@dataclass(eq=False)
class Life:
    """One row through all its keys: `key` is where it stands, or stood when it was deleted."""

    table: str
    key: Key
    alive: bool = True
    changes: list[tuple[Name | None, RowChange]] = field(default_factory=list)


@dataclass
class Reversal:
    """The rows that are left, the rows that a person must look at, and what was done."""

    rows: Snapshot
    conflicts: set[tuple[str, Key]] = field(default_factory=set)
    changes: list[RowChange] = field(default_factory=list)


History = list[tuple[Name | None, RowChange]]


def history_of(steps: Iterable[Step]) -> History:
    return [(name_of(step.actor), change) for step in steps for change in step.changes]


def lives_of(history: History) -> list[Life]:
    """The rows that `history` touches, in the order in which it first does."""
    lives: list[Life] = []
    standing: dict[tuple[str, Key], Life] = {}
    gone: dict[tuple[str, Key], Life] = {}
    for name, change in history:
        place = change.before if change.before is not None else change.after
        assert place is not None
        if change.before is None:
            life = gone.pop((change.table, place), None)
        else:
            life = standing.pop((change.table, place), None)
        if life is None:
            life = Life(change.table, place)
            lives.append(life)
        life.changes.append((name, change))
        life.alive = change.after is not None
        life.key = change.after if change.after is not None else place
        (standing if life.alive else gone)[change.table, life.key] = life
    return lives


def reverse(who: Name, history: History, live: Snapshot, tables: Mapping[str, Table]) -> Reversal:
    """What reversing all that `who` did must do to `live`."""
    lives = lives_of(history)
    order = {id(change): n for n, (_, change) in enumerate(history)}
    own = [
        (order[id(change)], life, change)
        for life in lives
        for name, change in life.changes
        if name == who
    ]
    undoing = _Undoing(tables, copy_of(live))
    for _, life, change in sorted(own, key=lambda found: found[0], reverse=True):
        undoing.undo(life, change)
    undoing.name_withheld()
    undoing.drop_orphans(live)
    return Reversal(undoing.rows, undoing.conflicts, difference(live, undoing.rows, undoing.moves))


class _Undoing:
    """The rows while a reversal is worked out."""

    def __init__(self, tables: Mapping[str, Table], rows: Snapshot) -> None:
        self.rows = rows
        self.conflicts: set[tuple[str, Key]] = set()
        self.moves: dict[str, dict[Key, Key]] = {}
        self._tables = tables
        self._judged: set[tuple[int, str]] = set()
        self._withheld: list[Life] = []

    def undo(self, life: Life, change: RowChange) -> None:
        rows = self.rows[life.table]
        if change.before is None:
            self._undo_insert(life, change, rows)
        elif change.after is None:
            self._undo_delete(life, change, rows)
        else:
            self._undo_update(life, change, rows)

    def _undo_insert(self, life: Life, change: RowChange, rows: dict[Key, Row]) -> None:
        if life.key not in rows:
            return
        inserted = {column: after for column, (_, after) in change.columns.items()}
        found = veiled(life.table, rows[life.key])
        if found != veiled(life.table, inserted) or self._is_referred_to(
            life.table, rows[life.key]
        ):
            self.conflicts.add((life.table, life.key))
        else:
            del rows[life.key]

    def _undo_delete(self, life: Life, change: RowChange, rows: dict[Key, Row]) -> None:
        goal = {column: before for column, (before, _) in change.columns.items()}
        assert change.before is not None
        found = rows.get(change.before)
        if found is None and withheld_columns(life.table):
            self.conflicts.add((life.table, change.before))
        elif found is None:
            rows[change.before] = goal
            life.key = change.before
        elif found != goal:
            self.conflicts.add((life.table, change.before))

    def _undo_update(self, life: Life, change: RowChange, rows: dict[Key, Row]) -> None:
        row = rows.get(life.key)
        if row is None:
            self.conflicts.add((life.table, life.key))
            return
        # Without a key the rowid only stands for the row: it is nothing that was changed.
        has_key = bool(self._tables[life.table].key)
        is_moved = has_key and change.before != change.after and life.key == change.after
        if is_moved and change.before in rows:
            self.conflicts.add((life.table, life.key))
            return
        for column, (before, after) in change.columns.items():
            if column in withheld_columns(life.table):
                if column in WITHOUT_VALUES.get(life.table, ()):
                    self._withheld.append(life)
            elif row[column] == after:
                row[column] = before
            elif row[column] != before and (id(life), column) not in self._judged:
                self.conflicts.add((life.table, life.key))
            self._judged.add((id(life), column))
        if is_moved:
            assert change.before is not None
            rows[change.before] = rows.pop(life.key)
            self.moves.setdefault(life.table, {})[life.key] = change.before
            life.key = change.before

    def name_withheld(self) -> None:
        """A row that is still there has a column that can't be put back."""
        for life in self._withheld:
            if life.key in self.rows[life.table]:
                self.conflicts.add((life.table, life.key))

    def _is_referred_to(self, table: str, row: Row) -> bool:
        return any(
            self._refer(child.name, own, tuple(row[column] for column in theirs))
            for child in self._tables.values()
            for own, parent, theirs in child.references
            if parent == table
        )

    def _refer(self, child: str, columns: Sequence[str], values: Key) -> bool:
        return any(
            tuple(row[column] for column in columns) == values for row in self.rows[child].values()
        )

    def drop_orphans(self, live: Snapshot) -> None:
        """What would refer to a row that isn't there can't come back."""
        again = True
        while again:
            again = False
            for table in self._tables.values():
                for key in self._changed_keys(table.name, live):
                    if self._is_orphan(table, self.rows[table.name][key]):
                        del self.rows[table.name][key]
                        if key in live[table.name]:
                            self.rows[table.name][key] = dict(live[table.name][key])
                        self.conflicts.add((table.name, key))
                        again = True

    def _changed_keys(self, table: str, live: Snapshot) -> list[Key]:
        return [key for key, row in self.rows[table].items() if live[table].get(key) != row]

    def _is_orphan(self, table: Table, row: Row) -> bool:
        for own, parent, theirs in table.references:
            values = tuple(row[column] for column in own)
            if None not in values and not self._has(parent, theirs, values):
                return True
        return False

    def _has(self, parent: str, columns: Sequence[str], values: Key) -> bool:
        if columns == self._tables[parent].key:
            return values in self.rows[parent]
        return self._refer(parent, columns, values)


def without(who: Name, history: History, live: Snapshot) -> dict[tuple[str, Key], Row | None]:
    """Each row that `who` touched as the others alone would have left it; None: not there.

    A key that another row has taken since isn't among them.
    """
    found: dict[tuple[str, Key], Row | None] = {}
    for life in lives_of(history):
        if not any(name == who for name, _ in life.changes):
            continue
        first = life.changes[0][1]
        row: Row = {}
        if life.alive:
            row = dict(live[life.table][life.key])
        values: dict[str, Bits] = {}
        for name, change in life.changes:
            for column, (before, after) in change.columns.items():
                values.setdefault(column, before)
                if name != who:
                    values[column] = after
        row |= values
        there = first.before is not None
        for name, change in life.changes:
            if name != who and (change.before is None or change.after is None):
                there = change.after is not None
        key = _key_without(who, life)
        found[life.table, key] = row if there and ABSENT not in row.values() else None
    taken = {(life.table, life.key) for life in lives_of(history) if life.alive}
    return {place: row for place, row in found.items() if row is not None or place not in taken}


def _key_without(who: Name, life: Life) -> Key:
    first = life.changes[0][1]
    key = first.before if first.before is not None else first.after
    for name, change in life.changes:
        if name != who and change.before is not None and change.after is not None:
            key = change.after if change.before != change.after else key
    assert key is not None
    return key
