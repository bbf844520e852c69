"""Where a decision is in force: from where it was made, in its frame, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from indelible.errors import EventError
from indelible.events.context import (
    RequestFrame,
    acting_as,
    carry,
    current_frame,
    during_request,
)
from indelible.events.decisions import MAX_RULE, Decision, decision_event
from indelible.events.model import Actor, Event, Outcome, Target, TargetRows

ALICE, BOB = Actor("staff", "alice"), Actor("staff", "bob")


def now() -> str | None:
    """The id of the decision in force."""
    frame = current_frame()
    return frame.decision.get("id") if frame and frame.decision else None


def decide(id_: str, *, allowed: bool = True) -> Decision:
    return Decision(id_, allowed=allowed)


def test_it_is_in_force_until_its_frame_is_left() -> None:
    """The latest of a frame, until the frame is left; the one outside is back then."""
    with acting_as(ALICE):
        decide("a")
        decide("b")
        assert now() == "b"
        with acting_as(ALICE):
            assert now() is None, "an inner frame begins without"
            decide("c")
            assert now() == "c"
        assert now() == "b"
    assert now() is None


def test_a_block_ends_it_and_what_was_decided_in_it() -> None:
    """Leaving the block, also by an exception, puts back what was in force before."""
    with acting_as(ALICE):
        decide("a")
        with pytest.raises(RuntimeError), decide("b"):
            decide("c")
            with decide("d"):
                assert now() == "d"
            assert now() == "c"
            raise RuntimeError
        assert now() == "a"


def test_nobody_acts() -> None:
    """Outside of any frame there is nothing to end it: it is in force in a block only."""
    decision = decide("a")
    assert now() is None
    with decision:
        assert now() == "a"
        frame = current_frame()
        assert frame is not None
        assert frame.actor is None
        with acting_as(ALICE):
            assert now() is None
    assert now() is None
    assert frame.scope.closed
    with pytest.raises(EventError, match="entered once"), decision:
        pass


def test_a_handle_is_good_where_it_was_made_and_once() -> None:
    """Used again after its block, in an inner frame, behind another one, or in another thread."""
    with acting_as(ALICE):
        used = decide("used")
        with used:
            pass
        with pytest.raises(EventError, match="entered once"), used:
            pass
        first = decide("first")
        decide("second")
        with pytest.raises(EventError, match="entered once"), first:
            pass
        assert now() == "second"
        third = decide("third")
        with acting_as(BOB), pytest.raises(EventError, match="entered once"), third:
            pass

        def elsewhere() -> str | None:
            with third:
                return now()

        with ThreadPoolExecutor(1) as pool, pytest.raises(EventError, match="entered once"):
            pool.submit(elsewhere).result()
    stale = third
    with acting_as(BOB):
        with pytest.raises(EventError, match="entered once"), stale:
            pass
        assert now() is None


def test_leaving_without_having_entered() -> None:
    with acting_as(ALICE), pytest.raises(EventError, match="without having been entered"):
        decide("a").__exit__(None, None, None)


def test_a_block_left_in_another_context_leaves_nothing_behind() -> None:
    """A generator that is closed elsewhere can't put its decision (or actor) there."""
    decision = None
    with acting_as(ALICE):
        inside = contextvars.copy_context()
        decision = inside.run(decide, "a")
        inside.run(decision.__enter__)
    with acting_as(BOB):
        with pytest.raises(ValueError, match="different Context"):
            decision.__exit__(None, None, None)
        frame = current_frame()
        assert frame is not None
        assert (frame.actor, frame.decision) == (BOB, None)


def test_threads_have_their_own() -> None:
    """A thread that copies no context has none; `carry` takes along the one that is in force."""
    seen: list[str | None] = []

    def look() -> None:
        seen.append(now())

    with acting_as(ALICE):
        decide("a")
        carried = carry(look)
        decide("b")
        for target in (look, carried):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [None, "a"]


def test_what_a_thread_decides_stays_there() -> None:
    with acting_as(ALICE):
        decide("a")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(carry(lambda: decide("b"))).result()
        assert now() == "a"


