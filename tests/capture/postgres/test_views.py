"""Views that hand out their tables' keys: what they mean may change, and who may read them differ.
The application must see none of it, and no row may be named that wasn't handed out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from sqlalchemy import Connection, text

from indelible.events.context import acting_as

from .reading import DRIVERS, TRUDY, Reader, loop
from .test_reads import Shop, ask, shop

__all__ = ["loop", "shop"]

pytestmark = pytest.mark.parametrize(
    "shop",
    [
        # The others go the same way.
        pytest.param(it, marks=[] if it is DRIVERS[0] else pytest.mark.long)
        for it in DRIVERS
    ],
    ids=lambda it: f"{it[0]}{'-async' * it[1]}",
    indirect=True,
)

FEW = "CREATE VIEW few AS SELECT id, name FROM customer WHERE id < 4"
MOVED = "CREATE OR REPLACE VIEW few AS SELECT id + 100 AS id, name FROM customer WHERE id < 4"
OTHERS = MOVED.replace("id < 4", "id > 6")
READ = "SELECT name FROM few ORDER BY name"
THREE = ("customer", (1, 2, 3), "exact")
UNTOLD = ("customer", (), "statement")


def make(shop: Shop, *statements: str) -> None:
    shop.database.execute(*statements)
    shop.database.grant()


def test_a_role_that_may_read_the_view_alone(shop: Shop) -> None:
    """The view gives the keys, so no right to its table is needed; without one to its column of
    keys the read goes on, by statement."""
    make(shop, FEW)
    shop.database.execute("REVOKE ALL ON customer FROM app")
    shop.read(ask(READ, "SELECT name FROM customer"))
    assert shop.taken()[0] == THREE
    shop.database.execute("REVOKE ALL ON few FROM app", "GRANT SELECT (name) ON few TO app")
    shop.read(ask(READ, "SELECT id FROM few"))
    assert shop.taken()[0] == UNTOLD


def test_row_security_under_a_view(shop: Shop) -> None:
    """The rows recorded are those that the view lets through, whoever's rights it has."""
    make(
        shop,
        FEW.replace(" AS", " WITH (security_barrier, security_invoker) AS", 1),
        "ALTER TABLE customer ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON customer FOR SELECT TO app USING (id IN (2, 9))",
    )
    shop.read(ask(READ))
    assert shop.taken() == [("customer", (2,), "exact")]


@pytest.mark.parametrize(
    "change",
    [
        (MOVED,),
        (
            "ALTER VIEW few RENAME COLUMN id TO x",
            "ALTER VIEW few RENAME COLUMN other TO id",
            "ALTER VIEW few RENAME COLUMN x TO other",
        ),
        ("DROP VIEW few", MOVED.replace("100 AS id", "100 AS id, 0 AS other")),
        ("CREATE OR REPLACE VIEW under AS SELECT id * 2 AS id, id AS other, name FROM customer",),
    ],
    ids=["replaced", "renamed", "made anew", "replaced under it"],
)
@pytest.mark.parametrize("times", [1, 8])
def test_a_view_that_changed_names_no_other_rows(
    shop: Shop, change: tuple[str, ...], times: int
) -> None:
    """Also where the server has the statement prepared: what it hands out then isn't known, and is
    again once we have looked."""
    if "under" in change[0]:
        make(
            shop,
            "CREATE VIEW under AS SELECT id, id + 50 AS other, name FROM customer",
            FEW.replace("name FROM customer", "other, name FROM under"),
        )
    elif len(change) == 1:
        make(shop, FEW)
    else:
        make(shop, FEW.replace("id, name", "id, id + 50 AS other, name"))
    shop.read(ask(*[READ] * times))
    assert set(shop.taken()) == {THREE}

    make(shop, *change)

    shop.read(ask(READ, READ))
    assert set(shop.taken()) == {UNTOLD}
    make(shop, "DROP VIEW few", FEW)
    shop.read(ask("SELECT 1 FROM nothing_of_that_name", READ))  # what isn't known lets us look
    assert shop.taken()[-1] == THREE


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_view_that_changed_after_the_snapshot(shop: Shop, level: str) -> None:
    """The server takes the new definition for the old rows: they aren't taken for others."""
    make(shop, FEW)
    shop.read(ask(READ))
    assert shop.taken() == [THREE]
    with acting_as(TRUDY):

        def work(connection: Connection) -> Any:
            connection.execution_options(isolation_level=level)
            connection.execute(text("SELECT 1 FROM b.customer")).all()
            make(shop, MOVED)
            return connection.execute(text("SELECT id, name FROM few ORDER BY 1")).all()

        assert [tuple(row) for row in shop.captured.run(work)] == [
            (101, "n1"), (102, "n2"), (103, "n3"),
        ]  # fmt: skip
    assert shop.taken()[-1] == UNTOLD


