"""Random databases, and what a few actors do with them."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import msgspec
from hypothesis import strategies as st

from indelible.events.model import Actor

from .recorder import Recorder

ACTORS = (Actor("staff", "alice"), Actor("staff", "bob"), Actor("staff", "carol"))
VALUES = (None, 0, 1, -7, 1.5, float("inf"), 2**63 - 1, "", "a", "b\0c", "é", b"", b"\x00\xff")
KEYS = (1, 2, 3, 4)


class TableShape(msgspec.Struct, frozen=True):
    """A table with `values` columns v0, v1, ...; `key` is its CREATE TABLE's."""

    name: str
    key: tuple[str, ...]
    options: str
    values: int
    is_unique: bool
    parent: str | None
    parent_action: str

    def sql(self) -> str:
        columns = [f"{name} INTEGER" if name == "id" else name for name in self.key]
        columns += [
            f"v{n}{' UNIQUE' if n == 0 and self.is_unique else ''}" for n in range(self.values)
        ]
        if self.parent:
            columns.append(f"parent REFERENCES {self.parent} {self.parent_action}")
        if self.key:
            columns.append(f"PRIMARY KEY ({', '.join(self.key)})")
        return f"CREATE TABLE {self.name} ({', '.join(columns)}) {self.options}"


Operation = tuple[Actor, str, tuple[object, ...]]


@st.composite
def schemas(draw: st.DrawFn, *, unique: bool = True) -> tuple[TableShape, ...]:
    shapes: list[TableShape] = []
    for n in range(draw(st.integers(1, 3))):
        name = f"t{n}"
        key, options = draw(
            st.sampled_from(
                [
                    (("id",), ""),
                    (("id",), "WITHOUT ROWID"),
                    (("k",), ""),
                    (("k", "l"), ""),
                    (("k", "l"), "WITHOUT ROWID"),
                    ((), ""),
                ]
            )
        )
        parents = [each.name for each in shapes if len(each.key) == 1]
        parents += [name] if len(key) == 1 else []
        parent = draw(st.sampled_from([None, *parents]))
        actions = ["", "ON DELETE CASCADE", "ON DELETE SET NULL"]
        if parent != name:
            # Of a row that follows its own key the temporary triggers see the second change first.
            actions.append("ON UPDATE CASCADE")
        shapes.append(
            TableShape(
                name=name,
                key=key,
                options=options,
                values=draw(st.integers(1, 3)),
                is_unique=unique and draw(st.booleans()),
                parent=parent,
                parent_action=draw(st.sampled_from(actions)),
            )
        )
    return tuple(shapes)


@st.composite
def operations(draw: st.DrawFn, shapes: tuple[TableShape, ...]) -> Operation:
    actor = draw(st.sampled_from(ACTORS))
    shape = draw(st.sampled_from(shapes))
    keys, values = st.sampled_from(KEYS), st.sampled_from(VALUES)
    columns = [*shape.key, *(f"v{n}" for n in range(shape.values))]
    columns += ["parent"] if shape.parent else []
    where = f"{shape.key[0] if shape.key else 'rowid'} = ?"

    def value(column: str) -> object:
        if column in shape.key:
            return draw(keys)
        return draw(st.sampled_from((None, *KEYS)) if column == "parent" else values)

    verb = draw(st.sampled_from(["insert", "update", "update", "delete"]))
    if verb == "insert":
        marks = ", ".join("?" for _ in columns)
        text = f"INSERT INTO {shape.name} ({', '.join(columns)}) VALUES ({marks})"
        return actor, text, tuple(value(column) for column in columns)
    if verb == "delete":
        return actor, f"DELETE FROM {shape.name} WHERE {where}", (draw(keys),)
    changed = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=2, unique=True))
    settings = ", ".join(f"{column} = ?" for column in changed)
    parameters = (*(value(column) for column in changed), draw(keys))
    return actor, f"UPDATE {shape.name} SET {settings} WHERE {where}", parameters


@st.composite
def histories(
    draw: st.DrawFn, *, unique: bool = True, max_size: int = 25
) -> tuple[tuple[TableShape, ...], list[Operation], list[Operation]]:
    """Tables, what fills them at first, and what happens then."""
    shapes = draw(schemas(unique=unique))
    some = st.lists(operations(shapes), max_size=max_size)
    return shapes, draw(some), draw(some)


def database(shapes: tuple[TableShape, ...], first: list[Operation]) -> Recorder:
    """A database in memory, filled, and recorded from then on."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    for shape in shapes:
        connection.execute(shape.sql())
    for _, text, parameters in first:
        with suppress(sqlite3.IntegrityError):
            connection.execute(text, parameters)
    return Recorder(connection)


def perform(recorder: Recorder, history: list[Operation]) -> None:
    """What the database refuses didn't happen."""
    for actor, text, parameters in history:
        with suppress(sqlite3.IntegrityError), recorder.acting(actor) as connection:
            connection.execute(text, parameters)


def rows_of(recorder: Recorder, shapes: tuple[TableShape, ...]) -> dict[str, dict[object, object]]:
    """Every row by its key, with types."""
    found = {}
    for shape in shapes:
        key = ", ".join(shape.key) or "rowid"
        width = len(shape.key) or 1
        rows = recorder.connection.execute(f"SELECT {key}, * FROM {shape.name}").fetchall()
        found[shape.name] = {
            row[:width]: tuple((type(value), value) for value in row[width:]) for row in rows
        }
    return found
