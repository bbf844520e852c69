"""Read the schema of a live MariaDB or MySQL database."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

import msgspec

from indelible.capture.mariadb.connecting import Connection, load_driver, number_of
from indelible.capture.mariadb.names import TRIGGER_PREFIX
from indelible.capture.schema import Column, ForeignKey, Schema, Table
from indelible.named_sql import load_statements

_ENGINE: Final = "InnoDB"
_IS_TABLE: Final = {"BASE TABLE", "SYSTEM VERSIONED"}
_UNKNOWN_TABLE: Final = 1109
_ENCODED: Final = re.compile("@([0-9a-f]{4})")
_ODD: Final = re.compile("[^0-9A-Za-z_]")
_LIKE: Final = re.compile(r"[_%\\]")
_FOLLOWS: Final = {"CASCADE", "SET NULL", "SET DEFAULT"}


class FoundTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger that is there; `created` changes with each time that it is made anew."""

    name: str
    table: str
    timing: str
    event: str
    body: str
    definer: str
    created: str

    @property
    def is_ours(self) -> bool:
        return self.name.startswith(TRIGGER_PREFIX)


class MariadbSchema(msgspec.Struct, frozen=True, kw_only=True):
    """`made` differs whenever a table was made anew, by ALTER or TRUNCATE too, by its name in lower
    case; `rows` about how many it has. `cascades` name the foreign keys by which the server
    changes rows without firing a trigger: child table, constraint, what it does."""

    database: str
    tables: Schema
    triggers: tuple[FoundTrigger, ...]
    made: Mapping[str, str]
    rows: Mapping[str, int]
    cascades: tuple[tuple[str, str, str], ...]


def named_sql(file: str) -> Mapping[str, str]:
    """The named statements of a file beside this one."""
    return load_statements(__package__, file)


def fetch(connection: Connection, statement: str, parameters: object = None) -> list[Any]:
    """All rows of a query. Raises `pymysql.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def read_schema(connection: Connection, database: str) -> MariadbSchema:
    """The schema as it is now. Raises `pymysql.Error`."""

    def read(name: str) -> list[Any]:
        return fetch(connection, named_sql("catalog.sql")[name], (database,))

    listed = [row for row in read("tables") if row[1] in _IS_TABLE]
    columns = _columns(read("columns"))
    keys = _keys(read("unique_indexes"))
    foreign_keys, cascades = _foreign_keys(read("foreign_keys"), database)
    files = read_files(connection, database)
    tables: dict[str, Table] = {}
    for name, _, engine, _, _ in listed:
        folded = name.lower()
        unseen = None
        if engine != _ENGINE:
            unseen = f"its engine is {engine}: only InnoDB's changes commit with the outbox"
        if folded in tables:
            unseen = f"another table's name differs only in upper and lower case: {folded}"
            folded = name
        tables[folded] = Table(
            name=name,
            columns=tuple(columns[name]),
            key=keys.get(name, ()),
            foreign_keys=tuple(foreign_keys[name]),
            unseen=unseen,
        )
    return MariadbSchema(
        database=database,
        tables=Schema(
            tables=tables,
            views={row[0].lower(): () for row in read("views")},
            has_typed_text=True,
        ),
        triggers=tuple(
            FoundTrigger(
                name=row[0],
                table=row[1],
                timing=row[2],
                event=row[3],
                body=row[4],
                definer=row[5],
                created=row[6] or "",
            )
            for row in read("triggers")
        ),
        made={row[0].lower(): f"{row[3]} {' '.join(files[row[0]])}" for row in listed},
        rows={row[0].lower(): int(row[4] or 0) for row in listed},
        cascades=cascades,
    )


def read_files(connection: Connection, database: str) -> Mapping[str, list[str]]:
    """The numbers under which InnoDB keeps each table, or its partitions: others after TRUNCATE.

    Raises `pymysql.Error`; needs the right PROCESS.
    """
    like = (_LIKE.sub(r"\\\g<0>", _in_files(database)) + "/%",)
    try:
        rows = fetch(connection, named_sql("catalog.sql")["files"], like)
    except load_driver().Error as error:
        if number_of(error) != _UNKNOWN_TABLE:
            raise
        rows = fetch(connection, named_sql("catalog.sql")["files_mysql"], like)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, number in rows:
        table = name.partition("/")[2].partition("#")[0]
        found[_ENCODED.sub(lambda digits: chr(int(digits[1], 16)), table)].append(str(number))
    return found


def _in_files(name: str) -> str:
    """As the server writes a name of ASCII in the names of files."""
    return _ODD.sub(lambda found: f"@{ord(found[0]):04x}", name)


def _columns(rows: list[Any]) -> defaultdict[str, list[Column]]:
    found: defaultdict[str, list[Column]] = defaultdict(list)
    for table, name, type_, is_nullable, default, extra in rows:
        found[table].append(
            Column(
                name,
                type_.lower(),
                is_nullable == "NO",
                default,
                "GENERATED" in extra.upper() and "DEFAULT_GENERATED" not in extra.upper(),
            )
        )
    return found


def _keys(rows: list[Any]) -> dict[str, tuple[str, ...]]:
    """The primary key of each table, or else its first unique key without NULLs."""
    found: dict[str, tuple[str, ...]] = {}
    for (table, _), group in itertools.groupby(rows, itemgetter(0, 1)):
        pieces = list(group)
        is_whole = all(
            column is not None and nullable != "YES" and sub_part is None
            for _, _, column, nullable, sub_part in pieces
        )
        if table not in found and is_whole:
            found[table] = tuple(piece[2] for piece in pieces)
    return found


def _foreign_keys(
    rows: list[Any], database: str
) -> tuple[defaultdict[str, list[ForeignKey]], tuple[tuple[str, str, str], ...]]:
    found: defaultdict[str, list[ForeignKey]] = defaultdict(list)
    cascades = []
    for (table, name), group in itertools.groupby(rows, itemgetter(0, 1)):
        pieces = list(group)
        _, _, _, schema, parent, _, on_update, on_delete = pieces[0]
        if schema == database:
            found[table].append(
                ForeignKey(
                    parent,
                    tuple(piece[2] for piece in pieces),
                    tuple(piece[5] for piece in pieces),
                    on_update,
                    on_delete,
                    is_immediate=True,
                )
            )
        for event, rule in (("DELETE", on_delete), ("UPDATE", on_update)):
            if rule in _FOLLOWS:
                cascades.append((table, name, f"ON {event} {rule}"))
    return found, tuple(cascades)
