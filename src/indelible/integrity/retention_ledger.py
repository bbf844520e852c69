"""What retention was to drop, held against what is gone. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from indelible.errors import MalformedEventError, VerificationError
from indelible.events.model import Event
from indelible.integrity.authorisations import Authorisers, unpack_note
from indelible.integrity.faults import UnauthorisedActError
from indelible.integrity.retention import (
    APPLIED,
    AUTHORISED,
    DROPPED,
    RETENTION,
    RetentionAct,
    Saying,
    check_retention,
    read_bits,
    read_retention,
    root_of_blocks,
)
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.tlog import Hash

_NOBODY: Final[tuple[str, ...]] = ()


class Retentions(msgspec.Struct, frozen=True, kw_only=True):
    """What retention took from a trail.

    `dropped` bodies are gone, by `done` acts, of which `attested` were worked out again by a
    verifier; `pending` ones were authorised and not finished: `indelible retain` goes on. Of
    `unchecked` ones nobody said who may authorise them.
    """

    dropped: int = 0
    done: int = 0
    attested: int = 0
    pending: int = 0
    unchecked: int = 0


class Retaining:
    """One act, as far as it is said."""

    def __init__(self, act: RetentionAct, index: int, *, is_attested: bool) -> None:
        self.act = act
        self.index = index
        self.is_attested = is_attested
        self.bits: dict[int, int] = {}
        """By block, the entries that go."""
        self.heard = 0
        """So many of its statements are there."""
        self.applied: int | None = None
        self._next = 0
        self._saying = Saying()

    @property
    def is_whole(self) -> bool:
        """Whether all is said that was signed."""
        return self.heard == self.act.said and self._saying.digest() == self.act.digest

    def hear(self, n: object, event: Event) -> bool:
        """Take statement `n`; False where that isn't one to come."""
        if type(n) is not int or not self._next <= n < self.act.said:
            return False
        self._next = n + 1
        self.heard += 1
        self._saying.add(event)
        return True


class RetentionLedger:
    """Takes the entries of a trail in order: what retention was to drop, and what is gone.

    Without `authorisers` signatures aren't looked at, and acts are counted as unchecked.
    """

    def __init__(self, authorisers: Authorisers | None, *, origin: str) -> None:
        self._authorisers = authorisers
        self._origin = origin
        self._gone: dict[int, int] = {}
        self.acts: dict[str, Retaining] = {}
        """By nonce, in order."""

    def drop(self, index: int) -> None:
        """Take an entry whose body is gone."""
        block, place = divmod(index, BLOCK_ENTRIES)
        self._gone[block] = self._gone.get(block, 0) | 1 << place

    def add(self, index: int, event: Event) -> None:
        """Take an entry. Raises `UnauthorisedActError`; the ledger is then as it was."""
        if event.kind != "system" or event.action not in RETENTION:
            return
        details = event.details or {}
        nonce = details.get("nonce")
        if type(nonce) is not str:
            _fail(index, event.action, "it doesn't say by which authorisation")
        if event.action == AUTHORISED:
            self._authorise(index, nonce, details.get("note"))
            return
        found = self.acts.get(nonce)
        if found is None:
            _fail(index, event.action, "no authorisation of its own stands before it")
        if found.applied is not None:
            _fail(index, event.action, f"entry {found.applied} says that all of it is done")
        if event.action == APPLIED:
            found.applied = index
            return
        bits: dict[int, int] = {}
        if event.action == DROPPED:
            try:
                bits = read_bits(event)
            except MalformedEventError as error:
                _fail(index, event.action, str(error))
        if not found.hear(details.get("n"), event):
            _fail(index, event.action, "its number isn't one to come of its authorisation")
        for block, some in bits.items():
            found.bits[block] = found.bits.get(block, 0) | some

    def finish(self, hash_of: Callable[[int], Hash]) -> Retentions:
        """What there is, all entries being taken. `hash_of` gives the tree's hash of a block, which
        is proven. Raises `UnauthorisedActError`."""
        allowed: dict[int, int] = {}
        done = [each for each in self.acts.values() if self._is_said(each)]
        for each in done:
            self._check_act(each, hash_of)
            for block, bits in each.bits.items():
                allowed[block] = allowed.get(block, 0) | bits
        for block, bits in self._gone.items():
            if over := bits & ~allowed.get(block, 0):
                _fail(_first_of(block, over), "body dropped", "no retention was authorised for it")
        for each in done:
            if each.applied is not None:
                self._check_gone(each)
        return Retentions(
            dropped=sum(bits.bit_count() for bits in self._gone.values()),
            done=sum(each.applied is not None for each in done),
            attested=sum(each.is_attested and each.applied is not None for each in done),
            pending=sum(each.applied is None for each in self.acts.values()),
            unchecked=len(self.acts) if self._authorisers is None else 0,
        )

    def _is_said(self, found: Retaining) -> bool:
        """Whether all is said that was signed. Of what is done, statements may have gone since, by
        another act; then so many entries between its first and its last have no body."""
        if found.applied is None or found.heard == found.act.said:
            if found.applied is not None and not found.is_whole:
                _fail(found.applied, APPLIED, "what was said before it isn't what was signed")
            return found.is_whole
        if found.act.said - found.heard > self._count_gone(found.index, found.applied):
            _fail(found.applied, APPLIED, "what was to go isn't all said before it")
        return True

    def _count_gone(self, after: int, before: int) -> int:
        count = 0
        for block, bits in self._gone.items():
            first = block * BLOCK_ENTRIES
            if after < first + BLOCK_ENTRIES and first < before:
                some = range(max(after + 1, first), min(before, first + BLOCK_ENTRIES))
                count += sum(bits >> (index - first) & 1 for index in some)
        return count

    def _authorise(self, index: int, nonce: str, packed: object) -> None:
        try:
            note = unpack_note(packed)
            if self._authorisers is None:
                act, attested = read_retention(note), _NOBODY
            else:
                act, attested = check_retention(note, self._authorisers, origin=self._origin)
        except VerificationError as error:
            _fail(index, AUTHORISED, str(error))
        if act.nonce != nonce or act.through >= index:
            _fail(index, AUTHORISED, "what was authorised is another act")
        if nonce in self.acts:
            before = self.acts[nonce].index
            _fail(index, AUTHORISED, f"its authorisation was used before, by entry {before}")
        self.acts[nonce] = Retaining(act, index, is_attested=bool(attested))

    @staticmethod
    def _check_act(found: Retaining, hash_of: Callable[[int], Hash]) -> None:
        act = found.act
        count = sum(bits.bit_count() for bits in found.bits.values())
        last = max(found.bits, default=0)
        beyond = _last_of(last, found.bits.get(last, 0)) > act.through
        if count != act.dropped or beyond or root_of_blocks(found.bits, hash_of) != act.root:
            _fail(found.index, AUTHORISED, "what was signed isn't of these entries")

    def _check_gone(self, found: Retaining) -> None:
        for block, bits in found.bits.items():
            if left := bits & ~self._gone.get(block, 0):
                index = _first_of(block, left)
                _fail(found.applied or 0, APPLIED, f"the body of entry {index} is still there")


def _first_of(block: int, bits: int) -> int:
    return block * BLOCK_ENTRIES + (bits & -bits).bit_length() - 1


def _last_of(block: int, bits: int) -> int:
    return block * BLOCK_ENTRIES + bits.bit_length() - 1


def _fail(index: int, action: str, why: str) -> NoReturn:
    raise UnauthorisedActError(index, f"{action}: {why}")
