"""What could go wrong with a rewritten read: names that change their meaning, schemas that change
under it, rights, errors, streams. The application must see none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, ForeignKey, String, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from tests.capture.postgres.reading import TRUDY, Reader, loop
from tests.capture.reads.host import targets, wait_for_looks
from tests.mariadb_server import MariadbDatabase

from indelible.capture import looks
from indelible.capture.mariadb.dialect import IndelibleMySQL
from indelible.capture.mariadb.verbs import HARMLESS
from indelible.errors import DeliveryError
from indelible.events.context import acting_as
from indelible.events.model import TargetRows
from indelible.events.values import MASKED

from .reading import DRIVERS, host_of

__all__ = ["loop"]

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
TABLES = (
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20), email VARCHAR(20), KEY (name))",
    "INSERT INTO customer SELECT seq, CONCAT('n', seq), CONCAT('e', seq) FROM seq_1_to_9",
    "CREATE TABLE invoice (id INT PRIMARY KEY, CustomerId INT, total INT, KEY (total))",
    "INSERT INTO invoice SELECT seq, seq DIV 2, 1000 - seq FROM seq_1_to_18",
    "CREATE TABLE vault (id INT PRIMARY KEY, v VARCHAR(20))",
    "INSERT INTO vault VALUES (1, 'gold'), (2, 'tin')",
    "CREATE TABLE word (id VARCHAR(20) PRIMARY KEY, code CHAR(6) UNIQUE, v INT)",
    "INSERT INTO word VALUES ('größe', 'a', 1), ('山?', 'b', 2), ('plain', 'c', 3)",
    "CREATE TABLE coded (code CHAR(6) PRIMARY KEY, v INT)",
    "INSERT INTO coded VALUES ('ab', 1), ('', 2)",
    "ANALYZE TABLE customer, invoice, vault",
)


class Shop:
    """A database that is read through one driver, captured and not."""

    def __init__(
        self, database: MariadbDatabase, driver: tuple[str, bool], runner: asyncio.Runner
    ) -> None:
        self.database = database
        self.host = host_of(database)
        self._driver = driver
        self._runner = runner
        self._readers: list[Reader] = []
        self.captured = self.reader(is_captured=True)
        self.plain = self.reader(is_captured=False)

    def reader(
        self, *, is_captured: bool, at: MariadbDatabase | None = None, **options: Any
    ) -> Reader:
        found = Reader(
            at or self.database,
            self._driver,
            self._runner,
            self.host if is_captured else None,
            **options,
        )
        self._readers.append(found)
        return found

    def read(self, work: Callable[[Connection], Any], **options: Any) -> Any:
        """What `work` sees, which is what it sees without capture."""
        captured, plain = self.captured, self.plain
        if options:
            captured = self.reader(is_captured=True, **options)
            plain = self.reader(is_captured=False, **options)
        expected = plain.run(work)
        with acting_as(TRUDY):
            seen = captured.run(work)
        assert seen == expected
        return seen

    def taken(self) -> list[tuple[str, tuple[Any, ...], str]]:
        """What was recorded since."""
        return [told(target) for target in targets(self.host.take())]

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


def told(target: TargetRows) -> tuple[str, tuple[Any, ...], str]:
    return target.kind, tuple(id_[0] for id_ in target.ids), target.coverage


@pytest.fixture(params=DRIVERS, ids=lambda it: it[0])
def shop(
    request: pytest.FixtureRequest, mariadb_database: MariadbDatabase, loop: asyncio.Runner
) -> Iterator[Shop]:
    mariadb_database.execute(*TABLES)
    shop = Shop(mariadb_database, request.param, loop)
    yield shop
    shop.close()


def ask(*texts: str) -> Callable[[Connection], list[Any]]:
    """The rows of each statement and the state of the transaction; the error where it fails."""

    def work(connection: Connection) -> list[Any]:
        found: list[Any] = []
        for each in texts:
            try:
                result = connection.execute(text(each))
                found.append((result.rowcount, result.returns_rows))
                if result.returns_rows:
                    found.append((tuple(result.keys()), repr(result.all())))
            except DBAPIError as error:
                found.append((type(error).__name__, str(error)))
            driver: Any = connection.connection.driver_connection
            found.append(driver.server_status & 1)
        return found

    return work


BY_NAME = "SELECT name FROM customer WHERE name = 'n1'"
EXACT = ("customer", (1,), "exact")
BY_STATEMENT = ("customer", (), "statement")


def test_a_temporary_table_hides_the_table_of_its_name(shop: Shop) -> None:
    """No catalogue tells of it: that connection's reads go by statement from then on."""
    shop.read(
        ask(
            BY_NAME,
            "CREATE /* a */ TEMPORARY TABLE customer (id INT PRIMARY KEY, name VARCHAR(9))",
            "INSERT INTO customer VALUES (100, 'n1')",
            BY_NAME,
            "SELECT count(*) FROM customer",
            "DROP TEMPORARY TABLE customer",
            BY_NAME,
        )
    )
    assert shop.taken() == [EXACT, BY_STATEMENT, BY_STATEMENT, BY_STATEMENT]


