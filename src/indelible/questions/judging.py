"""Does an event concern whom or what was asked for: certainly, possibly, or not at all? Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from indelible.events.model import Actor, Event, Outcome, Subject, Target
from indelible.events.values import Id, format_id

NOT_COMMITTED: Final = "it was made in a transaction of which no commit is known"


class Rows(Protocol):
    """What judging needs of a target: `TargetRows`, or a narrower view of one."""

    @property
    def kind(self) -> str: ...
    @property
    def coverage(self) -> str: ...
    @property
    def why(self) -> str | None: ...
    @property
    def possible_subjects(self) -> tuple[Subject, ...]: ...


def is_by(actor: Actor | None, by: Actor, *, also_as: bool) -> bool:
    """Whether `actor` is `by`; with `also_as` also whether it acted on behalf of `by`."""
    if actor is None:
        return False
    if actor.kind == by.kind and actor.id == by.id:
        return True
    return also_as and is_by(actor.on_behalf_of, by, also_as=True)


def is_done(outcome: Outcome) -> bool:
    """Whether anything can have come of it: what was denied changed and showed nothing."""
    return outcome is not Outcome.DENIED


def outcome_doubt(outcome: Outcome) -> str | None:
    """Why a failed action may have done what it set out to do."""
    return "it failed, perhaps half-way" if outcome is Outcome.FAILURE else None


def coverage_doubt(targets: Iterable[Rows]) -> str | None:
    """Why some target wasn't seen exactly; None where all were."""
    for target in targets:
        if target.coverage != "exact":
            return _inexact(target)
    return None


def concerns_subject(
    subjects: Collection[Subject], targets: Iterable[Rows], of: Subject, kinds: Collection[str]
) -> tuple[bool, str | None]:
    """(whether the event may have touched `of`'s data, why it is only possible or None).

    `kinds` are those of the tables that hold data of subjects of this kind: a target of such a
    kind that names neither rows nor possible subjects may be anybody's.
    """
    if of in subjects:
        return True, None
    why = None
    if Subject(of.kind, None) in subjects:
        why = f"the {of.kind} whose data it was couldn't be told"
    for target in targets:
        if target.coverage == "exact":
            continue
        if target.possible_subjects:
            if of in target.possible_subjects or Subject(of.kind, None) in target.possible_subjects:
                why = why or _inexact(target)
        elif target.kind in kinds:
            why = why or _inexact(target)
    return why is not None, why


def concerns_target(event: Event, target: Target) -> tuple[bool, str | None]:
    """(whether the event may have touched `target`, why it is only possible or None)."""
    name = format_id(target.row_id)
    why = None
    for rows in event.targets:
        if rows.kind != target.kind:
            continue
        if has_row(rows.ids, name) or has_row(rows.ids_before, name):
            if rows.coverage == "exact":
                return True, None
            why = why or _inexact(rows)
        elif rows.coverage == "statement" or (rows.coverage == "superset" and not rows.ids):
            why = why or _inexact(rows)
    return why is not None, why


def has_row(ids: Iterable[Id], name: str) -> bool:
    """Whether one of `ids` goes by this name."""
    return any(format_id(row_id) == name for row_id in ids)


def _inexact(target: Rows) -> str:
    reason = f": {target.why}" if target.why else ""
    if target.coverage == "superset":
        return f"some of the {target.kind} rows named may not have been touched{reason}"
    return f"which {target.kind} rows it touched couldn't be seen{reason}"
