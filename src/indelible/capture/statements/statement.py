"""One text with everything that its planning looks at: tokens, spans, tree, schema, policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from indelible.capture.schema import Schema, Table
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.sources import Names
from indelible.capture.statements.spans import Arm, Query, find_spans
from indelible.capture.statements.syntax import (
    Marks,
    NotUnderstoodError,
    function_names,
    value_subqueries,
)
from indelible.capture.statements.tokens import COLLAPSED, Kind, Token
from indelible.policy.model import Policy

_PREFIX: Final = "indelible_"
_BARE: Final = ("?", "%s", "%b", "%t", COLLAPSED)


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A query of a WITH clause: its tree, and where its column list ends, if it has one.

    `columns` are the names of its columns in lower case. `may_recur`: the clause says RECURSIVE.
    """

    name: str
    tree: exp.Expr
    columns_end: int | None
    columns: tuple[str, ...]
    may_recur: bool

    @property
    def is_recursive(self) -> bool:
        return any(table.name.lower() == self.name for table in self.tree.find_all(exp.Table))


class Statement:
    """Made once for a text, never changed.

    `prefix` begins no name in the text; names of hidden columns begin with it.
    """

    def __init__(
        self,
        text: str,
        tokens: tuple[Token, ...],
        schema: Schema,
        policy: Policy,
        dialect: Dialect,
    ) -> None:
        """Raises `NotAQueryError` and `NotUnderstoodError`."""
        self.dialect = dialect
        self.text = text
        self.tokens = tokens
        self.schema = schema
        self.policy = policy
        self.prefix = _PREFIX
        while self.prefix in text.lower():
            self.prefix += "_"
        self.spans = find_spans(text, tokens, dialect.limits)
        self.marks = Marks(self.prefix, dialect)
        self.root = self.marks.parse(self.marks.marked(text, tokens, self.spans))
        self._numbers = self.marks.take_numbers(self.root)
        self.parameters = [token for token in tokens if token.kind is Kind.PARAMETER]
        self.functions = function_names(text, tokens, dialect.keywords)
        self.words = {token.upper for token in tokens}

    def arm(self, select: exp.Select) -> Arm:
        return self.spans.arms[self._numbers[id(select)]]

    def query(self, select: exp.Select) -> Query:
        """The query in the text that `select` is an arm of."""
        return self.spans.queries[self._numbers[id(select)]]

    def named_queries(
        self, query: exp.Expr, spans: Query | None, outer: Mapping[str, NamedQuery]
    ) -> dict[str, NamedQuery]:
        """`outer` with the WITH clause of `query` added."""
        named = dict(outer)
        with_ = query.args.get("with_")
        for cte in with_.expressions if with_ is not None else ():
            name = cte.alias.lower()
            span = spans.ctes.get(name) if spans is not None else None
            if span is None:
                raise NotUnderstoodError("a WITH clause that the parser reads otherwise")
            columns = cte.args["alias"].columns or cte.this.selects
            named[name] = NamedQuery(
                name,
                cte.this,
                span.columns_end,
                tuple(
                    (each.name if isinstance(each, exp.Identifier) else each.alias_or_name).lower()
                    for each in columns
                ),
                may_recur=bool(with_ is not None and with_.args.get("recursive")),
            )
        return named

    def parameters_in(self, start: int, end: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ordinals of the placeholders in `text[start:end]`, and of its collapsed runs."""
        parameters = []
        runs = []
        run = 0
        for number, token in enumerate(self.parameters):
            collapsed = self.text[token.start : token.end] == COLLAPSED
            if start <= token.start < end:
                parameters.append(number)
                if collapsed:
                    runs.append(run)
            run += collapsed
        return tuple(parameters), tuple(runs)

    @property
    def has_bare_parameters(self) -> bool:
        """Whether each placeholder is a `?` or a `%s`, so that its value goes by its place."""
        return all(self.text[token.start : token.end] in _BARE for token in self.parameters)

    @property
    def has_numbered_parameters(self) -> bool:
        return any(
            token.end - token.start > 1 and self.text[token.start : token.end] != COLLAPSED
            for token in self.parameters
            if self.text[token.start] == "?"
        )

    def functions_beside_keys(self) -> frozenset[str]:
        """What is called where keys are fetched: all but what queries in the select list call."""
        values: list[Query] = []
        if isinstance(self.root, exp.Select):
            for value in value_subqueries(self.root):
                select = value.unnest()
                values += [self.query(select)] if isinstance(select, exp.Select) else []
        outside = [
            token
            for token in self.tokens
            if not any(query.start <= token.start < query.end for query in values)
        ]
        return function_names(self.text, tuple(outside), self.dialect.keywords)

    def names(self, ctes: Mapping[str, object]) -> Names:
        """What the names in a FROM clause mean where `ctes` are known."""
        return Names(self.dialect, self.schema, ctes)

    def is_base_table(self, node: exp.Table) -> bool:
        """Whether `node` surely is a base table, unless a WITH clause says otherwise."""
        try:
            return self.dialect.resolve(node, self.schema, {}).table is not None
        except NotUnderstoodError:
            return False

    def tables_under(self, tree: exp.Expr) -> Iterator[Table]:
        """Every base table that `tree` reads or consults, views seen through."""
        for table in tree.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier):
                yield from self.dialect.tables_behind(table, self.schema)

    def tables_read_by(self, tree: exp.Expr, named: Mapping[str, NamedQuery]) -> Iterator[Table]:
        """`tables_under` it, and under the queries of `named` that it reads."""
        trees = [tree]
        met: set[str] = set()
        while trees:
            tree = trees.pop()
            yield from self.tables_under(tree)
            names = {table.name.lower() for table in tree.find_all(exp.Table)} & named.keys() - met
            met |= names
            trees += [named[name].tree for name in sorted(names)]

    def names_a_query(self, name: str) -> bool:
        """`name (` also begins the column list of a WITH clause or of an alias."""
        aliases = self.root.find_all(exp.TableAlias)
        return any(alias.columns and name == alias.name.lower() for alias in aliases)
