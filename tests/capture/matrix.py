"""The table of `docs/reference/reads.md`, from the shapes that the tests run.

`python -m tests.capture.matrix > docs/reference/reads.md` writes it anew; a test holds the two
together. What it says of a shape is what `test_shapes.py` of each server asserts of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tests.capture.mariadb.shapes import SHAPES as MARIADB_SHAPES
from tests.capture.postgres.shapes import SHAPES as POSTGRES_SHAPES
from tests.capture.reads.shapes import SHAPES as SQLITE_SHAPES

_HEAD = """# Every shape of read

Written by `python -m tests.capture.matrix` from the shapes that the tests run, each against the
sample database and with an independent query for the keys that must come out. In every cell the
result is that of a connection without capture: rows, column names, row count.

*exact*: these rows and no others. *superset*: at least these. *statement*: the statement and its
tables, and why no more is known. *nothing*: it hands out no row of a captured table.

On SQLite each runs through plain `sqlite3`, SQLAlchemy on pysqlite and SQLAlchemy on aiosqlite; on
PostgreSQL through plain psycopg (sync and async), psycopg2 and asyncpg, and SQLAlchemy on each of
these; on MariaDB through plain PyMySQL, mysqlclient and aiomysql, and SQLAlchemy on each of these.
"""


class Shape(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sql(self) -> str: ...
    @property
    def rows(self) -> dict[str, str]: ...
    @property
    def coverage(self) -> dict[str, str]: ...


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            _HEAD,
            *_section("SQLite", SQLITE_SHAPES),
            "",
            *_section("PostgreSQL", POSTGRES_SHAPES),
            "",
            *_section("MariaDB", MARIADB_SHAPES),
            "",
        ]
    )


def _section(server: str, shapes: Sequence[Shape]) -> list[str]:
    return [
        f"## {server}",
        "",
        "| shape | recorded | statement |",
        "| --- | --- | --- |",
        *(f"| {shape.name} | {_told(shape)} | `{_shown(shape.sql)}` |" for shape in shapes),
    ]


def _told(shape: Shape) -> str:
    """`exact`; where its tables differ, each by name."""
    told = {kind: shape.coverage.get(kind, "exact") for kind in shape.rows}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{kind}: {coverage}" for kind, coverage in told.items()) or "nothing"


def _shown(sql: str) -> str:
    """On one line, as a cell of a table."""
    return " ".join(sql.split()).replace("|", "\\|").replace("`", "'")


if __name__ == "__main__":
    print(page(), end="")
