"""Do the rows that are to be restored fit together, and with all others? In which order? Pure.

Keys and unique values may be taken by others, parents may be gone, and others may refer to what is
to be deleted: such a step (or column) becomes a conflict, until what is left fits.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from indelible.events.values import Id, Value, format_id
from indelible.questions.row_change import RowChange
from indelible.reversal.decide import summarize
from indelible.reversal.live import ForeignKey, LiveRows
from indelible.reversal.steps import Step, blame

Who = Callable[[str, Id], RowChange | None]
"""Who changed a row last, as far as is known: to name them in a conflict."""


def fit_steps(steps: Sequence[Step], live: LiveRows, who: Who) -> tuple[Step, ...]:
    """`steps` in the order in which to carry them out, with conflicts for what doesn't fit.

    Latest change first, except that what is in the way of another step goes before it. Steps that
    stand in each other's way in a circle (two rows that exchanged their keys) are unwound together,
    change by change, or are conflicts where others' changes came between. Those that write nothing
    come last.
    """
    while True:
        fitting = _Fitting(steps, live, who)
        changed = list(steps)
        for misfit in fitting.misfits():
            changed[misfit.place] = _downgrade(changed[misfit.place], misfit)
        if changed == list(steps):
            circle = fitting.circle()
            if not circle:
                return fitting.ordered()
            for place in circle:
                changed[place] = _unwind(steps[place], [steps[other] for other in circle])
        steps = changed


class _Misfit(NamedTuple):
    """The step at `place` can't be carried out, or not for `columns`."""

    place: int
    columns: tuple[str, ...]
    why: str
    by: RowChange | None = None


