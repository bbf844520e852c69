"""A segment: a file of sealed blocks, with the index of their entries. Pure.

zstd frames one behind the other, so that `zstd -dc` gives the events, one a line; what isn't an
event stands in skippable frames, over which zstd passes. `docs/reference/formats.md` has it byte by
byte. Where a block's parts stand, and what they hash to, is also kept where nobody can change it
together with the file: in the trail's own.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec
import zstandard

from indelible.events.model import Timestamp
from indelible.store.blocks import BLOCK_ENTRIES, FRAMES, decode_frame, decode_stems, split_salts
from indelible.store.entry import SALT_BYTES, leaf_of
from indelible.store.errors import MalformedBlockError
from indelible.tlog import Hash, root_of

SEGMENT_BLOCKS: Final = 256
"""Blocks from which a segment is full."""
SEGMENT_BYTES: Final = 64 << 20
"""Bytes from which it is, too."""
SEGMENT_REFS: Final = 1_500_000
"""References from which it is, too: they are sorted in memory."""
FORMAT: Final = "indelible-segment/1"

_MAGIC: Final = 0x184D2A50
_HEADER, _HEADS, _POSTINGS, _DIRECTORY, _END = range(5)
_FRAME_HEAD: Final = struct.Struct("<II")
_TRAILER: Final = struct.Struct("<Q8s")
_ENDS: Final = b"INDELSEG"
_NEWLINE: Final = bytes.fromhex("28b52ffd20010900000a")
"""A zstd frame of one newline: bodies of a block's frames have none at the end."""
_PLACE: Final = struct.Struct("<Q5I")
_HASH_BYTES: Final = 16
_MAX_PART_BYTES: Final = 64 * 65_536 * 2
"""What a frame may be; nobody is made to read more by what the trail's file says."""
_SALTS_BYTES: Final = SALT_BYTES * BLOCK_ENTRIES


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """The entries `first` to `last` are in the file `name` at `place`, of `length` bytes.

    `since` and `until` are the least and the greatest of their claimed and received times.
    """

    first: int
    last: int
    place: str
    name: str
    length: int
    sha256: bytes
    since: Timestamp
    until: Timestamp
    sealed_at: Timestamp

    def __str__(self) -> str:
        return (
            f"segment {self.name} at {self.place} (entries {self.first} to {self.last}, "
            f"{self.since} to {self.until}, SHA-256 {self.sha256.hex()})"
        )


class SealedBlock(NamedTuple):
    """Where the parts of a block stand in its segment, and the first 16 bytes of their SHA-256.

    Parts are the four frames and the heads, which are stems and salts.
    """

    offset: int
    lengths: tuple[int, ...]
    hashes: tuple[bytes, ...]

    def part(self, number: int) -> tuple[int, int]:
        """(offset, length) of a frame, or of the heads (number 4)."""
        offset = self.offset + sum(self.lengths[:number]) + len(_NEWLINE) * number
        if number < FRAMES:
            return offset, self.lengths[number]
        return offset + _FRAME_HEAD.size, self.lengths[FRAMES] + _SALTS_BYTES

    @property
    def length(self) -> int:
        """Of all parts together, with what stands between them."""
        offset, length = self.part(FRAMES)
        return offset + length - self.offset

    def parts(self, whole: bytes) -> list[bytes]:
        """The four frames, and the heads, of the `length` bytes at `offset`."""
        places = [self.part(number) for number in range(FRAMES + 1)]
        return [whole[at - self.offset : at - self.offset + length] for at, length in places]

    def is_whole(self, number: int, part: bytes) -> bool:
        """Whether the part is what was sealed."""
        return sha256(part).digest()[:_HASH_BYTES] == self.hashes[number]

    def pack(self) -> bytes:
        return _PLACE.pack(self.offset, *self.lengths) + b"".join(self.hashes)

    @classmethod
    def unpack(cls, raw: bytes) -> SealedBlock:
        """What `pack` made. Raises `MalformedBlockError`."""
        if len(raw) != _PLACE.size + _HASH_BYTES * (FRAMES + 1):
            raise MalformedBlockError("expected where a sealed block stands")
        offset, *lengths = _PLACE.unpack_from(raw)
        if max(lengths) > _MAX_PART_BYTES:
            raise MalformedBlockError(f"expected parts of a sealed block, got {max(lengths)} bytes")
        hashes = [raw[at : at + _HASH_BYTES] for at in range(_PLACE.size, len(raw), _HASH_BYTES)]
        return cls(offset, tuple(lengths), tuple(hashes))


