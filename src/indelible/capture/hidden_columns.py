"""The columns that a plan added to its statement: told from the application's own, taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final, TypeVar

from indelible.capture.extraction import Row
from indelible.capture.statements.plan import Plan

T = TypeVar("T")

_first: Final = itemgetter(0)


def is_as_planned(plan: Plan, description: Sequence[T] | None, name_of: Callable[[T], str]) -> bool:
    """Whether the columns have the names that the plan counts on: else the schema is another."""
    columns = description or ()
    return all(
        place < len(columns) and name_of(columns[place]).lower() == name.lower()
        for place, name in plan.checked_names
    )


def visible_places(
    plan: Plan, description: Sequence[T] | None, name_of: Callable[[T], str]
) -> tuple[int, ...]:
    """Where the application's own columns stand, of a plan that hides others among them."""
    return tuple(
        place
        for place, column in enumerate(description or ())
        if not name_of(column).startswith(plan.prefix)
    )


def without_last(rows: list[Row], hidden: int) -> list[Row]:
    """`rows` without their last `hidden` columns."""
    if len(rows) == 1:
        return [rows[0][:-hidden]]
    if rows and len(rows[0]) == hidden + 1:
        return list(zip(map(_first, rows)))
    return list(map(itemgetter(slice(0, -hidden)), rows))


def only_at(rows: list[Row], places: Sequence[int]) -> list[Row]:
    """`rows` with nothing but what stands at `places`."""
    return [tuple([row[place] for place in places]) for row in rows]
