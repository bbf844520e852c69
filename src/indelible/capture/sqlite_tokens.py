"""SQL text cut into words, as far as triggers and index definitions need it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text> [xX]?'(?:[^']|'')*' )
  | (?P<name> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<other> [\d.]+\w* | . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One word; `name` is what it names (unquoted), None for anything that can't be a name."""

    text: str
    name: str | None
    is_quoted: bool
    start: int
    end: int

    def is_keyword(self, *keywords: str) -> bool:
        return not self.is_quoted and self.text.upper() in keywords


def tokens(sql: str) -> Iterator[Token]:
    """The words of `sql` without comments; what isn't SQL gives words, too, and never raises."""
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        name = None
        if kind == "word":
            name = text
        elif kind == "name":
            quote = text[-1]
            name = text[1:-1] if quote == "]" else text[1:-1].replace(quote * 2, quote)
        elif kind == "text" and text[0] == "'":
            # SQLite takes a string for a name where only a name can stand.
            name = text[1:-1].replace("''", "'")
        yield Token(text, name, kind in ("name", "text"), match.start(), match.end())


class IndexText(NamedTuple):
    """The indexed terms of a CREATE INDEX, as written, and its WHERE."""

    terms: tuple[str, ...]
    where: str | None


def parse_index(sql: str) -> IndexText:
    """Cut a CREATE INDEX that SQLite accepted."""
    found = list(tokens(sql))
    depth = 0
    terms: list[str] = []
    start = 0
    where = None
    for place, token in enumerate(found):
        if token.text == "(":
            depth += 1
            if depth == 1:
                start = place + 1
        elif token.text == ")":
            depth -= 1
            if depth == 0 and not (where or (terms and terms[-1] is None)):
                terms.append(_term(sql, found[start:place]))
                rest = found[place + 1 :]
                if rest and rest[0].is_keyword("WHERE"):
                    where = sql[rest[0].end : rest[-1].end].strip().rstrip(";")
                break
        elif token.text == "," and depth == 1:
            terms.append(_term(sql, found[start:place]))
            start = place + 1
    return IndexText(tuple(terms), where)


def _term(sql: str, words: list[Token]) -> str:
    """One term without its direction and its collation (which the index's pragma tells)."""
    if words[-1].is_keyword("ASC", "DESC"):
        words = words[:-1]
    if len(words) > 2 and words[-2].is_keyword("COLLATE"):
        words = words[:-2]
    return sql[words[0].start : words[-1].end]


class Written(NamedTuple):
    """A table that a trigger's body writes, and how: `insert`, `update` or `delete`."""

    table: str
    how: str


class TriggerText(NamedTuple):
    """What a trigger's SQL says: `before`, `after` or `instead`, of what, and what it writes."""

    timing: str
    event: str
    writes: frozenset[Written]


def parse_trigger(sql: str) -> TriggerText:
    """Read a CREATE TRIGGER that SQLite accepted; tables are in lower case."""
    found = list(tokens(sql))
    timing, event = "before", "insert"
    body = 0
    for place, token in enumerate(found):
        if token.is_keyword("AFTER"):
            timing = "after"
        elif token.is_keyword("INSTEAD"):
            timing = "instead"
        elif token.is_keyword("INSERT", "UPDATE", "DELETE") and not _names(found[place - 1]):
            event = token.text.lower()
            body = place
            break
    while body < len(found) and not found[body].is_keyword("BEGIN"):
        body += 1
    writes = set()
    for place in range(body, len(found) - 1):
        token = found[place]
        if token.is_keyword("INTO"):
            writes |= {Written(_target(found, place), "insert")}
            # An upsert updates what it finds.
            writes |= {Written(_target(found, place), "update")}
        elif token.is_keyword("UPDATE") and not found[place + 1].is_keyword("SET"):
            writes |= {Written(_target(found, place), "update")}
        elif token.is_keyword("DELETE") and found[place + 1].is_keyword("FROM"):
            writes |= {Written(_target(found, place + 1), "delete")}
    return TriggerText(timing, event, frozenset(writes))


def _names(before: Token) -> bool:
    """Whether what follows is a name: a trigger may be called `insert`."""
    return before.is_keyword("TRIGGER", "EXISTS") or before.text == "."


def _target(found: list[Token], place: int) -> str:
    place += 1
    if found[place].is_keyword("OR") and place + 2 < len(found):
        place += 2
    return (found[place].name or "").lower()
