"""Where the parts of a query stand in its text: arms, select lists, tails, WITH clauses.

Only the parts that text is spliced into or cut from are found here; what they mean is for
`sources` to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from indelible.capture.statements.tokens import Kind, Token, unquote

_SET_OPERATORS: Final = frozenset({"UNION", "INTERSECT", "EXCEPT"})
_LIST_ENDS: Final = frozenset({"FROM", "WHERE", "GROUP", "HAVING"})
_INSIDE_ITEMS: Final = frozenset({("DISTINCT", "FROM"), ("WITHIN", "GROUP")})
_QUERY_STARTS: Final = frozenset({"SELECT", "WITH", "VALUES"})


class NotAQueryError(ValueError):
    """The text isn't shaped like a query; its message says what was met."""


@dataclass(slots=True)
class Arm:
    """One SELECT: `start` to `end`; hidden columns go in at `list_end`.

    `distinct` are the offsets of the word DISTINCT. `select` is the arm's number in the text,
    None for VALUES.
    """

    select: int | None
    start: int
    list_start: int = 0
    list_end: int = 0
    end: int = 0
    distinct: tuple[int, int] | None = None


@dataclass(slots=True)
class Query:
    """Arms joined by set operators, with the WITH clause before and ORDER BY, LIMIT after."""

    start: int
    arms_start: int = 0
    arms: list[Arm] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    tail_start: int = 0
    end: int = 0
    limited: bool = False
    recursive: bool = False
    ctes: dict[str, Cte] = field(default_factory=dict)


@dataclass(slots=True)
class Cte:
    """A named query of a WITH clause; `columns_end` is before the bracket of its column list."""

    query: Query
    columns_end: int | None


@dataclass(slots=True)
class Spans:
    """A whole statement that is one query."""

    query: Query
    arms: list[Arm]
    """By `Arm.select`."""
    queries: dict[int, Query]
    """The query that each SELECT is an arm of."""


def find_spans(text: str, tokens: tuple[Token, ...], limits: frozenset[str]) -> Spans:
    """The spans of the query that `text` is; `limits` begin a clause that leaves rows out.

    Raises `NotAQueryError`.
    """
    scan = _Scan(text, tokens, limits)
    query = scan.query()
    if scan.is_punctuation(";"):
        scan.at += 1
    if scan.at != len(tokens):
        raise NotAQueryError("more than one statement")
    return Spans(query, scan.arms, scan.queries)


