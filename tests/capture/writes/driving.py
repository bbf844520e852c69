"""Paths of writes through each driver: everything that an application sees of them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import io
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import asyncpg
import psycopg
import psycopg2
import pymysql
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    column,
    create_engine,
    event,
    insert,
    table,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session, registry

from indelible.capture import asyncpg as captured_asyncpg
from indelible.capture import psycopg as captured_psycopg
from indelible.capture import psycopg2 as captured_psycopg2
from indelible.capture import pymysql as captured_pymysql
from indelible.capture import sqlite3 as captured_sqlite3
from indelible.capture.sqlalchemy import capture

from .capturing import MemoryHost
from .paths import Path, seen_of

Seen = list[object]
_Rows = Sequence[tuple[Any, ...]]
_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA synchronous = OFF")


class Driver(Protocol):
    """A connection through one driver, or an engine's connections, one for each transaction."""

    def run(self, path: Path) -> Seen:
        """The path's transaction: results, counts, errors and whether a transaction is open."""

    def close(self) -> None: ...


def _unit_of_work(session: Session) -> object:
    class Row:
        def __init__(self, id: int, v: str) -> None:
            self.id, self.v = id, v

    columns = (Column("id", Integer, primary_key=True), Column("v", String))
    registry().map_imperatively(Row, Table("t", MetaData(), *columns))
    session.get(Row, 1).v = "orm"
    session.delete(session.get(Row, 2))
    session.flush()
    session.add_all([Row(3, "c"), Row(4, "d")])
    session.flush()
    return [(each.id, each.v) for each in session.query(Row).order_by(Row.id)]


def _in_bulk(session: Session) -> object:
    t = table("t", column("id"), column("v"))
    session.execute(insert(t), [{"id": 3, "v": "c"}, {"id": 4, "v": "d"}])
    return session.execute(update(t).where(t.c.id > 2).values(v=t.c.v + "!")).rowcount


_ORM: dict[str, Callable[[Session], object]] = {
    "unit of work": _unit_of_work,
    "in bulk": _in_bulk,
}


def _steps(
    path: Path,
    sql: str,
    execute: Callable[[str], Any],
    executemany: Callable[[str, _Rows], Any],
    copy: Callable[[_Rows], Any],
) -> Iterator[Callable[[], Any]]:
    """The calls of a driver alone; `sql` is the path's text with the driver's placeholders."""
    for statement in path.statements:
        yield functools.partial(execute, statement)
    if path.many is not None:
        yield functools.partial(executemany, sql, path.many[1])
    if path.copied:
        yield functools.partial(copy, path.copied)


class _Alone:
    """A connection of the DB-API."""

    def __init__(self, connection: Any, placeholder: str, state: Callable[[Any], object]) -> None:
        self._connection = connection
        self._placeholder = placeholder
        self._state = state

    def run(self, path: Path) -> Seen:
        cursor = self._connection.cursor()
        seen: Seen = []
        sql = path.many[0].replace("{}", self._placeholder) if path.many else ""
        for step in _steps(path, sql, cursor.execute, cursor.executemany, self._copy(cursor)):
            try:
                step()
                while True:
                    rows = cursor.fetchall() if cursor.description else None
                    seen.append((rows, cursor.rowcount, getattr(cursor, "statusmessage", None)))
                    if isinstance(self._connection, pymysql.Connection):
                        seen.append(cursor.lastrowid)
                        if cursor.nextset():
                            continue
                    break
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(self._state(self._connection))
        self._connection.commit()
        return [*seen, self._state(self._connection)]

    def _copy(self, cursor: Any) -> Callable[[_Rows], None]:
        def copy(rows: _Rows) -> None:
            if isinstance(self._connection, psycopg.Connection):
                with cursor.copy("COPY t FROM STDIN") as into:
                    for row in rows:
                        into.write_row(row)
                return
            lines = ["\t".join("\\N" if v is None else str(v) for v in row) for row in rows]
            cursor.copy_expert("COPY t FROM STDIN", io.StringIO("\n".join(lines)))

        return copy

    def close(self) -> None:
        self._connection.close()


