"""The tables of `docs/reference/reads.md` and `writes.md`, from what the tests run.

`python -m tests.capture.matrix reads > docs/reference/reads.md` writes one anew, and `writes` the
other; a test holds pages and tests together. What is said of a shape is what `test_shapes.py` of
each server asserts of it, and of a path of writes what `writes/test_paths.py` does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from tests.capture.mariadb.shapes import SHAPES as MARIADB_SHAPES
from tests.capture.postgres.shapes import SHAPES as POSTGRES_SHAPES
from tests.capture.reads.shapes import SHAPES as SQLITE_SHAPES
from tests.capture.writes import paths
from tests.capture.writes.driving import MARIADB_DRIVERS, POSTGRES_DRIVERS, SQLITE_DRIVERS
from tests.django.expected import WRITES as DJANGO_WRITES

_READS = """# Every shape of read

Written by `python -m tests.capture.matrix reads` from the shapes that the tests run, each against
the sample database and with an independent query for the keys that must come out. In every cell the
result is that of a connection without capture: rows, column names, row count.

*exact*: these rows and no others. *superset*: at least these. *statement*: the statement and its
tables, and why no more is known. *nothing*: it hands out no row of a captured table.

On SQLite each runs through plain `sqlite3`, SQLAlchemy on pysqlite and SQLAlchemy on aiosqlite; on
PostgreSQL through plain psycopg (sync and async), psycopg2 and asyncpg, and SQLAlchemy on each of
these; on MariaDB through plain PyMySQL, mysqlclient and aiomysql, and SQLAlchemy on each of
these. Of the drivers alone, every run of the tests takes each shape through one, and the long tests
through all. Calls that only one driver has (COPY, streams, pipelines, cursors of its own) are no
shapes: see [what is captured](coverage.md).
"""

_WRITES = """# Every path of writes

Written by `python -m tests.capture.matrix writes` from the paths that the tests run, each in a
transaction of its own. In every cell the results, row counts, errors and whether a transaction is
open are those of a connection without capture, every change is recorded once and as its actor's,
and the changes, folded on the baseline, are the rows of the tables.

*exact*: these changes and no others. *nothing*: no row changes, and none is recorded. *no such
call*: the driver can't do that. What a server doesn't show stands below its table, for all drivers;
what else isn't seen is said under [what is captured](coverage.md).
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


def reads_page() -> str:
    """The whole page of reads."""
    return "\n".join(
        [
            _READS,
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


def writes_page() -> str:
    """The whole page of writes."""
    django = ["Django"]
    return "\n".join(
        [
            _WRITES,
            *_paths("SQLite", paths.SQLITE, [*SQLITE_DRIVERS, *django], paths.SQLITE_UNSEEN),
            "",
            *_paths(
                "PostgreSQL", paths.POSTGRES, [*POSTGRES_DRIVERS, *django], paths.POSTGRES_UNSEEN
            ),
            "",
            *_paths("MariaDB", paths.MARIADB, [*MARIADB_DRIVERS, *django], paths.MARIADB_UNSEEN),
            "",
            "## Django's query API",
            "",
            "On SQLite, PostgreSQL and MariaDB, with the results of a backend without capture.",
            "",
            "| call | recorded |",
            "| --- | --- |",
            *(
                f"| `{name}` | {'exact' if rows else 'nothing'} |"
                for name, rows in DJANGO_WRITES.items()
            ),
            "",
        ]
    )


def _paths(
    server: str,
    run: Sequence[paths.Path],
    drivers: Sequence[str],
    unseen: Sequence[paths.Unseen],
) -> list[str]:
    return [
        f"## {server}",
        "",
        f"| path | {' | '.join(drivers)} | statements |",
        f"| --- |{' --- |' * len(drivers)} --- |",
        *(
            f"| {path.name} | {' | '.join(_cell(driver, path) for driver in drivers)} "
            f"| {_shown_path(path)} |"
            for path in run
        ),
        "",
        "| not seen | why | statements |",
        "| --- | --- | --- |",
        *(
            f"| {each.name} | {each.why} | {_code(each.statements) or 'a call'} |"
            for each in unseen
        ),
    ]


def _cell(driver: str, path: paths.Path) -> str:
    if not paths.takes(driver, path):
        return "no such call"
    return "exact" if path.changes else "nothing"


def _shown_path(path: paths.Path) -> str:
    if path.many is not None:
        return f"`{_shown(path.many[0].replace('{}', '?'))}`, twice"
    return _code(path.statements) or "a call of the driver's"


def _code(statements: Sequence[str]) -> str:
    return "; ".join(f"`{_shown(statement)}`" for statement in statements)


if __name__ == "__main__":
    print({"reads": reads_page, "writes": writes_page}[sys.argv[1]](), end="")
