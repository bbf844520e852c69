"""The schema as plans need it: names, keys and what hides behind a view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")


class TableShape(msgspec.Struct, frozen=True):
    """A table.

    `key` are the columns of the primary key in its order; without one it is the usable name of
    the rowid, and `keyless` says so. `integer_key`: the key is the rowid, so always an integer.
    Without `key` its rows can't be named (a virtual table, a table of an attached database).
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    keyless: bool = False
    integer_key: bool = False


class Schema(msgspec.Struct, frozen=True):
    """Everything by folded name: SQLite's names don't tell upper from lower case.

    `views` holds the text of each; `temporary` the names that the temporary database takes (they
    go before the main database's); `functions` the kind of each that the application added: `s`
    scalar, `a` or `w` aggregate.
    """

    tables: Mapping[str, TableShape]
    views: Mapping[str, str] = {}
    temporary: frozenset[str] = frozenset()
    functions: Mapping[str, str] = {}
    is_utf8: bool = True

    def names(self) -> frozenset[str]:
        """Every table's, view's and column's name, folded."""
        found = set(self.tables) | set(self.views)
        for table in self.tables.values():
            found.update(column.lower() for column in table.columns)
        return frozenset(found)


def rowid_name(columns: tuple[str, ...]) -> str | None:
    """The name by which a statement can reach the rowid; None where columns take all three."""
    taken = {column.lower() for column in columns}
    return next((name for name in ROWID_NAMES if name not in taken), None)
