"""SQLite's queries (`dialect.Dialect`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace
from sqlglot import exp

from indelible.capture.schema import Schema, Table
from indelible.capture.sqlite_names import quote_name
from indelible.capture.statements import keys
from indelible.capture.statements.carried import Carried
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.plan import Taken, Verb
from indelible.capture.statements.shown import tables_behind
from indelible.capture.statements.sources import Source
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import (
    RANKINGS,
    NotUnderstoodError,
    UnknownReadError,
    has_bare_columns,
    words,
)
from indelible.capture.statements.tokens import IN_LISTS, Kind, Token, tokenize

_AGGREGATES: Final = words(
    "avg count group_concat json_group_array json_group_object string_agg sum total"
)
"""Aggregates always; `max` and `min` are when they have one argument."""
_OTHER_WINDOWS: Final = words("lag lead first_value last_value nth_value")
_SCALARS: Final = words("""
    abs acos acosh asin asinh atan atan2 atanh cast ceil ceiling char coalesce cos cosh degrees
    exp floor format glob hex if ifnull iif instr json json_array json_array_length json_extract
    json_insert json_object json_patch json_quote json_remove json_replace json_set json_type
    json_valid length like likelihood likely ln log log10 log2 lower ltrim max min mod nullif pi
    pow power printf quote radians replace round rtrim sign sin sinh soundex sqrt
    substr substring tan tanh trim trunc typeof unhex unicode unlikely upper zeroblob
    """)
_VOLATILE: Final = words("""
    changes current_date current_time current_timestamp date datetime julianday
    last_insert_rowid random randomblob sqlite_compileoption_get sqlite_compileoption_used
    sqlite_offset sqlite_source_id sqlite_version strftime time timediff total_changes unixepoch
    """)
_TABLE_FUNCTIONS: Final = words("json_each json_tree generate_series")
_KEYWORDS: Final = words("""
    ALL AND AS BETWEEN BY CASE COLLATE DISTINCT ELSE ESCAPE EXCEPT EXISTS FILTER FROM GLOB HAVING
    IN INTERSECT INTO IS ISNULL JOIN LIKE LIMIT MATCH MATERIALIZED NOT NOTNULL NULL OFFSET ON OR
    OVER PARTITION REGEXP RETURNING SELECT SET THEN UNION USING VALUES WHEN WHERE
    """)
_CATALOGUES: Final = frozenset(
    {
        "sqlite_master",
        "sqlite_schema",
        "sqlite_temp_master",
        "sqlite_temp_schema",
        "sqlite_sequence",
    }
)
_HARMLESS_PRAGMAS: Final = words("""
    application_id auto_vacuum automatic_index busy_timeout cache_size cache_spill
    collation_list compile_options data_version database_list defer_foreign_keys encoding
    foreign_key_check foreign_key_list foreign_keys freelist_count function_list index_info
    index_list index_xinfo integrity_check journal_mode journal_size_limit locking_mode
    max_page_count mmap_size module_list page_count page_size pragma_list query_only quick_check
    read_uncommitted recursive_triggers schema_version secure_delete soft_heap_limit synchronous
    table_info table_list table_xinfo temp_store threads trusted_schema user_version
    wal_autocheckpoint
    """)
_WITH_ARGUMENT: Final = words("""
    foreign_key_check foreign_key_list index_info index_list index_xinfo integrity_check
    quick_check table_info table_list table_xinfo
    """)
_SCHEMA_VERBS: Final = frozenset({"CREATE", "DROP", "ALTER", "ATTACH", "DETACH"})
_FRAGILE_WORDS: Final = frozenset({"LIMIT", "OVER"})
_FRAGILE_FUNCTIONS: Final = _AGGREGATES - {"count"} | {"min", "max"}


class SqliteDialect(Dialect):
    """Of a main database; what is attached to it isn't told."""

    parser = "sqlite"
    keywords = _KEYWORDS
    in_lists = IN_LISTS
    has_bare_columns = True
    quotes_text_as_names = True

    @property
    def aggregates(self) -> frozenset[str]:
        return _AGGREGATES

    def tokenize(self, text: str) -> tuple[Token, ...]:
        return tokenize(text)

    def verb_of(self, text: str, tokens: tuple[Token, ...]) -> Verb:
        return _verb_of(text, tokens)

    def hands_out_nothing(self, tokens: tuple[Token, ...]) -> bool:
        return bool(tokens) and tokens[0].upper in ("EXPLAIN", "PRAGMA")

    def read_part(self, text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
        return _read_part(text, tokens)

    def fold(self, identifier: exp.Expr) -> str:
        return identifier.name

    def quote_name(self, name: str) -> str:
        return quote_name(name)

    def followed_as(self, table: Table) -> str | None:
        return f"main.{quote_name(table.name)}"

    def resolve(self, node: exp.Table, schema: Schema, ctes: Mapping[str, object]) -> Source:
        alias = node.alias_or_name
        if not isinstance(node.this, exp.Identifier):
            function = node.this
            name = (function.name or getattr(function, "sql_name", str)()).lower()
            if name in _TABLE_FUNCTIONS or name.startswith("pragma_"):
                return Source(node.alias or name)
            raise NotUnderstoodError("a table function that we don't know")
        name = node.name.lower()
        if node.db and node.db.lower() != "main":
            raise NotUnderstoodError("a table of another database")
        if not node.db and name in ctes:
            return Source(alias, cte=name)
        if name in _CATALOGUES or name.startswith("pragma_"):
            return Source(alias)
        if not node.db and name in schema.temporary:
            raise NotUnderstoodError("a name that a temporary or attached table takes")
        if name in schema.tables:
            return Source(alias, table=schema.tables[name])
        if name in schema.views:
            return Source(alias, behind=tuple(tables_behind(name, schema)))
        raise UnknownReadError("a table that we don't know")

    def tables_behind(self, node: exp.Table, schema: Schema) -> list[Table]:
        return tables_behind(node.name, schema)

    def check(self, statement: Statement) -> None:
        for name in sorted(statement.functions):
            if _is_builtin(name) or statement.schema.functions.get(name) == "s":
                continue
            if not statement.names_a_query(name):
                raise NotUnderstoodError("a function of which we know nothing")

    def check_repeatable(self, statement: Statement) -> None:
        for name in sorted(statement.functions):
            is_repeatable = _is_builtin(name) and name not in _VOLATILE
            if not is_repeatable and not statement.names_a_query(name):
                raise NotUnderstoodError("a function that a second query can't call again")
        if statement.has_numbered_parameters:
            raise NotUnderstoodError("numbered parameters in a query that needs a second one")

    def check_written_twice(self, statement: Statement, start: int, end: int) -> None:
        self.check_repeatable(statement)
        if statement.has_bare_parameters and any(statement.parameters_in(start, end)):
            raise NotUnderstoodError("parameters that go by their place, in a value")

    def is_fragile(self, statement: Statement) -> bool:
        return bool(
            statement.words & _FRAGILE_WORDS
            or statement.functions_beside_keys() & _FRAGILE_FUNCTIONS
            or any(has_bare_columns(select) for select in statement.root.find_all(exp.Select))
        )

    def multiplies_rows(self, statement: Statement) -> bool:
        return False

    def why_unnamed(self, table: Table) -> str | None:
        return None if table.id_columns else "a virtual table, of whose keys we know nothing"

    def can_carry(self, table: Table, column: str) -> bool:
        return True

    def hidden_columns(self, one: Carried, *, aggregated: bool) -> tuple[list[str], Taken]:
        if one.array is not None:
            array = one.key[0]
            return [f"CAST(group_concat({array}) AS BLOB)" if aggregated else array], one.array
        integers = one.table.has_integer_ids
        if aggregated:
            taken = Taken((), array=True, optional=one.optional)
            if one.subject is not None:
                pieces = (*one.key, one.subject)
                taken = replace(taken, array_subject=True)
            elif integers:
                return [keys.integer_array(one.key)], replace(taken, integers=True)
            else:
                pieces = one.key
            missing = one.key if one.optional else ()
            return [keys.any_array(pieces, guarded=one.guarded, missing=missing)], taken
        plain = keys.plain_column if one.guarded or integers else keys.guarded_column
        expressions = [plain(expression) for expression in one.key]
        if one.subject is not None:
            expressions.append(one.subject if one.guarded else keys.guarded_column(one.subject))
        return expressions, Taken(
            (),
            guarded_key=not integers,
            guarded_subject=one.subject is not None,
            integers=integers,
            optional=one.optional,
        )

    def no_key(self, one: Carried) -> list[str]:
        return ["NULL"] * len(one.columns_taken)

    def selected(self, one: Carried, places: tuple[int, ...], subject: int | None) -> Taken | None:
        return Taken(
            places, subject=subject, integers=one.table.has_integer_ids, optional=one.optional
        )

    def with_hidden_subject(self, one: Carried, taken: Taken, place: int) -> tuple[str, Taken]:
        return keys.guarded_column(one.subject or ""), replace(
            taken, subject=place, guarded_subject=True
        )


SQLITE: Final = SqliteDialect()


def _verb_of(text: str, tokens: tuple[Token, ...]) -> Verb:
    """What the statement may do. What isn't recognised is a write.

    SQLite has no writes inside of a SELECT, so the first word decides, or with a WITH clause
    the first that stands outside of brackets.
    """
    heads = [token.upper for token in tokens]
    first = heads[0] if heads else ""
    if first in ("SELECT", "VALUES", "EXPLAIN", ""):
        return Verb.READ if not _has_more(text, tokens) else Verb.WRITE
    if first == "PRAGMA":
        return _verb_of_pragma(text, tokens)
    if first == "WITH":
        depth = 0
        for token in tokens:
            character = text[token.start]
            if token.kind is Kind.PUNCTUATION:
                depth += (character == "(") - (character == ")")
            elif depth == 0 and token.upper in ("SELECT", "VALUES"):
                return Verb.READ
            elif depth == 0 and token.upper in ("INSERT", "UPDATE", "DELETE", "REPLACE"):
                return Verb.WRITE
        return Verb.WRITE
    return Verb.SCHEMA if first in _SCHEMA_VERBS else Verb.WRITE


def _has_more(text: str, tokens: tuple[Token, ...]) -> bool:
    """Whether something stands after a semicolon (the driver will refuse it)."""
    return any(token.kind is Kind.PUNCTUATION and text[token.start] == ";" for token in tokens[:-1])


def _verb_of_pragma(text: str, tokens: tuple[Token, ...]) -> Verb:
    names = [text[token.start : token.end].lower() for token in tokens[1:]]
    if len(names) > 2 and names[1] == ".":
        names = names[2:]
    if not names or names[0] not in _HARMLESS_PRAGMAS:
        return Verb.WRITE
    if len(names) == 1 or names[1] == ";":
        return Verb.READ
    if names[1] == "(" and names[0] in _WITH_ARGUMENT:
        return Verb.READ
    return Verb.WRITE


def _read_part(text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
    """From where to where a write takes other rows' values; None where it doesn't.

    An INSERT takes them in its SELECT, an UPDATE in its SET and FROM; what a WHERE tests is only
    consulted. A WITH clause before counts as taken too: better one table too many.
    """
    heads = [token.upper for token in tokens]
    verbs = ("INSERT", "REPLACE", "UPDATE", "DELETE", "CREATE")
    verb = next((word for word in heads if word in verbs), "")
    if verb in ("INSERT", "REPLACE") and "INTO" in heads:
        if heads[0] == "WITH" and "SELECT" in heads:
            return 0, None
        for place in range(heads.index("INTO") + 2, len(heads)):
            if heads[place] in ("SELECT", "WITH"):
                return tokens[place].start, None
    elif verb == "UPDATE" and ("SELECT" in heads or "FROM" in heads):
        return _between_set_and_where(text, tokens)
    elif verb == "CREATE" and "TABLE" in heads[:3] and "AS" in heads[:10]:
        return tokens[heads.index("AS")].start, None
    return None


def _between_set_and_where(text: str, tokens: tuple[Token, ...]) -> tuple[int, int | None] | None:
    depth = 0
    start = None
    for token in tokens:
        if token.kind is Kind.PUNCTUATION:
            depth += (text[token.start] == "(") - (text[token.start] == ")")
        elif depth == 0 and token.upper == "SET" and start is None:
            start = token.end
        elif depth == 0 and token.upper in ("WHERE", "RETURNING") and start is not None:
            return start, token.start
    return None if start is None else (start, None)


def _is_builtin(name: str) -> bool:
    return (
        name in _SCALARS
        or name in _VOLATILE
        or name in _AGGREGATES
        or name in RANKINGS
        or name in _OTHER_WINDOWS
        or name in _TABLE_FUNCTIONS
        or name.startswith("pragma_")
    )
