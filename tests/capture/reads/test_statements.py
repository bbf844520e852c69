"""What is understood of a text, without a database."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.capture.schema import Column, Schema, Table
from indelible.capture.statements import keys
from indelible.capture.statements.plan import Verb
from indelible.capture.statements.planner import Planner
from indelible.capture.statements.shown import shown_text
from indelible.capture.statements.sqlite import SQLITE
from indelible.capture.statements.tokens import (
    IN_LISTS,
    expand,
    split_statements,
    tokenize,
)
from indelible.policy import parse_policy

POLICY = parse_policy(
    """
[trail]
url = "sqlite:///trail.db"
[tables.person]
mask = ["ssn"]
"""
)


def _table(name: str, *columns: str) -> Table:
    named = tuple(Column(column) for column in columns)
    return Table(name=name, columns=named, key=columns[:1], rowid="rowid", is_rowid_key=True)


SCHEMA = Schema(
    {
        "person": _table("person", "id", "name", "ssn"),
        "bill": _table("bill", "id", "person", "total"),
    }
)


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("SELECT 1", Verb.READ),
        ("  -- INSERT\n /* x */ select 1", Verb.READ),
        ("VALUES (1)", Verb.READ),
        ("EXPLAIN INSERT INTO t VALUES (1)", Verb.READ),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Verb.READ),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", Verb.WRITE),
        ("WITH a AS (SELECT 'select') DELETE FROM t", Verb.WRITE),
        ("WITH a AS (SELECT 1) UPDATE t SET a = (SELECT 1)", Verb.WRITE),
        ("INSERT INTO t VALUES (1)", Verb.WRITE),
        ("REPLACE INTO t VALUES (1)", Verb.WRITE),
        ("BEGIN", Verb.WRITE),
        ("SAVEPOINT a", Verb.WRITE),
        ("VACUUM", Verb.WRITE),
        ("PRAGMA table_info(t)", Verb.READ),
        ("PRAGMA main.table_info('t');", Verb.READ),
        ("PRAGMA foreign_keys", Verb.READ),
        ("PRAGMA foreign_keys = ON", Verb.WRITE),
        ("PRAGMA journal_mode(wal)", Verb.WRITE),
        ("PRAGMA user_version = 3", Verb.WRITE),
        ("PRAGMA incremental_vacuum", Verb.WRITE),
        ("PRAGMA optimize", Verb.WRITE),
        ("SELECT 1; DELETE FROM t", Verb.WRITE),
        ("CREATE TABLE t (a)", Verb.SCHEMA),
        ("ALTER TABLE t ADD b", Verb.SCHEMA),
        ("ATTACH 'x' AS y", Verb.SCHEMA),
        ("nonsense", Verb.WRITE),
        ("", Verb.READ),
    ],
)
def test_only_what_is_proven_to_be_a_read_counts_as_one(text: str, verb: Verb) -> None:
    """Anything not recognised is treated as a write, also one behind a WITH or a semicolon."""
    assert SQLITE.verb_of(text, tokenize(text)) is verb


@given(st.text(alphabet="?, \n'x1()IN\"-*/\x01", max_size=40) | st.text(max_size=9))
def test_collapsing_loses_nothing(text: str) -> None:
    """The text that runs is the text that came, to the letter, however its lists were collapsed."""
    if "\x01" not in text:
        assert expand(IN_LISTS.collapse(text), IN_LISTS.runs(text)) == text


def test_only_in_lists_share_a_plan() -> None:
    """Elsewhere two parameters are two columns, or make another function of one."""
    planner = Planner(SCHEMA, POLICY)
    text = "SELECT name FROM person WHERE id IN ({})"
    assert planner.entry(text.format("?, ?")) is planner.entry(text.format("?,?, ?"))
    for other in ("SELECT {}, id FROM person", "SELECT max({}) FROM person", "VALUES ({})"):
        assert planner.entry(other.format("?, ?")) is not planner.entry(other.format("?, ?, ?"))


@given(st.text(max_size=60))
def test_every_text_is_planned(text: str) -> None:
    """No text makes planning fail."""
    Planner(SCHEMA, POLICY).entry(text)


_LONG = "(" * 2000 + "1" + ")" * 2000


@pytest.mark.parametrize(
    "text",
    [
        "SELECT",
        "SELECT ((((( FROM person",
        "SELECT name FROM person WHERE",
        "SELECT 'a FROM person",
        "SELECT [a FROM person",
        "WITH",
        f"SELECT {_LONG} FROM person",
        "SELECT name FROM person UNION",
    ],
)
def test_a_broken_text_names_what_it_mentions(text: str) -> None:
    """What can't be understood runs as it is, with the tables it mentions recorded as such."""
    plan = Planner(SCHEMA, POLICY).entry(text).plan

    assert plan.text is None
    if "person" in text:
        assert [target.coverage for target in plan.targets] == ["statement"]


