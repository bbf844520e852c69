"""What statements on a server can name: its tables, views and functions, as they are now."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.names import display_name
from indelible.capture.postgres.schema import PostgresSchema, Relation, named_sql, read_schema
from indelible.capture.schema import Schema, Table

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_LOCK_MS: Final = 50
_INHERITED: Final = "a table that hands out the rows of others, too"
_PARTITION: Final = "a partition read by its own name"
_VIEW: Final = "read through a view"
_FOLDED: Final = "columns whose names differ only in upper and lower case"


class Definition(msgspec.Struct, frozen=True):
    """A view: its query, each name in it with its schema, the version of that, and its columns."""

    name: str
    oid: int
    text: str
    version: str
    columns: tuple[str, ...]


class Named(msgspec.Struct, frozen=True):
    """What a name stands for: a table, or (`why` not None) what its rows come from unnamed.

    `is_filtered`: row security may hide some of its rows from whoever asks. `view`: its definition,
    by which they may be named after all.
    """

    table: Table | None
    behind: tuple[Table, ...] = ()
    why: str | None = None
    is_filtered: bool = False
    view: Definition | None = None
    oid: int = 0


class Function(msgspec.Struct, frozen=True):
    """All functions of one name. `kinds` as in `pg_proc`; `is_fixed`: those of the application
    depend on nothing but their arguments; `is_volatile`: one of them may differ each time."""

    kinds: frozenset[str]
    returns_set: bool
    is_users: bool
    is_fixed: bool
    is_volatile: bool


class Readable(msgspec.Struct, frozen=True):
    """`named` is by schema and name; `system_relations` are the names in `pg_catalog`.

    `bare` is under which keys of `schema` the tables and views of a name are, by their schemas.
    """

    schema: Schema
    named: Mapping[tuple[str, str], Named]
    bare: Mapping[str, Mapping[str, str]]
    system_relations: frozenset[str]
    functions: Mapping[str, Function]


class Session(msgspec.Struct, frozen=True):
    """What names mean in one session: which schemas are searched, who asks, what is temporary.

    Without a `path` nothing is known of it: a name may be in any schema.
    """

    path: tuple[str, ...]
    user: str
    temporary: frozenset[str]


NOTHING: Final = Readable(Schema({}), {}, {}, frozenset(), {})
"""Of a server that couldn't be asked yet."""


def read_readable(connection: Connection) -> Readable:
    """What is there now. Raises `psycopg.Error`."""
    found = read_schema(connection)
    sql = named_sql("catalog.sql")
    with connection.cursor() as cursor:
        views = cursor.execute(sql["views"]).fetchall()
        filtered = {row[0] for row in cursor.execute(sql["filtered"])}
        system = frozenset(row[0] for row in cursor.execute(sql["system_relations"]))
        functions = {
            name: Function(frozenset(kinds), *known)
            for name, kinds, *known in cursor.execute(sql["callable"])
        }
    keys = dict(_keys(found))
    displays = {row[0]: display_name(row[1], row[2]).lower() for row in views}
    behind = {
        displays[oid]: tuple(
            displays.get(each) or keys[each]
            for each in references
            if each in displays or each in keys
        )
        for oid, _, _, references in views
    }
    bare: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for relation in found.relations.values():
        bare[relation.name.lower()][relation.schema] = keys[relation.oid]
    for oid, namespace, name, _ in views:
        bare[name.lower()][namespace] = displays[oid]
    schema = Schema(tables=found.tables.tables, views=behind, has_typed_text=True)
    named = {
        (one.schema, one.name): _named(one, found, is_filtered=one.oid in filtered)
        for one in found.relations.values()
    }
    definitions = _read_definitions(connection, displays)
    for oid, namespace, name, _ in views:
        tables = dict.fromkeys(_tables_behind(displays[oid], schema, frozenset()))
        named[namespace, name] = Named(
            None,
            tuple(schema.tables[key] for key in tables),
            _VIEW,
            view=definitions.get(oid),
        )
    return Readable(schema, named, bare, system, functions)


def _read_definitions(connection: Connection, displays: Mapping[int, str]) -> dict[int, Definition]:
    """The definitions of views. The server locks what they read to write them down, so what
    somebody else has locked is left out, and so are all where we'd have to wait after all."""
    with contextlib.suppress(load_driver().Error), connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_MS}ms'")
        found = connection.execute(named_sql("catalog.sql")["definitions"]).fetchall()
        return {
            oid: Definition(displays[oid], oid, text, version, tuple(columns))
            for oid, text, version, columns in found
            if text and oid in displays
        }
    return {}


class _Aliases(Mapping[str, tuple[str, ...]]):
    """Under which keys of `Schema` a text of one session may mean a name, bare or with its schema.

    Looked up where it is asked: a server may have a schema for each of its tenants.
    """

    def __init__(self, readable: Readable, path: tuple[str, ...]) -> None:
        self._bare = readable.bare
        self._path = path

    def __getitem__(self, name: str) -> tuple[str, ...]:
        found: list[str] = []
        if name in self._bare:
            keys = self._bare[name]
            meant = [keys[schema] for schema in self._path if schema in keys][:1]
            found += meant if self._path else keys.values()
        # Either part may have a full stop in it.
        for at, character in enumerate(name):
            if character == ".":
                keys = self._bare.get(name[at + 1 :], {})
                found += [key for schema, key in keys.items() if schema.lower() == name[:at]]
        if not found:
            raise KeyError(name)
        return tuple(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bare)

    def __len__(self) -> int:
        return len(self._bare)


def schema_for(readable: Readable, session: Session) -> Schema:
    """Every table under each name by which a text of that session may mention it."""
    return replace(readable.schema, aliases=_Aliases(readable, session.path))


def _keys(found: PostgresSchema) -> Iterator[tuple[int, str]]:
    """Under which key of `Schema.tables` the rows of each relation are."""
    for relation in found.relations.values():
        yield relation.oid, found.table_of.get(relation.root, relation.display.lower())


def _named(relation: Relation, found: PostgresSchema, *, is_filtered: bool) -> Named:
    table = found.table(relation)
    if table is None:
        return Named(None)
    why = None
    if relation.inherits:
        why = _INHERITED
    elif relation.root != relation.oid:
        why = _PARTITION
    elif len({name.lower() for name in table.names}) < len(table.names):
        why = _FOLDED
    if why is not None:
        return Named(None, (table,), why)
    return Named(table, is_filtered=is_filtered, oid=relation.oid)


def _tables_behind(key: str, schema: Schema, passed: frozenset[str]) -> Iterator[str]:
    if key in schema.tables:
        yield key
    if key not in passed:
        for inner in schema.views.get(key, ()):
            yield from _tables_behind(inner, schema, passed | {key})
