"""PostgreSQL's queries (`statements.dialect.Dialect`), as one session reads their names.

A rewritten text that was misjudged mostly fails when it is tried: PostgreSQL wants every column
beside an aggregate grouped. What could go wrong silently isn't understood.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.parsers.postgres import PostgresParser

from indelible.capture.postgres.beside import rows_as_json, with_values_beside
from indelible.capture.postgres.keys import PostgresKeys
from indelible.capture.postgres.names import quote_name, quote_text
from indelible.capture.postgres.readable import Definition, Named, Readable, Session
from indelible.capture.postgres.tokens import IN_LISTS, tokenize
from indelible.capture.postgres.values import INTEGERS
from indelible.capture.postgres.verbs import verb_of
from indelible.capture.postgres.views import FoundDefinitions
from indelible.capture.schema import Schema, Table
from indelible.capture.statements.plan import Verb
from indelible.capture.statements.settled import check_settled
from indelible.capture.statements.sources import Source
from indelible.capture.statements.spans import NotAQueryError
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    UnknownReadError,
    function_names,
    words,
)
from indelible.capture.statements.tokens import Token
from indelible.capture.statements.view_keys import View, ViewVersion, read_view
from indelible.capture.statements.views import SeenThrough, with_views_inlined
from indelible.policy.model import Policy

_SYNTAX_FUNCTIONS: Final = frozenset(
    {"CAST", "EXTRACT", "NORMALIZE", "OVERLAY", "POSITION", "SUBSTRING", "TRIM"}
)
_GRAMMAR: Final = words("""
    array cast coalesce current_catalog current_date current_role current_schema current_time
    current_timestamp current_user greatest grouping least normalize nullif overlay position row
    substring trim
    """)
"""What is called but isn't in `pg_proc`."""
_READERS: Final = re.compile(r".*_to_xml.*|ts_stat|ts_rewrite|dblink.*|lo_.*|loread|pg_read_.*")
"""Functions of PostgreSQL's that hand out rows of tables, or what is no table's."""
_READS: Final = re.compile(r"\b(?:select|table)\b|\bcopy\b.*\bto\b", re.IGNORECASE | re.DOTALL)
_FRAGILE_WORDS: Final = frozenset({"FETCH", "FOR", "LIMIT", "OFFSET", "OVER", "TABLESAMPLE"})
_SYSTEM: Final = ("pg_catalog", "information_schema", "pg_toast")
_NAMED: Final = frozenset("(0123456789")
"""What stands behind the first character of a parameter that may be repeated."""
_AS_DEFINED: Final = Session(("pg_catalog",), "", frozenset())
"""How the catalogue writes a view's definition: with the schema of all but its own."""


class IndeliblePostgres(Postgres):
    """As sqlglot reads PostgreSQL, but everything that is called keeps its name."""

    class Parser(PostgresParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: parse
            for name, parse in PostgresParser.FUNCTION_PARSERS.items()
            if name in _SYNTAX_FUNCTIONS
        }