def test_texts_that_differ_in_the_length_of_a_list_share_a_plan() -> None:
    """An IN-list of any length is planned once."""
    planner = Planner(SCHEMA, POLICY)

    first = planner.entry("SELECT name FROM person WHERE id IN (?, ?, ?)")
    second = planner.entry("SELECT name FROM person WHERE id IN (?, ?, ?, ?, ?)")

    assert first is second


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT name FROM person WHERE name = 'Zara'", "SELECT name FROM person WHERE name = ?"),
        ("SELECT 1.5e3, x'00ff', 0x1F", "SELECT ?, ?, ?"),
        ("SELECT name -- Zara\nFROM /* Zara */ person", "SELECT name FROM person"),
        ('SELECT name FROM person WHERE name = "Zara"', "SELECT name FROM person WHERE name = ?"),
        ('SELECT "name" AS "Her Name" FROM "person"', 'SELECT "name" AS "Her Name" FROM "person"'),
        (
            "SELECT name FROM person WHERE id IN (?,?, ?)",
            "SELECT name FROM person WHERE id IN (?…)",
        ),
    ],
)
def test_literals_and_comments_are_not_written_down(text: str, shown: str) -> None:
    """What stands in a text as a value, in whatever quotes, isn't in the trail."""
    collapsed = IN_LISTS.collapse(text)
    assert shown_text(collapsed, tokenize(collapsed), SCHEMA, SQLITE) == shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("SELECT name FROM person WHERE id = ?", (True,)),
        ("SELECT name FROM person WHERE ssn = ?", (False,)),
        ("SELECT name FROM person WHERE lower(ssn) = ? AND name LIKE ?", (False, True)),
        ("SELECT name FROM person p WHERE p.ssn IN (?, ?) LIMIT ?", (False, True)),
        ("SELECT name FROM person WHERE ssn BETWEEN ? AND ?", (False, False)),
        ("SELECT coalesce(ssn, ?) FROM person", (False,)),
        ("SELECT name FROM person WHERE id IN (SELECT person FROM bill WHERE total > ?)", (True,)),
        ("SELECT total FROM bill WHERE total > ? + ?", (True, True)),
    ],
)
def test_a_parameter_that_meets_a_masked_column_is_not_kept(
    text: str, kept: tuple[bool, ...]
) -> None:
    """A masked value isn't written down because somebody searched for it."""
    assert Planner(SCHEMA, POLICY).entry(text).plan.parameters == kept


def test_script_is_split_where_sqlite_splits_it() -> None:
    """A trigger's body is part of its statement; strings and comments hide semicolons."""
    script = """
    INSERT INTO a VALUES (';'); -- ;
    CREATE TRIGGER t AFTER INSERT ON a BEGIN
        INSERT INTO b VALUES (1); SELECT 2;
    END;
    SELECT 3
    """
    assert [text.split()[0] for text in split_statements(script)] == ["INSERT", "CREATE", "SELECT"]


_NATIVE = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False).filter(lambda real: real != 0),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(_NATIVE, _NATIVE), min_size=1, max_size=5))
def test_keys_in_an_array_come_back_bit_for_bit(rows: list[keys.Key]) -> None:
    """Every value that SQLite holds survives being gathered into an array of keys."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    stored = connection.execute("SELECT a, b FROM t").fetchall()

    plain = connection.execute(
        f"SELECT {keys.any_array(('a', 'b'), guarded=False, missing=())} FROM t"
    ).fetchone()[0]
    guarded = connection.execute(
        f"SELECT {keys.any_array(('a', 'b'), guarded=True, missing=())} FROM "
        f"(SELECT {keys.guarded_column('a')} AS a, {keys.guarded_column('b')} AS b FROM t)"
    ).fetchone()[0]
    connection.close()

    expected = list(dict.fromkeys(map(repr, stored)))
    assert list(map(repr, keys.parse_any_array(plain))) == expected
    assert list(map(repr, keys.parse_any_array(guarded))) == expected
