"""Plain psycopg2 connections: whose each change was, and every row that was read."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions, extras, sql
from psycopg2.pool import ThreadedConnectionPool
from tests.servers import PgBouncer

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.psycopg2 import connect, connection_class
from indelible.errors import CaptureError

from .test_psycopg import ALICE, BOB, done_by, read_by, site, trail
from .test_trail import Site

__all__ = ["site", "trail"]

THREADS, ROUNDS = 120, 3
NINE = "INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n"


@pytest.fixture
def connection(site: Site, trail: Trail) -> Iterator[Any]:
    with contextlib.closing(connect(site.database.url("app"), trail=trail)) as connection:
        yield connection


def both(site: Site, trail: Trail, say: Callable[[Any], Iterator[object]], **options: Any) -> None:
    """What is said of a captured connection, as Alice, is what is said of a plain one."""
    url = site.database.url("app")
    said = []
    for make in (psycopg2.connect, lambda *args, **more: connect(*args, trail=trail, **more)):
        with contextlib.closing(make(url, **options)) as connection, acting_as(ALICE):
            said.append(list(map(repr, say(connection))))
    assert said[1] == said[0]


def test_every_way_to_write(connection: Any, trail: Trail) -> None:
    """Text, bytes, composed; one, many, in batches; COPY, procedures, with rows handed back."""
    cursor = connection.cursor()
    with acting_as(ALICE, reason="ticket 1"):
        with connection:
            cursor.execute("INSERT INTO person VALUES (%s, %s)", (1, "a"))
            cursor.execute(b"INSERT INTO person VALUES (2, 'b')")
        name = sql.Identifier("person")
        with connection:
            cursor.execute(sql.SQL("INSERT INTO {} VALUES (3, 'c')").format(name))
        cursor.executemany("INSERT INTO person VALUES (%s, %s)", [(4, "d"), (5, "e")])
        connection.commit()
        extras.execute_batch(cursor, "INSERT INTO person VALUES (%s, %s)", [(6, "f"), (7, "g")])
        connection.commit()
        more = "INSERT INTO person VALUES %s RETURNING id"
        assert extras.execute_values(cursor, more, [(8, "h"), (9, "i")], fetch=True) == [(8,), (9,)]
        connection.commit()
        cursor.copy_from(io.StringIO("10\tj\n"), "person")
        connection.commit()
        cursor.copy_expert("COPY person (id) FROM STDIN", io.StringIO("11\n"))
        connection.commit()
        cursor.callproc("added", (12,))
        assert cursor.fetchall() == [(12,)]
        connection.commit()
        cursor.execute("UPDATE person SET name = 'A' WHERE id < 2 RETURNING id")
        assert cursor.fetchall() == [(1,)]
        connection.commit()
    assert done_by(trail, ALICE) == sorted(
        [*(f"person.insert person:{n}" for n in range(1, 13)), "person.update person:1"]
    )
    assert list(trail.notices()) == []


@pytest.fixture(autouse=True)
def function(site: Site) -> None:
    site.database.execute(
        "CREATE FUNCTION added(int) RETURNS int LANGUAGE sql AS "
        "'INSERT INTO person VALUES ($1, ''x'') RETURNING id'"
    )


class Shouting(extensions.cursor):  # type: ignore[misc]
    """Runs statements in its own way, as psycopg2's documentation shows."""

    def execute(self, query: Any, vars: Any = None) -> None:
        extensions.cursor.execute(self, query, vars)


