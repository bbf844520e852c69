"""MariaDB's queries (`statements.dialect.Dialect`): which tables they mention.

Rows aren't named here: each read is told by its statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.tokens import IN_LISTS, tokenize
from indelible.capture.mariadb.verbs import HARMLESS, KEYWORDS, verb_of
from indelible.capture.schema import Schema, Table
from indelible.capture.statements.carried import Carried
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.plan import Taken, Verb
from indelible.capture.statements.shown import tables_behind
from indelible.capture.statements.sources import Source
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import NotUnderstoodError, UnknownReadError, words
from indelible.capture.statements.tokens import Token

_AGGREGATES: Final = words(
    "avg bit_and bit_or bit_xor count group_concat json_arrayagg json_objectagg max min std stddev "
    "stddev_pop stddev_samp sum var_pop var_samp variance"
)
_READS: Final = re.compile(r"\b(?:select|table|returning)\b", re.IGNORECASE)
_NOT_NAMED: Final = "rows aren't named on MariaDB"


class MariadbDialect(Dialect):
    """Of one database of a server."""

    parser = "mysql"
    keywords = KEYWORDS
    in_lists = IN_LISTS
    has_bare_columns = True
    quotes_text_as_names = True
    hides_unread = True
    has_companions = False

    @property
    def aggregates(self) -> frozenset[str]:
        return _AGGREGATES

    def tokenize(self, text: str) -> tuple[Token, ...]:
        return tokenize(text)

    def verb_of(self, text: str, tokens: tuple[Token, ...]) -> Verb:
        return verb_of(text, tokens)

    def hands_out_nothing(self, tokens: tuple[Token, ...]) -> bool:
        return not tokens or tokens[0].upper in ("SHOW", "DESC", "DESCRIBE", "EXPLAIN")

    def hands_out_unknown(self, tokens: tuple[Token, ...]) -> bool:
        return bool(tokens) and tokens[0].upper in ("CALL", "EXECUTE", "FETCH", "HANDLER")

    def read_part(self, text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
        return (0, None) if _READS.search(text) is not None else None

    def fold(self, identifier: exp.Expr) -> str:
        return identifier.name

    def quote_name(self, name: str) -> str:
        return quote_name(name)

    def followed_as(self, table: Table) -> str | None:
        return None

    def resolve(self, node: exp.Table, schema: Schema, ctes: Mapping[str, object]) -> Source:
        raise NotUnderstoodError(_NOT_NAMED)

    def tables_behind(self, node: exp.Table, schema: Schema) -> list[Table]:
        return tables_behind(node.name, schema)

    def check(self, statement: Statement) -> None:
        for name in statement.functions - HARMLESS:
            if not statement.names_a_query(name):
                raise UnknownReadError("a function that may read anything")
        raise NotUnderstoodError(_NOT_NAMED)

    def check_repeatable(self, statement: Statement) -> None:
        raise NotUnderstoodError(_NOT_NAMED)

    def check_written_twice(self, statement: Statement, start: int, end: int) -> None:
        raise NotUnderstoodError(_NOT_NAMED)

    def is_fragile(self, statement: Statement) -> bool:
        return True

    def multiplies_rows(self, statement: Statement) -> bool:
        return False

    def why_unnamed(self, table: Table) -> str | None:
        return _NOT_NAMED

    def can_carry(self, table: Table, column: str) -> bool:
        return False

    def hidden_columns(self, one: Carried, *, aggregated: bool) -> tuple[list[str], Taken]:
        raise NotUnderstoodError(_NOT_NAMED)

    def selected(self, one: Carried, places: tuple[int, ...], subject: int | None) -> Taken | None:
        return None

    def with_hidden_subject(self, one: Carried, taken: Taken, place: int) -> tuple[str, Taken]:
        raise NotUnderstoodError(_NOT_NAMED)


MARIADB: Final = MariadbDialect()
