"""The syntax tree of a query, tied to its text, and questions that need nothing but the tree.

sqlglot's trees don't know where in the text they came from. So each select list gets a marker
as its first item before parsing, and each placeholder its number; both are recognised in the
tree, and the text that runs never sees them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from indelible.capture.statements.spans import Spans
from indelible.capture.statements.tokens import Kind, Token, unquote

if TYPE_CHECKING:
    from indelible.capture.statements.dialect import Dialect


def words(text: str) -> frozenset[str]:
    """The words of `text` as a set."""
    return frozenset(text.split())


RANKINGS: Final = words("row_number rank dense_rank percent_rank cume_dist ntile")
"""Window functions that hand out a place, not a value of another row."""

Node = exp.Expr
"""Any node of a tree."""


class NotUnderstoodError(ValueError):
    """The query is beyond what can be said of it exactly; its message says what was met."""


class UnknownReadError(NotUnderstoodError):
    """It reads from something that we know nothing of: a table that is new, a function's body."""


class Marks:
    """The names that stand in the marked text only."""

    def __init__(self, prefix: str, dialect: Dialect) -> None:
        self._dialect = dialect
        self._select = f"{prefix}s"
        self._parameter = f"{prefix}p"

    def marked(self, text: str, tokens: tuple[Token, ...], spans: Spans) -> str:
        """`text` with a marker at the head of each select list and numbered placeholders."""
        lists = {arm.list_start: arm.select for arm in spans.arms}
        pieces = []
        done = 0
        parameters = 0
        for token in tokens:
            number = lists.get(token.start)
            if number is not None:
                pieces += [text[done : token.start], f"{self._select}{number}, "]
                done = token.start
            if token.kind is Kind.PARAMETER:
                pieces += [text[done : token.start], f":{self._parameter}{parameters}"]
                done = token.end
                parameters += 1
            elif token.kind is Kind.PUNCTUATION and "%%" in text[token.start : token.end]:
                # What a driver makes one of.
                pieces += [
                    text[done : token.start],
                    text[token.start : token.end].replace("%%", "%"),
                ]
                done = token.end
        pieces.append(text[done:])
        return "".join(pieces)

    def parse(self, marked: str) -> exp.Query:
        """The tree of the marked text. Raises `NotUnderstoodError`."""
        try:
            trees = sqlglot.parse(marked, dialect=self._dialect.parser)
        except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, LookupError):
            # The last four would be faults of the parser: no reason for a read to fail.
            raise NotUnderstoodError("the parser doesn't read it") from None
        tree = trees[0] if trees else None
        if not isinstance(tree, exp.Select | exp.SetOperation | exp.Values):
            raise NotUnderstoodError("the parser doesn't take it for a query")
        for node in list(tree.find_all(exp.Anonymous)):
            if node.name.lower() in self._dialect.aggregates:
                node.replace(exp.AnonymousAggFunc(this=node.name, expressions=node.expressions))
        return cast("exp.Query", tree)

    def take_numbers(self, tree: Node) -> dict[int, int]:
        """The number of each SELECT by its node's id; the markers are gone afterwards."""
        numbers = {}
        for select in tree.find_all(exp.Select):
            first = select.expressions[0] if select.expressions else None
            name = first.name if isinstance(first, exp.Column) else ""
            if first is None or not name.startswith(self._select):
                raise NotUnderstoodError("the parser reads its select lists otherwise")
            first.pop()
            numbers[id(select)] = int(name.removeprefix(self._select))
        return numbers

    def parameter_number(self, placeholder: exp.Placeholder) -> int | None:
        """Which placeholder of the text this is, counted from 0."""
        name = placeholder.name
        if not name.startswith(self._parameter):
            return None
        return int(name.removeprefix(self._parameter))