def test_a_function_may_make_a_temporary_table(shop: Shop) -> None:
    shop.database.execute(
        "CREATE FUNCTION hide() RETURNS INT MODIFIES SQL DATA BEGIN "
        "CREATE TEMPORARY TABLE IF NOT EXISTS customer (id INT PRIMARY KEY, name VARCHAR(9)); "
        "INSERT INTO customer VALUES (100, 'n1'); RETURN 1; END"
    )
    server = shop.database.server
    server.execute(f"GRANT EXECUTE, CREATE TEMPORARY TABLES ON {shop.database.name}.* TO app@'%'")
    shop.read(ask(BY_NAME, "DO hide()", BY_NAME))
    assert shop.taken() == [EXACT, BY_STATEMENT]


@pytest.mark.parametrize("how", ["USE {}", "SELECT 1; USE {}", "/* a */ use {} # b"])
def test_another_database_means_other_tables(shop: Shop, how: str) -> None:
    other = MariadbDatabase(shop.database.server, f"{shop.database.name}_b")
    other.execute(
        "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(9))",
        "INSERT INTO customer VALUES (100, 'n1')",
    )
    try:
        shop.read(ask(BY_NAME, how.format(other.name), BY_NAME))
        assert shop.taken()[0] == EXACT
        shop.read(ask(BY_NAME), at=other)
        assert all(coverage == "statement" for _, _, coverage in shop.taken())
    finally:
        other.drop()


def test_a_text_that_is_prepared_may_do_anything(shop: Shop) -> None:
    shop.read(ask(BY_NAME, "PREPARE p FROM 'SELECT 1'", BY_NAME, "EXECUTE p", BY_NAME))
    assert shop.taken() == [EXACT, BY_STATEMENT, BY_STATEMENT]


@pytest.mark.parametrize("options", [{}, AUTOCOMMIT], ids=["transaction", "autocommit"])
def test_a_key_that_is_renamed_costs_nothing(shop: Shop, options: dict[str, Any]) -> None:
    work = ask("SELECT 1", BY_NAME)
    captured = shop.reader(is_captured=True, **options)
    plain = shop.reader(is_captured=False, **options)
    seen = []
    for statement in (None, "ALTER TABLE customer RENAME COLUMN id TO number", None):
        if statement is not None:
            shop.database.execute(statement)
        with acting_as(TRUDY):
            seen.append((captured.run(work), plain.run(work)))
    assert all(one == other for one, other in seen)
    assert shop.taken() == [EXACT, BY_STATEMENT, EXACT]


def test_a_column_that_comes_between_is_noticed(shop: Shop) -> None:
    """A star stands for other columns than it did: no key is read from the wrong one."""
    work = ask("SELECT c.name, c.* FROM customer c WHERE email = 'e2'")
    shop.read(work)
    shop.database.execute("ALTER TABLE customer MODIFY id INT AFTER email")
    shop.read(work)
    shop.read(work)
    assert shop.taken() == [
        ("customer", (2,), "exact"),
        BY_STATEMENT,
        ("customer", (2,), "exact"),
    ]


