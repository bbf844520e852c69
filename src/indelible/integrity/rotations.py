"""The rotations that a trail has among its entries, and which keys they lead to.

A verifier begins with a key that it has from whom it trusts. Each rotation that this key, or one
that it led to, signed together with the next leads on; nothing else does. What was rotated away
signs nothing more: the newest key that a tree's own entries lead to must have signed that tree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from indelible.errors import EventError, VerificationError
from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.integrity.faults import CheckpointError
from indelible.integrity.key_ring import CheckpointSigner
from indelible.store.protocol import TrailReader
from indelible.store.terms import action_term
from indelible.tlog import (
    Hash,
    OpenedCheckpoint,
    QuorumError,
    Rotation,
    Size,
    TileReader,
    TrustPolicy,
    UnknownKeyError,
    VerifierKey,
    follow,
    open_checkpoint,
    open_rotation,
    opened_rotations,
    verify_beginning,
)
from indelible.transport.delivery import Remark

ROTATED: Final = "key.rotated"


def rotation_remark(note: bytes, rotation: Rotation) -> Remark:
    """What a trail's entry says of a rotation."""
    return Remark(
        ROTATED,
        f"{rotation.new} signs from now on, until {rotation.until[:10]} together with "
        f"{rotation.old}",
        {"rotation": note.decode()},
    )


def rotation_of(event: Event) -> bytes | None:
    """The note in an entry about a rotation, unverified; None in any other."""
    if event.kind != "system" or event.action != ROTATED:
        return None
    note = (event.details or {}).get("rotation")
    return note.encode(errors="replace") if isinstance(note, str) else None


def rotations_in(reader: TrailReader) -> list[tuple[int, bytes]]:
    """Index and note of each entry about a rotation that the index finds, in order; unverified."""
    found = []
    for entry in reader.search([action_term(ROTATED)]):
        try:
            note = rotation_of(decode_event(entry.body))
        except EventError:
            continue
        if note is not None:
            found.append((int(entry.index), note))
    return found


class KeyLine(NamedTuple):
    """The key to begin with, and the rotations from there: unverified but for their signatures."""

    first: VerifierKey
    notes: tuple[bytes, ...]
    rotations: tuple[Rotation, ...]

    @classmethod
    def of(cls, first: VerifierKey, notes: Iterable[bytes]) -> KeyLine:
        """From `notes` in the order of the trail."""
        return cls.along(first, opened_rotations(notes, origin=first.name))

    @classmethod
    def along(cls, first: VerifierKey, opened: Iterable[tuple[bytes, Rotation]]) -> KeyLine:
        """`of`, where they are opened already."""
        found = follow(first, opened)
        return cls(first, tuple(raw for raw, _ in found), tuple(each for _, each in found))

    @property
    def newest(self) -> VerifierKey:
        """Which must have signed the tree that has the rotations."""
        return self.rotations[-1].new if self.rotations else self.first

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """All of them, the newest first."""
        return (*(each.new for each in reversed(self.rotations)), self.first)

    def check_tree(self, tiles: TileReader, size: Size, root: Hash) -> None:
        """Raise `CheckpointError` unless this tree continues what each old key signed last."""
        for rotation in self.rotations:
            try:
                verify_beginning(
                    tiles, old=rotation.size, old_root=rotation.root, new=size, new_root=root
                )
            except VerificationError:
                raise CheckpointError(
                    0,
                    f"the first {rotation.size} entries aren't those that {rotation.old} signed "
                    f"before {rotation.new} took over",
                ) from None


def open_by(
    note: bytes,
    origin: str,
    keys: Sequence[VerifierKey],
    witness_keys: Sequence[VerifierKey] = (),
) -> OpenedCheckpoint:
    """The checkpoint in a note that one of the trail's `keys` signed: the first of them that did.

    Raises what `open_checkpoint` does.
    """
    *others, last = keys
    for key in others:
        try:
            return open_checkpoint(note, origin=origin, log_key=key, witness_keys=witness_keys)
        except UnknownKeyError:
            continue
    return open_checkpoint(note, origin=origin, log_key=last, witness_keys=witness_keys)


def check_listed(trust: TrustPolicy, keys: Sequence[VerifierKey]) -> None:
    """Return only where the policy lists no tlogs, or one under one of these keys.

    Raises `QuorumError`.
    """
    for key in keys[:-1]:
        with contextlib.suppress(QuorumError):
            trust.check_tlog(key)
            return
    trust.check_tlog(keys[-1])


