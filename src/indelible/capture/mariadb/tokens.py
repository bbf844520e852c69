"""MariaDB's tokens, as its drivers are given them: with `%s` or `%(name)s` for parameters.

Follows `sql_lex.cc`. A backslash in a string is ILLEGAL here: whether it escapes depends on the
session's SQL mode; so is a comment that is executed. What stands in double quotes may be a string
or a name, likewise.
"""

from __future__ import annotations

import re
from typing import Final

from indelible.capture.statements.tokens import InLists, Kind, Token

_TOKEN: Final = re.compile(
    r"""(?:[ \t\n\r\f\v]+ | --(?=[\s\x00-\x1f]|$)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/)+
    | (?P<string>[nN]?'(?:[^'\\]|'')*')
    | (?P<quoted>`(?:[^`]|``)+` | "(?:[^"\\]|"")*")
    | (?P<blob>[bBxX]'[0-9A-Fa-f]*')
    | (?P<number>0x[0-9A-Fa-f]+(?![0-9A-Za-z_$]) | 0b[01]+(?![0-9A-Za-z_$])
        | (?:[0-9]+\.[0-9]* | \.[0-9]+)(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+
        | [0-9]+(?![0-9A-Za-z_$\x80-\U0010ffff]))
    | (?P<parameter>\?\x01 | %\([^)]*\)s | %s(?![0-9A-Za-z_$\x80-\U0010ffff]))
    | (?P<word>@{0,2}[0-9A-Za-z_$\x80-\U0010ffff]+)
    | (?P<punctuation>%% | := | <=> | << | >> | <= | >= | <> | != | \|\| | && | ->> | ->
        | [-+*/%=<>&|^~!(),.;:{}@])
    | (?P<illegal>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final = {kind.value: kind for kind in Kind}

IN_LISTS: Final = InLists(
    r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*"|`(?:[^`]|``)*`|--\s[^\n]*|\#[^\n]*|/\*.*?\*/""",
    r"(?:%\([^)]*\)s|%s)",
)


def tokenize(text: str) -> tuple[Token, ...]:
    """All tokens of `text` but white space and comments; wrong, perhaps, behind an ILLEGAL one."""
    return tuple(
        Token(
            _KINDS[match.lastgroup],
            match.start(),
            match.end(),
            match.group().upper() if match.lastgroup == "word" else "",
        )
        for match in _TOKEN.finditer(text)
        if match.lastgroup is not None
    )


def has_unknown_quotes(tokens: tuple[Token, ...]) -> bool:
    """Whether text may be quoted in ways that the tokens don't tell."""
    return any(token.kind is Kind.ILLEGAL for token in tokens)
