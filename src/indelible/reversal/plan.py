"""From changes and the rows as they are now to a plan of what reversing them would do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from indelible.events.values import Id
from indelible.questions.restores import TAKEN_BACK
from indelible.questions.row_change import RowChange
from indelible.reversal.chains import RowChains, link_rows
from indelible.reversal.decide import INVERSE, decide_row
from indelible.reversal.fit import fit_steps
from indelible.reversal.live import LiveRows, Row
from indelible.reversal.steps import Plan, Step, Unplanned


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be reversed: the events of `selected`, among everything known of their rows.

    `changes` must hold, for every row that a selected change touched, all its later changes, by
    whomever. `unplanned` are selected events that state no row and values; `taken_back` selected
    changes that the restore of a backup took back: like others' of that fate they aren't in
    `changes`.
    """

    changes: tuple[RowChange, ...]
    selected: frozenset[str]
    unplanned: tuple[Unplanned, ...] = ()
    taken_back: tuple[RowChange, ...] = ()


def plan_reversal(
    selection: Selection,
    live: LiveRows,
    *,
    force: bool = False,
    refused: Mapping[tuple[str, Id], str] = {},
) -> Plan:
    """What reversing the selected changes would do to the rows as they are now.

    Each column that nobody else has changed since goes back to what it was before the first of the
    selected changes that stand in it; all else is a conflict and is left alone. With `force`, what
    others changed since is overwritten. Rows of `refused` are conflicts: the database said why.
    The same inputs always give the same plan.
    """
    rows = link_rows(selection.changes, selection.selected)
    owners = {(row.kind, row.id): row for row in rows if row.alive}
    steps: list[Step] = []
    unplanned: list[Unplanned] = []
    for row in rows:
        shape = live.shapes.get(row.kind)
        if shape is None:
            unplanned += _of_no_table(row, selection.selected)
            continue
        lookup = _lookup(row, owners, live)
        for step in decide_row(row, lookup, shape, selection.selected, force=force):
            why = refused.get((step.kind, step.id))
            if why is not None and step.decision == "restore":
                step = msgspec.structs.replace(
                    step, decision="conflict", why=f"the database refuses it: {why}"
                )
            steps.append(step)
    last = _last_changes(rows)
    fitted = fit_steps(steps, live, lambda kind, row_id: last.get((kind, row_id)))
    gone = map(_taken_back, selection.taken_back)
    return Plan(steps=(*fitted, *gone), unplanned=(*selection.unplanned, *unplanned), force=force)


def _lookup(
    row: RowChains, owners: dict[tuple[str, Id], RowChains], live: LiveRows
) -> Callable[[Id], Row | None]:
    """Reads rows that may be `row`: none where the key went to another row that we know of."""

    def lookup(row_id: Id) -> Row | None:
        owner = owners.get((row.kind, row_id), row)
        return live.row(row.kind, row_id) if owner is row else None

    return lookup


def _taken_back(change: RowChange) -> Step:
    return Step(
        kind=change.kind,
        id=change.id,
        verb=INVERSE[change.verb],
        decision="already so",
        columns=(),
        events=(change.event,),
        at=change.position,
        why=TAKEN_BACK,
    )


def _last_changes(rows: Sequence[RowChains]) -> dict[tuple[str, Id], RowChange]:
    return {(row.kind, row.id): row.changes[-1] for row in rows if row.alive}


def _of_no_table(row: RowChains, selected: Collection[str]) -> Iterable[Unplanned]:
    return (
        Unplanned(
            event=change.event,
            time=change.time,
            action=f"{change.kind}.{change.verb}",
            why=f"the database has no table of kind {change.kind}",
        )
        for change in row.changes
        if change.event in selected
    )
