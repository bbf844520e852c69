"""Rows of a PostgreSQL database, read and written in the server's text form, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.names import quote_name
from indelible.capture.postgres.schema import PostgresSchema
from indelible.capture.postgres.values import parse_record, text_of, value_of
from indelible.events.values import Value
from indelible.reversal.server_rows import ServerRows, ServerTables
from indelible.reversal.writing import Refusal

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection


def postgres_tables(schema: PostgresSchema, kind_of: Callable[[str], str]) -> ServerTables:
    """Partitions are written through their roots."""
    roots = [one for one in schema.relations.values() if one.root == one.oid]
    tables = [(schema.table(root), root.quoted) for root in roots]
    return ServerTables([(table, name) for table, name in tables if table is not None], kind_of)


class PostgresRows(ServerRows):
    """See `ServerRows`."""

    overriding = "OVERRIDING SYSTEM VALUE "

    def __init__(self, connection: Connection, tables: ServerTables) -> None:
        super().__init__(tables)
        self._connection = connection

    def quote_name(self, name: str) -> str:
        return quote_name(name)

    def bind(self, type_: str, value: Value) -> tuple[str, list[Any]]:
        return f"CAST(%s AS {_sql_type(type_)})", [text_of(value)]

    def select(
        self, kind: str, names: Sequence[str], where: str, parameters: Sequence[Any]
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

    def run(self, text: str, parameters: Sequence[Any]) -> None:
        driver = load_driver()
        try:
            self._connection.execute(text, parameters)
        except (driver.IntegrityError, driver.DataError, driver.ProgrammingError) as error:
            raise Refusal(error.diag.message_primary or type(error).__name__) from error
        except driver.errors.RaiseException as error:
            raise Refusal(error.diag.message_primary or "a trigger") from error


def _sql_type(name: str) -> str:
    """A type as `Column.type` names it, in SQL, without a length: that is the column's."""
    base = name.removesuffix("[]")
    schema, dot, own = base.partition(".")
    quoted = f"{quote_name(schema)}.{quote_name(own)}" if dot else f"pg_catalog.{quote_name(base)}"
    return quoted + ("[]" if base != name else "")
