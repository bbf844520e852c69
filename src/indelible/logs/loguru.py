"""For loguru: `logger.remove(); logger.add(indelible.logs.loguru.sink, level=0)`.

loguru has put the message together by the time that a sink sees it: what a template was given is
withheld as in an f-string. Only `logger.info("a literal")` shows the whole of it; fields are those
of `bind` and of the call. The sink must not be enqueued: another thread has no caller.
"""

from __future__ import annotations

from typing import Any, Final

from indelible.logs.handler import AUDIT, audit_message
from indelible.logs.lines import CallerFinder
from indelible.logs.setup import current

_caller: Final = CallerFinder("loguru")


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
        caller=_caller,
        fields=fields,
        error=None if raised is None else raised.value,
    )
    running.stream.write("L", body)
