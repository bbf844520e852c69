"""A working day on a real database: the four answers against an oracle that knows no Indelible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from indelible import Actor, Subject, Target
from indelible.questions.findings import Finding

from .answers import replay
from .conftest import Day
from .expected import name_of
from .faults import faults_of_accesses, faults_of_accessors
from .oracle import Step
from .snapshots import Bits, Snapshot
from .withheld import veil, veiled
from .working_day import ACTORS, DAVE, NOBODY

CUTS = 12
"""Parts that the day is cut into; every run of parts is a window."""

for_each_actor = pytest.mark.parametrize("actor", ACTORS, ids=str)


def steps_of(day: Day, actor: Actor | None) -> list[Step]:
    return [step for step in day.oracle.steps if name_of(step.actor) == name_of(actor)]


def windows(day: Day) -> Iterable[Sequence[Step]]:
    """Runs of steps, from an hour up to the whole day, that cut through nothing done at once."""
    steps = day.oracle.steps
    cuts = {len(steps) * n // CUTS for n in range(CUTS + 1)}
    cuts = {
        cut for cut in cuts if cut in (0, len(steps)) or steps[cut - 1].ended <= steps[cut].began
    }
    return [steps[first:last] for first in sorted(cuts) for last in sorted(cuts) if first < last]


def changes_in(day: Day, actor: Actor, steps: Sequence[Step]) -> list[Finding]:
    return list(day.trail.changes(by=actor, since=steps[0].began, until=steps[-1].ended))


def carry_out(step: Step, rows: Snapshot) -> None:
    """Change `rows`, which are veiled, as the oracle saw them change."""
    for change in step.changes:
        table = rows[change.table]
        row = {} if change.before is None else table.pop(change.before)
        if change.after is not None:
            row |= {name: after for name, (_, after) in change.columns.items()}
            table[change.after] = veiled(change.table, row)


def test_the_application_sees_no_difference(day: Day) -> None:
    """Values, types, names, order, counts and errors are the same with and without capture."""
    for (name, alone), (_, audited) in zip(day.plain.results, day.oracle.results, strict=True):
        assert audited == alone, name
    assert day.oracle.now == day.plain.now


@for_each_actor
def test_changes_are_exactly_those_made(day: Day, actor: Actor) -> None:
    """Each row and column that an actor changed, before and after, bit by bit, step by step."""
    told, happened = veil(day.oracle.first), veil(day.oracle.first)
    for step in day.oracle.steps:
        carry_out(step, happened)
        if name_of(step.actor) != name_of(actor):
            carry_out(step, told)
            continue
        findings = changes_in(day, actor, [step])
        assert all(finding.certain for finding in findings), step.name
        # Dave was three customers in the rush hour: each step has its own.
        events = [finding.event for finding in findings if finding.event.actor == step.actor]
        events.sort(key=lambda event: event.producer.seq)
        touched = replay(events, told, day.oracle.tables)
        assert step.rows_changed() <= touched <= step.rows_changed() | step.touched, step.name
        for table, key in touched:
            assert told[table].get(key) == happened[table].get(key), f"{step.name}: {table} {key}"
    assert told == veil(day.oracle.now)


@for_each_actor
def test_any_window_has_the_changes_of_its_steps(day: Day, actor: Actor) -> None:
    """A window's changes are those of the steps inside it, each once."""
    of_step = {
        id(step): {finding.event.id for finding in changes_in(day, actor, [step])}
        for step in day.oracle.steps
    }
    for steps in windows(day):
        found = [finding.event.id for finding in changes_in(day, actor, steps)]
        assert len(found) == len(set(found))
        assert set(found) == {event for step in steps for event in of_step[id(step)]}


@for_each_actor
def test_accesses_are_exactly_the_records_handed_out(day: Day, actor: Actor) -> None:
    """Each record that an actor read or changed, and no other, step by step."""
    faults = []
    for step in steps_of(day, actor):
        at_once = [other for other in steps_of(day, actor) if other.began == step.began]
        answer = day.trail.accesses(by=actor, since=step.began, until=step.ended)
        faults += [f"{step.name}: {fault}" for fault in faults_of_accesses(answer, at_once)]
    assert not faults, "\n".join(faults)


@for_each_actor
def test_any_window_has_the_accesses_of_its_steps(day: Day, actor: Actor) -> None:
    """A window's records are those of the steps inside it."""
    for steps in windows(day):
        own = [step for step in steps if name_of(step.actor) == name_of(actor)]
        answer = day.trail.accesses(by=actor, since=steps[0].began, until=steps[-1].ended)
        assert not list(faults_of_accesses(answer, own))


