"""Recording what an authoriser decides: whoever asks it gets the same answer as without us.

An adapter says in two methods what a call asks and what its answer means::

    class Rules:
        def asked(self, who, number):
            return Asked(action="invoice.read", target=Target("invoice", number))

        def answered(self, answer):
            if isinstance(answer, Exception):
                return failed(answer)
            return Answered(allowed=answer, policy="rules")

    may_read = recorded(trail, Rules())(may_read)
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

import msgspec

from indelible.errors import DeliveryError
from indelible.events.decisions import Decision, DecisionTarget
from indelible.events.model import Actor, Subject
from indelible.events.values import Native, Value

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger(__name__)

_NO_NAME: Final = re.compile(r"[^a-z0-9_]+")
_MAX_ERRORS: Final = 256
"""So many different errors of policies are noticed, each once."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a call asks: may `actor` (else whoever acts) do this to that? As in `Trail.decide`."""

    action: str
    target: DecisionTarget | Sequence[DecisionTarget] | None = None
    subject: Subject | Sequence[Subject] | None = None
    actor: Actor | None = None
    details: Mapping[str, Native | Value] | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; `allowed` is None where what was to decide failed.

    `errors` are of policies that couldn't be evaluated: each is noticed once.
    """

    allowed: bool | None
    policy: str | None = None
    rule: str | None = None
    reason: str | None = None
    details: Mapping[str, Native | Value] | None = None
    errors: tuple[str, ...] = ()


class Authoriser(Protocol):
    """Reads the calls of one function that decides."""

    def asked(self, *args: Any, **kwargs: Any) -> Asked:
        """What a call with these arguments asks."""

    def answered(self, answer: Any) -> Answered:
        """What it means that this was returned; or raised, where it is an exception."""


class Decider(Protocol):
    """The trail that decisions go to: `indelible.trail.Trail`."""

    @property
    def decide(self) -> Callable[..., Decision]: ...

    def notice(self, action: str, message: str, **details: str) -> None: ...


class Recorder:
    """Records the decisions of one authoriser. Safe for threads.

    A decision that can't be recorded stands as it is, and is noticed; what follows it is under a
    decision that the trail doesn't have. Under `strict` the caller gets the error instead.
    """

    def __init__(self, trail: Decider, authoriser: Authoriser, *, strict: bool = False) -> None:
        self._trail = trail
        self._authoriser = authoriser
        self._strict = strict
        self._has_failed = False
        self._errors: set[str] = set()

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `function` returns, or raises."""
        try:
            answer = function(*args, **kwargs)
        except Exception as error:
            self.record(error, *args, **kwargs)
            raise
        self.record(answer, *args, **kwargs)
        return answer

    async def call_async(
        self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same, where that has to be awaited."""
        try:
            answer = await function(*args, **kwargs)
        except Exception as error:
            self.record(error, *args, **kwargs)
            raise
        self.record(answer, *args, **kwargs)
        return answer

    def record(self, answer: object, *args: Any, **kwargs: Any) -> None:
        """`answer` was given to (or raised for) a call with these arguments; it is in force now."""
        allowed = None
        try:
            answered = self._authoriser.answered(answer)
            allowed = answered.allowed
            asked = self._authoriser.asked(*args, **kwargs)
            decision = self._trail.decide(
                asked.action,
                allowed=allowed,
                target=asked.target,
                subject=asked.subject,
                actor=asked.actor,
                policy=answered.policy,
                rule=answered.rule,
                reason=answered.reason,
                details={**(asked.details or {}), **(answered.details or {})},
            )
            self._notice_errors(answered.errors, decision)
        except Exception as problem:
            # An earlier decision must not seem to cover what follows this one.
            Decision(None, allowed=allowed if type(allowed) is bool else None)
            if self._strict:
                raise
            self._failed(problem)

    def _notice_errors(self, errors: Sequence[str], decision: Decision) -> None:
        for error in errors:
            if error not in self._errors and len(self._errors) < _MAX_ERRORS:
                self._errors.add(error)
                self._trail.notice(
                    "authorisation.policy_failed",
                    "a policy could not be evaluated, and counted as if it weren't there",
                    error=error,
                    decision=decision.id or "",
                )

    def _failed(self, problem: Exception) -> None:
        kind = type(problem).__name__
        _log.error("a decision could not be recorded: %s", kind)
        if self._has_failed:
            return
        self._has_failed = True
        try:
            self._trail.notice(
                "authorisation.not_recorded", "a decision could not be recorded", error=kind
            )
        except DeliveryError:
            _log.error("the lost decision could not be noticed in the trail either")


def recorded(trail: Decider, authoriser: Authoriser, *, strict: bool = False) -> Callable[[F], F]:
    """Decorate a function (or coroutine function) that decides: each call is a decision."""
    recorder = Recorder(trail, authoriser, strict=strict)

    def decorate(function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                return await recorder.call_async(function, *args, **kwargs)

            return cast("F", call_async)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return recorder.call(function, *args, **kwargs)

        return cast("F", call)

    return decorate


def failed(error: Exception) -> Answered:
    """What was to decide raised this: nothing was allowed. Of an error only its type is kept."""
    return Answered(allowed=None, details={"error": type(error).__qualname__})


def action_name(noun: str, verb: str) -> str:
    """`noun.verb` as an action may be written, of names that may be anything."""
    parts = (_NO_NAME.sub("_", each.lower()).strip("_") for each in (noun, verb))
    return ".".join(part or "unnamed" for part in parts)
