"""What a trail has for others to read, and at which path: c2sp.org/tlog-tiles, and bodies beside.

Pure. Entry bundles hold heads, which tell nothing of what happened; bodies stand in bundles of the
same numbers under `bodies/`, for whoever may read them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from indelible.errors import QueryError, VerificationError
from indelible.store.entry import SALT_BYTES
from indelible.tlog import (
    FULL_WIDTH,
    HASH_BYTES,
    MAX_ENTRY_BYTES,
    Size,
    Tile,
    VerifierKey,
    bundle_path,
    new_tiles,
    parse_bundle_path,
    parse_tile_path,
    tile_path,
)

CHECKPOINT_PATH: Final = "checkpoint"
COSIGNED: Final = "cosigned"
"""Under it is the last checkpoint that each witness cosigned."""
ROTATIONS_PATH: Final = "rotations"
"""The rotations of the trail's key, where there are any: `tlog.format_rotations`."""
_LENGTH_BYTES: Final = 2
_BUNDLES: Final = "tile/entries/"
_BODIES: Final = "bodies/"


class NotPublishedError(QueryError):
    """There is nothing at this path of a trail, or not yet."""


class MalformedBodiesError(VerificationError):
    """Bytes that aren't the salts and bodies of so many entries."""


class Kind(enum.Enum):
    """Of what a path is."""

    TILE = "tile"
    """Hashes of the tree."""
    HEADS = "heads"
    """An entry bundle: the heads of the entries under a tile of level 0."""
    BODIES = "bodies"
    """The salts and bodies of the entries under a tile of level 0."""


class Resource(NamedTuple):
    """A tile of the tree; or what the entries are that a tile of level 0 stands for."""

    kind: Kind
    tile: Tile


def format_path(resource: Resource) -> str:
    """Where it stands, without a slash before it."""
    kind, tile = resource
    if kind is Kind.TILE:
        return tile_path(tile)
    path = bundle_path(tile.n, tile.width)
    return path if kind is Kind.HEADS else _BODIES + path.removeprefix(_BUNDLES)


def cosigned_path(witness: VerifierKey) -> str:
    """Where the last checkpoint stands that this witness cosigned."""
    return f"{COSIGNED}/{sha256(str(witness).encode()).hexdigest()}"


def parse_path(path: str) -> Resource:
    """What stands at `path`, in its one spelling; raises `NotPublishedError` for any other text."""
    try:
        if path.startswith(_BUNDLES):
            return Resource(Kind.HEADS, Tile(0, *parse_bundle_path(path)))
        if path.startswith(_BODIES):
            place = _BUNDLES + path.removeprefix(_BODIES)
            return Resource(Kind.BODIES, Tile(0, *parse_bundle_path(place)))
        return Resource(Kind.TILE, parse_tile_path(path))
    except VerificationError:
        raise NotPublishedError(
            "expected checkpoint, tile/<level>/<n>, tile/entries/<n> or bodies/<n>, the last three "
            "with .p/<width> behind them where they are partial"
        ) from None


def new_resources(old: Size, new: Size) -> Iterator[Resource]:
    """What the tree of size `new` has for everybody that the tree of size `old` had not.

    Each entry bundle before its tile; bodies are left out.
    """
    for tile in new_tiles(old, new):
        if tile.level == 0:
            yield Resource(Kind.HEADS, tile)
        yield Resource(Kind.TILE, tile)


def most_bytes(resource: Resource) -> int:
    """How long it may be at most."""
    kind, tile = resource
    if kind is Kind.TILE:
        return tile.width * HASH_BYTES
    salt_bytes = SALT_BYTES if kind is Kind.BODIES else 0
    return tile.width * (salt_bytes + _LENGTH_BYTES + MAX_ENTRY_BYTES)


def encode_bodies(bodies: Sequence[tuple[bytes, bytes]]) -> bytes:
    """(salt, body) of 1 to 256 entries: `salt ‖ u16be(len) ‖ body`, one behind the other."""
    if not 1 <= len(bodies) <= FULL_WIDTH:
        raise MalformedBodiesError(f"expected 1 to {FULL_WIDTH} bodies, came {len(bodies)}")
    parts: list[bytes] = []
    for place, (salt, body) in enumerate(bodies):
        if len(salt) != SALT_BYTES or len(body) > MAX_ENTRY_BYTES:
            raise MalformedBodiesError(
                f"body {place}: expected {SALT_BYTES} bytes of salt and at most {MAX_ENTRY_BYTES} "
                f"of body, came {len(salt)} and {len(body)}"
            )
        parts += (salt, len(body).to_bytes(_LENGTH_BYTES, "big"), body)
    return b"".join(parts)


def parse_bodies(raw: bytes, width: int) -> list[tuple[bytes, bytes]]:
    """(salt, body) of exactly `width` entries; raises `MalformedBodiesError` for other bytes."""
    bodies: list[tuple[bytes, bytes]] = []
    end = 0
    for place in range(width):
        salt_end = end + SALT_BYTES
        start = salt_end + _LENGTH_BYTES
        if start > len(raw):
            raise MalformedBodiesError(
                f"expected {width} bodies, came {place} and {len(raw) - end} bytes"
            )
        stop = start + int.from_bytes(raw[salt_end:start], "big")
        if stop > len(raw):
            raise MalformedBodiesError(
                f"body {place}: expected {stop - start} bytes, came {len(raw) - start}"
            )
        bodies.append((raw[end:salt_end], raw[start:stop]))
        end = stop
    if end != len(raw):
        raise MalformedBodiesError(
            f"expected the end after {width} bodies, came {len(raw) - end} more bytes"
        )
    return bodies
