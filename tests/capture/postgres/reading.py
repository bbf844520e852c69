"""Reading from the sample database through SQLAlchemy, with capture and without."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.capture.reads.host import SAMPLES, MemoryHost
from tests.servers import Database, PostgresServer

from indelible.capture.sqlalchemy import capture
from indelible.events.model import Actor
from indelible.policy import parse_policy

from .shapes import SAMPLE_TABLES

T = TypeVar("T")

TRUDY = Actor("staff", "trudy")
DRIVERS = [("psycopg", False), ("psycopg2", False), ("psycopg", True), ("asyncpg", True)]
POLICY = """
[trail]
url = "sqlite:///trail.db"
[database]
url = "{url}"
[tables.customer]
subject = "self"
mask = ["email"]
[tables.invoice]
subject = "customer_id -> customer"
[tables.invoice_line]
subject = "invoice_id -> invoice.customer_id -> customer"
[tables.account]
subject = "holder -> holder"
[tables.unwatched]
reads = false
[tables.vault]
durability = "strict"
"""


def fill(database: Database) -> None:
    """The sample database, and tables of every kind."""
    script = (SAMPLES / "chinook_postgresql.sql").read_text(encoding="utf-8")
    script = re.sub(r"(?m)^(?:DROP DATABASE|CREATE DATABASE|\\c).*$", "", script)
    with contextlib.closing(database.connect()) as connection, connection.transaction():
        connection.execute(script.encode() + SAMPLE_TABLES.encode())
        connection.execute("GRANT USAGE ON SCHEMA crm TO app")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public, crm TO app")
        # Query plans hang on it, and whether a text that leaves rows out is told by row on those.
        connection.execute("ANALYZE")


def host_of(database: Database) -> MemoryHost:
    return MemoryHost(parse_policy(POLICY.format(url=database.url())))


@pytest.fixture(scope="module")
def chinook(postgres: PostgresServer) -> Iterator[Database]:
    database = Database(postgres, "chinook")
    fill(database)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


class HasUrl(Protocol):
    """A database of either server."""

    def url(self, account: str = ...) -> str: ...


class Reader:
    """An engine through one driver; captured, if there is a `host`."""

    def __init__(
        self,
        database: HasUrl,
        driver: tuple[str, bool],
        runner: asyncio.Runner,
        host: MemoryHost | None = None,
        **options: Any,
    ) -> None:
        name, is_async = driver
        url = database.url("app").replace("://", f"+{name}://", 1)
        self._runner = runner
        self.engine: Engine | AsyncEngine
        create = create_async_engine if is_async else create_engine
        self.engine = create(url, **options)  # type: ignore[operator]
        if host is not None:
            capture(self.engine, host)

    def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` makes of a connection."""
        if isinstance(self.engine, Engine):
            with self.engine.connect() as connection:
                return work(connection)
        return self._runner.run(self._run(work), context=contextvars.copy_context())

    async def _run(self, work: Callable[[Connection], T]) -> T:
        assert isinstance(self.engine, AsyncEngine)
        async with self.engine.connect() as connection:
            return await connection.run_sync(work)

    def close(self) -> None:
        if isinstance(self.engine, Engine):
            self.engine.dispose()
        else:
            self._runner.run(self.engine.dispose())
