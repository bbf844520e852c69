"""Each shape of read, on each driver: the result is that of an engine without capture, and the
rows recorded are those that an independent key query finds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from indelible.capture.sqlalchemy import capture
from indelible.capture.sqlite3 import connect
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.events.values import to_value

from .host import MemoryHost, ids_by_kind, targets
from .shapes import SHAPES, Shape

Result = tuple[object, ...]
Driver = Callable[[Path, Shape, MemoryHost | None], Result]


def run_plain(path: Path, shape: Shape, host: MemoryHost | None) -> Result:
    connection = sqlite3.connect(path) if host is None else connect(path, trail=host)
    cursor = connection.execute(shape.sql, shape.parameters)
    rows = cursor.fetchall()
    result = (repr(rows), cursor.description, cursor.rowcount, cursor.lastrowid)
    connection.close()
    return result


def run_engine(path: Path, shape: Shape, host: MemoryHost | None) -> Result:
    engine = create_engine(f"sqlite:///{path}")
    if host is not None:
        capture(engine, host)
    with engine.connect() as connection:
        result = connection.exec_driver_sql(shape.sql, shape.parameters)
        found = (repr(result.all()), tuple(result.keys()), result.rowcount)
    engine.dispose()
    return found


def run_async_engine(path: Path, shape: Shape, host: MemoryHost | None) -> Result:
    async def run() -> Result:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        if host is not None:
            capture(engine, host)
        async with engine.connect() as connection:
            result = await connection.exec_driver_sql(shape.sql, shape.parameters)
            found = (repr(result.all()), tuple(result.keys()), result.rowcount)
        await engine.dispose()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("driver", [run_plain, run_engine, run_async_engine])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape(shape: Shape, driver: Driver, shared: Path, host: MemoryHost) -> None:
    """The application sees what it always saw; the trail names exactly the rows it was given."""
    expected = driver(shared, shape, None)

    with acting_as(Actor("staff", "trudy")):
        seen = driver(shared, shape, host)

    assert seen == expected
    events = host.take()
    assert ids_by_kind(events) == _expected_ids(shared, shape)
    for target in targets(events):
        assert target.coverage == shape.coverage.get(target.kind, "exact"), target.why
        assert (target.why is None) == (target.coverage == "exact")
    if shape.subjects is not None:
        named = {str(subject) for event in events for subject in event.subjects}
        assert named == {f"customer:{row[0]}" for row in _rows(shared, shape.subjects)}
    for event in events:
        assert event.actor == Actor("staff", "trudy")
        assert event.kind == "access"
        assert event.statement is not None
        assert set(shape.consulted) <= set(event.statement.tables)
    if shape.consulted:
        assert events
    assert host.journal.is_synced


def _expected_ids(path: Path, shape: Shape) -> dict[str, set[tuple[object, ...]]]:
    return {
        kind: {tuple(map(to_value, row)) for row in _rows(path, query)}
        for kind, query in shape.rows.items()
    }


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    if not query:
        return []
    connection = sqlite3.connect(path)
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows
