"""Explicit events that share a transaction's fate: found by what they are recorded `on`."""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

from indelible.errors import CaptureError
from indelible.events.context import Frame

CAPTURED: Final = "indelible"
"""The attribute of an engine's dialect that holds its capture (`Recorders`)."""


class TransactionContext(Protocol):
    """The write context of one captured connection."""

    @property
    def transaction(self) -> str | None: ...

    def record(self, draft: bytes, frame: Frame | None = None) -> None: ...


class Recorders(Protocol):
    """The capture of one engine."""

    def recorder(self, pooled: Any) -> TransactionContext:
        """Where an event goes that is recorded on this connection of the pool."""


class Recording:
    """What stands for an asynchronous connection where events are recorded on it."""

    def __init__(self, context: TransactionContext) -> None:
        self.context = context


def context_of(on: object) -> TransactionContext:
    """The write context under `on`: a captured connection of a driver, or SQLAlchemy's `Session` or
    `Connection` on a captured engine, of which the transaction has begun when this returns.

    Raises `CaptureError` for anything else: an event that isn't in the transaction that it was
    meant for would be a lie.
    """
    if is_async(on):
        raise CaptureError(
            f"expected a synchronous session or connection, got {type(on).__qualname__}: "
            "`await trail.record_async(…, on=…)` takes it"
        )
    found: Any = getattr(on, "context", None)
    if not hasattr(found, "record"):
        connect = getattr(on, "connection", None)
        connection: Any = connect() if callable(connect) else on
        captured = getattr(getattr(connection, "dialect", None), CAPTURED, None)
        if captured is not None:
            if not connection.in_transaction():
                # The driver is about to begin one: SQLAlchemy must know, or commits nothing.
                connection.begin()
            found = cast("Recorders", captured).recorder(connection.connection)
    if not hasattr(found, "record"):
        raise CaptureError(
            "expected a captured connection of sqlite3, psycopg, psycopg2 or PyMySQL, or a "
            "SQLAlchemy Session or Connection on a captured engine, got "
            f"{type(on).__module__}.{type(on).__qualname__}: call "
            "capture(engine, trail) first"
        )
    return cast("TransactionContext", found)


def is_async(on: object) -> bool:
    """Whether `on` is SQLAlchemy's `AsyncSession` or `AsyncConnection`, or a captured connection of
    an asynchronous driver."""
    return hasattr(on, "run_sync")
