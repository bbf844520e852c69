"""Each driver for MariaDB alone, without capture and with: what it says of one statement."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import warnings
from collections.abc import Mapping
from typing import Any, Final

import aiomysql
import MySQLdb
import pymysql
from pymysql.constants import FIELD_TYPE
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.capture.postgres.alone import Said, formatted
from tests.capture.postgres.reading import TRUDY
from tests.capture.postgres.shapes import Shape
from tests.capture.reads.host import MemoryHost

from indelible.capture import aiomysql as captured_aiomysql
from indelible.capture import mysqlclient as captured_mysqlclient
from indelible.capture import pymysql as captured_pymysql
from indelible.capture.sqlalchemy import capture
from indelible.events.context import acting_as


def options_of(url: str, **more: object) -> dict[str, Any]:
    parts = make_url(url)
    return {
        "host": parts.host,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "db": parts.database,
        "charset": "utf8mb4",
        **more,
    }


async def pymysql_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    options = options_of(url)
    options["database"] = options.pop("db")
    if host is None:
        return _said(pymysql.connect(**options), sql, parameters)
    return _said(captured_pymysql.connect(**options, trail=host), sql, parameters)


async def mysqlclient_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    if host is None:
        return _said(MySQLdb.connect(**options_of(url)), sql, parameters)
    return _said(captured_mysqlclient.connect(**options_of(url), trail=host), sql, parameters)


async def aiomysql_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    if host is None:
        connecting = aiomysql.connect(**options_of(url))
    else:
        connecting = captured_aiomysql.connect(**options_of(url), trail=host)
    async with connecting as connection, connection.cursor() as cursor:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            await cursor.execute(formatted(sql), dict(parameters))
        rows = await cursor.fetchall()
        return repr(rows), cursor.description, cursor.rowcount, [str(one.message) for one in warned]


async def sqlalchemy_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    """On mysqlclient."""
    engine = create_engine(make_url(url).set(drivername="mysql+mysqldb"))
    if host is not None:
        capture(engine, host)
    with contextlib.closing(engine.connect()) as connection:
        result = connection.execute(text(sql), parameters)
        said = repr(result.all()), tuple(result.keys()), result.rowcount
    engine.dispose()
    return said


def _said(made: Any, sql: str, parameters: Mapping[str, object]) -> object:
    with contextlib.closing(made) as connection, connection.cursor() as cursor:
        cursor.execute(formatted(sql), dict(parameters))
        return repr(cursor.fetchall()), cursor.description, cursor.rowcount


def says_the_same(
    say: Said, url: str, host: MemoryHost, shape: Shape, loop: asyncio.Runner
) -> None:
    """Captured, as Trudy, or not. A column may be told to hold NULL that doesn't: the server says
    so of what it keeps in a table of its own meanwhile, and of texts there that they have decimals.
    """
    expected = loop.run(say(url, None, shape.sql, shape.parameters))
    with acting_as(TRUDY):
        context = contextvars.copy_context()
        seen = loop.run(say(url, host, shape.sql, shape.parameters), context=context)
    assert isinstance(expected, tuple) and isinstance(seen, tuple)
    told = list(map(_as_it_may_be_told, expected[1], seen[1]))
    assert (seen[0], list(seen[1]), seen[2:]) == (expected[0], told, expected[2:])


def _as_it_may_be_told(column: Any, seen: Any) -> Any:
    if not isinstance(column, tuple):
        return column
    decimals = seen[5] if column[1] == FIELD_TYPE.VAR_STRING else column[5]
    return (*column[:5], decimals, column[6] or seen[6])


ALONE: Final[Mapping[str, Said]] = {
    "pymysql": pymysql_says,
    "mysqlclient": mysqlclient_says,
    "aiomysql": aiomysql_says,
    "sqlalchemy-mysqldb": sqlalchemy_says,
}
