"""What `verify` asks of what was done to a trail's contents: erasures and holds, with the keystore
beside sealed values, and what retention dropped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Final

from indelible.errors import EventError
from indelible.events.codec import join_parts
from indelible.events.model import Event
from indelible.integrity.acts import ActLedger, Acts
from indelible.integrity.authorisations import Authorisers
from indelible.integrity.retention_ledger import RetentionLedger, Retentions
from indelible.store.sealing import all_tokens
from indelible.tlog import Hash

_MARKS: Final = (b"sealed", b'"token"')


class ActCheck:
    """Takes all events of a trail in order, parts too; raises `UnauthorisedActError`."""

    def __init__(self, authorisers: Authorisers | None, *, origin: str, has_keys: bool) -> None:
        self._ledger = ActLedger(authorisers, origin=origin)
        self._retention = RetentionLedger(authorisers, origin=origin)
        self._has_keys = has_keys
        self._tokens: set[str] = set()
        self._parts: list[Event] = []

    def add(self, index: int, event: Event, body: bytes) -> None:
        """Take an entry; `body` is what `event` was decoded from."""
        self._ledger.add(index, event)
        self._retention.add(index, event)
        if not self._has_keys:
            return
        if event.part is not None and event.fragment is not None:
            self._add_part(event)
        elif any(mark in body for mark in _MARKS):
            self._tokens |= all_tokens(event)

    def drop(self, index: int) -> None:
        """Take an entry whose body is gone."""
        self._retention.drop(index)

    def finish_retention(self, hash_of: Callable[[int], Hash]) -> Retentions:
        """What retention took, all entries being taken; see `RetentionLedger.finish`."""
        return self._retention.finish(hash_of)

    def finish(self, before: Collection[str] | None, after: Collection[str] | None) -> Acts:
        """What there is, all entries being taken; with the tokens that had a key before that, and
        those that have one now, if they are known."""
        return self._ledger.finish(before, after, self._tokens)

    def _add_part(self, event: Event) -> None:
        """The parts of an event stand one behind another."""
        if event.part is not None and event.part.n == 1:
            self._parts = []
        self._parts.append(event)
        if event.part is None or event.part.n < event.part.of:
            return
        # Where one is missing nobody can read what it says.
        with contextlib.suppress(EventError):
            self._tokens |= all_tokens(join_parts(self._parts))
        self._parts = []
