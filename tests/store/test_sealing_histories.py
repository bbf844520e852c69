"""Whatever happened, and wherever it was sealed and stopped: answers are the unsealed trail's."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.events.codec import format_time
from indelible.events.model import Actor, Event, Outcome, Subject, Target, TargetRows
from indelible.integrity.verifier import verify_trail
from indelible.policy.load import policy_for_url
from indelible.questions.asking import Questions
from indelible.reversal.gather import select_changes
from indelible.store.places import Folder
from indelible.store.segment import Segment
from indelible.store.sqlite_reader import SqliteReader
from tests.questions.trails import DATABASE, EPOCH, JOURNAL, Maker
from tests.store.sealing import seal

SECOND = 1_000_000
ACTORS = [Actor("staff", name) for name in ("alice", "bob", "trudy")]
SUBJECTS = [Subject("customer", name) for name in ("zara", "yann")]


class Stopped(Exception):
    """What a test stops a run with."""


class Stopping(Folder):
    """A folder at which a run is stopped before, or behind, the `at`-th time it puts or reads."""

    def __init__(self, path: Path, at: int) -> None:
        super().__init__(path)
        self._left = at

    def _step(self) -> None:
        if not self._left:
            raise Stopped
        self._left -= 1

    def put(self, name: str, spooled: Path) -> None:
        self._step()
        super().put(name, spooled)
        self._step()

    def fetch(self, segment: Segment) -> bytes:
        self._step()
        found = super().fetch(segment)
        self._step()
        return found


def event(rng: random.Random, now: int) -> Event:
    """Any of what a trail holds: late ones, doubtful ones, failures, what wasn't seen exactly."""
    kind = rng.choice(("change", "access", "access", "event"))
    exact = rng.random() < 0.9
    ids = tuple((n,) for n in rng.sample(range(60), rng.choice((1, 1, 4, 40))))
    who = rng.choice([*ACTORS, None])
    if who is not None and rng.random() < 0.1:
        who = Actor("staff", "root", on_behalf_of=who)
    return Event(
        action={"change": "invoice.update", "access": "invoice.read"}.get(kind, "user.logged_in"),
        kind=kind,  # type: ignore[arg-type]
        time=format_time(now - rng.choice((0, 0, 0, 3 * SECOND, 90 * SECOND, -40 * SECOND))),
        actor=who,
        outcome=rng.choice((Outcome.SUCCESS,) * 8 + (Outcome.FAILURE, Outcome.DENIED)),
        targets=(
            TargetRows(
                "invoice",
                ids,
                coverage="exact" if exact else "superset",
                why=None if exact else "a count without WHERE",
            ),
        ),
        subjects=tuple(rng.sample(SUBJECTS, rng.randrange(3))),
        changes={"total": (rng.randrange(9), rng.randrange(9))} if kind == "change" else None,
        transaction=f"t{rng.randrange(50)}" if kind != "access" and rng.random() < 0.5 else None,
    )


def answers(reader: SqliteReader, windows: Sequence[tuple[str | None, str | None]]) -> list[object]:
    questions = Questions(reader, policy_for_url(f"sqlite:///{reader.path}"))
    found: list[object] = []
    for since, until in windows:
        within = {"since": since, "until": until}
        for by in ACTORS:
            for also_as in (False, True):
                found.append(list(questions.changes(by=by, also_as=also_as, **within)))
                found.append(list(questions.accesses(by=by, also_as=also_as, **within)))
            found.append(list(questions.access_events(by=by, **within)))
            window = questions.window(since, until)
            found.append(list(select_changes(reader, by=by, window=window).changes))
        for of in SUBJECTS:
            found.append(list(questions.accessors(of=of, **within)))
        found.append(list(questions.events(action="user.*", system=True, **within)))
        found.append(list(questions.history(Target("invoice", 3), **within)))
    found.append(list(questions.state(Target("invoice", 3))))
    found.append([entry.index for entry in reader.search([], newest_first=True)])
    return found


def check(directory: Path, seed: int, rounds: int) -> None:
    """Two trails of the same deliveries; one of them is sealed in between, and stopped."""
    rng = random.Random(seed)
    makers = [Maker(directory / "sealed.db"), Maker(directory / "unsealed.db")]
    store = makers[0].store
    now = start = EPOCH
    for number in range(rounds):
        for _ in range(rng.randint(1, 5)):
            now += rng.randint(1, 20) * SECOND
            batch = [event(rng, now) for _ in range(rng.randint(1, 200))]
            source = rng.choice((DATABASE, DATABASE, JOURNAL))
            for maker in makers:
                maker.clock.now = now
                maker.add(*batch, source=source)
        if number == rounds - 1:
            break  # what came last is in no segment
        with contextlib.suppress(Stopped):
            list(
                seal(
                    store,
                    blocks=rng.randint(1, 3),
                    only_full=rng.random() < 0.5,
                    before=format_time(rng.randint(start, now + SECOND)),
                    place=Stopping(directory / "sealed", rng.choice((0, 1, 2, 3, 5, 99))),
                )
            )
    times = [format_time(rng.randint(start, now)) for _ in range(4)]
    windows = [(None, None), (min(times[:2]), max(times[:2])), (times[2], None), (None, times[3])]
    expected = answers(makers[1].store, windows)
    assert answers(store, windows) == expected
    verify_trail(store.path, makers[0].key.verifier_key)
    for maker in makers:
        maker.store.close()


def check_in_a_folder(seed: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="indelible-histories-") as directory:
        check(Path(directory), seed, rounds)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32))
def test_answers_are_those_of_the_unsealed_trail(seed: int) -> None:
    """Any history, sealed at any points and stopped at any step: every question, every window."""
    check_in_a_folder(seed, rounds=4)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_answers_are_those_of_the_unsealed_trail_many_times(seed: int) -> None:
    """The same for many, and longer, histories."""
    check_in_a_folder(seed, rounds=8)
