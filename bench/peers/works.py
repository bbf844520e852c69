"""What every variant does: how much of it, and with which rows."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

ROWS = 20_000
ADDED = 4_000
LISTED = 1_000
Request = AbstractContextManager[object]
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
    """Something done `times`, so many in one request, each of which writes or reads `each` rows."""

    label: str
    times: int
    a_request: int
    each: int
    writes: bool = False
    is_bulk: bool = False

    @property
    def rows(self) -> int:
        return self.times * self.each

    @property
    def units(self) -> int:
        """What a time is divided by: how many rows, where they are written in bulk."""
        return self.rows if self.is_bulk else self.times


WORKS: Mapping[str, Work] = {
    "W1": Work("insert, a transaction each", 2_000, 1, 1, writes=True),
    "W2": Work("get, change, save, a transaction each", 2_000, 1, 1, writes=True),
    "W3": Work("bulk insert, a row", 1, 1, ROWS, writes=True, is_bulk=True),
    "W3u": Work("bulk insert by the unit of work, a row", 1, 1, ADDED, writes=True, is_bulk=True),
    "W4": Work("one UPDATE of all, a row", 3, 1, ROWS, writes=True, is_bulk=True),
    "R1": Work("get by key, 20 a request", 2_000, 20, 1),
    "R1s": Work("get by key, a request each", 2_000, 1, 1),
    "R2": Work("1,000 entities", 100, 10, LISTED),
    "R3": Work("1,000 rows of 2 columns, no key", 100, 10, LISTED),
    "R4": Work("GROUP BY over 1,000 rows", 200, 10, LISTED),
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


def run(work: Work, one: Callable[[int], object], request: Callable[[], Request]) -> None:
    for start in range(0, work.times, work.a_request):
        with request():
            for n in range(start, start + work.a_request):
                one(n)


def serve(ones: Mapping[str, Callable[[int], object]], request: Callable[[], Request]) -> None:
    """Say that we are ready, then do what each line of standard input names.

    `ones` are what is done once, `request` is what a library needs to know who acts.
    """
    print("ready", *ones, flush=True)
    for line in sys.stdin:
        name = line.strip()
        gc.collect()
        print("go", flush=True)
        sys.stdin.readline()
        run(WORKS[name], ones[name], request)
        print("done", flush=True)