def test_two_hundred_tasks_of_one_request_never_mix() -> None:
    """Each has its own latest, whatever the others decide meanwhile; the request keeps its own."""
    request = RequestFrame(lambda: ALICE, {"request": "r1"})

    async def work(n: int) -> int:
        wrong = now() != "before"
        for step in range(20):
            decide(f"{n}.{step}")
            await asyncio.sleep(0)
            wrong += now() != f"{n}.{step}"
            with decide(f"{n}.{step}.block", allowed=False):
                await asyncio.sleep(0)
                wrong += now() != f"{n}.{step}.block"
            wrong += now() != f"{n}.{step}"
        return wrong

    async def serve() -> int:
        with during_request(request):
            decide("before")
            wrong = sum(await asyncio.gather(*map(work, range(200))))
            return wrong + (now() != "before")

    assert asyncio.run(serve()) == 0


def test_a_request_whose_actor_is_found_later() -> None:
    """The decision stays in force when the actor becomes known; its frame is one object then."""
    known: list[Actor] = []
    request = RequestFrame(lambda: known[0] if known else None, {"request": "r1"})
    with during_request(request):
        decide("a")
        before = current_frame()
        assert before is not None
        assert before is current_frame()
        assert (before.actor, before.decision) == (None, {"id": "a", "effect": "allow"})
        known.append(ALICE)
        after = current_frame()
        assert after is not None
        assert after is current_frame()
        assert (after.actor, after.context) == (ALICE, {"request": "r1"})
        assert after.decision == before.decision
        assert after.scope is before.scope is request.scope


def test_a_denial_is_false() -> None:
    """`if trail.decide(...)` does what it looks like; an engine that failed allows nothing."""
    assert decide("a")
    assert not decide("b", allowed=False)
    assert not Decision("c", allowed=None)


def test_a_rule_of_any_text_fits_beside_every_row() -> None:
    """It is cut, and text that has no UTF-8 is written with backslashes."""
    with acting_as(ALICE):
        Decision("a", allowed=True, rule="x" * 10_000)
        frame = current_frame()
        assert frame is not None
        assert frame.decision is not None
        assert len(frame.decision["rule"]) == MAX_RULE
        Decision("b", allowed=True, rule="\ud800")
        frame = current_frame()
        assert frame is not None
        assert frame.decision == {"id": "b", "effect": "allow", "rule": "\\ud800"}


def test_the_event() -> None:
    """Who, what, on what, by what; and the decision before it."""
    with acting_as(ALICE, reason="ticket 1", ip="192.0.2.7"):
        decide("before")
        event = decision_event(
            "invoice.read",
            allowed=False,
            target=[Target("invoice", 93), "customer"],
            policy="p",
            rule="r",
            details={"more": 1},
        )
        other = decision_event("invoice.read", allowed=True, actor=BOB)
    assert event == Event(
        action="invoice.read",
        kind="decision",
        outcome=Outcome.DENIED,
        actor=ALICE,
        targets=(TargetRows("invoice", ((93,),)), TargetRows("customer")),
        reason="ticket 1",
        context={"ip": "192.0.2.7"},
        decision={"id": "before", "effect": "allow"},
        details={"more": 1, "policy": "p", "rule": "r"},
    )
    assert other.actor == BOB


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"allowed": 1}, "expected allowed as bool, got int"),
        ({"allowed": "no"}, "expected allowed as bool, got str"),
        ({"allowed": True, "rule": b"x"}, "expected rule as str, got bytes"),
        ({"allowed": True, "policy": 3}, "expected policy as str, got int"),
        ({"allowed": True, "actor": "alice"}, "expected actor as Actor, got str"),
        ({"allowed": True, "target": "invoice:93"}, "expected a target kind without ':'"),
        ({"allowed": True, "target": 93}, "expected target as Target, got int"),
    ],
)
def test_what_no_decision_is(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(EventError, match=message):
        decision_event("invoice.read", **wrong)  # type: ignore[arg-type]