class _Fitting:
    """One round: the steps as they stand now, and what each of them will leave behind."""

    def __init__(self, steps: Sequence[Step], live: LiveRows, who: Who) -> None:
        self._steps = steps
        self._live = live
        self._who = who
        self._waits: dict[int, set[int]] = {}
        self._goals = [{one.column: one.goal for one in step.restored} for step in steps]
        self._places: dict[tuple[str, Id], int] = {}
        self._made: dict[tuple[str, tuple[str, ...]], dict[tuple[Value, ...], list[int]]] = {}
        for place, step in enumerate(steps):
            if step.decision == "restore" and step.verb != "insert":
                self._places[step.kind, step.id] = place
        self._unwound = [
            place for place, step in enumerate(steps) if step.unwound and step.decision == "restore"
        ]
        self._lost = {key for step in steps for key in self._keys_not_restored(step)}

    def misfits(self) -> Iterator[_Misfit]:
        for place, step in enumerate(self._steps):
            if step.decision != "restore":
                continue
            if step.verb != "delete":
                yield from self._taken(place, step)
                yield from self._without_parent(place, step)
            if step.verb != "insert":
                yield from self._referred_to(place, step)

    def circle(self) -> list[int]:
        """Places of the steps that wait for each other; none where an order was found."""
        waits = self._waits_by_node()
        stuck = set(waits) - set(self._order(waits))
        circle = {node for node in stuck if waits[node] & stuck}
        return [place for place in range(len(self._steps)) if self._node(place) in circle]

    def ordered(self) -> tuple[Step, ...]:
        places: dict[int, list[int]] = {}
        for place, step in enumerate(self._steps):
            if step.decision == "restore":
                places.setdefault(self._node(place), []).append(place)
        order = [place for node in self._order(self._waits_by_node()) for place in places[node]]
        rest = [place for place in range(len(self._steps)) if place not in set(order)]
        return tuple(self._steps[place] for place in (*order, *rest))

    def _node(self, place: int) -> int:
        """Unwound steps are one node of the order: their changes are undone in one go."""
        return self._unwound[0] if self._steps[place].unwound else place

    def _waits_by_node(self) -> dict[int, set[int]]:
        waits: dict[int, set[int]] = {}
        for place, step in enumerate(self._steps):
            if step.decision == "restore":
                node = self._node(place)
                before = {self._node(other) for other in self._waits.get(place, ())}
                waits.setdefault(node, set()).update(before - {node})
        return waits

    def _order(self, waits: Mapping[int, set[int]]) -> list[int]:
        """Nodes, latest change first, as far as none waits in a circle."""
        latest_first = sorted(waits, key=lambda node: self._steps[node].at, reverse=True)
        rank = {node: n for n, node in enumerate(latest_first)}
        left = {node: set(others) for node, others in waits.items()}
        blocks: dict[int, list[int]] = {}
        for node, others in waits.items():
            for other in others:
                blocks.setdefault(other, []).append(node)
        ready = [rank[node] for node in latest_first if not left[node]]
        heapq.heapify(ready)
        order = []
        while ready:
            node = latest_first[heapq.heappop(ready)]
            order.append(node)
            for blocked in blocks.get(node, ()):
                left[blocked].discard(node)
                if not left[blocked]:
                    heapq.heappush(ready, rank[blocked])
        return order

    def _taken(self, place: int, step: Step) -> Iterator[_Misfit]:
        """Its key, or values that no two rows share, may be somebody else's by now."""
        shape = self._live.shapes[step.kind]
        goal = self._goal_row(place)
        for columns in (shape.key, *shape.uniques):
            written = self._written(place, columns)
            values = tuple(goal.get(name) for name in columns)
            if not written or None in values:
                continue
            what = "key" if columns == shape.key else "value"
            for holder in self._live.find(step.kind, columns, values):
                if holder == step.id and step.verb == "update":
                    continue
                other = self._places.get((step.kind, holder))
                if other is not None and self._leaves(other, columns):
                    self._waits.setdefault(place, set()).add(other)
                else:
                    name = f"{step.kind}:{format_id(holder)}"
                    by = self._who(step.kind, holder)
                    yield _Misfit(place, written, f"its {what} is taken by {name}", by)
            # Of two rows that both had it once, the one that had it last gets it.
            claims = self._made_rows(step.kind, columns)[values]
            last = max(claims, key=lambda other: self._steps[other].at)
            if last != place:
                name = self._steps[last].target_text
                yield _Misfit(place, written, f"its {what} goes to {name}, which had it later")

    def _without_parent(self, place: int, step: Step) -> Iterator[_Misfit]:
        """A row that it would refer to again may be gone."""
        goal = self._goal_row(place)
        for key in self._live.foreign_keys:
            if key.child_kind != step.kind:
                continue
            written = tuple(name for name in key.columns if name in self._goals[place])
            values = tuple(goal.get(name) for name in key.columns)
            if not written or None in values:
                continue
            named = f"{key.parent_kind}:{format_id(values)}"
            if not self._will_be(key, values):
                yield _Misfit(place, written, f"it refers to {named}, which is gone")
            elif (key.parent_kind, key.parent_columns, values) in self._lost:
                yield _Misfit(place, written, f"it refers to {named}, which is another row now")
            elif key.is_immediate and not self._is_there(key, values):
                makers = self._made_rows(key.parent_kind, key.parent_columns)[values]
                self._waits.setdefault(place, set()).update(set(makers) - {place})

    def _referred_to(self, place: int, step: Step) -> Iterator[_Misfit]:
        """Others may refer to what is to be deleted, or to a key that is to change."""
        goals = self._goals[place]
        row: Mapping[str, Value] | None = None
        for key in self._live.foreign_keys:
            changed = tuple(name for name in key.parent_columns if name in goals)
            if key.parent_kind != step.kind or (
                step.verb == "update" and (not changed or key.follows_update)
            ):
                continue
            row = row or self._live.row(step.kind, step.id) or {}
            values = tuple(row.get(name) for name in key.parent_columns)
            if None in values:
                continue
            for child in self._live.find(key.child_kind, key.columns, values):
                other = self._places.get((key.child_kind, child))
                if other == place:
                    continue
                if other is not None and self._leaves(other, key.columns):
                    self._waits.setdefault(place, set()).add(other)
                else:
                    name = f"{key.child_kind}:{format_id(child)}"
                    by = self._who(key.child_kind, child)
                    yield _Misfit(place, changed, f"{name} refers to it", by)

    def _keys_not_restored(self, step: Step) -> Iterator[tuple[str, tuple[str, ...], Id]]:
        """The key that a row should have again and won't: whoever has it is another row."""
        key = self._live.shapes[step.kind].key
        if step.verb == "insert" and step.decision == "conflict":
            yield step.kind, key, step.id
        if step.verb == "update":
            kept = {one.column: one.goal for one in step.columns if one.decision == "conflict"}
            if any(name in kept for name in key):
                goal = (kept.get(name, value) for name, value in zip(key, step.id, strict=False))
                yield step.kind, key, tuple(goal)

    def _will_be(self, key: ForeignKey, values: tuple[Value, ...]) -> bool:
        """Whether a parent of these values is there once every step was carried out."""
        made = self._made_rows(key.parent_kind, key.parent_columns)
        return values in made or self._is_there(key, values)

    def _is_there(self, key: ForeignKey, values: tuple[Value, ...]) -> bool:
        """Whether a parent of these values is there now, and stays."""
        for holder in self._live.find(key.parent_kind, key.parent_columns, values):
            other = self._places.get((key.parent_kind, holder))
            if other is None or not self._leaves(other, key.parent_columns):
                return True
        return False

    def _made_rows(self, kind: str, columns: tuple[str, ...]) -> dict[tuple[Value, ...], list[int]]:
        """What these columns will be in the rows that steps write them in, and those steps."""
        made = self._made.get((kind, columns))
        if made is None:
            made = self._made[kind, columns] = {}
            for place, step in enumerate(self._steps):
                if step.kind == kind and self._written(place, columns):
                    goal = self._goal_row(place)
                    values = tuple(goal.get(name) for name in columns)
                    made.setdefault(values, []).append(place)
        return made

    def _written(self, place: int, columns: Sequence[str]) -> tuple[str, ...]:
        """Those of the columns that the step writes; a row that is inserted, all of them."""
        step = self._steps[place]
        if step.verb == "insert" and step.decision == "restore":
            return tuple(columns)
        return tuple(name for name in columns if name in self._goals[place])

    def _leaves(self, place: int, columns: Sequence[str]) -> bool:
        """Whether this step gives up the values that its row has in these columns."""
        step = self._steps[place]
        return step.verb == "delete" or any(name in self._goals[place] for name in columns)

    def _goal_row(self, place: int) -> Mapping[str, Value]:
        """The whole row as the step will leave it."""
        step = self._steps[place]
        if step.verb == "insert":
            shape = self._live.shapes[step.kind]
            key = dict(zip(shape.key, step.id, strict=False)) if shape.keyless else {}
            return {**key, **self._goals[place]}
        return {**(self._live.row(step.kind, step.id) or {}), **self._goals[place]}


def _unwind(step: Step, circle: Sequence[Step]) -> Step:
    """`step`, to be carried out change by change; a conflict where that can't be done."""
    if step.pieces and not step.has_conflict:
        return msgspec.structs.replace(step, unwound=True)
    names = ", ".join(sorted({other.target_text for other in circle}))
    why = f"no order was found that keys and references accept: {names}"
    return msgspec.structs.replace(step, decision="conflict", why=why, unwound=False)


def _downgrade(step: Step, misfit: _Misfit) -> Step:
    """`step` without what doesn't fit."""
    by = blame(misfit.by)
    # Half of it can't be unwound: decide again whether that is still needed.
    step = msgspec.structs.replace(step, unwound=False)
    if step.verb != "update" or not misfit.columns:
        return msgspec.structs.replace(step, decision="conflict", why=misfit.why, by=by)
    columns = tuple(
        msgspec.structs.replace(column, decision="conflict", why=misfit.why, by=by)
        if column.column in misfit.columns and column.decision == "restore"
        else column
        for column in step.columns
    )
    return msgspec.structs.replace(step, columns=columns, decision=summarize(columns))
