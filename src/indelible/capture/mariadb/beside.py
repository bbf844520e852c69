"""Lists of keys on MariaDB, in one value each: of a group, or beside the rows of a statement.

GROUP_CONCAT cuts what is longer than `group_concat_max_len`, which shows in what is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from indelible.capture.mariadb.names import quote_name
from indelible.capture.statements.beside import CUT, MAX_ROWS_BESIDE
from indelible.capture.statements.plan import TooManyKeysError, UnreadableKeyError
from indelible.capture.statements.statement import Statement
from indelible.capture.statements.syntax import NotUnderstoodError

_NULL: Final = "n"


def array(pieces: Sequence[str]) -> str:
    """An aggregate of keys, each of `pieces` that are integers or hexadecimal digits."""
    parts = ", ':', ".join(f"IFNULL({piece}, '{_NULL}')" for piece in pieces)
    return _counted(f"CONCAT({parts}, ';')")


def array_of_arrays(column: str) -> str:
    """An aggregate of such arrays."""
    return _counted(f"CONCAT(IFNULL({column}, '0 '), '|')")


def _counted(element: str) -> str:
    return f"CONCAT(COUNT(*), ' ', IFNULL(GROUP_CONCAT({element}), ''))"


def parse_array(value: object) -> list[list[str | None]]:
    """The keys of an `array`; none where it is NULL.

    Raises `TooManyKeysError` where it was cut, `UnreadableKeyError` for what is none.
    """
    return [
        [None if piece == _NULL else piece for piece in element.split(":")]
        for element in _elements(value, ";")
    ]


def parse_array_of_arrays(value: object) -> list[list[str | None]]:
    """The keys of all arrays in an `array_of_arrays`, as `parse_array` reads them."""
    return [key for one in _elements(value, "|") for key in parse_array(one)]


def _elements(value: object, end: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bytes | bytearray):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise UnreadableKeyError("expected a list of keys")
    count, _, rest = value.partition(" ")
    elements = rest.split(f"{end},")
    if rest and not elements[-1].endswith(end):
        raise TooManyKeysError
    elements = [*elements[:-1], elements[-1].removesuffix(end)] if rest else []
    if count != str(len(elements)):
        raise TooManyKeysError
    return elements


def rows_as_json(query: str, names: Sequence[str], alias: str) -> str:
    """A query of one value: the columns `names` of `query` as a list of rows, or a word that is
    none where it would be cut."""
    of = f"{alias}.e"
    return (
        "SELECT CASE WHEN COUNT(*) = 0 THEN '[]' "
        f"WHEN SUM(CHAR_LENGTH({of})) + COUNT(*) - 1 = CHAR_LENGTH(GROUP_CONCAT({of})) "
        f"THEN CONCAT('[', GROUP_CONCAT({of}), ']') ELSE '{CUT}' END "
        f"FROM (SELECT JSON_ARRAY({', '.join(names)}) AS e FROM ({query}) AS {alias} "
        f"LIMIT {MAX_ROWS_BESIDE + 1}) AS {alias}"
    )


def with_values_beside(
    query: str,
    values: Sequence[str],
    stamp: str | None,
    name: Callable[[str], str],
    order: str,
) -> str:
    """`query` with a column for each of the queries `values`, NULL in all rows but one.

    They stand in a WITH clause, where no name can mean a column of the query's. The server forgets
    the order of a query within another, so its `order` stands outside once more. `name` makes names
    that stand nowhere else.
    """
    row, of = name("q"), name("v")
    named = [name(f"v{number}") for number in range(len(values))]
    pairs = zip(named, values, strict=True)
    with_ = ", ".join(f"{each} ({of}) AS ({value})" for each, value in pairs)
    columns = [
        f"CASE WHEN ROW_NUMBER() OVER () = 1 THEN (SELECT {of} FROM {each}) END AS {each}"
        for each in named
    ]
    if stamp is not None:
        columns.append(f"{stamp} AS {name('s')}")
    return f"WITH {with_} SELECT {row}.*, {', '.join(columns)} FROM ({query}) AS {row}{order}"


def order_outside(statement: Statement, row: str) -> str:
    """The ORDER BY clause of the statement as it is said of `row`, which has its columns.

    Raises `NotUnderstoodError` where it orders by anything else.
    """
    root = statement.root
    order = root.args.get("order")
    if order is None:
        return ""
    select = root
    while isinstance(select, exp.SetOperation):
        select = select.this.unnest()
    terms = []
    for ordered in order.expressions:
        term = _said_outside(ordered.this, select.expressions, row)
        terms.append(f"{term} DESC" if ordered.args.get("desc") else term)
    return f" ORDER BY {', '.join(terms)}"


def _said_outside(term: exp.Expr, items: Sequence[exp.Expr], row: str) -> str:
    """A column by its place, its name, or as the same expression."""
    if isinstance(term, exp.Literal) and not term.is_string and term.name.isdigit():
        return term.name
    if isinstance(term, exp.Column) and not term.table:
        return f"{row}.{quote_name(term.name)}"  # what is handed out goes before what isn't
    has_star = any(isinstance(item, exp.Star) or item.is_star for item in items)
    if not has_star and not any(True for _ in term.find_all(exp.Placeholder, exp.Query)):
        for place, item in enumerate(items, 1):
            if item.unalias() == term:
                return f"{place}"
    raise NotUnderstoodError("an order by what isn't handed out")
