"""SQLite's tokens: where each begins and ends, so that text can be spliced without a parser.

Follows `sqlite3GetToken` of SQLite's `tokenize.c`; what that refuses is an `ILLEGAL` token here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

COLLAPSED: Final = "?\x01"
"""Stands for the parameters of an IN-list, so that those of all lengths share a plan."""


class Kind(enum.Enum):
    WORD = "word"
    QUOTED = "quoted"
    STRING = "string"
    BLOB = "blob"
    NUMBER = "number"
    PARAMETER = "parameter"
    PUNCTUATION = "punctuation"
    ILLEGAL = "illegal"


class Token(NamedTuple):
    """One token of `text[start:end]`; `upper` is its text in capitals for words."""

    kind: Kind
    start: int
    end: int
    upper: str


_TOKEN: Final = re.compile(
    r"""(?:[ \t\n\f\r]+ | --[^\n]* | /\*(?:.*?\*/|.*))+
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\])
    | (?P<blob>[xX]'(?:[0-9a-fA-F]{2})*')
    | (?P<number>0[xX][0-9a-fA-F]+ | (?:[0-9]+(?:\.[0-9]*)? | \.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<parameter>\?\x01 | \?[0-9]* | [@:\#$][0-9A-Za-z_$\x80-\U0010ffff]+)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][0-9A-Za-z_$\x80-\U0010ffff]*)
    | (?P<punctuation>->> | -> | \|\| | << | >> | <= | >= | <> | != | == | [-+*/%=<>&|~!(),.;])
    | (?P<illegal>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final = {kind.value: kind for kind in Kind}
_MAY_NOT_FOLLOW_NUMBER: Final = re.compile(r"[0-9A-Za-z_$\x80-\U0010ffff]")


class InLists:
    """The IN-lists of texts that are nothing but two or more parameters.

    `quoted` matches what only looks like one, `parameter` one parameter. Lists elsewhere aren't
    collapsed: two items of a select list are two columns, and `max(?, ?)` isn't `max(?)`.
    """

    def __init__(self, quoted: str, parameter: str) -> None:
        self._pieces = re.compile(
            rf"{quoted}|(?P<head>\bIN\s*\(\s*)(?P<run>{parameter}(?:\s*,\s*{parameter})+)(?=\s*\))",
            re.DOTALL | re.IGNORECASE,
        )

    def collapse(self, text: str) -> str:
        """`text` with each list as one `COLLAPSED`: the key of a plan."""
        if "\x01" in text:
            return text
        return self._pieces.sub(_collapsed, text)

    def runs(self, text: str) -> tuple[str, ...]:
        """What each `COLLAPSED` of `collapse(text)` stands for, in order, to the letter."""
        return tuple(found["run"] for found in self._pieces.finditer(text) if found["run"])


def _collapsed(piece: re.Match[str]) -> str:
    return piece.group() if piece["run"] is None else piece["head"] + COLLAPSED


IN_LISTS: Final = InLists(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/""",
    r"\?(?![0-9])",
)
"""SQLite's."""


def tokenize(text: str) -> tuple[Token, ...]:
    """All tokens of `text` but white space and comments."""
    tokens = []
    for match in _TOKEN.finditer(text):
        name = match.lastgroup
        if name is None:
            continue
        kind = _KINDS[name]
        end = match.end()
        if kind is Kind.NUMBER and _MAY_NOT_FOLLOW_NUMBER.match(text, end):
            kind = Kind.ILLEGAL
        tokens.append(
            Token(kind, match.start(), end, match.group().upper() if name == "word" else "")
        )
    return tuple(tokens)


def expand(collapsed: str, originals: Sequence[str]) -> str:
    """A collapsed text with its n-th `COLLAPSED` as `originals[n]`."""
    pieces = collapsed.split(COLLAPSED)
    whole = [pieces[0]]
    for original, piece in zip(originals, pieces[1:], strict=True):
        whole.append(original)
        whole.append(piece)
    return "".join(whole)


def unquote(text: str) -> str:
    """The name or string that a quoted token stands for."""
    quote = text[0]
    if quote == "[":
        return text[1:-1]
    if quote in "\"'`":
        return text[1:-1].replace(quote * 2, quote)
    return text


def names_in(text: str) -> tuple[str, ...]:
    """Everything in `text` that may be a name, each once, in lower case."""
    return tuple(
        dict.fromkeys(
            unquote(text[token.start : token.end]).lower()
            for token in tokenize(text)
            if token.kind in (Kind.WORD, Kind.QUOTED)
        )
    )


def split_statements(text: str) -> Iterator[str]:
    """The statements of a script, each with its trailing semicolon's place cut off.

    The body of a CREATE TRIGGER is one statement with it.
    """
    tokens = tokenize(text)
    begin: int | None = None
    words: list[str] = []
    for at, token in enumerate(tokens):
        if token.kind is Kind.PUNCTUATION and text[token.start] == ";":
            in_trigger = words[:1] == ["CREATE"] and "TRIGGER" in words
            if in_trigger and tokens[at - 1].upper != "END":
                continue
            if begin is not None:
                yield text[begin : token.start]
            begin = None
            words = []
            continue
        if begin is None:
            begin = token.start
        if token.kind is Kind.WORD and len(words) < 4:
            words.append(token.upper)
    if begin is not None:
        yield text[begin:]