def test_a_changed_schema_is_seen_before_it_is_run_into(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a look beside the statements, every so often."""
    monkeypatch.setattr(looks, "_CHECK_S", 0.0)
    shop.read(ask(BY_NAME))
    wait_for_looks()
    shop.database.execute("ALTER TABLE customer RENAME COLUMN id TO number")
    shop.read(ask("SELECT 1"))  # lets it look
    wait_for_looks()
    shop.read(ask(BY_NAME))
    assert shop.taken() == [EXACT, EXACT]


def test_a_schema_that_changes_here_is_seen_at_once(shop: Shop) -> None:
    """However often: the key that a text found before isn't the key any more."""
    name = shop.database.name
    shop.database.server.execute(f"GRANT ALTER, CREATE ON {name}.* TO app@'%'")
    shop.captured.run(ask(*[f"CREATE TABLE t{n} (id INT)" for n in range(30)]))
    shop.read(ask("SELECT id, name FROM customer WHERE email = 'e4'"))
    assert shop.taken() == [("customer", (4,), "exact")]
    shop.captured.run(
        ask(
            "ALTER TABLE customer DROP PRIMARY KEY, RENAME COLUMN id TO old, "
            "RENAME COLUMN name TO id, ADD COLUMN name VARCHAR(9), ADD PRIMARY KEY (id)"
        )
    )
    shop.host.take()
    shop.read(ask("SELECT id, name FROM customer WHERE email = 'e4'"))
    assert shop.taken() == [("customer", ("n4",), "exact")]


def test_a_table_that_is_new_is_seen_at_once(shop: Shop) -> None:
    shop.read(ask(BY_NAME))
    shop.database.execute(
        "CREATE TABLE fresh (id INT PRIMARY KEY, v INT)", "INSERT INTO fresh VALUES (7, 1)"
    )
    shop.read(ask("SELECT v FROM fresh"))
    assert shop.taken()[1:] == [("fresh", (7,), "exact")]


def test_a_role_that_may_not_read_the_key_reads_on(shop: Shop) -> None:
    """By statement; where only the subject is out of reach, by row."""
    name, server = shop.database.name, shop.database.server
    server.execute(
        f"REVOKE SELECT ON {name}.* FROM app@'%'",
        f"GRANT SELECT (name) ON {name}.customer TO app@'%'",
        f"GRANT SELECT (id, total) ON {name}.invoice TO app@'%'",
    )
    try:
        shop.read(
            ask(
                BY_NAME,
                "SELECT email FROM customer",
                "SELECT total FROM invoice WHERE id = 2",
                BY_NAME,
            )
        )
    finally:
        server.execute(
            f"REVOKE ALL ON {name}.customer FROM app@'%'",
            f"REVOKE ALL ON {name}.invoice FROM app@'%'",
        )
    assert shop.taken() == [BY_STATEMENT, ("invoice", (2,), "exact"), BY_STATEMENT]


@pytest.mark.parametrize("options", [{}, AUTOCOMMIT], ids=["transaction", "autocommit"])
def test_errors_and_warnings_are_those_of_the_application_s_text(
    shop: Shop, options: dict[str, Any]
) -> None:
    shop.read(
        ask(
            "SELECT nothing FROM customer",
            "SELECT name FROM customer WHERE id = (SELECT id FROM vault)",
            "SELECT name FROM customer WHERE ~0 + id > 1",
            "SELECT name FROM customer WHERE ~0 + id > 1",
            "SELECT * FROM nowhere",
            "SELECT * FROM Customer",
            "SELEC 1",
            "SELECT name FROM customer WHERE id = 3",
            "SHOW WARNINGS",
            "SELECT CAST(name AS INT) FROM customer WHERE id = 3",
            "SHOW WARNINGS",
            "SELECT name FROM customer WHERE id < 3",
            "SELECT FOUND_ROWS(), ROW_COUNT()",
        ),
        **options,
    )
    found = [each for each in shop.taken() if each[2] == "exact"]
    assert found == [("customer", (3,), "exact")] * 2 + [("customer", (1, 2), "exact")]


def test_a_statement_that_takes_too_long_is_not_run_again(shop: Shop) -> None:
    slow = (
        "SELECT a.name FROM customer a, customer b, customer c, customer d, customer e, "
        "customer f, customer g WHERE a.name = REPEAT(g.name, 30)"
    )
    shop.read(ask(BY_NAME, f"SET STATEMENT max_statement_time = 0.2 FOR {slow}"))
    shop.read(ask("SET SESSION max_statement_time = 0.2", slow, BY_NAME))
    assert EXACT in shop.taken()


def test_tables_that_are_locked(shop: Shop) -> None:
    """What isn't locked can't be read beside them, by us neither."""
    name = shop.database.name
    shop.database.server.execute(f"GRANT LOCK TABLES ON {name}.* TO app@'%'")
    shop.read(
        ask(
            "LOCK TABLES invoice READ",
            "SELECT total FROM invoice WHERE id = 4",
            "SELECT name FROM customer",
            "UNLOCK TABLES",
        )
    )
    assert shop.taken()[0] == ("invoice", (4,), "exact")


@pytest.mark.parametrize(
    "setting",
    [
        "SET NAMES latin1",
        "SET character_set_results = ascii",
        "SET character_set_results = NULL",
        "SET SESSION sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'",
        "SET SESSION sql_mode = 'ANSI'",
        "SET SESSION sql_mode = 'ORACLE'",
        "SET SESSION sql_mode = 'ORACLE,EMPTY_STRING_IS_NULL'",
        "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'",
    ],
)
def test_keys_are_the_same_whatever_a_session_sets(shop: Shop, setting: str) -> None:
    shop.read(
        ask(
            setting,
            "SELECT v FROM word ORDER BY v",
            "SELECT v FROM coded ORDER BY v",
            "SELECT d.v FROM (SELECT v FROM word ORDER BY v, id LIMIT 1) d",
        )
    )
    assert shop.taken() == [
        ("word", ("größe", "山?", "plain"), "exact"),
        ("coded", ("ab", ""), "exact"),
        ("word", ("größe",), "exact"),
    ]


def test_a_double_quote_is_never_guessed(shop: Shop) -> None:
    shop.read(
        ask(
            'SELECT "id", name FROM customer WHERE id = 1',
            "SET SESSION sql_mode = 'ANSI_QUOTES'",
            'SELECT "id", name FROM customer WHERE id = 1',
        )
    )
    assert shop.taken() == [BY_STATEMENT, BY_STATEMENT]


@pytest.mark.parametrize("streamed", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize("column", ["name", "id, name"])
def test_only_what_was_handed_out_counts(shop: Shop, streamed: bool, column: str) -> None:
    def work(connection: Connection) -> list[Any]:
        options = {"stream_results": True, "max_row_buffer": 2} if streamed else {}
        result = connection.execute(
            text(f"SELECT {column} FROM customer ORDER BY id"), execution_options=options
        )
        rows = [result.fetchone(), *result.fetchmany(2)]
        result.close()
        partitions = connection.execute(
            text("SELECT * FROM vault ORDER BY id"), execution_options={"yield_per": 1}
        ).partitions()
        return [*map(repr, rows), *[repr(each) for each in partitions]]

    for _ in range(2):
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


def test_a_text_that_leaves_rows_out_has_its_own_plan_or_is_not_rewritten(shop: Shop) -> None:
    """An index covers the keys; with the subject beside them it wouldn't."""
    shop.read(ask("SELECT total FROM invoice LIMIT 3"))
    events = shop.host.take()
    assert [told(target) for target in targets(events)] == [
        ("invoice", (18, 17, 16), "exact"),
    ]
    assert [subject.id for event in events for subject in event.subjects] == [None]


def test_another_limit_may_go_another_way(shop: Shop) -> None:
    """The same text, with few rows in an index's order, with many sorted."""
    shop.database.execute(
        "CREATE TABLE wide (id INT PRIMARY KEY, g INT, v VARCHAR(400), KEY (g))",
        "INSERT INTO wide SELECT seq, seq * 7919 % 13, REPEAT('x', 300) FROM seq_1_to_3000",
        "ANALYZE TABLE wide",
    )

    def work(connection: Connection) -> list[Any]:
        connection.execute(text("SET SESSION sort_buffer_size = 65536"))
        page = text("SELECT g, LEFT(v, 1) FROM wide ORDER BY g LIMIT :n")
        return [repr(connection.execute(page, {"n": n}).all()) for n in (2, 2_900, 3)]

    shop.read(work)
    assert [(len(ids), coverage) for _, ids, coverage in shop.taken()] == [
        (2, "exact"),
        (0, "statement"),
        (3, "exact"),
    ]


def test_many_statements_at_once_are_told_by_statement(shop: Shop) -> None:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT name FROM customer WHERE id = %s", [(1,), (2,)])

    shop.read(work)
    assert shop.taken() == [BY_STATEMENT]


def test_what_a_text_does_not_tell_is_not_silent(shop: Shop) -> None:
    """Each is told by exactly one event."""
    name = shop.database.name
    shop.database.execute(
        "CREATE FUNCTION rich() RETURNS INT READS SQL DATA RETURN (SELECT MAX(id) FROM vault)",
        "CREATE PROCEDURE show_all() SELECT v FROM vault",
    )
    shop.database.server.execute(f"GRANT EXECUTE ON {name}.* TO app@'%'")
    for statement, expected in {
        "SELECT rich()": [("statement.read", ())],
        "SELECT rich(), name FROM customer": [("customer.read", ("customer",))],
        "(SELECT name FROM customer)": [("customer.read", ("customer",))],
        "SELECT name FROM customer WHERE id = 1 INTO @x": [("customer.read", ("customer",))],
        "INSERT INTO customer SELECT 77, v, v FROM vault WHERE id = 1": [
            ("customer.read", ("customer", "vault"))
        ],
        "DELETE FROM customer WHERE id = 77 RETURNING name": [("customer.read", ("customer",))],
        "HANDLER customer OPEN": [("statement.read", ())],
        "SELECT name FROM customer PROCEDURE ANALYSE()": [("customer.read", ("customer",))],
        "SELECT 1": [],
    }.items():
        shop.host.take()
        shop.read(ask(statement, "ROLLBACK"))
        found = [
            (event.action, tuple(target.kind for target in event.targets))
            for event in shop.host.take()
        ]
        assert found == expected, statement


def test_parameters_are_shown_unless_they_meet_what_is_masked(shop: Shop) -> None:
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


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    invoices: Mapped[list[Invoice]] = relationship(order_by="Invoice.id")


class Invoice(Base):
    __tablename__ = "invoice"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column("CustomerId", ForeignKey("customer.id"))
    total: Mapped[int]


def _loaded(customers: Any) -> list[Any]:
    return [(one.name, [invoice.total for invoice in one.invoices]) for one in customers]


FEW = select(Customer).where(Customer.id.in_([2, 3])).order_by(Customer.id)
CASES: dict[str, tuple[Callable[[Session], Any], dict[str, set[int]]]] = {
    "get": (lambda s: s.get_one(Customer, 5).name, {"customer": {5}}),
    "list": (lambda s: [one.name for one in s.scalars(FEW)], {"customer": {2, 3}}),
    "columns": (
        lambda s: repr(s.execute(select(Customer.name).where(Customer.id < 3)).all()),
        {"customer": {1, 2}},
    ),
    "lazy": (
        lambda s: _loaded([s.get_one(Customer, 2)]),
        {"customer": {2}, "invoice": {4, 5}},
    ),
    "joined": (
        lambda s: _loaded(s.scalars(FEW.options(joinedload(Customer.invoices))).unique()),
        {"customer": {2, 3}, "invoice": {4, 5, 6, 7}},
    ),
    "selectin": (
        lambda s: _loaded(s.scalars(FEW.options(selectinload(Customer.invoices)))),
        {"customer": {2, 3}, "invoice": {4, 5, 6, 7}},
    ),
    "page": (
        lambda s: _loaded(
            s.scalars(
                select(Customer)
                .order_by(Customer.id)
                .limit(2)
                .options(joinedload(Customer.invoices))
            ).unique()
        ),
        {"customer": {1, 2}, "invoice": {2, 3, 4, 5}},
    ),
    "expired": (
        lambda s: [s.refresh(one := s.get_one(Invoice, 4)), one.total],
        {"invoice": {4}},
    ),
    "streamed": (
        lambda s: [one.name for one in s.scalars(FEW.execution_options(yield_per=1))],
        {"customer": {2, 3}},
    ),
    "count": (
        lambda s: s.scalar(select(func.count()).where(Invoice.total > 990)),
        {"invoice": set(range(1, 10))},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_orm_loads(shop: Shop, case: str) -> None:
    work, expected = CASES[case]

    def run(connection: Connection) -> Any:
        with Session(bind=connection) as session:
            return work(session)

    shop.read(run)
    found: dict[str, set[int]] = {}
    for kind, ids, coverage in shop.taken():
        assert coverage == "exact"
        found.setdefault(kind, set()).update(ids)
    assert found == expected


def test_no_function_is_an_aggregate_to_the_parser() -> None:
    for name in HARMLESS:
        try:
            tree = parse_one(f"SELECT {name}(a)", dialect=IndelibleMySQL)
        except SqlglotError:  # then such a text isn't understood
            continue
        assert name == "group_concat" or not list(tree.find_all(exp.AggFunc)), name
