"""Each driver for PostgreSQL alone, without capture and with: what it says of one statement."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg
import psycopg
import psycopg2
import pytest
from tests.capture.reads.host import MemoryHost

from indelible.capture import asyncpg as captured_asyncpg
from indelible.capture import psycopg as captured_psycopg
from indelible.capture import psycopg2 as captured_psycopg2
from indelible.events.context import acting_as

from .reading import TRUDY
from .shapes import Shape

Said = Callable[[str, MemoryHost | None, str, Mapping[str, object]], Awaitable[object]]
"""Rows, columns and counts, told of a connection to a URL; captured, if there is a host."""


async def psycopg_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    make = psycopg.connect(url) if host is None else captured_psycopg.connect(url, trail=host)
    with contextlib.closing(make) as connection:
        cursor = connection.execute(formatted(sql), parameters)
        return repr(cursor.fetchall()), repr(cursor.description), cursor.rowcount


async def async_psycopg_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    connect = psycopg.AsyncConnection.connect
    if host is not None:
        connect = captured_psycopg.async_connection_class(host).connect
    connection = await connect(url)
    try:
        cursor = await connection.execute(formatted(sql), parameters)
        return repr(await cursor.fetchall()), repr(cursor.description), cursor.rowcount
    finally:
        await connection.close()


async def psycopg2_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    made = psycopg2.connect(url) if host is None else captured_psycopg2.connect(url, trail=host)
    with contextlib.closing(made) as connection, connection.cursor() as cursor:
        cursor.execute(formatted(sql), parameters)
        return repr(cursor.fetchall()), repr(cursor.description), cursor.rowcount


async def asyncpg_says(
    url: str, host: MemoryHost | None, sql: str, parameters: Mapping[str, object]
) -> object:
    if host is None:
        connection = await asyncpg.connect(url)
    else:
        connection = await captured_asyncpg.connect(url, trail=host)
    try:
        numbers = {name: number for number, name in enumerate(parameters, 1)}
        text = re.sub(r"(?<!:):(\w+)", lambda name: f"${numbers[name[1]]}", sql)
        rows = await connection.fetch(text, *parameters.values())
        statement = await connection.prepare(text)
        return repr(rows), [list(row.keys()) for row in rows[:1]], statement.get_attributes()
    finally:
        await connection.close()


def formatted(sql: str) -> Any:
    """With parameters written `%(name)s` where they are written `:name`."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", sql.replace("%", "%%"))


def each_through_one(shapes: Sequence[Shape], drivers: Iterable[str]) -> list[Any]:
    """Every shape with every driver; `make test` runs each through one, or all take minutes."""
    names = list(drivers)
    return [
        pytest.param(
            shape,
            driver,
            id=f"{shape}-{driver}",
            marks=[] if (place + number) % len(names) == 0 else pytest.mark.long,
        )
        for place, shape in enumerate(shapes)
        for number, driver in enumerate(names)
    ]


def says_the_same(
    say: Said, url: str, host: MemoryHost, shape: Shape, loop: asyncio.Runner
) -> None:
    """Captured, as Trudy, or not."""
    expected = loop.run(say(url, None, shape.sql, shape.parameters))
    with acting_as(TRUDY):
        seen = loop.run(
            say(url, host, shape.sql, shape.parameters), context=contextvars.copy_context()
        )
    assert seen == expected


ALONE: Final[Mapping[str, Said]] = {
    "psycopg": psycopg_says,
    "psycopg-async": async_psycopg_says,
    "psycopg2": psycopg2_says,
    "asyncpg": asyncpg_says,
}


Ask = Callable[[str], Awaitable[object]]
"""The rows of a text, or the class of its error and its SQLSTATE."""


@contextlib.asynccontextmanager
async def asking(driver: str, url: str, host: MemoryHost | None) -> AsyncIterator[Ask]:
    """One connection of a driver; captured, if there is a host."""
    if driver == "asyncpg":
        plain = asyncpg.connect(url) if host is None else captured_asyncpg.connect(url, trail=host)
        connection = await plain
        try:
            yield lambda text: _said(lambda: connection.fetch(text))
        finally:
            await connection.close()
        return
    made: Any
    if driver == "psycopg-async":
        kind = psycopg.AsyncConnection
        kind = kind if host is None else captured_psycopg.async_connection_class(host)
        made = await kind.connect(url)
    elif driver == "psycopg2":
        made = psycopg2.connect(url) if host is None else captured_psycopg2.connect(url, trail=host)
    else:
        made = psycopg.connect(url) if host is None else captured_psycopg.connect(url, trail=host)

    async def fetch(text: str) -> Any:
        cursor = made.cursor()
        await _awaited(cursor.execute(text))
        return await _awaited(cursor.fetchall()) if cursor.description else []

    yield lambda text: _said(lambda: fetch(text))
    await _awaited(made.close())


async def _said(ask: Callable[[], Awaitable[Any]]) -> object:
    try:
        return [tuple(row) for row in await ask()]
    except Exception as error:
        sqlstate = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return type(error), sqlstate


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