class BlockTimes(NamedTuple):
    """What a segment's directory says of a block beside where it is."""

    since: str
    until: str
    doubtful: bytes | None
    root: Hash


def segment_name(first: int, last: int, digest: bytes) -> str:
    """By what it holds: the same entries in the same bytes have one name."""
    return f"{first:016d}-{last:016d}-{digest[:8].hex()}.seg"


def format_header(origin: str, first: int, last: int) -> bytes:
    """The beginning of a segment's file."""
    return _skippable(
        _HEADER, _json({"format": FORMAT, "origin": origin, "first": first, "last": last})
    )


def format_block(
    offset: int, frames: Sequence[bytes], stems: bytes, salts: bytes
) -> tuple[bytes, SealedBlock]:
    """The bytes of a whole block that is to stand at `offset`, and what is kept of it."""
    heads = stems + salts
    raw = b"".join([*(frame + _NEWLINE for frame in frames), _skippable(_HEADS, heads)])
    hashes = tuple(sha256(part).digest()[:_HASH_BYTES] for part in (*frames, heads))
    return raw, SealedBlock(offset, (*map(len, frames), len(stems)), hashes)


def format_end(
    offset: int,
    blocks: Sequence[tuple[SealedBlock, BlockTimes]],
    pages: Sequence[bytes],
) -> bytes:
    """What stands behind the blocks, at `offset`: the index's pages, the directory, its place."""
    postings = _skippable(_POSTINGS, b"".join(pages))
    directory = _json(
        {
            "blocks": [
                [
                    block.offset,
                    *block.lengths,
                    times.since,
                    times.until,
                    times.doubtful.hex() if times.doubtful is not None else None,
                    b64encode(times.root).decode(),
                ]
                for block, times in blocks
            ],
            "pages": [len(page) for page in pages],
        }
    )
    packed = zstandard.ZstdCompressor(level=3, write_checksum=False).compress(directory)
    trailer = _TRAILER.pack(offset + len(postings), _ENDS)
    return postings + _skippable(_DIRECTORY, packed) + _skippable(_END, trailer)


def split_heads(heads: bytes) -> tuple[list[bytes], list[bytes]]:
    """The stems and salts of a block, from its heads. Raises `MalformedBlockError`."""
    if len(heads) < _SALTS_BYTES:
        raise MalformedBlockError(f"expected {_SALTS_BYTES} bytes of salts, came {len(heads)}")
    stems, salts = heads[:-_SALTS_BYTES], heads[-_SALTS_BYTES:]
    return decode_stems(stems, BLOCK_ENTRIES), split_salts(salts, BLOCK_ENTRIES)


def decode_parts(parts: Sequence[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Stems, salts and bodies of a block. Raises `MalformedBlockError`."""
    bodies = [
        body for frame in parts[:FRAMES] for body in decode_frame(frame, BLOCK_ENTRIES // FRAMES)
    ]
    return *split_heads(parts[FRAMES]), bodies


def leaves_of(parts: Sequence[bytes]) -> list[Hash]:
    """The leaf hashes of a block's entries. Raises `MalformedBlockError`."""
    return list(map(leaf_of, *decode_parts(parts)))


def root_of_block(parts: Sequence[bytes]) -> Hash:
    """The hash of a block's 256 leaves, which is one hash of a tile of level 1."""
    return root_of(leaves_of(parts))


def _skippable(kind: int, payload: bytes) -> bytes:
    return _FRAME_HEAD.pack(_MAGIC + kind, len(payload)) + payload


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
