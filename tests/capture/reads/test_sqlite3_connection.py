"""A captured `sqlite3` connection behaves as a plain one does, in every way of using it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indelible.capture.sqlite3 import connect
from indelible.errors import CaptureError, ProtectedTableError
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.policy import parse_policy

from .host import MemoryHost, ids_by_kind, targets

NAMES = "SELECT FirstName, LastName FROM Customer WHERE CustomerId < 6 ORDER BY CustomerId"


class Record(sqlite3.Row):
    """An application's own row."""


def dict_factory(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> dict[str, object]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def use_default(c: Any) -> object:
    cursor = c.execute(NAMES)
    return cursor.fetchall(), cursor.description, cursor.fetchall(), cursor.fetchone()


def use_row(c: Any) -> object:
    c.row_factory = sqlite3.Row
    cursor = c.execute(NAMES)
    first = cursor.fetchone()
    rest = cursor.fetchall()
    return (
        first.keys(), tuple(first), len(first), first["LastName"], first[-1], first[0:2],
        first == first, hash(first) == hash(first), [tuple(row) for row in rest],
        [row.keys() for row in rest], type(first).__name__,
    )  # fmt: skip


def use_row_with_the_key(c: Any) -> object:
    c.row_factory = sqlite3.Row
    row = c.execute("SELECT * FROM Customer WHERE CustomerId = 2").fetchone()
    return row.keys(), tuple(row), row["EMAIL"]


def use_row_subclass(c: Any) -> object:
    cursor = c.cursor()
    cursor.row_factory = Record
    row = cursor.execute(NAMES).fetchone()
    return type(row).__name__, row.keys(), tuple(row), cursor.row_factory is Record


def use_dict_factory(c: Any) -> object:
    c.row_factory = dict_factory
    return c.execute(NAMES).fetchall(), c.execute("SELECT count(*) FROM Customer").fetchone()


def use_factory_changed_on_the_way(c: Any) -> object:
    cursor = c.execute(NAMES)
    first = cursor.fetchone()
    cursor.row_factory = dict_factory
    second = cursor.fetchone()
    cursor.row_factory = None
    return first, second, cursor.fetchone(), cursor.row_factory


def use_fetchmany(c: Any) -> object:
    cursor = c.execute(NAMES)
    cursor.arraysize = 2
    return (
        cursor.fetchmany(), cursor.fetchmany(1), cursor.fetchmany(size=5), cursor.fetchmany(),
        cursor.arraysize, c.execute(NAMES).fetchmany(0), c.execute(NAMES).fetchmany(-1),
    )  # fmt: skip


def use_iteration(c: Any) -> object:
    cursor = c.execute(NAMES)
    return next(cursor), [row for row in cursor], list(cursor), iter(cursor) is cursor  # noqa: C416


def use_generator(c: Any) -> object:
    def rows() -> Any:
        yield from c.execute(NAMES)

    found = rows()
    first = next(found)
    found.close()
    return first


def use_nested_cursors(c: Any) -> object:
    found = []
    for (customer,) in c.execute("SELECT CustomerId FROM Customer WHERE CustomerId < 4"):
        for (total,) in c.execute(
            "SELECT Total FROM Invoice WHERE CustomerId = ? ORDER BY 1", (customer,)
        ):
            found.append((customer, total))
    return found


def use_cursor_again(c: Any) -> object:
    cursor = c.cursor()
    cursor.execute(NAMES)
    cursor.fetchone()
    cursor.execute("SELECT 1 AS one")
    return cursor.description, cursor.fetchall()


def use_writes(c: Any) -> object:
    cursor = c.execute("INSERT INTO part (name) VALUES ('nut')")
    found: list[object] = [cursor.lastrowid, cursor.rowcount, cursor.description]
    cursor.executemany("INSERT INTO part (name) VALUES (?)", [("a",), ("b",)])
    found += [cursor.lastrowid, cursor.rowcount]
    cursor.execute("SELECT name FROM part WHERE id > 3 ORDER BY id")
    found += [cursor.lastrowid, cursor.rowcount, cursor.fetchall(), c.in_transaction]
    cursor.execute("UPDATE part SET name = upper(name) WHERE id > 4 RETURNING name")
    found += [cursor.fetchall(), cursor.rowcount]
    c.rollback()
    found += [c.execute("SELECT count(*) FROM part").fetchone(), c.in_transaction]
    return found


def use_script(c: Any) -> object:
    cursor = c.executescript(
        "CREATE TABLE t (a); INSERT INTO t VALUES (1); SELECT a FROM t;"
        "INSERT INTO t SELECT a FROM t;"
    )
    return cursor.description, cursor.fetchall(), c.execute("SELECT count(*) FROM t").fetchone()


def use_context_manager(c: Any) -> object:
    with c:
        c.execute("INSERT INTO part (name) VALUES ('kept')")
    with pytest.raises(ZeroDivisionError), c:
        c.execute("INSERT INTO part (name) VALUES ('lost')")
        raise ZeroDivisionError
    return c.execute("SELECT name FROM part WHERE id > 4").fetchall()


def use_isolation(c: Any) -> object:
    c.isolation_level = None
    c.execute("BEGIN IMMEDIATE")
    c.execute("SAVEPOINT s")
    c.execute("DELETE FROM part")
    c.execute("ROLLBACK TO s")
    inside = c.execute("SELECT count(*) FROM part WHERE id > 0").fetchone(), c.in_transaction
    c.execute("COMMIT")
    return inside, c.in_transaction, c.isolation_level


def use_named_parameters(c: Any) -> object:
    sql = "SELECT FirstName FROM Customer WHERE CustomerId IN (:a, @b, $c) ORDER BY 1"
    distinct = "SELECT DISTINCT Country FROM Customer WHERE CustomerId < :a"
    numbered = "SELECT FirstName FROM Customer WHERE CustomerId = ?2 OR CustomerId = ?1 ORDER BY 1"
    return (
        c.execute(sql, {"a": 1, "b": 2, "c": 3, "unused": 4}).fetchall(),
        c.execute(distinct, {"a": 4}).fetchall(),
        c.execute(numbered, (1, 3)).fetchall(),
    )


def use_text_factory(c: Any) -> object:
    c.text_factory = bytes
    by_bytes = c.execute(NAMES).fetchall(), c.execute("SELECT who FROM seat").fetchall()
    c.text_factory = lambda raw: raw.decode("latin-1") + "!"
    odd = c.execute('SELECT "select" FROM "odd ""name" ORDER BY 1').fetchall()
    c.text_factory = str
    return by_bytes, odd, c.execute("SELECT DISTINCT who FROM seat").fetchall()


def use_functions(c: Any) -> object:
    calls: list[object] = []

    def twice(value: object) -> object:
        calls.append(value)
        return f"{value}{value}"

    class Longest:
        def __init__(self) -> None:
            self.found = ""

        def step(self, value: str) -> None:
            self.found = max(self.found, value, key=len)

        def finalize(self) -> str:
            return self.found

    c.create_function("twice", 1, twice)
    c.create_aggregate("longest", 1, Longest)
    return (
        c.execute(
            "SELECT twice(FirstName) FROM Customer WHERE CustomerId < 3 ORDER BY 1"
        ).fetchall(),
        c.execute("SELECT longest(FirstName) FROM Customer WHERE CustomerId < 9").fetchall(),
        calls,
    )


def use_dump(c: Any) -> object:
    return list(c.iterdump())


def use_blob(c: Any) -> object:
    c.execute("INSERT INTO empty VALUES (1, zeroblob(3))")
    with c.blobopen("empty", "v", 1) as blob:
        blob.write(b"abc")
    return c.execute("SELECT v FROM empty").fetchall()


def use_backup(c: Any) -> object:
    target = sqlite3.connect(":memory:")
    c.backup(target)
    found = target.execute("SELECT count(*) FROM part").fetchall()
    target.close()
    return found, c.serialize()[:15]


USES: list[Callable[[Any], object]] = [
    use_default, use_row, use_row_with_the_key, use_row_subclass, use_dict_factory,
    use_factory_changed_on_the_way, use_fetchmany, use_iteration, use_generator,
    use_nested_cursors, use_cursor_again, use_writes, use_script, use_context_manager,
    use_isolation, use_named_parameters, use_text_factory, use_functions, use_dump, use_blob,
    use_backup,
]  # fmt: skip


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_used_alike_it_answers_alike(
    use: Callable[[Any], object], database: Path, plain_copy: Path, host: MemoryHost
) -> None:
    """Whatever is done with a connection comes out the same with capture."""
    plain = sqlite3.connect(plain_copy)
    expected = use(plain)
    plain.close()

    captured = connect(database, trail=host)
    with acting_as(Actor("staff", "alice")):
        assert use(captured) == expected
    captured.close()


class Unbound:
    """What no parameter can be."""

    def __repr__(self) -> str:
        return "Unbound()"


FAULTS: list[tuple[str, Any]] = [
    ("SELECT nothing FROM Customer", ()),
    ("SELECT FirstName FROM nowhere", ()),
    ("SELECT FirstName FROM Customer WHERE", ()),
    ("SELECT FirstName FROM Customer WHERE CustomerId = ?", ()),
    ("SELECT FirstName FROM Customer WHERE CustomerId = ?", (1, 2)),
    ("SELECT FirstName FROM Customer WHERE CustomerId = ?", (Unbound(),)),
    ("SELECT FirstName FROM Customer WHERE CustomerId = :x", {"y": 1}),
    ("SELECT DISTINCT FirstName FROM Customer WHERE CustomerId = ?", ()),
    ("SELECT FirstName FROM Customer; SELECT 2", ()),
    ("SELECT abs(-9223372036854775808) FROM Customer", ()),
    ("SELECT FirstName, sum(9223372036854775807) FROM Customer", ()),
    ("SELECT CustomerId FROM Customer, Invoice", ()),
    ("SELECT fail(FirstName) FROM Customer WHERE CustomerId < 3", ()),
    ("SELECT FirstName FROM Customer WHERE fail(CustomerId) LIMIT 2", ()),
    ("SELECT load_extension('x')", ()),
    ("SELECT FirstName FROM Customer ORDER BY 7", ()),
    ("SELECT FirstName FROM Customer UNION SELECT 1, 2", ()),
    ("INSERT INTO part VALUES (1, 2, 3)", ()),
    ("INSERT INTO part SELECT * FROM nowhere", ()),
    ("nonsense", ()),
    ("SELECT 'a\x00b' FROM Customer", ()),
    (b"SELECT 1", ()),
    ("SELECT FirstName FROM Customer WHERE FirstName = ?", ("\ud800",)),
]


def _fault(connection: sqlite3.Connection, sql: Any, parameters: Any) -> tuple[object, ...]:
    calls = []

    def fail(value: object) -> object:
        calls.append(value)
        raise ZeroDivisionError

    connection.create_function("fail", 1, fail)
    try:
        connection.execute(sql, parameters).fetchall()
    except Exception as error:
        return type(error), error.args, error.__cause__, calls
    return ("no error", calls)


@pytest.mark.parametrize(("sql", "parameters"), FAULTS, ids=str)
def test_errors_are_those_of_a_plain_connection(
    sql: Any, parameters: Any, shared: Path, host: MemoryHost
) -> None:
    """The same exception with the same words, and a function called as often as without."""
    plain = sqlite3.connect(shared)
    expected = _fault(plain, sql, parameters)
    plain.close()
    captured = connect(shared, trail=host)

    assert _fault(captured, sql, parameters) == expected
    assert _fault(captured, sql, parameters) == expected
    captured.close()


def test_an_error_in_the_middle_of_a_fetch_hands_over_what_came_before(
    database: Path, host: MemoryHost
) -> None:
    """Rows that came out before a fetch failed are recorded, the others aren't."""
    connection = connect(database, trail=host)

    def fail_at(value: int) -> int:
        if value == 4:
            raise ZeroDivisionError
        return value

    connection.create_function("fail_at", 1, fail_at)
    with acting_as(Actor("staff", "alice")):
        cursor = connection.execute("SELECT v, fail_at(id) FROM big ORDER BY id")
        with pytest.raises(sqlite3.OperationalError):
            for _ in cursor:
                pass
    connection.close()

    # The driver looks one row ahead: what it raises for row 4 comes instead of row 3.
    assert ids_by_kind(host.take())["big"] <= {(1,), (2,), (3,)}


def test_converters_see_what_they_always_saw(database: Path, host: MemoryHost) -> None:
    """With `detect_types` the keys recorded are those of the table, not of the converter."""
    calls: list[bytes] = []

    def convert(raw: bytes) -> str:
        calls.append(raw)
        return f"<{raw.decode()}>"

    sqlite3.register_converter("marked", convert)
    plain = sqlite3.connect(database)
    plain.executescript(
        "CREATE TABLE stamp (at MARKED PRIMARY KEY, v);INSERT INTO stamp VALUES ('x', 1), ('y', 2);"
    )
    plain.close()
    seen = []
    for connection in (
        sqlite3.connect(database, detect_types=sqlite3.PARSE_DECLTYPES),
        connect(database, trail=host, detect_types=sqlite3.PARSE_DECLTYPES),
    ):
        calls.clear()
        rows = connection.execute("SELECT at, v FROM stamp ORDER BY v").fetchall()
        rows += connection.execute("SELECT v FROM stamp ORDER BY v").fetchall()
        seen.append((rows, calls[:]))
        connection.close()

    assert seen[0] == seen[1]
    assert ids_by_kind(host.take())["stamp"] == {("x",), ("y",)}


def test_a_key_that_is_not_utf8_does_not_fail_the_read(database: Path, host: MemoryHost) -> None:
    """A key whose bytes aren't text in any encoding is recorded, and in nobody's way."""
    plain = sqlite3.connect(database)
    plain.execute("INSERT INTO doc VALUES (CAST(x'ff00fe' AS TEXT), 'odd')")
    plain.commit()
    plain.close()
    connection = connect(database, trail=host)
    rows = connection.execute("SELECT v FROM doc WHERE v = 'odd'").fetchall()
    counted = connection.execute("SELECT count(*) FROM doc WHERE v = 'odd'").fetchall()
    distinct = connection.execute("SELECT DISTINCT v FROM doc WHERE v = 'odd'").fetchall()
    connection.close()

    assert (rows, counted, distinct) == ([("odd",)], [(1,)], [("odd",)])
    keys = [target.ids for target in targets(host.take()) if target.ids]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0][0][0].t == "text"  # type: ignore[union-attr]


