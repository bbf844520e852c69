"""A trail that nobody uses any more is gone, with all that capture made for it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from psycopg2 import extensions
from tests.capture.reads.host import MemoryHost, make_database

from indelible import Trail
from indelible.capture import asyncpg, mysql_connections, psycopg, psycopg2, sqlite3
from indelible.policy.load import parse_policy

CONFIG = '[trail]\nurl = "sqlite:///trail.db"\n[database]\nurl = "{}"\n'
Make = Callable[[Any], object]


@pytest.mark.parametrize(
    ("scheme", "make"),
    [
        ("postgresql", psycopg.connection_class),
        ("postgresql", psycopg.async_connection_class),
        ("postgresql", psycopg2.connection_class),
        ("postgresql", asyncpg.connection_class),
        ("mariadb", lambda host: mysql_connections.class_for(host, pymysql.Connection)),
    ],
    ids=["psycopg", "psycopg async", "psycopg2", "asyncpg", "pymysql"],
)
def test_classes_go_with_their_trail(scheme: str, make: Make) -> None:
    """Made once for each, and held by nothing else."""
    host = MemoryHost(parse_policy(CONFIG.format(f"{scheme}://app@localhost/shop")))
    other = MemoryHost(host.policy)
    assert make(host) is make(host) is not make(other)
    gone = weakref.ref(host)
    del host
    gc.collect()
    assert gone() is None
    assert make(other) is make(other)


def test_psycopg2_has_one_for_each_class_of_the_application() -> None:
    class Own(extensions.connection):
        pass

    host = MemoryHost(parse_policy(CONFIG.format("postgresql://app@localhost/shop")))
    own, plain = psycopg2.connection_class(host, Own), psycopg2.connection_class(host)
    assert own is psycopg2.connection_class(host, Own)
    assert issubclass(own, Own) and issubclass(own, plain) and not issubclass(plain, Own)


def test_an_embedded_trail_goes(tmp_path: Path) -> None:
    """What its connections share refers to it."""
    make_database(tmp_path / "shop.db")
    config = tmp_path / "indelible.toml"
    config.write_text(CONFIG.format("sqlite:///shop.db"))
    with Trail.create(config) as trail:
        with closing(sqlite3.connect(tmp_path / "shop.db", trail=trail)) as connection:
            connection.execute("SELECT * FROM Customer").fetchall()
        gone = weakref.ref(trail)
    del connection, trail
    gc.collect()
    assert gone() is None
