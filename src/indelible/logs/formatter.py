"""For who must keep a handler of `logging` (a file, a socket, syslog): the same lines as text.

What a handler does with a text is its own: it may write it in pieces, lose it, or ask no formatter
(`SocketHandler` and `HTTPHandler` send the record itself). The text has neither number nor MAC, so
whoever can write to the same place can forge it, and what is missing there isn't noticed.
"""

from __future__ import annotations

import logging
from typing import Any, Unpack

from indelible.errors import ConfigurationError
from indelible.events.explicit import ExplicitArguments, explicit_event
from indelible.logs.auditing import unkept_body
from indelible.logs.handler import AUDIT, audit_record, record_body
from indelible.logs.lines import LineMaker


class SafeFormatter(logging.Formatter):
    """Makes of each record one line of printable ASCII JSON, without its line break: the one that
    `SafeHandler` writes. Whatever a record holds, no method raises.

    A record at `AUDIT` is shown as that it happened, and what: a formatter keeps no event.
    """

    def __init__(self, lines: LineMaker) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`. Unlike that it leaves nothing behind in the record that
        another handler would write: neither `message` nor `exc_text`."""
        if record.levelno == AUDIT:
            shown = _Shown()
            audit_record(shown, record)
            return shown.body + "}"
        return record_body(self._lines, record) + "}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The same line, for handlers that ask for a message alone."""
        return self.format(record)

    def formatException(self, ei: Any) -> str:
        """An exception as `format` shows it, for handlers that ask for it alone."""
        error = ei[1] if isinstance(ei, tuple) and len(ei) == 3 else None
        return self._lines.exception(error) if isinstance(error, BaseException) else "{}"

    def formatStack(self, stack_info: str) -> str:
        """Nothing: where it was logged is no part of a line."""
        return ""


class _Shown:
    """Takes one audit event, of which only the action is shown."""

    body = ""

    def audit(self, action: str, **said: Unpack[ExplicitArguments]) -> None:
        self.body = unkept_body(explicit_event(action, **said).action)


def check_layout(fmt: object, datefmt: object) -> None:
    """Raises `ConfigurationError` where a format was asked for."""
    if fmt is not None or datefmt is not None:
        raise ConfigurationError(
            "expected neither format nor datefmt with indelible.logs.Formatter, got one: its lines "
            "are JSON, and what stands in them is said by `fields`"
        )
