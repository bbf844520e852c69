"""Accesses that are known by day only: who accessed whose data, the detail being gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from indelible.errors import EventError
from indelible.events.codec import decode_event
from indelible.events.model import Event, Timestamp
from indelible.integrity.retention import day_of
from indelible.questions.judging import outcome_doubt
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.store.terms import DAILY, daily_term

_MARK: Final = DAILY.encode()


class Day(NamedTuple):
    """What an actor accessed on a day (UTC), which is in the window, perhaps only in part.

    `doubt` says why none of it is certain.
    """

    entry: StoredEntry
    event: Event
    time: Timestamp
    doubt: str | None


def daily_accesses(
    reader: TrailReader, any_of: Sequence[bytes], window: Window, *, size: int
) -> Iterator[Day]:
    """The days of the window about which something may be said of these terms.

    A day that is in the window in part is possible. Days are those of `retention.daily` entries,
    which `verify` holds against what was authorised and attested.
    """
    # They were written when the detail was dropped, which no window tells.
    for entry in reader.search([daily_term(term) for term in any_of]):
        if entry.index >= size:
            continue
        if _MARK not in entry.body:
            continue  # the youngest entries are in no index yet
        event = decode_event(entry.body)
        if event.kind != "system" or event.action != DAILY:
            continue
        try:
            start, end = day_of(event)
        except EventError:
            continue
        if (window.until is not None and window.until <= start) or (
            window.since is not None and window.since >= end
        ):
            continue
        is_whole = start in window and (window.until is None or window.until >= end)
        doubt = (event.details or {}).get("doubt")
        why = str(doubt) if doubt is not None else outcome_doubt(event.outcome)
        if why is None and not is_whole:
            why = f"it is known by day only, and the window has a part of {start[:10]} (UTC)"
        yield Day(entry, reader.opened(event), start, why)
