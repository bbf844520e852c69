"""Paths of writes through each driver: everything that an application sees of them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import aiomysql
import asyncpg
import MySQLdb
import psycopg
import psycopg2
import pymysql
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.capture.mariadb.alone import options_of

from indelible.capture import aiomysql as captured_aiomysql
from indelible.capture import asyncpg as captured_asyncpg
from indelible.capture import mysqlclient as captured_mysqlclient
from indelible.capture import psycopg as captured_psycopg
from indelible.capture import psycopg2 as captured_psycopg2
from indelible.capture import pymysql as captured_pymysql
from indelible.capture import sqlite3 as captured_sqlite3
from indelible.capture.mysqlclient_wire import MysqlclientWire
from indelible.capture.sqlalchemy import capture

from .calls import call_of
from .capturing import MemoryHost
from .paths import SQLALCHEMY, Path, seen_of

Seen = list[object]
_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA synchronous = OFF")


class Driver(Protocol):
    """A connection through one driver, or an engine's connections, one for each transaction."""

    def run(self, path: Path) -> Seen:
        """What is seen of the path: results, counts, errors and whether a transaction is open."""

    def close(self) -> None: ...


class _Alone:
    """A connection of the DB-API."""

    def __init__(
        self, name: str, connection: Any, state: Callable[[Any], object], switch: Any
    ) -> None:
        self._name = name
        self._connection = connection
        self._state = state
        self._switch_autocommit = switch

    def run(self, path: Path) -> Seen:
        self._switch_autocommit(self._connection, path.ends == "autocommit")
        cursor = self._connection.cursor()
        seen: Seen = []
        for step in self._steps(cursor, path):
            try:
                seen.append(step())
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(self._state(self._connection))
        self._connection.rollback() if path.ends == "rollback" else self._connection.commit()
        return [*seen, self._state(self._connection)]

    def _steps(self, cursor: Any, path: Path) -> Iterator[Callable[[], object]]:
        call = call_of(path, self._name)
        if call is not None:
            yield functools.partial(call, self._connection)
            return
        for statement in path.statements:
            yield functools.partial(self._told, cursor, cursor.execute, statement)
        if path.many is not None:
            sql = path.many[0].replace("{}", "?" if self._name == "sqlite3" else "%s")
            yield functools.partial(self._told, cursor, cursor.executemany, sql, path.many[1])

    def _told(self, cursor: Any, execute: Callable[..., object], *arguments: object) -> object:
        execute(*arguments)
        told: Seen = []
        is_more: object = True
        while is_more:
            rows = cursor.fetchall() if cursor.description else None
            told.append((rows, cursor.rowcount, getattr(cursor, "statusmessage", None)))
            if self._name in ("PyMySQL", "mysqlclient"):
                told.append(cursor.lastrowid)
            is_more = self._name in ("PyMySQL", "mysqlclient") and cursor.nextset()
        return told

    def close(self) -> None:
        self._connection.close()


class _AsyncAlone:
    """The same of an asynchronous driver that has cursors."""

    def __init__(
        self,
        name: str,
        connection: Any,
        state: Callable[[Any], object],
        switch: Any,
        loop: asyncio.Runner,
    ) -> None:
        self._name = name
        self._connection = connection
        self._state = state
        self._switch_autocommit = switch
        self._loop = loop

    def run(self, path: Path) -> Seen:
        return self._loop.run(self._run(path), context=contextvars.copy_context())

    async def _run(self, path: Path) -> Seen:
        connection = self._connection
        await self._switch_autocommit(connection, path.ends == "autocommit")
        cursor = connection.cursor()
        seen: Seen = []
        for step in self._steps(await cursor if inspect.isawaitable(cursor) else cursor, path):
            try:
                seen.append(await step())
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(self._state(connection))
        await (connection.rollback() if path.ends == "rollback" else connection.commit())
        return [*seen, self._state(connection)]

    def _steps(self, cursor: Any, path: Path) -> Iterator[Callable[[], Any]]:
        call = call_of(path, self._name)
        if call is not None:
            yield functools.partial(call, self._connection)
            return
        for statement in path.statements:
            yield functools.partial(self._told, cursor, cursor.execute, statement)
        if path.many is not None:
            sql, rows = path.many[0].replace("{}", "%s"), path.many[1]
            yield functools.partial(self._told, cursor, cursor.executemany, sql, rows)

    async def _told(self, cursor: Any, execute: Callable[..., Any], *arguments: object) -> object:
        with warnings.catch_warnings(record=True) as warned:  # aiomysql's, of the server's
            warnings.simplefilter("always")
            await execute(*arguments)
        rows = await cursor.fetchall() if cursor.description else None
        said = [str(each.message) for each in warned]
        return rows, cursor.rowcount, getattr(cursor, "statusmessage", None), said

    def close(self) -> None:
        self._loop.run(_awaited(self._connection.close()))


