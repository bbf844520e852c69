"""Synchronous code that waits inside of a coroutine."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Iterator

import pytest

from indelible.capture.greenlets import entered, run_sync, wait_for

WHO = contextvars.ContextVar("WHO", default="nobody")


async def soon(value: str) -> str:
    await asyncio.sleep(0)
    if value == "bad":
        raise ValueError(value)
    return f"{value} of {WHO.get()}"


def test_what_is_awaited_is_awaited_by_the_task() -> None:
    """In its context, which the code shares; errors come where they were waited for."""

    def work() -> list[str]:
        found = [wait_for(soon("a"))]
        WHO.set("another")
        with contextlib.suppress(ValueError):
            wait_for(soon("bad"))
        return [*found, wait_for(soon("b"))]

    async def main() -> list[str]:
        WHO.set("somebody")
        return [*await run_sync(work), WHO.get()]

    assert asyncio.run(main()) == ["a of somebody", "b of another", "another"]


def test_tasks_never_mix() -> None:
    async def task(n: int) -> bool:
        WHO.set(str(n))
        said = await run_sync(lambda: [wait_for(soon("x")) for _ in range(5)])
        return said == [f"x of {n}"] * 5

    async def main() -> list[bool]:
        return await asyncio.gather(*map(task, range(200)))

    assert asyncio.run(main()) == [True] * 200


def test_a_cancelled_task_may_wait_once_more() -> None:
    done: list[str] = []

    def work() -> None:
        try:
            wait_for(asyncio.sleep(60))
        except asyncio.CancelledError:
            done.append(wait_for(soon("undone")))
            raise

    async def main() -> None:
        task = asyncio.create_task(run_sync(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert done == ["undone of nobody"]


def test_a_coroutine_that_is_closed_waits_for_nothing() -> None:
    """As where its event loop is gone."""
    passed: list[str] = []

    def work() -> None:
        try:
            wait_for(soon("a"))
        finally:
            passed.append("finally")
            wait_for(soon("b"))

    coroutine = run_sync(work)
    coroutine.send(None)
    coroutine.close()
    assert passed == ["finally"]


@pytest.mark.parametrize("error", [ValueError, GeneratorExit, asyncio.CancelledError])
def test_a_context_manager_waits_as_it_is_entered_and_left(error: type[BaseException]) -> None:
    said: list[str] = []

    @contextlib.contextmanager
    def manager() -> Iterator[str]:
        try:
            yield wait_for(soon("in"))
        except ValueError:
            said.append(wait_for(soon("swallowed")))
        finally:
            said.append(wait_for(soon("out")))

    async def main() -> None:
        async with entered(manager()) as value:
            said.append(value)
        async with entered(manager()):
            raise error

    with contextlib.nullcontext() if error is ValueError else pytest.raises(error):
        asyncio.run(main())
    *first, last = said
    assert first[:2] == ["in of nobody", "out of nobody"]
    assert first[2:] == ["swallowed of nobody"] * (error is ValueError)
    assert last == "out of nobody"


def test_outside_nothing_can_be_waited_for() -> None:
    waiting = soon("a")
    with pytest.raises(RuntimeError, match="inside of run_sync"):
        wait_for(waiting)
    waiting.close()
