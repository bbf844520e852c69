"""What the rows of one statement say of each table: its ids, how surely, whose data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from indelible.capture.access_event import AccessTarget, SubjectPair
from indelible.capture.extraction import Extracted, Row
from indelible.capture.statements.plan import Plan, TargetPlan
from indelible.events.model import Coverage

_NOT_ALL_FETCHED: Final = "rows of which not all were fetched"

Named = tuple[list[AccessTarget], tuple[SubjectPair, ...]]
"""Targets, and the subjects of those that are exact."""


def unnamed_targets(plan: Plan, why: str) -> Named:
    """What is known of a run whose keys can't be: that it was."""
    targets = [_target(one, Extracted(), "statement", why, False) for one in plan.targets]
    return [target for target, _ in targets], ()


def named_targets(
    plan: Plan,
    rows: Sequence[Row],
    companion_rows: Sequence[Sequence[Row]],
    *,
    is_first: bool,
    is_whole: bool,
) -> Named:
    """What `rows` name, and what the plan's companions found.

    Later events of a statement (`is_first` False) leave out targets of which they name nothing.
    `is_whole`: no further rows will be handed over, and all before them were.
    """
    targets: list[AccessTarget] = []
    subjects: dict[SubjectPair, None] = {}
    for number, one in enumerate(plan.targets):
        extracted = Extracted()
        coverage, why = one.coverage, one.why
        knows_subject = False
        for taken in one.taken:
            extracted.add(taken, rows)
            knows_subject |= taken.subject is not None or taken.array_subject
        for companion, found in zip(plan.companions, companion_rows, strict=False):
            for served, taken in companion.taken:
                if served != number:
                    continue
                extracted.add(taken, found)
                knows_subject |= taken.subject is not None or taken.array_subject
                is_exact = is_whole if companion.whole else len(found) <= 1 or not companion.single
                if coverage == "exact" and not is_exact:
                    coverage, why = "superset", _NOT_ALL_FETCHED
        if one.is_withheld:
            extracted, coverage, why = Extracted(), one.coverage, one.why
        if not is_first and not extracted.ids:
            continue
        target, named = _target(one, extracted, coverage, why, knows_subject)
        targets.append(target)
        if coverage == "exact":
            subjects.update(dict.fromkeys(named))
    return targets, tuple(subjects)


def sliced(named: Named, size: int) -> list[Named]:
    """The same in pieces of at most `size` ids of each target; later ones without what is empty."""
    targets, subjects = named
    most = max([len(subjects), *(len(target.ids) for target in targets)])
    return [
        (
            [
                replace(
                    target,
                    ids=target.ids[start : start + size],
                    possible_subjects=target.possible_subjects[start : start + size],
                )
                for target in targets
                if not start or len(target.ids) > start or len(target.possible_subjects) > start
            ],
            subjects[start : start + size],
        )
        for start in range(0, most, size)
    ]


def _target(
    one: TargetPlan,
    extracted: Extracted,
    coverage: Coverage,
    why: str | None,
    knows_subject: bool,
) -> tuple[AccessTarget, list[SubjectPair]]:
    named = _subjects(one, extracted, coverage, knows_subject)
    target = AccessTarget(
        one.policy.kind,
        tuple(extracted.ids),
        one.columns,
        coverage,
        why,
        "rowid" if one.keyless else None,
        () if coverage == "exact" else tuple(named),
    )
    return target, named


def _subjects(
    target: TargetPlan, extracted: Extracted, coverage: Coverage, knows_subject: bool
) -> list[SubjectPair]:
    """Whose data these rows are; an id of None where that can't be told from the rows."""
    path = target.policy.subject
    if path is None:
        return []
    is_self = not path.hops
    pairs: list[SubjectPair] = []
    if is_self or knows_subject:
        pairs = [(path.kind, id_) for id_ in extracted.subject_ids(is_self=is_self)]
        if len(path.hops) > 1 and None in extracted.subjects:
            pairs.append((path.kind, None))  # perhaps a parent's row isn't there
    elif extracted.ids:
        pairs = [(path.kind, None)]
    if (coverage != "exact" and not extracted.ids) or coverage == "statement":
        pairs.append((path.kind, None))
    return pairs
