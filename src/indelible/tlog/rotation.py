"""Rotations: a trail's key names the one that comes after it, and both sign that.

The text is a signed note's. No checkpoint reads like it: its second line is no number::

    indelible-key-rotation/1
    origin example.com/trail
    size 1204
    root <base64>
    old <vkey>
    new <vkey>
    time 2026-11-30T10:00:00.000000Z
    until 2026-12-30T10:00:00.000000Z

`size` and `root` are those of the last checkpoint that `old` signed before. Until the time `until`,
at least, checkpoints carry the signatures of both.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from indelible.errors import VerificationError
from indelible.tlog.hashing import Hash, Size
from indelible.tlog.keys import Algorithm, Signer, VerifierKey
from indelible.tlog.note import (
    MAX_NOTE_BYTES,
    Note,
    check_note_text,
    format_note,
    parse_note,
    sign_note,
    verify_note,
)
from indelible.tlog.strict_text import format_base64, parse_decimal, parse_hash, shorten

_FIRST_LINE: Final = "indelible-key-rotation/1"
_BEGINNING: Final = re.compile(rb"^(?=indelible-key-rotation/1$)", re.MULTILINE)
MAX_ROTATIONS_BYTES: Final = MAX_NOTE_BYTES
"""Of all rotations of a trail: some thousand."""
_FIELDS: Final = ("origin", "size", "root", "old", "new", "time", "until")


class RotationError(VerificationError):
    """A text that is no rotation, or one that isn't signed by both of its keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """From which key to which, behind which checkpoint of a trail. Times are as in events.

    Raises `RotationError` for two keys of which one can't follow the other.
    """

    origin: str
    size: Size
    root: Hash
    old: VerifierKey
    new: VerifierKey
    time: str
    until: str

    def __post_init__(self) -> None:
        if self.old.public_key == self.new.public_key or self.old.name != self.new.name:
            raise RotationError(
                f"rotation: expected another key of the same name, came {self.new} after {self.old}"
            )
        if {self.old.algorithm, self.new.algorithm} != {Algorithm.ED25519}:
            raise RotationError("rotation: expected keys of type 0x01, came another")


def format_rotation(rotation: Rotation) -> str:
    """The note text of a rotation."""
    values = (
        rotation.origin,
        str(rotation.size),
        format_base64(rotation.root),
        str(rotation.old),
        str(rotation.new),
        rotation.time,
        rotation.until,
    )
    lines = (f"{name} {value}\n" for name, value in zip(_FIELDS, values, strict=True))
    return f"{_FIRST_LINE}\n{''.join(lines)}"


def parse_rotation(text: str) -> Rotation:
    """The rotation of a note text, unverified; raises `RotationError` and `MalformedKeyError`."""
    first, *lines = text.removesuffix("\n").split("\n")
    pairs = [line.partition(" ")[::2] for line in lines]
    if first != _FIRST_LINE or tuple(name for name, _ in pairs) != _FIELDS:
        raise RotationError(
            f"rotation: expected the lines {_FIRST_LINE}, {', '.join(_FIELDS)}, "
            f"came {shorten(repr(text))}"
        )
    origin, size, root, old, new, time, until = (value for _, value in pairs)
    rotation = Rotation(
        origin=origin,
        size=Size(parse_decimal(size, what="rotation, size", error=RotationError)),
        root=parse_hash(root, what="rotation, root", error=RotationError),
        old=VerifierKey.parse(old),
        new=VerifierKey.parse(new),
        time=time,
        until=until,
    )
    if format_rotation(rotation) != text:
        raise RotationError("rotation: expected one spelling of each line, came another")
    return rotation


def sign_rotation(rotation: Rotation, old: Signer, new: Signer) -> bytes:
    """The note that both keys sign; raises `RotationError` for other keys than the rotation's."""
    if (old.verifier_key, new.verifier_key) != (rotation.old, rotation.new):
        raise RotationError("rotation: expected the keys that it names, came others")
    text = format_rotation(rotation)
    check_note_text(text)
    return format_note(Note(text, (sign_note(text, old), sign_note(text, new))))


def open_rotation(raw: bytes) -> Rotation:
    """The rotation in a note that both of its keys signed.

    Whether its old key is one to believe is the caller's to know. Raises `MalformedNoteError`,
    `MalformedKeyError`, `RotationError` where one of the two didn't sign, and
    `InvalidSignatureError` where what claims to be by one of them isn't.
    """
    note = parse_note(raw)
    rotation = parse_rotation(note.text)
    signed = {each.key for each in verify_note(note, (rotation.old, rotation.new))}
    for key in (rotation.old, rotation.new):
        if key not in signed:
            raise RotationError(f"rotation: expected signatures by both keys, {key} didn't sign")
    return rotation


def opened_rotations(notes: Iterable[bytes], *, origin: str) -> Iterator[tuple[bytes, Rotation]]:
    """Those of `notes` that both of their keys signed, for the trail of this origin."""
    for raw in notes:
        with contextlib.suppress(VerificationError):
            rotation = open_rotation(raw)
            if rotation.origin == origin:
                yield raw, rotation


def follow(
    key: VerifierKey, opened: Iterable[tuple[bytes, Rotation]]
) -> tuple[tuple[bytes, Rotation], ...]:
    """The rotations that lead on from `key`, each from where the one before led: of those `opened`,
    in the order of the trail.

    One from a key that isn't in use at its place leads nowhere: a key that was rotated names no
    second one after it.
    """
    found: list[tuple[bytes, Rotation]] = []
    for raw, rotation in opened:
        if rotation.old == key:
            found.append((raw, rotation))
            key = rotation.new
    return tuple(found)


def successors(
    key: VerifierKey, notes: Iterable[bytes], *, origin: str
) -> tuple[tuple[bytes, Rotation], ...]:
    """`follow`, of notes that aren't opened yet: what isn't signed by both keys leads nowhere."""
    return follow(key, opened_rotations(notes, origin=origin))


def format_rotations(notes: Sequence[bytes]) -> bytes:
    """The notes one behind the other, as a file or an answer has them."""
    return b"".join(notes)


def parse_rotations(raw: bytes) -> list[bytes]:
    """The notes in what `format_rotations` gave, unverified; raises `RotationError`."""
    if len(raw) > MAX_ROTATIONS_BYTES:
        raise RotationError(
            f"rotations: expected at most {MAX_ROTATIONS_BYTES} bytes, came {len(raw)}"
        )
    before, *notes = _BEGINNING.split(raw)
    if before:
        raise RotationError(f"rotations: expected {_FIRST_LINE} first, came another text")
    return notes
