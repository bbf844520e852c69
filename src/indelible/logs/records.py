"""Log records, made of what is known of the line of code that logs: half of what
`logging.LogRecord` works out, at each call, is the same at each call.

A record of ours has what one of the standard library's has: the first of a call site is one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

_MAX_SITES: Final = 4_096
_NEW: Final = (
    "msg",
    "args",
    "exc_info",
    "stack_info",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "process",
    "processName",
)
_OF_SITE: Final = (
    *("name", "levelname", "levelno", "pathname", "filename", "module", "lineno", "funcName"),
    "exc_text",
)
"""What one call site's records share."""
_IS_KNOWN: Final = set(vars(logging.makeLogRecord({}))) - {"taskName"} == {*_NEW, *_OF_SITE}

_Site = tuple[str, int, str, int, str | None]


class CallSites:
    """The call sites of a program. Safe for threads."""

    def __init__(self) -> None:
        self._known: dict[_Site, tuple[dict[str, Any], float]] = {}

    def make_record(
        self,
        site: _Site,
        message: object,
        arguments: Any,
        exc_info: Any,
        stack_info: str | None,
    ) -> logging.LogRecord:
        """`site` are the logger's name, the level, the path, the line and the function. Whoever
        set a factory for records, or told `logging` what not to find out, gets theirs."""
        factory = logging.getLogRecordFactory()
        known = self._known.get(site)
        if known is None or not (
            factory is logging.LogRecord
            and logging.logThreads
            and logging.logProcesses
            and logging.logMultiprocessing
        ):
            name, level, path, line, function = site
            record = factory(
                name, level, path, line, message, arguments, exc_info, function, stack_info
            )
            if known is None and type(record) is logging.LogRecord and _IS_KNOWN:
                self._keep(site, record)
            return record
        shared, began = known
        now = time.time()
        if arguments and len(arguments) == 1 and isinstance(arguments[0], Mapping) and arguments[0]:
            arguments = arguments[0]
        record = _blank(logging.LogRecord)
        given = record.__dict__
        given.update(shared)
        given["levelname"] = logging.getLevelName(site[1])
        given["msg"] = message
        given["args"] = arguments
        given["exc_info"] = exc_info
        given["stack_info"] = stack_info
        given["created"] = now
        given["msecs"] = now % 1 * 1_000 // 1
        given["relativeCreated"] = (now - began) * 1_000
        given["thread"] = threading.get_ident()
        given["threadName"] = threading.current_thread().name
        given["process"] = os.getpid()
        given["processName"] = _process_name()
        if "taskName" in given:
            given["taskName"] = _task_name()
        return record

    def _keep(self, site: _Site, record: logging.LogRecord) -> None:
        shared = {name: value for name, value in vars(record).items() if name not in _NEW}
        if len(self._known) >= _MAX_SITES:
            self._known.clear()
        self._known[site] = shared, record.created - record.relativeCreated / 1_000


_blank: Final = logging.LogRecord.__new__


def _process_name() -> str:
    processes = sys.modules.get("multiprocessing")
    if processes is None:
        return "MainProcess"
    try:
        return str(processes.current_process().name)
    except Exception:  # noqa: BLE001 - as `logging` has it: a half imported module may raise anything
        return "MainProcess"


def _task_name() -> str | None:
    tasks = sys.modules.get("asyncio")
    if tasks is None or not getattr(logging, "logAsyncioTasks", True):
        return None
    try:
        return str(tasks.current_task().get_name())
    except (RuntimeError, AttributeError):  # no loop, no task
        return None
