"""Every path by which rows are written, for each server, with the changes that it must be.

`docs/reference/writes.md` is made of it (`tests.capture.matrix`); `test_paths.py` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

SQLALCHEMY: Final = (
    "SQLAlchemy, pysqlite",
    "SQLAlchemy, aiosqlite",
    "SQLAlchemy, psycopg",
    "SQLAlchemy, psycopg async",
    "SQLAlchemy, psycopg2",
    "SQLAlchemy, asyncpg",
    "SQLAlchemy, PyMySQL",
    "SQLAlchemy, mysqlclient",
    "SQLAlchemy, aiomysql",
)
SCRIPT: Final = "INSERT INTO t (id, v) VALUES (3, 'c'); UPDATE t SET v = 'x;y' WHERE id = 3"
_MARIADB_ALONE: Final = ("PyMySQL", "mysqlclient", "aiomysql")
_POSTGRES_ALONE: Final = ("psycopg", "psycopg, async", "psycopg2", "asyncpg")


@dataclass(frozen=True)
class Path:
    """One transaction, and the changes (`table.verb id`) that it is.

    It runs `statements`, one text for `many` rows (`{}` is a placeholder), or a call of the
    driver's (`calls.CALLS`); where it names `drivers`, only they can. `may_fail` tells that an
    error is part of it.
    """

    name: str
    changes: tuple[str, ...]
    statements: tuple[str, ...] = ()
    many: tuple[str, list[tuple[Any, ...]]] | None = None
    drivers: tuple[str, ...] = ()
    may_fail: bool = False
    ends: Literal["commit", "rollback", "autocommit"] = "commit"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Unseen:
    """What a server writes without telling anybody, and what is said of that instead."""

    name: str
    why: str
    statements: tuple[str, ...] = ()
    run: Callable[[Any], object] | None = None


def _listed(changes: str) -> tuple[str, ...]:
    return tuple(change for change in changes.split(", ") if change)


def _path(name: str, changes: str, *statements: str, may_fail: bool = False) -> Path:
    return Path(name, _listed(changes), statements, may_fail=may_fail)


def _call(name: str, changes: str, *drivers: str) -> Path:
    return Path(name, _listed(changes), drivers=drivers)


def takes(driver: str, path: Path) -> bool:
    """Whether the driver has such a path at all."""
    return not path.drivers or driver in path.drivers


def seen_of(error: Exception) -> object:
    return "raised", type(error).__qualname__, str(error)


def _common(upsert: str, ignored: Path) -> tuple[Path, ...]:
    """What all servers have, where only UPSERT is said in other words."""
    return (
        _path(
            "INSERT of several rows",
            "t.insert 3, t.insert 4",
            "INSERT INTO t (id, v) VALUES (3, 'c'), (4, 'd')",
        ),
        _path(
            "INSERT … SELECT",
            "t.insert 11, t.insert 12",
            "INSERT INTO t (id, v) SELECT id + 10, v FROM t ORDER BY id",
        ),
        _path(
            "INSERT … RETURNING", "t.insert 3", "INSERT INTO t (id, v) VALUES (3, 'c') RETURNING v"
        ),
        _path("upsert", "t.update 1, t.insert 3", upsert),
        ignored,
        _path("UPDATE", "t.update 1, t.update 2", "UPDATE t SET v = 'x'"),
        _path("UPDATE of the key", "t.update 12", "UPDATE t SET id = id + 10 WHERE v = 'b'"),
        _path("a semicolon in a value", "t.update 1", "UPDATE t SET v = 'a;b' WHERE id = 1"),
        _path("UPDATE that finds nothing", "", "UPDATE t SET v = 'x' WHERE id = 9"),
        _path("UPDATE through a view", "t.update 1", "UPDATE t_view SET v = 'x' WHERE id = 1"),
        _path("DELETE", "t.delete 2", "DELETE FROM t WHERE id = 2"),
        _path("DELETE of all", "pair.delete x", "DELETE FROM pair"),
        _path(
            "composite key",
            "pair.insert y, pair.update y",
            "INSERT INTO pair VALUES ('y', 2, 'q')",
            "UPDATE pair SET v = 'r' WHERE b = 2",
        ),
        _path(
            "an application's trigger",
            "watched.update 1, audit.insert 1",
            "UPDATE watched SET v = 'x'",
        ),
        _path(
            "ROLLBACK TO SAVEPOINT",
            "t.insert 3, t.insert 5",
            "INSERT INTO t (id) VALUES (3)",
            "SAVEPOINT s",
            "INSERT INTO t (id) VALUES (4)",
            "ROLLBACK TO SAVEPOINT s",
            "INSERT INTO t (id) VALUES (5)",
        ),
        _path(
            "a statement that fails half-way",
            "",
            "INSERT INTO t VALUES (8, 'x', 8), (9, 'y', 1)",
            may_fail=True,
        ),
        _path("a table that isn't there", "", "INSERT INTO nowhere VALUES (1)", may_fail=True),
        Path(
            "executemany",
            ("t.insert 3", "t.insert 4"),
            many=("INSERT INTO t (id, v) VALUES ({}, {})", [(3, "c"), (4, "d")]),
        ),
        Path("ROLLBACK", (), ("DELETE FROM t", "UPDATE pair SET v = 'x'"), ends="rollback"),
        Path(
            "autocommit, each statement on its own",
            ("t.insert 3", "t.update 3", "t.delete 1"),
            (
                "INSERT INTO t (id) VALUES (3)",
                "UPDATE t SET v = 'x' WHERE id = 3",
                "DELETE FROM t WHERE id = 1",
            ),
            ends="autocommit",
        ),
        _call("ORM, unit of work", "t.update 1, t.delete 2, t.insert 3, t.insert 4", *SQLALCHEMY),
        _call("ORM, in bulk", "t.insert 3, t.insert 4, t.update 3, t.update 4", *SQLALCHEMY),
    )


_UPSERT = (
    "INSERT INTO t VALUES (1, 'z', 9), (3, 'c', 3) ON CONFLICT (id) DO UPDATE SET v = excluded.v"
)
_IGNORED = _path(
    "upsert that does nothing", "", "INSERT INTO t VALUES (1, 'z', 9) ON CONFLICT DO NOTHING"
)
_BUT_ON_MARIADB = (
    *_common(_UPSERT, _IGNORED),
    _path(
        "UPDATE … FROM",
        "t.update 1",
        "UPDATE t SET v = watched.v FROM watched WHERE watched.id = t.id",
    ),
    _path(
        "foreign key: ON DELETE CASCADE",
        "parent.delete 2, child.delete 2",
        "DELETE FROM parent WHERE id = 2",
    ),
    _path(
        "foreign key: ON UPDATE CASCADE",
        "parent.update 12, child.update 2",
        "UPDATE parent SET id = 12 WHERE id = 2",
    ),
)


def _keyless(new: object, newer: object, old: object) -> Path:
    """Its rows are named by their values, or by a number of SQLite's."""
    return _path(
        "a table without a key",
        f"loose.insert {new}, loose.update {newer}, loose.delete {old}",
        "INSERT INTO loose VALUES ('m')",
        "UPDATE loose SET v = 'n' WHERE v = 'm'",
        "DELETE FROM loose WHERE v = 'l'",
    )


