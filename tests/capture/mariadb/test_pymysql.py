"""PyMySQL by itself: what it hands out is what it always hands out, and the trail knows of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.cursors import Cursor, DictCursor, SSCursor
from tests.mariadb_server import MariadbDatabase

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.pymysql import connect, connection_class
from indelible.errors import CaptureError

from .test_trail import Site

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute(
        "CREATE TABLE person (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(99))",
        "INSERT INTO person (name) VALUES ('a'), ('b'), ('c')",
        "CREATE PROCEDURE people() SELECT * FROM person",
    )
    mariadb_database.server.execute(f"GRANT EXECUTE ON {mariadb_database.name}.* TO app@'%'")
    site = Site(mariadb_database, tmp_path)
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


def arguments(site: Site, **options: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": site.database.server.port,
        "user": "app",
        "password": "app",
        "database": site.database.name,
        **options,
    }


@pytest.fixture
def captured(site: Site, trail: Trail) -> Iterator[Any]:
    with connect(**arguments(site), trail=trail) as connection:
        yield connection


@pytest.fixture
def plain(site: Site) -> Iterator[Any]:
    with pymysql.connect(**arguments(site)) as connection:
        yield connection


def told(trail: Trail, actor: Actor) -> list[str]:
    trail.flush()
    return [f"{f.event.action} {f.event.targets[0].ids[0][0]}" for f in trail.changes(by=actor)]


def read(trail: Trail, actor: Actor) -> list[tuple[str, int, bool]]:
    trail.flush()
    return [(f.target_text, f.reads, f.certain) for f in trail.accesses(by=actor) if f.reads]


STATEMENTS: tuple[tuple[Any, Any], ...] = (
    ("SELECT name FROM person WHERE id > %s ORDER BY id", (1,)),
    ("SELECT name AS n FROM person WHERE id = %(id)s", {"id": 2}),
    ("SELECT * FROM person ORDER BY id", None),
    ("SELECT name, name FROM person ORDER BY id", ()),
    ("SELECT name FROM person WHERE id IN (%s, %s, %s)", [1, 2, 9]),
    (b"SELECT name FROM person ORDER BY id", None),
    ("SELECT COUNT(*) FROM person", None),
    ("SELECT '100%%' FROM person WHERE id = %s", (1,)),
    ("SELECT nonsense FROM person", None),
    ("SELECT name FROM person WHERE id = %s", (1, 2)),
    ("INSERT INTO person (name) VALUES (%s)", ("d",)),
    ("UPDATE person SET name = 'x' WHERE id = 1", None),
    ("SELECT name FROM missing", None),
    ("CALL people()", None),
    ("SET @a = 1", None),
    ("DELETE FROM person WHERE id = 99", None),
)


@pytest.mark.parametrize("kind", [Cursor, DictCursor, SSCursor])
def test_results_are_those_of_a_plain_connection(
    site: Site, plain: Any, captured: Any, kind: Any
) -> None:
    """Rows, names, counts, ids, errors, what is left to fetch, and the state of the transaction."""
    seen = []
    for connection in (plain, captured):
        site.database.execute("ALTER TABLE person AUTO_INCREMENT = 4")
        found: list[object] = []
        with connection.cursor(kind) as cursor, acting_as(ALICE):
            for text, parameters in STATEMENTS:
                try:
                    found.append(cursor.execute(text, parameters))
                    found.append(cursor.description)
                    found += [
                        cursor.fetchone(),
                        cursor.fetchmany(1),
                        list(cursor),
                        cursor.fetchone(),
                    ]
                    while cursor.nextset():
                        found.append(cursor.fetchall())
                    found += [cursor.rowcount, cursor.lastrowid, cursor.rownumber]
                    found.append(cursor._executed)
                except (pymysql.Error, TypeError) as error:
                    found.append((type(error), error.args))
                found.append(connection.server_status & 1)
            rows = [("m",), ("n",)]
            found.append(cursor.executemany("INSERT INTO person (name) VALUES (%s)", rows))
            found.append(cursor.callproc("people"))
            found.append(cursor.fetchall())
        connection.rollback()
        seen.append(found)
    assert list(map(repr, seen[0])) == list(map(repr, seen[1]))


def test_only_rows_that_were_handed_out_count(captured: Any, trail: Trail) -> None:
    with acting_as(ALICE), captured.cursor() as cursor:
        cursor.execute("SELECT name FROM person ORDER BY id")
        assert cursor.fetchone() == ("a",)
        assert cursor.fetchmany(1) == (("b",),)
    with acting_as(BOB), captured.cursor(DictCursor) as cursor:
        cursor.execute("SELECT name FROM person WHERE id = %s", (3,))
        assert cursor.fetchall() == [{"name": "c"}]
    assert read(trail, ALICE) == [("person:1", 1, True), ("person:2", 1, True)]
    assert read(trail, BOB) == [("person:3", 1, True)]


def test_what_goes_past_is_told_by_statement(captured: Any, trail: Trail) -> None:
    """Unbuffered cursors, cursors that fetch in a way of their own, and no cursor at all."""

    class Own(Cursor):
        def fetchall(self) -> Any:
            return [*super().fetchall(), "more"]

    for kind in (SSCursor, Own):
        with acting_as(ALICE), captured.cursor(kind) as cursor:
            cursor.execute("SELECT name FROM person")
            assert len(cursor.fetchall()) >= 3
    with acting_as(BOB):
        captured.query("SELECT name FROM person")
        captured.query("UPDATE person SET name = 'q' WHERE id = 1")
        captured.commit()
    assert read(trail, ALICE) == [("person:(some)", 2, False)]
    assert read(trail, BOB) == [("person:(some)", 1, False)]
    assert told(trail, BOB) == ["person.update 1"]


def test_whoever_acts_did_it(captured: Any, site: Site, trail: Trail) -> None:
    """In transactions and autocommit, and nobody after: the variable ends with each."""
    with captured.cursor() as cursor:
        with acting_as(ALICE):
            cursor.execute("UPDATE person SET name = 'x' WHERE id = 1")
            trail.record("person.renamed", target=Target("person", 1), on=captured)
        with acting_as(BOB):
            cursor.executemany("UPDATE person SET name = %s WHERE id = %s", [("y", 2), ("z", 3)])
        captured.commit()
        captured.autocommit(True)
        with acting_as(ALICE):
            cursor.execute("DELETE FROM person WHERE id = 1")
        with captured.inside():
            cursor.execute("SELECT @indelible_ctx")
            assert cursor.fetchone() == (None,)
        cursor.execute("DELETE FROM person WHERE id = 2")
    assert told(trail, ALICE) == ["person.update 1", "person.delete 1"]
    assert told(trail, BOB) == ["person.update 2", "person.update 3"]
    (event,) = trail.events(action="person.renamed")
    assert event.event.actor == ALICE
    assert [n.message[-70:] for n in trail.notices() if n.action == "changes.unattributed"]
    trail.verify()


def test_another_database_and_a_new_session(captured: Any, site: Site, trail: Trail) -> None:
    """What a name means is asked again where it may be another table."""
    site.database.server.execute(
        f"CREATE DATABASE {site.database.name}_other",
        f"CREATE TABLE {site.database.name}_other.person (id INT PRIMARY KEY, name TEXT)",
        f"INSERT INTO {site.database.name}_other.person VALUES (1, 'other')",
        f"GRANT ALL ON {site.database.name}_other.* TO app@'%'",
    )
    try:
        with acting_as(ALICE), captured.cursor() as cursor:
            cursor.execute("SELECT name FROM person WHERE id = 1")
            assert cursor.fetchall() == (("a",),)
            captured.select_db(f"{site.database.name}_other")
            cursor.execute("SELECT name FROM person WHERE id = 1")
            assert cursor.fetchall() == (("other",),)
        captured.close()
        captured.connect()
        with acting_as(BOB), captured.cursor() as cursor:
            cursor.execute("SELECT DATABASE() IS NULL")
            cursor.execute("SELECT name FROM person WHERE id = 1")
            cursor.fetchall()
            cursor.execute(f"UPDATE {site.database.name}.person SET name = 'z' WHERE id = 1")
        captured.commit()
    finally:
        site.database.server.execute(f"DROP DATABASE {site.database.name}_other")
    assert read(trail, ALICE) == [("person:1", 1, True), ("person:(some)", 1, False)]
    assert told(trail, BOB) == ["person.update 1"]


def test_nobody_is_taken_for_another(site: Site, trail: Trail) -> None:
    """16 threads over five connections, each as somebody else."""
    kind = connection_class(trail)
    assert connection_class(trail) is kind
    free = [kind(**arguments(site)) for _ in range(5)]
    lock = threading.Semaphore(5)

    def work(n: int) -> None:
        for round_ in range(6):
            with lock:
                connection = free.pop()
                with acting_as(Actor("staff", str(n))), connection.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO person (id, name) VALUES (%s, 'n')", (n * 10 + round_,)
                    )
                    connection.rollback() if round_ == 3 else connection.commit()
                free.append(connection)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in free:
        connection.close()
    for n in range(1, 17):
        expected = [f"person.insert {n * 10 + r}" for r in range(6) if r != 3]
        assert told(trail, Actor("staff", str(n))) == expected
    trail.verify()


def test_a_server_that_goes_away_is_the_statements_own_error(
    captured: Any, plain: Any, site: Site
) -> None:
    said = []
    for connection in (plain, captured):
        pid = connection.thread_id()
        site.database.server.execute(f"KILL {pid}")
        with acting_as(ALICE), pytest.raises(pymysql.Error) as caught:
            connection.cursor().execute("INSERT INTO person (name) VALUES ('a')")
        said.append((type(caught.value), caught.value.args))
        with contextlib.suppress(pymysql.Error):
            connection.close()
        connection.connect()
    assert said[0] == said[1]


def test_a_trail_of_another_database_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    refused = pytest.raises(CaptureError, match="to name the MariaDB or MySQL server")
    with contextlib.closing(Trail.create(config)) as trail, refused:
        connect(trail=trail)
