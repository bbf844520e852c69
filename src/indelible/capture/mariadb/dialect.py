"""MariaDB's queries (`statements.dialect.Dialect`), as a session of one database reads them.

Its parser takes much that others refuse, and what a text means hangs on the session's SQL mode:
what could be read in two ways isn't understood.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.parsers.mysql import MySQLParser

from indelible.capture.mariadb.beside import (
    order_outside,
    rows_as_json,
    with_values_beside,
)
from indelible.capture.mariadb.keys import MariadbKeys, has_percent, type_of
from indelible.capture.mariadb.names import quote_name
from indelible.capture.mariadb.tokens import IN_LISTS, has_unknown_quotes, tokenize
from indelible.capture.mariadb.values import INTEGERS
from indelible.capture.mariadb.verbs import HARMLESS, KEYWORDS, verb_of
from indelible.capture.mariadb.views import FoundDefinition, FoundDefinitions, can_be_stamped
from indelible.capture.schema import Schema, Table
from indelible.capture.statements.plan import Verb
from indelible.capture.statements.settled import (
    check_settled,
    has_total_order,
    is_orderless,
    is_settled_window,
)
from indelible.capture.statements.shown import tables_behind
from indelible.capture.statements.sources import Scope, Source, resolve_scope
from indelible.capture.statements.spans import NotAQueryError
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    UnknownReadError,
    has_bare_columns,
    is_aggregate,
    is_aggregated,
    own_clauses,
    words,
)
from indelible.capture.statements.tokens import Kind, Token, unquote
from indelible.capture.statements.view_keys import View, ViewVersion, read_view
from indelible.capture.statements.views import SeenThrough, with_views_inlined
from indelible.policy.model import Policy

_AGGREGATES: Final = words(
    "avg bit_and bit_or bit_xor count group_concat json_arrayagg json_objectagg max min std stddev "
    "stddev_pop stddev_samp sum var_pop var_samp variance"
)
_VOLATILE: Final = words("rand sysdate uuid")
_SYNTAX_FUNCTIONS: Final = words(
    "CAST CHAR CONVERT EXTRACT GROUP_CONCAT POSITION SUBSTR SUBSTRING TRIM VALUES WEIGHT_STRING"
)
_READS: Final = re.compile(r"\b(?:select|table|returning)\b", re.IGNORECASE)
_LIMITS: Final = words("FETCH LIMIT OFFSET")
_BEYOND: Final = words("""
    CURRVAL DISTINCTROW EXAMINED HIGH_PRIORITY LASTVAL NEXTVAL PROCEDURE ROWNUM SQL_BIG_RESULT
    SQL_BUFFER_RESULT SQL_CACHE SQL_CALC_FOUND_ROWS SQL_NO_CACHE SQL_SMALL_RESULT STRAIGHT_JOIN
    SYSTEM_TIME
    """)
"""Words that ask for more than rows, or that the parser takes for names."""
COMMENT_EDGES: Final = ("/*!", "/*M!")
"""Begin a comment that is executed."""
_IDENTICAL: Final = INTEGERS | words("bit date datetime decimal time timestamp uuid")
"""Types of which equal values are the same."""


class IndelibleMySQL(MySQL):
    """As sqlglot reads MySQL, but everything that is called keeps its name."""

    class Parser(MySQLParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: parse
            for name, parse in MySQLParser.FUNCTION_PARSERS.items()
            if name in _SYNTAX_FUNCTIONS
        }


class MariadbDialect(MariadbKeys):
    """Of one `database`, with its `schema` and the `definitions` of its views by their names.
    `partly_starred` are the tables (by their names) of which a star doesn't hand out every column.
    """

    parser = IndelibleMySQL
    keywords = KEYWORDS
    in_lists = IN_LISTS
    has_bare_columns = True
    quotes_text_as_names = True
    hides_unread = True
    has_companions = False
    types_by_anchor = True
    orderless = words("bit_and bit_or bit_xor count max min")
    exact_types = INTEGERS | {"decimal"}

    def __init__(
        self,
        database: str,
        schema: Schema,
        policy: Policy,
        definitions: Mapping[str, FoundDefinition],
        partly_starred: Collection[str] = (),
    ) -> None:
        self._database = database
        self._schema = schema
        self._policy = policy
        self._definitions = definitions
        self._views: dict[str, View | None] = {}
        self._partly_starred = frozenset(partly_starred)

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
        if "%" in self._database or has_percent(table):
            return None
        return f"{quote_name(self._database)}.{quote_name(table.name)}"

    def resolve(self, node: exp.Table, schema: Schema, ctes: Mapping[str, object]) -> Source:
        if not isinstance(node.this, exp.Identifier):
            raise UnknownReadError("a table function")
        name = node.name
        alias = node.alias_or_name
        if node.db and node.db != self._database:
            raise NotUnderstoodError("a table of another database")
        if not node.db and name.lower() in ctes:
            return Source(alias, cte=name.lower())
        if not node.db and name.upper() == "DUAL" and not node.this.args.get("quoted"):
            return Source(alias)
        aliased = node.args.get("alias")
        if aliased is not None and aliased.args.get("columns"):
            raise NotUnderstoodError("a table whose columns are given other names")
        for key in (name.lower(), name):
            if key in schema.tables and schema.tables[key].name == name:
                return Source(alias, table=schema.tables[key])
        view = self._view_of(name)
        if view is not None:
            return Source(alias, view.shape, view=view)
        if name.lower() in schema.views:
            return Source(alias, behind=tuple(tables_behind(name, schema)))
        raise UnknownReadError("a table that we don't know")

    def _view_of(self, name: str) -> View | None:
        """Which keys the view of that name hands out; None where that can't be told."""
        if name not in self._views:
            view = None
            definition = self._definitions.get(name)
            if definition is not None and can_be_stamped(name, self._database):
                with contextlib.suppress(NotAQueryError, NotUnderstoodError, RecursionError):
                    version = ViewVersion(name, definition.version)
                    view = read_view(self._view_statement(name), name, version)
            self._views[name] = view
        return self._views[name]

    def _view_statement(self, name: str) -> Statement:
        """Its definition. Raises `NotAQueryError` and `NotUnderstoodError`."""
        text = self._definitions[name].text
        return Statement(text, tokenize(text), self._schema, self._policy, self)

    def tables_behind(self, node: exp.Table, schema: Schema) -> list[Table]:
        return tables_behind(node.name, schema)

    def check(self, statement: Statement) -> None:
        text, tokens = statement.text, statement.tokens
        if has_unknown_quotes(tokens) or any(
            token.kind is Kind.QUOTED and text[token.start] == '"' for token in tokens
        ):
            raise NotUnderstoodError("text that may be quoted in two ways")
        if any(edge in text for edge in COMMENT_EDGES):
            raise NotUnderstoodError("a comment that is executed")
        if statement.words & _BEYOND:
            raise NotUnderstoodError("a clause that does more than name rows")
        self._check_tokens(text, tokens)
        for name in statement.functions - HARMLESS:
            # Once: where the columns of the query are listed. Elsewhere it would be a call.
            if not statement.names_a_query(name) or _count(text, tokens, name) > 1:
                raise UnknownReadError("a function that may read anything")
        for table in statement.root.find_all(exp.Table):
            if table.name.lower() in statement.schema.views and self._view_of(table.name) is None:
                # It may call functions, which mustn't run twice.
                raise NotUnderstoodError("read through a view")
        self._check_names(statement)

    def _check_tokens(self, text: str, tokens: tuple[Token, ...]) -> None:
        for token, after, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if token.upper == "VALUE" and after.upper == "FOR":
                raise UnknownReadError("a sequence")
            if token.kind is Kind.PUNCTUATION and text[token.start] + text[third.start] == ".(":
                raise UnknownReadError("a function of the application's, which may read anything")
        for token, after in itertools.pairwise(tokens):
            if text[token.start] == "@" or text[token.start : token.end] == ":=":
                raise NotUnderstoodError("a variable")
            if text[token.start : after.end] == "--":
                raise NotUnderstoodError("what others take for a comment")
            is_called = (
                text[after.start] == "("
                and token.kind in (Kind.WORD, Kind.QUOTED)
                and unquote(text[token.start : token.end]).lower() in HARMLESS
                and token.upper not in KEYWORDS
            )
            if is_called and (token.kind is Kind.QUOTED or token.end != after.start):
                # Not the server's own, perhaps, but one of the application's of the same name.
                raise UnknownReadError("a function that may be the application's")

    def _check_names(self, statement: Statement) -> None:
        """Names that differ only in upper and lower case are the same for us, and perhaps not for
        the server; a star may stand for fewer columns than there are."""
        root = statement.root
        names = {table.alias_or_name for table in root.find_all(exp.Table)}
        names.update(each.alias for each in root.find_all(exp.Subquery, exp.CTE))
        names.update(column.table for column in root.find_all(exp.Column))
        if len({name.lower() for name in names}) < len(names):
            raise NotUnderstoodError("names that differ only in upper and lower case")
        if any(table.name in self._partly_starred for table in root.find_all(exp.Table)) and any(
            True for _ in root.find_all(exp.Star)
        ):
            raise NotUnderstoodError("a star that may not stand for every column")

    def check_repeatable(self, statement: Statement) -> None:
        self._check_repeatable(statement, is_nested=False)

    def _check_repeatable(self, statement: Statement, *, is_nested: bool) -> None:
        if statement.functions & _VOLATILE:
            raise NotUnderstoodError("a function that can't be called twice")
        check_settled(statement, is_nested=is_nested)
        for name in sorted(_table_names(statement.root)):
            if self._view_of(name) is not None:
                self._check_repeatable(self._view_statement(name), is_nested=True)

    def seen_through(self, statement: Statement) -> SeenThrough | None:
        found = FoundDefinitions(self._database, self._definitions)
        text, tokens = statement.text, statement.tokens
        inlined = with_views_inlined(text, tokens, statement.schema, self, found)
        return None if inlined is None else SeenThrough(inlined, found.views)

    def companion(self, statement: Statement, query: str, names: Sequence[str]) -> str:
        return rows_as_json(query, names, quote_name(f"{statement.prefix}q"))

    def beside(
        self, statement: Statement, query: str, companions: Sequence[str], stamp: str | None
    ) -> str:
        def name(own: str) -> str:
            return quote_name(statement.prefix + own)

        order = order_outside(statement, name("q"))
        return with_values_beside(query, companions, stamp, name, order)

    def check_written_twice(self, statement: Statement, start: int, end: int) -> None:
        raise NotUnderstoodError("a query in the select list")

    def is_fragile(self, statement: Statement) -> bool:
        return bool(
            (statement.words & _LIMITS and not _is_ordered(statement))
            or any(_is_fragile(each, statement) for each in statement.root.find_all(exp.Select))
            or any(
                view is not None and view.is_fragile
                for view in map(self._view_of, _table_names(statement.root))
            )
        )

    def multiplies_rows(self, statement: Statement) -> bool:
        return False

    def stamp(self, views: Collection[View]) -> str:
        versions = {version for view in views for version in view.versions}
        # One query for each: with names that are constants it opens no other view's file.
        found = " + ".join(
            "(SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = "
            f"'{self._database}' AND TABLE_NAME = '{one.relation}' "
            f"AND MD5(VIEW_DEFINITION) = '{one.version}')"
            for one in sorted(versions, key=lambda one: one.relation)
        )
        return f"{found} = {len(versions)}"