def function_names(
    text: str, tokens: tuple[Token, ...], keywords: frozenset[str]
) -> frozenset[str]:
    """The folded name of everything that is called or keyed like a call in `text`."""
    found = set()
    for token, following in itertools.zip_longest(tokens, tokens[1:]):
        if token.kind not in (Kind.WORD, Kind.QUOTED) or token.upper in keywords:
            continue
        if following is not None and text[following.start] == "(":
            found.add(unquote(text[token.start : token.end]).lower())
        elif token.upper.startswith("CURRENT_"):
            found.add(token.upper.lower())
    return frozenset(found)


def walk_own(node: Node) -> Iterator[Node]:
    """`node` and what is under it, but not what stands in a query nested in it."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if isinstance(current, exp.Query | exp.Subquery) and current is not node:
            continue
        stack.extend(child for child in current.iter_expressions())


def own_clauses(select: exp.Select) -> Iterator[Node]:
    """Every node of the SELECT's own items and clauses, not of the queries nested in them."""
    for item in select.expressions:
        yield from walk_own(item)
    for clause in ("where", "group", "having", "order", "limit", "offset", "qualify"):
        node = select.args.get(clause)
        if isinstance(node, Node):
            yield from walk_own(node)


def is_aggregate(node: Node) -> bool:
    """Whether `node` itself is a call of an aggregate function (not of a window function)."""
    if not isinstance(node, exp.AggFunc):
        return False
    parent = node.parent
    if isinstance(parent, exp.Filter):
        parent = parent.parent
    return not isinstance(parent, exp.Window)


def is_aggregated(select: exp.Select) -> bool:
    """Whether each row of the SELECT stands for a group of rows."""
    if select.args.get("group") is not None or select.args.get("having") is not None:
        return True
    nodes = [*select.expressions]
    if select.args.get("order") is not None:
        nodes.append(select.args["order"])
    return any(is_aggregate(node) for item in nodes for node in walk_own(item))


def has_value_windows(select: exp.Select) -> bool:
    """Whether a window function hands out values of other rows than the row it stands in."""
    for node in own_clauses(select):
        if isinstance(node, exp.Window) and node.args.get("over") is not None:
            function = node.this.this if isinstance(node.this, exp.Filter) else node.this
            if isinstance(function, exp.Anonymous | exp.AnonymousAggFunc):
                name = function.name
            elif isinstance(function, exp.Func):
                name = function.sql_name()
            else:
                name = ""
            if name.lower() not in RANKINGS:
                return True
    return False


def has_filters(select: exp.Select) -> bool:
    """Whether an aggregate passes over some rows of its group."""
    return any(isinstance(node, exp.Filter) for node in own_clauses(select))


def has_bare_extreme(select: exp.Select) -> bool:
    """Whether `min` or `max` decides from which row the columns beside it are taken."""
    return has_bare_columns(select) and any(
        isinstance(node, exp.Min | exp.Max) and is_aggregate(node)
        for item in select.expressions
        for node in walk_own(item)
    )


def has_bare_columns(select: exp.Select) -> bool:
    """Whether a group hands out columns of one of its rows, as SQLite allows."""
    if not is_aggregated(select):
        return False
    group = select.args.get("group")
    grouped = {key.sql().lower() for key in group.expressions} if group is not None else set()
    return any(
        isinstance(node, exp.Column | exp.Star)
        and node.sql().lower() not in grouped
        and not _is_inside_aggregate(node)
        for item in select.expressions
        for node in walk_own(item)
    )


def _is_inside_aggregate(node: Node) -> bool:
    above = node.parent
    while above is not None and not isinstance(above, exp.Select):
        if is_aggregate(above) or isinstance(above, exp.Window):
            return True
        above = above.parent
    return False


def value_subqueries(select: exp.Select) -> Iterator[exp.Subquery | exp.Query]:
    """The queries in the select list whose value is handed out (not those only tested)."""
    for item in select.expressions:
        for node in walk_own(item):
            if isinstance(node, exp.Subquery | exp.Query) and not (
                (isinstance(node.parent, exp.In) and node.arg_key == "query")
                or isinstance(node.parent, exp.Exists | exp.Any | exp.All)
            ):
                yield node