def test_a_look_waits_for_no_lock(shop: Shop) -> None:
    """The server locks what a view reads to write its definition down: one that somebody else has
    locked for longer goes by statement until we look again, the others don't."""
    make(shop, FEW, "CREATE VIEW all_of_it AS SELECT id, v FROM vault")
    with shop.database.connect() as other, other.transaction():
        other.execute("LOCK TABLE customer IN ACCESS EXCLUSIVE MODE")
        began_s = time.monotonic()
        shop.read(ask("SELECT v FROM all_of_it WHERE id = 1"))
        assert time.monotonic() - began_s < 10
    assert ("vault", (1,), "exact") in shop.taken()
    shop.read(ask(READ, "SELECT 1 FROM nothing_of_that_name", f"{READ} -- again"))
    assert shop.taken() == [UNTOLD, THREE]


def test_temporary_views_and_other_schemas(shop: Shop) -> None:
    """A name means the view that the session's search path finds."""
    make(
        shop,
        FEW,
        "CREATE VIEW b.few AS SELECT id, name FROM b.customer",
        "GRANT SELECT ON b.few TO app",
    )
    shop.read(
        ask(
            READ,
            "SET search_path = b, public",
            READ,
            "SELECT name FROM public.few ORDER BY 1",
            "RESET search_path",
            "CREATE TEMP VIEW few AS SELECT 7 AS id, 'x' AS name",
            READ,
            "DROP VIEW pg_temp.few",
            READ,
        )
    )
    found = shop.taken()
    assert found[:3] == [THREE, ("b.customer", (100,), "exact"), THREE]
    assert all(coverage == "statement" for _, _, coverage in found[3:-1])
    assert found[-1] == THREE


class Changing(Protocol):
    """A captured reader of a database of either server, and what was recorded of it."""

    @property
    def captured(self) -> Reader: ...
    def taken(self) -> list[tuple[str, tuple[Any, ...], str]]: ...


def check_while_it_changes(shop: Changing, change: Callable[[], None]) -> None:
    """While `change` has the view `few` be of `OTHERS` and back, exact is only what is."""
    stop = threading.Event()

    def keep_changing() -> None:
        while not stop.is_set():
            change()

    thread = threading.Thread(target=keep_changing)
    seen: Counter[tuple[tuple[int, ...], str]] = Counter()
    thread.start()
    try:
        with acting_as(TRUDY):
            began_s = time.monotonic()
            while len(seen) < 2 or time.monotonic() < began_s + 0.5:
                assert time.monotonic() < began_s + 20
                ids = shop.captured.run(_ids)
                ((_, told, coverage),) = shop.taken()
                rows = {(1, 2, 3): (1, 2, 3), (107, 108, 109): (7, 8, 9)}[tuple(ids)]
                assert told == (rows if coverage == "exact" else ())
                seen[rows, coverage] += 1
    finally:
        stop.set()
        thread.join()


def _ids(connection: Connection) -> list[int]:
    rows = connection.execute(text("SELECT id, name FROM few ORDER BY 1")).all()
    return [row.id for row in rows]


def test_views_that_change_all_the_time(shop: Shop) -> None:
    """Another session replaces a view as fast as it can."""
    make(shop, FEW)

    def change() -> None:
        for definition in (OTHERS, FEW.replace("CREATE", "CREATE OR REPLACE")):
            shop.database.execute(definition)
            time.sleep(0.002)

    check_while_it_changes(shop, change)
