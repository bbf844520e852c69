"""PyMySQL and mysqlclient by themselves: what each hands out is what it always hands out, and the
trail knows of it."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import MySQLdb
import MySQLdb.cursors
import pymysql
import pymysql.cursors
import pytest
from MySQLdb.constants import FLAG
from pymysql.constants import CLIENT
from tests.mariadb_server import MariadbDatabase

from indelible import Actor, Target, Trail, acting_as
from indelible.capture import mysqlclient as captured_mysqlclient
from indelible.capture import pymysql as captured_pymysql
from indelible.capture.mariadb.wires import IN_TRANSACTION
from indelible.capture.mysqlclient_wire import MysqlclientWire, status_reader
from indelible.errors import CaptureError

from .test_trail import Site

ALICE = Actor("staff", "alice")
BOB = Actor("staff", "bob")
CAROL = Actor("staff", "carol")


WAYS = [
    pytest.param(kind, is_autocommit, id=f"{kind}-{mode}", marks=[] if is_one else pytest.mark.long)
    for number, kind in enumerate(("Cursor", "DictCursor", "SSCursor", "SSDictCursor"))
    for is_autocommit, mode in ((False, "transaction"), (True, "autocommit"))
    # Each class of cursors in one of both, or all take long.
    for is_one in [is_autocommit == (number % 3 != 0)]
]


class Driver(NamedTuple):
    """One driver, without capture and with."""

    plain: Any
    cursors: Any
    captured: Any


def is_open(connection: Any) -> bool:
    """Whether a transaction is open on the server, as it last said."""
    if isinstance(connection, pymysql.Connection):
        return bool(connection.server_status & IN_TRANSACTION)
    return not MysqlclientWire(connection).is_idle


DRIVERS = {
    "pymysql": Driver(pymysql, pymysql.cursors, captured_pymysql),
    "mysqlclient": Driver(MySQLdb, MySQLdb.cursors, captured_mysqlclient),
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


@pytest.fixture
def site(mariadb_database: MariadbDatabase, tmp_path: Path) -> Site:
    mariadb_database.execute(
        "CREATE TABLE person (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(99))",
        "INSERT INTO person (name) VALUES ('a'), ('b'), ('c')",
        "CREATE TABLE nothing (id INT PRIMARY KEY)",
        "CREATE PROCEDURE people() SELECT * FROM person",
        "CREATE PROCEDURE add_to(INOUT n INT, s TEXT) BEGIN SET n = n + 1; SELECT s; SELECT n; END",
        "CREATE FUNCTION renamed(n VARCHAR(99)) RETURNS INT MODIFIES SQL DATA "
        "BEGIN UPDATE person SET name = n WHERE id = 2; RETURN 1; END",
    )
    rights = f"EXECUTE, ALTER ON {mariadb_database.name}.*"
    mariadb_database.server.execute(f"GRANT {rights} TO app@'%'")
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
        "client_flag": CLIENT.MULTI_STATEMENTS,
        **options,
    }


@pytest.fixture
def captured(site: Site, trail: Trail, driver: Driver) -> Iterator[Any]:
    with driver.captured.connect(**arguments(site), trail=trail) as connection:
        yield connection


@pytest.fixture
def plain(site: Site, driver: Driver) -> Iterator[Any]:
    with driver.plain.connect(**arguments(site)) as connection:
        yield connection


def told(trail: Trail, actor: Actor) -> list[str]:
    trail.flush()
    return [f"{f.event.action} {f.event.targets[0].ids[0][0]}" for f in trail.changes(by=actor)]


def read(trail: Trail, actor: Actor) -> list[tuple[str, int, bool]]:
    trail.flush()
    return [(f.target_text, f.reads, f.certain) for f in trail.accesses(by=actor) if f.reads]


FAILING_LATE = "UPDATE person SET name = 'z'; SELECT 1; INSERT INTO missing VALUES (1)"
STATEMENTS: tuple[tuple[Any, Any], ...] = (
    ("SELECT name FROM person WHERE id > %s ORDER BY id", (1,)),
    ("SELECT name AS n FROM person WHERE id = %(id)s", {"id": 2}),
    ("SELECT * FROM person ORDER BY id", None),
    ("SELECT name, name FROM person ORDER BY id", ()),
    ("SELECT p.name, q.name, q.name FROM person p JOIN person q USING (id) ORDER BY 1", None),
    ("SELECT name FROM person WHERE id IN (%s, %s, %s)", [1, 2, 9]),
    (b"SELECT name FROM person ORDER BY id", None),
    ("SELECT COUNT(*) FROM person", None),
    ("SELECT DISTINCT name FROM person ORDER BY name", None),
    ("SELECT '100%%' FROM person WHERE id = %s", (1,)),
    ("SELECT nonsense FROM person", None),
    ("SELECT name FROM person WHERE id = %s", (1, 2)),
    ("INSERT INTO person (name) VALUES (%s)", ("d",)),
    ("SELECT LAST_INSERT_ID()", None),
    ("INSERT INTO person (id, name) VALUES (1, 'twice')", None),
    ("INSERT IGNORE INTO person (id, name) VALUES (1, 'twice')", None),
    ("SHOW WARNINGS", None),
    ("SELECT CAST('x' AS INT), name FROM person WHERE id = 1", None),
    ("SHOW WARNINGS", None),
    ("UPDATE person SET name = 'x' WHERE id = 1", None),
    ("INSERT INTO person (name) VALUES ('e') RETURNING id, name", None),
    ("SELECT name FROM missing", None),
    ("CALL people()", None),
    ("CALL people()", None),
    ("SELECT renamed('f')", None),
    ("SELECT name FROM person WHERE id = 1; UPDATE person SET name = 'y'; SELECT 3", None),
    (FAILING_LATE, None),
    ("SELECT 4", None),
    ("BEGIN", None),
    ("INSERT INTO person (name) VALUES ('g')", None),
    ("COMMIT", None),
    ("SET @a = 1", None),
    ("DELETE FROM person WHERE id = 99", None),
)


def looked_at(connection: Any, cursor: Any, driver: Driver) -> list[object]:
    """All that is said of the last statement, but for the flags of a column that the server keeps
    in another table of its own where keys stand beside it: see `docs/reference/coverage.md`."""
    found: list[object] = [cursor.rowcount, cursor.lastrowid, cursor.rownumber]
    found += [cursor.warning_count, cursor._executed, cursor.description]
    found += [connection.insert_id(), connection.affected_rows(), is_open(connection)]
    if driver.plain is MySQLdb:
        flags = cursor.description_flags
        if flags is not None and "DISTINCT" in str(cursor._executed):
            flags = tuple(flag & ~(FLAG.NOT_NULL | FLAG.NUM) for flag in flags)
        found += [flags, connection.warning_count(), connection.info()]
        found += [connection.field_count(), connection.more_results()]
    return found


def left_in(cursor: Any) -> list[object]:
    """All that is still to be fetched."""
    found = [cursor.fetchall()]
    while cursor.nextset():
        found.append(cursor.fetchall())
    return found


def said_of(connection: Any, kind: Any, driver: Driver) -> list[object]:
    found: list[object] = []
    errors = (driver.plain.Error, TypeError)
    is_buffered = not kind.__name__.startswith("SS")
    with connection.cursor(kind) as cursor:
        for text, parameters in STATEMENTS:
            if driver.plain is MySQLdb and not is_buffered and text == FAILING_LATE:
                continue  # mysqlclient by itself says the error of every further statement, too
            try:
                found.append((text, cursor.execute(text, parameters)))
                found += looked_at(connection, cursor, driver)
                found += [cursor.fetchone(), cursor.fetchmany(1), list(cursor), cursor.fetchone()]
                while cursor.nextset():
                    found += [cursor.fetchall(), *looked_at(connection, cursor, driver)]
            except errors as error:
                found.append((text, type(error), error.args))
            found.append(looked_at(connection, cursor, driver))
        rows = [("m",), ("n",)]
        insert, update = "INSERT INTO person (name) VALUES (%s)", "UPDATE person SET name = %s"
        for many in (insert, update, *["SELECT %s"] * is_buffered):
            found += [cursor.executemany(many, rows), *looked_at(connection, cursor, driver)]
        found += [cursor.executemany(insert, []), cursor.callproc("people"), cursor.fetchone()]
        found += left_in(cursor)
        found += [cursor.callproc("add_to", (5, "%s")), *left_in(cursor)]
        cursor.execute("SELECT @_add_to_0, @_add_to_1")
        found.append(cursor.fetchall())
        cursor.execute("SELECT name FROM person")  # and isn't fetched
        if kind is driver.cursors.Cursor:
            cursor.scroll(2)
            found += [cursor.fetchone(), cursor.rownumber]
    with pytest.raises(driver.plain.ProgrammingError) as caught:
        cursor.execute("SELECT 1")
    found.append(caught.value.args)
    return found


@pytest.mark.parametrize(("kind", "is_autocommit"), WAYS)
def test_results_are_those_of_a_plain_connection(
    site: Site, trail: Trail, driver: Driver, kind: str, *, is_autocommit: bool
) -> None:
    """Rows, names, counts, ids, warnings, errors, what is left to fetch, and the state of the
    transaction."""
    seen = []
    for connect in (driver.plain.connect, partial(driver.captured.connect, trail=trail)):
        site.database.execute(
            "DELETE FROM person",
            "ALTER TABLE person AUTO_INCREMENT = 1",
            "INSERT INTO person (name) VALUES ('a'), ('b'), ('c')",
        )
        with connect(**arguments(site, autocommit=is_autocommit)) as connection, acting_as(ALICE):
            seen.append(said_of(connection, getattr(driver.cursors, kind), driver))
            connection.rollback()
    assert list(map(repr, seen[0])) == list(map(repr, seen[1]))


def test_only_rows_that_were_handed_out_count(captured: Any, trail: Trail, driver: Driver) -> None:
    with acting_as(ALICE), captured.cursor() as cursor:
        cursor.execute("SELECT name FROM person ORDER BY id")
        assert cursor.fetchone() == ("a",)
        assert cursor.fetchmany(1) == (("b",),)
    with acting_as(BOB), captured.cursor(driver.cursors.DictCursor) as cursor:
        cursor.execute("SELECT name FROM person WHERE id = %s", (3,))
        assert list(cursor.fetchall()) == [{"name": "c"}]
    assert read(trail, ALICE) == [("person:1", 1, True), ("person:2", 1, True)]
    assert read(trail, BOB) == [("person:3", 1, True)]


def test_what_goes_past_is_told_by_statement(captured: Any, trail: Trail, driver: Driver) -> None:
    """Unbuffered cursors, cursors that fetch in a way of their own, and no cursor at all."""

    class Own(driver.cursors.Cursor):  # type: ignore[misc, name-defined]
        def fetchall(self) -> Any:
            return [*super().fetchall(), "more"]

    for kind in (driver.cursors.SSCursor, Own):
        with acting_as(ALICE), captured.cursor(kind) as cursor:
            cursor.execute("SELECT name FROM person")
            assert len(cursor.fetchall()) >= 3
    with acting_as(BOB):
        captured.query("SELECT name FROM person")
        if driver.plain is MySQLdb:
            assert captured.store_result().fetch_row(0) == (("a",), ("b",), ("c",))
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
        with acting_as(CAROL):
            cursor.execute("UPDATE person SET name = 'a;b' WHERE id = 3")
            cursor.execute("UPDATE person SET name = 'c' WHERE id = 3")
            cursor.execute("COMMIT; UPDATE person SET name = 'd' WHERE id = 3; COMMIT")
            while cursor.nextset():
                pass
        captured.autocommit(True)
        with acting_as(ALICE):
            cursor.execute("DELETE FROM person WHERE id = 1")
        with captured.inside():
            cursor.execute("SELECT @indelible_ctx")
            assert cursor.fetchone() == (None,)
        cursor.execute("DELETE FROM person WHERE id = 2")
    assert told(trail, ALICE) == ["person.update 1", "person.delete 1"]
    assert told(trail, BOB) == ["person.update 2", "person.update 3"]
    assert told(trail, CAROL) == ["person.update 3"] * 3
    first, second, third = (found.event.transaction for found in trail.changes(by=CAROL))
    assert first == second != third, "a semicolon in a string ends nothing"
    (event,) = trail.events(action="person.renamed")
    assert event.event.actor == ALICE
    assert [n.message[-70:] for n in trail.notices() if n.action == "changes.unattributed"]
    trail.verify()


def test_a_transaction_in_autocommit_is_one(captured: Any, trail: Trail) -> None:
    """From BEGIN to its end, which an implicit commit may be; events go into it, or nowhere."""
    captured.autocommit(True)
    rename = "UPDATE person SET name = 'x' WHERE id = %s"
    with acting_as(ALICE), captured.cursor() as cursor:
        with pytest.raises(CaptureError, match="got a connection in autocommit"):
            trail.record("person.renamed", on=captured)
        captured.begin()
        cursor.execute(rename, (1,))
        cursor.execute(rename, (2,))
        trail.record("person.renamed", on=captured)
        cursor.execute("ALTER TABLE nothing COMMENT 'commits'")
        cursor.execute(rename, (3,))
    assert told(trail, ALICE) == ["person.update 1", "person.update 2", "person.update 3"]
    first, second, third = (found.event.transaction for found in trail.changes(by=ALICE))
    assert first == second != third
    assert len(list(trail.events(action="person.renamed"))) == 1


def test_nothing_is_sent_where_an_answer_is_to_come(
    captured: Any, site: Site, trail: Trail, driver: Driver
) -> None:
    """In autocommit the variable is cleared behind a statement: at once, or before the next."""
    captured.autocommit(True)

    def variable() -> object:
        with captured.inside(), captured.cursor(driver.cursors.Cursor) as cursor:
            cursor.execute("SELECT @indelible_ctx IS NULL")
            return cursor.fetchone()[0]

    with acting_as(ALICE), captured.cursor() as cursor:
        cursor.execute("INSERT INTO person VALUES (7, 'g') RETURNING id")
        assert cursor.fetchall() == ((7,),)
        assert variable() == 1
        cursor.execute("UPDATE person SET name = 'm'")
        cursor.execute("SELECT ROW_COUNT()")
        assert cursor.fetchall() == ((0,),), "that of the clearing"
    with acting_as(ALICE), captured.cursor(driver.cursors.SSCursor) as cursor:
        cursor.execute("INSERT INTO person VALUES (8, 'h'), (9, 'i') RETURNING id")
        assert list(cursor.fetchall()) == [(8,), (9,)]
    if driver.plain is MySQLdb:
        with acting_as(ALICE):
            captured.send_query(b"UPDATE person SET name = 'j' WHERE id = 7")
            captured.read_query_result()
            captured.query("UPDATE person SET name = 'j' WHERE id = 8; SELECT renamed('k')")
            assert (captured.affected_rows(), captured.next_result()) == (1, 0)
            assert captured.store_result().fetch_row(0) == ((1,),)
    with captured.cursor() as cursor:
        cursor.execute("SELECT renamed('l')")  # by nobody
        assert cursor.fetchall() == ((1,),)
        assert variable() == 1
    updated = ["person.update 7", "person.update 8", "person.update 2"]
    assert told(trail, ALICE) == [
        "person.insert 7",
        *(f"person.update {n}" for n in (1, 2, 3, 7)),
        "person.insert 8",
        "person.insert 9",
        *updated * (driver.plain is MySQLdb),
    ]


def test_another_database_and_a_new_session(
    captured: Any, site: Site, trail: Trail, driver: Driver
) -> None:
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
        if driver.plain is MySQLdb:
            captured.change_user("app", "app", "information_schema")
        else:
            captured.select_db("information_schema")
            captured.close()
            captured.connect()
        with acting_as(BOB), captured.cursor() as cursor:
            cursor.execute(f"SELECT name FROM {site.database.name}.person WHERE id = 1")
            assert cursor.fetchall() == (("a",),)
            cursor.execute(f"UPDATE {site.database.name}.person SET name = 'z' WHERE id = 1")
        captured.commit()
    finally:
        site.database.server.execute(f"DROP DATABASE {site.database.name}_other")
    assert read(trail, ALICE) == [("person:1", 1, True), ("person:(some)", 1, False)]
    assert told(trail, BOB) == ["person.update 1"]


def test_nobody_is_taken_for_another(site: Site, trail: Trail, driver: Driver) -> None:
    """16 threads over five connections, each as somebody else."""
    kind = driver.captured.connection_class(trail)
    assert driver.captured.connection_class(trail) is kind
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
    captured: Any, plain: Any, site: Site, driver: Driver
) -> None:
    said = []
    for connection in (plain, captured):
        pid = connection.thread_id()
        site.database.server.execute(f"KILL {pid}")
        with acting_as(ALICE), pytest.raises(driver.plain.Error) as caught:
            connection.cursor().execute("INSERT INTO person (name) VALUES ('a')")
        said.append((type(caught.value), caught.value.args))
        if driver.plain is pymysql:
            with contextlib.suppress(driver.plain.Error):
                connection.close()
            connection.connect()
    assert said[0] == said[1]


@pytest.mark.parametrize("is_used", [False, True])
def test_a_closed_connection_says_what_it_says_without_capture(
    site: Site, trail: Trail, driver: Driver, *, is_used: bool
) -> None:
    said: list[list[object]] = []
    for connect in (driver.plain.connect, partial(driver.captured.connect, trail=trail)):
        connection = connect(**arguments(site))
        cursor = connection.cursor()
        if is_used:
            cursor.execute("SELECT name FROM person")
        connection.close()
        said.append([])
        for ask in (
            partial(connection.query, b"SELECT 1"),
            partial(cursor.execute, "SELECT 1"),
            partial(cursor.executemany, "INSERT INTO person (name) VALUES (%s)", [("x",)]),
            partial(cursor.callproc, "people"),
            connection.commit,
            connection.rollback,
            partial(connection.autocommit, True),
            cursor.close,
            connection.close,
        ):
            try:
                said[-1].append(ask())
            except driver.plain.Error as error:
                said[-1].append((type(error), error.args))
    assert said[0] == said[1]


def test_a_trail_of_another_database_is_refused(tmp_path: Path, driver: Driver) -> None:
    config = tmp_path / "indelible.toml"
    config.write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    refused = pytest.raises(CaptureError, match="to name the MariaDB or MySQL server")
    with contextlib.closing(Trail.create(config)) as trail, refused:
        driver.captured.connect(trail=trail)


def test_mysqlclient_with_another_library_is_refused() -> None:
    """That can't tell whether a transaction is open."""
    with pytest.raises(CaptureError, match=r"expected .* Connector/C \(libmariadb-dev\), got"):
        status_reader(ctypes.PyDLL(None))
