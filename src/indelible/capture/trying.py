"""When the text of a plan takes the place of a statement's own: once the server explained it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from indelible.capture.statement_parameters import chosen_parameters
from indelible.capture.statements.plan import Plan
from indelible.capture.statements.planner import Entry
from indelible.capture.statements.tokens import InLists, expand

_TRIES: Final = 3


def rewritten(plan: Plan, text: str, in_lists: InLists) -> str:
    """What `plan` makes of `text`."""
    own = plan.text or ""
    if not plan.has_runs:
        return own
    runs = in_lists.runs(text)
    if plan.placeholders is not None:
        in_order = list(itertools.accumulate(plan.collapsed, initial=0))
        runs = tuple(runs[in_order[each]] for each in plan.placeholders if plan.collapsed[each])
    return expand(own, runs)


def repeated(plan: Plan, text: str, parameters: Any, in_lists: InLists) -> Any:
    """The values for what `plan` makes of `text`: more than its own, where they go by place and
    placeholders stand in it again."""
    if plan.placeholders is None or not (
        plan.goes_by_place and isinstance(parameters, tuple | list)
    ):
        return parameters
    runs = in_lists.runs(text)
    if any(run.startswith("$") for run in runs):
        return parameters  # numbered, all of them
    widths = [run.count("%s") for run in runs]
    return chosen_parameters(plan, widths, parameters, plan.placeholders)


def settle(
    entry: Entry,
    text: str,
    parameters: Any,
    in_lists: InLists,
    explain: Callable[[str, Any], object | None],
    *,
    is_lost: Callable[[], bool] = lambda: False,
) -> Plan:
    """The plan to follow now. A rewritten text is one only if `entry` is trusted afterwards.

    `explain` tells how the server would go about a text with these values; None where it wouldn't,
    or can't be asked (`is_lost`: which says nothing of the text).
    """
    while not entry.is_trusted:
        plan = entry.plan
        changed = explain(
            rewritten(plan, text, in_lists), repeated(plan, text, parameters, in_lists)
        )
        if changed is None or plan.fragile:
            own = explain(text, parameters)
            lost = is_lost()
            if own is None and (lost or entry.tries < _TRIES):
                entry.tries += not lost
                return plan  # the original fails by itself: its own error must be seen
            if changed is None or changed != own:
                entry.give_up(plan)
                continue
        entry.trust(plan)
    return entry.plan
