"""What differs between databases in how a query is read, and how keys are fetched beside it."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import sqlglot
from sqlglot import exp

from indelible.capture.schema import Schema, Table
from indelible.capture.statements.carried import Carried
from indelible.capture.statements.plan import Taken, Verb
from indelible.capture.statements.tokens import InLists, Token

if TYPE_CHECKING:
    from indelible.capture.statements.sources import Source
    from indelible.capture.statements.statement import Statement
    from indelible.capture.statements.view_keys import View
    from indelible.capture.statements.views import SeenThrough


class Dialect(abc.ABC):
    """One database's SQL. Safe for threads.

    `parser` is sqlglot's dialect. `keywords` are words in capitals that stand before brackets
    and call nothing. `in_lists` finds those of a text. `has_bare_columns`: a group may hand out
    columns of one of its rows. `has_row_values`: a table's alias may stand for its whole row.
    `quotes_text_as_names`: a word in double quotes that names nothing is a string.
    `hides_unread`: behind a token that isn't understood nothing may be shown. `limits` are words
    in capitals that begin a clause which leaves rows out. `groups_distinct`: DISTINCT may be had
    as GROUP BY, with arrays of keys. `has_companions`: another query sees the same rows; where not,
    companions stand within the statement (`beside`).
    `types_by_anchor`: a recursive query's columns have the types of its first SELECT alone.
    `orderless` aggregates give the same in whatever order rows come, as sums of `exact_types` do.
    """

    parser: ClassVar[str | type[sqlglot.Dialect]]
    keywords: ClassVar[frozenset[str]]
    in_lists: ClassVar[InLists]
    limits: ClassVar[frozenset[str]] = frozenset({"LIMIT"})
    has_bare_columns: ClassVar[bool] = False
    has_row_values: ClassVar[bool] = False
    quotes_text_as_names: ClassVar[bool] = False
    hides_unread: ClassVar[bool] = False
    groups_distinct: ClassVar[bool] = False
    has_companions: ClassVar[bool] = True
    types_by_anchor: ClassVar[bool] = False
    orderless: ClassVar[frozenset[str]] = frozenset()
    exact_types: ClassVar[frozenset[str]] = frozenset()

    @property
    @abc.abstractmethod
    def aggregates(self) -> frozenset[str]:
        """The functions that are aggregates whatever their arguments, by name."""

    def is_function(self, name: str) -> bool:
        """Whether there is one of that name, in lower case; asked where `has_row_values`."""
        return False

    @abc.abstractmethod
    def tokenize(self, text: str) -> tuple[Token, ...]:
        """All tokens of `text` but white space and comments."""

    @abc.abstractmethod
    def verb_of(self, text: str, tokens: tuple[Token, ...]) -> Verb:
        """What the statement may do. What isn't recognised is a write."""

    @abc.abstractmethod
    def hands_out_nothing(self, tokens: tuple[Token, ...]) -> bool:
        """Whether it is a read whose rows are no table's: EXPLAIN, say."""

    def hands_out_unknown(self, tokens: tuple[Token, ...]) -> bool:
        """Whether it hands out rows of which its text says nothing."""
        return False

    @abc.abstractmethod
    def read_part(self, text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
        """From where to where a write takes other rows' values; None where it doesn't."""

    @abc.abstractmethod
    def fold(self, identifier: exp.Expr) -> str:
        """The name that an identifier stands for."""

    @abc.abstractmethod
    def quote_name(self, name: str) -> str:
        """`name` as an identifier, whatever characters are in it."""

    @abc.abstractmethod
    def followed_as(self, table: Table) -> str | None:
        """What names `table` wherever it stands; None where not every row of it may be seen."""

    @abc.abstractmethod
    def resolve(self, node: exp.Table, schema: Schema, ctes: Mapping[str, object]) -> Source:
        """What an item of a FROM clause is. Raises `NotUnderstoodError`."""

    @abc.abstractmethod
    def tables_behind(self, node: exp.Table, schema: Schema) -> list[Table]:
        """Every base table that may be read through `node`."""

    @abc.abstractmethod
    def check(self, statement: Statement) -> None:
        """Raises `NotUnderstoodError` for what may change what a row stands for."""

    @abc.abstractmethod
    def check_repeatable(self, statement: Statement) -> None:
        """Raises `NotUnderstoodError` where running a part twice could differ or do harm."""

    def seen_through(self, statement: Statement) -> SeenThrough | None:
        """The statement with the tables of views in their place, to ask for keys beside it; None
        where that finds no others. Raises `NotUnderstoodError`."""
        return None

    def companion(self, statement: Statement, query: str, names: Sequence[str]) -> str:
        """A query of the columns `names` of `query`, which is a part of the statement's text."""
        return f"SELECT {', '.join(names)} FROM ({query})"

    def beside(
        self, statement: Statement, query: str, companions: Sequence[str], stamp: str | None
    ) -> str:
        """`query` with a hidden column for each of `companions`, filled in the first row, and
        `stamp` as the last one."""
        raise NotImplementedError

    @abc.abstractmethod
    def check_written_twice(self, statement: Statement, start: int, end: int) -> None:
        """Raises `NotUnderstoodError` where `text[start:end]` can't stand in a text twice."""

    @abc.abstractmethod
    def is_fragile(self, statement: Statement) -> bool:
        """Whether the result hangs on the order in which the database happens to find rows."""

    @abc.abstractmethod
    def multiplies_rows(self, statement: Statement) -> bool:
        """Whether a select list may hand out a row several times."""

    @abc.abstractmethod
    def why_unnamed(self, table: Table) -> str | None:
        """Why rows of `table` can't be named, where they can't."""

    @abc.abstractmethod
    def can_carry(self, table: Table, column: str) -> bool:
        """Whether the value of that column can be told from what a hidden column gives."""

    @abc.abstractmethod
    def hidden_columns(self, one: Carried, *, aggregated: bool) -> tuple[list[str], Taken]:
        """What hands `one` out, key first and subject last, and how it is read (no places yet).

        An array is one column. Raises `NotUnderstoodError`.
        """

    @abc.abstractmethod
    def no_key(self, one: Carried) -> list[str]:
        """NULLs of the types of what hands `one` out, not aggregated."""

    def stamp(self, views: Collection[View]) -> str:
        """SQL that is 1 in every row if these views are as they were read, else 0."""
        raise NotImplementedError

    @abc.abstractmethod
    def selected(self, one: Carried, places: tuple[int, ...], subject: int | None) -> Taken | None:
        """How the key is read where the select list has it at `places`; None where it can't be."""

    @abc.abstractmethod
    def with_hidden_subject(self, one: Carried, taken: Taken, place: int) -> tuple[str, Taken]:
        """The hidden column of the subject of `one`, and `taken` with it at `place`."""
