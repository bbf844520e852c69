"""FastAPI: a dependency that decides, recorded.

```python
def may_read(number: int, user: Annotated[User, Depends(current_user)]) -> None:
    if not user.may_read(number):
        raise HTTPException(403)

readable = recorded_dependency(
    may_read, trail, asked=lambda number, user: Asked(
        action="invoice.read", target=Target("invoice", number)
    )
)

@app.get("/invoices/{number}", dependencies=[Depends(readable)])
```
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

try:
    from fastapi.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
except ImportError as missing:
    raise ImportError("expected FastAPI: pip install fastapi") from missing

from indelible.capture.authorisation import Answered, Asked, Decider, Recorder, failed
from indelible.errors import CaptureError

_DENIALS: Final = frozenset({401, 403})


def recorded_dependency(
    dependency: Callable[..., Any],
    trail: Decider,
    *,
    asked: Callable[..., Asked],
    policy: str | None = None,
    strict: bool = False,
) -> Callable[..., Awaitable[Any]]:
    """`dependency` as FastAPI is to be given it: with the same parameters, result and errors.

    It denies by raising an `HTTPException` of status 401 or 403 or a `PermissionError`, or by
    returning False; another exception is a failure, and anything else allows. `asked` gets its
    arguments by name. The decision is in force in the rest of the request, of which
    `AuditMiddleware` says who acts. `policy` is its name without one. Raises `CaptureError` for a
    dependency that yields: wrap what decides in it with `indelible.capture.authorisation.recorded`.
    """
    if inspect.isgeneratorfunction(dependency) or inspect.isasyncgenfunction(dependency):
        raise CaptureError("expected a dependency that returns, got one that yields")
    name = policy or str(getattr(dependency, "__qualname__", type(dependency).__qualname__))
    recorder = Recorder(trail, _Calls(asked, name), strict=strict)
    called = dependency if inspect.isroutine(dependency) else type(dependency).__call__
    is_async = inspect.iscoroutinefunction(called)

    # Always a coroutine function: what a thread of the pool puts in force ends with its call.
    async def call(**given: Any) -> Any:
        if is_async:
            return await recorder.call_async(dependency, **given)
        return await recorder.call_async(functools.partial(run_in_threadpool, dependency), **given)

    functools.update_wrapper(call, dependency)
    call.__signature__ = _signature(dependency)  # type: ignore[attr-defined]
    return call


def _signature(dependency: Callable[..., Any]) -> inspect.Signature:
    """Annotations that are text are looked up where the dependency was written, not here."""
    try:
        return inspect.signature(dependency, eval_str=True)
    except NameError:
        return inspect.signature(dependency)


class _Calls:
    def __init__(self, asked: Callable[..., Asked], policy: str) -> None:
        self._asked = asked
        self._policy = policy

    def asked(self, **given: Any) -> Asked:
        return self._asked(**given)

    def answered(self, answer: Any) -> Answered:
        if isinstance(answer, HTTPException) and answer.status_code in _DENIALS:
            return Answered(allowed=False, policy=self._policy, rule=str(answer.status_code))
        if isinstance(answer, PermissionError):
            return Answered(allowed=False, policy=self._policy)
        if isinstance(answer, Exception):
            return failed(answer)
        return Answered(allowed=answer is not False, policy=self._policy)
