"""For the standard library's `logging`: a handler, and the class of loggers that can audit.

Redaction is done in the handler (or the formatter), where every record passes: a filter on a logger
never sees the records of its children.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from types import FrameType, FunctionType
from typing import Any, Final, Protocol, Unpack

from indelible.errors import DeliveryError, EventError
from indelible.events.explicit import ExplicitArguments
from indelible.logs.lines import CallerFinder, LineMaker
from indelible.logs.records import CallSites
from indelible.logs.stream import LogStream

AUDIT: Final = 60
"""The level for who logs audit events through `logging`; above every other, so that a threshold
doesn't hide it."""

_FIELDS: Final = "indelible_fields"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    _FIELDS,
}
_NOTHING: Final[Mapping[str, object]] = {}
_LOG: Final = logging.Logger._log.__code__
_outside: Final = CallerFinder("logging")
_LOGGING: Final = logging.Logger.log.__code__.co_filename
_INTERNAL: Final = frozenset(
    (
        _LOGGING,
        __file__,
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
    )
)


class Auditing(Protocol):
    """Takes audit events."""

    def audit(self, action: str, **said: Unpack[ExplicitArguments]) -> None: ...


class SafeHandler(logging.Handler):
    """Writes each record as one line to the stream. Whatever a record holds, the line is whole,
    the record isn't lost, and the application isn't disturbed."""

    def __init__(self, lines: LineMaker, stream: LogStream, auditor: Auditing) -> None:
        super().__init__()
        self._lines = lines
        self._stream = stream
        self._auditor = auditor

    def createLock(self) -> None:
        """The stream has a lock of its own, which a forked child gets anew."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> Any:
        """See `logging.Handler.handle`; without its lock."""
        if not self.filters:
            self.emit(record)
            return record
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`. Raises `DeliveryError` only if its owner chose so."""
        if record.levelno == AUDIT:
            audit_record(self._auditor, record)
            return
        self._stream.write("L", record_body(self._lines, record))

    def say(
        self,
        level: int,
        logger: str,
        message: object,
        arguments: Any,
        exc_info: Any,
        fields: Mapping[str, object] | None,
    ) -> None:
        """What `emit` does, for a call of a logger of which nobody else would see a record."""
        try:
            body = self._lines.body(
                logging.getLevelName(level),
                logger,
                message,
                caller=_direct_caller,
                arguments=_merged(arguments) if arguments else (),
                fields=fields,
                error=None if exc_info is None else _error_of(exc_info),
            )
        except Exception as problem:  # noqa: BLE001 - a record that can't be shown is still one
            body = _unshowable(self._lines, problem)
        self._stream.write("L", body)


def _merged(arguments: Any) -> Any:
    """As `logging.LogRecord` has it: one mapping names what a template has places for."""
    if len(arguments) == 1 and isinstance(arguments[0], Mapping) and arguments[0]:
        return arguments[0]
    return arguments


def _error_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) == 3 else None
    return sys.exc_info()[1] if exc_info else None


def record_body(lines: LineMaker, record: logging.LogRecord) -> str:
    """What is shown of a record: its line without the closing brace. Never raises."""
    try:
        return _body(lines, record)
    except Exception as problem:  # noqa: BLE001 - a record that can't be shown is still one
        return _unshowable(lines, problem)


def _unshowable(lines: LineMaker, problem: Exception) -> str:
    frame = sys._getframe()
    return lines.body(
        "error",
        "indelible",
        "a record that couldn't be shown",
        caller=lambda: frame,
        fields={"module": type(problem).__name__},
    )


def _body(lines: LineMaker, record: logging.LogRecord) -> str:
    fields: Mapping[str, object] | None = record.__dict__.get(_FIELDS)
    if fields is None:
        fields = _extra(record)
    info = record.exc_info
    return lines.body(
        record.levelname if type(record.levelname) is str else "notset",
        record.name if type(record.name) is str else "?",
        record.msg,
        at=record.created,
        caller=_caller,
        arguments=record.args or (),
        fields=fields,
        error=info[1] if isinstance(info, tuple) else None,
    )


def _direct_caller() -> FrameType | None:
    """Who called the logger, where there is no record: `_message` (or what is deeper), `body`,
    `say` and `_log` are between, and what called `_log`."""
    return _outside(sys._getframe(5))