class _Asyncpg:
    def __init__(self, connection: Any, loop: asyncio.Runner) -> None:
        self._connection = connection
        self._loop = loop

    def run(self, path: Path) -> Seen:
        return self._loop.run(self._run(path), context=contextvars.copy_context())

    async def _run(self, path: Path) -> Seen:
        connection = self._connection
        transaction = None if path.ends == "autocommit" else connection.transaction()
        if transaction is not None:
            await transaction.start()
        seen: Seen = []
        for step in self._steps(path):
            try:
                result = await step()
                seen.append([tuple(row) for row in result] if isinstance(result, list) else result)
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(connection.is_in_transaction())
        if transaction is not None:
            await (transaction.rollback() if path.ends == "rollback" else transaction.commit())
        return [*seen, connection.is_in_transaction()]

    def _steps(self, path: Path) -> Iterator[Callable[[], Any]]:
        call = call_of(path, "asyncpg")
        if call is not None:
            yield functools.partial(call, self._connection)
            return
        for statement in path.statements:
            yield functools.partial(self._connection.fetch, statement)
        if path.many is not None:
            sql = path.many[0].replace("{}", "${}").format(1, 2)
            yield functools.partial(self._connection.executemany, sql, path.many[1])

    def close(self) -> None:
        self._loop.run(self._connection.close())


class _Sqlalchemy:
    def __init__(self, engine: Engine | AsyncEngine, loop: asyncio.Runner) -> None:
        self._engine = engine
        self._loop = loop

    def run(self, path: Path) -> Seen:
        if isinstance(self._engine, Engine):
            with self._engine.connect() as connection:
                return self._seen(connection, path)
        return self._loop.run(self._run(path), context=contextvars.copy_context())

    async def _run(self, path: Path) -> Seen:
        assert isinstance(self._engine, AsyncEngine)
        async with self._engine.connect() as connection:
            return await connection.run_sync(self._seen, path)

    def _seen(self, connection: Connection, path: Path) -> Seen:
        if path.ends == "autocommit":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        seen: Seen = []
        for step in self._steps(connection, path):
            try:
                result: Any = step()
                if hasattr(result, "returns_rows"):
                    rows = result.all() if result.returns_rows else None
                    result = repr(rows), result.rowcount
                seen.append(result)
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(connection.in_transaction())
        connection.rollback() if path.ends == "rollback" else connection.commit()
        return [*seen, connection.in_transaction()]

    def _steps(self, connection: Connection, path: Path) -> Iterator[Callable[[], Any]]:
        call = call_of(path, SQLALCHEMY[0])
        if call is not None:
            yield functools.partial(call, connection)
            return
        for statement in path.statements:
            yield functools.partial(connection.exec_driver_sql, statement)
        if path.many is not None:
            sql, rows = path.many
            names = [f"p{place}" for place in range(sql.count("{}"))]
            named = text(sql.format(*(f":{name}" for name in names)))
            given = [dict(zip(names, row, strict=True)) for row in rows]
            yield functools.partial(connection.execute, named, given)

    def close(self) -> None:
        if isinstance(self._engine, Engine):
            self._engine.dispose()
        else:
            self._loop.run(self._engine.dispose())


