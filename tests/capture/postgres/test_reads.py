"""What could go wrong with a rewritten read: names that change their meaning, schemas that change
under it, rights, errors, streams. The application must see none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg.types.numeric import NumericLoader
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from tests.capture.reads.host import MemoryHost, targets, wait_for_looks
from tests.servers import Database, PgBouncer, PostgresServer

from indelible.capture import looks
from indelible.capture.postgres.dialect import IndeliblePostgres
from indelible.errors import DeliveryError
from indelible.events.context import acting_as
from indelible.events.model import TargetRows
from indelible.events.values import MASKED

from .reading import DRIVERS, TRUDY, Reader, host_of, loop

__all__ = ["loop"]

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
TABLES = (
    "CREATE TABLE customer (id int PRIMARY KEY, name text, email text)",
    "INSERT INTO customer SELECT n, 'n' || n, 'e' || n FROM generate_series(1, 9) AS n",
    "CREATE TABLE vault (id int PRIMARY KEY, v text)",
    "INSERT INTO vault VALUES (1, 'gold'), (2, 'tin')",
    "CREATE SCHEMA b",
    "CREATE TABLE b.customer (id int PRIMARY KEY, name text)",
    "INSERT INTO b.customer VALUES (100, 'n1')",
    "GRANT USAGE ON SCHEMA b TO app",
    "GRANT SELECT ON ALL TABLES IN SCHEMA b TO app",
)


class Shop:
    """A database that is read through one driver, captured and not."""

    def __init__(
        self, database: Database, driver: tuple[str, bool], runner: asyncio.Runner
    ) -> None:
        self.database = database
        self.host = host_of(database)
        self._driver = driver
        self._runner = runner
        self._readers: list[Reader] = []
        self.captured = self.reader(self.host)
        self.plain = self.reader(None)

    def reader(self, host: MemoryHost | None, **options: Any) -> Reader:
        found = Reader(self.database, self._driver, self._runner, host, **options)
        self._readers.append(found)
        return found

    def read(self, work: Callable[[Connection], Any], reader: Reader | None = None) -> Any:
        """What `work` sees, which is what it sees without capture."""
        with acting_as(TRUDY):
            seen = (reader or self.captured).run(work)
        assert seen == self.plain.run(work)
        return seen

    def taken(self) -> list[tuple[str, tuple[Any, ...], str]]:
        """What was recorded since."""
        return [told(target) for target in targets(self.host.take())]

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


def told(target: TargetRows) -> tuple[str, tuple[Any, ...], str]:
    return target.kind, tuple(id_[0] for id_ in target.ids), target.coverage


@pytest.fixture(params=DRIVERS, ids=lambda it: f"{it[0]}{'-async' * it[1]}")
def shop(
    request: pytest.FixtureRequest, database: Database, loop: asyncio.Runner
) -> Iterator[Shop]:
    database.execute(*TABLES)
    database.grant()
    shop = Shop(database, request.param, loop)
    yield shop
    shop.close()


def ask(*texts: str) -> Callable[[Connection], list[Any]]:
    """The rows of each statement; where it fails, the class of the error and its SQLSTATE."""

    def work(connection: Connection) -> list[Any]:
        found: list[Any] = []
        for each in texts:
            try:
                result = connection.execute(text(each))
                found.append(repr(result.all()) if result.returns_rows else None)
            except DBAPIError as error:
                found.append((type(error).__name__, sqlstate(error), error.statement))
                connection.rollback()
        return found

    return work


def sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


BY_NAME = "SELECT name FROM customer WHERE name = 'n1'"


def test_a_name_means_what_the_search_path_says(shop: Shop) -> None:
    """Also once it changes back with its transaction, and for what a function changes."""
    shop.database.execute(
        "CREATE FUNCTION wander() RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM set_config('search_path', 'b', false); END$$"
    )
    shop.read(ask(BY_NAME, "SET LOCAL search_path = b, public", BY_NAME, "ROLLBACK", BY_NAME))
    assert shop.taken() == [
        ("customer", (1,), "exact"),
        ("b.customer", (100,), "exact"),
        ("customer", (1,), "exact"),
    ]
    shop.read(ask(BY_NAME, "SELECT wander()", BY_NAME))
    assert shop.taken() == [("customer", (1,), "exact"), ("b.customer", (100,), "exact")]


def test_a_savepoint_takes_the_search_path_back(shop: Shop) -> None:
    shop.read(
        ask("SAVEPOINT a", "SET search_path = b", BY_NAME, "ROLLBACK TO a", BY_NAME, "COMMIT")
    )
    assert [kind for kind, _, _ in shop.taken()] == ["b.customer", "customer"]


def test_a_temporary_table_hides_the_table_of_its_name(shop: Shop) -> None:
    """What it hands out is nobody's record; recorded as a statement that may have read anything."""
    shop.read(
        ask(
            BY_NAME,
            "CREATE TEMP TABLE customer ON COMMIT DROP AS SELECT 100 AS id, 'n1' AS name",
            BY_NAME,
            "ROLLBACK",
            BY_NAME,
        )
    )
    found = shop.taken()
    assert found[0] == found[-1] == ("customer", (1,), "exact")
    assert all(coverage == "statement" for _, _, coverage in found[1:-1])


