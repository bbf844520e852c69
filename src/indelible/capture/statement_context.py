"""What reads need of the writes' side: to say who acts, around each statement that may write."""

from __future__ import annotations

import sqlite3
from typing import Protocol

from indelible.capture.host import CaptureHost
from indelible.capture.sqlite_context import WriteContext
from indelible.errors import IndelibleError, NotInstalledError
from indelible.events.context import Frame


class StatementContext(Protocol):
    """The context of one connection; see `sqlite_context.WriteContext`."""

    def enter(self, frame: Frame | None, *, is_many: bool = False) -> None:
        """A statement that isn't proven to be a read is about to run for `frame`'s actor."""

    def leave(self) -> None:
        """It ran, or failed."""

    def ended(self) -> None:
        """The transaction was committed or rolled back."""

    def explain(self, error: sqlite3.Error) -> IndelibleError | None:
        """Our error for what the database refused on our account."""

    @property
    def transaction(self) -> str | None:
        """The id under which the writes of the transaction that is open now are recorded."""


class NoContext:
    """For a database whose writes aren't captured: there is nobody to tell."""

    transaction: str | None = None

    def enter(self, frame: Frame | None, *, is_many: bool = False) -> None:
        pass

    def leave(self) -> None:
        pass

    def ended(self) -> None:
        pass

    def explain(self, error: sqlite3.Error) -> IndelibleError | None:
        return None


def context_of(connection: sqlite3.Connection, trail: CaptureHost) -> StatementContext:
    """The context of `connection`, called in the thread that it belongs to.

    Where the database has no triggers of ours its reads are captured all the same, and that its
    writes aren't is noticed. Raises `ConfigurationError` as `WriteContext` does.
    """
    try:
        return WriteContext(connection, trail)
    except NotInstalledError:
        trail.notice(
            "capture.not_installed", "reads are captured, writes aren't: run `indelible install`"
        )
        return NoContext()
