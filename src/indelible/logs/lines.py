"""The JSON of one record, in the order in which a person reads it; what may be in it is decided
by `fields`, `literals` and `exceptions`.

::

    {"v":1,"c":"L","t":"2026-11-30T13:30:59.123Z","l":"info","n":"shop.orders","m":"order placed",
     "f":{"total_ms":12,"order":"<str:9>"},"x":{"type":"ValueError",…}}

Whatever a caller names stands under `f`, so it overwrites nothing of ours. `a` are the arguments
of a message that is a template, `dyn` says that the message was put together by the program.
"""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Final

from indelible.events.codec import format_time
from indelible.events.context import Frame, current_frame
from indelible.logs.encoding import Json, ascii_json
from indelible.logs.exceptions import ExceptionShower
from indelible.logs.fields import Judge, Pseudonyms
from indelible.logs.literals import Literals

_MAX_MESSAGE: Final = 8_192
_MAX_TEMPLATES: Final = 4_096
_MAX_MODULES: Final = 4_096
_OURS: Final = "indelible.logs."
_MILLIS: Final = tuple(f"{millis:03d}Z" for millis in range(1_000))
"""More digits of a second would be some code's in a long log."""
_CORRELATION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CORRELATED: Final = ("request", "trace_id", "span_id")
_ARGUMENTS: Final = {
    "uvicorn.access": ("client", "method", "path", "http_version", "status_code"),
}
"""What the arguments of other people's messages are called, by logger: so they are judged by it."""

FindCaller = Callable[[], FrameType | None]


def _no_frame() -> None:
    return None


class LineMaker:
    """Makes the bodies of application lines. Safe for threads; never raises."""

    def __init__(
        self,
        judge: Judge,
        pseudonyms: Pseudonyms,
        shower: ExceptionShower,
        literals: Literals,
        scrub: Callable[[str], str],
    ) -> None:
        self._scrub = scrub
        # What is visible of a message is its author's: there are few, and nobody's data is kept.
        self._dynamic = functools.lru_cache(_MAX_TEMPLATES)(self._shown_dynamic)
        self._templates: dict[int, tuple[object, str, bool]] = {}
        self._judge = judge
        self._pseudonyms = pseudonyms
        self._shower = shower
        self._literals = literals
        self._second = (-1, "")
        self._heads: dict[tuple[str, str], str] = {}

    def body(
        self,
        level: str,
        logger: str,
        message: object,
        *,
        at: float | None = None,
        caller: FindCaller = _no_frame,
        arguments: Sequence[object] | Mapping[str, object] = (),
        fields: Mapping[str, object] | None = None,
        error: BaseException | None = None,
    ) -> str:
        """The line's JSON object without its closing brace.

        `caller` finds the innermost frame of the program that logs, and is asked where a message
        or a name isn't known yet; without a frame (another thread writes for it) no message is
        known to be a literal. `at` is in seconds since 1970.
        """
        millis = int((time.time() if at is None else at) * 1_000)
        second, rest = divmod(millis, 1_000)
        known, begin = self._second
        if known != second:
            begin = self._begin(second)
        head = self._heads.get((level, logger)) or self._head(level, logger)
        template = self._templates.get(id(message))
        if template is None or template[0] is not message:
            template = self._message(message, caller)
        line = f"{begin}{_MILLIS[rest]}{head}{template[1]}"
        if arguments and template[2]:
            line = f'{line},"a":{self._arguments(logger, arguments, caller)}'
        frame = current_frame()
        if frame is not None:
            line += self._circumstances(frame)
        if fields:
            line = f'{line},"f":{self._fields(fields, caller)}'
        if error is not None:
            line = f'{line},"x":{self.exception(error)}'
        return line

    def exception(self, error: BaseException) -> str:
        """What is shown of an exception, as a JSON object."""
        return ascii_json(self._shower.shown(error))

    def _message(self, message: object, caller: FindCaller) -> tuple[object, str, bool]:
        """The message, what is shown of it, and whether its arguments are shown beside it."""
        if type(message) is not str:
            return message, '"m":"<object>"', True
        written = self._literals.of_caller(caller())
        text = message[:_MAX_MESSAGE]
        if written.is_literal(message):
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            # Kept with what it is of, so that no other object gets its id.
            made = self._templates[id(message)] = (message, f'"m":{ascii_json(text)}', True)
            return made
        return message, self._dynamic(written.visible(text)), False

    def _shown_dynamic(self, visible: str) -> str:
        return f'"m":{ascii_json(self._scrub(visible))},"dyn":true'

    def _circumstances(self, frame: Frame) -> str:
        said: dict[str, Json] = {}
        if frame.actor is not None:
            said["by"] = self._pseudonyms.of(str(frame.actor))
        for key in _CORRELATED:
            found = frame.context.get(key)
            if found is not None and _CORRELATION.fullmatch(found):
                said[key] = found
        return f",{ascii_json(said)[1:-1]}" if said else ""

    def _fields(self, given: Mapping[str, object], caller: FindCaller) -> str:
        def is_name(name: str) -> bool:
            return self._literals.of_caller(caller()).has(name)

        return self._judge.fields(given, is_name)

    def _arguments(
        self,
        logger: str,
        arguments: Sequence[object] | Mapping[str, object],
        caller: FindCaller,
    ) -> str:
        if isinstance(arguments, Mapping):
            return self._fields(arguments, caller)
        names = _ARGUMENTS.get(logger)
        if names is not None and len(names) == len(arguments):
            return self._judge.fields(dict(zip(names, arguments, strict=True)), names.__contains__)
        return self._judge.arguments(arguments)

    def _begin(self, second: int) -> str:
        begin = f'{{"v":1,"c":"L","t":"{format_time(second * 1_000_000)[:20]}'
        self._second = (second, begin)
        return begin

    def _head(self, level: str, logger: str) -> str:
        if len(self._heads) > 4_096:
            self._heads.clear()
        head = f'","l":{ascii_json(level[:32].lower())},"n":{ascii_json(logger[:128])},'
        self._heads[level, logger] = head
        return head


class CallerFinder:
    """Finds the innermost frame that is neither ours nor of some packages. Safe for threads."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages
        self._is_inside: dict[str, bool] = {}

    def __call__(self, frame: FrameType | None = None) -> FrameType | None:
        """From `frame` on outwards; without, from whoever asks."""
        if frame is None:
            frame = sys._getframe(1)
        known = self._is_inside
        while frame is not None:
            name = frame.f_globals.get("__name__")
            if type(name) is not str:
                return frame
            is_inside = known.get(name)
            if is_inside is None:
                is_inside = self._learn(name)
            if not is_inside:
                return frame
            frame = frame.f_back
        return None

    def _learn(self, module: str) -> bool:
        if len(self._is_inside) >= _MAX_MODULES:
            self._is_inside.clear()
        package = module.partition(".")[0]
        found = package in self._packages or module.startswith(_OURS)
        self._is_inside[module] = found
        return found