def _sqlalchemy(name: str, *, is_async: bool = False) -> Callable[..., Driver]:
    def make(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
        url = url.replace("://", f"+{name}://", 1) if "://" in url else f"sqlite+{name}:///{url}"
        engine: Any = create_async_engine(url) if is_async else create_engine(url)
        if name in ("pysqlite", "aiosqlite"):
            on = engine.sync_engine if is_async else engine
            event.listen(on, "connect", _set_up)
        if host is not None:
            capture(engine, host)
        return _Sqlalchemy(engine, loop)

    return make


def _set_up(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _sqlite3(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    connection = sqlite3.connect(url) if host is None else captured_sqlite3.connect(url, trail=host)
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return _Alone("sqlite3", connection, lambda it: it.in_transaction, _switch_sqlite3)


def _switch_sqlite3(connection: sqlite3.Connection, is_on: bool) -> None:
    connection.isolation_level = None if is_on else "DEFERRED"


def _switch_psycopg(connection: Any, is_on: bool) -> None:
    connection.autocommit = is_on


def _psycopg(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    it = psycopg.connect(url) if host is None else captured_psycopg.connect(url, trail=host)
    return _Alone("psycopg", it, lambda it: it.info.transaction_status, _switch_psycopg)


def _psycopg_async(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    plain = psycopg.AsyncConnection.connect
    it = plain(url) if host is None else captured_psycopg.connect_async(url, trail=host)
    state: Any = lambda it: it.info.transaction_status  # noqa: E731
    switch: Any = lambda it, is_on: it.set_autocommit(is_on)  # noqa: E731
    return _AsyncAlone("psycopg, async", loop.run(_awaited(it)), state, switch, loop)


def _psycopg2(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    it = psycopg2.connect(url) if host is None else captured_psycopg2.connect(url, trail=host)
    return _Alone("psycopg2", it, lambda it: it.info.transaction_status, _switch_psycopg)


def _asyncpg(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    it = asyncpg.connect(url) if host is None else captured_asyncpg.connect(url, trail=host)
    return _Asyncpg(loop.run(_awaited(it)), loop)


def _pymysql(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    options = options_of(url, local_infile=True)
    options["database"] = options.pop("db")
    plain, captured = pymysql.connect, captured_pymysql.connect
    it = plain(**options) if host is None else captured(**options, trail=host)
    return _Alone("PyMySQL", it, lambda it: it.server_status & 1, _switch_mariadb)


def _mysqlclient(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    options = options_of(url, local_infile=1)
    plain, captured = MySQLdb.connect, captured_mysqlclient.connect
    it = plain(**options) if host is None else captured(**options, trail=host)
    return _Alone("mysqlclient", it, lambda it: MysqlclientWire(it).is_idle, _switch_mariadb)


def _aiomysql(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    options = options_of(url, local_infile=True)
    plain, captured = aiomysql.connect, captured_aiomysql.connect
    it = loop.run(_awaited(plain(**options) if host is None else captured(**options, trail=host)))
    return _AsyncAlone(
        "aiomysql", it, lambda it: it.get_transaction_status(), _switch_mariadb, loop
    )


def _switch_mariadb(connection: Any, is_on: bool) -> Any:
    return connection.autocommit(is_on)


async def _awaited(it: Any) -> Any:
    return await it if inspect.isawaitable(it) else it


SQLITE_DRIVERS: dict[str, Callable[..., Driver]] = {
    "sqlite3": _sqlite3,
    "SQLAlchemy, pysqlite": _sqlalchemy("pysqlite"),
    "SQLAlchemy, aiosqlite": _sqlalchemy("aiosqlite", is_async=True),
}
POSTGRES_DRIVERS: dict[str, Callable[..., Driver]] = {
    "psycopg": _psycopg,
    "psycopg, async": _psycopg_async,
    "psycopg2": _psycopg2,
    "asyncpg": _asyncpg,
    "SQLAlchemy, psycopg": _sqlalchemy("psycopg"),
    "SQLAlchemy, psycopg async": _sqlalchemy("psycopg", is_async=True),
    "SQLAlchemy, psycopg2": _sqlalchemy("psycopg2"),
    "SQLAlchemy, asyncpg": _sqlalchemy("asyncpg", is_async=True),
}
MARIADB_DRIVERS: dict[str, Callable[..., Driver]] = {
    "PyMySQL": _pymysql,
    "mysqlclient": _mysqlclient,
    "aiomysql": _aiomysql,
    "SQLAlchemy, PyMySQL": _sqlalchemy("pymysql"),
    "SQLAlchemy, mysqlclient": _sqlalchemy("mysqldb"),
    "SQLAlchemy, aiomysql": _sqlalchemy("aiomysql", is_async=True),
}
