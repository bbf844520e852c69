"""Each shape of read, through each driver: the result is that of an engine without capture, and
the rows recorded are those that an independent key query finds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.capture.postgres.alone import each_through_one
from tests.capture.postgres.reading import TRUDY, Reader, loop
from tests.capture.postgres.shapes import Shape
from tests.capture.postgres.test_shapes import result_of, told
from tests.capture.reads.host import MemoryHost, ids_by_kind, targets
from tests.mariadb_server import MariadbDatabase

from indelible.events.context import acting_as

from .alone import ALONE, says_the_same
from .reading import DRIVERS, chinook, host_of, keys_of
from .shapes import SHAPES

__all__ = ["chinook", "loop"]


@pytest.fixture(scope="module", params=DRIVERS, ids=lambda it: it[0])
def readers(
    request: pytest.FixtureRequest, chinook: MariadbDatabase, loop: asyncio.Runner
) -> Iterator[tuple[Reader, Reader, MemoryHost]]:
    """Without capture, with capture, and the trail of that."""
    host = host_of(chinook)
    plain = Reader(chinook, request.param, loop)
    captured = Reader(chinook, request.param, loop, host)
    yield plain, captured, host
    plain.close()
    captured.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape(
    shape: Shape, readers: tuple[Reader, Reader, MemoryHost], chinook: MariadbDatabase
) -> None:
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
    shape: Shape, driver: str, chinook: MariadbDatabase, loop: asyncio.Runner
) -> None:
    """The same, without SQLAlchemy, and with it on mysqlclient."""
    host = host_of(chinook)
    says_the_same(ALONE[driver], chinook.url("app"), host, shape, loop)
    check(shape, host, chinook)


def check(shape: Shape, host: MemoryHost, chinook: MariadbDatabase) -> None:
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
    is_strict = "vault" in shape.rows  # on disk before it runs, and then what it found
    assert len(events) in ((1, 2) if is_strict else (bool(shape.rows),))
    for event in events:
        assert event.actor == TRUDY
        assert event.statement is not None
        assert set(shape.consulted) <= set(event.statement.tables)
    assert host.journal.is_synced
