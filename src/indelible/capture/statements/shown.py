"""What of a statement's text and parameters may be written down."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from indelible.capture.schema import Schema, Table
from indelible.capture.statements.syntax import Marks
from indelible.capture.statements.tokens import COLLAPSED, Kind, Token, unquote
from indelible.policy.model import Policy

if TYPE_CHECKING:
    from indelible.capture.statements.dialect import Dialect

_LITERALS: Final = frozenset({Kind.STRING, Kind.BLOB, Kind.NUMBER})
_NAMES: Final = (Kind.WORD, Kind.QUOTED)


def shown_text(text: str, tokens: tuple[Token, ...], schema: Schema, dialect: Dialect) -> str:
    """`text` on one line, without comments, with `?` for literals and `?…` for lists of them.

    A word in double quotes that names nothing is a string to SQLite, so it is a literal here.
    """
    if dialect.hides_unread and any(token.kind is Kind.ILLEGAL for token in tokens):
        return f"{tokens[0].upper} (not shown)".strip()
    known = None
    if dialect.quotes_text_as_names:
        known = schema.words() | _names_given(text, tokens)
    shown = ""
    end = 0
    for token in tokens:
        raw = text[token.start : token.end]
        if token.kind in _LITERALS or token.kind is Kind.ILLEGAL:
            raw = "?"
        elif raw == COLLAPSED:
            raw = "?…"
        elif known is not None and raw[0] == '"' and unquote(raw).lower() not in known:
            raw = "?"
        shown += raw if token.start == end or not shown else f" {raw}"
        end = token.end
    return shown


def mentioned_tables(
    text: str, tokens: tuple[Token, ...], schema: Schema, start: int = 0, end: int | None = None
) -> list[Table]:
    """Every table whose name stands in `text[start:end]`, views seen through; each once.

    A column of that name counts too: better one table too many than a silent hole.
    """
    found: dict[str, Table] = {}
    for place, token in enumerate(tokens):
        if token.kind in _NAMES and token.start >= start and (end is None or token.end <= end):
            name = unquote(text[token.start : token.end])
            qualified: list[Table] = []
            if place > 1 and text[tokens[place - 1].start] == ".":
                before = tokens[place - 2]
                qualifier = unquote(text[before.start : before.end])
                qualified = tables_behind(f"{qualifier}.{name}", schema)
            for table in qualified or tables_behind(name, schema):
                found[table.name] = table
    return list(found.values())


def tables_behind(name: str, schema: Schema, passed: frozenset[str] = frozenset()) -> list[Table]:
    """Every table that may be of that name; for a view all tables that it mentions."""
    folded = name.lower()
    if folded in passed:
        return []
    behind = [schema.tables[folded]] if folded in schema.tables else []
    for inner in (*schema.views.get(folded, ()), *schema.aliases.get(folded, ())):
        behind += tables_behind(inner, schema, passed | {folded})
    return behind


def kept_parameters(
    root: exp.Expr, marks: Marks, count: int, tables: Collection[str], policy: Policy
) -> tuple[bool, ...]:
    """For each placeholder whether its value may be written down.

    It may where no column that it meets (stands beside in a comparison) is masked, sealed,
    personal or without values in any of `tables`. One that meets no column and isn't LIMIT's may
    not, if there is any such column.
    """
    secret = {
        column
        for table in tables
        for rules in (policy.table(table),)
        for column in rules.mask | rules.without_values | rules.seal | rules.personal.keys()
    }
    if not secret:
        return (True,) * count
    kept = [False] * count
    for placeholder in root.find_all(exp.Placeholder):
        number = marks.parameter_number(placeholder)
        if number is not None:
            kept[number] = _may_be_kept(placeholder, secret)
    return tuple(kept)


def _may_be_kept(placeholder: exp.Placeholder, secret: set[str]) -> bool:
    node: exp.Expr | None = placeholder
    while node is not None and not isinstance(node, exp.Query):
        if isinstance(node, exp.Limit | exp.Offset):
            return True
        if isinstance(node, exp.Predicate):
            columns = {column.name.lower() for column in node.find_all(exp.Column)}
            return bool(columns) and not columns & secret
        node = node.parent
    return False


def _names_given(text: str, tokens: tuple[Token, ...]) -> frozenset[str]:
    """Names that the text itself introduces: after AS, or in the place of an alias."""
    found = set()
    for before, token in _pairs(tokens):
        if token.kind is Kind.QUOTED and (
            before.upper == "AS"
            or (before.kind in _NAMES and not before.upper)
            or (before.kind is Kind.PUNCTUATION and text[before.start] in ").")
        ):
            found.add(unquote(text[token.start : token.end]).lower())
    return frozenset(found)


def _pairs(tokens: tuple[Token, ...]) -> Iterator[tuple[Token, Token]]:
    return itertools.pairwise(tokens)
