"""What processes signed of their own events, held against the events that the trail has.

The statements are in `indelible.transport.producer_signing`. Sources that sign nothing (databases,
whose triggers have no key; the trail itself) are left out.
"""

from __future__ import annotations

from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from indelible.errors import VerificationError
from indelible.events.codec import decode_event
from indelible.events.model import Event, Producer
from indelible.events.values import Value
from indelible.integrity.faults import ProducerSignatureError
from indelible.integrity.verified import ProducerSoFar, Signed, Verified
from indelible.tlog import MalformedKeyError, VerifierKey
from indelible.transport.producer_signing import (
    BEGAN,
    ENDED,
    SIGNED,
    Digest,
    began_text,
    statement_text,
)

_OWN: Final = (BEGAN, SIGNED, ENDED)
_WAITING: Final = 8
"""More parts than a journal's own entries between a statement and its last event ever are."""


Reread = Callable[[int, int], Iterable[tuple[int, bytes]]]
"""Index and body of the entries from one index to another, proven to be in the tree."""


class _Producer:
    """One process's stream, as far as it was read."""

    def __init__(self, key: VerifierKey | None) -> None:
        self.key = key
        """By which the next statement is to be signed; None where there is none to come."""
        self.digest = Digest()
        self.first = 1
        """The first event that no statement is about yet."""
        self.last = 0
        """The last event that came."""
        self.waiting: deque[tuple[int, int, bytes]] = deque()
        """Index, number and body of the last few parts of events, not in the digest yet: those
        behind what the next statement is about aren't for this one."""
        self.unstated: list[tuple[int, int]] = []
        """Indexes of the entries that are in the digest or wait for it, as ranges."""
        self.is_behind = False
        """Whether those were read by an earlier verification, and aren't in the digest again."""
        self.is_whole = True
        """Whether every event since `first` came."""
        self.is_over = self.has_ended = False
        """Whether nothing more is checked; and that because it said so."""

    @classmethod
    def resume(cls, known: ProducerSoFar) -> _Producer:
        producer = cls(VerifierKey.parse(known.key) if known.key else None)
        producer.first, producer.last = known.first, known.last
        producer.unstated = list(known.unstated)
        producer.is_behind = bool(known.unstated)
        producer.is_whole = known.is_whole
        producer.is_over, producer.has_ended = known.is_over, known.has_ended
        return producer

    def so_far(self, source: tuple[str, int]) -> ProducerSoFar:
        return ProducerSoFar(
            *source,
            "" if self.is_over else str(self.key),
            self.first,
            self.last,
            () if self.is_over else tuple(self.unstated),
            self.is_whole,
            self.is_over,
            self.has_ended,
        )

    def add(self, index: int, seq: int, body: bytes) -> None:
        """One part of an event, the next."""
        if self.unstated and self.unstated[-1][1] == index - 1:
            self.unstated[-1] = (self.unstated[-1][0], index)
        else:
            self.unstated.append((index, index))
        self._put_off(index, seq, body)

    def drop(self) -> None:
        """One event whose body is gone, the next: no statement about it can be checked."""
        self.is_whole = False

    def catch_up(self, read: Reread) -> None:
        """Have in the digest what an earlier verification had in it."""
        self.is_behind = False
        for first, last in self.unstated:
            for index, body in read(first, last):
                if body:
                    self._put_off(index, decode_event(body).producer.seq, body)
                else:
                    self.drop()

    def _put_off(self, index: int, seq: int, body: bytes) -> None:
        self.waiting.append((index, seq, body))
        if len(self.waiting) > _WAITING:
            self.digest.add(self.waiting.popleft()[2])

    def digest_through(self, last: int) -> Digest:
        while self.waiting and self.waiting[0][1] <= last:
            self.digest.add(self.waiting.popleft()[2])
        return self.digest

    def state(self, last: int) -> None:
        """A statement through `last` was right: begin behind it."""
        self.digest = Digest()
        self.first, self.is_whole = last + 1, True
        self.unstated = [(index, index) for index, _, _ in self.waiting]


