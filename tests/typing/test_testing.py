"""The public testing names, used as a customer's tests use them; `mypy --strict` reads this."""

from __future__ import annotations

from pathlib import Path

from indelible import Actor, Outcome, Subject, Target
from indelible.testing import assert_recorded, capture_events, in_memory_trail, tamper


def alarm(directory: Path) -> None:
    with in_memory_trail('[tables.invoice]\nsubject = "customer_id -> customer"') as trail:
        with capture_events(trail) as events:
            trail.record("invoice.refund", target=Target("invoice", "93"))
        for event in assert_recorded(
            events,
            action="invoice.*",
            by=Actor("staff", "alice"),
            target="invoice:93",
            subject=Subject("customer", "zara"),
            outcome=Outcome.SUCCESS,
            times=1,
        ):
            print(event.action, event.time)
        assert_recorded(trail, by="unattributed", outcome="denied", kind="event", times=0)
        copy = directory / "copy.db"
        tamper.copy_trail(trail.policy.trail, copy)
        tamper.edit_body(copy, 0, lambda body: body.replace(b"alice", b"trudy"))


def test_the_public_testing_names_are_there() -> None:
    """What the documentation imports for tests can be imported."""
    assert {assert_recorded, capture_events, in_memory_trail, tamper.edit_body}
