"""A text in which the definitions of views stand where their names did."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from indelible.capture.schema import Schema
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.tokens import Kind, Token, unquote

_NAMES = (Kind.WORD, Kind.QUOTED)
_MAX_TEXT = 200_000


def with_views_inlined(
    text: str,
    tokens: tuple[Token, ...],
    schema: Schema,
    dialect: Dialect,
    passed: frozenset[str] = frozenset(),
) -> str | None:
    """`text` with each view in a FROM clause as a derived table of the same name.

    None where there is none whose definition (`Schema.definitions`) means the same there: one
    that mentions a name which this text, or a temporary table, gives another meaning stays.
    Placeholders keep their order.
    """
    named = _names(text, tokens)
    if named.isdisjoint(schema.definitions.keys() - passed):
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
        name = table.name.lower()
        query = schema.definitions.get(name)
        if span is None or query is None or name in passed or name in taken:
            continue
        inner = dialect.tokenize(query)
        if taken & _names(query, inner):
            continue
        query = with_views_inlined(query, inner, schema, dialect, passed | {name}) or query
        alias = "" if table.alias else f" AS {dialect.quote_name(table.name)}"
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
    if table.db and table.db.lower() != "main":
        return None
    at = table.this.meta.get("start", -1)
    place = next((n for n, token in enumerate(tokens) if token.start <= at < token.end), None)
    if place is None or unquote(text[tokens[place].start : tokens[place].end]) != table.name:
        return None
    first = place - 2 if table.db else place
    return tokens[first].start, tokens[place].end
