"""What every variant does: how much of it, and with which rows."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

ROWS = 20_000
ADDED = 4_000
TRANSACTIONS = 2_000
GETS_A_REQUEST = 20
LISTS = 100
LISTED = 1_000
COUNTS = 200
UPDATES = 3
STATEMENTS_A_REQUEST = 10
COLUMNS = (
    "id",
    "name",
    "town",
    "email",
    "phone",
    "street",
    "grade",
    "note",
    "price",
    "stock",
    "code",
    "remark",
)


class Work(NamedTuple):
    """`units` is what a time is divided by, `rows` how many rows are written or read."""

    label: str
    units: int
    rows: int
    writes: bool


WORKS: Mapping[str, Work] = {
    "W1": Work("insert, a transaction each", TRANSACTIONS, TRANSACTIONS, True),
    "W2": Work("get, change, save, a transaction each", TRANSACTIONS, TRANSACTIONS, True),
    "W3": Work("bulk insert, a row", ROWS, ROWS, True),
    "W3u": Work("bulk insert by the unit of work, a row", ADDED, ADDED, True),
    "W4": Work("one UPDATE of all, a row", UPDATES * ROWS, UPDATES * ROWS, True),
    "R1": Work(f"get by key, {GETS_A_REQUEST} a request", TRANSACTIONS, TRANSACTIONS, False),
    "R1s": Work("get by key, a request each", TRANSACTIONS, TRANSACTIONS, False),
    "R2": Work("1,000 entities", LISTS, LISTS * LISTED, False),
    "R3": Work("1,000 rows of 2 columns, no key", LISTS, LISTS * LISTED, False),
    "R4": Work("GROUP BY over 1,000 rows", COUNTS, COUNTS * LISTED, False),
}


def row(n: int) -> dict[str, object]:
    """About 300 bytes; its `id` is `n`."""
    values = (
        n,
        f"name {n}",
        f"town {n % 50}",
        f"{n}@example.org",
        str(n),
        f"street {n}",
        n % 7,
        "n" * 100,
        n / 3,
        n,
        f"code {n % 1_000}",
        "r" * 60,
    )
    return dict(zip(COLUMNS, values, strict=True))


def new_row(n: int) -> dict[str, object]:
    """The same without an id, which the database gives."""
    values = row(n)
    del values["id"]
    return values


def some_id(n: int) -> int:
    """Another one each time, all over the table."""
    return n * 7 % ROWS + 1


def some_range(n: int) -> tuple[int, int]:
    """The least and greatest of 1,000 ids."""
    start = n % (ROWS // LISTED) * LISTED
    return start + 1, start + LISTED


def serve(works: Mapping[str, Callable[[], None]]) -> None:
    """Say that we are ready, then do what each line of standard input names."""
    print("ready", *works, flush=True)
    for line in sys.stdin:
        gc.collect()
        print("go", flush=True)
        sys.stdin.readline()
        works[line.strip()]()
        print("done", flush=True)
