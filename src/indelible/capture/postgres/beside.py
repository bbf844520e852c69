"""Keys beside the rows of a statement on PostgreSQL: `statements.beside`, in its SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from indelible.capture.statements.beside import MAX_ROWS_BESIDE
from indelible.capture.statements.plan import UnreadableKeyError

_lists: Final = msgspec.json.Decoder(list[list[Any] | None])


def rows_as_json(query: str, names: Sequence[str], alias: str) -> str:
    """A query of one value: the columns `names` of `query` as a list of rows."""
    columns = ", ".join(names)
    return (
        "SELECT COALESCE(CAST(pg_catalog.json_agg(pg_catalog.json_build_array("
        f"{columns})) AS pg_catalog.text), '[]') FROM (SELECT {columns} FROM ({query}) AS {alias} "
        f"LIMIT {MAX_ROWS_BESIDE + 1}) AS {alias}"
    )


def with_values_beside(
    query: str, values: Sequence[str], stamp: str | None, name: Callable[[str], str]
) -> str:
    """`query` with a column for each of the queries `values`, NULL behind the first row.

    They stand in a WITH clause, where no name can mean a column of the query's. The server runs
    them when the first row comes, and doesn't put rows in another order that are numbered as they
    come. `name` makes names that stand nowhere else.
    """
    row, of = name("q"), name("v")
    named = [name(f"v{number}") for number in range(len(values))]
    with_ = ", ".join(
        f"{each} ({of}) AS ({value})" for each, value in zip(named, values, strict=True)
    )
    columns = [
        "CASE WHEN pg_catalog.row_number() OVER () OPERATOR(pg_catalog.=) 1 "
        f"THEN (SELECT {of} FROM {each}) END AS {each}"
        for each in named
    ]
    if stamp is not None:
        columns.append(f"{stamp} AS {name('s')}")
    return f"WITH {with_} SELECT {row}.*, {', '.join(columns)} FROM ({query}) AS {row}"


def lists_in_json(several: object) -> list[Any]:
    """What is in all of the lists (or NULLs) of a JSON list; nothing where that is NULL.

    Raises `UnreadableKeyError`.
    """
    if several is None:
        return []
    if not isinstance(several, str):
        raise UnreadableKeyError("expected a list of lists as JSON")
    try:
        return [element for each in _lists.decode(several) for element in each or ()]
    except msgspec.DecodeError:
        raise UnreadableKeyError("expected a list of lists as JSON") from None
