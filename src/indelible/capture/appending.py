"""Rows that are written down together, in as few events as they fit into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from indelible.capture.host import Journal
from indelible.errors import EventTooLargeError

T = TypeVar("T")


def append_rows(
    journal: Journal, rows: Sequence[T], draft_of: Callable[[Sequence[T]], bytes]
) -> None:
    """Append the event that `draft_of` makes of `rows`; several, where one would name too many.

    How much room their names take shows when they are tokens. Raises `DeliveryError`, and
    `EventTooLargeError` for a row that fits into no event.
    """
    try:
        journal.append(draft_of(rows))
    except EventTooLargeError:
        if len(rows) < 2:
            raise
        middle = len(rows) // 2
        append_rows(journal, rows[:middle], draft_of)
        append_rows(journal, rows[middle:], draft_of)