class PostgresDialect(PostgresKeys):
    """For the sessions in which names mean what they mean in `session`."""

    parser = IndeliblePostgres
    keywords = words("""
        ALL AND ANY AS BETWEEN BY CASE CHAR CHARACTER COLLATE CUBE DEC DECIMAL DISTINCT ELSE ESCAPE
        EXCEPT EXISTS FILTER FLOAT FROM GROUP HAVING ILIKE IN INTERSECT IS JOIN LATERAL LIKE LIMIT
        MATERIALIZED NCHAR NOT NULL OF OFFSET ON OR OVER PARTITION ROLLUP SELECT SETS SIMILAR SOME
        SYSTEM BERNOULLI THEN TO UNION USING VALUES VARYING WHEN WHERE WITHIN
        """)
    in_lists = IN_LISTS
    has_row_values = True
    hides_unread = True
    limits = frozenset({"LIMIT", "OFFSET", "FETCH"})
    groups_distinct = True
    has_companions = False
    orderless = words("bit_and bit_or bool_and bool_or count every max min")
    exact_types = INTEGERS | {"numeric"}

    def __init__(self, readable: Readable, session: Session, policy: Policy) -> None:
        self._readable = readable
        self._session = session
        self._policy = policy
        self._views: dict[int, View | None] = {}
        self._aggregates = frozenset(
            name
            for name, function in readable.functions.items()
            if "a" in function.kinds and "f" not in function.kinds
        )

    @property
    def aggregates(self) -> frozenset[str]:
        return self._aggregates

    def is_function(self, name: str) -> bool:
        return name in self._readable.functions

    def tokenize(self, text: str) -> tuple[Token, ...]:
        return tokenize(text)

    def verb_of(self, text: str, tokens: tuple[Token, ...]) -> Verb:
        return verb_of(text, tokens)

    def hands_out_nothing(self, tokens: tuple[Token, ...]) -> bool:
        return not tokens or tokens[0].upper in ("EXPLAIN", "SHOW")

    def hands_out_unknown(self, tokens: tuple[Token, ...]) -> bool:
        return bool(tokens) and tokens[0].upper in ("CALL", "EXECUTE", "FETCH")

    def read_part(self, text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
        return (0, None) if _READS.search(text) is not None else None

    def fold(self, identifier: exp.Expr) -> str:
        return identifier.name if identifier.args.get("quoted") else identifier.name.lower()

    def quote_name(self, name: str) -> str:
        return quote_name(name)

    def followed_as(self, table: Table) -> str | None:
        for (schema, name), found in self._readable.named.items():
            if found.table is table and not found.is_filtered:
                return f"{quote_name(schema)}.{quote_name(name)}"
        return None

    def resolve(self, node: exp.Table, schema: Schema, ctes: Mapping[str, object]) -> Source:
        alias = node.args.get("alias")
        own = self.fold(alias.this) if alias is not None and alias.this is not None else ""
        if not isinstance(node.this, exp.Identifier):
            return Source(own)  # a function's, of which `check` knows that it reads no table
        name = self.fold(node.this)
        if not node.db and name.lower() in ctes:
            return Source(own or name, cte=name.lower())
        found = self._find(node)
        if found is None:
            return Source(own or name)
        if alias is not None and alias.args.get("columns") and found.table is not None:
            raise NotUnderstoodError("a table whose columns are given other names")
        view = self._view_of(found.view) if found.view is not None else None
        if view is None:
            return Source(own or name, found.table, behind=found.behind, why=found.why or "")
        if alias is not None and alias.args.get("columns"):
            raise NotUnderstoodError("a view whose columns are given other names")
        return Source(own or name, view.shape, view=view)

    def _view_of(self, definition: Definition) -> View | None:
        """Which keys the view hands out; None where that can't be told."""
        oid = definition.oid
        if oid not in self._views:
            view = None
            with contextlib.suppress(NotAQueryError, NotUnderstoodError, RecursionError):
                version = ViewVersion(str(oid), definition.version)
                statement = self._view_statement(definition)
                view = read_view(statement, definition.name, version, definition.columns)
            self._views[oid] = view
        return self._views[oid]

    def _view_statement(self, definition: Definition) -> Statement:
        """Its definition. Raises `NotAQueryError` and `NotUnderstoodError`."""
        dialect = PostgresDialect(self._readable, _AS_DEFINED, self._policy)
        dialect._views = self._views
        text = definition.text
        return Statement(text, tokenize(text), self._readable.schema, self._policy, dialect)

    def tables_behind(self, node: exp.Table, schema: Schema) -> list[Table]:
        try:
            found = self._find(node)
        except NotUnderstoodError:
            return []
        if found is None:
            return []
        return [found.table] if found.table is not None else list(found.behind)

    def _find(self, node: exp.Table) -> Named | None:
        """What the name of `node` stands for; None for what is no table of the application's."""
        name = self.fold(node.this)
        if node.catalog:
            raise NotUnderstoodError("a table of another database")
        db = node.args.get("db")
        path = self._session.path if db is None else (self.fold(db),)
        for schema in path:
            if schema.startswith("pg_temp"):
                if db is not None or name in self._session.temporary:
                    raise NotUnderstoodError("a name that a temporary table takes")
            elif schema in _SYSTEM:
                if db is not None or name in self._readable.system_relations:
                    return None
            elif (schema, name) in self._readable.named:
                return self._readable.named[schema, name]
        raise UnknownReadError("a table that we don't know")

    def check(self, statement: Statement) -> None:
        for name in statement.functions:
            function = self._readable.functions.get(name)
            if function is None:
                if name in _GRAMMAR or statement.names_a_query(name):
                    continue
                raise UnknownReadError("a function of which we know nothing")
            if function.is_users and not (function.is_fixed and len(function.kinds) == 1):
                raise UnknownReadError("a function of the application's, which may read anything")
            if _READERS.fullmatch(name):
                raise UnknownReadError("a function that may read tables")

    def may_change_names(self, text: str, tokens: tuple[Token, ...]) -> bool:
        """Whether names may mean something else after it ran: it calls what may do anything."""
        functions = self._readable.functions
        called = function_names(text, tokens, self.keywords) & functions.keys()
        return any(functions[name].is_users and not functions[name].is_fixed for name in called)

    def check_repeatable(self, statement: Statement) -> None:
        if not self._has_own_names_first:
            raise NotUnderstoodError("a search path with other names before the server's")
        if statement.spans.query.limited:
            # What fails for a row that LIMIT never reaches would fail the whole statement.
            raise NotUnderstoodError("LIMIT over rows that stand for several")
        self._check_repeatable(statement, is_nested=False)

    @property
    def _has_own_names_first(self) -> bool:
        """Whether what is called without a schema is the server's own."""
        path = [name for name in self._session.path if not name.startswith("pg_temp")]
        return path[:1] == ["pg_catalog"]

    def _check_repeatable(self, statement: Statement, *, is_nested: bool) -> None:
        functions = self._readable.functions
        if any(functions[name].is_volatile for name in statement.functions & functions.keys()):
            raise NotUnderstoodError("a function that can't be called twice")
        if any(True for _ in statement.root.find_all(exp.Lock, exp.TableSample)):
            raise NotUnderstoodError("rows that may be others when they are asked for again")
        check_settled(statement, is_nested=is_nested)
        for found in self._named_in(statement):
            if found.is_filtered:
                raise NotUnderstoodError("row security, which may do more than leave rows out")
            if found.view is not None:
                try:
                    within = self._view_statement(found.view)
                except NotAQueryError as problem:
                    raise NotUnderstoodError(str(problem)) from None
                self._check_repeatable(within, is_nested=True)
            elif found.table is None and found.behind:
                raise NotUnderstoodError(found.why or "read through a view")

    def _named_in(self, statement: Statement) -> Iterator[Named]:
        """The application's tables and views that the statement names.

        Raises `NotUnderstoodError` for what isn't known.
        """
        ctes = {cte.alias.lower() for cte in statement.root.find_all(exp.CTE)}
        for table in statement.root.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier) and (
                table.args.get("db") is not None or self.fold(table.this).lower() not in ctes
            ):
                found = self._find(table)
                if found is not None:
                    yield found

    def seen_through(self, statement: Statement) -> SeenThrough | None:
        found = FoundDefinitions(self._readable.bare, self._find)
        text, tokens = statement.text, statement.tokens
        inlined = with_views_inlined(text, tokens, statement.schema, self, found)
        return None if inlined is None else SeenThrough(inlined, found.views())

    def companion(self, statement: Statement, query: str, names: Sequence[str]) -> str:
        return rows_as_json(query, names, quote_name(f"{statement.prefix}q"))

    def beside(
        self, statement: Statement, query: str, companions: Sequence[str], stamp: str | None
    ) -> str:
        return with_values_beside(
            query, companions, stamp, lambda name: quote_name(statement.prefix + name)
        )

    def check_written_twice(self, statement: Statement, start: int, end: int) -> None:
        for token in statement.parameters:
            if start <= token.start < end and statement.text[token.start + 1] not in _NAMED:
                raise NotUnderstoodError("parameters that go by their place, in a value")
        functions = self._readable.functions
        if any(functions[name].is_volatile for name in statement.functions & functions.keys()):
            raise NotUnderstoodError("a function that can't be called twice")

    def is_fragile(self, statement: Statement) -> bool:
        return bool(
            statement.words & _FRAGILE_WORDS
            or any(found.args.get("on") for found in statement.root.find_all(exp.Distinct))
            or statement.functions_beside_keys() & (self._aggregates - self.orderless)
            or any(self._is_fragile_view(table) for table in statement.root.find_all(exp.Table))
        )

    def _is_fragile_view(self, node: exp.Table) -> bool:
        """Of one whose definition isn't understood, it is taken for granted."""
        try:
            found = self._find(node) if isinstance(node.this, exp.Identifier) else None
        except NotUnderstoodError:
            return False  # a named query, or what the server refuses
        if found is None or found.view is None:
            return False
        view = self._view_of(found.view)
        return view is None or view.is_fragile

    def multiplies_rows(self, statement: Statement) -> bool:
        functions = self._readable.functions
        return any(functions[name].returns_set for name in statement.functions & functions.keys())

    def stamp(self, views: Collection[View]) -> str:
        # Under another isolation level names mean what they mean now, and the catalogue is read as
        # it was: then nothing may have come after it.
        settled = (
            "({0}.xmax OPERATOR(pg_catalog.=) '0'::pg_catalog.xid OR "
            "pg_catalog.current_setting('transaction_isolation') "
            "OPERATOR(pg_catalog.=) 'read committed')"
        )
        versions = {version for view in views for version in view.versions}
        rules = " OR ".join(
            f"(r.ev_class OPERATOR(pg_catalog.=) {one.relation}::pg_catalog.oid "
            f"AND r.xmin OPERATOR(pg_catalog.=) '{one.version}'::pg_catalog.xid)"
            for one in sorted(versions, key=lambda one: int(one.relation))
        )
        names = " OR ".join(
            f"(a.attrelid OPERATOR(pg_catalog.=) {view.versions[0].relation}::pg_catalog.oid "
            f"AND a.attnum OPERATOR(pg_catalog.=) {place + 1} "
            f"AND a.attname OPERATOR(pg_catalog.=) {quote_text(column)})"
            for view in views
            for place, column in enumerate(view.shape.names)
        )
        columns = sum(len(view.shape.names) for view in views)
        tables = sorted({oid for view in views for oid in view.unfiltered}, key=int)
        unfiltered = "".join(
            "AND EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE "
            f"c.oid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid "
            f"AND NOT c.relrowsecurity AND {settled.format('c')}) "
            for oid in tables
        )
        return (
            "CASE WHEN (SELECT pg_catalog.count(*) FROM pg_catalog.pg_rewrite AS r WHERE "
            f"r.rulename OPERATOR(pg_catalog.=) '_RETURN' AND ({rules}) AND {settled.format('r')}"
            f") OPERATOR(pg_catalog.=) {len(versions)} AND "
            "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute AS a WHERE "
            f"({names}) AND {settled.format('a')}) OPERATOR(pg_catalog.=) {columns} "
            f"{unfiltered}THEN 1 ELSE 0 END"
        )