def _caller() -> FrameType | None:
    """Who called the logger: between it and us may be loggers and handlers of anybody's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _LOG:
        frame = frame.f_back
    return _outside(frame)


def audit_record(auditor: Auditing, record: logging.LogRecord) -> None:
    """A record at the level AUDIT: its message is the action, its `extra` what is said of it."""
    audit_message(auditor, record.msg, _extra(record))


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def audit_message(auditor: Auditing, message: object, extra: Mapping[str, object]) -> None:
    """An audit event from a logging call: known names are its parts, all others its details."""
    known: dict[str, Any] = {}
    details: dict[str, Any] = {}
    for name, value in extra.items():
        (known if name in ExplicitArguments.__annotations__ else details)[name] = value
    try:
        action = message if type(message) is str else type(message).__name__
        auditor.audit(action, **{"details": details or None, **known})
    except DeliveryError:
        raise
    except Exception as problem:  # noqa: BLE001 - logging must not break who logs
        # What can't be written down as it was said is an event all the same: that, and why.
        why = str(problem)[:500] if isinstance(problem, EventError) else type(problem).__name__
        auditor.audit("audit.unreadable", details={"why": why})


_SAFE: Final = (SafeHandler.emit, SafeHandler.handle)
_UNPATCHED: Final = tuple(
    each if type(each) is FunctionType and each.__code__.co_filename == _LOGGING else None
    for each in (logging.Logger._log, logging.Logger.handle, logging.Logger.callHandlers)
)
"""By which others see records without a handler: Sentry and New Relic replace `callHandlers`."""


class SafeLogger(logging.Logger):
    """A logger that can audit, and whose callers' `extra` never raises."""

    auditor: Auditing | None = None
    sites: Final = CallSites()

    def audit(self, action: str, **said: Unpack[ExplicitArguments]) -> None:
        """See `indelible.logs.audit`: no level, filter or handler comes between."""
        if self.auditor is not None:
            self.auditor.audit(action, **said)

    def findCaller(
        self, stack_info: bool = False, stacklevel: int = 1
    ) -> tuple[str, int, str, str | None]:
        """See `logging.Logger.findCaller`: neither `logging` nor this module is who called."""
        frame = sys._getframe(1)
        while frame.f_back is not None:
            if frame.f_code.co_filename not in _INTERNAL:
                stacklevel -= 1
                if stacklevel <= 0:
                    break
            frame = frame.f_back
        code = frame.f_code
        stack = None
        if stack_info:
            shown = "".join(traceback.format_stack(frame)).rstrip("\n")
            stack = f"Stack (most recent call last):\n{shown}"
        return code.co_filename, frame.f_lineno, code.co_name, stack

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """See `logging.Logger.log`; at AUDIT it is `audit`."""
        if level == AUDIT and self.auditor is not None:
            audit_message(self.auditor, msg, kwargs.get("extra") or {})
            return
        super().log(level, msg, *args, **kwargs)

    def _log(
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        """See `logging.Logger._log`. Where nobody but a safe handler would see the record, it isn't
        made: that and the way through `logging` cost as much as all that the handler does."""
        handler = self._only_handler(level)
        if handler is None:
            super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel)
        else:
            handler.say(level, self.name, msg, args, exc_info, extra)

    def _only_handler(self, level: int) -> SafeHandler | None:
        """The safe handler to which a record would go, if it would go nowhere else."""
        kind = logging.Logger
        if (
            type(self) not in _OURS
            or self.filters
            or self.disabled
            or level == AUDIT
            or (kind._log, kind.handle, kind.callHandlers) != _UNPATCHED
            or logging.getLogRecordFactory() is not logging.LogRecord
        ):
            return None
        found: SafeHandler | None = None
        logger: logging.Logger | None = self
        while logger is not None:
            for handler in logger.handlers:
                if (
                    found is not None
                    or not isinstance(handler, SafeHandler)
                    or (type(handler).emit, type(handler).handle) != _SAFE
                    or handler.filters
                    or level < handler.level
                ):
                    return None
                found = handler
            if not logger.propagate:
                break
            logger = logger.parent
        return found

    def makeRecord(
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Mapping[str, object] | None = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        """See `logging.Logger.makeRecord`; a name in `extra` that is the record's own is given an
        underscore behind it."""
        site = (name, level, fn, lno, func)
        record = self.sites.make_record(site, msg, args, exc_info, sinfo)
        given = record.__dict__
        given[_FIELDS] = extra or _NOTHING
        if extra:
            for key, value in extra.items():
                given[f"{key}_" if key in _STANDARD else key] = value
        return record


class SafeRootLogger(SafeLogger, logging.RootLogger):
    """The root, likewise."""


_OURS: Final = (SafeLogger, SafeRootLogger)
"""Somebody's kind of them may have a `handle` or `makeRecord` of its own."""
