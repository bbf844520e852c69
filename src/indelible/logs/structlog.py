"""For structlog: `configure(**indelible.logs.structlog.settings())`.

The event must be a literal, key-values are fields. `log.audit("user.logged_in", …)` is an audit
event that no processor or level comes between.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any, Final, NoReturn

try:
    import structlog
except ImportError as error:  # pragma: no cover - in an environment without the extra
    raise ImportError("expected structlog: pip install 'indelible[structlog]'") from error

from indelible.logs.handler import audit_message
from indelible.logs.lines import CallerFinder
from indelible.logs.setup import current

_LEVELS: Final = frozenset(("debug", "info", "warning", "error", "critical", "exception"))
_caller: Final = CallerFinder("structlog", "logging")


def settings(*, min_level: int = 0) -> dict[str, Any]:
    """What `structlog.configure` is to be given."""
    return {
        "processors": [structlog.contextvars.merge_contextvars, write_line],
        "wrapper_class": bound_logger(min_level),
        "logger_factory": _Named,
        "cache_logger_on_first_use": True,
    }


class _Named:
    """What `structlog.get_logger("shop.orders")` wraps: it has a name, and nothing else to do."""

    __slots__ = ("name",)

    def __init__(self, name: object = None) -> None:
        self.name = name


def bound_logger(min_level: int) -> type[Any]:
    """structlog's filtering logger for levels from `min_level` on, with `audit`."""
    base: type[Any] = structlog.make_filtering_bound_logger(min_level)

    class AuditingLogger(base):  # type: ignore[misc]
        def audit(self, action: str, **said: Any) -> None:
            """An audit event, with what is bound to the logger as its details."""
            audit_message(current().auditor, action, {**self._context, **said})

    return AuditingLogger


def write_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
    """The last processor: writes the line. Raises `structlog.DropEvent`, as nothing is left to
    do."""
    running = current()
    fields: dict[str, object] = dict(event)
    message = fields.pop("event", "")
    error = _error_of(fields.pop("exc_info", None))
    name = fields.pop("logger", None) or getattr(logger, "name", None)
    if name is None and (frame := _caller()) is not None:
        name = frame.f_globals.get("__name__")
    body = running.lines.body(
        method if method in _LEVELS else "info",
        name if type(name) is str else "structlog",
        message,
        caller=_caller,
        fields=fields,
        error=error,
    )
    running.stream.write("L", body)
    raise structlog.DropEvent


def _error_of(info: object) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
        return info[1]
    return sys.exc_info()[1] if info else None
