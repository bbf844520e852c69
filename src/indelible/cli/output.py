"""How answers look: tables that a person likes to read, or one JSON object a line.

Captured text is printed as text, never as markup, and control characters never reach the terminal.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from indelible.events.model import Event, Timestamp
from indelible.events.values import ABSENT, TypedValue, Value

_MAX_CELL: Final = 60
_PLAIN_WIDTH: Final = 120


def console(stream: TextIO | None = None) -> Console:
    """Where tables go: as wide as the terminal, a fixed width where there is none."""
    stream = stream or sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _PLAIN_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for work that may be long; call what is given with (done, of)."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(sys.stderr),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield update


def print_json(objects: Iterable[object]) -> None:
    """Each object on a line of its own."""
    encoder = msgspec.json.Encoder()
    for item in objects:
        sys.stdout.write(encoder.encode(item).decode() + "\n")


def print_table(
    out: Console, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, empty: str
) -> int:
    """Print the rows in slices, so that a long answer needs no more memory than a short one.

    Returns how many there were; with none, prints `empty` instead.
    """
    count = 0
    table = _new_table(columns)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
        count += 1
        if count % 500 == 0:
            out.print(table)
            table = _new_table(columns)
    if not count:
        out.print(empty)
    elif table.row_count:
        out.print(table)
    return count


def printable(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey or hide."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def local(time: Timestamp) -> str:
    """The UTC time to the millisecond, as tables show it."""
    return f"{time[:10]} {time[11:23]}Z"


def changes_text(event: Event) -> str:
    """The columns that changed, before and after."""
    return ", ".join(
        f"{column}: {value_text(before)} → {value_text(after)}"
        for column, (before, after) in (event.changes or {}).items()
    )


def context_text(event: Event, name: str) -> str:
    """One circumstance as a cell shows it."""
    value = (event.context or {}).get(name, "")
    return value if isinstance(value, str) else value_text(value)


def value_text(value: Value) -> str:
    """A value as a cell shows it: short, and never mistaken for another type."""
    if isinstance(value, TypedValue):
        if value.v is None or value.t == "sealed":
            return "-" if value == ABSENT else f"({value.t})"
        if value.t == "real" and value.v not in ("inf", "-inf", "nan"):
            return repr(float.fromhex(value.v))
        return _cut(value.v if value.t in ("int", "real") else f"{value.t}:{value.v}")
    if value is None:
        return "null"
    return _cut(msgspec.json.encode(value).decode())


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _new_table(columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
