"""Each shape of read, through each driver: the result is that of an engine without capture, and
the rows recorded are those that an independent key query finds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from tests.capture.reads.host import MemoryHost, ids_by_kind, targets
from tests.servers import Database

from indelible.events.context import acting_as
from indelible.events.values import TypedValue

from .alone import ALONE, each_through_one, says_the_same
from .reading import DRIVERS, TRUDY, Reader, chinook, host_of, loop
from .shapes import SHAPES, Shape

__all__ = ["chinook", "loop"]


@pytest.fixture(scope="module", params=DRIVERS, ids=lambda it: f"{it[0]}{'-async' * it[1]}")
def readers(
    request: pytest.FixtureRequest, chinook: Database, loop: asyncio.Runner
) -> Iterator[tuple[Reader, Reader, MemoryHost]]:
    """Without capture, with capture, and the trail of that."""
    host = host_of(chinook)
    plain = Reader(chinook, request.param, loop)
    captured = Reader(chinook, request.param, loop, host)
    yield plain, captured, host
    plain.close()
    captured.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape(shape: Shape, readers: tuple[Reader, Reader, MemoryHost], chinook: Database) -> None:
    """The application sees what it always saw; the trail names exactly the rows it was given."""
    plain, captured, host = readers
    host.take()
    expected = plain.run(lambda connection: result_of(connection, shape))

    with acting_as(TRUDY):
        seen = captured.run(lambda connection: result_of(connection, shape))

    assert seen == expected
    check(shape, host, chinook)


@pytest.mark.parametrize(("shape", "driver"), each_through_one(SHAPES, ALONE))
def test_shape_through_a_driver_alone(
    shape: Shape, driver: str, chinook: Database, loop: asyncio.Runner
) -> None:
    """The same, without anything in between."""
    host = host_of(chinook)
    says_the_same(ALONE[driver], chinook.url("app"), host, shape, loop)
    check(shape, host, chinook)


def check(shape: Shape, host: MemoryHost, chinook: Database) -> None:
    """What was recorded is what the shape's key queries find."""
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


def result_of(connection: Connection, shape: Shape) -> tuple[object, ...]:
    """What the application sees."""
    result = connection.execute(text(shape.sql), shape.parameters)
    return repr(result.all()), tuple(result.keys()), result.rowcount


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
