"""A transaction that is expected to write is told who acts as it begins; nothing hangs on that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from tests.servers import Database

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.sqlalchemy import capture

from .test_trail import Site

ALICE, BOB = Actor("staff", "alice"), Actor("staff", "bob")
GET = text("SELECT name FROM person WHERE id = 1")
CHANGE = text("UPDATE person SET name = name || '!' WHERE id = 1")


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> Iterator[Trail]:
    database.execute(
        "CREATE TABLE person (id integer PRIMARY KEY, name text)",
        "INSERT INTO person VALUES (1, 'Zara')",
        role="owner",
    )
    database.grant()
    site = Site(database, tmp_path)
    site.run("install")
    with site.trail() as trail:
        yield trail


@pytest.fixture
def engine(database: Database, trail: Trail) -> Iterator[Engine]:
    url = database.url("app").replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, pool_size=1, max_overflow=0)
    capture(engine, trail)
    yield engine
    engine.dispose()


def is_told(connection: Connection, actor: Actor) -> bool:
    """Asked past capture, which would tell of it."""
    with contextlib.closing(connection.connection.cursor()) as cursor:
        cursor.execute("SELECT current_setting('indelible.ctx', true)")
        return f'"id":"{actor.id}"' in (cursor.fetchone()[0] or "")


def got(engine: Engine, actor: Actor, *, changes: bool) -> bool:
    """One transaction; whether it was told who acts before it wrote."""
    with acting_as(actor), engine.begin() as connection:
        connection.execute(GET).all()
        was_told = is_told(connection, actor)
        if changes:
            connection.execute(CHANGE)
    return was_told


def changed_by(trail: Trail, actor: Actor) -> int:
    trail.flush()
    return len([each for each in trail.changes(by=actor) if each.event.action == "person.update"])


def test_as_the_last_that_began_so(engine: Engine, trail: Trail) -> None:
    """Told where the last one wrote, not where it only read; every change is whose it was."""
    told = [got(engine, ALICE, changes=changes) for changes in (False, False, True, True)]
    assert told == [False, False, False, True]
    assert got(engine, BOB, changes=True)
    assert got(engine, BOB, changes=False)
    assert not got(engine, ALICE, changes=False)
    assert (changed_by(trail, ALICE), changed_by(trail, BOB)) == (2, 1)
    found = [each.event for actor in (ALICE, BOB) for each in trail.changes(by=actor)]
    assert len({event.transaction for event in found}) == 3
    assert list(trail.notices()) == []


def test_who_was_expected_isnt_who_writes(engine: Engine, trail: Trail) -> None:
    """Told ahead of Alice; then Bob writes, in the same transaction and in the next."""
    got(engine, ALICE, changes=True)
    with engine.begin() as connection:
        with acting_as(ALICE):
            connection.execute(GET).all()
            assert is_told(connection, ALICE)
        with acting_as(BOB):
            connection.execute(CHANGE)
    got(engine, ALICE, changes=True)
    assert got(engine, ALICE, changes=False)
    with acting_as(BOB), engine.begin() as connection:
        connection.execute(CHANGE)
    assert (changed_by(trail, ALICE), changed_by(trail, BOB)) == (2, 2)
    with engine.begin() as connection:
        connection.execute(GET).all()
        connection.execute(CHANGE)
    assert (changed_by(trail, ALICE), changed_by(trail, BOB)) == (2, 2)
    assert [notice.action for notice in trail.notices()] == ["changes.unattributed"]


def test_a_savepoint_takes_nothing_that_was_told_ahead(engine: Engine, trail: Trail) -> None:
    got(engine, ALICE, changes=True)
    with acting_as(ALICE), engine.begin() as connection:
        connection.execute(GET).all()
        inner = connection.begin_nested()
        connection.execute(CHANGE)
        inner.rollback()
        connection.execute(CHANGE)
    assert changed_by(trail, ALICE) == 2
    assert list(trail.notices()) == []


def test_a_read_is_of_no_transaction_that_wrote_nothing(engine: Engine, trail: Trail) -> None:
    """A transaction's id stands beside a read only where something was written or recorded."""
    got(engine, ALICE, changes=True)
    assert got(engine, ALICE, changes=False)
    got(engine, BOB, changes=True)
    with acting_as(BOB), engine.begin() as connection:
        connection.execute(GET).all()
        trail.record("person.checked", target=Target("person", "1"), on=connection)
        connection.execute(GET).all()
    trail.flush()
    reads = {
        actor.id: [each.event.transaction is not None for each in trail.access_events(by=actor)]
        for actor in (ALICE, BOB)
    }
    assert reads["alice"].count(True) == reads["bob"].count(True) - 1
