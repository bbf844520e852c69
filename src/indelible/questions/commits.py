"""Whether the transaction that an explicit event names has committed.

An event left the outbox of a database only because its transaction committed. One in a journal was
written at once: its transaction is known to have committed when another source has something of
it. A journal shows by what else is in it: reads, and events that name no transaction.
"""

from __future__ import annotations

from typing import Final

from indelible.events.codec import decode_event, event_id
from indelible.events.model import Event, Producer
from indelible.questions.judging import NOT_COMMITTED, outcome_doubt
from indelible.questions.reading import RecordsView, SubjectsView, doubt_of
from indelible.questions.row_change import is_captured, row_change_of
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.store.terms import transaction_term

_REMEMBERED: Final = 1_024
_NEIGHBOURS: Final = 4
"""So many events before and after it are looked at to tell what kind of source an event is from."""


class Commits:
    """Answers for one question; asks the store once for each of the last transactions."""

    def __init__(self, reader: TrailReader) -> None:
        self._reader = reader
        self._known: dict[tuple[str, str], bool] = {}

    def committed(self, event: Event) -> bool | None:
        """None for an event without a transaction to wait for; see `Finding.committed`."""
        if event.transaction is None or event.kind in ("access", "system"):
            return None
        if row_change_of(event, 0) is not None:
            return None
        key = (event.transaction, event.producer.id)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._is_elsewhere(*key) or not self._is_journal(event.producer)
        return self._known[key]

    def _is_elsewhere(self, transaction: str, producer_id: str) -> bool:
        for entry in self._reader.search([transaction_term(transaction)]):
            other = decode_event(entry.body)
            if other.transaction == transaction and other.producer.id != producer_id:
                return True
        return False

    def _is_journal(self, place: Producer) -> bool:
        first = max(1, place.seq - _NEIGHBOURS)
        for seq in range(first, place.seq + _NEIGHBOURS + 1):
            index = self._reader.index_of(event_id(Producer(place.id, place.epoch, seq)))
            if index is not None:
                other = decode_event(self._reader.entry(index).body)
                if other.kind == "access" or (other.kind != "system" and other.transaction is None):
                    return True
        return False


def doubt_of_view(
    entry: StoredEntry, view: RecordsView | SubjectsView, commits: Commits
) -> str | None:
    """Why nothing that the event says is certain, whatever its targets; None where all is well.

    The whole event is decoded only where a transaction has to be asked for.
    """
    doubt = doubt_of(entry, view.time) or outcome_doubt(view.outcome)
    if (
        doubt is None
        and view.kind == "change"
        and view.transaction is not None
        and not is_captured(view.action, view.targets)
        and commits.committed(decode_event(entry.body)) is False
    ):
        return NOT_COMMITTED
    return doubt