def _is_fragile(select: exp.Select, statement: Statement) -> bool:
    """Whether what a group or a window hands out hangs on the order in which rows are found."""
    windows = [node for node in own_clauses(select) if isinstance(node, exp.Window)]
    if not is_aggregated(select) and not windows:
        return False
    ctes = {cte.alias.lower(): cte for cte in statement.root.find_all(exp.CTE)}
    try:
        scope = resolve_scope(select, statement.names(ctes))
    except NotUnderstoodError:
        return True
    if not all(is_settled_window(window, scope) for window in windows):
        return True
    group = select.args.get("group")
    keys = group.expressions if group is not None else ()
    return (
        has_bare_columns(select)
        or not all(_is_the_same(key, select, scope) for key in keys)
        or any(
            is_aggregate(node) and not is_orderless(node, scope, statement)
            for node in own_clauses(select)
        )
    )


def _is_the_same(key: exp.Expr, select: exp.Select, scope: Scope) -> bool:
    """Whether equal values of a group's key surely are one value; of texts some are equal that
    differ in case."""
    if isinstance(key, exp.Literal) and key.name.isdigit():
        item = select.expressions[int(key.name) - 1 : int(key.name)]
        key = item[0].unalias() if item else key
    owner = scope.owner(key) if isinstance(key, exp.Column) else None
    if owner is None or owner[0].table is None:
        return False
    return type_of(owner[0].table, owner[1]) in _IDENTICAL


def _table_names(root: exp.Expr) -> set[str]:
    return {table.name for table in root.find_all(exp.Table)}


def _is_ordered(statement: Statement) -> bool:
    """Whether each query that leaves rows out says of every row where it stands."""
    root = statement.root
    ctes = {cte.alias.lower(): cte for cte in root.find_all(exp.CTE)}
    limited = [
        query
        for query in root.find_all(exp.Query)
        if query.args.get("limit") is not None or query.args.get("offset") is not None
    ]
    try:
        return bool(limited) and all(
            isinstance(query, exp.Select)
            and has_total_order(query, resolve_scope(query, statement.names(ctes)))
            for query in limited
        )
    except NotUnderstoodError:
        return False


def _count(text: str, tokens: tuple[Token, ...], name: str) -> int:
    """How often `name` stands before a bracket."""
    return sum(
        text[after.start] == "(" and unquote(text[token.start : token.end]).lower() == name
        for token, after in itertools.pairwise(tokens)
    )
