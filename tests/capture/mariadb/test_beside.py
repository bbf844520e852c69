"""Keys in lists, of a group or beside a statement's rows: those of what was handed out, at the same
moment, all of them, and nothing else about the statement changes."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.capture.postgres.reading import TRUDY, loop
from tests.capture.reads.host import targets

from indelible.capture.mariadb.beside import (
    parse_array,
    parse_array_of_arrays,
)
from indelible.capture.statements.plan import TooManyKeysError, UnreadableKeyError
from indelible.events.context import acting_as

from .test_reads import Shop, ask, shop

__all__ = ["loop", "shop"]

UNION = "SELECT name FROM customer WHERE id < 4 UNION SELECT v FROM word WHERE v = 3 ORDER BY 1"
COUNT = "SELECT count(*) FROM customer WHERE id > 0"
ALL = ("customer", tuple(range(1, 10)), "exact")
UNTOLD = ("customer", (), "statement")


def test_a_list_that_the_server_cuts(shop: Shop) -> None:
    """Wherever it is cut: the keys are all of them, or there are none."""
    seen = set()
    for length in range(4, 50, 3):
        limit = f"SET SESSION group_concat_max_len = {length}"
        shop.read(ask(limit, COUNT, UNION, "SELECT id, count(*) FROM customer GROUP BY id"))
        found = [one for one in shop.taken() if one[0] == "customer"]
        assert found[0] in (ALL, UNTOLD)
        assert found[1] in (("customer", (1, 2, 3), "exact"), UNTOLD)
        assert found[2] in (ALL, UNTOLD)
        seen.update(found)
    assert len(seen) == 3


def test_why_a_list_was_cut(shop: Shop) -> None:
    """It isn't taken for keys that a driver converted."""
    shop.read(ask("SET SESSION group_concat_max_len = 4", COUNT))
    (one,) = targets(shop.host.take())
    assert (one.ids, one.coverage) == ((), "statement")
    assert one.why == "more rows stand behind it than are told"


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (None, []),
        ("0 ", []),
        ("2 1;,n;", [["1"], [None]]),
        (b"1 41:7;", [["41", "7"]]),
        ("1 :n;", [["", None]]),
    ],
)
def test_what_a_list_says(value: object, keys: list[list[str | None]]) -> None:
    assert parse_array(value) == keys


@pytest.mark.parametrize("value", ["2 1;", "2 1;,2", "3 1;,2;", "1 ", "0 1;", "1 1;,", "x", ""])
def test_what_is_no_whole_list(value: str) -> None:
    with pytest.raises(TooManyKeysError):
        parse_array(value)


def test_lists_in_lists() -> None:
    """Every piece of one that is missing shows, in whichever of the lists it is."""
    whole = "2 2 1;,2;|,1 3;|"
    assert parse_array_of_arrays(whole) == [["1"], ["2"], ["3"]]
    assert parse_array_of_arrays("1 0 |") == []
    for end in range(1, len(whole)):
        with pytest.raises(TooManyKeysError):
            parse_array_of_arrays(whole[:end])
    with pytest.raises(UnreadableKeyError):
        parse_array_of_arrays(7)


def test_sums_stay_what_they_are(shop: Shop) -> None:
    """Of numbers that are rounded when they are added, the order counts: their groups stay as the
    server makes them, and the keys come from beside."""
    shop.database.execute(
        "CREATE TABLE measured (id INT PRIMARY KEY, place INT, v DOUBLE, KEY (v))",
        "INSERT INTO measured SELECT seq, seq MOD 3, IF(seq MOD 2, 1e16, 1) FROM seq_1_to_99",
        "ANALYZE TABLE measured",
    )
    shop.read(
        ask(
            "SELECT place, sum(v) FROM measured WHERE id < 90 GROUP BY place ORDER BY 1",
            "SELECT sum(v) FROM measured WHERE v > 0",
        )
    )
    found = [(set(ids), coverage) for _, ids, coverage in shop.taken()]
    assert found == [(set(range(1, 90)), "exact"), (set(range(1, 100)), "exact")]


