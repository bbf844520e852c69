"""Random schemas and random histories, as SQL, drawn from any `random.Random`."""

from __future__ import annotations

import random
from typing import NamedTuple

LITERALS = (
    "NULL",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1.0",
    "2.5",
    "0.30000000000000004",
    "-0.0",
    "9e999",
    "9223372036854775807",
    "-9223372036854775808",
    "9007199254740993",
    "'a'",
    "'A'",
    "'b'",
    "'1'",
    "''",
    "'x' || char(0) || 'y'",
    "CAST(x'ff61' AS TEXT)",
    "'\U0001f40d'",
    "x''",
    "x'00ff'",
    "x'61'",
)
SMALL = ("NULL", "0", "1", "2", "3", "1", "2", "'a'", "'A'", "'b'", "1.0")
TYPES = ("", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC", "TEXT COLLATE NOCASE")
ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION", "RESTRICT")
CONFLICTS = ("", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT", "OR ROLLBACK", "OR REPLACE")


class TableSql(NamedTuple):
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    sql: str
    indexes: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...]
    generated: tuple[str, ...] = ()
    types: dict[str, str] = {}  # noqa: RUF012 - of a NamedTuple

    def given(self, name: str, value: str, *, is_update: bool = False) -> str:
        """`value`, as one that column `name` can take.

        A rowid is kept an integer: on a mismatch SQLite may leave a statement half done, which
        depends on the triggers. It is kept from the greatest, too, behind which SQLite draws
        rowids by chance.
        """
        is_rowid = self.key == (name,) and self.types[name] == "INTEGER"
        if not is_rowid or "WITHOUT ROWID" in self.sql:
            return value
        rowid = f"CAST({value} AS INTEGER) % 9223372036854775000"
        return f"ifnull({rowid}, 7)" if is_update else rowid


def pick(rng: random.Random, items: tuple[str, ...]) -> str:
    return items[rng.randrange(len(items))]


def chance(rng: random.Random, percent: int) -> bool:
    return rng.randrange(100) < percent


def make_table(rng: random.Random, name: str, parents: list[TableSql]) -> TableSql:
    columns = [f"c{n}" for n in range(rng.randrange(1, 4))]
    types = {"id": "INTEGER", **{name: pick(rng, TYPES) for name in ("k", "l", *columns)}}
    key_kind = pick(rng, ("rowid", "rowid", "single", "composite", "none", "without"))
    key: tuple[str, ...] = ()
    parts = []
    if key_kind == "rowid":
        parts.append("id INTEGER PRIMARY KEY")
        key = ("id",)
    elif key_kind in ("single", "without"):
        parts.append(f"k {types['k']} PRIMARY KEY")
        key = ("k",)
    elif key_kind == "composite":
        parts += [f"k {types['k']}", f"l {types['l']}"]
        key = ("k", "l")
    uniques = [key] if key else []
    for column in columns:
        text = f"{column} {types[column]}"
        if chance(rng, 15):
            text += f" NOT NULL DEFAULT {pick(rng, ('1', chr(39) + 'a' + chr(39), '2'))}"
        elif chance(rng, 15):
            text += " DEFAULT 1"
        if chance(rng, 20):
            text += " UNIQUE"
            if chance(rng, 30):
                text += f" ON CONFLICT {pick(rng, ('REPLACE', 'IGNORE', 'FAIL'))}"
            uniques.append((column,))
        parts.append(text)
    generated: tuple[str, ...] = ()
    if chance(rng, 15):
        kind = pick(rng, ("STORED", "VIRTUAL"))
        parts.append(f"g AS (ifnull({columns[-1]}, 0) || 'g') {kind}")
        if "NOT NULL" not in parts[-2]:
            # Else REPLACE puts a default under it, which a BEFORE trigger doesn't see in it.
            generated = ("g",)
    names = [*key, *columns]
    this = TableSql(name, tuple(columns), key, "", (), tuple(uniques), (), types)
    foreign = []
    for _ in range(rng.randrange(3)):
        parent = [*parents, this][rng.randrange(len(parents) + 1)]
        candidates = [u for u in parent.uniques if len(u) == 1 and u[0] in [*names, *parent.key]]
        if parent is not this:
            candidates = [u for u in parent.uniques if len(u) == 1]
        if candidates:
            target = candidates[rng.randrange(len(candidates))][0]
            # SQLite converts a parent's key in place where the child's column has another type.
            like = tuple(c for c in columns if family(types[c]) == family(parent.types[target]))
            if not like:
                continue
            foreign.append(
                f"FOREIGN KEY ({pick(rng, like)}) REFERENCES {parent.name}"
                f"({target}) ON DELETE {pick(rng, ACTIONS)} ON UPDATE {pick(rng, ACTIONS)}"
                f"{' DEFERRABLE INITIALLY DEFERRED' if chance(rng, 30) else ''}"
            )
    if key_kind == "composite":
        parts.append("PRIMARY KEY (l, k)" if chance(rng, 50) else "PRIMARY KEY (k, l)")
    suffix = (
        " WITHOUT ROWID"
        if key_kind == "without" or (key_kind == "composite" and chance(rng, 50))
        else ""
    )
    sql = f"CREATE TABLE {name} ({', '.join([*parts, *foreign])}){suffix}"
    indexes = []
    if chance(rng, 35):
        column = pick(rng, tuple(columns))
        what = pick(
            rng,
            (
                f"{column}",
                f"{column} COLLATE NOCASE",
                f"lower({column})",
                f"ifnull({column}, 0) DESC",
                f"{column}, {pick(rng, tuple(names))}",
                *generated,
            ),
        )
        where = pick(rng, ("", "", f" WHERE {column} > 1", f" WHERE {columns[-1]} IS NOT NULL"))
        indexes.append(f"CREATE UNIQUE INDEX {name}_u ON {name} ({what}){where}")
    return TableSql(
        name, tuple(columns), key, sql, tuple(indexes), tuple(uniques), generated, types
    )


def family(type_: str) -> str:
    """Types of one affinity."""
    return type_.removesuffix(" COLLATE NOCASE") or "BLOB"


def make_trigger(rng: random.Random, n: int, tables: list[TableSql]) -> str:
    on = tables[rng.randrange(len(tables))]
    event = pick(rng, ("INSERT", "UPDATE", "DELETE"))
    timing = pick(rng, ("BEFORE", "AFTER"))
    known = {"INSERT": ("NEW",), "DELETE": ("OLD",), "UPDATE": ("NEW", "OLD")}[event]
    alias = pick(rng, known)
    # What SQLite does when a BEFORE trigger changes the very row is undefined, it says.
    others = [table for table in tables if table is not on]
    if timing == "BEFORE" and not others:
        timing = "AFTER"
    body = make_step(rng, others if timing == "BEFORE" else tables, alias, on)
    when = f" WHEN {alias}.{pick(rng, on.columns)} IS NOT {pick(rng, SMALL)}"
    return (
        f"CREATE TRIGGER app{n} {timing} {event} ON {on.name}"
        f"{when if chance(rng, 40) else ''} BEGIN {body}; END"
    )


def make_step(rng: random.Random, tables: list[TableSql], alias: str, on: TableSql) -> str:
    table = on if on in tables and chance(rng, 50) else tables[rng.randrange(len(tables))]
    column = pick(rng, table.columns)
    value = f"{alias}.{pick(rng, on.columns)}" if chance(rng, 40) else pick(rng, SMALL)
    kind = rng.randrange(12)
    if kind < 5:
        same = pick(rng, on.key or on.columns)
        its = pick(rng, table.key or table.columns)
        return f"UPDATE {table.name} SET {column} = {value} WHERE {its} IS {alias}.{same}"
    if kind < 8:
        names = (*table.key, *table.columns)
        values = ", ".join(
            table.given(
                name, f"{alias}.{pick(rng, on.columns)}" if chance(rng, 30) else pick(rng, SMALL)
            )
            for name in names
        )
        conflict = pick(rng, CONFLICTS)
        return f"INSERT {conflict} INTO {table.name} ({', '.join(names)}) VALUES ({values})"
    if kind < 11:
        return f"DELETE FROM {table.name} WHERE {column} IS {value}"
    return f"SELECT RAISE(IGNORE) WHERE {alias}.{pick(rng, on.columns)} IS {pick(rng, SMALL)}"


def make_schema(rng: random.Random) -> tuple[list[TableSql], list[str]]:
    tables: list[TableSql] = []
    for n in range(rng.randrange(1, 4)):
        tables.append(make_table(rng, f"t{n}", tables))
    statements = [table.sql for table in tables]
    statements += [index for table in tables for index in table.indexes]
    statements += [make_trigger(rng, n, tables) for n in range(rng.randrange(3))]
    if chance(rng, 20):
        on = tables[0]
        columns = ", ".join(on.columns)
        statements.append(f"CREATE VIEW v AS SELECT {columns} FROM {on.name}")
        step = make_step(rng, tables, "NEW", on)
        statements.append(f"CREATE TRIGGER appv INSTEAD OF INSERT ON v BEGIN {step}; END")
    return tables, statements


def make_values(rng: random.Random, table: TableSql, names: tuple[str, ...]) -> str:
    return ", ".join(
        table.given(name, pick(rng, SMALL if chance(rng, 75) else LITERALS)) for name in names
    )


def make_statement(rng: random.Random, tables: list[TableSql]) -> str:
    table = tables[rng.randrange(len(tables))]
    names = (*table.key, *table.columns)
    kind = rng.randrange(20)
    conflict = pick(rng, CONFLICTS)
    if kind < 8:
        if table.key == ("id",) and chance(rng, 40):
            names = table.columns
        rows = ", ".join(f"({make_values(rng, table, names)})" for _ in range(rng.randrange(1, 4)))
        text = f"INSERT {conflict} INTO {table.name} ({', '.join(names)}) VALUES {rows}"
        if chance(rng, 25):
            unique = [u for u in table.uniques if u]
            target = f"({', '.join(unique[rng.randrange(len(unique))])})" if unique else ""
            column = pick(rng, names)
            value = table.given(column, pick(rng, SMALL), is_update=True)
            action = pick(rng, ("NOTHING", f"UPDATE SET {column} = {value}"))
            where = " WHERE true" if action != "NOTHING" else ""
            if not target:
                action, where = "NOTHING", ""
            text = text.replace(f"INSERT {conflict}", "INSERT")
            text += f" ON CONFLICT {target} DO {action}{where}"
        if chance(rng, 20):
            text += " RETURNING *"
        return text
    if kind < 15:
        sets = ", ".join(
            f"{name} = {table.given(name, make_set(rng, name, names), is_update=True)}"
            for name in dict.fromkeys(pick(rng, names) for _ in range(rng.randrange(1, 3)))
        )
        text = f"UPDATE {conflict} {table.name} SET {sets}"
        if chance(rng, 15):
            other = tables[rng.randrange(len(tables))]
            text += f" FROM {other.name} AS o WHERE o.{pick(rng, other.columns)} IS NOT NULL"
        elif chance(rng, 70):
            text += f" WHERE {table.name}.{pick(rng, names)} IS {pick(rng, SMALL)}"
        return text
    if kind < 18:
        where = f" WHERE {pick(rng, names)} IS {pick(rng, SMALL)}" if chance(rng, 85) else ""
        return f"DELETE FROM {table.name}{where}"
    if kind == 18:
        other = tables[rng.randrange(len(tables))]
        values = ", ".join(table.given(name, pick(rng, other.columns)) for name in names)
        return (
            f"INSERT {conflict} INTO {table.name} ({', '.join(names)}) "
            f"SELECT {values} FROM {other.name} WHERE {pick(rng, other.columns)} IS NOT 2 LIMIT 20"
        )
    return f"INSERT INTO v VALUES ({make_values(rng, tables[0], tables[0].columns)})"


def make_set(rng: random.Random, name: str, names: tuple[str, ...]) -> str:
    kind = rng.randrange(6)
    if kind < 3:
        return pick(rng, SMALL)
    if kind < 4:
        return pick(rng, LITERALS)
    return f"{name} + 1" if kind < 5 else pick(rng, names)


def make_control(rng: random.Random) -> str:
    return pick(
        rng,
        ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "COMMIT"),
    )
