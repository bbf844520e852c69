"""Capture's synchronous code, run by a coroutine: where it waits for a driver, others go on.

A greenlet shares the context of its task: who acts in that acts here.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

try:
    from greenlet import getcurrent, greenlet
except ImportError as missing:
    raise ImportError(
        "expected greenlet: pip install 'indelible[postgres-async]' (or [asyncpg], [aiomysql])"
    ) from missing

T = TypeVar("T")


class _Work(greenlet):  # type: ignore[misc]  # greenlet has no types
    """Switches to its parent with what is to be awaited there."""

    is_abandoned = False
    """Whether nothing will be awaited any more: the coroutine was closed."""


async def run_sync(work: Callable[[], T]) -> T:
    """What `work` returns, in which `wait_for` may be called. Raises what it raises."""
    current = getcurrent()
    worker = _Work(work, current)
    worker.gr_context = current.gr_context
    outcome: Any = worker.switch()
    while not worker.dead:
        try:
            value = await outcome
        except BaseException as error:  # noqa: BLE001 - raised where it was waited for
            worker.is_abandoned = isinstance(error, GeneratorExit)
            outcome = worker.throw(*sys.exc_info())
        else:
            outcome = worker.switch(value)
    result: T = outcome
    return result


def wait_for(awaitable: Awaitable[T]) -> T:
    """What it gives; other tasks run meanwhile. To be called inside of `run_sync` only."""
    worker = getcurrent()
    if not isinstance(worker, _Work):
        raise RuntimeError("expected to be called inside of run_sync")
    if worker.is_abandoned:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise GeneratorExit
    assert worker.parent is not None  # noqa: S101 - only the greenlet of a thread has none
    result: T = worker.parent.switch(awaitable)
    return result


@contextlib.asynccontextmanager
async def entered(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """`manager`, entered and left by `run_sync`."""
    value = await run_sync(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        raised = error
        if not await run_sync(lambda: manager.__exit__(type(raised), raised, None)):
            raise
    else:
        await run_sync(lambda: manager.__exit__(None, None, None))
