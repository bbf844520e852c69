"""What somebody can do with the application's own account and SQL of their choice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import create_engine, text
from tests.mariadb_server import MariadbDatabase

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.sqlalchemy import capture

from .test_trail import Site

ALICE = Actor("staff", "alice")


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(99))")
    site = Site(mariadb_database, tmp_path)
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


@pytest.fixture
def app(site: Site) -> Iterator[Any]:
    with contextlib.closing(site.database.connect("app")) as connection:
        yield connection.cursor()


def noticed(trail: Trail) -> set[str]:
    trail.flush()
    return {notice.action for notice in trail.notices()}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM {outbox}",
        "INSERT INTO {outbox} (time, layout, op, connection, client) VALUES (1, 1, 1, 1, 'x')",
        "UPDATE {outbox} SET ctx = NULL",
        "DELETE FROM {outbox}",
        "TRUNCATE {outbox}",
        "DROP TABLE {outbox}",
        "ALTER TABLE {outbox} AUTO_INCREMENT = 100",
        "SELECT * FROM {schema}.meta",
        "DROP TRIGGER indelible_1_insert",
        "CREATE TRIGGER mine AFTER INSERT ON person FOR EACH ROW DELETE FROM {outbox}",
        "ALTER TABLE person ADD x INT",
        "DROP DATABASE {schema}",
        "LOCK TABLES {outbox} WRITE",
        "SHOW CREATE TRIGGER indelible_1_insert",
    ],
)
def test_the_outbox_and_the_triggers_are_out_of_reach(site: Site, app: Any, statement: str) -> None:
    schema = f"{site.database.name}_indelible"
    with pytest.raises(pymysql.Error, match="denied"):
        app.execute(statement.format(schema=schema, outbox=f"{schema}.outbox"))


@pytest.mark.parametrize(
    "forged",
    [
        "''",
        '\'{"nonce":"x:1","actor":{"kind":"staff","id":"alice"}}\'',
        "REPEAT('A', 200000)",
        "1",
        "-1.5e300",
        "X'FF00FE'",
        "CONCAT(REPEAT('A', 43), '{\"nonce\":\"x:1\"}')",
    ],
)
def test_nobody_mints_an_identity(app: Any, trail: Trail, forged: str) -> None:
    """The write goes through, as nobody's, and is noticed."""
    app.execute(f"SET @indelible_ctx = {forged}")
    app.execute("INSERT INTO person VALUES (1, 'a')")
    assert "context.invalid" in noticed(trail)
    assert not list(trail.changes(by=ALICE))


def test_a_context_that_was_copied_is_contested(site: Site, app: Any, trail: Trail) -> None:
    """Read in the transaction that it was made for, and used over another connection or later."""
    engine = create_engine(site.database.url("app").replace("mysql://", "mysql+pymysql://"))
    capture(engine, trail)
    with acting_as(ALICE), engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (1, 'a')"))
        stolen = connection.scalar(text("SELECT @indelible_ctx"))
    with acting_as(Actor("staff", "bob")), engine.begin() as connection:
        connection.execute(text("INSERT INTO person VALUES (2, 'b')"))
        connection.execute(text("SET @indelible_ctx = :stolen"), {"stolen": stolen})
        connection.execute(text("INSERT INTO person VALUES (3, 'c')"))
    engine.dispose()
    app.execute("SET @indelible_ctx = %s", (stolen,))
    app.execute("INSERT INTO person VALUES (4, 'd')")
    assert "context.contested" in noticed(trail)
    assert [found.event.targets[0].ids for found in trail.changes(by=ALICE)] == [((1,),)]


def test_an_explicit_event_needs_our_signature(site: Site, app: Any, trail: Trail) -> None:
    """The procedure may be called by the application; what it didn't sign is no event."""
    app.execute(f"CALL {site.database.name}_indelible.record('e30=', 'forged')")
    assert "outbox.unreadable" in noticed(trail)
    trail.verify()


def test_a_clock_that_the_session_sets_moves_nothing(app: Any, trail: Trail) -> None:
    """`SET timestamp` is anybody's right; the row is dated by the server's clock."""
    app.execute("SET timestamp = 86400")
    app.execute("INSERT INTO person VALUES (1, 'a')")
    trail.flush()
    (found,) = trail.history(Target("person", 1))
    assert found.certain
    assert found.event.time > "2020"


def test_a_session_of_another_kind_changes_no_image(app: Any, trail: Trail) -> None:
    app.execute(
        "SET NAMES latin1, sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES', "
        "time_zone = '-11:00', max_length_for_sort_data = 4, div_precision_increment = 0, "
        "group_concat_max_len = 4"
    )
    app.execute("INSERT INTO person VALUES (1, 'a,b')")
    assert noticed(trail) == {"changes.unattributed"}
    trail.verify()