class Taking(extensions.cursor):  # type: ignore[misc]
    """Makes rows by psycopg2's hook."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row_factory = lambda cursor: [*map(str, cursor.description), "more"]


class Fetching(extensions.cursor):  # type: ignore[misc]
    """Fetches in a way of its own."""

    def fetchall(self) -> list[Any]:
        return [[*row] for row in extensions.cursor.fetchall(self)]


FACTORIES = {
    "none": None,
    "plain": extensions.cursor,
    "dict": extras.DictCursor,
    "real dict": extras.RealDictCursor,
    "named tuple": extras.NamedTupleCursor,
    "own": Shouting,
    "hook": Taking,
}


@pytest.mark.parametrize("name", [None, "named"], ids=["client", "server"])
@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("columns", ["name", "name, id", "p.*, upper(name)"])
def test_rows_are_those_that_they_were(
    site: Site, trail: Trail, name: str | None, factory: str, columns: str
) -> None:
    """Whatever makes them, and however they are fetched: only those handed out are recorded."""
    site.database.execute(NINE)

    def say(connection: Any) -> Iterator[object]:
        for fetch in (
            lambda cursor: cursor.fetchone(),
            lambda cursor: cursor.fetchmany(2),
            lambda cursor: cursor.fetchmany(size=3),
            lambda cursor: cursor.fetchall(),
            lambda cursor: list(cursor),
            lambda cursor: next(cursor),
            lambda cursor: next(iter(cursor)),
        ):
            cursor = connection.cursor(name, cursor_factory=FACTORIES[factory])
            cursor.itersize = 2
            text = f"SELECT {columns} FROM person p WHERE id <= %s AND name LIKE 'n%%' ORDER BY id"
            yield cursor.execute(text, [9]), cursor.query
            rows = fetch(cursor)
            first = rows[0] if isinstance(rows, list) else rows
            yield rows, type(first), cursor.description, cursor.rowcount, cursor.rownumber
            yield cursor.query, cursor.statusmessage, cursor.row_factory is None
            cursor.close()

    both(site, trail, say)
    expected = [1, 1, 2, 1, 2, 3, *range(1, 10), *range(1, 10), 1, 1]
    assert read_by(trail, ALICE) == [(n, True) for n in expected]


def test_a_cursor_that_fetches_in_its_own_way_is_told_by_statement(
    site: Site, trail: Trail
) -> None:
    site.database.execute(NINE)

    def say(connection: Any) -> Iterator[object]:
        cursor = connection.cursor(cursor_factory=Fetching)
        cursor.execute("SELECT name FROM person WHERE id < 3 ORDER BY id")
        yield cursor.fetchall()
        cursor.execute("INSERT INTO person VALUES (10, 'x')")
        connection.commit()
        cursor.execute("DELETE FROM person WHERE id = 10")
        connection.rollback()

    site.database.execute("CREATE RULE once AS ON DELETE TO person DO INSTEAD NOTHING")
    both(site, trail, lambda connection: iter([next(say(connection))]))
    assert read_by(trail, ALICE) == [(None, False)]


def test_what_is_not_fetched_row_by_row_is_told_by_statement(
    connection: Any, site: Site, trail: Trail
) -> None:
    """COPY TO, procedures and what a text of several statements hands out."""
    site.database.execute("INSERT INTO person VALUES (1, 'a'), (2, 'b')")
    cursor = connection.cursor()
    with acting_as(ALICE):
        out = io.StringIO()
        cursor.copy_to(out, "person", columns=["name"])
        cursor.copy_expert("COPY (SELECT id FROM person) TO STDOUT", out)
        assert out.getvalue() == "a\nb\n1\n2\n"
        assert read_by(trail, ALICE) == [(None, False)] * 2
        cursor.execute("SELECT 1; SELECT name FROM person")
        assert cursor.fetchall() == [("a",), ("b",)]
        assert read_by(trail, ALICE) == [(None, False)] * 3
        cursor.callproc("named", [2])
        assert cursor.fetchall() == [("b",)]
        cursor.execute("SELECT 1")
    trail.flush()
    answer = trail.access_events(by=ALICE)
    found = [each.event.action for each in (*answer.certain(), *answer.possible())]
    assert sorted(found) == [*["person.read"] * 3, "statement.read"]


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("full")


def test_a_copy_that_fails_may_have_handed_rows_out(
    connection: Any, site: Site, trail: Trail
) -> None:
    site.database.execute(NINE)
    with acting_as(ALICE), pytest.raises(OSError, match="full"):
        connection.cursor().copy_to(Full(), "person")
    assert read_by(trail, ALICE) == [(None, False)]


def test_rows_that_are_scrolled_back_to_count(connection: Any, site: Site, trail: Trail) -> None:
    """Though the last row was fetched before them."""
    site.database.execute(NINE)
    with acting_as(ALICE):
        for name in (None, "named"):
            with connection.cursor(name, scrollable=True if name else None) as cursor:
                cursor.execute("SELECT name FROM person ORDER BY id")
                cursor.scroll(7)
                assert cursor.fetchall() == [("n8",), ("n9",)]
                cursor.scroll(1, mode="absolute")
                assert cursor.fetchmany(2) == [("n2",), ("n3",)]
    assert sorted(read_by(trail, ALICE)) == [(n, True) for n in (2, 2, 3, 3, 8, 8, 9, 9)]


def test_autocommit(site: Site, trail: Trail) -> None:
    """Each statement has the transaction that it would have had anyhow, and its actor."""
    with contextlib.closing(connect(site.database.url("app"), trail=trail)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        with acting_as(ALICE):
            cursor.execute("INSERT INTO person VALUES (1, 'a;b')")
            extras.execute_values(cursor, "INSERT INTO person VALUES %s", [(2, "b;"), (3, ";c")])
            extras.execute_batch(cursor, "INSERT INTO person VALUES (%s, %s)", [(4, "d"), (5, ";")])
            cursor.copy_from(io.StringIO("6\tf\n"), "person")
            assert connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
            with pytest.raises(psycopg2.errors.UniqueViolation):
                cursor.copy_from(io.StringIO("7\tg\n6\tf\n"), "person")
            assert connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
        with acting_as(BOB):
            cursor.executemany("UPDATE person SET name = 'B' WHERE id = %s", [(2,), (3,)])
            assert cursor.rowcount == 2
    assert done_by(trail, ALICE) == [f"person.insert person:{n}" for n in range(1, 7)]
    assert done_by(trail, BOB) == [f"person.update person:{n}" for n in (2, 3)]
    assert list(trail.notices()) == []


@pytest.mark.parametrize("autocommit", [False, True])
def test_of_many_those_before_an_error_stay_as_without_capture(
    site: Site, trail: Trail, autocommit: bool
) -> None:
    """psycopg2 sends one after the other: in autocommit each is committed."""

    def say(connection: Any) -> Iterator[object]:
        connection.autocommit = autocommit
        cursor = connection.cursor()
        cursor.execute("DELETE FROM person")
        for people in ([(1, "a"), (2, "b"), (2, "again"), (3, "c")], [(5, "e"), "no"], 7):
            try:
                cursor.executemany("INSERT INTO person VALUES (%s, %s)", people)
            except Exception as error:
                yield type(error), str(error)
            yield connection.info.transaction_status, cursor.rowcount
            if not autocommit:
                connection.rollback()
        cursor.execute("SELECT id FROM person ORDER BY id")
        yield cursor.fetchall()
        connection.commit()

    both(site, trail, say)
    assert ("person.insert person:1" in done_by(trail, ALICE)) == autocommit


def test_a_savepoint_that_is_rolled_back_takes_nobody_along(connection: Any, trail: Trail) -> None:
    cursor = connection.cursor()
    with acting_as(ALICE), connection:
        cursor.execute("SAVEPOINT mine")
        with acting_as(BOB):
            cursor.execute("INSERT INTO person VALUES (1, 'gone')")
        cursor.execute("ROLLBACK TO SAVEPOINT mine")
        cursor.execute("INSERT INTO person VALUES (2, 'stays')")
        with acting_as(BOB):
            cursor.execute("INSERT INTO person VALUES (3, 'stays')")
    with acting_as(ALICE), pytest.raises(RuntimeError), connection:
        cursor.execute("INSERT INTO person VALUES (4, 'gone')")
        raise RuntimeError
    assert done_by(trail, ALICE) == ["person.insert person:2"]
    assert done_by(trail, BOB) == ["person.insert person:3"]
    assert list(trail.notices()) == []


def test_an_explicit_event_shares_the_transactions_fate(connection: Any, trail: Trail) -> None:
    with acting_as(ALICE):
        trail.record("person.merged", target=Target("person", 1), on=connection)
        connection.commit()
        trail.record("person.split", target=Target("person", 1), on=connection)
        connection.rollback()
    trail.flush()
    assert [each.event.action for each in trail.events(by=ALICE)] == ["person.merged"]


@pytest.mark.parametrize("autocommit", [False, True])
def test_results_are_those_without_capture(site: Site, trail: Trail, autocommit: bool) -> None:
    """Rows, counts, messages, errors and transaction states, one after the other."""
    texts = [
        "SELECT count(*) FROM person",
        "INSERT INTO person VALUES (1, 'a') RETURNING *",
        "SELECT named(1)",
        "ROLLBACK",
        "INSERT INTO person VALUES (2, 'b')",
        "INSERT INTO person VALUES (2, 'b')",
        "SELECT 1",
        "SELECT name FROM person",
        "ROLLBACK",
        "no statement",
        "ROLLBACK",
        "SELECT name FROM person WHERE 1 / id = 0 AND nothing",
        "ROLLBACK",
        "INSERT INTO nowhere VALUES (1)",
        "ROLLBACK",
        "",
        7,
        None,
        "ROLLBACK",
        "INSERT INTO person VALUES (3, 'c'); DELETE FROM person",
        "ROLLBACK",
        "SELECT current_setting('transaction_isolation')",
    ]

    def say(connection: Any) -> Iterator[object]:
        connection.autocommit = autocommit
        cursor = connection.cursor()
        cursor.execute("DELETE FROM person")
        if not autocommit:
            connection.commit()
        for text in texts:
            try:
                cursor.execute(text)
                rows = cursor.fetchall() if cursor.description else None
                said: object = (cursor.description, rows, cursor.rowcount, cursor.statusmessage)
            except Exception as error:
                said = (type(error), str(error), getattr(error, "pgcode", None))
            yield text, said, connection.info.transaction_status, connection.status
        cursor.close()
        for use in (lambda: cursor.execute("SELECT 1"), lambda: cursor.fetchone()):
            with pytest.raises(psycopg2.InterfaceError) as caught:
                use()
            yield str(caught.value)
        connection.close()
        with pytest.raises(psycopg2.InterfaceError) as caught:
            connection.cursor()
        yield str(caught.value)

    both(site, trail, say)


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("text", ["INSERT INTO person VALUES (1, 'x')", "SELECT name FROM person"])
def test_a_server_that_goes_away(site: Site, trail: Trail, text: str, autocommit: bool) -> None:
    """What is raised says so, then and later, as without capture; nothing was written."""

    def say(connection: Any) -> Iterator[object]:
        connection.autocommit = autocommit
        pid = connection.info.backend_pid
        site.database.execute(f"SELECT pg_terminate_backend({pid}, 5000)", role="postgres")
        for _ in range(2):
            with pytest.raises(psycopg2.Error) as caught:
                connection.cursor().execute(text)
            yield type(caught.value), str(caught.value), connection.closed

    both(site, trail, say)
    assert done_by(trail, ALICE) == []


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pgbouncer"])
def test_nobody_is_taken_for_another(site: Site, trail: Trail, pooled: bool) -> None:
    """Many threads over few connections, each as somebody else; every other autocommits."""
    site.database.execute(
        f"INSERT INTO person SELECT n, '' FROM generate_series(0, {THREADS}) AS n"
    )
    bouncer = PgBouncer(site.database, pool_size=3) if pooled else None
    url = (bouncer or site.database).url("app")
    pool = ThreadedConnectionPool(1, 5, url, connection_factory=connection_class(trail))
    free = threading.Semaphore(5)
    seen: list[Any] = []

    def work(n: int) -> None:
        for step in range(ROUNDS):
            with acting_as(Actor("staff", f"number {n}")), free:
                connection = pool.getconn()
                connection.autocommit = n % 2 == 0
                cursor = connection.cursor()
                cursor.execute("UPDATE person SET name = %s WHERE id = %s", (str(step), n))
                cursor.execute("SELECT name FROM person WHERE id = %s", (n,))
                seen.append(cursor.fetchall() == [(str(step),)])
                connection.commit()
                pool.putconn(connection)

    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pool.closeall()
    finally:
        if bouncer is not None:
            bouncer.remove()
    assert seen == [True] * THREADS * ROUNDS
    for n in range(THREADS):
        actor = Actor("staff", f"number {n}")
        assert done_by(trail, actor) == [f"person.update person:{n}"] * ROUNDS
        assert read_by(trail, actor) == [(n, True)] * ROUNDS


def test_threads_that_share_a_connection(connection: Any, trail: Trail) -> None:
    """Who acts and the statement go together, whatever the others say meanwhile."""
    connection.autocommit = True

    def work(n: int) -> None:
        with acting_as(Actor("staff", f"number {n}")), connection.cursor() as cursor:
            for step in range(ROUNDS):
                cursor.execute("INSERT INTO person VALUES (%s, 'x')", (n * ROUNDS + step,))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(THREADS):
        assert done_by(trail, Actor("staff", f"number {n}")) == sorted(
            f"person.insert person:{n * ROUNDS + step}" for step in range(ROUNDS)
        )


@pytest.mark.parametrize(
    "factory", [extras.DictConnection, extras.RealDictConnection, extras.NamedTupleConnection]
)
def test_a_connection_of_the_applications_class(site: Site, trail: Trail, factory: Any) -> None:
    """Its cursors are of the class that it chooses, and captured."""
    site.database.execute(NINE)

    def say(connection: Any) -> Iterator[object]:
        yield isinstance(connection, factory)
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM person WHERE id = 3")
            yield cursor.fetchall()

    both(site, trail, say, connection_factory=factory)
    assert read_by(trail, ALICE) == [(3, True)]
    assert connection_class(trail, factory) is connection_class(trail, factory)


def test_a_log_of_statements_shows_the_applications_own(site: Site, trail: Trail) -> None:
    def say(connection: Any) -> Iterator[object]:
        log = io.StringIO()
        connection.initialize(log)
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM person WHERE id = %s", (3,))
        yield log.getvalue()

    both(site, trail, say, connection_factory=extras.LoggingConnection)
    assert logging.getLogger(__name__).handlers == []


def test_a_text_in_another_encoding(site: Site, trail: Trail) -> None:
    site.database.execute("INSERT INTO person VALUES (1, 'é'), (2, 'e')")

    def say(connection: Any) -> Iterator[object]:
        for encoding in ("LATIN1", "UTF8"):
            connection.set_client_encoding(encoding)
            with connection, connection.cursor() as cursor:
                try:
                    cursor.execute(b"SELECT name FROM person WHERE name = '\xe9'")
                    yield cursor.fetchall()
                except psycopg2.Error as error:
                    yield type(error), str(error)
            connection.rollback()

    both(site, trail, say)
    assert read_by(trail, ALICE)[0] == (1, True)


def test_a_connection_that_is_dropped_is_closed_at_once(site: Site, trail: Trail) -> None:
    connection = connect(site.database.url("app"), trail=trail)
    with acting_as(ALICE), connection.cursor() as cursor:
        cursor.execute("INSERT INTO person VALUES (1, 'a')")
        cursor.execute("SELECT name FROM person")
        assert cursor.fetchall() == [("a",)]
    del connection, cursor
    site.database.execute("LOCK TABLE person; SELECT 1")


def test_a_session_that_is_reset_means_what_it_meant(
    connection: Any, site: Site, trail: Trail
) -> None:
    site.database.execute(
        "CREATE SCHEMA other", "CREATE TABLE other.person (id int PRIMARY KEY, name text)"
    )
    site.database.execute("GRANT USAGE ON SCHEMA other TO app", "GRANT ALL ON other.person TO app")
    site.database.execute(NINE, "INSERT INTO other.person VALUES (77, 'o')")
    cursor = connection.cursor()
    with acting_as(ALICE):
        cursor.execute("SET search_path = other")
        cursor.execute("SELECT name FROM person")
        assert cursor.fetchall() == [("o",)]
        connection.reset()
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM person WHERE id = 1")
        assert cursor.fetchall() == [("n1",)]
    trail.flush()
    found = [
        (target.kind, target.ids)
        for each in trail.access_events(by=ALICE).certain()
        for target in each.event.targets
    ]
    assert sorted(found) == [("other.person", ((77,),)), ("person", ((1,),))]


def test_what_cannot_be_captured_is_refused(site: Site, trail: Trail, connection: Any) -> None:
    with pytest.raises(CaptureError, match="expected a synchronous connection"):
        connect(site.database.url("app"), trail=trail, async_=True)
    with pytest.raises(CaptureError, match="expected a class of cursors"):
        connection.cursor(cursor_factory=lambda *_: None)
