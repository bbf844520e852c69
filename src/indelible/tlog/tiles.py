"""Tiles: which ones a tree of a given size has, and where each is found (c2sp.org/tlog-tiles).

A tile is a row of up to 256 hashes. At level 0 they are leaf hashes; each hash of level L + 1 is
the root of one full tile of level L. A full tile never changes; a partial one is replaced by a
wider one when the tree grows, whose first hashes are the same.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from indelible.errors import VerificationError
from indelible.tlog.hashing import HASH_BYTES, MAX_SIZE, Index, Size
from indelible.tlog.strict_text import shorten

TILE_HEIGHT = 8
FULL_WIDTH = 1 << TILE_HEIGHT
FULL_TILE_BYTES = FULL_WIDTH * HASH_BYTES
MAX_LEVEL = 63


class MalformedTileError(VerificationError):
    """A tile or a tile's path is not what the tree's size says that it must be."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The coordinates of one tile: the `n`-th of its level, with `width` hashes (256 when full)."""

    level: int
    n: int
    width: int = FULL_WIDTH

    @property
    def is_full(self) -> bool:
        return self.width == FULL_WIDTH


class TileReader(Protocol):
    """Where proofs and restored trees read hashes from; a store supplies it."""

    def read_tile(self, tile: Tile) -> bytes:
        """Return the first `tile.width` hashes of that tile: exactly 32 * `tile.width` bytes.

        A store may have kept only a wider tile with the same level and n (a tile only grows): it
        returns the first hashes of that. A tile that is not there raises an `IndelibleError` of
        the store's. What comes back is not trusted; another length is a `MalformedTileError`.
        """
        ...


def tile_of_tree(level: int, n: int, size: Size) -> Tile:
    """The `n`-th tile of `level` as the tree of `size` has it: full, or the right edge."""
    width = min(FULL_WIDTH, (size >> (TILE_HEIGHT * level)) - n * FULL_WIDTH)
    if width <= 0:
        raise MalformedTileError(f"expected a tile of the tree of size {size}, came {level}/{n}")
    return Tile(level, n, width)


def new_tiles(old: Size, new: Size) -> Iterator[Tile]:
    """The tiles that the tree of size `new` has and the tree of size `old` had not.

    Level by level and left to right, full tiles before the partial one. Partial tiles of sizes in
    between are left out: nobody can ask for a size that was never signed.
    """
    level = 0
    while (new_width := new >> (TILE_HEIGHT * level)) > 0:
        old_width = old >> (TILE_HEIGHT * level)
        if new_width > old_width:
            first, last = old_width >> TILE_HEIGHT, new_width >> TILE_HEIGHT
            for n in range(first, last):
                yield Tile(level, n)
            if partial := new_width % FULL_WIDTH:
                yield Tile(level, last, partial)
        level += 1


def read_exact(reader: TileReader, tile: Tile) -> bytes:
    """The bytes of `tile`; raises `MalformedTileError` when the reader returns another length."""
    row = reader.read_tile(tile)
    check_tile(tile, row)
    return row


def check_tile(tile: Tile, row: bytes) -> None:
    """Raise `MalformedTileError` unless `row` has the exact length of `tile`."""
    if len(row) != tile.width * HASH_BYTES:
        raise MalformedTileError(
            f"{tile_path(tile)}: expected {tile.width * HASH_BYTES} bytes, came {len(row)}"
        )


def tile_path(tile: Tile) -> str:
    """`tile/0/x001/x234/067`, with `.p/<width>` behind it when partial."""
    return f"tile/{tile.level}/{_format_place(tile.n, tile.width)}"


def bundle_path(n: int, width: int = FULL_WIDTH) -> str:
    """The path of the `n`-th entry bundle, which has the entries of the level 0 tile `n`."""
    return f"tile/entries/{_format_place(n, width)}"


def parse_tile_path(path: str) -> Tile:
    """The tile of a path in its one spelling; raises `MalformedTileError` for any other text."""
    if match := _TILE_PATH.fullmatch(path):
        tile = Tile(int(match["level"]), *_parse_place(match))
        if tile.level <= MAX_LEVEL and _exists(tile.n, tile.width) and tile_path(tile) == path:
            return tile
    raise MalformedTileError(
        f"tile path: expected tile/<level>/<n>[.p/<width>], came {shorten(path)}"
    )


def parse_bundle_path(path: str) -> tuple[int, int]:
    """(n, width) of an entry bundle's path; raises `MalformedTileError` for any other text."""
    if match := _BUNDLE_PATH.fullmatch(path):
        n, width = _parse_place(match)
        if _exists(n, width) and bundle_path(n, width) == path:
            return n, width
    raise MalformedTileError(
        f"bundle path: expected tile/entries/<n>[.p/<width>], came {shorten(path)}"
    )


def bundle_of_index(index: Index, size: Size) -> tuple[int, int, int]:
    """(n, width, place in it) of the bundle that holds `index` in the tree of `size`.

    Raises `MalformedTileError` when the tree has no such index.
    """
    if not 0 <= index < size:
        raise MalformedTileError(f"expected an index of the tree of size {size}, came {index}")
    tile = tile_of_tree(0, index // FULL_WIDTH, size)
    return tile.n, tile.width, index % FULL_WIDTH


# `[0-9]` and not `\d`: that would let in the digits of every other script.
_PLACE = r"(?P<n>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
_TILE_PATH = re.compile(r"tile/(?P<level>[0-9]{1,2})/" + _PLACE)
_BUNDLE_PATH = re.compile(r"tile/entries/" + _PLACE)


def _format_place(n: int, width: int) -> str:
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03d}")
    suffix = "" if width == FULL_WIDTH else f".p/{width}"
    return "/".join(reversed(groups)) + suffix


def _parse_place(match: re.Match[str]) -> tuple[int, int]:
    width = int(match["width"]) if match["width"] else FULL_WIDTH
    return int(match["n"].replace("x", "").replace("/", "")), width


def _exists(n: int, width: int) -> bool:
    """Whether a tree can have it; `.p/256`, a second spelling, is refused by formatting again."""
    return width <= FULL_WIDTH and n * FULL_WIDTH + width <= MAX_SIZE