@for_each_actor
def test_a_probe_leaves_a_trace(day: Day, actor: Actor) -> None:
    """A table that was asked and gave nothing out is named by an event of that moment."""
    for step in steps_of(day, actor):
        answer = day.trail.access_events(by=actor, since=step.began, until=step.ended)
        events = [finding.event for finding in answer]
        named = {target.kind for event in events for target in event.targets}
        named |= {name.lower() for e in events if e.statement for name in e.statement.tables}
        assert {table.lower() for table in step.probed} <= named, step.name


def customers(day: Day) -> list[int]:
    rows = day.oracle.first["Customer"] | day.oracle.now["Customer"]
    return sorted({61, *(key[0] for key in rows if isinstance(key[0], int))})


def test_accessors_are_exactly_who_touched_a_customers_data(day: Day) -> None:
    """Of every customer: who saw or changed her data, whichever table it stood in, and when."""
    faults = []
    steps = day.oracle.steps
    for customer in customers(day):
        for part in (steps, steps[: len(steps) // 2], steps[len(steps) // 3 : len(steps) // 2]):
            answer = day.trail.accessors(
                of=Subject("customer", str(customer)), since=part[0].began, until=part[-1].ended
            )
            faults += faults_of_accessors(answer, customer, part)
    assert not faults, "\n".join(faults)


def test_impersonation_keeps_both(day: Day) -> None:
    """What Dave did as a customer is Dave's, and is found under the customer where asked for."""
    seven = Actor("customer", "7")
    own = [step for step in steps_of(day, DAVE) if step.actor and step.actor.on_behalf_of == seven]

    assert own
    assert not list(day.trail.accesses(by=seven))
    assert not list(faults_of_accesses(day.trail.accesses(by=seven, also_as=True), own))
    answer = day.trail.accessors(of=Subject("customer", "7"), also_as=True)
    assert any(f.actor == seven and f.through == DAVE for f in answer)


@for_each_actor
def test_what_the_application_says_is_there_and_no_more(day: Day, actor: Actor) -> None:
    """Explicit events are found once; those of a rolled-back transaction never were."""
    for step in steps_of(day, actor):
        answer = day.trail.events(by=actor, since=step.began, until=step.ended)
        assert all(finding.certain for finding in answer)
        found = [
            (f.event.action, f.event.outcome.value, f.target_text, f.subject_text) for f in answer
        ]
        assert sorted(found) == sorted(
            (
                said.action,
                said.outcome,
                ":".join(said.target) if said.target else "",
                ":".join(said.subject) if said.subject else "",
            )
            for said in step.said
            if said.kind == "event"
        ), step.name


def test_a_foreign_clients_changes_are_nobodys(day: Day) -> None:
    """What the shell wrote is in the trail, by nobody, and somebody is told."""
    rows: set[tuple[str, Bits]] = set()
    for step in steps_of(day, NOBODY):
        for table, key in step.rows_changed():
            findings = list(
                day.trail.history(Target(table.lower(), key), since=step.began, until=step.ended)
            )
            assert [finding.event.actor for finding in findings] == [None], (table, key)
            assert findings[0].event.kind == "change"
            rows.add((table, key[0]))
    assert len(rows) == 4
    assert any("unattributed" in notice.action for notice in day.trail.notices())


def test_what_was_rolled_back_never_was(day: Day) -> None:
    """No event shows a value that was only ever written in a rolled-back transaction."""
    for actor in ACTORS:
        for finding in day.trail.changes(by=actor):
            for before, after in (finding.event.changes or {}).values():
                for value in (before, after):
                    assert not (isinstance(value, str) and value.startswith(("never", "Never")))
                    assert value not in ("Lost Ltd", "Lost", "too high")


def test_whom_nobody_knows_has_an_empty_answer_that_says_so(day: Day) -> None:
    """A name mistyped isn't a name without accesses."""
    nobody = Actor("staff", "trudi")
    for answer in (day.trail.changes(by=nobody), day.trail.accesses(by=nobody)):
        assert not list(answer)
        assert not answer.known
    # Rows that couldn't be told apart may be anybody's, but nobody is known to be 4711.
    for answer in (
        day.trail.accessors(of=Subject("customer", "4711")),
        day.trail.history(Target("customer", 4711)),
    ):
        assert not list(answer.certain())
        assert not answer.known
    idle = day.trail.changes(by=ACTORS[0], until=day.oracle.steps[0].began)
    assert not list(idle)
    assert idle.known
