"""Each shape of read, through each driver: the result is that of an engine without capture, and
the rows recorded are those that an independent key query finds."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.capture.reads.host import SAMPLES, MemoryHost, ids_by_kind, targets
from tests.servers import Database, PostgresServer

from indelible.capture.sqlalchemy import capture
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.events.values import TypedValue
from indelible.policy import parse_policy

from .shapes import SAMPLE_TABLES, SHAPES, Shape

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


class Reader:
    """An engine through one driver."""

    def __init__(self, url: str, *, is_async: bool, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.engine: Engine | AsyncEngine
        self.engine = create_async_engine(url) if is_async else create_engine(url)

    def read(self, shape: Shape) -> tuple[object, ...]:
        """What the application sees."""
        return self.run(lambda connection: result_of(connection, shape))

    def run(self, work: Any) -> Any:
        if isinstance(self.engine, Engine):
            with self.engine.connect() as connection:
                return work(connection)
        return self._runner.run(self._run(work), context=contextvars.copy_context())

    async def _run(self, work: Any) -> Any:
        assert isinstance(self.engine, AsyncEngine)
        async with self.engine.connect() as connection:
            return await connection.run_sync(work)

    def close(self) -> None:
        if isinstance(self.engine, Engine):
            self.engine.dispose()
        else:
            self._runner.run(self.engine.dispose())


def result_of(connection: Any, shape: Shape) -> tuple[object, ...]:
    result = connection.execute(text(shape.sql), shape.parameters)
    return repr(result.all()), tuple(result.keys()), result.rowcount


@pytest.fixture(scope="module", params=DRIVERS, ids=lambda it: f"{it[0]}{'-async' * it[1]}")
def readers(
    request: pytest.FixtureRequest, chinook: Database, loop: asyncio.Runner
) -> Iterator[tuple[Reader, Reader, MemoryHost]]:
    """Without capture, with capture, and the trail of that."""
    driver, is_async = request.param
    url = chinook.url("app").replace("postgresql://", f"postgresql+{driver}://")
    host = MemoryHost(parse_policy(POLICY.format(url=chinook.url())))
    plain = Reader(url, is_async=is_async, runner=loop)
    captured = Reader(url, is_async=is_async, runner=loop)
    capture(captured.engine, host)
    yield plain, captured, host
    plain.close()
    captured.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape(shape: Shape, readers: tuple[Reader, Reader, MemoryHost], chinook: Database) -> None:
    """The application sees what it always saw; the trail names exactly the rows it was given."""
    plain, captured, host = readers
    host.take()
    expected = plain.read(shape)

    with acting_as(TRUDY):
        seen = captured.read(shape)

    assert seen == expected
    events = host.take()
    assert {kind: set(map(told, ids)) for kind, ids in ids_by_kind(events).items()} == {
        kind: keys_of(chinook, query) for kind, query in shape.rows.items()
    }
    for target in targets(events):
        assert target.coverage == shape.coverage.get(target.kind, "exact"), target.why
        assert (target.why is None) == (target.coverage == "exact")
    if shape.subjects is not None:
        named = {subject.id for event in events for subject in event.subjects}
        assert named == keys_of(chinook, shape.subjects)
    for event in events:
        assert event.actor == TRUDY
        assert event.statement is not None
        assert set(shape.consulted) <= set(event.statement.tables)
    assert host.journal.is_synced
    assert set(host.notices) <= {"capture.not_installed"}  # of writes, which aren't looked at here


def told(id_: tuple[object, ...]) -> str:
    """An id as the key queries tell it."""
    return "/".join(str(part.v if isinstance(part, TypedValue) else part) for part in id_)


def keys_of(database: Database, query: str) -> set[str]:
    if not query:
        return set()
    with contextlib.closing(database.connect()) as connection:
        return {
            str(row[0])
            for row in connection.execute(f"SELECT q.k FROM ({query}) AS q(k)").fetchall()
        }
