"""Every path by which MariaDB writes rows, and what an application sees of capture: nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pymysql
import pytest
from tests.capture.writes.folding import event_of, fold
from tests.mariadb_server import MariadbDatabase, MariadbServer

from indelible.capture.mariadb.connecting import connect
from indelible.capture.mariadb.install import _SETTING_UP, install, suspend, uninstall
from indelible.capture.mariadb.installed import OutboxSql
from indelible.capture.servers import Drift
from indelible.errors import CaptureError, ConfigurationError
from indelible.events.values import CHANGED, MASKED
from indelible.policy.model import Server

from .capturing import Captured

SCHEMA = (
    "CREATE TABLE parent (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, n INT)",
    "CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent_id INT, n INT DEFAULT 5, "
    "double_n INT GENERATED ALWAYS AS (n * 2) STORED, FOREIGN KEY (parent_id) REFERENCES parent "
    "(id))",
    "CREATE TABLE seen (what VARCHAR(99), id INT AUTO_INCREMENT PRIMARY KEY)",
    "CREATE TRIGGER app_before BEFORE INSERT ON child FOR EACH ROW SET NEW.n = NEW.n + 1",
    "CREATE TRIGGER app_after AFTER UPDATE ON parent FOR EACH ROW "
    "INSERT INTO seen (what) VALUES (NEW.name)",
    "CREATE PROCEDURE move(a INT, b INT) UPDATE child SET parent_id = b WHERE parent_id = a",
    "CREATE FUNCTION touch(a INT) RETURNS INT MODIFIES SQL DATA "
    "BEGIN UPDATE parent SET n = a; RETURN a; END",
    "INSERT INTO parent (name, n) VALUES ('a', 1), ('b', 2), ('c', 3)",
    "INSERT INTO child (parent_id) VALUES (1), (2)",
)
WRITES = (
    "INSERT INTO parent (name) VALUES ('x'), ('y')",
    "INSERT INTO parent SET name = 'x', n = 4",
    "INSERT INTO parent (name, n) SELECT CONCAT(name, '2'), n FROM parent",
    "INSERT IGNORE INTO parent (name) VALUES ('a'), ('x')",
    "INSERT INTO parent (name) VALUES ('a'), ('x') ON DUPLICATE KEY UPDATE n = 9, name = 'z'",
    "INSERT INTO parent (name) VALUES ('x') RETURNING id, name",
    "INSERT INTO parent (id, name) VALUES (1, 'x')",
    "REPLACE INTO parent (id, name, n) VALUES (3, 'b2', 7), (9, 'n', 1)",
    "REPLACE INTO seen (id, what) VALUES (1, 'again')",
    "UPDATE parent SET n = n + 1",
    "UPDATE parent SET n = n",
    "UPDATE parent SET id = id + 10 WHERE id = 3",
    "UPDATE parent SET n = 0 ORDER BY id DESC LIMIT 1",
    "UPDATE parent, child SET parent.n = 50, child.n = 60 WHERE child.parent_id = parent.id",
    "UPDATE parent SET n = (SELECT COUNT(*) FROM child) WHERE name LIKE 'a%'",
    "UPDATE parent SET name = 'A' WHERE name = 'a'",
    "DELETE FROM child",
    "DELETE FROM child WHERE id = 1 RETURNING n",
    "DELETE child, seen FROM child LEFT JOIN seen ON seen.id = child.id",
    "DELETE FROM parent WHERE id = 1",
    "DELETE FROM parent WHERE id = 3",
    "CALL move(1, 2)",
    "SELECT touch(8)",
    "DO touch(7)",
    "SET @a = touch(6)",
    "WITH w AS (SELECT 3 AS x) SELECT x, touch(x) FROM w",
    "LOAD DATA LOCAL INFILE '{file}' INTO TABLE parent FIELDS TERMINATED BY ',' (name, n)",
    "LOAD DATA LOCAL INFILE '{file}' REPLACE INTO TABLE parent FIELDS TERMINATED BY ',' (name, n)",
    "INSERT INTO child (parent_id) VALUES (99)",
    "INSERT INTO child (parent_id, n) VALUES (1, 2147483647)",
    "INSERT INTO missing VALUES (1)",
    "BEGIN NOT ATOMIC DECLARE i INT DEFAULT 0; WHILE i < 3 DO "
    "INSERT INTO seen (what) VALUES (i); SET i = i + 1; END WHILE; END",
    "XA START 'x'",
    "PREPARE p FROM 'UPDATE parent SET n = 77'",
    "EXECUTE IMMEDIATE 'UPDATE parent SET n = 78 WHERE id = 1'",
)
ASIDE = (
    "SELECT LAST_INSERT_ID(), ROW_COUNT(), @@identity, @@warning_count",
    "SHOW WARNINGS",
)


def seen_of(database: MariadbDatabase, statement: str) -> object:
    """All that an application sees of it."""
    connection = database.connect(autocommit=False, local_infile=True)
    with contextlib.closing(connection), connection.cursor() as cursor:
        found: list[object] = []
        for text in (statement, *ASIDE, "SELECT * FROM seen"):
            try:
                found.append((cursor.execute(text), cursor.fetchall(), cursor.lastrowid))
                while cursor.nextset():
                    found.append(cursor.fetchall())
            except pymysql.Error as error:
                found.append((type(error), error.args))
            found.append(connection.server_status & 1)
        if statement.startswith("XA"):
            cursor.execute("INSERT INTO parent (name) VALUES ('xa')")
            cursor.execute("XA END 'x'")
            cursor.execute("XA COMMIT 'x' ONE PHASE")
        connection.commit()
        return str(found).replace(database.name, "db")


@pytest.mark.parametrize("statement", WRITES)
def test_each_row_of_each_statement(
    mariadb_database: MariadbDatabase, tmp_path: Path, statement: str
) -> None:
    """One event a row, folding them on the baseline gives the tables, and every result, count,
    id, warning and error is that of a database without capture."""
    file = tmp_path / "rows.csv"
    file.write_text("a,5\nfile,6\n")
    text = statement.format(file=file) if "{file}" in statement else statement
    twin = MariadbDatabase(mariadb_database.server, f"{mariadb_database.name}_twin")
    try:
        for database in (twin, mariadb_database):
            database.execute(*SCHEMA)
        captured = Captured(mariadb_database)
        assert seen_of(mariadb_database, text) == seen_of(twin, text)
        assert fold(captured.drafts()) == captured.live()
    finally:
        twin.drop()


def test_tables_of_every_kind(mariadb_database: MariadbDatabase) -> None:
    """Composite keys, odd names, keys by a unique index, no keys, other engines, versioned rows."""
    mariadb_database.execute(
        "CREATE TABLE `odd ``name` "
        "(`a b` INT, `c'd` VARCHAR(9), v INT, PRIMARY KEY (`c'd`, `a b`))",
        "CREATE TABLE by_index (v INT, a INT NOT NULL, UNIQUE (a))",
        "CREATE TABLE half_index (v INT, a TEXT NOT NULL, UNIQUE (a(3)))",
        "CREATE TABLE keyless (v INT, t TEXT)",
        "CREATE TABLE versioned (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
        "CREATE TABLE parts (id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 3",
        "CREATE TABLE invisible (id INT PRIMARY KEY, v INT INVISIBLE DEFAULT 3)",
        "CREATE TABLE plain (id INT PRIMARY KEY) ENGINE = MyISAM",
        "CREATE VIEW view_of AS SELECT id, v FROM parts",
        "CREATE SEQUENCE numbers",
    )
    captured = Captured(mariadb_database)
    assert [(one.name, one.why[:22]) for one in captured.report.unseen] == [
        ("plain", "its engine is MyISAM: ")
    ]
    mariadb_database.execute(
        "INSERT INTO `odd ``name` VALUES (1, 'x', 2), (2, 'X', 3)",
        "UPDATE `odd ``name` SET `a b` = 7 WHERE v = 2",
        "INSERT INTO by_index VALUES (1, 2)",
        "INSERT INTO half_index VALUES (1, 'abc')",
        "INSERT INTO keyless VALUES (1, 'a'), (NULL, NULL)",
        "UPDATE keyless SET v = 9 WHERE v = 1",
        "INSERT INTO versioned VALUES (1, 1)",
        "UPDATE versioned SET v = 2",
        "INSERT INTO view_of VALUES (1, 1), (2, 2)",
        "ALTER TABLE parts REORGANIZE PARTITION",
        "UPDATE view_of SET v = 3",
        "INSERT INTO invisible (id) VALUES (1)",
        "INSERT INTO plain VALUES (1)",
    )
    live = captured.live()
    assert fold(captured.drafts()) == live
    assert live["odd `name", ("X", 2)]["v"] == 3
    assert live["by_index", (2,)] == {"v": 1, "a": 2}
    assert live["invisible", (1,)]["v"] == 3


def test_what_is_masked_never_enters_the_outbox(mariadb_database: MariadbDatabase) -> None:
    """Masked values are in no row; of others only that their bytes changed is kept."""
    mariadb_database.execute(
        "CREATE TABLE person (id INT PRIMARY KEY, card TEXT, notes TEXT, name TEXT)",
        "INSERT INTO person VALUES (1, 'secret-1', 'secret-2', 'n')",
    )
    captured = Captured(
        mariadb_database, "[tables.person]\nmask = ['card']\nwithout_values = ['notes']\n"
    )
    mariadb_database.execute(
        "UPDATE person SET card = 'secret-3', notes = 'SECRET-2'",
        "UPDATE person SET name = 'm'",
        "DELETE FROM person",
    )
    assert b"secret" not in b"".join(captured.drafts()).lower()
    assert "secret" not in repr(captured.rows()).lower()
    first, second, third = (event_of(e.draft).changes for e in captured.decoded().events)
    assert first == {"notes": (CHANGED, CHANGED)}
    assert second == {"name": ("n", "m")}
    assert third is not None
    assert third["card"][0] == MASKED


def test_subjects_follow_longer_paths(mariadb_database: MariadbDatabase) -> None:
    """A row two foreign keys away names whose it is; also the old and the new one."""
    mariadb_database.execute(
        "CREATE TABLE customer (id VARCHAR(9) PRIMARY KEY)",
        "CREATE TABLE invoice (id INT PRIMARY KEY, customer_id VARCHAR(9))",
        "CREATE TABLE line (id INT PRIMARY KEY, invoice_id INT)",
        "INSERT INTO customer VALUES ('zara'), ('yann')",
        "INSERT INTO invoice VALUES (1, 'zara'), (2, 'yann'), (3, NULL)",
        "INSERT INTO line VALUES (1, 1)",
    )
    captured = Captured(
        mariadb_database,
        "[tables.customer]\nsubject = 'self'\n[tables.line]\n"
        "subject = 'invoice_id -> invoice.customer_id -> customer'\n",
    )
    mariadb_database.execute(
        "UPDATE line SET invoice_id = 2",
        "UPDATE line SET invoice_id = 3",
        "INSERT INTO line VALUES (2, 99)",
    )
    found = [
        {subject.id for subject in event_of(draft).subjects}
        for draft in captured.drafts()
        if event_of(draft).targets[0].kind == "line"
    ]
    assert found == [{"zara"}, {"zara", "yann"}, {"yann"}, {None}]


def test_foreign_keys_that_change_rows_unseen_are_refused(
    mariadb_database: MariadbDatabase,
) -> None:
    """The server fires no trigger for what they do: installing says which, and changes nothing."""
    mariadb_database.execute(
        "CREATE TABLE a (id INT PRIMARY KEY)",
        "CREATE TABLE b (id INT PRIMARY KEY, a_id INT, CONSTRAINT its FOREIGN KEY (a_id) "
        "REFERENCES a (id) ON DELETE SET NULL ON UPDATE CASCADE)",
    )
    with pytest.raises(
        ConfigurationError, match=r"b\.its \(ON DELETE SET NULL\), b\.its \(ON UPDATE CASCADE\)"
    ):
        Captured(mariadb_database)
    assert Captured(mariadb_database, "[tables.b]\nwrites = false\n").report.tables == ("a",)


def test_installing_again_does_nothing_and_follows_the_schema(
    mariadb_database: MariadbDatabase,
) -> None:
    """What was altered, emptied, made anew or lost its triggers is said and mended."""
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    captured = Captured(mariadb_database)
    assert (captured.report.baseline_rows, captured.report.baseline_tables) == (1, ("a",))
    again = captured.install()
    assert (again.statements, again.drifts, again.baseline_tables) == ((), (), ())
    for statements, drift in (
        (("ALTER TABLE a ADD v INT DEFAULT 1",), "altered"),
        (("DROP TRIGGER indelible_2_update",), "triggers missing"),
        (("TRUNCATE a", "INSERT INTO a VALUES (3, 4)"), "it was altered, emptied by TRUNCATE"),
    ):
        mariadb_database.execute(*statements)
        (found,) = captured.install().drifts
        assert isinstance(found, Drift)
        assert found.what.startswith(drift)
        assert fold(captured.journal.drafts[-2:]) == captured.live()
        assert captured.install().drifts == ()
    mariadb_database.execute("DROP TABLE a")
    assert [str(drift) for drift in captured.install().drifts] == ["a: dropped"]


def test_a_migration_goes_on_while_capture_is_suspended(
    mariadb_database: MariadbDatabase,
) -> None:
    """Triggers of a column that is gone make writes fail: so they go before it does."""
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY, v INT)")
    captured = Captured(mariadb_database)
    suspend(captured.server, journal=captured.journal)
    assert event_of(captured.journal.drafts[-1]).action == "capture.suspended"
    mariadb_database.execute("ALTER TABLE a DROP v", "INSERT INTO a VALUES (1)")
    assert [str(drift) for drift in captured.install().drifts] == ["a: altered"]
    assert fold(captured.journal.drafts[-2:]) == captured.live()
    mariadb_database.execute("INSERT INTO a VALUES (2)")
    assert fold([*captured.journal.drafts[-2:], captured.decoded().events[-1].draft]) == (
        captured.live()
    )


def test_a_column_that_goes_without_that_stops_writes_until_the_next_install(
    mariadb_database: MariadbDatabase,
) -> None:
    """As the docs say; nothing is lost, as nothing is written."""
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY, v INT)")
    captured = Captured(mariadb_database)
    mariadb_database.execute("ALTER TABLE a DROP v")
    with pytest.raises(pymysql.Error, match="1054"):
        mariadb_database.execute("INSERT INTO a VALUES (1)")
    assert [str(drift) for drift in captured.install().drifts] == ["a: altered"]
    mariadb_database.execute("INSERT INTO a VALUES (1)")
    assert captured.live() == {("a", (1,)): {"id": 1}}


@pytest.mark.parametrize("done", range(1, len(_SETTING_UP) + 1))
def test_a_set_up_that_was_killed_is_finished_by_the_next(
    mariadb_database: MariadbDatabase, done: int
) -> None:
    """Behind any of its statements, which end transactions by themselves."""
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY)")
    sql = OutboxSql(mariadb_database.name)
    mariadb_database.execute(*(sql[name] for name in _SETTING_UP[:done]))
    captured = Captured(mariadb_database)
    mariadb_database.execute("INSERT INTO a VALUES (1)")
    assert fold(captured.drafts()) == captured.live() != {}


def test_a_role_that_is_named_later_may_record(mariadb_database: MariadbDatabase) -> None:
    captured = Captured(mariadb_database)
    mariadb_database.server.execute("CREATE USER late@'%'")
    try:
        report = install(
            Server(mariadb_database.url(), ("late",)), captured.policy, journal=captured.journal
        )
        assert report.statements == ()
        with contextlib.closing(mariadb_database.server.connect("root")) as c, c.cursor() as look:
            look.execute("SHOW GRANTS FOR late")
            assert any("GRANT EXECUTE" in row[0] for row in look.fetchall())
    finally:
        mariadb_database.server.execute("DROP USER late@'%'")


def test_what_a_binary_log_asks_for() -> None:
    """A right or a setting, and a format in which triggers can be replicated; then it is captured
    like any other."""
    server = MariadbServer(has_binary_log=True)
    try:
        database = MariadbDatabase(server, "app")
        database.execute("CREATE TABLE a (id INT PRIMARY KEY)")
        with pytest.raises(ConfigurationError, match=r"the right SUPER, or .* \(error 1419\)"):
            Captured(database)
        server.execute("GRANT SUPER ON *.* TO owner@'%'", "SET GLOBAL binlog_format = 'STATEMENT'")
        with pytest.raises(ConfigurationError, match="expected binlog_format ROW or MIXED"):
            Captured(database)
        server.execute("SET GLOBAL binlog_format = 'MIXED'")
        captured = Captured(database)
        database.execute("INSERT INTO a VALUES (1)")
        assert fold(captured.drafts()) == captured.live() != {}
    finally:
        server.remove()


def test_a_server_is_reached_by_its_socket(mariadb_database: MariadbDatabase) -> None:
    socket = mariadb_database.server.directory / "socket"
    url = f"mysql://root@localhost/{mariadb_database.name}?unix_socket={socket}"
    assert fetch_one(Server(url)) == mariadb_database.name


def fetch_one(server: Server) -> object:
    with contextlib.closing(connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        return cursor.fetchone()[0]


def test_uninstalling_leaves_the_database_as_it_was(mariadb_database: MariadbDatabase) -> None:
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY)")
    with contextlib.closing(mariadb_database.connect()) as c, c.cursor() as cursor:
        cursor.execute("SHOW CREATE TABLE a")
        before = cursor.fetchall()
        captured = Captured(mariadb_database)
        cursor.execute("INSERT INTO a VALUES (1)")
        with pytest.raises(CaptureError, match="1 wait"):
            uninstall(captured.server)
        assert uninstall(captured.server, force=True).discarded == 1
        cursor.execute("SHOW CREATE TABLE a")
        assert cursor.fetchall() == before
        cursor.execute("SHOW TRIGGERS")
        assert cursor.fetchall() == ()
        cursor.execute("SHOW DATABASES LIKE '%indelible'")
        assert not [row for row in cursor.fetchall() if row[0].startswith(mariadb_database.name)]


def test_a_table_that_is_in_use_is_waited_for_and_given_up(
    mariadb_database: MariadbDatabase,
) -> None:
    """Others go on meanwhile; what was begun is finished by the next run."""
    mariadb_database.execute("CREATE TABLE a (id INT PRIMARY KEY)")
    with contextlib.closing(mariadb_database.connect(autocommit=False)) as holder:
        holder.cursor().execute("INSERT INTO a VALUES (1)")
        with pytest.raises(ConfigurationError, match="to be free for a moment"):
            Captured(mariadb_database, patience_s=0.1)
        holder.commit()
    captured = Captured(mariadb_database)
    assert fold(captured.drafts()) == captured.live() != {}
