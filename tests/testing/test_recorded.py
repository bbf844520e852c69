"""What a test of an audited application can say about what was recorded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from indelible import Actor, Outcome, Subject, Target, Trail, acting_as
from indelible.capture.sqlite3 import connect
from indelible.errors import PolicyError
from indelible.events.model import Event, TargetRows
from indelible.testing import assert_recorded, capture_events, in_memory_trail

ALICE = Actor("staff", "alice")
SECRET = "tr0ub4dor"


def refund(trail: Trail, invoice: str, actor: Actor = ALICE) -> None:
    with acting_as(actor):
        trail.record(
            "invoice.refund", target=Target("invoice", invoice), subject=Subject("customer", "zara")
        )


def test_captured_events_are_those_of_the_block(trail: Trail) -> None:
    """What was recorded before and after the block isn't in its list, what was inside is."""
    refund(trail, "1")
    with capture_events(trail) as events:
        refund(trail, "2")
        refund(trail, "3")
    refund(trail, "4")

    assert [event.targets[0].ids for event in events] == [(("2",),), (("3",),)]


def test_captured_events_are_there_after_an_exception(trail: Trail) -> None:
    """A block that fails leaves what it recorded in the list, and its exception goes on."""
    with pytest.raises(ZeroDivisionError), capture_events(trail) as events:
        refund(trail, "2")
        raise ZeroDivisionError

    assert_recorded(events, target="invoice:2", times=1)


def test_captured_writes_and_reads_are_events(trail: Trail, tmp_path: Path) -> None:
    """A plain sqlite3 connection's statements are in the list, by whoever was acting."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("CREATE TABLE invoice (id INTEGER PRIMARY KEY, status TEXT)")
        plain.execute("INSERT INTO invoice VALUES (93, 'paid')")
        plain.commit()
    with (
        closing(connect(path, trail=trail)) as connection,
        capture_events(trail) as events,
        acting_as(ALICE),
    ):
        connection.execute("UPDATE invoice SET status = 'refunded' WHERE id = 93")
        connection.commit()
        connection.execute("SELECT status FROM invoice WHERE id = 93").fetchall()

    assert_recorded(events, action="invoice.update", by=ALICE, target="invoice:93", times=1)
    assert_recorded(events, action="invoice.read", by="staff:alice", target=Target("invoice", 93))


def test_a_large_event_is_one_in_the_list(trail: Trail) -> None:
    """An event that was cut into parts comes back whole."""
    text = "x" * 200_000
    with capture_events(trail) as events:
        trail.record("report.made", details={"text": text})

    (event,) = events
    assert event.details == {"text": text}


def test_the_trails_own_entries_come_on_request(trail: Trail) -> None:
    """Batches and the like are in the list only with `system=True`."""
    with capture_events(trail, system=True) as events:
        refund(trail, "2")

    assert_recorded(events, action="batch.sequenced", kind="system")


def test_each_criterion_can_fail(trail: Trail) -> None:
    """An event that differs in one thing isn't taken for the one expected."""
    refund(trail, "93")
    expected: dict[str, str] = {
        "action": "invoice.refund",
        "by": "staff:alice",
        "target": "invoice:93",
        "subject": "customer:zara",
        "outcome": "success",
        "kind": "event",
    }
    other = {
        "action": "invoice.paid",
        "by": "staff:bob",
        "target": "invoice:94",
        "subject": "customer:yusuf",
        "outcome": "denied",
        "kind": "access",
    }
    assert_recorded(trail, **expected)  # type: ignore[arg-type]
    for name, value in other.items():
        with pytest.raises(AssertionError, match=rf"\({name} differs\)"):
            assert_recorded(trail, **{**expected, name: value})  # type: ignore[arg-type]


def test_values_may_be_given_as_values(trail: Trail) -> None:
    """Actor, target, subject and outcome are compared as values as well as as text."""
    refund(trail, "93")

    assert_recorded(
        trail,
        action="invoice.*",
        by=ALICE,
        target=Target("invoice", 93),
        subject=Subject("customer", "zara"),
        outcome=Outcome.SUCCESS,
    )


