"""A rotation counts by both of its keys; a key names one successor."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.tlog import (
    Algorithm,
    Hash,
    InvalidSignatureError,
    MalformedCheckpointError,
    Note,
    Rotation,
    RotationError,
    SigningKey,
    Size,
    format_note,
    format_rotation,
    format_rotations,
    open_rotation,
    parse_checkpoint,
    parse_note,
    parse_rotations,
    sign_note,
    sign_rotation,
    successors,
)

ORIGIN = "example.com/trail"
KEYS = [SigningKey.generate(ORIGIN) for _ in range(4)]


def rotation(old: SigningKey = KEYS[0], new: SigningKey = KEYS[1], size: int = 5) -> Rotation:
    return Rotation(
        origin=ORIGIN,
        size=Size(size),
        root=Hash(bytes(range(32))),
        old=old.verifier_key,
        new=new.verifier_key,
        time="2026-11-30T10:00:00.000000Z",
        until="2026-12-30T10:00:00.000000Z",
    )


def signed(old: SigningKey = KEYS[0], new: SigningKey = KEYS[1], size: int = 5) -> bytes:
    return sign_rotation(rotation(old, new, size), old, new)


def test_both_sign_and_it_is_read_again() -> None:
    """The text is a note's, and no checkpoint's."""
    raw = signed()
    assert open_rotation(raw) == rotation()
    text = parse_note(raw).text
    assert text == format_rotation(rotation())
    with pytest.raises(MalformedCheckpointError):
        parse_checkpoint(text)


@pytest.mark.parametrize("signers", [(0,), (1,), (1, 2), (0, 2)])
def test_one_signature_is_not_enough(signers: tuple[int, ...]) -> None:
    """A thief of either key alone, or with a third one, rotates nothing."""
    text = format_rotation(rotation())
    raw = format_note(Note(text, tuple(sign_note(text, KEYS[n]) for n in signers)))
    with pytest.raises(RotationError, match="expected signatures by both keys"):
        open_rotation(raw)


def test_a_signature_of_something_else_is_none() -> None:
    """One that is put under another rotation condemns it."""
    other = format_rotation(rotation(size=6))
    with pytest.raises(InvalidSignatureError):
        open_rotation(format_note(Note(other, parse_note(signed()).signatures)))


def test_a_key_follows_another_of_its_name() -> None:
    """Not itself, not one of another trail, and no witness's."""
    other = SigningKey.generate("example.com/other")
    witness = SigningKey.generate(ORIGIN, Algorithm.COSIGNATURE_V1)
    for new in (KEYS[0], other, witness):
        with pytest.raises(RotationError):
            rotation(new=new)


@given(st.data())
def test_a_changed_byte_is_never_another_rotation(data: st.DataObject) -> None:
    """Whatever byte is changed, it is refused, or says the same."""
    raw = bytearray(signed())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        found = open_rotation(bytes(raw))
    except VerificationError:
        return
    assert found == rotation()


def test_successors_are_followed_in_order_and_once() -> None:
    """From the key that somebody has to the newest; a key that was rotated names no other."""
    first, second = signed(), signed(KEYS[1], KEYS[2], 9)
    forged = signed(KEYS[0], KEYS[3], 12)
    notes = [b"noise", first, second, forged]
    vkeys = [key.verifier_key for key in KEYS]
    assert [each.new for _, each in successors(vkeys[0], notes, origin=ORIGIN)] == vkeys[1:3]
    assert [each.new for _, each in successors(vkeys[1], notes, origin=ORIGIN)] == vkeys[2:3]
    assert successors(vkeys[2], notes, origin=ORIGIN) == ()
    assert successors(vkeys[3], notes, origin=ORIGIN) == ()
    assert successors(vkeys[0], [second, first], origin=ORIGIN)[-1][1].new == vkeys[1]
    elsewhere = dataclasses.replace(rotation(), origin="example.com/other")
    raw = sign_rotation(elsewhere, KEYS[0], KEYS[1])
    assert successors(vkeys[0], [raw], origin=ORIGIN) == ()


def test_several_stand_in_one_file() -> None:
    """One behind the other, and apart again; nothing else before them."""
    notes = [signed(), signed(KEYS[1], KEYS[2], 9)]
    assert parse_rotations(format_rotations(notes)) == notes
    assert parse_rotations(b"") == []
    with pytest.raises(RotationError):
        parse_rotations(b"x\n" + notes[0])
    with pytest.raises(RotationError):
        parse_rotations(bytes(2_000_000))
