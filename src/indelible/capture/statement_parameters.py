"""The values that a statement is run with: which placeholder each belongs to, how it is shown.

A placeholder of a plan may be a collapsed IN-list, and then stands for several values.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from indelible.capture.statements.plan import Plan
from indelible.capture.statements.tokens import IN_LISTS
from indelible.errors import ValueEncodingError
from indelible.events.values import MASKED, MAX_PLAIN_INT, Value, to_value

Parameters = Sequence[object] | Mapping[str, object]


def by_name(parameters: Parameters | None) -> Mapping[str, object]:
    """So that either all or none are shown: a server's `$2` may stand before `$1`."""
    if isinstance(parameters, Mapping):
        return parameters
    if isinstance(parameters, Sequence):
        return {str(number): value for number, value in enumerate(parameters, 1)}
    return {}  # none, or what the driver has refused


def chosen_parameters(
    plan: Plan, runs: Sequence[int], parameters: Sequence[object], ordinals: Sequence[int]
) -> list[object]:
    """The values that belong to these placeholders; `runs` are how many each collapsed one has."""
    starts = [0]
    for width in _widths(plan, runs):
        starts.append(starts[-1] + width)
    return [
        value for ordinal in ordinals for value in parameters[starts[ordinal] : starts[ordinal + 1]]
    ]


def run_widths(text: str) -> list[int]:
    """How many values each IN-list of SQLite's `text` has."""
    return [run.count("?") for run in IN_LISTS.runs(text)]


def _widths(plan: Plan, runs: Sequence[int]) -> list[int]:
    """How many values each placeholder of the plan stands for."""
    following = iter(runs)
    return [next(following) if is_run else 1 for is_run in plan.collapsed]


def shown_parameters(plan: Plan, text: str, parameters: Parameters) -> tuple[Value, ...]:
    """The values that `text` was run with; those not to be kept are `masked`.

    A mapping's values stand in its own order, and are kept only if all are.
    """
    answers: Sequence[bool] = plan.parameters or ()
    if isinstance(parameters, dict | Mapping):
        answers = (all(answers),) * len(parameters)
        parameters = tuple(parameters.values())
    elif plan.has_runs:
        widths = _widths(plan, run_widths(text))
        answers = [one for one, width in zip(answers, widths, strict=True) for _ in range(width)]
    shown: list[Value] = []
    for value, keep in zip(parameters, answers):  # noqa: B905 - the driver counts them
        if not keep:
            shown.append(MASKED)
        elif type(value) is int and -MAX_PLAIN_INT <= value <= MAX_PLAIN_INT:
            shown.append(value)
        else:
            shown.append(_shown(value))
    return tuple(shown)


def _shown(value: object) -> Value:
    """`value` as the driver would store it; `masked` for what only an adapter knows how to."""
    kind = type(value)
    if kind is int or kind is str:
        return to_value(value)  # type: ignore[arg-type]
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    for base in (int, str, float, bytes):
        if isinstance(value, base) and kind not in (base, bool):
            value = base(cast("Any", value))  # an enum's, say
    try:
        return to_value(value)  # type: ignore[arg-type]
    except ValueEncodingError:
        return MASKED
