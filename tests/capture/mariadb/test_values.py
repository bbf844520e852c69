"""Values keep every bit, whatever their type and whatever the session's settings."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.capture.writes.folding import event_of, fold
from tests.mariadb_server import MariadbDatabase, MariadbServer

from indelible.capture.mariadb.values import parameter_of, parse_image, value_of
from indelible.errors import MalformedEventError
from indelible.events.values import ABSENT, TypedValue

from .capturing import Captured

VALUES = (
    ("TINYINT", "-128"),
    ("TINYINT(1)", "1"),
    ("BIGINT", "-9223372036854775808"),
    ("BIGINT UNSIGNED", "18446744073709551615"),
    ("INT(8) UNSIGNED ZEROFILL", "42"),
    ("DECIMAL(30,10)", "12345678901234567890.0123456789"),
    ("DECIMAL(5,2)", "-0.50"),
    ("FLOAT", "0.1"),
    ("FLOAT", "3.4028234e38"),
    ("FLOAT(10,2)", "0.1"),
    ("DOUBLE", "0.1e0 + 0.2e0"),
    ("DOUBLE", "-0e0"),
    ("DOUBLE", "2.2250738585072014e-308"),
    ("DOUBLE", "1.7976931348623157e308"),
    ("BIT(1)", "b'1'"),
    ("BIT(64)", "b'1111111111111111111111111111111111111111111111111111111111111111'"),
    ("DATE", "'0000-00-00'"),
    ("DATE", "'2026-02-00'"),
    ("DATETIME", "'9999-12-31 23:59:59'"),
    ("DATETIME(6)", "'2026-03-29 02:30:00.000001'"),
    ("TIMESTAMP NULL", "FROM_UNIXTIME(1792891800)"),
    ("TIMESTAMP(6) NULL", "FROM_UNIXTIME(1792888200.123456)"),
    ("TIMESTAMP NULL", "'0000-00-00 00:00:00'"),
    ("TIME(3)", "'-838:59:58.999'"),
    ("YEAR", "0"),
    ("YEAR", "2155"),
    ("CHAR(9)", "' x '"),
    ("VARCHAR(99)", "'a,b:c''\\\\\"\\n\\t\\0\U0001f40d'"),
    ("VARCHAR(9)", "''"),
    ("VARCHAR(9) CHARACTER SET latin1", "'é€'"),
    ("VARCHAR(9) CHARACTER SET sjis", "'表'"),
    ("VARCHAR(9) CHARACTER SET utf16", "'a\U0001f40d,'"),
    ("VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'A'"),
    ("TEXT", "REPEAT('ä', 1000)"),
    ("LONGTEXT", "'!'"),
    ("BINARY(4)", "X'00FF'"),
    ("VARBINARY(9)", "X''"),
    ("BLOB", "X'0027225C0A2C'"),
    ("ENUM('so so','fi,ne','')", "'fi,ne'"),
    ("ENUM('so so','fine','')", "''"),
    ("SET('a','b','c')", "'a,c'"),
    ("SET('a','b')", "''"),
    ("JSON", '\'{"a" :  1, "a": [null, "x\\\\"y"]}\''),
    ("UUID", "'0190f3c1-0000-7000-8000-000000000001'"),
    ("INET4", "'192.168.0.1'"),
    ("INET6", "'2001:db8::1'"),
    ("GEOMETRY", "ST_GeomFromText('POINT(1.1 -0)', 4326)"),
    ("POLYGON", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"),
)


@pytest.mark.parametrize(("type_", "literal"), VALUES)
def test_every_type_comes_back_bit_by_bit(
    mariadb_database: MariadbDatabase, type_: str, literal: str
) -> None:
    """Captured in one strange session, read in another, written again: the same bytes."""
    mariadb_database.execute(f"CREATE TABLE thing (id INT PRIMARY KEY, v {type_})")
    captured = Captured(mariadb_database)
    mariadb_database.execute(
        "SET time_zone = '+05:30', sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
        f"INSERT INTO thing VALUES (1, {literal}), (2, NULL)",
        "UPDATE thing SET id = 3 WHERE id = 1",
    )
    assert fold(captured.drafts()) == captured.live()
    rows = captured.live()
    value = rows["thing", (3,)]["v"]
    assert rows["thing", (2,)]["v"] is None
    with captured.ours() as connection, connection.cursor() as cursor:
        place, given_ = parameter_of(data_type(captured, cursor), value)
        cursor.execute(f"INSERT INTO thing VALUES (9, {place})", (given_,))
        cursor.execute("SELECT COUNT(DISTINCT HEX(v)) FROM thing WHERE id <> 2")
        assert cursor.fetchone() == (1,)
    assert captured.live()["thing", (9,)]["v"] == value


def data_type(captured: Captured, cursor: object) -> str:
    cursor.execute(  # type: ignore[attr-defined]
        "SELECT LOWER(DATA_TYPE) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s "
        "AND COLUMN_NAME = 'v'",
        (captured.database.name,),
    )
    return str(cursor.fetchone()[0])  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def texts(mariadb: MariadbServer) -> MariadbDatabase:
    database = MariadbDatabase(mariadb, "texts")
    database.execute("CREATE TABLE thing (id INT PRIMARY KEY, t LONGTEXT, b LONGBLOB, d DOUBLE)")
    return database


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_bytes_and_number(
    texts: MariadbDatabase, text: str, raw: bytes, number: float
) -> None:
    """Commas, colons, quotes, NUL, any plane of Unicode; every finite double (but for the sign of
    zero, which the server itself doesn't tell)."""
    number += 0.0
    captured = Captured(texts)
    position = max((row[0] for row in captured.rows()), default=0)
    with contextlib.closing(texts.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM thing")
        cursor.execute("INSERT INTO thing VALUES (1, %s, %s, %s)", (text, raw, repr(number)))
    event = event_of(captured.decoded(position).events[-1].draft)
    after = {name: pair[1] for name, pair in (event.changes or {}).items()}
    assert after["t"] == text
    assert after["b"] == value_of("blob", "x" + raw.hex())
    assert after["d"] == value_of("double", repr(number))


def test_a_row_that_is_too_large_for_a_packet_keeps_its_key(
    mariadb_database: MariadbDatabase,
) -> None:
    """The write goes through; its values are absent, and nothing is taken for NULL."""
    mariadb_database.execute("CREATE TABLE thing (id INT PRIMARY KEY, b LONGBLOB)")
    captured = Captured(mariadb_database)
    packet = 16 << 20
    mariadb_database.execute(f"INSERT INTO thing VALUES (1, REPEAT('x', {packet * 3 // 4}))")
    (event,) = captured.decoded().events
    decoded = event_of(event.draft)
    assert decoded.targets[0].ids == ((1,),)
    assert decoded.changes == {"id": (ABSENT, 1), "b": (ABSENT, ABSENT)}


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("", ["int"]),
        ("1", ["int"]),
        ("1,2,", ["int"]),
        ("3:ab,", ["text"]),
        ("1:ab,", ["text"]),
        ("x:ab,", ["text"]),
        ("-1:,", ["text"]),
        ("99:a,", ["text"]),
    ],
)
def test_what_is_no_image_is_refused(text: str, types: list[str]) -> None:
    with pytest.raises(MalformedEventError, match="expected a row's image"):
        parse_image(text, types, [])


def test_an_image_is_read_as_it_was_written() -> None:
    assert parse_image("1,5:a,b:c,,xFF,", ["int", "text", "text", "blob"], [0]) == (
        ["1", "a,b:c", None, "xFF"],
        (),
    )
    assert parse_image("!1:k,", ["int", "text"], [1]) == ([None, "k"], [0])
    assert value_of("timestamp", "0.000000") == TypedValue("my:timestamp", "0000-00-00 00:00:00")
