"""Do the tiles of a tree lead to its root? Read one by one, wherever they are kept.

A tile of level 0 covers 256 entries, one of level 1 65,536, and so on: each full tile hashes to one
hash of the tile above it, and what no full tile holds, to the root.
"""

from __future__ import annotations

from collections.abc import Iterator

from indelible.errors import VerificationError
from indelible.integrity.faults import TileMismatchError, TrailFaultError
from indelible.tlog import (
    FULL_WIDTH,
    HASH_BYTES,
    TILE_HEIGHT,
    Hash,
    RightEdge,
    Size,
    Tile,
    TileReader,
    root_of,
    tile_of_tree,
)


def first_entry(tile: Tile) -> int:
    """The index of the first entry that the tile covers."""
    return tile.n << (TILE_HEIGHT * (tile.level + 1))


def width_in_tree(tile: Tile, size: int) -> int:
    """How many hashes the tree of `size` has in that tile: 0 where it has no such tile."""
    return max(0, min(FULL_WIDTH, (size >> (TILE_HEIGHT * tile.level)) - tile.n * FULL_WIDTH))


def levels(size: int) -> int:
    """How many levels of tiles the tree of `size` has."""
    return -(-size.bit_length() // TILE_HEIGHT)


def check_level(
    reader: TileReader, size: Size, level: int, since: int = 0
) -> Iterator[tuple[Tile, bytes]]:
    """The tiles of a level, left to right, from the one that covers the entry at `since` on.

    Each full one is what the tile above it says, else `TileMismatchError` is raised; that one has
    to be checked itself, and a partial one is `check_right_edge`'s. Reads each tile once.
    """
    width = size >> (TILE_HEIGHT * level)
    above = b""
    for n in range(since >> (TILE_HEIGHT * (level + 1)), -(-width // FULL_WIDTH)):
        tile = tile_of_tree(level, n, size)
        row = reader.read_tile(tile)
        if tile.is_full:
            place = n % FULL_WIDTH * HASH_BYTES
            if not place or not above:
                above = reader.read_tile(tile_of_tree(level + 1, n // FULL_WIDTH, size))
            if root_of(split_row(row)) != above[place : place + HASH_BYTES]:
                raise TileMismatchError(
                    first_entry(tile), f"tile {level}/{n} doesn't lead to the signed root"
                )
        yield tile, row


def check_right_edge(reader: TileReader, size: Size, root: Hash) -> None:
    """Return only if the last tile of each level leads to `root`; else `TileMismatchError`."""
    try:
        RightEdge.restore(reader, size, root)
    except TrailFaultError:
        raise  # says more: which tile it is
    except VerificationError:
        raise TileMismatchError(
            size - size % FULL_WIDTH,  # the first entry that no full tile covers
            "the tiles at the right edge of the tree don't lead to the signed root",
        ) from None


def split_row(row: bytes) -> list[Hash]:
    """The hashes of a tile."""
    return [Hash(row[at : at + HASH_BYTES]) for at in range(0, len(row), HASH_BYTES)]
