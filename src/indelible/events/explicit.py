"""Explicit events: what an application says in its own words, checked where it says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypedDict, TypeVar

from indelible.errors import EventError
from indelible.events.context import current_frame
from indelible.events.model import (
    Change,
    Event,
    Kind,
    Outcome,
    Subject,
    Target,
    TargetRows,
    check_name,
)
from indelible.events.values import Id, Native, TypedValue, Value, to_value

T = TypeVar("T")
Seal = Callable[[tuple[str, str], Mapping[str, Value]], dict[str, Value]]
"""Takes a subject's kind and id, and details in clear."""
_ACTION: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_KINDS: Final = ("event", "access", "change", "decision")


class ExplicitArguments(TypedDict, total=False):
    """What may be said of an explicit event, beside its action."""

    target: Target | Sequence[Target] | None
    subject: Subject | Sequence[Subject] | None
    outcome: Outcome
    kind: Kind
    changes: Mapping[str, tuple[Native | Value, Native | Value]] | None
    reason: str | None
    details: Mapping[str, Native | Value] | None
    sealed: Mapping[str, Native | Value] | None


def explicit_event(
    action: str,
    *,
    target: Target | Sequence[Target] | None = None,
    subject: Subject | Sequence[Subject] | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    kind: Kind = "event",
    changes: Mapping[str, tuple[Native | Value, Native | Value]] | None = None,
    reason: str | None = None,
    details: Mapping[str, Native | Value] | None = None,
    sealed: Mapping[str, Native | Value] | None = None,
    seal: Seal | None = None,
    transaction: str | None = None,
) -> Event:
    """The event that says this, by whoever is acting now (`acting_as`).

    `reason` overrides the frame's. Targets of one kind share one `TargetRows`. What is `sealed`
    stands among the details as `seal` gives it for the one subject. Raises `EventError` naming the
    argument that can't be written down, and what `seal` raises.
    """
    if not isinstance(action, str) or not _ACTION.fullmatch(action):
        raise EventError(f"expected an action like 'invoice.refund', got {action!r}")
    if kind not in _KINDS:
        raise EventError(f"expected kind as one of {', '.join(_KINDS)}, got {kind!r}")
    if not isinstance(outcome, Outcome):
        raise EventError(f"expected an Outcome, got {type(outcome).__name__}")
    frame = current_frame()
    subjects = _subjects(_listed(subject, Subject, "subject"))
    told = {name: _value(value) for name, value in details.items()} if details else {}
    if sealed:
        told |= _sealed(sealed, subjects, told, seal)
    return Event(
        action=action,
        kind=kind,
        outcome=outcome,
        actor=frame.actor if frame else None,
        targets=_targets(_listed(target, Target, "target")),
        subjects=subjects,
        changes=_changes(changes) if changes is not None else None,
        reason=reason if reason is not None else frame.reason if frame else None,
        context=frame.context or None if frame else None,
        transaction=transaction,
        decision=frame.decision if frame else None,
        details=told or None,
    )


def _listed(given: object, kind: type[T], what: str) -> list[T]:
    if given is None:
        return []
    items: list[T] = []
    for item in given if isinstance(given, list | tuple) else (given,):
        if not isinstance(item, kind):
            raise EventError(f"expected {what} as {kind.__name__}, got {type(item).__name__}")
        items.append(item)
    return items


def _targets(targets: Sequence[Target]) -> tuple[TargetRows, ...]:
    by_kind: dict[str, dict[Id, None]] = {}
    for each in targets:
        row_id = tuple(_value(value) for value in each.row_id)
        by_kind.setdefault(each.kind, {})[row_id] = None
    return tuple(TargetRows(kind, tuple(ids)) for kind, ids in by_kind.items())


def _subjects(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    for each in subjects:
        check_name("subject", each.kind, "unknown" if each.id is None else each.id)
    return tuple(dict.fromkeys(subjects))


def _sealed(
    sealed: Mapping[str, Native | Value],
    subjects: Sequence[Subject],
    details: Collection[str],
    seal: Seal | None,
) -> dict[str, Value]:
    if len(subjects) != 1 or subjects[0].id is None:
        raise EventError(
            f"expected one subject beside sealed, for whom it is sealed; got {len(subjects)}"
        )
    if seal is None:
        raise EventError("expected sealed in `Trail.record` only: there is no keystore here")
    if both := sorted(set(sealed) & set(details)):
        raise EventError(f"expected each detail once, got {', '.join(both)} sealed and in clear")
    values = {name: _value(value) for name, value in sealed.items()}
    return seal((subjects[0].kind, subjects[0].id), values)


def _changes(
    changes: Mapping[str, tuple[Native | Value, Native | Value]],
) -> dict[str, Change]:
    written = {}
    for column, pair in changes.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise EventError(f"expected changes[{column!r}] as (before, after)")
        written[column] = (_value(pair[0]), _value(pair[1]))
    return written


def _value(given: Native | Value) -> Value:
    return given if isinstance(given, TypedValue) else to_value(given)
