"""Blocks: 256 entries a row, compressed so that one can be read without the others. Pure.

Bodies stand in four zstd frames of 64, one JSON a line (`zstd -dc` reads them); the heads' stems in
one frame more; salts as they are, for nothing makes them smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import zstandard

from indelible.store.entry import SALT_BYTES
from indelible.store.errors import MalformedBlockError

BLOCK_ENTRIES: Final = 256
FRAME_ENTRIES: Final = 64
FRAMES: Final = BLOCK_ENTRIES // FRAME_ENTRIES
_LEVEL: Final = 3
_MAX_FRAME_BYTES: Final = FRAME_ENTRIES * 65_536 * 2
_MAX_STEMS_BYTES: Final = BLOCK_ENTRIES * 4_096


def encode_frame(bodies: Sequence[bytes]) -> bytes | None:
    """Up to 64 bodies; None for none. No body holds a newline."""
    return _compress(bodies) if bodies else None


def encode_stems(stems: Sequence[bytes]) -> bytes:
    return _compress(stems)


def _compress(lines: Sequence[bytes]) -> bytes:
    # A compressor of each call's own: one isn't safe for threads, and two trails may append.
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False)
    return compressor.compress(b"\n".join(lines))


def decode_frame(frame: bytes, count: int) -> list[bytes]:
    """Exactly `count` bodies. Raises `MalformedBlockError`."""
    return _lines(frame, count, _MAX_FRAME_BYTES, "bodies")


def decode_bodies(n: int, frames: Sequence[bytes | None], count: int) -> list[bytes]:
    """The `count` bodies of block `n`, from all of its frames. Raises `MalformedBlockError`."""
    bodies: list[bytes] = []
    for number, frame in enumerate(frames):
        expected = frame_count(count, number)
        if (frame is not None) != bool(expected):
            raise MalformedBlockError(f"block {n}: expected {expected} bodies")
        if frame is not None:
            bodies += decode_frame(frame, expected)
    return bodies


def decode_lines(frame: bytes) -> list[bytes]:
    """All bodies of a frame, however many. Raises `MalformedBlockError`."""
    return _split(frame, _MAX_FRAME_BYTES, "bodies")


def pick_bodies(
    frame: bytes, places: Sequence[int], decompressor: zstandard.ZstdDecompressor
) -> list[bytes]:
    """The bodies at these places of a frame, all rising or all falling.

    Nearly all the time of a sparse answer would go into splitting the lines that it doesn't need.
    Raises `MalformedBlockError`, also where there is no such place.
    """
    text = _decompress(frame, _MAX_FRAME_BYTES, "bodies", decompressor)
    falling = places[0] > places[-1]
    bodies = []
    start = at = 0
    for place in places[::-1] if falling else places:
        while at < place:
            start = text.find(b"\n", start) + 1
            if not start:
                raise MalformedBlockError(f"expected more than {place} bodies, came {at + 1}")
            at += 1
        end = text.find(b"\n", start)
        bodies.append(text[start:] if end < 0 else text[start:end])
    return bodies[::-1] if falling else bodies


def decode_stems(stems: bytes, count: int) -> list[bytes]:
    """Exactly `count` stems. Raises `MalformedBlockError`."""
    return _lines(stems, count, _MAX_STEMS_BYTES, "heads")


def split_salts(salts: bytes, count: int) -> list[bytes]:
    """Exactly `count` salts. Raises `MalformedBlockError`."""
    if len(salts) != SALT_BYTES * count:
        raise MalformedBlockError(
            f"expected {SALT_BYTES * count} bytes of salts, came {len(salts)}"
        )
    return [salts[at : at + SALT_BYTES] for at in range(0, len(salts), SALT_BYTES)]


def frame_count(count: int, frame: int) -> int:
    """How many entries the `frame`-th frame of a block of `count` entries has."""
    return max(0, min(FRAME_ENTRIES, count - frame * FRAME_ENTRIES))


def _lines(compressed: bytes, count: int, most: int, what: str) -> list[bytes]:
    lines = _split(compressed, most, what)
    if len(lines) != count:
        raise MalformedBlockError(f"expected {count} {what}, came {len(lines)}")
    return lines


def _split(compressed: bytes, most: int, what: str) -> list[bytes]:
    return _decompress(compressed, most, what, zstandard.ZstdDecompressor()).split(b"\n")


def _decompress(
    compressed: bytes, most: int, what: str, decompressor: zstandard.ZstdDecompressor
) -> bytes:
    try:
        if not 0 <= zstandard.frame_content_size(compressed) <= most:
            raise MalformedBlockError(f"expected at most {most} bytes of {what}")
        return decompressor.decompress(compressed, allow_extra_data=False)
    except zstandard.ZstdError:
        raise MalformedBlockError(f"expected one whole zstd frame of {what}") from None
