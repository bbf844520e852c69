"""Rows of a MariaDB or MySQL database, read and written as their images have them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from indelible.capture.mariadb.connecting import Connection, load_driver, number_of, said
from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.schema import MariadbSchema, fetch
from indelible.capture.mariadb.values import image_sql, parameter_of, parse_image, value_of
from indelible.events.values import Id, Value
from indelible.policy.model import Server
from indelible.reversal.live import Row, TableShape
from indelible.reversal.server_rows import ServerRows, ServerTables
from indelible.reversal.writing import Refusal

_LOST = 2_000
"""From here on errors are of the connection, up to the next thousand."""


def mariadb_tables(schema: MariadbSchema, kind_of: Callable[[str], str]) -> ServerTables:
    database = quote_name(schema.database)
    return ServerTables(
        [
            (table, f"{database}.{quote_name(table.name)}")
            for table in schema.tables.tables.values()
        ],
        kind_of,
    )


class MariadbRows(ServerRows):
    """See `ServerRows`."""

    def __init__(
        self, connection: Connection, server: Server, tables: ServerTables, *, locks: bool = False
    ) -> None:
        """With `locks` every row that is read is locked, and the place of one that isn't there."""
        super().__init__(tables)
        self._locking = " FOR UPDATE" if locks else ""
        self._connection = connection
        self._server = server

    def quote_name(self, name: str) -> str:
        return quote_name(name)

    def bind(self, type_: str, value: Value) -> tuple[str, list[Any]]:
        place, given = parameter_of(type_, value)
        return place, [given]

    def read(self, shape: TableShape, row_id: Id) -> Row | None:
        """A key that the server takes for the same, as `A` for `a`, is another row's."""
        row = super().read(shape, row_id)
        return row if row is not None and self._is_of(shape, row, row_id) else None

    def select(
        self, kind: str, names: Sequence[str], where: str, parameters: Sequence[Any]
    ) -> Iterator[dict[str, Value]]:
        types = [self._tables.types[kind][name] for name in names]
        image = image_sql(types, [quote_name(name) for name in names], ())
        text = f"SELECT {image} FROM {self._tables.quoted[kind]} WHERE {where}"
        text += self._locking
        for (found,) in fetch(self._connection, text, parameters):
            if found is None:
                raise Refusal("a row is larger than max_allowed_packet")
            fields, _ = parse_image(found, types, ())
            yield dict(zip(names, map(value_of, types, fields), strict=True))

    def run(self, text: str, parameters: Sequence[Any]) -> None:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(text, parameters)
        except load_driver().Error as error:
            if _LOST <= number_of(error) < _LOST + 1_000 or not number_of(error):
                raise
            raise Refusal(said(error, self._server)) from error

    def _is_of(self, shape: TableShape, row: Row, row_id: Id) -> bool:
        return all(
            row.get(name, value) == value for name, value in zip(shape.key, row_id, strict=True)
        )
