"""Rows of a PostgreSQL database, read and written in the server's text form, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.names import quote_name
from indelible.capture.postgres.schema import PostgresSchema
from indelible.capture.postgres.values import parse_record, text_of, value_of
from indelible.capture.schema import Table
from indelible.events.values import Id, Value
from indelible.reversal.live import ForeignKey, Row, TableShape
from indelible.reversal.writing import Refusal

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection


class PostgresTables:
    """The application's tables, by kind: those that have a key."""

    def __init__(self, schema: PostgresSchema, kind_of: Callable[[str], str]) -> None:
        self.shapes: dict[str, TableShape] = {}
        self.quoted: dict[str, str] = {}
        self.types: dict[str, dict[str, str]] = {}
        roots = [one for one in schema.relations.values() if one.root == one.oid]
        tables = [(root, schema.table(root)) for root in roots]
        found = [(root, table) for root, table in tables if table is not None and table.key]
        for root, table in found:
            if table.unseen is None:
                kind = kind_of(table.name).replace(":", "_")
                self.shapes[kind] = _shape(kind, table)
                self.quoted[kind] = root.quoted
                self.types[kind] = {column.name: column.type for column in table.columns}
        kinds = {shape.table.lower(): kind for kind, shape in self.shapes.items()}
        self.foreign_keys: Sequence[ForeignKey] = [
            ForeignKey(
                child_kind=kinds[table.name.lower()],
                columns=key.columns,
                parent_kind=kinds[key.table.lower()],
                parent_columns=tuple(name or "" for name in key.parents),
                follows_update=key.on_update in ("CASCADE", "SET NULL", "SET DEFAULT"),
                is_immediate=key.is_immediate,
            )
            for _, table in found
            for key in table.foreign_keys
            if table.name.lower() in kinds and key.table.lower() in kinds
        ]

    def match(
        self, kind: str, names: Sequence[str], values: Sequence[Value]
    ) -> tuple[str, list[str]]:
        """The condition that these columns have these values, and its parameters."""
        terms, parameters = [], []
        for name, value in zip(names, values, strict=True):
            place, given = self.bind(kind, name, value)
            terms.append(f"{quote_name(name)} {'=' if given else 'IS'} {place}")
            parameters += given
        return " AND ".join(terms), parameters

    def bind(self, kind: str, name: str, value: Value) -> tuple[str, list[str]]:
        """The placeholder and the parameter by which `value` is written as it was."""
        text = text_of(value)
        if text is None:
            return "NULL", []
        return f"CAST(%s AS {_sql_type(self.types[kind][name])})", [text]


class PostgresRows:
    """`live.LiveRows` and `writing.RowStore` of one transaction.

    Rows that were read are remembered, until one is written.
    """

    def __init__(self, connection: Connection, tables: PostgresTables) -> None:
        self._connection = connection
        self._tables = tables
        self._rows: dict[tuple[str, Id], Row | None] = {}
        self.shapes: Mapping[str, TableShape] = tables.shapes
        self.foreign_keys = tables.foreign_keys

    def row(self, kind: str, row_id: Id) -> Row | None:
        at = (kind, row_id)
        if at not in self._rows:
            self._rows[at] = self.read(self.shapes[kind], row_id)
        return self._rows[at]

    def find(self, kind: str, columns: Sequence[str], values: Sequence[Value]) -> Iterator[Id]:
        if kind in self.shapes:
            where, parameters = self._tables.match(kind, columns, values)
            yield from (
                tuple(row.values())
                for row in self._select(kind, self.shapes[kind].key, where, parameters)
            )

    def read(self, shape: TableShape, row_id: Id) -> Row | None:
        where, parameters = self._tables.match(shape.kind, shape.key, row_id)
        return next(self._select(shape.kind, shape.columns, where, parameters), None)

    def insert(self, shape: TableShape, values: Mapping[str, Value]) -> None:
        bound = [self._tables.bind(shape.kind, name, value) for name, value in values.items()]
        listed = ", ".join(map(quote_name, values))
        places = ", ".join(place for place, _ in bound)
        self._write(
            f"INSERT INTO {self._tables.quoted[shape.kind]} ({listed}) "
            f"OVERRIDING SYSTEM VALUE VALUES ({places})",
            [text for _, given in bound for text in given],
        )

    def update(self, shape: TableShape, row_id: Id, values: Mapping[str, Value]) -> None:
        bound = {name: self._tables.bind(shape.kind, name, value) for name, value in values.items()}
        settings = ", ".join(f"{quote_name(name)} = {place}" for name, (place, _) in bound.items())
        where, key = self._tables.match(shape.kind, shape.key, row_id)
        given = [text for _, each in bound.values() for text in each]
        self._write(
            f"UPDATE {self._tables.quoted[shape.kind]} SET {settings} WHERE {where}", given + key
        )

    def delete(self, shape: TableShape, row_id: Id) -> None:
        where, key = self._tables.match(shape.kind, shape.key, row_id)
        self._write(f"DELETE FROM {self._tables.quoted[shape.kind]} WHERE {where}", key)

    def _select(
        self, kind: str, names: Sequence[str], where: str, parameters: Sequence[str]
    ) -> Iterator[dict[str, Value]]:
        types = self._tables.types[kind]
        listed = ", ".join(map(quote_name, names))
        text = f"SELECT ROW({listed})::text FROM {self._tables.quoted[kind]} WHERE {where}"
        for (record,) in self._connection.execute(text, parameters).fetchall():
            fields = parse_record(record, len(names))
            yield {
                name: value_of(types[name], field)
                for name, field in zip(names, fields, strict=True)
            }

    def _write(self, text: str, parameters: Sequence[str]) -> None:
        driver = load_driver()
        self._rows.clear()
        try:
            self._connection.execute(text, parameters)
        except (driver.IntegrityError, driver.DataError, driver.ProgrammingError) as error:
            raise Refusal(error.diag.message_primary or type(error).__name__) from error
        except driver.errors.RaiseException as error:
            raise Refusal(error.diag.message_primary or "a trigger") from error


def _shape(kind: str, table: Table) -> TableShape:
    return TableShape(
        kind=kind,
        table=table.name,
        key=table.key,
        keyless=False,
        columns=tuple(column.name for column in table.columns if not column.is_generated),
        computed=frozenset(column.name for column in table.columns if column.is_generated),
    )


def _sql_type(name: str) -> str:
    """A type as `Column.type` names it, in SQL, without a length: that is the column's."""
    base = name.removesuffix("[]")
    schema, dot, own = base.partition(".")
    quoted = f"{quote_name(schema)}.{quote_name(own)}" if dot else f"pg_catalog.{quote_name(base)}"
    return quoted + ("[]" if base != name else "")
