"""Who is acting is never mixed up."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from indelible.errors import EventError
from indelible.events.context import acting_as, carry, current_frame
from indelible.events.model import Actor

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


def actor_now() -> Actor | None:
    frame = current_frame()
    return frame.actor if frame else None


def test_leaving_an_inner_actor_restores_the_outer_one() -> None:
    """Nested `acting_as` gives way again, also when the inner one raises."""
    with acting_as(ALICE):
        with pytest.raises(RuntimeError), acting_as(BOB):
            assert actor_now() == BOB
            raise RuntimeError
        assert actor_now() == ALICE
    assert actor_now() is None


def test_impersonation_keeps_both() -> None:
    """`on_behalf_of` says who acts and as whom."""
    with acting_as(ALICE, on_behalf_of=Actor("customer", "zara")) as frame:
        assert frame.actor.id == "alice"
        assert frame.actor.on_behalf_of == Actor("customer", "zara")


def test_an_inner_frame_inherits_the_request_but_not_the_reason() -> None:
    """The address belongs to the request, the reason to the one who gave it."""
    with (
        acting_as(ALICE, reason="ticket 1", ip="192.0.2.7", request="r1"),
        acting_as(BOB, request="r2") as inner,
    ):
        assert inner.context == {"ip": "192.0.2.7", "request": "r2"}
        assert inner.reason is None


def test_a_thousand_concurrent_tasks_never_mix() -> None:
    """Each of 1,000 asyncio tasks sees its own actor at every await."""

    async def work(n: int) -> int:
        wrong = 0
        with acting_as(Actor("task", str(n))):
            for _ in range(5):
                await asyncio.sleep(random.random() / 1_000)
                wrong += actor_now() != Actor("task", str(n))
                with acting_as(Actor("inner", str(n))):
                    await asyncio.sleep(0)
                    wrong += actor_now() != Actor("inner", str(n))
        return wrong + (actor_now() is not None)

    async def main() -> int:
        return sum(await asyncio.gather(*(work(n) for n in range(1_000))))

    assert asyncio.run(main()) == 0


def test_a_thousand_jobs_on_threads_never_mix() -> None:
    """Threads of a pool start without an actor, and `carry` takes the caller's along."""
    barrier = threading.Barrier(8)

    def job(n: int, expected: Actor | None) -> bool:
        if n < 8:
            barrier.wait(10)
        return actor_now() == expected

    with ThreadPoolExecutor(8) as pool:
        futures = []
        for n in range(1_000):
            with acting_as(Actor("job", str(n))):
                futures.append(pool.submit(carry(job), n, Actor("job", str(n))))
                futures.append(pool.submit(job, 1_000, None))
        assert all(future.result() for future in futures)


def test_a_scope_ends_once_with_the_outermost_actor() -> None:
    """What must be done before a request ends is done when the outermost actor leaves."""
    ended: list[str] = []

    def end() -> None:
        ended.append("end")

    with acting_as(ALICE) as outer:
        with acting_as(BOB) as inner:
            inner.scope.before_end(end)
            outer.scope.before_end(end)
        assert ended == []
    assert ended == ["end"]
    outer.scope.before_end(end)
    assert ended == ["end", "end"], "a scope that has ended can't keep anybody waiting"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: acting_as("alice"), "expected an Actor, got str"),
        (lambda: acting_as(ALICE, colour="red"), "expected one of request, session"),
        (lambda: acting_as(ALICE, ip=7), "expected ip as str, got int"),
        (lambda: Actor("a:b", "c"), "kind without ':'"),
        (lambda: Actor("staff", 7), "id as non-empty str, got int"),
    ],
)
def test_a_wrong_call_says_what_was_expected(call, message: str) -> None:  # type: ignore[no-untyped-def]
    """Mistakes of the developer are named at once."""
    with pytest.raises(EventError, match=message):
        call()
