"""One row at a time: is what was done to it still there to be reversed? Pure.

Whether the rows that are to be restored fit together and with all others is decided afterwards
(`indelible.reversal.fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from indelible.events.values import ABSENT, CHANGED, ERASED, MASKED, Id, TypedValue, Value
from indelible.questions.row_change import RowChange
from indelible.reversal.chains import PRESENT, RowChains, Run
from indelible.reversal.live import Row, TableShape
from indelible.reversal.steps import ColumnStep, Decision, Piece, Step, Verb, blame

LAWFULLY_ERASED: Final = "it was lawfully erased"
_NATIVE: Final = frozenset({"int", "real", "bytes", "text"})
_SERVERS: Final = ("pg:", "my:")


INVERSE: Final[dict[Verb, Verb]] = {"insert": "delete", "update": "update", "delete": "insert"}
Lookup = Callable[[Id], Row | None]


def decide_row(
    row: RowChains, lookup: Lookup, shape: TableShape, selected: Collection[str], *, force: bool
) -> tuple[Step, ...]:
    """What reversing the selected changes of `row` means; `lookup` reads rows as they are now.

    Nothing where no selected change touched it. A row that has to stay because of what others did
    with it has a second step, for what the selected changes did to it after them. With `force` what
    others changed since is overwritten too; what can't be known (masked, kept without values,
    erased) never is.
    """
    if not any(change.event in selected for change in row.changes):
        return ()
    deciding = _Deciding(row, lookup, shape, selected, force)
    existence = row.existence.run()
    if existence is None or (existence.before == existence.after == PRESENT):
        return (deciding.undo_updates(),)
    if existence.before == existence.after:
        step = deciding.step("update", "already so", why="it was inserted and deleted again")
    elif existence.before == ABSENT:
        step = deciding.undo_insert(existence)
    else:
        step = deciding.undo_delete(existence)
    if step.decision == "restore" or (step.decision == "conflict" and step.by is None):
        return (step,)
    rest = deciding.undo_updates()
    return (step, rest) if rest.columns else (step,)


def withheld(value: Value) -> str | None:
    """Why `value` can't be written back; None for one that can."""
    if not isinstance(value, TypedValue) or value.t.startswith(_SERVERS) or value.t in _NATIVE:
        return None
    if value == MASKED:
        return "it was never captured (masked)"
    if value == CHANGED:
        return "policy keeps no values of it"
    if value == ERASED:
        return LAWFULLY_ERASED
    if value == ABSENT:
        return "the row wasn't there"
    return f"a value of type {value.t!r} can't be written to this database"


