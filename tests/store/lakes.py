"""A trail for the lake, and what the documentation's queries have to answer from it."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from indelible.events.codec import decode_event
from indelible.events.model import Actor, Event, Outcome, Subject
from indelible.events.values import format_id
from indelible.policy.load import policy_for_url
from indelible.questions.asking import Questions
from tests.questions.trails import EPOCH, JOURNAL, Maker
from tests.store.sealing import seal
from tests.store.test_sealing_histories import SECOND, event

PAGE = Path(__file__).parents[2] / "docs" / "keeping.md"
DAY = 86_400 * SECOND
WITHIN = {"since": "2022-02-01T00:00:00Z", "until": "2022-04-15T00:00:00Z"}


@contextlib.contextmanager
def made_over_months(path: Path) -> Iterator[Maker]:
    """A trail of five months, all but its end sealed."""
    made = Maker(path)
    rng = random.Random(11)
    made.clock.now = EPOCH
    for _ in range(150):
        made.clock.now += DAY
        batch = [event(rng, made.clock.now) for _ in range(rng.randint(1, 40))]
        made.add(*(msgspec.structs.replace(each, transaction=None) for each in batch))
    long = msgspec.structs.replace(event(rng, made.clock.now), kind="change", changes={})
    made.add(
        msgspec.structs.replace(
            long, changes={"note": ("x" * 90_000, "y" * 90_000)}, transaction=None
        ),
        source=JOURNAL,
    )
    for _ in range(150):
        made.add(*(event(rng, made.clock.now) for _ in range(5)))
    list(seal(made.store))
    try:
        yield made
    finally:
        made.store.close()


def queries() -> tuple[str, list[str]]:
    view, *four = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S)
    assert len(four) == 4
    return view, four


def exact_records(found: Event) -> set[str]:
    return {
        f"{target.kind}:{format_id(row_id)}"
        for target in found.targets
        if target.coverage == "exact"
        for row_id in target.ids
    }


def check(answers: list[list[tuple[Any, ...]]], maker: Maker) -> None:
    """Hold what the queries gave against the certain sets of the trail's own answers."""
    last = maker.store.segments()[-1].last
    questions = Questions(maker.store, policy_for_url(f"sqlite:///{maker.store.path}"))
    changes, records, reversal, accessors = answers
    alice, trudy, bob = (Actor("staff", name) for name in ("alice", "trudy", "bob"))
    expected = [
        finding
        for finding in questions.changes(by=alice, **WITHIN).certain()
        if finding.index <= last
    ]
    assert [row[0] for row in changes] == sorted(finding.index for finding in expected)
    assert len(expected) > 15
    accesses = questions.accesses(by=trudy, **WITHIN)
    assert {(row[0], row[3]) for row in records} == {
        (finding.target_text, finding.reads + finding.changes) for finding in accesses.certain()
    }
    bobs = list(questions.changes(by=bob, **WITHIN).certain())
    others = [
        (entry.index, exact_records(found))
        for entry in maker.store.entries(0, last)
        if (found := decode_event(entry.body)).kind == "change"
        and found.outcome is Outcome.SUCCESS
        and (found.actor is None or (found.actor.kind, found.actor.id) != ("staff", "bob"))
    ]
    assert [(row[0], row[1], row[3]) for row in reversal] == sorted(
        (bob.index, record, sum(index > bob.index and record in all_ for index, all_ in others))
        for bob in bobs
        for record in exact_records(bob.event)
    )
    assert len(bobs) > 15
    who = questions.accessors(of=Subject("customer", "zara"), **WITHIN)
    assert {(row[0], row[3]) for row in accessors} == {
        (str(f.actor) if f.actor is not None else None, f.reads + f.changes) for f in who.certain()
    }
