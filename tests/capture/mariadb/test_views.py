"""Views that hand out their tables' keys: what they mean may change, and who may read them differ.
The application must see none of it, and no row may be named that wasn't handed out."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.capture.postgres.reading import TRUDY, loop
from tests.capture.postgres.test_views import check_while_it_changes

from indelible.events.context import acting_as

from .reading import DRIVERS
from .test_reads import BY_STATEMENT, Shop, ask, shop

__all__ = ["loop", "shop"]

pytestmark = pytest.mark.parametrize(
    "shop",
    # The other goes the same way.
    [DRIVERS[0], pytest.param(DRIVERS[1], marks=pytest.mark.long)],
    ids=lambda it: it[0],
    indirect=True,
)

FEW = "CREATE OR REPLACE VIEW few AS SELECT id, name FROM customer WHERE id < 4"
MOVED = "CREATE OR REPLACE VIEW few AS SELECT id + 100 AS id, name FROM customer WHERE id < 4"
OTHERS = MOVED.replace("id < 4", "id > 6")
READ = "SELECT name FROM few ORDER BY name"
THREE = ("customer", (1, 2, 3), "exact")


def make(shop: Shop, *statements: str) -> None:
    shop.database.execute(*statements)
    shop.database.server.execute(f"GRANT SHOW VIEW ON {shop.database.name}.* TO app@'%'")


def test_a_role_that_may_not_see_into_a_view_reads_on(shop: Shop) -> None:
    """By statement: the server tells it neither the definition nor how it goes about a text."""
    make(shop, FEW)
    shop.database.server.execute(f"REVOKE SHOW VIEW ON {shop.database.name}.* FROM app@'%'")
    shop.read(ask(READ, READ, READ, READ, READ))
    assert set(shop.taken()) == {BY_STATEMENT}


def test_a_role_that_may_read_the_view_alone(shop: Shop) -> None:
    """By statement, and what it reads is what it would read."""
    make(shop, FEW)
    name, server = shop.database.name, shop.database.server
    server.execute(
        f"REVOKE SELECT ON {name}.* FROM app@'%'",
        f"GRANT SELECT, SHOW VIEW ON {name}.few TO app@'%'",
    )
    try:
        shop.read(ask(READ, "SELECT name FROM customer", READ))
    finally:
        server.execute(f"REVOKE ALL ON {name}.few FROM app@'%'")
    assert {target for target in shop.taken() if target[1]} <= {THREE}


@pytest.mark.parametrize(
    "change",
    [
        MOVED,
        FEW.replace("SELECT id, name", "SELECT other AS id, name").replace("customer", "under"),
        "CREATE OR REPLACE VIEW under AS SELECT other AS id, id AS other, name FROM spare",
    ],
    ids=["replaced", "of another view", "replaced under it"],
)
def test_a_view_that_changed_names_no_other_rows(shop: Shop, change: str) -> None:
    """What it hands out then isn't known, and is again once we have looked."""
    make(
        shop,
        "CREATE TABLE spare (id INT PRIMARY KEY, other INT, name VARCHAR(20))",
        "INSERT INTO spare SELECT id, id + 50, name FROM customer",
        "CREATE VIEW under AS SELECT id, other, name FROM spare",
        FEW.replace("customer WHERE id < 4", "under WHERE name < 'n4'")
        if "under AS" in change
        else FEW,
    )
    shop.read(ask(READ, READ))
    before = shop.taken()
    assert {target[1:] for target in before} == {((1, 2, 3), "exact")}

    make(shop, change)

    shop.read(ask(READ, READ))
    assert {target[1:] for target in shop.taken()} == {((), "statement")}
    make(shop, FEW)
    shop.read(ask("SELECT 1 FROM nothing_of_that_name", READ))  # what isn't known lets us look
    assert shop.taken()[-1] == THREE


def test_a_view_that_changed_after_the_snapshot(shop: Shop) -> None:
    """The server takes the new definition for the old rows: they aren't taken for others."""
    make(shop, FEW)
    shop.read(ask(READ))
    assert shop.taken() == [THREE]

    def work(connection: Connection) -> Any:
        connection.execute(text("SELECT total FROM invoice WHERE id = 1")).all()
        make(shop, MOVED)
        return connection.execute(text("SELECT id, name FROM few ORDER BY 1")).all()

    with acting_as(TRUDY):
        seen = shop.captured.run(work)
    assert [row.id for row in seen] == [101, 102, 103]
    assert shop.taken()[-1] == BY_STATEMENT


def test_what_hides_a_view(shop: Shop) -> None:
    """A temporary table of its name, and views that are locked."""
    make(shop, FEW)
    shop.database.server.execute(
        f"GRANT LOCK TABLES, CREATE TEMPORARY TABLES ON {shop.database.name}.* TO app@'%'"
    )
    shop.read(ask("LOCK TABLES few READ", READ, "UNLOCK TABLES"))
    assert set(shop.taken()) <= {THREE, BY_STATEMENT}
    shop.read(ask("CREATE TEMPORARY TABLE few (id INT, name VARCHAR(9))", READ))
    assert set(shop.taken()) <= {BY_STATEMENT}


@pytest.mark.parametrize("mode", ["ANSI", "ORACLE", "NO_BACKSLASH_ESCAPES"])
def test_a_view_is_the_same_whatever_a_session_sets(shop: Shop, mode: str) -> None:
    make(shop, FEW)
    shop.read(ask(f"SET SESSION sql_mode = '{mode}'", READ, READ))
    assert shop.taken() == [THREE, THREE]


def test_views_that_change_all_the_time(shop: Shop) -> None:
    """Another session replaces a view as fast as it can."""
    make(shop, FEW)

    def change() -> None:
        for definition in (OTHERS, FEW):
            shop.database.execute(definition)
            time.sleep(0.002)

    check_while_it_changes(shop, change)
