"""The schema of a database, as far as capturing its reads and its writes needs it. Pure.

Each database has a reader of its own (`sqlite_schema`); what it can't tell keeps its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec


class Column(msgspec.Struct, frozen=True):
    """One column; `default` is the SQL of its default, `is_generated`: the database computes it."""

    name: str
    type: str = ""
    not_null: bool = False
    default: str | None = None
    is_generated: bool = False


class IndexTerm(msgspec.Struct, frozen=True):
    """One term of an index: a column, or an expression as written in it."""

    column: str | None
    expression: str | None
    collation: str


class UniqueIndex(msgspec.Struct, frozen=True):
    """What must be unique; `where` is a partial index's predicate as written."""

    name: str
    terms: tuple[IndexTerm, ...]
    where: str | None


class ForeignKey(msgspec.Struct, frozen=True):
    """`columns` refer to `parents` of `table`; actions are SQL's words (`CASCADE`, …).

    `is_immediate`: checked with each statement, and can't be put off to the commit.
    """

    table: str
    columns: tuple[str, ...]
    parents: tuple[str | None, ...]
    on_update: str
    on_delete: str
    is_immediate: bool = False


class Trigger(msgspec.Struct, frozen=True):
    """A trigger on `table`. Of two, the one of the higher `age` was created later."""

    name: str
    table: str
    sql: str
    age: int


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table. `key` is its primary key in key order; empty for a table without one.

    `rowid` is a name by which rows can be told apart without a key (None: there is none, or
    columns of the table hide it). `is_rowid_key` says that the key is the rowid itself, so always
    an integer; `key_can_be_null` that rows may share a key of NULLs. `unseen` is why no trigger
    sees its writes, where none does.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rowid: str | None = None
    is_rowid_key: bool = False
    key_can_be_null: bool = False
    unique: tuple[UniqueIndex, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    unseen: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns' names, as declared."""
        return tuple(column.name for column in self.columns)

    @property
    def keyless(self) -> bool:
        """Whether its rows are named by their rowid."""
        return not self.key and self.rowid is not None

    @property
    def id_columns(self) -> tuple[str, ...]:
        """What a row's id is made of: the key, or the rowid; nothing where rows can't be named."""
        return self.key or ((self.rowid,) if self.rowid is not None else ())

    @property
    def has_integer_ids(self) -> bool:
        return self.is_rowid_key or self.keyless

    def column(self, name: str) -> Column | None:
        folded = name.lower()
        return next((one for one in self.columns if one.name.lower() == folded), None)


class Unseen(msgspec.Struct, frozen=True):
    """Something whose writes no trigger sees, and why."""

    name: str
    why: str


class Schema(msgspec.Struct, frozen=True):
    """Every table of the application that a statement can name, by its name in lower case.

    With `has_typed_text` rows are captured as the server's text of each column, by its type.
    `triggers` are all, ours too. `views` holds the names that each mentions; `definitions` the
    query of those in whose place it may stand; `aliases` what else tables and views may be called
    by; `temporary` the names that temporary tables take (they go
    before others of that name); `functions` the kind of each that the application added: `s`
    scalar, `a` or `w` aggregate.
    """

    tables: Mapping[str, Table]
    triggers: tuple[Trigger, ...] = ()
    views: Mapping[str, tuple[str, ...]] = {}
    definitions: Mapping[str, str] = {}
    aliases: Mapping[str, tuple[str, ...]] = {}
    temporary: frozenset[str] = frozenset()
    functions: Mapping[str, str] = {}
    is_utf8: bool = True
    has_typed_text: bool = False

    def table(self, name: str) -> Table | None:
        return self.tables.get(name.lower())

    def capturable(self) -> Iterator[Table]:
        """The tables whose writes triggers see."""
        return (table for table in self.tables.values() if table.unseen is None)

    def unseen(self) -> Iterator[Unseen]:
        """The tables whose writes no trigger sees."""
        for table in self.tables.values():
            if table.unseen is not None:
                yield Unseen(table.name, table.unseen)

    def words(self) -> frozenset[str]:
        """Every table's, view's and column's name, in lower case."""
        found = set(self.tables) | set(self.views)
        for table in self.tables.values():
            found.update(column.name.lower() for column in table.columns)
        return frozenset(found)
