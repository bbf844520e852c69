"""Values keep every bit, whatever their type and whatever the session's settings."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.capture.writes.folding import event_of, fold
from tests.servers import Database, PostgresServer

from indelible.capture.postgres.values import format_record, parse_record, text_of, value_of
from indelible.events.values import TypedValue, format_id

from .capturing import Captured

VALUES = (
    ("boolean", "true"),
    ("smallint", "-32768"),
    ("bigint", "9223372036854775807"),
    ("numeric", "'NaN'"),
    ("numeric", "'Infinity'"),
    ("numeric", "1e-300"),
    ("numeric(20,5)", "1.50000"),
    ("real", "0.1"),
    ("double precision", "0.1::float8 + 0.2"),
    ("double precision", "'-0'"),
    ("double precision", "'NaN'"),
    ("double precision", "'-Infinity'"),
    ("money", "'1234.56'"),
    ("text", "E'a\\nb\\t\"c\"\\\\(,)\U0001f40d'"),
    ("text", "''"),
    ("varchar(9)", "' x '"),
    ("character(5)", "'ab'"),
    ("name", "'n'"),
    ('"char"', "'c'"),
    ("bytea", "'\\x00ff'"),
    ("timestamp", "'infinity'"),
    ("timestamptz", "'2026-03-29 02:30:00.123456+02'"),
    ("timestamptz", "'-infinity'"),
    ("date", "'4713-01-01 BC'"),
    ("time", "'24:00:00'"),
    ("timetz", "'12:00+05:30'"),
    ("interval", "'-1 year 2 days -03:00:00.000001'"),
    ("uuid", "'0190f3c1-0000-7000-8000-000000000001'"),
    ("json", '\'{"a" :  1, "a": 2}\''),
    ("jsonb", '\'{"b": [1, null, "x\\"y"]}\''),
    ("xml", "'<a b=\"c\">&amp;</a>'"),
    ("inet", "'192.168.0.1/24'"),
    ("cidr", "'10.0.0.0/8'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("bit(5)", "B'10101'"),
    ("bit varying", "B''"),
    ("tsvector", "'a:1A ''b c'':2'"),
    ("tsquery", "'a & !b'"),
    ("point", "'(1.1,-0)'"),
    ("int4range", "'[1,5)'"),
    ("int4range", "'empty'"),
    ("tstzrange", "'[2026-01-01 00:00+01,infinity)'"),
    ("nummultirange", "'{[1,2),[5,6)}'"),
    ("integer[]", "'{{1,2},{3,NULL}}'"),
    ("integer[]", "'[0:1]={1,2}'"),
    ("text[]", "ARRAY['a,b', '\"', NULL, '']"),
    ("mood", "'so so'"),
    ("pair", "ROW(1, 'a\"b,c')"),
    ("pair[]", "ARRAY[ROW(1, NULL)::pair, NULL]"),
    ("positive", "7"),
    ("label", "'x'"),
    ("pg_lsn", "'16/B374D848'"),
    ("regclass", "'mood_table'"),
    ("jsonpath", "'$.a[*]'"),
)
TYPES = (
    "CREATE TYPE mood AS ENUM ('so so', 'fine')",
    "CREATE TYPE pair AS (a integer, b text)",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE DOMAIN label AS text",
    "CREATE TABLE mood_table (m mood PRIMARY KEY)",
)


def test_every_type_keeps_every_bit(database: Database) -> None:
    """What the trail holds, cast back by the server, is the row that was written."""
    columns = ", ".join(f"c{n} {type_}" for n, (type_, _) in enumerate(VALUES))
    database.execute(*TYPES, f"CREATE TABLE t (id integer PRIMARY KEY, {columns})")
    captured = Captured(database)
    odd = (
        "SET DateStyle = 'SQL, DMY'",
        "SET IntervalStyle = 'sql_standard'",
        "SET TimeZone = 'Asia/Kolkata'",
        "SET bytea_output = 'escape'",
        "SET extra_float_digits = -10",
        "SET quote_all_identifiers = on",
    )
    values = ", ".join(value for _, value in VALUES)
    with contextlib.closing(database.connect()) as connection:
        connection.execute(f"INSERT INTO t VALUES (1, {values})")
        for statement in odd:
            connection.execute(statement)
        connection.execute(f"INSERT INTO t VALUES (2, {values})")

    one, two = (event_of(event.draft).changes for event in captured.decoded().events)
    assert one is not None and two is not None
    for n, (type_, _) in enumerate(VALUES):
        name = f"c{n}"
        if type_ not in ("timestamp", "timestamptz", "date", "time", "timetz", "interval", "point"):
            assert one[name] == two[name], type_
        text = text_of(one[name][1])
        with contextlib.closing(database.connect()) as connection:
            row = connection.execute(
                f"SELECT ROW({name})::text, ROW(CAST(%s::text AS {type_}))::text FROM t"
                " WHERE id = 1",
                (text,),
            ).fetchone()
        assert row is not None
        assert row[0] == row[1], type_
    assert fold(captured.drafts()) == captured.live()


def test_plain_values_are_plain() -> None:
    """Nulls, booleans, integers and texts need no type beside them."""
    assert value_of("bool", "t") is True
    assert value_of("int8", "7") == 7
    assert value_of("int8", "9007199254740993") == TypedValue("int", "9007199254740993")
    assert value_of("bpchar", "ab   ") == "ab   "
    assert value_of("uuid", None) is None
    assert value_of("numeric", "1.50") == TypedValue("pg:numeric", "1.50")


def test_ids_go_by_what_a_person_types() -> None:
    """A UUID names its row as it is written, alone or in a composite key."""
    assert format_id((TypedValue("pg:uuid", "0190-a"),)) == "0190-a"
    assert format_id((TypedValue("pg:uuid", "0190-a"), 3)) == json.dumps(["0190-a", 3]).replace(
        " ", ""
    )


TEXTS = st.none() | st.text(st.characters(blacklist_characters="\0", codec="utf-8"))


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer):  # type: ignore[no-untyped-def]
    with contextlib.closing(postgres.connect("postgres", "postgres")) as found:
        yield found


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(TEXTS | st.text('",()\\ \n\t{}'), min_size=1, max_size=6))
def test_a_rows_text_form_is_read_as_the_server_means_it(connection, fields) -> None:  # type: ignore[no-untyped-def]
    """Whatever characters are in them, fields come out as they went in, and go back."""
    row = connection.execute(
        f"SELECT ROW({', '.join(['%s::text'] * len(fields))})::text", fields
    ).fetchone()
    assert parse_record(row[0], len(fields)) == fields
    assert format_record(fields) == row[0]
