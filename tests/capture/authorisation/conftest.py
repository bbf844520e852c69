"""Fixtures: a database of customers and invoices under capture, and its trail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from indelible import Trail
from indelible.capture.sqlalchemy import capture

POLICY = """
[trail]
url = "sqlite:///trail.db"
[tables.customer]
subject = "self"
[tables.invoice]
subject = "customer_id -> customer"
"""


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    (tmp_path / "indelible.toml").write_text(POLICY)
    with Trail.create(tmp_path / "indelible.toml") as trail:
        yield trail


@pytest.fixture
def engine(trail: Trail, tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT)"))
        connection.execute(
            text(
                "CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer_id INTEGER, total INTEGER)"
            )
        )
        connection.execute(text("INSERT INTO customer VALUES (1, 'Zara'), (2, 'Yan')"))
        connection.execute(text("INSERT INTO invoice VALUES (93, 1, 120), (94, 2, 50), (95, 1, 7)"))
    capture(engine, trail)
    yield engine
    engine.dispose()


@pytest.fixture
def read(engine: Engine) -> Callable[..., list[int]]:
    """The totals of these invoices."""

    def read(*ids: int) -> list[int]:
        chosen = ", ".join(map(str, ids))
        with engine.connect() as connection:
            sql = f"SELECT total FROM invoice WHERE id IN ({chosen}) ORDER BY id"
            return list(connection.execute(text(sql)).scalars())

    return read


@pytest.fixture
def pay(engine: Engine) -> Callable[[int], None]:
    """Set an invoice's total to nothing."""

    def pay(id_: int) -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE invoice SET total = 0 WHERE id = :id"), {"id": id_})

    return pay
