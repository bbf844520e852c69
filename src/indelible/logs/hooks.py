"""Uncaught exceptions and warnings go through the stream: as the interpreter prints them, their
text would forge lines and show whatever stands in it. SIGTERM ends the stream before the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from types import FrameType, TracebackType
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
        self._ends_at_sigterm = False

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
        # Who stops a service says SIGTERM, and some servers (uvicorn) do so to themselves when they
        # are done: that is an orderly end, and nothing to be noticed.
        if (
            self._stream.is_signed
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            signal.signal(signal.SIGTERM, self._terminated)
            self._ends_at_sigterm = True

    def uninstall(self) -> None:
        if self._before is not None:
            (
                sys.excepthook,
                threading.excepthook,
                sys.unraisablehook,
                warnings.showwarning,
            ) = self._before
            self._before = None
        if self._ends_at_sigterm and threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGTERM) == self._terminated:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._ends_at_sigterm = False

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self._stream.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

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
