"""What statements on a server can name: its tables, views and functions, as they are now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from indelible.capture.postgres.names import display_name
from indelible.capture.postgres.schema import PostgresSchema, Relation, named_sql, read_schema
from indelible.capture.schema import Schema, Table

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_INHERITED: Final = "a table that hands out the rows of others, too"
_PARTITION: Final = "a partition read by its own name"
_VIEW: Final = "read through a view"
_FOLDED: Final = "columns whose names differ only in upper and lower case"


class Named(msgspec.Struct, frozen=True):
    """What a name stands for: a table, or (`why` not None) what its rows come from unnamed."""

    table: Table | None
    behind: tuple[Table, ...] = ()
    why: str | None = None


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
    named = {(one.schema, one.name): _named(one, found) for one in found.relations.values()}
    for oid, namespace, name, _ in views:
        tables = dict.fromkeys(_tables_behind(displays[oid], schema, frozenset()))
        named[namespace, name] = Named(None, tuple(schema.tables[key] for key in tables), _VIEW)
    return Readable(schema, named, bare, system, functions)


def schema_for(readable: Readable, session: Session) -> Schema:
    """Every table under each name by which a text of that session may mention it."""
    aliases: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for name, keys in readable.bare.items():
        for namespace, key in keys.items():
            aliases[f"{namespace.lower()}.{name}"][key] = None
        found = [keys[namespace] for namespace in session.path if namespace in keys][:1]
        for key in found if session.path else keys.values():
            aliases[name][key] = None
    return replace(readable.schema, aliases={name: tuple(keys) for name, keys in aliases.items()})


def _keys(found: PostgresSchema) -> Iterator[tuple[int, str]]:
    """Under which key of `Schema.tables` the rows of each relation are."""
    for relation in found.relations.values():
        yield relation.oid, found.table_of.get(relation.root, relation.display.lower())


def _named(relation: Relation, found: PostgresSchema) -> Named:
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
    return Named(table) if why is None else Named(None, (table,), why)


def _tables_behind(key: str, schema: Schema, passed: frozenset[str]) -> Iterator[str]:
    if key in schema.tables:
        yield key
    if key not in passed:
        for inner in schema.views.get(key, ()):
            yield from _tables_behind(inner, schema, passed | {key})
