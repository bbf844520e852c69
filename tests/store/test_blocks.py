"""Blocks give back the bytes that were put in, and refuse all others."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from indelible.store.blocks import (
    decode_frame,
    decode_stems,
    encode_frame,
    encode_stems,
    frame_count,
    split_salts,
)
from indelible.store.errors import MalformedBlockError

LINES = st.lists(st.binary(max_size=200).map(lambda raw: raw.replace(b"\n", b"")), min_size=1)


@given(LINES)
def test_bodies_and_heads_come_back_byte_by_byte(lines: list[bytes]) -> None:
    """What is hashed is never written another way."""
    frame = encode_frame(lines[:64])
    assert frame is not None
    assert decode_frame(frame, len(lines[:64])) == lines[:64]
    assert decode_stems(encode_stems(lines), len(lines)) == lines


def test_a_frame_holds_exactly_its_entries() -> None:
    """One line more or less, bytes behind the frame, or no frame at all are refused."""
    frame = encode_frame([b"{}", b"[]"])
    assert frame is not None
    for damaged in (frame + b"x", frame[:-1], b"", b"{}\n[]", frame + frame):
        with pytest.raises(MalformedBlockError):
            decode_frame(damaged, 2)
    with pytest.raises(MalformedBlockError, match="expected 3 bodies, came 2"):
        decode_frame(frame, 3)
    with pytest.raises(MalformedBlockError, match="salts"):
        split_salts(bytes(33), 2)


def test_a_frame_that_would_fill_the_memory_is_refused_unread() -> None:
    """A few bytes that decompress to gigabytes don't."""
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    with pytest.raises(MalformedBlockError, match="at most"):
        decode_frame(bomb, 1)


@pytest.mark.parametrize(
    ("count", "frames"), [(1, [1, 0, 0, 0]), (64, [64, 0, 0, 0]), (200, [64, 64, 64, 8])]
)
def test_entries_fill_one_frame_after_the_other(count: int, frames: list[int]) -> None:
    """A block that isn't full has whole frames first."""
    assert [frame_count(count, frame) for frame in range(4)] == frames
