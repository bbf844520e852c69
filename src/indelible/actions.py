"""`Trail.action`: each call of a function is an event of its outcome.

A critical one is written down before it acts, as begun, and waits until the trail has that as safe
as it was declared to be.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, cast, get_args

from indelible.errors import DeliveryError, EventError
from indelible.events.model import Kind, Outcome, Subject, Target
from indelible.integrity.acks import Ack

F = TypeVar("F", bound=Callable[..., Any])
Unacknowledged = Literal["refuse", "proceed"]
MISSED: Final = "ack.missed"


class Recorder(Protocol):
    """What a trail does for its actions."""

    @property
    def record(self) -> Callable[..., str | None]: ...

    def await_ack(self, event_id: str, ack: Ack, *, timeout_s: float) -> None: ...

    def notice_later(self, action: str, message: str, **details: str) -> None: ...


class Declared(NamedTuple):
    """What an action was declared to be."""

    action: str
    kind: Kind
    target: Callable[..., Target | None] | None
    subject: Callable[..., Subject | None] | None
    ack: Ack | None
    deadline_s: float
    unacknowledged: Unacknowledged


def decorator(recorder: Recorder, declared: Declared) -> Callable[[F], F]:
    """Makes a function (or coroutine function) into one whose calls are recorded.

    Raises `EventError` for a choice that isn't one: else a misspelt one would let things through.
    """
    if declared.unacknowledged not in get_args(Unacknowledged):
        raise EventError(
            f"{declared.action}: expected unacknowledged to be one of "
            f"{', '.join(get_args(Unacknowledged))}, got {declared.unacknowledged!r}"
        )

    def decorate(function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                call = _Call(recorder, declared, args, kwargs)
                # Waiting for a disk holds up a thread, not the loop.
                if declared.ack is not None:
                    await asyncio.to_thread(call.begin)
                try:
                    result = await function(*args, **kwargs)
                except BaseException as error:
                    call.end(error)
                    raise
                call.end(None)
                return result

            return cast("F", call_async)

        @functools.wraps(function)
        def call_sync(*args: Any, **kwargs: Any) -> Any:
            call = _Call(recorder, declared, args, kwargs)
            call.begin()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                call.end(error)
                raise
            call.end(None)
            return result

        return cast("F", call_sync)

    return decorate


class _Call:
    """One call of a decorated function."""

    def __init__(
        self, recorder: Recorder, declared: Declared, args: Any, kwargs: dict[str, Any]
    ) -> None:
        self._recorder = recorder
        self._declared = declared
        target, subject = declared.target, declared.subject
        self._about: dict[str, Any] = {
            "target": target(*args, **kwargs) if target else None,
            "subject": subject(*args, **kwargs) if subject else None,
        }

    def begin(self) -> None:
        """Return when it may act; raises `DeliveryError` where it may not."""
        declared = self._declared
        if declared.ack is None:
            return
        begun: str | None = None
        try:
            begun = self._recorder.record(f"{declared.action}_begun", **self._about)
            if begun is not None:
                self._recorder.await_ack(begun, declared.ack, timeout_s=declared.deadline_s)
        except DeliveryError as error:
            if declared.unacknowledged == "refuse":
                # Where nothing can be written this isn't, either; nothing was done, then.
                self._try_to_record(error)
                raise
            self._recorder.notice_later(
                MISSED,
                f"{declared.action} went on without being {declared.ack.name.lower()} within "
                f"{declared.deadline_s:g} s, as it was declared to",
                event=begun or "(not written)",
                error=type(error).__qualname__,
            )

    def end(self, error: BaseException | None) -> None:
        """What became of it."""
        declared = self._declared
        if error is None:
            self._recorder.record(declared.action, kind=declared.kind, **self._about)
            return
        denied = isinstance(error, PermissionError)
        self._recorder.record(
            declared.action,
            outcome=Outcome.DENIED if denied else Outcome.FAILURE,
            details={"error": type(error).__qualname__},
            **self._about,
        )

    def _try_to_record(self, error: BaseException) -> None:
        try:
            self.end(error)
        except DeliveryError:
            return
