"""The values that a statement is run with: which placeholder each belongs to, how it is shown.

A placeholder of a plan may be a collapsed run of `?`, and then stands for several values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, cast

from indelible.capture.statements.plan import Plan
from indelible.capture.statements.tokens import runs
from indelible.errors import ValueEncodingError
from indelible.events.values import MASKED, MAX_PLAIN_INT, Value, to_value

Parameters = Sequence[object] | Mapping[str, object]


def kept_parameters(plan: Plan, text: str) -> Sequence[bool]:
    """Of each value of `text`, whether it may be written down."""
    answers = plan.parameters or ()
    if not plan.has_runs:
        return answers
    return [
        answer
        for answer, width in zip(answers, _widths(plan, text), strict=True)
        for _ in range(width)
    ]


def chosen_parameters(
    plan: Plan, text: str, parameters: Sequence[object], ordinals: Sequence[int]
) -> list[object]:
    """The values that belong to these placeholders."""
    starts = [0]
    for width in _widths(plan, text):
        starts.append(starts[-1] + width)
    return [
        value for ordinal in ordinals for value in parameters[starts[ordinal] : starts[ordinal + 1]]
    ]


def _widths(plan: Plan, text: str) -> list[int]:
    """How many values each placeholder of the plan stands for in `text`."""
    originals = iter(runs(text))
    return [next(originals).count("?") if is_run else 1 for is_run in plan.collapsed]


def shown_parameters(parameters: Parameters, kept: Sequence[bool]) -> tuple[Value, ...]:
    """The values that a statement was run with; those not to be kept are `masked`.

    `kept` holds one answer for each value. A mapping's values stand in its own order, and are
    kept only if all are.
    """
    if isinstance(parameters, dict | Mapping):
        kept = (all(kept),) * len(parameters)
        parameters = tuple(parameters.values())
    shown: list[Value] = []
    for value, keep in zip(parameters, kept):  # noqa: B905 - the driver counts them
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
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    for base in (int, str, float, bytes):
        if isinstance(value, base) and kind not in (base, bool):
            value = base(cast("Any", value))  # an enum's, say
    try:
        return to_value(value)  # type: ignore[arg-type]
    except ValueEncodingError:
        return MASKED
