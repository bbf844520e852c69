"""For loguru: `logger.remove(); logger.add(indelible.logs.loguru.sink, level=0)`.

loguru has put the message together by the time that a sink sees it: what a template was given is
withheld as in an f-string. Only `logger.info("a literal")` shows the whole of it; fields are those
of `bind` and of the call. The sink must not be enqueued: another thread has no caller.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from indelible.logs.handler import AUDIT, audit_message
from indelible.logs.setup import current


def sink(message: Any) -> None:
    """Write one record of loguru's as a safe line; at level 60 (AUDIT) as an audit event."""
    record = message.record
    running = current()
    fields: dict[str, object] = dict(record["extra"])
    if record["level"].no == AUDIT:
        audit_message(running.auditor, record["message"], fields)
        return
    raised = record["exception"]
    body = running.lines.body(
        record["level"].name.lower(),
        str(record["name"]),
        record["message"],
        at=record["time"].timestamp(),
        caller=_calling_frame(),
        fields=fields,
        error=None if raised is None else raised.value,
    )
    running.stream.write("L", body)


def _calling_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("loguru"):
        frame = frame.f_back
    return frame