def test_on_behalf_of_matters_where_it_is_named(trail: Trail) -> None:
    """Who acts for somebody is found by name, and told apart from one who doesn't if asked."""
    refund(trail, "93", Actor("staff", "carol", ALICE))

    assert_recorded(trail, by="staff:carol")
    assert_recorded(trail, by=Actor("staff", "carol", ALICE))
    with pytest.raises(AssertionError, match="on behalf of staff:bob"):
        assert_recorded(trail, by=Actor("staff", "carol", Actor("staff", "bob")))


def test_nobodys_event_is_unattributed(trail: Trail) -> None:
    """What nobody is known to have done is found as such, and not under a name."""
    trail.record("cache.cleared")

    assert_recorded(trail, action="cache.cleared", by="unattributed")
    assert_recorded(trail, by="staff:alice", times=0)


def test_times_counts_exactly(trail: Trail) -> None:
    """`times` refuses one too many as well as one too few."""
    refund(trail, "1")
    refund(trail, "1")

    assert len(assert_recorded(trail, target="invoice:1", times=2)) == 2
    for times in (0, 1, 3):
        with pytest.raises(AssertionError, match=f"expected {times} events .*; 2 are"):
            assert_recorded(trail, target="invoice:1", times=times)


def test_an_inexact_event_is_no_proof() -> None:
    """An event that only may have touched a row doesn't count for it, and the message says why."""
    rows = TargetRows("invoice", ((93,),), coverage="superset", why="count(*) without WHERE")
    event = Event(action="invoice.read", kind="access", actor=ALICE, targets=(rows,))

    with pytest.raises(AssertionError, match=r"superset: count\(\*\) without WHERE"):
        assert_recorded([event], target="invoice:93")


def test_a_failure_names_the_nearest_first_and_no_value(trail: Trail) -> None:
    """The message leads to the mistake without printing what was captured."""
    with acting_as(ALICE, reason=SECRET):
        trail.record("user.logged_out", details={"password": SECRET})
        trail.record(
            "invoice.refund",
            target=Target("invoice", "94"),
            changes={"status": ("paid", SECRET)},
        )

    with pytest.raises(AssertionError) as failure:
        assert_recorded(trail, action="invoice.refund", by=ALICE, target="invoice:93")

    lines = str(failure.value).splitlines()
    assert lines[0].startswith(
        "expected an event with action invoice.refund, by staff:alice, target invoice:93;"
    )
    assert "invoice:94" in lines[1] and "(target differs)" in lines[1]
    assert SECRET not in str(failure.value)


def test_nothing_recorded_is_said() -> None:
    """With no event at all the message doesn't pretend that something was near."""
    with pytest.raises(AssertionError, match="nothing was recorded at all"):
        assert_recorded([], action="invoice.refund")


def test_an_in_memory_trail_leaves_nothing_behind(tmp_path: Path) -> None:
    """Trail, journals and keys are gone when the block is left, also after an exception."""
    with pytest.raises(ZeroDivisionError), in_memory_trail(directory=tmp_path) as trail:
        refund(trail, "1")
        assert trail.policy.trail.is_relative_to(tmp_path)
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


def test_an_in_memory_trail_takes_a_policy() -> None:
    """What would stand in `indelible.toml` holds; a mistake is named with its own line."""
    with in_memory_trail('[tables.invoice]\nsubject = "customer_id -> customer"') as trail:
        assert trail.policy.table("invoice").subject is not None
    with (
        pytest.raises(PolicyError, match=r"line 2.*maks"),
        in_memory_trail("[tables.a]\nmaks = []"),
    ):
        pytest.fail("a policy with an unknown key was taken")


def test_two_trails_never_meet(trail: Trail) -> None:
    """Two trails in one process hold what was recorded in each."""
    with in_memory_trail() as other:
        refund(trail, "1")
        refund(other, "2")

        assert_recorded(trail, target="invoice:2", times=0)
        assert_recorded(other, target="invoice:1", times=0)