def test_other_cursor_classes_are_captured_too(database: Path, host: MemoryHost) -> None:
    """A cursor class of the application's records; what a function makes is refused."""

    class Loud(sqlite3.Cursor):
        def shout(self) -> str:
            return str(self.fetchone()[0]).upper()

    connection = connect(database, trail=host)
    cursor = connection.cursor(Loud)
    assert isinstance(cursor, Loud)
    assert cursor.execute(NAMES).shout() == "LUÍS"
    with pytest.raises(CaptureError, match=r"subclass of sqlite3\.Cursor as factory, got function"):
        connection.cursor(lambda c: sqlite3.Cursor(c))
    connection.close()

    assert ids_by_kind(host.take())["customer"] == {(1,)}


def test_what_hands_out_rows_without_a_statement_is_recorded(
    database: Path, host: MemoryHost
) -> None:
    """Backup, serialize and blobs leave an access without rows for each table they may show."""
    connection = connect(database, trail=host)
    with connection.blobopen("big", "v", 1, readonly=True) as blob:
        blob.read()
    (target,) = targets(host.take())
    assert (target.kind, target.coverage, target.why) == (
        "big", "statement", "blobopen shows no rows",
    )  # fmt: skip
    connection.serialize()
    assert {"customer", "vault"} <= {target.kind for target in targets(host.take())}
    list(connection.iterdump())
    assert len(ids_by_kind(host.take())["big"]) == 10_000
    connection.close()


