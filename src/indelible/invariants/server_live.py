"""The rows of a server's table: what is the same on each server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from indelible.capture.outbox_layout import Layout
from indelible.capture.text_baseline import CHUNK_ROWS, Stored
from indelible.capture.text_rows import TableRows, TextForm
from indelible.invariants.live import (
    BASELINE_UNWRITTEN,
    NOT_INSTALLED,
    RENAMED,
    LiveRow,
    LiveTable,
    live_table,
)

PATIENCE_S: Final = 10.0
"""For so long a table may be held by others before it is given up."""


def server_table(layout: Layout, installed: Layout | None, baseline: int | None) -> LiveTable:
    """The table of `layout`; `installed` is that under which it is captured, `baseline` the
    position at which its rows were written down."""
    why = None
    if installed is None:
        why = NOT_INSTALLED
    elif installed.kind != layout.kind:
        why = RENAMED
    elif baseline is None:
        why = BASELINE_UNWRITTEN
    return live_table(
        layout, keyless=None if layout.key else "values", has_types=True, uninstalled=why
    )


def pages_of(
    layout: Layout, form: TextForm, stored: Iterable[Stored]
) -> Iterator[Sequence[LiveRow]]:
    """Rows as triggers write them, as rows of a snapshot."""
    rows = TableRows(layout, form)
    waiting = iter(stored)
    while some := list(islice(waiting, CHUNK_ROWS)):
        images = [rows.read(text) for _, text in some]
        yield [(image.id, image.values) for image in images]
