"""Whether a statement is proven to only read: then nobody has to be told who runs it. Pure."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Final

from indelible.capture.mariadb.tokens import has_unknown_quotes, tokenize
from indelible.capture.statements.plan import Verb
from indelible.capture.statements.syntax import words
from indelible.capture.statements.tokens import Kind, Token

_READS: Final = frozenset(
    {"SELECT", "VALUES", "TABLE", "WITH", "SHOW", "DESC", "DESCRIBE", "EXPLAIN"}
)
_WRITES: Final = frozenset({"INSERT", "DELETE", "UPDATE", "REPLACE", "INTO", "ANALYZE"})
_SCHEMA_VERBS: Final = frozenset({"ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE"})
_ENDS: Final = frozenset({"COMMIT", "ROLLBACK", "BEGIN", "START", "XA"})
_FIRST_WORD: Final = re.compile(
    r"(?:\s|--\s[^\n]*\n|#[^\n]*\n|/\*(?!M?!).*?\*/|\()*([A-Za-z]+)", re.DOTALL
)
_TO_SAVEPOINT: Final = re.compile(r"\bROLLBACK(?:\s+WORK)?\s+TO\b", re.IGNORECASE)
HARMLESS: Final = words("""
    abs acos adddate addtime ascii asin atan atan2 avg between bin bit_and bit_count bit_length
    bit_or bit_xor case cast ceil ceiling char char_length character_length coalesce concat
    concat_ws conv convert convert_tz cos cot count crc32 cume_dist curdate current_date
    current_time current_timestamp curtime date date_add date_format date_sub datediff day dayname
    dayofmonth dayofweek dayofyear degrees dense_rank elt exp extract field find_in_set
    first_value floor format from_base64 from_days from_unixtime greatest group_concat hex hour if
    ifnull inet_aton inet_ntoa instr isnull json_array json_array_length json_arrayagg
    json_contains json_depth json_extract json_length json_object json_objectagg json_quote
    json_search json_type json_unquote json_valid json_value lag last_day last_value lcase lead
    least left length ln locate log log10 log2 lower lpad ltrim makedate maketime max md5
    microsecond mid min minute mod month monthname now nth_value ntile nullif oct octet_length ord
    percent_rank pi position pow power quarter quote radians rand rank regexp_instr regexp_replace
    regexp_substr repeat replace reverse right round row_number rpad rtrim sec_to_time second sha1
    sha2 sign sin soundex space sqrt std stddev stddev_pop stddev_samp str_to_date strcmp subdate
    substr substring substring_index subtime sum sysdate tan time time_format time_to_sec timediff
    timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase unhex
    unix_timestamp upper utc_date utc_time utc_timestamp uuid values var_pop var_samp variance
    week weekday weekofyear year yearweek
    """)
"""Functions of the server's that write nothing and read no table."""
KEYWORDS: Final = words("""
    ALL AND ANY AS BETWEEN BINARY BY CASE COLLATE CROSS DECIMAL DISTINCT DIV ELSE ESCAPE EXCEPT
    EXISTS FORCE FROM GROUP HAVING IGNORE IN INDEX INNER INTERSECT INTERVAL IS JOIN KEY LATERAL
    LIKE LIMIT MOD NATURAL NOT NULL OFFSET ON OR ORDER OUTER OVER PARTITION RECURSIVE REGEXP RLIKE
    ROW ROWS SELECT SEPARATOR SIGNED SOME STRAIGHT_JOIN THEN UNION UNSIGNED USE USING VALUES
    VARCHAR WHEN WHERE WITH XOR
    """)
"""Words that stand before brackets and call nothing."""


def is_proven_read(text: str) -> bool:
    """Whether `text` is one query that calls nothing but functions known to write nothing.

    A view may call one that does; what that writes is unattributed.
    """
    return _first_word(text) in _READS and _only_reads(text)


@lru_cache(maxsize=4_096)
def _only_reads(text: str) -> bool:
    tokens = _without_end(text, tokenize(text))
    if has_unknown_quotes(tokens):
        return False
    for token, after in itertools.zip_longest(tokens, tokens[1:]):
        if text[token.start] == ";" or (token.upper in _WRITES and not _is_called(text, after)):
            return False
        if (
            token.kind in (Kind.WORD, Kind.QUOTED)
            and _is_called(text, after)
            and token.upper not in KEYWORDS
            and token.upper.lower() not in HARMLESS
        ):
            return False
    return True


def verb_of(text: str, tokens: tuple[Token, ...]) -> Verb:
    """What the statement is: one query that hands out rows (whatever its functions do), or not."""
    tokens = _without_end(text, tokens)
    if not tokens:
        return Verb.READ
    first = tokens[0].upper
    if first in _SCHEMA_VERBS:
        return Verb.SCHEMA
    if first not in _READS and text[tokens[0].start] != "(":
        return Verb.WRITE
    for token, after in itertools.zip_longest(tokens, tokens[1:]):
        if text[token.start] == ";":
            return Verb.WRITE
        is_lock = token.upper == "UPDATE" and first not in ("WITH", "EXPLAIN")
        if token.upper in _WRITES and not is_lock and not _is_called(text, after):
            return Verb.WRITE
    return Verb.READ


def may_be_query(text: str) -> bool:
    """Whether `text` may hand out rows and do nothing else, as far as its first word tells."""
    return _first_word(text) in _READS


@lru_cache(maxsize=4_096)
def has_more(text: str) -> bool:
    """Whether `text` may be more statements than one."""
    if ";" not in text.rstrip()[:-1]:
        return False
    tokens = _without_end(text, tokenize(text))
    return (
        "/*!" in text
        or "/*M!" in text
        or has_unknown_quotes(tokens)
        or any(text[token.start] == ";" for token in tokens)
    )


def ends_something(text: str) -> bool:
    """Whether `text` may end a transaction, and begin another."""
    if has_more(text):
        return True
    return _first_word(text) in _ENDS and _TO_SAVEPOINT.search(text) is None


def _without_end(text: str, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    return tokens[:-1] if tokens and text[tokens[-1].start] == ";" else tokens


def _is_called(text: str, after: Token | None) -> bool:
    return after is not None and text[after.start] == "("


def _first_word(text: str) -> str:
    found = _FIRST_WORD.match(text)
    return found[1].upper() if found is not None else ""
