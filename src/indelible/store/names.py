"""Names of persons in the place of their tokens, for answers; and tokens for names, to be found by.

Whoever has the keystore is told the names. Who was erased goes by `erased:TOKEN`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from indelible.events.model import Actor, Event, Subject
from indelible.events.personal import (
    FromTokens,
    Personal,
    Told,
    translate,
    translate_actor,
    translate_ids,
    translate_subjects,
)
from indelible.events.values import ERASED_NAME, Id
from indelible.forking import hold_while_forking
from indelible.store.keystore import Keystore
from indelible.store.keystore_held import HeldKeystore
from indelible.store.terms import named_in

_KNOWN: Final = 100_000


class Names:
    """The names that a keystore has. Safe for threads."""

    def __init__(self, keystore: Keystore, personal: Personal) -> None:
        self._personal = personal
        self._by = FromTokens(self._named)
        self._held = HeldKeystore(keystore)
        self._lock = threading.RLock()
        self._known: dict[str, Subject] = {}
        self._erased: frozenset[str] = frozenset()
        hold_while_forking(self._held, self._lock, HeldKeystore.begin_in_child)

    def close(self) -> None:
        """Hold the keystore open no longer; it may be used again."""
        with self._lock:
            self._held.close()

    # -- what answers show ------------------------------------------------------------------------

    def open(self, event: Event) -> Event:
        """The event with names for its tokens, as far as they are known."""
        return translate(event, self._personal, self._by)

    def told(self, event: Event) -> tuple[Told, ...]:
        """What `open` goes by: whose each token is, of those that stand in the event."""
        told: dict[str, Told] = {}

        def tell(kind: str, token: str) -> str | None:
            found = self._named(kind, token)
            if found != token:
                told[token] = Told(kind=kind, token=token, name=found)
            return found

        translate(event, self._personal, FromTokens(tell))
        return tuple(told.values())

    def actor(self, actor: Actor) -> Actor:
        """The actor by name."""
        return translate_actor(actor, self._personal, self._by)

    def subjects(self, subjects: Sequence[Subject]) -> tuple[Subject, ...]:
        """The subjects by name."""
        return translate_subjects(subjects, self._personal, self._by)

    def ids(self, kind: str, ids: tuple[Id, ...]) -> tuple[Id, ...]:
        """The ids of rows of this kind by name."""
        return translate_ids(kind, ids, self._personal, self._by)

    # -- what is asked ----------------------------------------------------------------------------

    def tokens_too(self, terms: Sequence[bytes]) -> list[bytes]:
        """The terms, and those by which the same names are found as tokens."""
        return [*terms, *filter(None, map(self._by_token, terms))]

    def _by_token(self, term: bytes) -> bytes | None:
        named = named_in(term)
        if named is None:
            return None
        whose = self._personal.keys.get(named.kind) if named.is_row else named.kind
        if whose not in self._personal.kinds:
            return None
        token: str | None = named.name.removeprefix(ERASED_NAME)
        if token == named.name:
            with self._lock:
                self._look()
                found = self._held.enrolled((whose, named.name))
            token = None if found is None else found.token
        return None if token is None else named._replace(name=token).term

    def _named(self, kind: str, token: str) -> str | None:
        """Whose it is; itself where that isn't known, None where they were erased."""
        with self._lock:
            self._look()
            if token in self._erased:
                self._known.pop(token, None)
                return None
            subject = self._known.get(token)
            if subject is None:
                subject = self._held.subject_of(token)
                if subject is None:
                    return token
                if len(self._known) >= _KNOWN:
                    self._known.clear()
                self._known[token] = subject
        return token if subject.kind != kind or subject.id is None else subject.id

    def _look(self) -> None:
        """See who was erased since."""
        if self._held.has_changed():
            try:
                self._erased = frozenset(each.token for each in self._held.keystore.erased())
            except BaseException:
                self._held.close()
                raise
