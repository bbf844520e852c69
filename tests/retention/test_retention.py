"""What is old goes, as authorised; what is left is proven, and says what went."""

from __future__ import annotations

import contextlib
from pathlib import Path

from indelible.events.model import Subject
from indelible.policy.load import policy_for_url
from indelible.questions.asking import Questions
from tests.erasure.searching import found_in
from tests.retention.archive import DAY, Archive, day_text, utc

DETAIL, ACCESSES, CHANGES = 100, 200, 300


def history(made: Archive, days: int, each: int = 12) -> None:
    """So many events a day, most of them reads, with a secret each."""
    for day in range(days):
        made.at(day)
        for n in range(each):
            kind = "change" if n % 4 == 3 else "access"
            made.clock.now += 1_000_000
            made.do(kind, f"s{n % 3}", f"c{(day + n) % 5}", secret=f"secret-{kind}-{day}-{n}-x")
        made.deliver()


def filled(directory: Path) -> Archive:
    made = Archive(
        directory,
        access_detail=f"{DETAIL} days",
        accesses=f"{ACCESSES} days",
        changes=f"{CHANGES} days",
    )
    history(made, 400)
    return made


def gone_and_left(made: Archive) -> tuple[list[str], list[str]]:
    """The secrets that have to be gone, and those that have to be there.

    A block is sealed when it is whole, so that up to 256 entries stay somewhat longer.
    """
    today = made.clock.now - made.clock.now % DAY
    gone, left = [], []
    for did in made.did:
        limit = today - (CHANGES if did.kind == "change" else DETAIL) * DAY
        if did.time < limit - 21 * DAY:
            gone.append(did.secret)
        elif did.time >= limit:
            left.append(did.secret)
    return gone, left


def test_what_is_old_goes_and_the_rest_is_proven(tmp_path: Path) -> None:
    """No secret that is due is in any file; who accessed whose data on which day is told."""
    with archive_of(tmp_path) as made:
        before = made.verify()
        count = made.retain()
        gone, left = gone_and_left(made)
        assert count > 2_000
        assert found_in(made.directory, tuple(gone[::40])) == []
        assert len(found_in(made.directory, tuple(left[::40]))) >= len(left[::40])
        found = made.verify()
        assert found.size > before.size
        assert found.retentions.dropped == count
        assert (found.retentions.done, found.retentions.attested) == (1, 1)
        check_answers(made)


def archive_of(tmp_path: Path) -> contextlib.closing[Archive]:
    return contextlib.closing(filled(tmp_path / "shop"))


def check_answers(made: Archive) -> None:
    """By day, where the detail is gone, and by record where it isn't: as the oracle has it."""
    questions = Questions(made.store, policy_for_url(f"sqlite:///{made.path}"))
    answer = questions.accessors(of=Subject("customer", "c1"))
    days = {(str(found.actor), found.first[:10]) for found in answer if found.resolution == "day"}
    assert days
    exact = {str(found.actor) for found in answer if found.resolution == "exact"}
    assert exact == {"staff:s0", "staff:s1", "staff:s2"}
    retained = answer.retained()
    assert retained is not None
    assert retained.access_detail is not None and retained.accesses is not None
    for day in range(210, 390, 7):
        moment = made.did[0].time + day * DAY
        within = {"since": utc(moment - moment % DAY), "until": utc(moment - moment % DAY + DAY)}
        told = {
            str(found.actor)
            for found in questions.accessors(of=Subject("customer", "c1"), **within)
            if found.certain
        }
        assert told == {
            f"staff:{did.actor}"
            for did in made.did
            if did.subject == "c1" and day_text(did.time) == day_text(moment)
        }
