"""Rows of a server's database, read and written bit for bit: what its kinds share."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from indelible.capture.schema import Table
from indelible.events.context import Frame
from indelible.events.values import Id, Value
from indelible.reversal.live import ForeignKey, Row, TableShape

_FOLLOWS = ("CASCADE", "SET NULL", "SET DEFAULT")


class ServerTables:
    """The application's tables, by kind: those that have a key, and as SQL names them."""

    def __init__(self, tables: Iterable[tuple[Table, str]], kind_of: Callable[[str], str]) -> None:
        self.shapes: dict[str, TableShape] = {}
        self.quoted: dict[str, str] = {}
        self.types: dict[str, dict[str, str]] = {}
        found = [(table, quoted) for table, quoted in tables if table.key]
        for table, quoted in found:
            if table.unseen is None:
                kind = kind_of(table.name).replace(":", "_")
                self.shapes[kind] = _shape(kind, table)
                self.quoted[kind] = quoted
                self.types[kind] = {column.name: column.type for column in table.columns}
        kinds = {shape.table.lower(): kind for kind, shape in self.shapes.items()}
        self.foreign_keys: Sequence[ForeignKey] = [
            ForeignKey(
                child_kind=kinds[table.name.lower()],
                columns=key.columns,
                parent_kind=kinds[key.table.lower()],
                parent_columns=tuple(name or "" for name in key.parents),
                follows_update=key.on_update in _FOLLOWS,
                is_immediate=key.is_immediate,
            )
            for table, _ in found
            for key in table.foreign_keys
            if table.name.lower() in kinds and key.table.lower() in kinds
        ]

    def concerned_by(self, kinds: set[str]) -> list[str]:
        """These tables, those that refer to them and that they refer to, as SQL names them: in one
        order, for all."""
        concerned = kinds & self.shapes.keys()
        for key in self.foreign_keys:
            if key.child_kind in kinds or key.parent_kind in kinds:
                concerned |= {key.child_kind, key.parent_kind}
        return [self.quoted[kind] for kind in sorted(concerned)]


class ServerRows(abc.ABC):
    """`live.LiveRows` and `writing.RowStore` of one transaction.

    Rows that were read are remembered, until one is written. Placeholders are `%s`.
    """

    def __init__(self, tables: ServerTables) -> None:
        self._tables = tables
        self._rows: dict[tuple[str, Id], Row | None] = {}
        self.shapes: Mapping[str, TableShape] = tables.shapes
        self.foreign_keys = tables.foreign_keys

    @abc.abstractmethod
    def quote_name(self, name: str) -> str:
        """`name` as an identifier."""

    @abc.abstractmethod
    def bind(self, type_: str, value: Value) -> tuple[str, list[Any]]:
        """The SQL and the parameters (none for NULL) by which `value` is written as it was."""

    @abc.abstractmethod
    def select(
        self, kind: str, names: Sequence[str], where: str, parameters: Sequence[Any]
    ) -> Iterator[dict[str, Value]]:
        """These columns of the rows where that holds."""

    @abc.abstractmethod
    def run(self, text: str, parameters: Sequence[Any]) -> None:
        """Run a statement that writes. Raises `writing.Refusal`."""

    def row(self, kind: str, row_id: Id) -> Row | None:
        at = (kind, row_id)
        if at not in self._rows:
            self._rows[at] = self.read(self.shapes[kind], row_id)
        return self._rows[at]

    def find(self, kind: str, columns: Sequence[str], values: Sequence[Value]) -> Iterator[Id]:
        if kind in self.shapes:
            where, parameters = self._match(kind, columns, values)
            yield from (
                tuple(row.values())
                for row in self.select(kind, self.shapes[kind].key, where, parameters)
            )

    def read(self, shape: TableShape, row_id: Id) -> Row | None:
        where, parameters = self._match(shape.kind, shape.key, row_id)
        return next(self.select(shape.kind, shape.columns, where, parameters), None)

    def insert(self, shape: TableShape, values: Mapping[str, Value]) -> None:
        bound = [self._bound(shape.kind, name, value) for name, value in values.items()]
        listed = ", ".join(map(self.quote_name, values))
        places = ", ".join(place for place, _ in bound)
        self._write(
            f"INSERT INTO {self._tables.quoted[shape.kind]} ({listed}) "
            f"{self.overriding}VALUES ({places})",
            [each for _, given in bound for each in given],
        )

    overriding = ""
    """What lets a column be written that the database fills by itself."""

    def update(self, shape: TableShape, row_id: Id, values: Mapping[str, Value]) -> None:
        bound = {name: self._bound(shape.kind, name, value) for name, value in values.items()}
        settings = ", ".join(
            f"{self.quote_name(name)} = {place}" for name, (place, _) in bound.items()
        )
        where, key = self._match(shape.kind, shape.key, row_id)
        given = [each for _, given in bound.values() for each in given]
        self._write(
            f"UPDATE {self._tables.quoted[shape.kind]} SET {settings} WHERE {where}", given + key
        )

    def delete(self, shape: TableShape, row_id: Id) -> None:
        where, key = self._match(shape.kind, shape.key, row_id)
        self._write(f"DELETE FROM {self._tables.quoted[shape.kind]} WHERE {where}", key)

    def _match(
        self, kind: str, names: Sequence[str], values: Sequence[Value]
    ) -> tuple[str, list[Any]]:
        """The condition that these columns have these values, and its parameters."""
        terms, parameters = [], []
        for name, value in zip(names, values, strict=True):
            place, given = self._bound(kind, name, value)
            terms.append(f"{self.quote_name(name)} {'=' if given else 'IS'} {place}")
            parameters += given
        return " AND ".join(terms), parameters

    def _bound(self, kind: str, name: str, value: Value) -> tuple[str, list[Any]]:
        if value is None:
            return "NULL", []
        return self.bind(self._tables.types[kind][name], value)

    def _write(self, text: str, parameters: Sequence[Any]) -> None:
        self._rows.clear()
        self.run(text, parameters)


class Sender(Protocol):
    """Tells a connection who acts, as `ContextSender` of each server does."""

    def send_context(
        self,
        cursor: Any,
        frame: Frame | None,
        *,
        nonce: str | None = None,
        reverses: tuple[str, ...] = (),
    ) -> str: ...


class SentContext:
    """`writing.WriteContext`: told to the connection, again for each step."""

    def __init__(self, sender: Sender, connection: Any) -> None:
        self._sender = sender
        self._connection = connection
        self._nonce: str | None = None

    def enter(self, frame: Frame | None, *, reverses: tuple[str, ...] = ()) -> None:
        with self._connection.cursor() as cursor:
            self._nonce = self._sender.send_context(
                cursor, frame, nonce=self._nonce, reverses=reverses
            )

    def leave(self) -> None:
        pass


def _shape(kind: str, table: Table) -> TableShape:
    return TableShape(
        kind=kind,
        table=table.name,
        key=table.key,
        keyless=False,
        columns=tuple(column.name for column in table.columns if not column.is_generated),
        computed=frozenset(column.name for column in table.columns if column.is_generated),
    )
