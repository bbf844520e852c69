"""A statement with its companions inside: one query, so one snapshot, whatever isolates it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from indelible.capture.statements.plan import Plan, Taken
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.view_keys import View

MAX_ROWS_BESIDE: Final = 100_000
"""Of a companion; what stands for more rows than these isn't told by row."""
CUT: Final = "cut"
"""Stands for rows of a companion that don't all go into one value."""


def beside_rows(
    plan: Plan, statement: Statement, shown: Statement, views: Mapping[str, View]
) -> Plan:
    """`plan` of `statement` with the text of `shown`, which is that or finds the same, and has its
    companions inside.

    What the application sees comes from its own text, as a query by itself: its plan, its order
    and which of equal values it hands out are what they were.
    """
    dialect = statement.dialect
    query = shown.spans.query
    if plan.text is None:
        text = shown.text[query.start : query.end]
    else:  # what stands behind the query's end, a semicolon perhaps, is as it was
        text = plan.text[: len(plan.text) - len(shown.text) + query.end]
    companions = plan.companions
    stamp = dialect.stamp(views.values()) if views else None
    added = len(companions) + (stamp is not None)
    return replace(
        plan,
        text=dialect.beside(statement, text, [one.text for one in companions], stamp),
        hidden=plan.hidden + added,
        beside=len(companions),
        is_stamped=stamp is not None,
        fragile=plan.fragile and plan.text is not None,
        targets=tuple(
            replace(target, taken=tuple(_before(taken, added) for taken in target.taken))
            for target in plan.targets
        ),
        placeholders=(
            *itertools.chain.from_iterable(one.parameters for one in companions),
            *range(len(statement.parameters)),
        ),
    )


def _before(taken: Taken, added: int) -> Taken:
    """`taken` where so many more columns are behind it."""

    def moved(place: int) -> int:
        return place - added if place < 0 else place

    return replace(
        taken,
        key=tuple(map(moved, taken.key)),
        subject=None if taken.subject is None else moved(taken.subject),
    )