class _Deciding:
    """One row's decision in the making."""

    def __init__(
        self,
        row: RowChains,
        lookup: Lookup,
        shape: TableShape,
        selected: Collection[str],
        force: bool,
    ) -> None:
        self._row = row
        self._gone = row.existence.came_and_went()
        self._lookup = lookup
        self._shape = shape
        self._selected = selected
        self._force = force

    def undo_insert(self, run: Run) -> Step:
        row = self._row
        at = run.links[-1].change
        live = self._lookup(row.id)
        if live is None:
            return self.step("delete", "already so", at=at)
        if run.since is not None:
            return self.conflict("delete", "it was deleted and inserted again", run.since)
        if not self._force:
            other = self._changed_by_others_since(at)
            if other is not None:
                return self.conflict("delete", "it was changed since", other)
            for name, chain in row.columns.items():
                known = chain.links[-1].after if chain.links else ABSENT
                if name in live and withheld(known) is None and live[name] != known:
                    why = f"its column {name} isn't as the trail knows it"
                    return self.conflict("delete", why)
        runs = (run, *self._runs().values())
        return self.step(
            "delete", "restore", at=at, undone=_events(runs), pieces=self._pieces(runs)
        )

    def undo_delete(self, run: Run) -> Step:
        shape = self._shape
        at = run.links[-1].change
        runs = {name: found for name, found in self._runs().items() if name in at.columns}
        goals = {
            name: _goal(found, self._force) for name, found in runs.items() if name in shape.columns
        }
        row_id = at.id if shape.keyless else tuple(goals.get(name) for name in shape.key)
        live = self._lookup(row_id)
        if live is not None:
            if all(live[name] == goal for name, goal in goals.items()):
                return self.step("insert", "already so", at=at, row_id=row_id)
            return self.conflict("insert", "its key is taken again", run.since, row_id=row_id)
        if run.since is not None:
            return self.conflict("insert", "it was inserted again and is gone", run.since)
        for name, goal in goals.items():
            why = withheld(goal)
            if why is not None:
                return self.conflict("insert", f"column {name}: {why}")
        dropped = [name for name in runs if name not in shape.columns + tuple(shape.computed)]
        if dropped and not self._force:
            return self.conflict("insert", f"column {dropped[0]} no longer exists")
        columns = tuple(
            ColumnStep(column=name, decision="restore", live=ABSENT, goal=goal)
            for name, goal in goals.items()
        )
        return self.step(
            "insert",
            "restore",
            at=at,
            columns=columns,
            undone=_events((run, *runs.values())),
            pieces=self._pieces((run, *runs.values())),
            row_id=row_id,
        )

    def undo_updates(self) -> Step:
        row, shape = self._row, self._shape
        standing = {
            name: run
            for name, run in self._runs().items()
            if ABSENT not in (run.before, run.after)
            and (run.before != run.after or withheld(run.before) is not None)
        }
        if not standing:
            return self.step("update", "already so", why=self._why_nothing_stands())
        at = max(
            (run.links[-1].change for run in standing.values()), key=lambda change: change.position
        )
        goals = {
            name: _goal(run, self._force) for name, run in standing.items() if name in shape.columns
        }
        live = self._lookup(row.id)
        if live is None:
            key = dict(zip(shape.key, row.id, strict=False))
            former = tuple({**key, **goals}[name] for name in shape.key)
            moved = self._lookup(former) if former != row.id else None
            if moved is None or any(moved[name] != goal for name, goal in goals.items()):
                return self.conflict("update", "the row is gone", self._deletion())
            live = moved
        replaced = self._replaced_since(at)
        columns = tuple(
            self._undo_column(name, run, live, replaced)
            for name, run in standing.items()
            if name not in shape.computed
        )
        pieces = self._pieces(standing.values())
        return self.step("update", summarize(columns), at=at, columns=columns, pieces=pieces)

    def step(
        self,
        verb: Verb,
        decision: Decision,
        *,
        at: RowChange | None = None,
        columns: tuple[ColumnStep, ...] = (),
        undone: tuple[str, ...] = (),
        pieces: tuple[Piece, ...] = (),
        row_id: Id | None = None,
        why: str | None = None,
        by: RowChange | None = None,
    ) -> Step:
        selected = [one for one in self._row.changes if one.event in self._selected]
        return Step(
            kind=self._row.kind,
            id=self._row.id if row_id is None else row_id,
            verb=verb,
            decision=decision,
            columns=columns,
            events=tuple(one.event for one in selected),
            at=(at or selected[-1]).position,
            undone=undone,
            pieces=pieces,
            why=why,
            by=blame(by),
        )

    def conflict(
        self, verb: Verb, why: str, by: RowChange | None = None, *, row_id: Id | None = None
    ) -> Step:
        return self.step(verb, "conflict", why=why, by=by, row_id=row_id)

    def _undo_column(
        self, name: str, run: Run, live: Row, replaced: RowChange | None
    ) -> ColumnStep:
        value = live.get(name, ABSENT)
        goal = _goal(run, self._force)
        by = replaced or run.since
        decision: Decision = "conflict"
        why = None
        if name not in live:
            by, why = None, "the column no longer exists"
        elif withheld(goal) is not None:
            by, why = None, withheld(goal)
        elif value == goal:
            by, decision = None, "already so"
        elif replaced is not None:
            why = "the row was deleted and inserted again"
        elif self._force:
            decision = "restore"
        elif by is not None:
            why = "it was changed since"
        elif value != run.after:
            why = "it isn't as the trail knows it"
        else:
            decision = "restore"
        links = run.all_links if self._force else run.links
        return ColumnStep(
            column=name,
            decision=decision,
            live=value,
            goal=goal,
            events=tuple(dict.fromkeys(link.change.event for link in links)),
            why=why,
            by=blame(by),
        )

    def _pieces(self, runs: Iterable[Run]) -> tuple[Piece, ...]:
        """The changes of these runs one by one, latest first; none where others' came between."""
        links = [link for run in runs for link in run.links]
        changes = {link.change.event: link.change for link in links}
        ordered = sorted(changes.values(), key=lambda change: change.position, reverse=True)
        since = [one for one in self._row.changes if one.position >= ordered[-1].position]
        if any(one.event not in self._selected for one in since):
            return ()
        return tuple(
            Piece(
                at=change.position,
                event=change.event,
                verb=INVERSE[change.verb],
                id=change.id,
                columns={
                    name: before
                    for name, (before, _) in change.columns.items()
                    if name in self._shape.columns and withheld(before) is None
                },
            )
            for change in ordered
        )

    def _runs(self) -> dict[str, Run]:
        """The run of each column that selected changes stand in."""
        runs = ((name, chain.run(self._gone)) for name, chain in self._row.columns.items())
        return {name: run for name, run in runs if run is not None}

    def _changed_by_others_since(self, at: RowChange) -> RowChange | None:
        """The last standing change of the row that wasn't selected.

        A masked column's changes name no column, so there any update counts.
        """
        others = [
            link.change
            for chain in self._row.columns.values()
            for link in chain.effective(self._gone)
            if not link.selected
        ]
        if any(after == MASKED for _, after in at.columns.values()):
            others += [
                change
                for change in self._row.changes
                if not change.columns and change.event not in self._selected
            ]
        later = [change for change in others if change.position > at.position]
        return max(later, key=lambda change: change.position, default=None)

    def _replaced_since(self, at: RowChange) -> RowChange | None:
        """The deletion after which others made this another row; None where they put it back."""
        links = self._row.existence.links
        others = [
            link.change
            for link in links
            if not link.selected and link.change.position > at.position
        ]
        if not others:
            return None
        old = {name: before for name, (before, _) in others[0].columns.items()}
        new = {name: after for name, (_, after) in others[-1].columns.items()}
        return None if old == new else others[0]

    def _deletion(self) -> RowChange | None:
        deletions = (one for one in reversed(self._row.changes) if one.verb == "delete")
        return next(deletions, None)

    def _why_nothing_stands(self) -> str:
        if any(event in self._selected for one in self._row.changes for event in one.reverses):
            return "it was reversed before"
        return "nothing of it is left"


def summarize(columns: Sequence[ColumnStep]) -> Decision:
    """The decision of a row of these columns."""
    decisions = {column.decision for column in columns}
    if "restore" in decisions:
        return "restore"
    return "conflict" if "conflict" in decisions else "already so"


def _goal(run: Run, force: bool) -> Value:
    return run.all_links[0].before if force else run.before


def _events(runs: Iterable[Run]) -> tuple[str, ...]:
    """The events of all these runs, each once, in order."""
    changes = {link.change.event: link.change.position for run in runs for link in run.links}
    return tuple(sorted(changes, key=lambda event: changes[event]))
