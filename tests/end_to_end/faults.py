"""What is wrong with an answer about accesses, held against the steps of its window."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from indelible.questions.findings import AccessFinding, AccessorFinding

from .answers import Record, key_of, records_changed, records_of, records_touched
from .expected import Name, name_of
from .oracle import FAR_SUBJECTS, SUBJECT_TABLES, Step
from .snapshots import Bits


def timestamp(moment: dt.datetime) -> str:
    """As the trail writes it."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def faults_of_accesses(findings: Iterable[AccessFinding], steps: Sequence[Step]) -> Iterator[str]:
    """Records missing from the answer or made up by it, if `steps` is all that its actor did."""
    sure = {record for step in steps for record in records_of(step, sure_only=True)}
    some = {record for step in steps for record in records_of(step, sure_only=False)}
    changed = {record for step in steps for record in records_changed(step)}
    touched = changed | {record for step in steps for record in records_touched(step)}
    said = {record for step in steps for record in _said(step)}
    certain: set[Record] = set()
    possible: set[Record] = set()
    read: set[Record] = set()
    written: set[Record] = set()
    for finding in findings:
        record = (finding.kind, None if finding.id is None else key_of(finding.id))
        if not finding.certain:
            possible.add(record)
            continue
        certain.add(record)
        if finding.reads:
            read.add(record)
        if finding.changes:
            written.add(record)
    vague = {kind for kind, key in possible if key is None}
    unsure_kinds = {
        reading.table.lower() for step in steps for reading in step.readings if not reading.sure
    }
    yield from (f"not found: {record}" for record in (sure | said) - certain)
    yield from (f"read, not found as such: {r}" for r in ((sure | said) & certain) - read - changed)
    yield from (f"change not found: {record}" for record in changed - written)
    yield from (
        f"not even possible: {record}"
        for record in some - sure - certain - possible
        if record[0] not in vague
    )
    yield from (f"made up: {record}" for record in certain - some - touched - said)
    yield from (f"read is made up: {record}" for record in read - some - touched - said)
    yield from (f"change is made up: {record}" for record in written - touched)
    yield from (f"only possible: {record}" for record in possible if record[0] not in unsure_kinds)


def _said(step: Step) -> Iterator[Record]:
    for said in step.said:
        if said.kind == "access" and said.target is not None:
            yield said.target[0], (int(said.target[1]),)


def faults_of_accessors(
    findings: Iterable[AccessorFinding], customer: Bits, steps: Sequence[Step]
) -> Iterator[str]:
    """Actors missing from the answer or made up by it, if `steps` is all that happened.

    Rows that name their customer through another table may be anybody's when they are read.
    """
    sure: dict[Name | None, list[Step]] = {}
    unsure: set[Name | None] = set()
    for step in steps:
        name = name_of(step.actor)
        if customer in _subjects(step):
            sure.setdefault(name, []).append(step)
        for reading in step.readings:
            is_far = reading.table in FAR_SUBJECTS and reading.keys
            if is_far or (not reading.sure and reading.table in SUBJECT_TABLES):
                unsure.add(name)
    certain: dict[Name | None, AccessorFinding] = {}
    for finding in findings:
        name = name_of(finding.actor)
        if finding.certain:
            certain[name] = finding
        elif name not in unsure:
            yield f"{customer}: {name} isn't even possible"
    yield from (f"{customer}: {name} isn't found" for name in sure.keys() - certain.keys())
    yield from (f"{customer}: {name} is made up" for name in certain.keys() - sure.keys() - unsure)
    for name in (certain.keys() & sure.keys()) - unsure:
        first, last = sure[name][0], sure[name][-1]
        if not timestamp(first.began) <= certain[name].first < timestamp(first.ended):
            yield f"{customer}: the first access of {name} was in {first.name!r}"
        if not timestamp(last.began) <= certain[name].last < timestamp(last.ended):
            yield f"{customer}: the last access of {name} was in {last.name!r}"


def _subjects(step: Step) -> set[Bits]:
    """Whose data the step certainly touched."""
    found = {one for reading in step.readings if reading.sure for one in reading.subjects}
    found |= step.changed_subjects
    found |= {int(said.subject[1]) for said in step.said if said.kind == "access" and said.subject}
    return found
