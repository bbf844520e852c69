"""A text in which the definitions of views stand where their names did."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from indelible.capture.schema import Schema
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.tokens import Kind, Token, unquote
from indelible.capture.statements.view_keys import View

_NAMES = (Kind.WORD, Kind.QUOTED)
_MAX_TEXT = 200_000


class Definition(NamedTuple):
    """The query of the view called `name`, a name that no other has."""

    name: str
    text: str


class Definitions(Protocol):
    """Those that may stand in a text."""

    def may_be_in(self, names: Collection[str]) -> bool:
        """Whether one of these names, in lower case, may be a view's."""

    def find(self, table: exp.Table) -> Definition | None:
        """That of `table`; None where it is none's."""


class SeenThrough(NamedTuple):
    """A text that reads the tables of views where another reads the views, and finds the same while
    `views` are as they were read."""

    text: str
    views: Mapping[str, View]


class SchemaDefinitions:
    """Those of `Schema.definitions`."""

    def __init__(self, schema: Schema) -> None:
        self._definitions = schema.definitions

    def may_be_in(self, names: Collection[str]) -> bool:
        return not self._definitions.keys().isdisjoint(names)

    def find(self, table: exp.Table) -> Definition | None:
        name = table.name.lower()
        query = self._definitions.get(name)
        if query is None or (table.db and table.db.lower() != "main"):
            return None
        return Definition(name, query)


def with_views_inlined(
    text: str,
    tokens: tuple[Token, ...],
    schema: Schema,
    dialect: Dialect,
    definitions: Definitions,
    passed: frozenset[str] = frozenset(),
) -> str | None:
    """`text` with each view in a FROM clause as a derived table of the same name.

    None where there is none whose definition means the same there: one that mentions a name which
    this text, or a temporary table, gives another meaning stays. Placeholders keep their order.
    """
    if not definitions.may_be_in(_names(text, tokens)):
        return None
    try:
        tree = sqlglot.parse_one(_without_parameters(text, tokens), dialect=dialect.parser)
        tables = list(tree.find_all(exp.Table))
        taken = schema.temporary | {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, LookupError):
        return None  # planning will say the same of it
    edits = []
    for table in tables:
        span = _span(table, text, tokens)
        definition = definitions.find(table)
        if span is None or definition is None or definition.name in passed:
            continue
        if table.name.lower() in taken:
            continue
        name, query = definition
        inner = dialect.tokenize(query)
        if taken & _names(query, inner):
            continue
        query = (
            with_views_inlined(query, inner, schema, dialect, definitions, passed | {name}) or query
        )
        alias = "" if table.alias else f" AS {dialect.quote_name(dialect.fold(table.this))}"
        edits.append((*span, f"({query}){alias}"))
    if not edits:
        return None
    pieces = []
    done = 0
    for start, end, new in sorted(edits):
        pieces += [text[done:start], new]
        done = end
    whole = "".join([*pieces, text[done:]])
    return whole if len(whole) <= _MAX_TEXT else None


def _names(text: str, tokens: tuple[Token, ...]) -> set[str]:
    return {
        unquote(text[token.start : token.end]).lower() for token in tokens if token.kind in _NAMES
    }


def _without_parameters(text: str, tokens: tuple[Token, ...]) -> str:
    """`text` with a number for each placeholder, and everything else where it was."""
    pieces = []
    done = 0
    for token in tokens:
        if token.kind is Kind.PARAMETER:
            pieces += [text[done : token.start], "1" * (token.end - token.start)]
            done = token.end
    return "".join([*pieces, text[done:]])


def _span(table: exp.Table, text: str, tokens: tuple[Token, ...]) -> tuple[int, int] | None:
    """Where the name stands in the text, its schema's with it."""
    if not isinstance(table.this, exp.Identifier) or table.catalog:
        return None
    at = table.this.meta.get("start", -1)
    place = next((n for n, token in enumerate(tokens) if token.start <= at < token.end), None)
    if place is None or unquote(text[tokens[place].start : tokens[place].end]) != table.name:
        return None
    first = place - 2 if table.db else place
    return tokens[first].start, tokens[place].end
