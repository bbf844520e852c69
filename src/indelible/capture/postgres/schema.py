"""Read the schema of a live PostgreSQL database."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.capture.postgres.names import display_name, quote_name
from indelible.capture.schema import Column, ForeignKey, Schema, Table
from indelible.named_sql import load_statements

if TYPE_CHECKING:
    from psycopg import Cursor

    from indelible.capture.postgres.connecting import Connection

_ACTIONS: Final = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}


class Relation(msgspec.Struct, frozen=True, kw_only=True):
    """An ordinary table, a partitioned one or a partition.

    `root` is the table that its rows are rows of: of a partition the outermost partitioned table,
    else itself. `inherits` says that it is part of an inheritance tree that isn't partitioned.
    `identity` is its REPLICA IDENTITY as the catalogue has it, with the index that it names, if it
    does. `published` is another text whenever our publication was touched; None where that doesn't
    have all of the relation's rows, though it may list it.
    """

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    root: int
    inherits: bool
    owner: str
    unseen: str | None
    is_logged: bool
    identity: str
    identity_index: str | None
    has_primary: bool
    is_listed: bool
    published: str | None

    @property
    def is_readable(self) -> bool:
        """Whether the log can have rows of it."""
        return self.is_logged and not self.is_partitioned

    @property
    def display(self) -> str:
        return display_name(self.schema, self.name)

    @property
    def quoted(self) -> str:
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"


class FoundTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger that is there; `xmin` changes whenever somebody alters it."""

    relation: int
    name: str
    type: int
    enabled: str
    function: int
    xmin: str
    is_ours: bool


class FoundFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function in our schema."""

    oid: int
    name: str
    source: str
    is_definer: bool
    settings: tuple[str, ...]
    xmin: str
    is_owned: bool
    is_private: bool


class PostgresSchema(msgspec.Struct, frozen=True, kw_only=True):
    """`tables` are the roots, by name as policies write it; `relations` all, by oid.

    `table_of` names each root's table. Foreign keys are between roots; `edges` are the pairs
    (parent, child) where what happens to the parent's rows changes the child's.
    """

    tables: Schema
    relations: dict[int, Relation]
    table_of: dict[int, str]
    triggers: tuple[FoundTrigger, ...]
    functions: dict[str, FoundFunction]
    edges: tuple[tuple[int, int], ...]

    def table(self, relation: Relation) -> Table | None:
        """The table whose rows are in `relation`."""
        name = self.table_of.get(relation.root)
        return self.tables.table(name) if name is not None else None


def named_sql(file: str) -> Mapping[str, str]:
    """The named statements of a file beside this one."""
    return load_statements(__package__, file)


def read_schema(connection: Connection) -> PostgresSchema:
    """The schema as it is now. Raises `psycopg.Error`."""
    with one_snapshot(connection) as cursor:
        return _Reader(cursor).read()


@contextlib.contextmanager
def one_snapshot(connection: Connection) -> Iterator[Cursor[Any]]:
    """All that is read here is of one moment; it can't be written."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield cursor