class _AsyncPsycopg:
    def __init__(self, connection: Any, loop: asyncio.Runner) -> None:
        self._connection = connection
        self._loop = loop

    def run(self, path: Path) -> Seen:
        return self._loop.run(self._run(path), context=contextvars.copy_context())

    async def _run(self, path: Path) -> Seen:
        cursor = self._connection.cursor()
        seen: Seen = []
        sql = path.many[0].replace("{}", "%s") if path.many else ""
        for step in _steps(path, sql, cursor.execute, cursor.executemany, self._copy(cursor)):
            try:
                await step()
                rows = await cursor.fetchall() if cursor.description else None
                seen.append((rows, cursor.rowcount, cursor.statusmessage))
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(self._connection.info.transaction_status)
        await self._connection.commit()
        return [*seen, self._connection.info.transaction_status]

    @staticmethod
    def _copy(cursor: Any) -> Callable[[_Rows], Awaitable[None]]:
        async def copy(rows: _Rows) -> None:
            async with cursor.copy("COPY t FROM STDIN") as into:
                for row in rows:
                    await into.write_row(row)

        return copy

    def close(self) -> None:
        self._loop.run(self._connection.close())


class _Asyncpg:
    def __init__(self, connection: Any, loop: asyncio.Runner) -> None:
        self._connection = connection
        self._loop = loop

    def run(self, path: Path) -> Seen:
        return self._loop.run(self._run(path), context=contextvars.copy_context())

    async def _run(self, path: Path) -> Seen:
        connection = self._connection
        transaction = connection.transaction()
        await transaction.start()
        seen: Seen = []
        sql = path.many[0].replace("{}", "${}").format(1, 2) if path.many else ""
        copy = functools.partial(connection.copy_records_to_table, "t")
        run = connection.fetch, connection.executemany, lambda rows: copy(records=rows)
        for step in _steps(path, sql, *run):
            try:
                result = await step()
                seen.append([tuple(row) for row in result] if isinstance(result, list) else result)
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(connection.is_in_transaction())
        await transaction.commit()
        return [*seen, connection.is_in_transaction()]

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
        seen: Seen = []
        for step in self._steps(connection, path):
            try:
                result: Any = step()
                if hasattr(result, "returns_rows"):
                    rows = result.all() if result.returns_rows else None
                    seen.append((repr(rows), result.rowcount))
                else:
                    seen.append(result)
            except Exception as error:
                seen.append(seen_of(error))
            seen.append(connection.in_transaction())
        connection.commit()
        return [*seen, connection.in_transaction()]

    def _steps(self, connection: Connection, path: Path) -> Iterator[Callable[[], Any]]:
        for statement in path.statements:
            yield lambda statement=statement: connection.exec_driver_sql(statement)  # type: ignore[misc]
        if path.many is not None:
            sql, rows = path.many
            names = [f"p{place}" for place in range(sql.count("{}"))]
            named = text(sql.format(*(f":{name}" for name in names)))
            given = [dict(zip(names, row, strict=True)) for row in rows]
            yield lambda: connection.execute(named, given)
        if path.orm:
            yield lambda: _ORM[path.orm](Session(bind=connection))

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
    return _Alone(connection, "?", lambda it: it.in_transaction)


def _psycopg(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    it = psycopg.connect(url) if host is None else captured_psycopg.connect(url, trail=host)
    return _Alone(it, "%s", lambda it: it.info.transaction_status)


def _psycopg_async(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    plain = psycopg.AsyncConnection.connect
    it = plain(url) if host is None else captured_psycopg.connect_async(url, trail=host)
    return _AsyncPsycopg(loop.run(_awaited(it)), loop)


def _psycopg2(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    it = psycopg2.connect(url) if host is None else captured_psycopg2.connect(url, trail=host)
    return _Alone(it, "%s", lambda it: it.info.transaction_status)


def _asyncpg(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    it = asyncpg.connect(url) if host is None else captured_asyncpg.connect(url, trail=host)
    return _Asyncpg(loop.run(_awaited(it)), loop)


def _pymysql(url: str, host: MemoryHost | None, loop: asyncio.Runner) -> Driver:
    account, _, rest = url.removeprefix("mysql://").partition(":")
    password, _, rest = rest.partition("@")
    address, _, database = rest.partition("/")
    options = {
        "host": address.partition(":")[0],
        "port": int(address.partition(":")[2]),
        "user": account,
        "password": password,
        "database": database,
        "charset": "utf8mb4",
    }
    plain, captured = pymysql.connect, captured_pymysql.connect
    it = plain(**options) if host is None else captured(**options, trail=host)
    return _Alone(it, "%s", lambda it: it.server_status & 1)


async def _awaited(it: Any) -> Any:
    return await it


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
    "SQLAlchemy, PyMySQL": _sqlalchemy("pymysql"),
    "SQLAlchemy, aiomysql": _sqlalchemy("aiomysql", is_async=True),
}
