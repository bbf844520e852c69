"""The application as the day uses it: once by itself, once with two lines of Indelible."""

from __future__ import annotations

import contextlib
import sqlite3
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from indelible import Subject, Target, Trail

from .chinook import enforce_foreign_keys, make_database

POLICY = textwrap.dedent(
    """
    [trail]
    url = "sqlite:///trail.db"

    [database]
    url = "sqlite:///app.db"

    [tables.Customer]
    subject = "self"
    mask = ["Fax"]

    [tables.Invoice]
    subject = "CustomerId -> Customer"

    [tables.InvoiceLine]
    subject = "InvoiceId -> Invoice.CustomerId -> Customer"

    [tables.SupportCase]
    subject = "CustomerId -> Customer"

    [tables.CaseNote]
    subject = "CaseId -> SupportCase.CustomerId -> Customer"
    without_values = ["Body"]

    [tables.LoyaltyCard]
    subject = "CustomerId -> Customer"

    [tables.Visit]
    subject = "CustomerId -> Customer"
    """
)


class Site(Protocol):
    """How the application reaches its database, and says what no table shows."""

    database: Path
    engine: Engine

    def connect(self, **options: Any) -> sqlite3.Connection:
        """A connection of the `sqlite3` module."""

    def async_engine(self) -> AsyncEngine:
        """An engine for the event loop that runs now; its user disposes of it."""

    def record(
        self,
        action: str,
        *,
        target: Target | None = None,
        subject: Subject | None = None,
        on: Any = None,
        **more: Any,
    ) -> None:
        """`Trail.record`, where there is a trail."""


class PlainSite:
    """The application without Indelible."""

    def __init__(self, directory: Path, *, journal_mode: str = "delete") -> None:
        self.database = make_database(directory / "app.db")
        set_journal_mode(self.database, journal_mode)
        self.engine = create_engine(f"sqlite:///{self.database}")
        enforce_foreign_keys(self.engine)

    def connect(self, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(self.database, **options)

    def async_engine(self) -> AsyncEngine:
        engine = create_async_engine(f"sqlite+aiosqlite:///{self.database}")
        enforce_foreign_keys(engine.sync_engine)
        return engine

    def record(self, action: str, **more: Any) -> None:
        pass

    def close(self) -> None:
        self.engine.dispose()


class AuditedSite:
    """The same application, captured into a trail beside its database."""

    def __init__(self, directory: Path, *, journal_mode: str = "delete") -> None:
        from indelible.capture.sqlalchemy import capture

        self.database = make_database(directory / "app.db")
        set_journal_mode(self.database, journal_mode)
        self.configuration = directory / "indelible.toml"
        self.configuration.write_text(POLICY)
        self.trail = Trail.create(self.configuration)
        self.engine = create_engine(f"sqlite:///{self.database}")
        enforce_foreign_keys(self.engine)
        capture(self.engine, self.trail)

    def connect(self, **options: Any) -> sqlite3.Connection:
        from indelible.capture.sqlite3 import connect

        return connect(self.database, trail=self.trail, **options)

    def async_engine(self) -> AsyncEngine:
        from indelible.capture.sqlalchemy import capture

        engine = create_async_engine(f"sqlite+aiosqlite:///{self.database}")
        enforce_foreign_keys(engine.sync_engine)
        capture(engine, self.trail)
        return engine

    def record(self, action: str, **more: Any) -> None:
        self.trail.record(action, **more)

    def close(self) -> None:
        self.engine.dispose()
        self.trail.close()


def set_journal_mode(database: Path, mode: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")


@contextlib.contextmanager
def opened(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """`connection` with foreign keys enforced, closed at the end."""
    with contextlib.closing(connection):
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection
