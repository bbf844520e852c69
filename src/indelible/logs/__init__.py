"""Application logs that are safe to leak, and audit lines that can't be forged.

>>> from indelible import logs
>>> logs.configure(service="shop")
>>> logging.getLogger(__name__).info("order placed", extra={"total_ms": 12})
>>> logs.audit("user.logged_in", target=Target("account", "17"))

Under `indelible tee -- COMMAND` audit lines go to the trail, the others on to stderr.
"""

from __future__ import annotations

from typing import Any, Unpack

from indelible.events.explicit import ExplicitArguments
from indelible.logs.fields import Pseudonym, Public, Sealed, Secret
from indelible.logs.formatter import SafeFormatter, check_layout
from indelible.logs.handler import AUDIT, SafeHandler
from indelible.logs.setup import configure, current, dict_config, is_configured, make_lines
from indelible.logs.stream import Stuck

__all__ = [
    "AUDIT",
    "Formatter",
    "Handler",
    "Pseudonym",
    "Public",
    "Sealed",
    "Secret",
    "Stuck",
    "audit",
    "configure",
    "dict_config",
]


def audit(action: str, **said: Unpack[ExplicitArguments]) -> None:
    """Say that something happened, by whoever acts now (`acting_as`): an event of the trail.

    Takes what `Trail.record` takes. No level, filter or configuration of `logging` comes between.
    Under a tee it is on the stream when this returns; see `LogStream` for a stream that nobody
    reads. Raises `EventError` for what no event can hold, and `DeliveryError` as the owner chose.
    """
    current().auditor.audit(action, **said)


class Handler(SafeHandler):
    """The handler for `logging.config.dictConfig`: `{"class": "indelible.logs.Handler"}`.

    Beside `class` may stand what `configure` takes (`service`, `fields`, `key_file`, ...): it is
    called with that, and the root logger stays as it is. Without, the handler writes to the stream
    that there is.
    """

    def __init__(self, **settings: Any) -> None:
        if settings or not is_configured():
            configure(root=False, **settings)
        running = current()
        super().__init__(running.lines, running.stream, running.auditor)


class Formatter(SafeFormatter):
    """The formatter for `logging.config.dictConfig`: `{"()": "indelible.logs.Formatter"}`.

    For handlers of any kind that write text. Beside `()` may stand `fields`, `undeclared`,
    `seal_to`, `key_file` and `scrub`, as `configure` takes them; without any, what `configure` was
    given holds here, too. Nothing else is configured: loggers stay as they are, uncaught exceptions
    have no hook, and `audit` has no way out. `fmt` and `datefmt` are for who calls it as a
    `logging.Formatter`: they must be None. Raises `ConfigurationError`.
    """

    def __init__(
        self, fmt: None = None, datefmt: None = None, style: str = "%", **settings: Any
    ) -> None:
        check_layout(fmt, datefmt)
        shares = not settings and is_configured()
        super().__init__(current().lines if shares else make_lines(**settings))
