"""Explicit events that share a transaction's fate: found by what they are recorded `on`."""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol, cast

from indelible.errors import CaptureError
from indelible.events.context import Frame


class TransactionContext(Protocol):
    """The write context of one captured connection."""

    @property
    def transaction(self) -> str | None: ...

    def record(self, draft: bytes, frame: Frame | None = None) -> None: ...


def context_of(on: object) -> TransactionContext:
    """The write context under `on`: a captured `sqlite3` connection, or SQLAlchemy's `Session` or
    `Connection` on a captured engine.

    Raises `CaptureError` for anything else: an event that isn't in the transaction that it was
    meant for would be a lie.
    """
    held: Any = on
    if not isinstance(on, sqlite3.Connection):
        connect = getattr(on, "connection", None)
        connection: Any = connect() if callable(connect) else on
        proxied = getattr(connection, "connection", None)
        held = getattr(proxied, "info", {}).get("indelible")
    found = getattr(held, "context", None)
    if not hasattr(found, "record"):
        raise CaptureError(
            "expected a captured sqlite3 connection, or a SQLAlchemy Session or Connection on a "
            f"captured engine, got {type(on).__module__}.{type(on).__qualname__}: call "
            "capture(engine, trail) first"
        )
    return cast("TransactionContext", found)