SQLITE_SCHEMA = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w INTEGER UNIQUE)",
    "CREATE TABLE pair (a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "CREATE TABLE loose (v TEXT)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent "
    "ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE watched (id INTEGER PRIMARY KEY, v TEXT)",
    "CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT)",
    "CREATE TRIGGER app_watched AFTER UPDATE ON watched "
    "BEGIN INSERT INTO audit (what) VALUES (new.v); END",
    "CREATE VIEW t_view AS SELECT id, v FROM t",
    "CREATE TRIGGER app_view INSTEAD OF UPDATE ON t_view "
    "BEGIN UPDATE t SET v = new.v WHERE id = new.id; END",
)
_TABLES = ("t", "pair", "loose", "child", "parent", "watched", "audit")
_ROWS = (
    "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)",
    "INSERT INTO pair VALUES ('x', 1, 'p')",
    "INSERT INTO loose VALUES ('l')",
    "INSERT INTO parent VALUES (1), (2)",
    "INSERT INTO child VALUES (1, 1), (2, 2)",
    "INSERT INTO watched VALUES (1, 'w')",
)
RESET = (*(f"DELETE FROM {table}" for table in _TABLES), *_ROWS)
"""What every path begins with."""

SQLITE = (
    *_BUT_ON_MARIADB,
    _keyless(2, 2, 1),
    _call("executescript", "t.insert 3, t.update 3", "sqlite3"),
    _path("INSERT of defaults", "t.insert 3", "INSERT INTO t DEFAULT VALUES"),
    _path("INSERT OR IGNORE", "", "INSERT OR IGNORE INTO t VALUES (1, 'z', 9)"),
    _path(
        "REPLACE, by the key and by another",
        "t.delete 1, t.delete 2, t.insert 1",
        "REPLACE INTO t VALUES (1, 'z', 2)",
    ),
    _path(
        "UPDATE OR REPLACE",
        "t.delete 1, t.update 2",
        "UPDATE OR REPLACE t SET w = 1 WHERE id = 2",
    ),
    _path(
        "a common table expression",
        "t.update 2",
        "WITH last AS (SELECT max(id) AS id FROM t) "
        "UPDATE t SET v = 'x' WHERE id IN (SELECT id FROM last)",
    ),
)