def test_a_role_that_may_not_read_the_key_reads_on(shop: Shop) -> None:
    """By statement; as another role the same text is told by row."""
    shop.database.execute(
        "REVOKE ALL ON customer FROM app", "GRANT SELECT (name) ON customer TO app"
    )
    shop.read(ask(BY_NAME, "SELECT email FROM customer", BY_NAME))
    assert shop.taken() == [("customer", (), "statement"), ("customer", (), "statement")]
    shop.database.execute("GRANT owner TO app", role="postgres")
    shop.read(ask("SET ROLE owner", BY_NAME, "RESET ROLE", BY_NAME))
    shop.database.execute("REVOKE owner FROM app", role="postgres")
    assert shop.taken() == [("customer", (1,), "exact"), ("customer", (), "statement")]


def test_row_security_filters_what_is_recorded(shop: Shop) -> None:
    shop.database.execute(
        "ALTER TABLE customer ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON customer FOR SELECT TO app USING (id < 3)",
    )
    shop.read(
        ask("SELECT name FROM customer ORDER BY 1", "SELECT count(*) FROM customer WHERE id > 0")
    )
    assert shop.taken() == [("customer", (1, 2), "exact"), ("customer", (1, 2), "exact")]


def test_a_subject_behind_row_security_is_unknown_not_nobody(
    database: Database, loop: asyncio.Runner
) -> None:
    """A parent that the role doesn't see would otherwise look like a row of nobody's."""
    database.execute(
        "CREATE TABLE invoice (id int PRIMARY KEY, customer_id int)",
        "CREATE TABLE invoice_line (id int PRIMARY KEY, invoice_id int, n int)",
        "INSERT INTO invoice VALUES (1, 7), (2, 8)",
        "INSERT INTO invoice_line VALUES (11, 1, 5), (12, 2, 6)",
    )
    database.grant()
    shop = Shop(database, ("psycopg", False), loop)
    shop.read(ask("SELECT n FROM invoice_line ORDER BY n"))
    database.execute(
        "ALTER TABLE invoice ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON invoice FOR SELECT TO app USING (id < 2)",
    )
    other = shop.reader(again := host_of(database))
    shop.read(ask("SELECT n FROM invoice_line ORDER BY n"), other)
    shop.close()
    subjects = [
        {(subject.kind, subject.id) for event in host.take() for subject in event.subjects}
        for host in (shop.host, again)
    ]
    assert subjects == [{("customer", "7"), ("customer", "8")}, {("customer", None)}]


@pytest.mark.parametrize("options", [{}, AUTOCOMMIT], ids=["transaction", "autocommit"])
def test_errors_are_those_of_the_application_s_text(shop: Shop, options: dict[str, Any]) -> None:
    captured = shop.reader(shop.host, **options)
    plain = shop.reader(None, **options)
    work = ask(
        "SELECT nothing FROM customer",
        "SELECT name FROM customer WHERE 1 / (id - id) = 1",
        "SELECT * FROM nowhere",
        "SELEC 1",
        "SELECT name FROM customer WHERE id = 3",
    )
    with acting_as(TRUDY):
        seen = captured.run(work)
    assert seen == plain.run(work)
    assert shop.taken()[-1] == ("customer", (3,), "exact")


