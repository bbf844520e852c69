"""Ways to write that only some drivers have, by the path's name and the driver's.

Each gets the driver's own connection (SQLAlchemy's, of its drivers), and gives what is seen.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from typing import Any, Final

import psycopg2.extras
from sqlalchemy import Column, Integer, MetaData, String, Table, column, insert, table, update
from sqlalchemy.orm import Session, registry

from .paths import SCRIPT, SQLALCHEMY, Path

ROWS: Final = [(3, "c", 3), (4, "d", None)]
_INSERT: Final = "INSERT INTO t (id, v) VALUES"


def _unit_of_work(connection: Any) -> object:
    class Row:
        def __init__(self, id: int, v: str) -> None:
            self.id, self.v = id, v

    columns = (Column("id", Integer, primary_key=True), Column("v", String))
    registry().map_imperatively(Row, Table("t", MetaData(), *columns))
    session = Session(bind=connection)
    session.get(Row, 1).v = "orm"
    session.delete(session.get(Row, 2))
    session.flush()
    session.add_all([Row(3, "c"), Row(4, "d")])
    session.flush()
    return [(each.id, each.v) for each in session.query(Row).order_by(Row.id)]


def _in_bulk(connection: Any) -> object:
    t = table("t", column("id"), column("v"))
    session = Session(bind=connection)
    session.execute(insert(t), [{"id": 3, "v": "c"}, {"id": 4, "v": "d"}])
    return session.execute(update(t).where(t.c.id > 2).values(v=t.c.v + "!")).rowcount


def _executescript(connection: Any) -> object:
    return connection.executescript(SCRIPT).rowcount


async def _several_asyncpg(connection: Any) -> object:
    return await connection.execute(SCRIPT)


def _copy(connection: Any) -> object:
    with connection.cursor() as cursor:
        with cursor.copy("COPY t FROM STDIN") as copy:
            for row in ROWS:
                copy.write_row(row)
        return cursor.rowcount


async def _copy_async(connection: Any) -> object:
    async with connection.cursor() as cursor:
        async with cursor.copy("COPY t FROM STDIN") as copy:
            for row in ROWS:
                await copy.write_row(row)
        return cursor.rowcount


def _lines() -> str:
    return "".join("\t".join("\\N" if v is None else str(v) for v in row) + "\n" for row in ROWS)


def _copy_expert(connection: Any) -> object:
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY t FROM STDIN", io.StringIO(_lines()))
        return cursor.rowcount


async def _copy_records(connection: Any) -> object:
    return await connection.copy_records_to_table("t", records=ROWS)


def _load_data(connection: Any) -> object:
    with tempfile.NamedTemporaryFile("w") as file, connection.cursor() as cursor:
        file.write(_lines())
        file.flush()
        cursor.execute("LOAD DATA LOCAL INFILE %s INTO TABLE t", (file.name,))
        return cursor.rowcount


async def _load_data_async(connection: Any) -> object:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(_lines())
        file.flush()
        async with connection.cursor() as cursor:
            await cursor.execute("LOAD DATA LOCAL INFILE %s INTO TABLE t", (file.name,))
            return cursor.rowcount


async def _callproc_async(connection: Any) -> object:
    async with connection.cursor() as cursor:
        return await cursor.callproc("app_move", (1, 2)), cursor.rowcount


def _pipeline(connection: Any) -> object:
    with connection.pipeline():
        cursors = [connection.execute(f"{_INSERT} ({n}, 'p')") for n in (3, 4)]
    return [cursor.rowcount for cursor in cursors]


async def _pipeline_async(connection: Any) -> object:
    async with connection.pipeline():
        cursors = [await connection.execute(f"{_INSERT} ({n}, 'p')") for n in (3, 4)]
    return [cursor.rowcount for cursor in cursors]


def _execute_values(connection: Any) -> object:
    with connection.cursor() as cursor:
        sql = "INSERT INTO t VALUES %s RETURNING id"
        return psycopg2.extras.execute_values(cursor, sql, ROWS, page_size=1, fetch=True)


def _callproc(name: str, *arguments: int) -> Callable[[Any], object]:
    def call(connection: Any) -> object:
        with connection.cursor() as cursor:
            return cursor.callproc(name, arguments), cursor.rowcount

    return call


async def _prepared(connection: Any) -> object:
    statement = await connection.prepare(f"{_INSERT} ($1, $2) RETURNING id")
    return await statement.fetchval(3, "p"), await statement.fetchval(4, "p")


CALLS: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    "ORM, unit of work": dict.fromkeys(SQLALCHEMY, _unit_of_work),
    "ORM, in bulk": dict.fromkeys(SQLALCHEMY, _in_bulk),
    "executescript": {"sqlite3": _executescript},
    "several statements in one text": {"asyncpg": _several_asyncpg},
    "COPY FROM STDIN": {
        "psycopg": _copy,
        "psycopg, async": _copy_async,
        "psycopg2": _copy_expert,
        "asyncpg": _copy_records,
    },
    "a pipeline": {"psycopg": _pipeline, "psycopg, async": _pipeline_async},
    "execute_values": {"psycopg2": _execute_values},
    "callproc": {
        "psycopg2": _callproc("app_touch", 1),
        "PyMySQL": _callproc("app_move", 1, 2),
        "mysqlclient": _callproc("app_move", 1, 2),
        "aiomysql": _callproc_async,
    },
    "a prepared statement": {"asyncpg": _prepared},
    "LOAD DATA LOCAL INFILE": {
        "PyMySQL": _load_data,
        "mysqlclient": _load_data,
        "aiomysql": _load_data_async,
    },
}


def call_of(path: Path, driver: str) -> Callable[[Any], Any] | None:
    """What the driver does in place of the path's statements."""
    return CALLS.get(path.name, {}).get(driver)
