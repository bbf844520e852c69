"""Whether a statement is proven to only read: then nobody has to be told who runs it. Pure."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Final

from indelible.capture.postgres.tokens import has_unknown_quotes, tokenize
from indelible.capture.statements.plan import Verb
from indelible.capture.statements.syntax import words
from indelible.capture.statements.tokens import Kind, Token

_READS: Final = frozenset({"SELECT", "VALUES", "TABLE", "WITH", "SHOW"})
_WRITES: Final = frozenset({"INSERT", "DELETE", "MERGE", "INTO", "CALL", "UPDATE"})
_SCHEMA_VERBS: Final = frozenset({"ALTER", "CREATE", "DROP", "IMPORT", "REFRESH", "REINDEX"})
_CHANGES: Final = frozenset({"COPY", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH"})
_ENDS: Final = frozenset(
    {
        "ABORT",
        "BEGIN",
        "COMMIT",
        "END",
        "PREPARE",
        "RELEASE",
        "ROLLBACK",
        "START",
    }
)
_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]+)", re.DOTALL)
_BEFORE_BRACKETS: Final = words("""
    all and any array as between by case cast distinct else except exists filter from group having
    in intersect join lateral like limit not offset on or order over partition row select some then
    union using values when where with within
    bit char character decimal interval numeric time timestamp timestamptz varchar
    abs array_agg avg bool_and bool_or ceil char_length coalesce concat concat_ws count cume_dist
    date_part date_trunc dense_rank every extract first_value floor format greatest json_agg
    json_build_array json_build_object jsonb_agg jsonb_build_array jsonb_build_object lag
    last_value lead least left length lower lpad ltrim max min mod now nth_value ntile nullif
    octet_length percent_rank position power rank regexp_replace replace right round row_number
    row_to_json rpad rtrim split_part sqrt stddev strpos substr substring sum string_agg to_char
    to_date to_json to_jsonb to_timestamp trim unnest upper variance
    """)


def is_proven_read(text: str) -> bool:
    """Whether `text` is one query that calls nothing but functions known to write nothing.

    A view may call one that does; what that writes is unattributed.
    """
    # Most writes, and all very long ones, are told from their first word.
    return _first_word(text) in _READS and _only_reads(text)


@lru_cache(maxsize=4_096)
def _only_reads(text: str) -> bool:
    tokens = tokenize(text)
    if has_unknown_quotes(tokens):
        return False
    if tokens and text[tokens[-1].start] == ";":
        tokens = tokens[:-1]
    return all(
        _is_harmless(text, *three)
        for three in zip((None, *tokens[:-1]), tokens, (*tokens[1:], None), strict=True)
    )


def _is_harmless(text: str, before: Token | None, token: Token, after: Token | None) -> bool:
    if text[token.start] == ";":
        return False
    if _changes(before, token):
        return False
    if after is None or text[after.start] != "(" or token.kind not in (Kind.WORD, Kind.QUOTED):
        return True
    if before is not None and text.startswith("::", before.start):
        return True  # a type and its length
    is_qualified = before is not None and text[before.start] == "."
    return token.upper.lower() in _BEFORE_BRACKETS and not is_qualified


def verb_of(text: str, tokens: tuple[Token, ...]) -> Verb:
    """What the statement is: one query that hands out rows (whatever its functions do), or not."""
    if tokens and text[tokens[-1].start] == ";":
        tokens = tokens[:-1]
    if not tokens:
        return Verb.READ
    first = tokens[0].upper
    if first in ("EXPLAIN", "SHOW"):
        return Verb.READ
    if first in _SCHEMA_VERBS:
        return Verb.SCHEMA
    if first not in _READS and text[tokens[0].start] != "(":
        return Verb.WRITE
    for before, token in itertools.pairwise((tokens[0], *tokens)):
        if text[token.start] == ";" or _changes(before, token):
            return Verb.WRITE
    return Verb.READ


def _changes(before: Token | None, token: Token) -> bool:
    """Whether it is the word of a change. FOR UPDATE locks rows, and changes none."""
    return token.upper in _WRITES and not (
        token.upper == "UPDATE" and before is not None and before.upper in ("FOR", "KEY")
    )


def may_be_query(text: str) -> bool:
    """Whether `text` may hand out rows and do nothing else, as far as its first word tells."""
    return _first_word(text) in _READS


def changes_rows(text: str) -> bool:
    """Whether `text` is nothing but statements that change rows, as far as their first words
    tell: the server runs several of one text in a transaction of their own, too."""
    if _first_word(text) not in _CHANGES:
        return False
    if ";" not in text.rstrip()[:-1]:
        return True
    tokens = tokenize(text)
    return not has_unknown_quotes(tokens) and all(
        token.upper in _CHANGES
        for before, token in itertools.pairwise(tokens)
        if text[before.start] == ";" and text[token.start] != ";"
    )


def ends_something(text: str) -> bool:
    """Whether `text` may end a transaction or a savepoint, and what was told with it."""
    return _first_word(text) in _ENDS or ";" in text.rstrip()[:-1]


def _first_word(text: str) -> str:
    found = _FIRST_WORD.match(text)
    return found[1].upper() if found is not None else ""
