"""What the text of a CREATE INDEX, TRIGGER or VIEW says that SQLite's pragmas don't. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from indelible.capture.statements.tokens import Kind, Token, tokenize, unquote


class IndexText(NamedTuple):
    """The indexed terms of a CREATE INDEX, as written, and its WHERE."""

    terms: tuple[str, ...]
    where: str | None


def parse_index(sql: str) -> IndexText:
    """Cut a CREATE INDEX that SQLite accepted; of other text the result means nothing."""
    found = tokenize(sql)
    depth = start = 0
    terms: list[str] = []
    for place, token in enumerate(found):
        sign = sql[token.start] if token.kind is Kind.PUNCTUATION else ""
        if depth == 1 and sign in (",", ")"):
            terms.append(_term(sql, found[start:place]))
            start = place + 1
        if sign == "(":
            depth += 1
            start = place + 1 if depth == 1 else start
        elif sign == ")":
            depth -= 1
            if depth == 0:
                rest = found[place + 1 :]
                is_partial = bool(rest) and rest[0].upper == "WHERE"
                where = sql[rest[0].end : rest[-1].end].strip() if is_partial else None
                return IndexText(tuple(terms), where)
    return IndexText(tuple(terms), None)


def parse_view(sql: str) -> str:
    """The query that stands for a view, from a CREATE VIEW that SQLite accepted; else empty."""
    found = tokenize(sql)
    after = next((place for place, token in enumerate(found) if token.upper == "AS"), len(found))
    head, query = found[2:after], found[after + 1 :]
    if not head or not query:
        return ""
    text = sql[query[0].start : query[-1].end]
    if len(head) == 1:
        return text
    if sql[head[1].start] != "(":
        return ""
    # A derived table takes no names for its columns: a named query does.
    name = sql[head[0].start : head[0].end]
    columns = sql[head[2].start : head[-2].end]
    return f"WITH {name}({columns}) AS ({text}) SELECT {columns} FROM {name}"


def _term(sql: str, words: Sequence[Token]) -> str:
    """One term without its direction and its collation (which the index's pragma tells)."""
    if words and words[-1].upper in ("ASC", "DESC"):
        words = words[:-1]
    if len(words) > 2 and words[-2].upper == "COLLATE":
        words = words[:-2]
    return sql[words[0].start : words[-1].end] if words else ""


class Written(NamedTuple):
    """A table (in lower case) that is written, and how: `insert`, `update` or `delete`."""

    table: str
    how: str


class TriggerText(NamedTuple):
    """What a trigger's SQL says: `before`, `after` or `instead`, of what, and what it writes."""

    timing: str
    event: str
    writes: frozenset[Written]


def parse_trigger(sql: str) -> TriggerText:
    """Read a CREATE TRIGGER that SQLite accepted."""
    found = tokenize(sql)
    timing, event = "before", "insert"
    body = 0
    for place, token in enumerate(found):
        if token.upper == "AFTER":
            timing = "after"
        elif token.upper == "INSTEAD":
            timing = "instead"
        elif token.upper in ("INSERT", "UPDATE", "DELETE") and not _is_name(sql, found, place):
            event = token.upper.lower()
            body = place
            break
    while body < len(found) and found[body].upper != "BEGIN":
        body += 1
    writes = set()
    for place in range(body, len(found) - 1):
        word, following = found[place].upper, found[place + 1].upper
        if word == "INTO":
            # An upsert updates what it finds.
            table = _target(sql, found, place)
            writes |= {Written(table, "insert"), Written(table, "update")}
        elif word == "UPDATE" and following != "SET":
            writes.add(Written(_target(sql, found, place), "update"))
        elif word == "DELETE" and following == "FROM":
            writes.add(Written(_target(sql, found, place + 1), "delete"))
    return TriggerText(timing, event, frozenset(writes))


def _is_name(sql: str, found: Sequence[Token], place: int) -> bool:
    """A trigger may be called `insert`."""
    before = found[place - 1]
    return before.upper in ("TRIGGER", "EXISTS") or sql[before.start] == "."


def _target(sql: str, found: Sequence[Token], place: int) -> str:
    place += 1
    if found[place].upper == "OR" and place + 2 < len(found):
        place += 2
    # SQLite takes a string for a name where only a name can stand.
    return unquote(sql[found[place].start : found[place].end]).lower()
