"""Who is acting: a stack of frozen frames on contextvars.

Nesting restores the outer frame, concurrent tasks and threads never mix, and `carry` takes the
current frame into a worker that starts without it.
"""

from __future__ import annotations

import contextvars
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

import msgspec

from indelible.errors import EventError
from indelible.events.model import Actor

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger(__name__)

CONTEXT_KEYS: Final = (
    "request",
    "session",
    "ip",
    "user_agent",
    "trace_id",
    "span_id",
    "service",
)


class Scope:
    """The outermost `acting_as` of a task; what must be done before it ends is hung on it."""

    __slots__ = ("_callbacks", "closed")

    def __init__(self) -> None:
        self._callbacks: dict[Callable[[], None], None] = {}
        self.closed = False

    def before_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when the scope ends; at once where it has ended already."""
        if self.closed:
            callback()
        else:
            self._callbacks[callback] = None

    def close(self) -> None:
        self.closed = True
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - a callback must not break the request
                # The request is done; what couldn't be synced is still in the journal.
                _log.exception("a scope's last step failed")


class Frame(msgspec.Struct, frozen=True):
    """One `acting_as`: never changed in place, so an event may keep it.

    Without an `actor` only the circumstances are known. `decision` is the one in force, as events
    refer to it (`indelible.events.decisions`).
    """

    actor: Actor | None
    reason: str | None
    context: dict[str, str]
    scope: Scope
    decision: dict[str, str] | None = None


class RequestFrame:
    """The frame of a request whose actor is found out when it is first needed.

    So what authenticates the request may run later, and may itself be captured: then by nobody.
    `resolve` is asked until it knows somebody; what it raises is logged, and is nobody.
    """

    __slots__ = ("_frame", "_is_known", "_is_resolving", "_resolve", "context", "scope")

    def __init__(self, resolve: Callable[[], Actor | None], context: dict[str, str]) -> None:
        self.context = context
        self.scope = Scope()
        self._resolve = resolve
        self._frame = Frame(None, None, context, self.scope)
        self._is_known = False
        self._is_resolving = False

    @property
    def frame(self) -> Frame:
        """The request's frame as it is known now."""
        if not self._is_known and not self._is_resolving:
            self._is_resolving = True
            try:
                actor = self._resolve()
                if actor is not None:
                    self._frame = Frame(actor, None, self.context, self.scope)
                    self._is_known = True
            except Exception as problem:  # noqa: BLE001 - capture must not break the request
                _log.warning("who makes a request could not be told: %s", type(problem).__name__)
            finally:
                self._is_resolving = False
        return self._frame


class DecidedFrame:
    """A frame or request from the moment on at which a decision was made in it.

    It stands in the other's place, so that concurrent tasks of one request each have their own.
    """

    __slots__ = ("_made", "base", "decision")

    def __init__(self, base: Frame | RequestFrame, decision: dict[str, str]) -> None:
        self.base = base
        self.decision = decision
        self._made: tuple[Frame | None, Frame | None] = (None, None)

    @property
    def context(self) -> dict[str, str]:
        return self.base.context

    @property
    def scope(self) -> Scope:
        return self.base.scope

    @property
    def frame(self) -> Frame:
        """Always the same object for the same actor: capture encodes a frame once."""
        base = self.base
        plain = base.frame if isinstance(base, RequestFrame) else base
        of, made = self._made
        if made is None or of is not plain:
            made = msgspec.structs.replace(plain, decision=self.decision)
            self._made = (plain, made)
        return made


AnyFrame = Frame | RequestFrame | DecidedFrame
_current: contextvars.ContextVar[AnyFrame | None] = contextvars.ContextVar(
    "indelible_frame", default=None
)


def current_frame() -> Frame | None:
    """The innermost `acting_as` or request of this task or thread; None outside of any."""
    found = _current.get()
    return found if found is None or isinstance(found, Frame) else found.frame


class Holding:
    """A decision in force from when this is made: until the innermost frame is left, or as a
    context manager until the block is.

    Outside of any frame there is nothing that would end it, so it is in force in a block only. An
    inner `acting_as` begins without. Tasks and threads that were begun earlier don't see it.
    """

    __slots__ = ("_before", "_held", "_token")

    def __init__(self, decision: dict[str, str]) -> None:
        self._before = _current.get()
        self._token: contextvars.Token[AnyFrame | None] | None = None
        base = self._before.base if isinstance(self._before, DecidedFrame) else self._before
        self._held = DecidedFrame(base or Frame(None, None, {}, Scope()), decision)
        if base is not None:
            _current.set(self._held)

    def __enter__(self) -> None:
        """Raises `EventError` anywhere but where the decision was just made, and a second time."""
        expected = None if self._before is None else self._held
        if self._token is not None or self._held.scope.closed or _current.get() is not expected:
            raise EventError(
                "expected a decision to be entered once, right where it is made: "
                "`with trail.decide(...):`"
            )
        self._token = _current.set(self._held)

    def __exit__(self, *raised: object) -> None:
        if self._token is None:
            raise EventError("a decision's block was left without having been entered")
        _current.reset(self._token)
        _current.set(self._before)
        if self._before is None:
            self._held.scope.close()


class acting_as:
    """Everything done inside is `actor`'s doing.

    >>> with acting_as(Actor("staff", "alice"), reason="ticket 4411", ip="192.0.2.7"):
    ...     ...

    `on_behalf_of` keeps both: who acts, and as whom. `context` takes `request`, `session`,
    `ip`, `user_agent`, `trace_id`, `span_id` and `service`; an inner frame inherits what it
    doesn't set, but neither actor nor reason. Leaving restores the outer frame, also on an
    exception. May be entered once; make a new one for each use.
    """

    __slots__ = ("_frame", "_token")

    def __init__(
        self,
        actor: Actor,
        *,
        reason: str | None = None,
        on_behalf_of: Actor | None = None,
        **context: str,
    ) -> None:
        if not isinstance(actor, Actor):
            raise EventError(f"expected an Actor, got {type(actor).__name__}")
        for key, text in context.items():
            if key not in CONTEXT_KEYS:
                raise EventError(f"expected one of {', '.join(CONTEXT_KEYS)}, got {key!r}")
            if not isinstance(text, str):
                raise EventError(f"expected {key} as str, got {type(text).__name__}")
        if on_behalf_of is not None:
            actor = Actor(actor.kind, actor.id, on_behalf_of)
        outer = _current.get()
        self._frame = Frame(
            actor=actor,
            reason=reason,
            context={**outer.context, **context} if outer else context,
            scope=outer.scope if outer else Scope(),
        )
        self._token: contextvars.Token[AnyFrame | None] | None = None

    def __enter__(self) -> Frame:
        self._token = _current.set(self._frame)
        return self._frame

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is None:
            raise EventError("acting_as was left without having been entered")
        outer = self._token.old_value
        _current.reset(self._token)
        self._token = None
        if outer is contextvars.Token.MISSING or outer is None:
            self._frame.scope.close()


@contextmanager
def during_request(request: RequestFrame, *, is_end: bool = True) -> Iterator[None]:
    """Everything done inside belongs to `request`, which ends with it where `is_end`."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)
        if is_end:
            request.scope.close()


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run in the frame that is current now, wherever it is called.

    For executors, threads and callbacks that don't copy contextvars. Any number of them may run
    at the same time.
    """
    frame = _current.get()

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _current.set(frame)
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    return run
