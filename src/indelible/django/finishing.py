"""What is done when a request has ended."""

from __future__ import annotations

from typing import Any, cast

from django.core.signals import request_finished
from django.db import connections


def write_down_after_requests(kind: type, name: str) -> None:
    """What connections of `kind` handed out is on disk when a request has ended, though they stay
    open. `name` is the backend's."""

    def write_down(**_: object) -> None:
        for wrapper in connections.all(initialized_only=True):
            connection: Any = cast("Any", wrapper).connection
            if isinstance(connection, kind):
                cast("Any", connection).captured.check_in()

    request_finished.connect(write_down, weak=False, dispatch_uid=f"indelible.{name}.write_down")