def test_reads_by_a_write_are_recorded(database: Path, host: MemoryHost) -> None:
    """What a write takes from other tables is an access to them, without rows for now."""
    connection = connect(database, trail=host)
    found = []
    for sql in (
        "INSERT INTO empty SELECT CustomerId, Email FROM Customer",
        "WITH c AS (SELECT CustomerId AS i FROM Customer) INSERT INTO empty (v) SELECT i FROM c",
        "UPDATE part SET name = (SELECT LastName FROM Customer WHERE CustomerId = part.id)",
        "UPDATE part SET name = c.LastName FROM Customer AS c WHERE c.CustomerId = part.id",
        "CREATE TABLE copied AS SELECT * FROM Customer",
        "DELETE FROM part WHERE id IN (SELECT CustomerId FROM Customer)",
        "INSERT INTO part (name) VALUES ('x')",
    ):
        connection.execute(sql)
        found.append({(t.kind, t.coverage, t.why) for t in targets(host.take())})
    connection.close()

    read = {("customer", "statement", "read by a write")}
    assert [read <= one for one in found] == [True] * 5 + [False] * 2
    assert found[5:] == [set(), set()]


def test_our_own_tables_are_out_of_reach(database: Path, host: MemoryHost) -> None:
    """The application can't read the outbox, and is told whose it is."""
    connection = connect(database, trail=host)
    with pytest.raises(ProtectedTableError, match="belongs to"):
        connection.execute("SELECT * FROM indelible_outbox")
    connection.close()


