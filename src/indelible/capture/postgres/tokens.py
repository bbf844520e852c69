"""PostgreSQL's statements by SQLite's tokens, which differ in what quotes and what is a parameter.

What they would take for a name, a comment or a parameter is made visible; what can't be is told.
"""

from __future__ import annotations

import re
from typing import Final

from indelible.capture.statements.tokens import Token, tokenize

_MADE_VISIBLE: Final = str.maketrans(
    {
        "[": "(",  # an index or an array, not a quoted name
        "]": ")",
        "`": "+",  # operators, of which SQLite makes a quoted name and parameters
        "#": "+",
        "@": "+",
        "\r": "\n",  # ends a comment
    }
)
_UNKNOWN_QUOTES: Final = re.compile(r"\\|\$(?![0-9])")
"""A backslash, or a dollar that isn't a parameter's (`$1`): no tag begins with a digit."""


def tokens_of(text: str) -> tuple[Token, ...]:
    """The tokens of `text`; where `has_unknown_quotes`, not all of them are what they seem."""
    return tokenize(text.translate(_MADE_VISIBLE))


def has_unknown_quotes(text: str) -> bool:
    """Whether `text` may quote in ways that the tokens don't know: E'\\'', $$ … $$."""
    return _UNKNOWN_QUOTES.search(text) is not None