@pytest.mark.parametrize("level", ["READ COMMITTED", "AUTOCOMMIT"])
def test_a_list_of_the_moment_of_the_rows(shop: Shop, level: str) -> None:
    """While others commit all the time: the keys are always those of the very rows that were handed
    out, though each statement has a snapshot of its own."""
    stop = threading.Event()

    def write() -> None:
        with shop.database.connect() as connection, connection.cursor() as cursor:
            number = 0
            while not stop.is_set():
                number += 1
                cursor.execute(
                    "UPDATE customer SET name = IF(MOD(id, 3) = %s, 'in', 'out')", (number % 3,)
                )
                connection.commit()

    inside = "SELECT CONCAT(id) AS id FROM customer WHERE name = 'in'"
    texts = (f"{inside} UNION SELECT 'x' ORDER BY 1", inside.replace("SELECT", "SELECT DISTINCT"))
    reader = shop.reader(is_captured=True, isolation_level=level)
    different: set[tuple[int, ...]] = set()
    thread = threading.Thread(target=write)
    thread.start()
    try:
        with acting_as(TRUDY):
            began_s = time.monotonic()
            while len(different) < 3 or time.monotonic() < began_s + 0.5:
                assert time.monotonic() < began_s + 20
                for each in texts:
                    _, (_, rows), _ = reader.run(ask(each))
                    ids = tuple(sorted(map(int, re.findall(r"'(\d)'", rows))))
                    ((kind, found, coverage),) = shop.taken()
                    assert (kind, tuple(sorted(found)), coverage) == ("customer", ids, "exact")
                    different.add(ids)
    finally:
        stop.set()
        thread.join()


def test_rows_that_are_not_all_fetched(shop: Shop) -> None:
    """The keys may be of rows that nobody got, or in a row that nobody got."""

    def first(connection: Connection) -> Any:
        return tuple(connection.execute(text(UNION)).fetchmany(1)[0])

    shop.read(first)
    assert next(one for one in shop.taken() if one[0] == "customer") in (
        ("customer", (1, 2, 3), "superset"),
        UNTOLD,
    )


def test_a_view_of_groups_that_is_replaced(shop: Shop) -> None:
    """Behind our back: no other rows are named than were handed out."""
    shop.database.execute("CREATE VIEW spent AS SELECT count(*) AS n FROM customer WHERE id < 4")
    shop.database.server.execute(f"GRANT SHOW VIEW ON {shop.database.name}.* TO app@'%'")
    shop.read(ask("SELECT n FROM spent"))
    assert shop.taken() == [("customer", (1, 2, 3), "exact")]
    shop.database.execute(
        "CREATE OR REPLACE VIEW spent AS SELECT count(*) AS n FROM customer WHERE id > 7"
    )
    shop.read(ask("SELECT n FROM spent"))
    assert shop.taken() == [UNTOLD]


def test_names_that_shadow_what_a_definition_reads(shop: Shop) -> None:
    """A named query or a temporary table of a table's name changes nothing of what a view reads."""
    shop.database.execute("CREATE VIEW spent AS SELECT count(*) AS n FROM customer WHERE id < 4")
    shop.database.server.execute(
        f"GRANT SHOW VIEW, CREATE TEMPORARY TABLES ON {shop.database.name}.* TO app@'%'"
    )
    shop.read(
        ask(
            "WITH customer AS (SELECT 70 AS id) SELECT n, id FROM spent, customer",
            "CREATE TEMPORARY TABLE customer (id INT PRIMARY KEY)",
            "INSERT INTO customer VALUES (70), (71)",
            "SELECT n FROM spent",
            "DROP TEMPORARY TABLE customer",
        )
    )
    assert {one for one in shop.taken() if one[0] == "customer"} == {UNTOLD}


def test_what_is_locked_is_not_rewritten(shop: Shop) -> None:
    """Which rows a statement locks may hang on what it asks for."""
    shop.read(
        ask(
            "SELECT count(*) FROM customer WHERE id < 4 FOR UPDATE",
            "SELECT DISTINCT name FROM customer WHERE id < 4 LOCK IN SHARE MODE",
        )
    )
    assert set(shop.taken()) == {UNTOLD}
