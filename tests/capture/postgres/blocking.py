"""An asynchronous driver, used as its synchronous sibling is: so that one test holds both."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from typing import Any

_ASYNCHRONOUS = ("__aenter__", "__aiter__", "__anext__")


class Blocking:
    """Waits for whatever `inner` gives to be awaited, as the task that calls it."""

    def __init__(self, inner: Any, runner: asyncio.Runner) -> None:
        self.__dict__.update(inner=inner, runner=runner)

    def __getattr__(self, name: str) -> Any:
        return blocking(getattr(self.inner, name), self.runner)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.inner, name, value)

    def __enter__(self) -> Any:
        return self._said(self.inner.__aenter__())

    def __exit__(self, *raised: Any) -> Any:
        return self._said(self.inner.__aexit__(*raised))

    def __iter__(self) -> Any:
        return self._said(self.inner.__aiter__())

    def __next__(self) -> Any:
        try:
            return self._said(self.inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def _said(self, value: Any) -> Any:
        return blocking(value, self.runner)


def blocking(value: Any, runner: asyncio.Runner) -> Any:
    """`value`, waited for, and without anything that has to be."""
    if inspect.isawaitable(value):
        awaited = _awaited(value)
        return blocking(runner.run(awaited, context=contextvars.copy_context()), runner)
    if inspect.isroutine(value):
        return _calling(value, runner)
    if any(hasattr(type(value), name) for name in _ASYNCHRONOUS):
        return Blocking(value, runner)
    return value


def _calling(function: Callable[..., Any], runner: asyncio.Runner) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)  # with the loop running: some ask for it

    def called(*args: Any, **kwargs: Any) -> Any:
        made = runner.run(call(*args, **kwargs), context=contextvars.copy_context())
        return blocking(made, runner)

    return called


async def _awaited(value: Any) -> Any:
    return await value