class _Scan:
    def __init__(self, text: str, tokens: tuple[Token, ...], limits: frozenset[str]) -> None:
        self._text = text
        self._tokens = tokens
        self._limits = limits
        self.at = 0
        self.arms: list[Arm] = []
        self.queries: dict[int, Query] = {}

    def query(self) -> Query:
        query = Query(self._start())
        if self._word() == "WITH":
            self._with(query)
        query.arms_start = self._start()
        while True:
            self._arm(query)
            if self._word() not in _SET_OPERATORS:
                break
            operator = self._word()
            self.at += 1
            if self._word() == "ALL":
                operator += " ALL"
                self.at += 1
            elif self._word() == "DISTINCT":
                self.at += 1
            query.operators.append(operator)
        query.tail_start = query.end = self._last_end()
        while not self._at_end():
            if self._word() in self._limits and not self._is_name():
                query.limited = True
            self._step()
        query.end = self._last_end()
        return query

    def _with(self, query: Query) -> None:
        self.at += 1
        if self._word() == "RECURSIVE":
            query.recursive = True
            self.at += 1
        while True:
            name = unquote(self._token_text())
            self.at += 1
            columns_end = None
            if self.is_punctuation("("):
                self._parentheses()
                columns_end = self._last_end() - 1
            self._expect("AS")
            if self._word() == "NOT":
                self.at += 1
            if self._word() == "MATERIALIZED":
                self.at += 1
            if not self.is_punctuation("("):
                raise NotAQueryError("a WITH clause without a query")
            self.at += 1
            if name.lower() in query.ctes:
                raise NotAQueryError("a WITH clause with two queries of one name")
            query.ctes[name.lower()] = Cte(self.query(), columns_end)
            self._close()
            if not self.is_punctuation(","):
                return
            self.at += 1

    def _bracketed(self, query: Query) -> None:
        """One arm in brackets of its own, with nothing else in them."""
        self.at += 1
        inner = self.query()
        if len(inner.arms) > 1 or inner.ctes or inner.end > inner.tail_start:
            raise NotAQueryError("brackets around more than a SELECT")
        self._close()
        (arm,) = inner.arms
        query.arms.append(arm)
        if arm.select is not None:
            self.queries[arm.select] = query

    def _arm(self, query: Query) -> None:
        word = self._word()
        if self.is_punctuation("("):
            self._bracketed(query)
            return
        if word == "VALUES":
            query.arms.append(arm := Arm(None, self._start()))
        elif word == "SELECT":
            arm = Arm(len(self.arms), self._start())
            self.arms.append(arm)
            query.arms.append(arm)
            self.queries[len(self.arms) - 1] = query
        else:
            raise NotAQueryError("neither SELECT nor VALUES")
        self.at += 1
        if arm.select is not None and self._word() in ("DISTINCT", "ALL"):
            token = self._tokens[self.at]
            self.at += 1
            if token.upper == "DISTINCT" and self._word() == "ON":
                self.at += 1  # a row that it keeps stands for itself alone
                if self.is_punctuation("("):
                    self._parentheses()
            elif token.upper == "DISTINCT":
                arm.distinct = (token.start, token.end)
        arm.list_start = self._start()
        while not self._at_end():
            word = self._word()
            if not self._is_name():
                if word in _SET_OPERATORS or word == "ORDER" or word in self._limits:
                    break
                if word in _LIST_ENDS and not arm.list_end and not self._is_inside_an_item():
                    arm.list_end = self._last_end()
            self._step()
        arm.end = self._last_end()
        arm.list_end = arm.list_end or arm.end

    def _step(self) -> None:
        """Over one token, or a whole pair of brackets."""
        if self.is_punctuation("("):
            self._parentheses()
        else:
            if self._tokens[self.at].kind is Kind.ILLEGAL:
                raise NotAQueryError("text that the database doesn't read")
            self.at += 1

    def _parentheses(self) -> None:
        self.at += 1
        if self._word() in _QUERY_STARTS or self._is_bracketed_arm():
            self.query()
        while not self._at_end():
            self._step()
        self._close()

    def _is_bracketed_arm(self) -> bool:
        """Whether brackets begin here, and a set operator stands behind them."""
        depth = 0
        for place in range(self.at, len(self._tokens)):
            token = self._tokens[place]
            character = self._text[token.start] if token.kind is Kind.PUNCTUATION else ""
            depth += (character == "(") - (character == ")")
            if depth <= 0:
                following = self._tokens[place + 1 : place + 2]
                return place > self.at and bool(following) and following[0].upper in _SET_OPERATORS
        return False

    def _close(self) -> None:
        if not self.is_punctuation(")"):
            raise NotAQueryError("brackets that don't close")
        self.at += 1

    def _expect(self, word: str) -> None:
        if self._word() != word:
            raise NotAQueryError(f"expected {word}")
        self.at += 1

    def _at_end(self) -> bool:
        return self.at >= len(self._tokens) or self.is_punctuation(")") or self.is_punctuation(";")

    def _word(self) -> str:
        return self._tokens[self.at].upper if self.at < len(self._tokens) else ""

    def is_punctuation(self, character: str) -> bool:
        if self.at >= len(self._tokens):
            return False
        token = self._tokens[self.at]
        return token.kind is Kind.PUNCTUATION and self._text[token.start] == character

    def _token_text(self) -> str:
        if self.at >= len(self._tokens):
            raise NotAQueryError("text that ends too early")
        token = self._tokens[self.at]
        return self._text[token.start : token.end]

    def _is_name(self) -> bool:
        """After a dot even a keyword names a column."""
        before = self._tokens[self.at - 1]
        return before.kind is Kind.PUNCTUATION and self._text[before.start] == "."

    def _is_inside_an_item(self) -> bool:
        """Of IS DISTINCT FROM and WITHIN GROUP."""
        return (self._tokens[self.at - 1].upper, self._word()) in _INSIDE_ITEMS

    def _start(self) -> int:
        if self.at < len(self._tokens):
            return self._tokens[self.at].start
        return len(self._text)

    def _last_end(self) -> int:
        return self._tokens[self.at - 1].end
