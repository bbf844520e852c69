"""An exception as a log may show it: its type, where it came from, an id to ask for it by.

Of its message only what stands in the code of the frames that it went through; never a local.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final

from indelible.logs.encoding import Json, letters
from indelible.logs.literals import Literals

MAX_FRAMES: Final = 24
_MAX_CHAIN: Final = 4
_MAX_MESSAGE: Final = 2_048
_MAX_SCRUBBED: Final = 1_024
_NAME: Final = re.compile(r"[A-Za-z_<][A-Za-z0-9_.<>]{0,127}")


class ExceptionShower:
    """Makes exceptions safe to show. Calls no method of theirs, and never raises."""

    def __init__(
        self,
        literals: Literals,
        scrub: Callable[[str], str],
        new_id: Callable[[], str] = lambda: letters(secrets.token_bytes(4)),
    ) -> None:
        self._literals = literals
        # What is visible of a message is its author's: there are few, and nobody's data is kept.
        self._scrub = functools.lru_cache(_MAX_SCRUBBED)(scrub)
        self._new_id = new_id

    def shown(self, error: BaseException, depth: int = _MAX_CHAIN) -> dict[str, Json]:
        """`{"type", "id", "frames": ["module:function:line", …], "message", "cause"}`; the frame
        where it was raised comes last."""
        shown, frames = _frames(error.__traceback__)
        said: dict[str, Json] = {"type": _type_name(type(error)), "id": self._new_id()}
        if shown:
            said["frames"] = shown
        message = self._message(error, frames)
        if message:
            said["message"] = message
        if depth:
            cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
            if cause is not None and cause is not error:
                said["cause"] = self.shown(cause, depth - 1)
            if isinstance(error, BaseExceptionGroup):
                grouped = BaseExceptionGroup.exceptions.__get__(error)[:_MAX_CHAIN]
                said["exceptions"] = [self.shown(each, depth - 1) for each in grouped]
        return said

    def _message(self, error: BaseException, frames: list[FrameType]) -> str:
        arguments = BaseException.args.__get__(error)  # type: ignore[attr-defined]
        for argument in arguments[:1]:
            if type(argument) is str:
                return self._scrub(self._literals.of(frames).visible(argument[:_MAX_MESSAGE]))
        return ""


def _frames(traceback: TracebackType | None) -> tuple[list[Json], list[FrameType]]:
    shown: list[Json] = []
    frames: list[FrameType] = []
    while traceback is not None:
        frame = traceback.tb_frame
        frames.append(frame)
        shown.append(
            f"{module_of(frame.f_globals)}:{_name(frame.f_code.co_name)}:{traceback.tb_lineno}"
        )
        traceback = traceback.tb_next
    return shown[-MAX_FRAMES:], frames[-MAX_FRAMES:]


def module_of(scope: dict[str, object]) -> str:
    """The name of a frame's module."""
    return _name(scope.get("__name__"))


def _type_name(kind: type) -> str:
    module = _name(type.__getattribute__(kind, "__module__"))
    name = _name(type.__getattribute__(kind, "__qualname__"))
    return name if module in ("builtins", "?") else f"{module}.{name}"


def _name(text: object) -> str:
    return text if type(text) is str and _NAME.fullmatch(text) else "?"