class _Reader:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._sql = named_sql("catalog.sql")

    def read(self) -> PostgresSchema:
        rows = self._fetch("relations")
        oids = [row[0] for row in rows]
        parents = dict(self._fetch("inherits"))
        inherited = set(parents.values())
        partitions = {row[0] for row in rows if row[4]}
        relations = {
            row[0]: Relation(
                oid=row[0],
                schema=row[1],
                name=row[2],
                is_partitioned=row[3] == "p",
                root=_root(row[0], parents, partitions),
                inherits=row[3] == "r"
                and row[0] not in partitions
                and (row[0] in parents or row[0] in inherited),
                owner=row[6],
                unseen=_unseen(row),
                is_logged=row[5] != "u",
                identity=row[10],
                identity_index=row[11],
                has_primary=row[12],
                is_listed=row[13],
                published=row[14],
            )
            for row in rows
        }
        columns = self._columns(oids)
        keys = self._keys(oids, columns)
        foreign_keys = self._foreign_keys(relations, columns)
        tables: dict[str, Table] = {}
        table_of: dict[int, str] = {}
        for relation in relations.values():
            if relation.root != relation.oid:
                continue
            folded = relation.display.lower()
            unseen = relation.unseen
            if folded in tables:
                unseen = f"another table's name differs only in upper and lower case: {folded}"
                folded = f"{folded} ({relation.oid})"
            elif not columns[relation.oid]:
                unseen = unseen or "it has no columns"
            table_of[relation.oid] = folded
            tables[folded] = Table(
                name=relation.display,
                columns=tuple(column for _, column in columns[relation.oid]),
                key=keys.get(relation.oid, ()),
                foreign_keys=tuple(foreign_keys[relation.oid]),
                unseen=unseen,
            )
        return PostgresSchema(
            tables=Schema(tables=tables, has_typed_text=True),
            relations=relations,
            table_of=table_of,
            triggers=tuple(
                FoundTrigger(
                    relation=row[0],
                    name=row[2],
                    type=row[3],
                    enabled=row[4],
                    function=row[5],
                    xmin=row[6],
                    is_ours=row[7],
                )
                for row in self._fetch("triggers")
            ),
            functions={
                row[1]: FoundFunction(
                    oid=row[0],
                    name=row[1],
                    source=row[2],
                    is_definer=row[3],
                    settings=tuple(row[4]),
                    xmin=row[5],
                    is_owned=row[6],
                    is_private=row[7],
                )
                for row in self._fetch("functions")
            },
            edges=tuple(self._edges),
        )

    def _fetch(self, name: str, *parameters: object) -> list[tuple[Any, ...]]:
        self._cursor.execute(self._sql[name], parameters or None)
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def _columns(self, oids: list[int]) -> defaultdict[int, list[tuple[int, Column]]]:
        types = {row[0]: row[1:] for row in self._fetch("types")}
        found: defaultdict[int, list[tuple[int, Column]]] = defaultdict(list)
        for oid, number, name, type_, not_null, is_generated, default in self._fetch(
            "columns", oids
        ):
            column = Column(name, _type_name(type_, types), not_null, default, is_generated)
            found[oid].append((number, column))
        return found

    def _keys(
        self, oids: list[int], columns: Mapping[int, list[tuple[int, Column]]]
    ) -> dict[int, tuple[str, ...]]:
        """The primary key of each table, or the key that REPLICA IDENTITY names."""
        found: dict[int, tuple[str, ...]] = {}
        for oid, places, is_primary, _ in self._fetch("keys", oids):
            names = {number: column.name for number, column in columns[oid]}
            key = tuple(names.get(int(place), "") for place in places.split())
            if all(key) and (is_primary or oid not in found):
                found[oid] = key
        return found

    def _foreign_keys(
        self,
        relations: Mapping[int, Relation],
        columns: Mapping[int, list[tuple[int, Column]]],
    ) -> defaultdict[int, list[ForeignKey]]:
        found: defaultdict[int, list[ForeignKey]] = defaultdict(list)
        self._edges: list[tuple[int, int]] = []
        for child, parent, ours, theirs, on_update, on_delete, can_wait in self._fetch(
            "foreign_keys"
        ):
            if child not in relations or parent not in relations:
                continue
            child_names, parent_names = (
                {number: column.name for number, column in columns[oid]} for oid in (child, parent)
            )
            found[child].append(
                ForeignKey(
                    relations[parent].display,
                    tuple(child_names[number] for number in ours),
                    tuple(parent_names[number] for number in theirs),
                    _ACTIONS[on_update],
                    _ACTIONS[on_delete],
                    is_immediate=not can_wait,
                )
            )
            if {on_update, on_delete} & set("cnd"):
                self._edges.append((relations[parent].root, relations[child].root))
        return found


def _root(oid: int, parents: Mapping[int, int], partitions: set[int]) -> int:
    while oid in partitions and oid in parents:
        oid = parents[oid]
    return oid


def _unseen(row: tuple[Any, ...]) -> str | None:
    kind, owner, is_owned, is_of_extension, is_subscribed = row[3], *row[6:10]
    if kind == "f":
        return "a foreign table: what changes it elsewhere fires no trigger"
    if is_of_extension:
        return "it belongs to an extension"
    if not is_owned:
        return f"its owner is {owner}: install as a member of that role"
    if is_subscribed:
        return "it is filled by a subscription, which fires no statement triggers"
    return None


def _type_name(oid: int, types: Mapping[int, tuple[Any, ...]]) -> str:
    """As values name it: without a schema where it is PostgreSQL's own; a domain is its base."""
    schema, name, kind, base, element, array_of_element = types[oid]
    if kind == "d":
        return _type_name(base, types)
    if element and array_of_element == oid:
        return f"{_type_name(element, types)}[]"
    return name if schema == "pg_catalog" else f"{schema}.{name}"