class ProducerCheck:
    """Takes the events of a trail in order; raises at the first that isn't what was signed.

    Memory is a few hundred bytes for each process.
    """

    def __init__(
        self,
        enrolment: VerifierKey | None,
        *,
        own: str = "",
        earlier: Verified | None = None,
        reread: Reread = lambda first, last: (),
    ) -> None:
        """`own` is the source of the trail's own entries, which its key signs.

        With what an `earlier` verification left the entries behind it are expected; `reread` gives
        those of before that a statement to come is about.
        """
        self._enrolment = enrolment
        self._own = own
        self._reread = reread
        known = () if earlier is None else earlier.producers
        self._producers = {(each.producer, each.epoch): _Producer.resume(each) for each in known}
        before = Signed(enrolment=None) if earlier is None else earlier.signed
        self._begun, self._ended, self._entries = before.producers, before.ended, before.entries
        self._holes, self._broken = before.holes, before.broken
        self._unsigned = before.unsigned

    def add(self, index: int, event: Event, body: bytes) -> None:
        """The entry at `index`."""
        source = (event.producer.id, event.producer.epoch)
        is_own = event.kind == "system" and event.action in _OWN
        producer = self._producers.get(source)
        if producer is None and is_own and event.action == BEGAN and event.producer.seq == 1:
            producer = self._producers[source] = self._began(index, event)
        if producer is None:
            self._unsigned += source[0] != self._own
            return
        seq = event.producer.seq
        is_later_part = seq == producer.last and event.part is not None and event.part.n > 1
        if seq <= producer.last and not is_later_part:
            return  # it came late, or contradicts what came first: both are noticed as such
        if seq > producer.last + 1:
            producer.is_whole = False
        if producer.is_over:
            if producer.has_ended:
                raise ProducerSignatureError(
                    index,
                    f"process {event.producer.id} ended with its event {producer.last}: this one "
                    "isn't by it",
                )
            return
        producer.last = seq
        if producer.is_behind:
            producer.catch_up(self._reread)
        if is_own and event.action != BEGAN:
            is_chained = self._check_statement(index, event, producer)
            if event.action == ENDED or not is_chained:
                producer.is_over, producer.has_ended = True, is_chained
                producer.waiting.clear()
                return
        producer.add(index, seq, body)

    def drop(self, place: Producer) -> None:
        """An entry whose body is gone."""
        producer = self._producers.get((place.id, place.epoch))
        if producer is None:
            self._unsigned += place.id != self._own
        elif place.seq >= producer.last and not producer.is_over:
            producer.last = place.seq
            producer.drop()

    def so_far(self) -> tuple[ProducerSoFar, ...]:
        """What to go on from."""
        return tuple(one.so_far(source) for source, one in self._producers.items())

    def finish(self) -> Signed:
        """What all of it comes to."""
        return Signed(
            enrolment=None if self._enrolment is None else str(self._enrolment),
            producers=self._begun,
            ended=self._ended,
            entries=self._entries,
            open=sum(
                one.last - one.first + 1 for one in self._producers.values() if not one.is_over
            ),
            holes=self._holes,
            broken=self._broken,
            unsigned=self._unsigned,
        )

    def _began(self, index: int, event: Event) -> _Producer:
        key = _key(index, event, "key")
        enrolled_by = _key(index, event, "enrolled_by")
        if self._enrolment is not None and enrolled_by != self._enrolment:
            raise ProducerSignatureError(
                index, f"a process was enrolled by {enrolled_by}, expected {self._enrolment}"
            )
        text = began_text(event.producer.id, event.producer.epoch, str(key))
        _verify(index, event, enrolled_by, text)
        self._begun += 1
        return _Producer(key)

    def _check_statement(self, index: int, event: Event, producer: _Producer) -> bool:
        """False where a statement before it is missing: that alone named the key of this one."""
        first, last = _number(index, event, "first"), _number(index, event, "last")
        is_end = event.action == ENDED
        following = None if is_end else _key(index, event, "next")
        digest = _text(index, event, "digest")
        text = statement_text(
            event.producer.id,
            event.producer.epoch,
            first,
            last,
            digest,
            "" if following is None else str(following),
        )
        if first != producer.first:
            if producer.is_whole:
                raise ProducerSignatureError(
                    index, f"a statement about events from {first} on, expected {producer.first}"
                )
            self._broken += 1
            return False
        assert producer.key is not None  # noqa: S101 - it isn't over
        _verify(index, event, producer.key, text)
        if not first <= last < event.producer.seq:
            raise ProducerSignatureError(index, "a statement about events that aren't before it")
        found = producer.digest_through(last).text()
        if not producer.is_whole:
            self._holes += 1
        elif found != digest:
            raise ProducerSignatureError(
                index,
                f"events {first} to {last} of process {event.producer.id} aren't those that it "
                "signed: one was changed or exchanged before it was delivered",
            )
        self._entries += last - first + 1
        producer.state(last)
        if following is not None:
            producer.key = following
        self._ended += is_end
        return True


def _verify(index: int, event: Event, key: VerifierKey, text: bytes) -> None:
    try:
        signature = b64decode(_text(index, event, "signature"), validate=True)
        key.verify(signature, text)
    except (VerificationError, ValueError):
        raise ProducerSignatureError(
            index, f"expected a signature by {key}, came one that this key did not make"
        ) from None


def _text(index: int, event: Event, name: str) -> str:
    value: Value = (event.details or {}).get(name)
    if not isinstance(value, str):
        raise ProducerSignatureError(index, f"expected `{name}` in {event.action}, there is none")
    return value


def _number(index: int, event: Event, name: str) -> int:
    value: Value = (event.details or {}).get(name)
    if type(value) is not int:
        raise ProducerSignatureError(index, f"expected `{name}` in {event.action}, there is none")
    return value


def _key(index: int, event: Event, name: str) -> VerifierKey:
    try:
        return VerifierKey.parse(_text(index, event, name))
    except MalformedKeyError as error:
        raise ProducerSignatureError(index, f"`{name}` of {event.action}: {error}") from None
