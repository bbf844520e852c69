"""Explicit events in a transaction of the application's: they commit with it or never were."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.errors import CaptureError
from indelible.testing import in_memory_trail

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


def recorded(trail: Trail) -> list[tuple[str, str]]:
    """Who did what."""
    trail.flush()
    return [(str(found.event.actor), found.event.action) for found in trail.events()]


def make_database(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, v)"))
    engine.dispose()


def run_async(
    path: Path, work: Callable[[AsyncEngine, Trail], Awaitable[None]]
) -> list[tuple[str, str]]:
    """What is in the trail after `work` on a captured engine."""
    make_database(path)
    with in_memory_trail() as trail:

        async def run() -> None:
            engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
            capture(engine, trail)
            await work(engine, trail)
            await engine.dispose()

        asyncio.run(run())
        return recorded(trail)


def test_an_event_on_a_connection_is_its_first_statement(tmp_path: Path) -> None:
    """An event that is all that happens in a transaction commits with it."""
    path = tmp_path / "app.sqlite"
    make_database(path)
    with in_memory_trail() as trail:
        engine = create_engine(f"sqlite:///{path}")
        capture(engine, trail)
        with acting_as(ALICE):
            with engine.connect() as connection:
                trail.record("report.filed", on=connection)
                connection.commit()
            with engine.connect() as connection:
                trail.record("report.lost", on=connection)
            with Session(engine) as session:
                trail.record("report.read", on=session)
                session.commit()
        engine.dispose()
        assert [action for _, action in recorded(trail)] == ["report.filed", "report.read"]


def test_an_event_on_an_async_session_commits_with_it(tmp_path: Path) -> None:
    """It is there after a commit, and never was after a rollback."""

    async def work(engine: AsyncEngine, trail: Trail) -> None:
        with acting_as(ALICE):
            async with AsyncSession(engine) as session:
                await trail.record_async("t.kept", on=session, target=Target("t", 1))
                await session.commit()
                await session.execute(text("INSERT INTO t VALUES (1, 'a')"))
                await trail.record_async("t.kept_too", on=session)
                await session.commit()
                await trail.record_async("t.lost", on=session)
                await session.rollback()
                await trail.record_async("t.lost_too", on=session)

    assert run_async(tmp_path / "app.sqlite", work) == [
        ("staff:alice", "t.kept"),
        ("staff:alice", "t.kept_too"),
    ]


def test_an_event_on_an_async_connection_commits_with_it(tmp_path: Path) -> None:
    """The same, with and without a `begin` of the application's own."""

    async def work(engine: AsyncEngine, trail: Trail) -> None:
        with acting_as(ALICE):
            async with engine.connect() as connection:
                await trail.record_async("t.kept", on=connection)
                await connection.commit()
                await trail.record_async("t.lost", on=connection)
                await connection.rollback()
            async with engine.begin() as connection:
                await trail.record_async("t.kept_too", on=connection)

    assert run_async(tmp_path / "app.sqlite", work) == [
        ("staff:alice", "t.kept"),
        ("staff:alice", "t.kept_too"),
    ]


def test_a_savepoint_takes_its_events_along(tmp_path: Path) -> None:
    """What was recorded in a savepoint that is rolled back never was; the rest commits."""

    async def work(engine: AsyncEngine, trail: Trail) -> None:
        with acting_as(ALICE):
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(text("INSERT INTO t VALUES (1, 'a')"))
                await trail.record_async("t.before", on=session)
                savepoint = await session.begin_nested()
                await trail.record_async("t.inside", on=session)
                await savepoint.rollback()
                async with session.begin_nested():
                    await trail.record_async("t.released", on=session)

    assert [action for _, action in run_async(tmp_path / "app.sqlite", work)] == [
        "t.before",
        "t.released",
    ]


def test_each_task_records_as_its_own_actor(tmp_path: Path) -> None:
    """Tasks that wait for each other's lock record who acts in them, and hold nobody up."""

    async def work(engine: AsyncEngine, trail: Trail) -> None:
        async def one(actor: Actor) -> None:
            for n in range(5):
                with acting_as(actor):
                    async with AsyncSession(engine) as session:
                        await trail.record_async(f"{actor.id}.did", on=session)
                        # The write lock is held while the others try.
                        await asyncio.sleep(0.01 * n)
                        await session.commit()

        await asyncio.gather(*(one(actor) for actor in (ALICE, BOB)))

    found = run_async(tmp_path / "app.sqlite", work)
    assert sorted(found) == [("staff:alice", "alice.did")] * 5 + [("staff:bob", "bob.did")] * 5


def test_the_synchronous_call_names_the_other(tmp_path: Path) -> None:
    """`record` on an AsyncSession says to await `record_async`; nothing is recorded."""

    async def work(engine: AsyncEngine, trail: Trail) -> None:
        async with AsyncSession(engine) as session:
            with pytest.raises(CaptureError, match=r"await trail\.record_async"):
                trail.record("t.lost", on=session)
            with pytest.raises(CaptureError, match=r"`trail\.record` takes all else"):
                await trail.record_async("t.lost", on=engine.sync_engine)
            await session.commit()

    assert run_async(tmp_path / "app.sqlite", work) == []