def test_a_failed_transaction_stays_as_it_was(shop: Shop) -> None:
    def work(connection: Connection) -> list[Any]:
        found: list[Any] = []
        for each in ("SELECT 1 / 0", "SELECT name FROM customer", "SELECT id FROM customer"):
            with pytest.raises(DBAPIError) as caught:
                connection.execute(text(each))
            found.append(sqlstate(caught.value))
        connection.rollback()
        return [*found, *ask("SELECT name FROM customer WHERE id = 2")(connection)]

    assert shop.read(work)[:3] == ["22012", "25P02", "25P02"]
    assert shop.taken() == [("customer", (2,), "exact")]


def test_a_connection_whose_first_read_fails_is_asked_later(shop: Shop) -> None:
    """What names mean can't be asked in a transaction that has failed."""

    def work(connection: Connection) -> list[Any]:
        for each in ("INSERT INTO customer VALUES (1, 'again')", BY_NAME):
            with pytest.raises(DBAPIError):
                connection.execute(text(each))
        connection.rollback()
        return ask(BY_NAME, "SELECT count(*) FROM customer WHERE id < 3")(connection)

    shop.read(work)
    assert shop.taken() == [("customer", (1,), "exact"), ("customer", (1, 2), "exact")]


def test_nothing_is_asked_before_what_must_come_first(shop: Shop) -> None:
    """SET TRANSACTION is refused behind any query."""
    shop.read(
        ask(
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            BY_NAME,
            "SHOW transaction_isolation",
        )
    )
    assert shop.taken() == [("customer", (1,), "exact")]


@pytest.mark.parametrize("options", [{}, AUTOCOMMIT], ids=["transaction", "autocommit"])
def test_a_key_that_is_renamed_costs_nothing(shop: Shop, options: dict[str, Any]) -> None:
    reader = shop.reader(shop.host, **options)
    work = ask(BY_NAME, "SELECT v FROM vault WHERE id > 5")
    shop.read(work, reader)
    shop.host.take()
    shop.database.execute("ALTER TABLE customer RENAME COLUMN id TO number")
    shop.read(work, reader)
    shop.read(work, reader)
    found = shop.taken()
    assert [each for each in found if each[0] == "customer"] == [
        ("customer", (), "statement"),
        ("customer", (1,), "exact"),
    ]


def test_a_key_that_is_renamed_under_a_transaction_costs_one_statement(shop: Shop) -> None:
    """Whatever the transaction did before is the application's to do again."""
    work = ask("SELECT 1", BY_NAME)
    shop.read(work)
    shop.database.execute("ALTER TABLE customer RENAME COLUMN id TO number")
    with acting_as(TRUDY):
        first = shop.captured.run(work)
    assert first[1] == ("ProgrammingError", "42703", BY_NAME)
    shop.read(work)
    assert shop.taken() == [("customer", (1,), "exact"), ("customer", (1,), "exact")]