def _write_blob(connection: Any) -> None:
    with connection.blobopen("t", "v", 1) as blob:
        blob.write(b"z")


SQLITE_UNSEEN = (
    Unseen("`blobopen`", "SQLite fires no trigger for it", run=_write_blob),
    Unseen(
        "a virtual table",
        "SQLite takes no trigger on one",
        ("CREATE VIRTUAL TABLE found USING fts5 (v)", "INSERT INTO found VALUES ('x')"),
    ),
    Unseen(
        "a temporary table",
        "it is the connection's own",
        ("CREATE TEMP TABLE own (v)", "INSERT INTO own VALUES ('x')"),
    ),
)

POSTGRES_SCHEMA = (
    "CREATE TABLE t (id integer PRIMARY KEY, v text, w integer UNIQUE)",
    "CREATE TABLE pair (a text, b integer, v text, PRIMARY KEY (a, b))",
    "CREATE TABLE loose (v text)",
    "CREATE TABLE parent (id integer PRIMARY KEY)",
    "CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent "
    "ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE watched (id integer PRIMARY KEY, v text)",
    "CREATE TABLE audit (id integer PRIMARY KEY, what text)",
    "CREATE FUNCTION app_watched() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO audit VALUES (new.id, new.v); RETURN new; END $$",
    "CREATE TRIGGER app_watched AFTER UPDATE ON watched FOR EACH ROW "
    "EXECUTE FUNCTION app_watched()",
    "CREATE VIEW t_view AS SELECT id, v FROM t",
    "CREATE TABLE parts (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (99)",
    "CREATE TABLE base (id integer PRIMARY KEY, v text)",
    "CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (base)",
    "CREATE TABLE moved (id integer PRIMARY KEY, v text)",
    "CREATE TABLE retyped (id integer PRIMARY KEY, v integer)",
    "INSERT INTO moved VALUES (120, 'm')",
    "INSERT INTO retyped VALUES (1, 5)",
    "CREATE FUNCTION app_touch(i integer) RETURNS integer LANGUAGE sql AS "
    "$$ UPDATE t SET v = 'touched' WHERE id = i; SELECT i $$",
    "CREATE PROCEDURE app_empty() LANGUAGE sql AS $$ DELETE FROM t WHERE id = 2 $$",
)
POSTGRES_RESET = (*RESET, "DELETE FROM parts", "DELETE FROM base")
POSTGRES = (
    *_BUT_ON_MARIADB,
    _keyless("m", "n", "l"),
    _path(
        "MERGE",
        "t.update 1, t.insert 3",
        "MERGE INTO t USING (VALUES (1), (3)) AS s (id) ON s.id = t.id "
        "WHEN MATCHED THEN UPDATE SET v = 'merged' "
        "WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new', NULL)",
    ),
    _path("DELETE … USING", "t.delete 1", "DELETE FROM t USING watched WHERE watched.id = t.id"),
    _path(
        "writable common table expressions",
        "t.delete 1, pair.insert z",
        "WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING *) "
        "INSERT INTO pair SELECT 'z', id, v FROM gone",
    ),
    _path("TRUNCATE", "t.delete 1, t.delete 2", "TRUNCATE t"),
    _path(
        "TRUNCATE … CASCADE",
        "child.delete 1, child.delete 2, parent.delete 1, parent.delete 2",
        "TRUNCATE parent CASCADE",
    ),
    _path(
        "a partitioned table, and from one partition to another",
        "parts.insert 1, parts.insert 11, parts.update 12",
        "INSERT INTO parts VALUES (1, 'a'), (11, 'b')",
        "UPDATE parts SET id = 12 WHERE id = 1",
    ),
    _path("a partition by its own name", "parts.insert 2", "INSERT INTO parts_low VALUES (2, 'a')"),
    _path(
        "an inheritance tree",
        "heir.insert 1, heir.update 1",
        "INSERT INTO heir VALUES (1, 'a')",
        "UPDATE base SET v = 'b'",
    ),
    _path("a function in a SELECT", "t.update 1", "SELECT app_touch(1)"),
    _path("CALL", "t.delete 2", "CALL app_empty()"),
    _path("DO", "t.delete 1", "DO $$ BEGIN DELETE FROM t WHERE id = 1; END $$"),
    _path(
        "an exception that a block catches",
        "t.insert 4",
        "DO $$ BEGIN BEGIN INSERT INTO t (id) VALUES (3); RAISE 'x'; EXCEPTION WHEN OTHERS THEN "
        "INSERT INTO t (id) VALUES (4); END; END $$",
    ),
    _call("COPY FROM STDIN", "t.insert 3, t.insert 4", *_POSTGRES_ALONE),
    Path(
        "several statements in one text",
        ("t.insert 3", "t.update 3"),
        (SCRIPT,),
        drivers=(*_POSTGRES_ALONE, *SQLALCHEMY[2:5], "Django"),
    ),
    _call("a pipeline", "t.insert 3, t.insert 4", "psycopg", "psycopg, async"),
    _call("execute_values", "t.insert 3, t.insert 4", "psycopg2"),
    _call("callproc", "t.update 1", "psycopg2"),
    _call("a prepared statement", "t.insert 3, t.insert 4", "asyncpg"),
)
POSTGRES_UNSEEN = (
    Unseen(
        "a foreign table",
        "its rows are another server's: capture them there",
        ("INSERT INTO far VALUES (1)",),
    ),
    Unseen(
        "ATTACH PARTITION",
        "the server fires no trigger for the rows that it moves in",
        ("ALTER TABLE parts ATTACH PARTITION moved FOR VALUES FROM (99) TO (200)",),
    ),
    Unseen(
        "ALTER … TYPE … USING",
        "the server rewrites the table without a trigger",
        ("ALTER TABLE retyped ALTER v TYPE integer USING v * 2",),
    ),
    Unseen(
        "a table that was made since `install`",
        "it has no triggers before the next one",
        ("CREATE TABLE newer (id integer PRIMARY KEY)", "INSERT INTO newer VALUES (1)"),
    ),
    Unseen(
        "a temporary table",
        "it is the connection's own",
        ("CREATE TEMP TABLE own (v text)", "INSERT INTO own VALUES ('x')"),
    ),
)