def test_the_schema_may_change_under_us(database: Path, host: MemoryHost) -> None:
    """A column or table that comes, goes or moves never gives a wrong key or a failed read."""
    connection = connect(database, trail=host)
    other = sqlite3.connect(database)
    read = "SELECT * FROM part WHERE id = 2"
    connection.execute(read).fetchall()
    connection.execute("SELECT name FROM part WHERE id = 2").fetchall()
    host.take()

    other.executescript(
        "DROP TABLE part; CREATE TABLE part (name TEXT, code INTEGER, id INTEGER PRIMARY KEY);"
        "INSERT INTO part VALUES ('a', 77, 2);"
    )
    assert connection.execute(read).fetchall() == [("a", 77, 2)]
    assert connection.execute("SELECT name FROM part WHERE id = 2").fetchall() == [("a",)]
    assert all(target.ids in ((), ((2,),)) for target in targets(host.take()))

    connection.execute("ALTER TABLE part RENAME COLUMN name TO label")
    assert connection.execute("SELECT label FROM part WHERE id = 2").fetchall() == [("a",)]
    assert ids_by_kind(host.take())["part"] == {(2,)}
    connection.execute("CREATE TEMP TABLE part (id INTEGER PRIMARY KEY, label)")
    assert connection.execute("SELECT label FROM part").fetchall() == []
    assert {t.coverage for t in targets(host.take())} == {"statement"}
    other.close()
    connection.close()