def keys_of(signer: CheckpointSigner) -> tuple[VerifierKey, ...]:
    """The newest key of the signer, and those that it was rotated from; unverified."""
    old = (open_rotation(note).old for note in reversed(signer.rotations))
    return (signer.verifier_key, *(key for key in old if key != signer.verifier_key))


def key_line(reader: TrailReader, first: VerifierKey) -> KeyLine:
    """The keys that lead on from `first`, as the trail's own index finds them."""
    return KeyLine.of(first, (note for _, note in rotations_in(reader)))


def keys_in(reader: TrailReader) -> SigningKeys:
    """The newest key, as the trail's own file says, and the rotations that led to it."""
    keys = SigningKeys(VerifierKey.parse(reader.vkey))
    keys.add_all(rotations_in(reader), reader.size)
    return keys


class SigningKeys:
    """Which key must have signed a tree, by the rotations in it that were found so far.

    `first` is the key that a verifier has from whom it trusts; from `seen`, by which it was signed
    when it was verified before, rotations must lead to the same one. Anybody who may write to the
    trail can add entries that say they are rotations: each is opened once, and what its keys didn't
    sign isn't kept.
    """

    def __init__(self, first: VerifierKey, seen: VerifierKey | None = None) -> None:
        self._first = first
        self._seen = first if seen is None else seen
        self._opened: dict[int, tuple[bytes, Rotation]] = {}

    @property
    def line(self) -> KeyLine:
        """From `first` on."""
        return KeyLine.along(self._first, self._in_order())

    @property
    def newest(self) -> VerifierKey:
        """Raises `CheckpointError` where what was seen doesn't lead there."""
        newest = self.line.newest
        before = KeyLine.along(self._seen, self._in_order())
        if before.newest != newest:
            raise CheckpointError(
                0,
                f"expected {newest} to be rotated from {self._seen}, which had signed what was "
                f"verified before: the trail's entries lead to {before.newest}",
            )
        return newest

    @property
    def earlier(self) -> tuple[VerifierKey, ...]:
        """The keys before the newest that may have signed what is kept of earlier times."""
        before = (self._opened[index][1].old for index in reversed(self._leading()))
        return tuple(dict.fromkeys((*self.line.keys[1:], *before)))

    def notes(self, size: int) -> tuple[bytes, ...]:
        """Those of the rotations that led to the newest key which stand below `size`: `first` may
        be any key of the trail, the newest, too."""
        return tuple(self._opened[index][0] for index in self._leading() if index < size)

    def have_signed(self, note: bytes | None) -> bool:
        """Whether both keys to begin with are one, and it signed this note."""
        if note is None or self._seen != self._first:
            return False
        try:
            open_checkpoint(note, origin=self._first.name, log_key=self._first)
        except VerificationError:
            return False
        return True

    def add(self, index: int, event: Event) -> None:
        """Take in an entry of the tree."""
        note = rotation_of(event)
        if note is not None:
            self.add_all([(index, note)], index + 1)

    def add_all(self, notes: Iterable[tuple[int, bytes]], size: int) -> None:
        """Take in what stands at those indexes, as far as they are below `size`."""
        for index, note in notes:
            known = self._opened.get(index)
            if index >= size or (known is not None and known[0] == note):
                continue
            self._opened.pop(index, None)
            for opened in opened_rotations([note], origin=self._first.name):
                self._opened[index] = opened

    def check_tree(self, tiles: TileReader, size: Size, root: Hash) -> None:
        """Raise `CheckpointError` unless the tree continues what each old key signed last."""
        self.line.check_tree(tiles, size, root)

    def _leading(self) -> list[int]:
        """Where the rotations stand that led to the newest key, one behind the other."""
        by_new: dict[VerifierKey, int] = {}
        for index in sorted(self._opened):
            # The first of each: anybody can write the same note down again, further on.
            by_new.setdefault(self._opened[index][1].new, index)
        key = self.line.newest
        found: list[int] = []
        while (at := by_new.pop(key, None)) is not None and not (found and at > found[-1]):
            found.append(at)
            key = self._opened[at][1].old
        return found[::-1]

    def _in_order(self) -> Iterator[tuple[bytes, Rotation]]:
        return (self._opened[index] for index in sorted(self._opened))