def test_a_changed_schema_is_seen_before_it_is_run_into(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a look beside the statements, every so often."""
    monkeypatch.setattr(looks, "_CHECK_S", 0.0)
    shop.read(ask(BY_NAME))
    shop.database.execute("ALTER TABLE customer RENAME COLUMN id TO number")
    wait_for_looks()
    shop.read(ask("SELECT count(*) FROM pg_class WHERE false"))  # lets it look
    wait_for_looks()
    shop.read(ask("SELECT 1", BY_NAME))
    assert shop.taken() == [("customer", (1,), "exact"), ("customer", (1,), "exact")]


def test_a_column_that_comes_between_is_noticed(shop: Shop) -> None:
    """A star stands for other columns than it did: no key is read from the wrong one."""
    work = ask("SELECT c.name, c.* FROM customer c WHERE id = 2")
    shop.read(work)
    shop.database.execute("ALTER TABLE customer DROP COLUMN id")
    shop.database.execute("ALTER TABLE customer ADD COLUMN id int")
    shop.database.execute("UPDATE customer SET id = substr(name, 2)::int")
    shop.read(work)
    shop.read(work)  # asyncpg refuses the first, with capture and without
    first, *others = shop.taken()
    assert first == ("customer", (2,), "exact")
    assert set(others) == {("customer", (), "statement")}


def test_a_table_that_is_new_is_seen_at_once(shop: Shop) -> None:
    shop.read(ask(BY_NAME))
    shop.database.execute("CREATE TABLE fresh (id int PRIMARY KEY, v text)")
    shop.database.execute("INSERT INTO fresh VALUES (7, 'x')")
    shop.database.grant()
    shop.read(ask("SELECT v FROM fresh"))
    assert shop.taken()[1:] == [("fresh", (7,), "exact")]


def test_a_table_of_an_open_transaction_is_not_silent(shop: Shop) -> None:
    """Nobody else can look at it: that something was read is recorded."""
    shop.database.execute("GRANT CREATE ON SCHEMA public TO app")
    shop.read(ask("CREATE TABLE mine (id int PRIMARY KEY)", "SELECT * FROM mine", "ROLLBACK"))
    events = shop.host.take()
    assert [(event.action, event.targets) for event in events] == [("statement.read", ())]


@pytest.mark.parametrize("streamed", [False, True], ids=["buffered", "streamed"])
def test_only_what_was_handed_out_counts(shop: Shop, streamed: bool) -> None:
    def work(connection: Connection) -> list[Any]:
        options = {"stream_results": streamed, "max_row_buffer": 2}
        options = options if streamed else {}
        result = connection.execute(
            text("SELECT name FROM customer ORDER BY id"), execution_options=options
        )
        rows = [result.fetchone(), *result.fetchmany(2)]
        result.close()
        partitions = connection.execute(
            text("SELECT * FROM vault ORDER BY id"), execution_options={"yield_per": 1}
        ).partitions()
        return [*map(repr, rows), *[repr(each) for each in partitions]]

    shop.read(work)
    assert {kind: ids for kind, ids, _ in shop.taken() if ids and kind == "customer"}
    shop.read(work)
    found: dict[str, list[Any]] = {}
    for kind, ids, coverage in shop.taken():
        assert coverage == "exact"
        found.setdefault(kind, []).extend(ids)
    assert found == {"customer": [1, 2, 3], "vault": [1, 2]}


def test_under_strict_rows_wait_for_the_trail(shop: Shop) -> None:
    """And aren't handed out where it can't be written."""
    shop.read(ask("SELECT v FROM vault ORDER BY id"))
    assert shop.taken() == [("vault", (), "exact"), ("vault", (1, 2), "exact")]
    shop.host.journal.is_full = True
    with acting_as(TRUDY), pytest.raises(DeliveryError):
        shop.captured.run(ask("SELECT v FROM vault"))
    shop.captured.run(ask(BY_NAME))
    shop.host.journal.is_full = False


def test_plans_hold_in_autocommit_and_in_transactions(shop: Shop) -> None:
    """A text whose result hangs on the order of rows is explained both ways, and runs once."""
    reader = shop.reader(shop.host, **AUTOCOMMIT)
    for each in (reader, shop.captured):
        shop.read(ask("SELECT name FROM customer ORDER BY name DESC LIMIT 2"), each)
    assert shop.taken() == [("customer", (9, 8), "exact")] * 2


def test_behind_a_pooler(shop: Shop) -> None:
    """By transaction: the next may be on another server connection."""
    bouncer = PgBouncer(shop.database, pool_size=2)
    try:
        options: dict[str, Any] = {}
        if shop._driver == ("psycopg", False) or shop._driver == ("psycopg", True):
            options["connect_args"] = {"prepare_threshold": None}
        if shop._driver[0] == "asyncpg":
            options["connect_args"] = {
                "statement_cache_size": 0,
                "prepared_statement_name_func": lambda: "",
                "prepared_statement_cache_size": 0,
            }
        pooled = _Pooled(shop.database, bouncer)
        reader = Reader(pooled, shop._driver, shop._runner, shop.host, **options)  # type: ignore[arg-type]
        for _ in range(3):
            with acting_as(TRUDY):
                reader.run(ask(BY_NAME, "SELECT count(*) FROM customer WHERE id < 3"))
        reader.close()
    finally:
        bouncer.remove()
    assert shop.taken() == [("customer", (1,), "exact"), ("customer", (1, 2), "exact")] * 3


@pytest.mark.parametrize("sql", [BY_NAME, "SELECT id FROM customer WHERE id < 3 ORDER BY 1"])
def test_keys_that_the_application_converts_are_not_made_up(
    database: Database, loop: asyncio.Runner, sql: str
) -> None:
    database.execute(*TABLES)
    database.grant()
    shop = Shop(database, ("psycopg", False), loop)
    for reader in (shop.captured, shop.plain):
        event.listen(reader.engine, "connect", _as_decimals)
    shop.read(ask(sql))
    shop.close()
    assert shop.taken() == [("customer", (), "statement")]


def _as_decimals(connection: Any, _: object) -> None:
    """Its integers come out of the driver as something else."""
    connection.adapters.register_loader("int4", NumericLoader)


def test_what_a_text_does_not_tell_is_not_silent(shop: Shop) -> None:
    """Functions, prepared statements, cursors and procedures hand out rows that we can't see."""
    shop.database.execute(
        "CREATE FUNCTION rich() RETURNS SETOF vault LANGUAGE sql STABLE AS 'SELECT * FROM vault'",
        "CREATE PROCEDURE ask(INOUT n int) LANGUAGE sql AS 'SELECT id FROM vault LIMIT 1'",
    )
    for texts, expected in {
        ("SELECT v FROM rich() ORDER BY id",): [("statement.read", ())],
        ("SELECT (rich()).v ORDER BY 1",): [("statement.read", ())],
        ("PREPARE p AS SELECT v FROM vault", "EXECUTE p", "DEALLOCATE p"): [
            ("vault.read", ("vault",)),
            ("statement.read", ()),
        ],
        ("DECLARE c CURSOR FOR SELECT v FROM vault", "FETCH 2 FROM c"): [
            ("vault.read", ("vault",)),
            ("statement.read", ()),
        ],
        ("CALL ask(0)",): [("statement.read", ())],
        ("TABLE vault",): [("vault.read", ("vault",))],
        ("UPDATE customer SET name = (SELECT v FROM vault WHERE id = 1) WHERE id = 1",): [
            ("customer.read", ("customer", "vault"))
        ],
        ("DELETE FROM customer USING vault WHERE customer.id = vault.id RETURNING name",): [],
    }.items():
        shop.host.take()
        shop.read(ask("SELECT 1", *texts, "ROLLBACK"))
        found = [
            (event.action, tuple(target.kind for target in event.targets))
            for event in shop.host.take()
        ]
        assert found == expected, texts


def test_parameters_are_shown_unless_they_meet_what_is_masked(shop: Shop) -> None:
    """All of them or none: a driver's numbers needn't stand in order."""

    def work(connection: Connection) -> list[Any]:
        by_id = text("SELECT name FROM customer WHERE id IN (:a, :b) AND name <> :c")
        by_email = text("SELECT name FROM customer WHERE id = :a AND email = :b")
        return [
            repr(connection.execute(by_id, {"a": 1, "b": 2, "c": "x"}).all()),
            repr(connection.execute(by_email, {"a": 3, "b": "e3"}).all()),
        ]

    shop.read(work)
    first, second = (event.statement for event in shop.host.take())
    assert first is not None
    assert second is not None
    assert first.parameters == (1, 2, "x")
    assert second.parameters == (MASKED, MASKED)
    assert "e3" not in second.text


class _Pooled:
    def __init__(self, database: Database, bouncer: PgBouncer) -> None:
        self._bouncer = bouncer
        self._database = database

    def url(self, role: str = "owner") -> str:
        return self._bouncer.url(role)


def test_no_function_is_an_aggregate_to_the_parser(postgres: PostgresServer) -> None:
    """No call is one to the parser: which ones are is the catalogue's to say."""
    with postgres.connect("postgres", "postgres") as connection:
        names = connection.execute(
            "SELECT DISTINCT proname FROM pg_proc WHERE proname ~ '^[a-z_0-9]+$'"
        ).fetchall()
    assert len(names) > 2_000
    for (name,) in names:
        try:
            tree = parse_one(f"SELECT {name}(a)", dialect=IndeliblePostgres)
        except SqlglotError:  # then such a text isn't understood
            continue
        assert not list(tree.find_all(exp.AggFunc)), name
