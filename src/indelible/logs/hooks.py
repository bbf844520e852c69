"""Uncaught exceptions and warnings go through the stream: as the interpreter prints them, their
text would forge lines and show whatever stands in it."""

from __future__ import annotations

import sys
import threading
import warnings
from types import TracebackType
from typing import Any

from indelible.logs.lines import LineMaker
from indelible.logs.stream import LogStream


class Hooks:
    """The interpreter's hooks, ours while installed. A debugger's or a framework's that is set
    later takes their place."""

    def __init__(self, lines: LineMaker, stream: LogStream) -> None:
        self._lines = lines
        self._stream = stream
        self._before: tuple[Any, Any, Any, Any] | None = None

    def install(self) -> None:
        self._before = (
            sys.excepthook,
            threading.excepthook,
            sys.unraisablehook,
            warnings.showwarning,
        )
        sys.excepthook = self._uncaught
        threading.excepthook = self._uncaught_in_thread
        sys.unraisablehook = self._unraisable
        warnings.showwarning = self._warning

    def uninstall(self) -> None:
        if self._before is not None:
            (
                sys.excepthook,
                threading.excepthook,
                sys.unraisablehook,
                warnings.showwarning,
            ) = self._before
            self._before = None

    def _uncaught(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._say("warning", "interrupted", None)
        else:
            self._say("critical", "uncaught exception", error)

    def _uncaught_in_thread(self, hooked: threading.ExceptHookArgs) -> None:
        if hooked.exc_type is not SystemExit:
            self._say("critical", "uncaught exception in a thread", hooked.exc_value)

    def _unraisable(self, hooked: sys.UnraisableHookArgs) -> None:
        self._say("error", "exception that could not be raised", hooked.exc_value)

    def _warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        """The text of a warning isn't shown: it is put together of what went wrong."""
        self._say("warning", "warning", None, {"warning": category.__name__, "lineno": lineno})

    def _say(
        self,
        level: str,
        what: str,
        error: BaseException | None,
        fields: dict[str, object] | None = None,
    ) -> None:
        frame = sys._getframe(1)
        body = self._lines.body(
            level, "python", what, caller=lambda: frame, fields=fields, error=error
        )
        self._stream.write("L", body)
