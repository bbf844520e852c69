"""PostgreSQL's tokens, as its drivers are given them: with `%s`, `%(name)s` or `$1` for parameters.

Follows `scan.l` of PostgreSQL's parser. A backslash in a plain string is ILLEGAL here: whether it
escapes depends on `standard_conforming_strings`. So is text that the server refuses.
"""

from __future__ import annotations

import re
from typing import Final

from indelible.capture.statements.tokens import InLists, Kind, Token

_TOKEN: Final = re.compile(
    r"""(?:[ \t\n\r\f\v]+ | --[^\n\r]*)+
    | (?P<comment>/\*)
    | (?P<string>[eE]'(?:[^'\\]|''|\\.)*' | [nN]?'(?:[^'\\]|'')*'
        | \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][0-9A-Za-z_\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$)
    | (?P<blob>[bBxX]'[0-9A-Fa-f\s]*')
    | (?P<illegal>[uU]&['"])
    | (?P<quoted>"(?:[^"\0]|"")+")
    | (?P<number>0[xX][0-9A-Fa-f_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
        | (?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)? | \.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
    | (?P<parameter>\?\x01 | \$[0-9]+ | %\([^)]*\)[sbt] | %[sbt](?![0-9A-Za-z_$\x80-\U0010ffff]))
    | (?P<word>[A-Za-z_\x80-\U0010ffff][0-9A-Za-z_$\x80-\U0010ffff]*)
    | (?P<punctuation>:: | := | \.\. | [:(),.;\[\]]
        | (?:%%
            | (?!-- | /\* | %\([^)]*\)[sbt] | %[sbt](?![0-9A-Za-z_$\x80-\U0010ffff]))
              [-+*/<>=~!@\#%^&|`?])+)
    | (?P<unread>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_KINDS: Final = {kind.value: kind for kind in Kind} | {"unread": Kind.ILLEGAL}


IN_LISTS: Final = InLists(
    r"""[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^'\\]|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
    r"""|--[^\n\r]*|/\*.*?\*/""",
    r"(?:%\([^)]*\)s|%s|\$[0-9]+)(?:::[A-Za-z_ ]+(?:\([0-9, ]*\))?)?",
)


def tokenize(text: str) -> tuple[Token, ...]:
    """All tokens of `text` but white space and comments. Behind an ILLEGAL one they may be wrong.

    `%` and `%%` are both the operator: which of them a driver makes one of depends on whether
    there are parameters.
    """
    tokens = []
    at = 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        name = match.lastgroup
        if name == "tag":
            name = "string"
        if name is None:
            continue
        if name == "comment":
            at = _end_of_comment(text, at)
            if at:
                continue
            at = len(text)
            kind = Kind.ILLEGAL
        else:
            kind = _KINDS[name]
        upper = match.group().upper() if name == "word" else ""
        tokens.append(Token(kind, match.start(), at, upper))
    return tuple(tokens)


def has_unknown_quotes(tokens: tuple[Token, ...]) -> bool:
    """Whether text may be quoted in ways that the tokens don't tell."""
    return any(token.kind is Kind.ILLEGAL for token in tokens)


def _end_of_comment(text: str, at: int) -> int:
    """Where the comment ends that began before `at`; 0 where it doesn't. Comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return edge.end()
    return 0