def test_attached_tables_are_not_passed_over(
    database: Path, tmp_path: Path, host: MemoryHost
) -> None:
    """A read from an attached database is recorded, as a statement."""
    aside = tmp_path / "aside.sqlite"
    plain = sqlite3.connect(aside)
    plain.executescript("CREATE TABLE elsewhere (id INTEGER PRIMARY KEY, v);")
    plain.close()
    connection = connect(database, trail=host)
    connection.execute("ATTACH ? AS aside", (str(aside),))
    connection.execute("SELECT v FROM aside.elsewhere").fetchall()
    connection.execute("SELECT v FROM elsewhere").fetchall()
    connection.close()

    assert [(t.kind, t.coverage) for t in targets(host.take())] == [("elsewhere", "statement")] * 2


def test_a_connection_passed_between_threads(database: Path, host: MemoryHost) -> None:
    """With `check_same_thread=False` a result may be fetched where it wasn't made."""
    connection = connect(database, trail=host, check_same_thread=False)
    found: list[object] = []
    with acting_as(Actor("staff", "alice")):
        cursor = connection.execute("SELECT v FROM big WHERE id < 50")
        thread = threading.Thread(target=lambda: found.extend(cursor.fetchall()))
        thread.start()
        thread.join()
    connection.close()

    assert len(found) == 49
    assert len(ids_by_kind(host.take())["big"]) == 49


def test_cursors_that_are_dropped_leave_nothing_behind(database: Path, host: MemoryHost) -> None:
    """A connection that lives long: of each cursor one row is fetched, and it is forgotten."""
    connection = connect(database, trail=host)
    with acting_as(Actor("staff", "trudy")):
        for number in range(1, 51):
            key = number % 5 + 1
            text = "SELECT FirstName FROM Customer WHERE CustomerId = ?"
            assert connection.execute(text, (key,)).fetchone() is not None
        cursor = connection.execute(NAMES)
        assert len([cursor.fetchone() for _ in range(4)]) == 4
        del cursor
        connection.execute("SELECT 1 FROM Customer WHERE CustomerId = 9").fetchall()
        assert len(connection._reads._log.open_accesses) == 0
        found = [ids for target in targets(host.take()) for ids in target.ids]
    assert found[-5:] == [(1,), (2,), (3,), (4,), (9,)]
    assert len(found) == 55
    connection.close()


@pytest.mark.parametrize("key", ["INTEGER", "TEXT"])
def test_a_subject_behind_a_row_that_is_not_there_is_unknown(tmp_path: Path, key: str) -> None:
    """Not nobody: whose the row is can't be told."""
    policy = """
    [trail]
    url = "sqlite:///trail.db"
    [tables.line]
    subject = "bill -> bill.person -> person"
    """
    host = MemoryHost(parse_policy(policy))
    with sqlite3.connect(tmp_path / "app.db") as plain:
        plain.execute(f"CREATE TABLE bill (id {key} PRIMARY KEY, person)")
        plain.execute(f"CREATE TABLE line (id {key} PRIMARY KEY, bill {key})")
        plain.execute("INSERT INTO bill VALUES (1, 7)")
        plain.execute("INSERT INTO line VALUES (11, 1), (12, 99)")
    plain.close()
    connection = connect(tmp_path / "app.db", trail=host)
    named = []
    for text in ("SELECT bill FROM line WHERE bill = 1", "SELECT bill FROM line"):
        for query in (text, f"SELECT count(*) FROM ({text})"):
            host.take()
            connection.execute(query).fetchall()
            named.append({subject.id for event in host.take() for subject in event.subjects})
    connection.close()
    assert named == [{"7"}, {"7"}, {"7", None}, {"7", None}]
