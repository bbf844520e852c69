"""Plain psycopg connections, sync and async: whose each change was, every row that was read."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from tests.servers import Database, PgBouncer

from indelible import Actor, Target, Trail, acting_as
from indelible.capture.psycopg import async_connection_class, connect, connection_class
from indelible.errors import CaptureError

from .blocking import Blocking, blocking
from .reading import loop
from .test_trail import Site

__all__ = ["loop"]

ALICE, BOB = Actor("staff", "alice"), Actor("staff", "bob")
THREADS, ROUNDS = 16, 5
SCHEMA = (
    "CREATE TABLE person (id integer PRIMARY KEY, name text)",
    "CREATE FUNCTION named(integer) RETURNS text LANGUAGE sql AS "
    "'SELECT name FROM person WHERE id = $1'",
)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    database.execute(*SCHEMA, role="owner")
    database.grant()
    site = Site(database, tmp_path, "[tables.person]\nsubject = 'self'\n")
    site.run("install")
    return site


@pytest.fixture
def trail(site: Site) -> Iterator[Trail]:
    with site.trail() as trail:
        yield trail


@dataclass(frozen=True)
class Driver:
    """`plain` and `captured` connect to a URL; the classes are of cursors."""

    plain: Callable[..., Any]
    captured: Callable[..., Any]
    client: Any
    raw: Any


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest, trail: Trail, loop: asyncio.Runner) -> Driver:
    if request.param == "sync":
        return Driver(
            psycopg.connect,
            connection_class(trail).connect,
            psycopg.ClientCursor,
            psycopg.RawCursor,
        )
    return Driver(
        blocking(psycopg.AsyncConnection.connect, loop),
        blocking(async_connection_class(trail).connect, loop),
        psycopg.AsyncClientCursor,
        psycopg.AsyncRawCursor,
    )


@pytest.fixture
def connection(site: Site, driver: Driver) -> Iterator[Any]:
    with driver.captured(site.database.url("app")) as connection:
        yield connection


def done_by(trail: Trail, actor: Actor) -> list[str]:
    trail.flush()
    return sorted(f"{each.event.action} {each.target_text}" for each in trail.changes(by=actor))


def read_by(trail: Trail, actor: Actor) -> list[tuple[int | None, bool]]:
    """The ids of people that were read and whether that is certain; None for any."""
    trail.flush()
    answer = trail.access_events(by=actor)
    return [
        (ids[0] if ids else None, each.certain)
        for each in sorted((*answer.certain(), *answer.possible()), key=lambda it: it.event.time)
        if each.event.kind == "access"
        for target in each.event.targets
        for ids in target.ids or ((),)
    ]


def test_every_way_to_write(connection: Any, trail: Trail) -> None:
    """Text, bytes, composed; one, many, in a pipeline; COPY, with rows handed back."""
    with acting_as(ALICE, reason="ticket 1"):
        connection.execute("INSERT INTO person VALUES (%s, %s)", (1, "a"))
        connection.execute(b"INSERT INTO person VALUES (2, 'b')")
        name = sql.Identifier("person")
        connection.execute(sql.SQL("INSERT INTO {} VALUES (3, 'c')").format(name))
        connection.commit()
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO person VALUES (%s, %s)", [(4, "d"), (5, "e")])
        connection.commit()
        with connection.pipeline():
            connection.execute("INSERT INTO person VALUES (6, 'f')")
            connection.execute("UPDATE person SET name = 'F' WHERE id = 6")
            connection.commit()
            connection.execute("INSERT INTO person VALUES (7, 'g')")
        connection.commit()
        with cursor.copy("COPY person FROM STDIN") as copy:
            copy.write_row((8, "h"))
        connection.commit()
        changed = list(cursor.stream("UPDATE person SET name = 'A' WHERE id < 2 RETURNING id"))
        assert changed == [(1,)]
        connection.commit()
    assert done_by(trail, ALICE) == [
        *(f"person.insert person:{n}" for n in range(1, 9)),
        "person.update person:1",
        "person.update person:6",
    ]
    assert list(trail.notices()) == []


class Named(NamedTuple):
    name: str


@pytest.mark.parametrize("kind", [None, "client", "raw", "server"])
@pytest.mark.parametrize("factory", ["tuple", "dict", "namedtuple", "scalar", "class", "kwargs"])
def test_rows_are_those_that_they_were(
    site: Site, trail: Trail, driver: Driver, kind: str | None, factory: str
) -> None:
    """Whatever makes them, and however they are fetched: only those handed out are recorded."""
    makers = {
        "tuple": psycopg.rows.tuple_row,
        "dict": psycopg.rows.dict_row,
        "namedtuple": psycopg.rows.namedtuple_row,
        "scalar": psycopg.rows.scalar_row,
        "class": psycopg.rows.class_row(Named),
        "kwargs": psycopg.rows.kwargs_row(Named),
    }
    site.database.execute("INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n")

    def say(connection: Any) -> Iterator[object]:
        text: Any = "SELECT name FROM person WHERE id <= %s ORDER BY id"
        arguments: list[object] = [9]
        if kind == "client":
            connection.cursor_factory = driver.client
        elif kind == "raw":
            connection.cursor_factory = driver.raw
            text = text.replace("%s", "$1")
        connection.row_factory = makers[factory]
        cursor: Any = connection.cursor("named") if kind == "server" else connection.cursor()
        for fetch in (
            lambda: cursor.fetchone(),
            lambda: cursor.fetchmany(2),
            lambda: cursor.fetchall(),
            lambda: list(cursor),
            lambda: next(iter(cursor)),
        ):
            cursor.execute(text, arguments)
            yield fetch(), cursor.description, cursor.rowcount, cursor.rownumber
        if kind == "server":
            cursor.execute(text, arguments, binary=True)
            yield cursor.fetchone(), [column.name for column in cursor.description]
        cursor.close()
        connection.rollback()
        connection.close()

    plain = list(map(repr, say(driver.plain(site.database.url("app")))))
    with acting_as(ALICE):
        captured = list(map(repr, say(driver.captured(site.database.url("app")))))
    assert captured == plain
    expected = [1, 1, 2, *range(1, 10), *range(1, 10), 1, *([1] if kind == "server" else [])]
    assert read_by(trail, ALICE) == [(n, True) for n in expected]


def test_cursors_that_are_dropped_leave_nothing_behind(connection: Any, trail: Trail) -> None:
    with acting_as(BOB):
        connection.execute("INSERT INTO person SELECT n, 'n' FROM generate_series(1, 9) AS n")
        connection.commit()
    with acting_as(ALICE):
        for number in range(1, 4):
            found = connection.execute("SELECT name FROM person WHERE id = %s", (number,))
            assert found.fetchone() == ("n",)
        cursor = connection.execute("SELECT name FROM person ORDER BY id")
        assert len([cursor.fetchone() for _ in range(4)]) == 4
        del cursor, found
        connection.execute("SELECT 1 FROM person WHERE id = 9").fetchall()
        assert len(connection.captured.reads._log.open_accesses) == 0
    assert read_by(trail, ALICE) == [(n, True) for n in (1, 2, 3, 1, 2, 3, 4, 9)]


def test_a_row_of_which_a_factory_makes_none_is_not_the_end(connection: Any, trail: Trail) -> None:
    connection.execute("INSERT INTO person VALUES (1, 'a'), (2, NULL), (3, 'c')")
    connection.commit()
    with acting_as(ALICE):
        cursor = connection.cursor(row_factory=psycopg.rows.scalar_row)
        cursor.execute("SELECT name FROM person WHERE id > 0 ORDER BY id")
        assert [cursor.fetchone() for _ in range(4)] == ["a", None, "c", None]
        connection.rollback()
    assert read_by(trail, ALICE) == [(n, True) for n in (1, 2, 3)]


def test_a_page_that_is_iterated_over_is_passed_over_by_other_fetches(
    site: Site, trail: Trail, driver: Driver
) -> None:
    """As psycopg has it: `fetchone` goes on behind the page, and the page behind that."""
    site.database.execute("INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n")

    def say(connection: Any) -> Iterator[object]:
        with contextlib.closing(connection), connection.cursor("named") as cursor:
            cursor.itersize = 2
            cursor.execute("SELECT name FROM person ORDER BY id")
            yield from (next(cursor), cursor.fetchone(), next(cursor), next(cursor))
            yield cursor.fetchmany(2)

    plain = list(say(driver.plain(site.database.url("app"))))
    with acting_as(ALICE):
        captured = list(say(driver.captured(site.database.url("app"))))
    assert captured == plain
    assert [n for n, _ in read_by(trail, ALICE)] == [1, 3, 2, 4, 6, 7]


@pytest.mark.parametrize("factories", [("tuple", "dict"), ("dict", "tuple")], ids="-".join)
def test_a_row_factory_that_changes_amid_a_page_changes_the_next_one(
    site: Site, trail: Trail, driver: Driver, factories: tuple[str, str]
) -> None:
    """As psycopg has it: rows of the page that is under way were made before."""
    site.database.execute("INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n")
    first, then = (getattr(psycopg.rows, f"{each}_row") for each in factories)

    def say(connection: Any) -> Iterator[object]:
        with contextlib.closing(connection), connection.cursor("named") as cursor:
            cursor.itersize = 2
            cursor.row_factory = first
            cursor.execute("SELECT name FROM person ORDER BY id")
            yield next(cursor)
            cursor.row_factory = then
            yield from (next(cursor), next(cursor), cursor.fetchone(), next(cursor), next(cursor))

    plain = list(say(driver.plain(site.database.url("app"))))
    with acting_as(ALICE):
        captured = list(say(driver.captured(site.database.url("app"))))
    assert captured == plain
    assert [n for n, _ in read_by(trail, ALICE)] == [1, 2, 3, 5, 4, 6]


@pytest.mark.parametrize("name", [None, "named"])
def test_rows_that_are_scrolled_back_to_count(
    connection: Any, site: Site, trail: Trail, name: str | None
) -> None:
    """Though the last row was fetched before them."""
    site.database.execute("INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n")
    options = {"scrollable": True} if name else {}
    with acting_as(ALICE), connection.cursor(*[name] * bool(name), **options) as cursor:
        cursor.execute("SELECT name FROM person ORDER BY id")
        cursor.scroll(7)
        assert cursor.fetchall() == [("n8",), ("n9",)]
        cursor.scroll(1, "absolute")
        assert cursor.fetchmany(2) == [("n2",), ("n3",)]
    assert sorted(read_by(trail, ALICE)) == [(n, True) for n in (2, 3, 8, 9)]


def test_a_row_factory_sees_the_applications_columns_only(connection: Any, trail: Trail) -> None:
    """Whenever it is called."""
    seen: list[object] = []

    def factory(cursor: Any) -> Any:
        seen.append([column.name for column in cursor.description or ()])
        return tuple

    connection.row_factory = factory
    assert connection.execute("SELECT name FROM person WHERE id > 1").fetchall() == []
    cursor = connection.execute("INSERT INTO person VALUES (1, 'a') RETURNING name")
    assert cursor.fetchall() == [("a",)]
    assert [columns for columns in seen if columns] == [["name"], ["name"]]


def test_a_row_that_cannot_be_made_was_not_handed_out(connection: Any, trail: Trail) -> None:
    made: list[object] = []

    def refusing(cursor: Any) -> Any:
        def make(values: Sequence[Any]) -> Any:
            made.append(values)
            if len(made) == 2:
                raise RuntimeError("no")
            return values[0]

        return make

    with acting_as(BOB):
        connection.execute("INSERT INTO person VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        connection.commit()
    with acting_as(ALICE):
        cursor = connection.cursor(row_factory=refusing)
        cursor.execute("SELECT name FROM person ORDER BY id")
        with pytest.raises(RuntimeError):
            cursor.fetchall()
        assert cursor.fetchmany(2) == ["a", "b"]
        cursor.scroll(-1)
        assert cursor.fetchone() == "b"
        cursor.row_factory = dict_row
        assert cursor.fetchone() == {"name": "c"}
        cursor.close()
    assert made[0] == ("a",)
    assert [n for n, _ in read_by(trail, ALICE)] == [1, 2, 2, 3]


def test_what_is_not_fetched_row_by_row_is_told_by_statement(connection: Any, trail: Trail) -> None:
    """Streams, COPY TO and pipelines."""
    with acting_as(BOB):
        connection.execute("INSERT INTO person VALUES (1, 'a'), (2, 'b')")
        connection.commit()
    with acting_as(ALICE):
        cursor = connection.cursor(row_factory=dict_row)
        assert list(cursor.stream("SELECT id FROM person WHERE id = 2")) == [{"id": 2}]
        assert read_by(trail, ALICE) == [(None, False)]
        for rows in cursor.stream("SELECT id FROM person ORDER BY id"):
            assert rows == {"id": 1}
            break
        connection.rollback()
        with cursor.copy("COPY person TO STDOUT") as copy:
            assert [bytes(each) for each in copy] == [b"1\ta\n", b"2\tb\n"]
        with cursor.copy("COPY (SELECT name FROM person) TO STDOUT") as copy:
            assert [bytes(each) for each in copy] == [b"a\n", b"b\n"]
        with connection.pipeline():
            cursor.execute("SELECT id FROM person WHERE id = 1")
            assert cursor.fetchall() == [{"id": 1}]
        rows = iter(cursor.stream("SELECT id FROM person ORDER BY id"))
        assert next(rows) == {"id": 1}
        with acting_as(BOB):  # it was Alice who began
            assert list(rows) == [{"id": 2}]
        assert read_by(trail, BOB) == []
        before = read_by(trail, ALICE)
        assert before == [(None, False)] * 6
        connection.execute("SELECT 1")
        assert connection.execute("SELECT 2").fetchone() == (2,)
        assert read_by(trail, ALICE) == before


def test_autocommit(site: Site, trail: Trail, driver: Driver) -> None:
    """Each statement has the transaction that it would have had anyhow, and its actor."""
    with driver.captured(site.database.url("app"), autocommit=True) as connection:
        status = connection.info.transaction_status
        with acting_as(ALICE):
            connection.execute("INSERT INTO person VALUES (1, 'a')")
            assert connection.info.transaction_status == status
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO person VALUES (1, 'a')")
            assert connection.info.transaction_status == status
            with connection.cursor().copy("COPY person FROM STDIN") as copy:
                copy.write_row((2, "b"))
            assert connection.info.transaction_status == status
            with pytest.raises(RuntimeError), connection.cursor().copy("COPY person FROM STDIN"):
                raise RuntimeError
            assert connection.info.transaction_status == status
            with connection.transaction():
                connection.execute("INSERT INTO person VALUES (3, 'c')")
        with acting_as(BOB):
            connection.execute("UPDATE person SET name = 'B' WHERE id = 2")
    assert done_by(trail, ALICE) == [f"person.insert person:{n}" for n in (1, 2, 3)]
    assert done_by(trail, BOB) == ["person.update person:2"]
    assert list(trail.notices()) == []


def test_a_savepoint_that_is_rolled_back_takes_nobody_along(connection: Any, trail: Trail) -> None:
    with acting_as(ALICE), connection.transaction():
        with pytest.raises(RuntimeError), connection.transaction():
            connection.execute("INSERT INTO person VALUES (1, 'gone')")
            raise RuntimeError
        connection.execute("INSERT INTO person VALUES (2, 'stays')")
        with connection.transaction(force_rollback=True), acting_as(BOB):
            connection.execute("INSERT INTO person VALUES (3, 'gone')")
        connection.execute("INSERT INTO person VALUES (4, 'stays')")
        connection.execute("SAVEPOINT mine")
        with acting_as(BOB):
            connection.execute("INSERT INTO person VALUES (5, 'gone')")
        connection.execute("ROLLBACK TO SAVEPOINT mine")
        connection.execute("INSERT INTO person VALUES (6, 'stays')")
    assert done_by(trail, ALICE) == [f"person.insert person:{n}" for n in (2, 4, 6)]
    assert done_by(trail, BOB) == []
    assert list(trail.notices()) == []


def test_an_explicit_event_shares_the_transactions_fate(connection: Any, trail: Trail) -> None:

    def record(connection: Any, action: str, **event: Any) -> None:
        if isinstance(connection, Blocking):
            said = trail.record_async(action, on=connection.inner, **event)
            blocking(said, connection.runner)
        else:
            trail.record(action, on=connection, **event)

    with acting_as(ALICE):
        record(connection, "person.merged", target=Target("person", 1))
        connection.execute("INSERT INTO person VALUES (1, 'a')")
        connection.commit()
        record(connection, "person.split", target=Target("person", 1))
        connection.rollback()
    trail.flush()
    assert [each.event.action for each in trail.events(by=ALICE)] == ["person.merged"]


def test_results_are_those_without_capture(site: Site, driver: Driver) -> None:
    """Rows, counts, messages, errors and transaction states, one after the other."""
    texts = [
        "SELECT count(*) FROM person",
        "INSERT INTO person VALUES (1, 'a') RETURNING *",
        "SELECT named(1)",
        "ROLLBACK",
        "INSERT INTO person VALUES (2, 'b')",
        "INSERT INTO person VALUES (2, 'b')",
        "SELECT 1",
        "ROLLBACK",
        "no statement",
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
        for text in texts:
            try:
                cursor = connection.execute(text)
                columns = [(c.name, c.type_code) for c in cursor.description or ()]
                rows = cursor.fetchall() if cursor.description else None
                said: object = (columns, rows, cursor.rowcount, cursor.statusmessage)
            except Exception as error:
                said = (type(error), str(error))
            yield text, said, connection.info.transaction_status
        connection.close()

    plain = list(say(driver.plain(site.database.url("app"))))
    with acting_as(ALICE):
        captured = list(say(driver.captured(site.database.url("app"))))
    assert captured == plain


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("text", ["INSERT INTO person VALUES (1, 'x')", "SELECT name FROM person"])
def test_a_server_that_goes_away(site: Site, driver: Driver, text: str, autocommit: bool) -> None:
    """What is raised says so, then and later, as without capture."""
    said = []
    for make in (driver.plain, driver.captured):
        connection = make(site.database.url("app"), autocommit=autocommit)
        pid = connection.info.backend_pid
        site.database.execute(f"SELECT pg_terminate_backend({pid}, 5000)", role="postgres")
        for _ in range(2):
            with pytest.raises(psycopg.Error) as caught, acting_as(ALICE):
                connection.execute(text)
            said.append((type(caught.value), str(caught.value), connection.closed))
        connection.close()
    assert said[2:] == said[:2]


def test_bytes_in_another_encoding(site: Site, trail: Trail, driver: Driver) -> None:
    site.database.execute("INSERT INTO person VALUES (1, 'é'), (2, 'e')")

    def say(connection: Any) -> Iterator[object]:
        for encoding in ("LATIN1", "UTF8"):
            connection.execute(f"SET client_encoding TO {encoding}")
            connection.commit()
            try:
                cursor = connection.execute(b"SELECT name FROM person WHERE name = '\xe9'")
                yield cursor.fetchall()
            except psycopg.Error as error:
                yield type(error), str(error)
            connection.rollback()
        connection.close()

    plain = list(say(driver.plain(site.database.url("app"))))
    with acting_as(ALICE):
        captured = list(say(driver.captured(site.database.url("app"))))
    assert captured == plain
    assert read_by(trail, ALICE)[0] == (1, True)


def test_sixteen_threads_through_a_pooler(site: Site, trail: Trail) -> None:
    """Each is somebody else, on server connections that they share: none mixed, none lost."""
    make = connection_class(trail)
    bouncer = PgBouncer(site.database, pool_size=3)
    try:

        def work(n: int) -> None:
            with make.connect(bouncer.url("app"), prepare_threshold=None) as connection:
                for step in range(ROUNDS):
                    with acting_as(Actor("staff", f"number {n}")):
                        key = n * ROUNDS + step
                        connection.execute("INSERT INTO person VALUES (%s, %s)", (key, str(key)))
                        connection.commit()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        bouncer.remove()
    for n in range(THREADS):
        assert done_by(trail, Actor("staff", f"number {n}")) == sorted(
            f"person.insert person:{n * ROUNDS + step}" for step in range(ROUNDS)
        )


def test_threads_that_share_a_connection(site: Site, trail: Trail) -> None:
    """Who acts and the statement go together, whatever the others say meanwhile."""
    with connect(site.database.url("app"), trail=trail, autocommit=True) as connection:

        def work(n: int) -> None:
            with acting_as(Actor("staff", f"number {n}")):
                for step in range(ROUNDS):
                    key = n * ROUNDS + step
                    connection.execute("INSERT INTO person VALUES (%s, %s)", (key, str(key)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for n in range(THREADS):
        assert done_by(trail, Actor("staff", f"number {n}")) == sorted(
            f"person.insert person:{n * ROUNDS + step}" for step in range(ROUNDS)
        )


def test_many_in_autocommit_are_all_or_none_as_without_capture(site: Site, driver: Driver) -> None:
    url = site.database.url("app")
    people = [(1, "a"), (2, "b"), (2, "again")]
    left = []
    with acting_as(ALICE):
        for make in (driver.plain, driver.captured):
            with make(url, autocommit=True) as connection:
                connection.execute("DELETE FROM person")
                with pytest.raises(psycopg.errors.UniqueViolation):
                    connection.cursor().executemany("INSERT INTO person VALUES (%s, %s)", people)
                left.append(connection.execute("SELECT id FROM person").fetchall())
    assert left[0] == left[1]


def test_a_trail_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "indelible.toml").write_text("[trail]\nurl = 'sqlite:///trail.db'\n")
    with (
        Trail.create(tmp_path / "indelible.toml") as trail,
        pytest.raises(CaptureError, match=r"expected \[database\] url"),
    ):
        connect("postgresql://nowhere", trail=trail)


def test_a_pool_of_captured_connections(site: Site, trail: Trail) -> None:
    site.database.execute("INSERT INTO person SELECT n, 'n' || n FROM generate_series(1, 9) AS n")
    with ConnectionPool(
        site.database.url("app"),
        connection_class=connection_class(trail),
        min_size=1,
        max_size=2,
        open=True,
    ) as pool:
        for number in range(1, 5):
            with acting_as(Actor("staff", str(number))), pool.connection() as connection:
                read = connection.execute("SELECT name FROM person WHERE id = %s", (number,))
                assert read.fetchall() == [(f"n{number}",)]
                connection.execute("UPDATE person SET name = 'x' WHERE id = %s", (number,))
    for number in range(1, 5):
        actor = Actor("staff", str(number))
        assert read_by(trail, actor) == [(number, True)]
        assert done_by(trail, actor) == [f"person.update person:{number}"]