MARIADB_SCHEMA = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), w INT UNIQUE)",
    "CREATE TABLE pair (a VARCHAR(9), b INT, v VARCHAR(9), PRIMARY KEY (a, b))",
    "CREATE TABLE loose (v VARCHAR(9))",
    "CREATE TABLE parent (id INT PRIMARY KEY)",
    "CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent_id INT, n INT DEFAULT 5, "
    "double_n INT GENERATED ALWAYS AS (n * 2) STORED, FOREIGN KEY (parent_id) REFERENCES parent "
    "(id))",
    "CREATE TABLE watched (id INT PRIMARY KEY, v VARCHAR(20))",
    "CREATE TABLE audit (id INT PRIMARY KEY, what VARCHAR(20))",
    "CREATE TRIGGER app_before BEFORE INSERT ON child FOR EACH ROW SET NEW.n = NEW.n + 1",
    "CREATE TRIGGER app_after AFTER UPDATE ON watched FOR EACH ROW "
    "INSERT INTO audit VALUES (NEW.id, NEW.v)",
    "CREATE VIEW t_view AS SELECT id, v FROM t",
    "CREATE PROCEDURE app_move(a INT, b INT) UPDATE child SET parent_id = b WHERE parent_id = a",
    "CREATE FUNCTION app_touch(i INT) RETURNS INT MODIFIES SQL DATA "
    "BEGIN UPDATE t SET v = 'touched' WHERE id = i; RETURN i; END",
    "CREATE TABLE parts (id INT PRIMARY KEY, v VARCHAR(9)) PARTITION BY HASH (id) PARTITIONS 3",
    "CREATE TABLE versioned (id INT PRIMARY KEY, v VARCHAR(9)) WITH SYSTEM VERSIONING",
    "CREATE TABLE emptied (id INT PRIMARY KEY)",
    "CREATE TABLE other (id INT PRIMARY KEY) ENGINE = MyISAM",
    "INSERT INTO emptied VALUES (1)",
)
MARIADB_RESET = (
    *(statement.replace("INTO child", "INTO child (id, parent_id)") for statement in RESET),
    "DELETE FROM parts",
)
MARIADB = (
    *_common(
        "INSERT INTO t VALUES (1, 'z', 9), (3, 'c', 3) ON DUPLICATE KEY UPDATE v = VALUES(v)",
        _path(
            "upsert that leaves the row as it is",
            "t.update 1",
            "INSERT INTO t VALUES (1, 'z', 9) ON DUPLICATE KEY UPDATE v = v",
        ),
    ),
    _keyless("m", "n", "l"),
    _path("INSERT … SET", "t.insert 3", "INSERT INTO t SET id = 3, v = 'c'"),
    _path("INSERT IGNORE", "t.insert 3", "INSERT IGNORE INTO t (id) VALUES (1), (3)"),
    _path(
        "REPLACE, by the key and by another",
        "t.delete 1, t.delete 2, t.insert 1",
        "REPLACE INTO t VALUES (1, 'z', 2)",
    ),
    _path(
        "UPDATE … ORDER BY … LIMIT", "t.update 2", "UPDATE t SET v = 'x' ORDER BY id DESC LIMIT 1"
    ),
    _path(
        "UPDATE of several tables",
        "t.update 1, watched.update 1, audit.insert 1",
        "UPDATE t, watched SET t.v = 'x', watched.v = 'y' WHERE watched.id = t.id",
    ),
    _path("DELETE … RETURNING", "t.delete 1", "DELETE FROM t WHERE id = 1 RETURNING v"),
    _path(
        "DELETE of several tables",
        "t.delete 1, watched.delete 1",
        "DELETE t, watched FROM t JOIN watched ON watched.id = t.id",
    ),
    _path(
        "an application's trigger before ours, and a generated column",
        "child.insert 3",
        "INSERT INTO child (id, parent_id) VALUES (3, 1)",
    ),
    _path("a foreign key that refuses", "", "DELETE FROM parent WHERE id = 1", may_fail=True),
    _path(
        "a partitioned table, and from one partition to another",
        "parts.insert 1, parts.update 2",
        "INSERT INTO parts VALUES (1, 'a')",
        "UPDATE parts SET id = 2",
    ),
    _path(
        "a system-versioned table",
        "versioned.insert 1, versioned.update 1, versioned.delete 1",
        "INSERT INTO versioned VALUES (1, 'a')",
        "UPDATE versioned SET v = 'b'",
        "DELETE FROM versioned",
    ),
    _path("a function in a SELECT", "t.update 1", "SELECT app_touch(1)"),
    _path("DO, and SET", "t.update 1, t.update 2", "DO app_touch(1)", "SET @a = app_touch(2)"),
    _path("CALL", "child.update 1", "CALL app_move(1, 2)"),
    _call("callproc", "child.update 1", *_MARIADB_ALONE),
    _call("LOAD DATA LOCAL INFILE", "t.insert 3, t.insert 4", *_MARIADB_ALONE),
    _path("EXECUTE IMMEDIATE", "t.update 1", "EXECUTE IMMEDIATE 'UPDATE t SET v = 7 WHERE id = 1'"),
    _path(
        "a compound statement",
        "audit.insert 0, audit.insert 1",
        "BEGIN NOT ATOMIC DECLARE i INT DEFAULT 0; WHILE i < 2 DO "
        "INSERT INTO audit VALUES (i, 'x'); SET i = i + 1; END WHILE; END",
    ),
)
MARIADB_UNSEEN = (
    Unseen(
        "TRUNCATE",
        "the server fires no trigger: that it happened is noticed",
        ("TRUNCATE emptied",),
    ),
    Unseen(
        "a table of another engine than InnoDB",
        "its rows don't roll back",
        ("INSERT INTO other VALUES (1)",),
    ),
    Unseen(
        "a temporary table",
        "it is the connection's own",
        ("CREATE TEMPORARY TABLE own (v INT)", "INSERT INTO own VALUES (1)"),
    ),
)
