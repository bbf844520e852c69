"""The right edge of a tree of tiles: what must be remembered to make the next tiles.

A sequencer holds one `RightEdge`, appends a batch of leaf hashes to it, and stores the tiles that
it gets back in the transaction that stores the entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from indelible.tlog.frontier import Frontier
from indelible.tlog.hashing import HASH_BYTES, Hash, Size
from indelible.tlog.tiles import (
    FULL_TILE_BYTES,
    FULL_WIDTH,
    TILE_HEIGHT,
    MalformedTileError,
    Tile,
    TileReader,
    read_exact,
    tile_of_tree,
)


@dataclass(frozen=True, slots=True)
class RightEdge:
    """The partial tile of each level, at most 8 KiB, and the frontier that follows from them.

    A value: `append` leaves it as it was. Make one with `RightEdge()` for the empty tree, and with
    `RightEdge.restore` for any other.
    """

    frontier: Frontier = field(default_factory=Frontier)
    rows: tuple[bytes, ...] = ()
    """For each level its partial tile's bytes: b"" where the level ends with a full tile."""

    @property
    def size(self) -> Size:
        return self.frontier.size

    @property
    def root(self) -> Hash:
        return self.frontier.root

    @classmethod
    def restore(cls, reader: TileReader, size: Size, root: Hash) -> "RightEdge":
        """The right edge of the tree of `size` whose root is `root`, from its stored partial tiles.

        Reads at most one tile a level. Raises `MalformedTileError` when the tiles don't hash to
        `root`, which the caller has from a checkpoint: nothing may be appended to such a tree.
        """
        rows: list[bytes] = []
        while (row_width := size >> (TILE_HEIGHT * len(rows))) > 0:
            has_partial = row_width % FULL_WIDTH
            level, n = len(rows), row_width // FULL_WIDTH
            rows.append(read_exact(reader, tile_of_tree(level, n, size)) if has_partial else b"")
        peaks = [peak for row in reversed(rows) for peak in _peaks_of_row(row)]
        edge = cls(Frontier(size, tuple(peaks)), tuple(rows))
        if edge.root != root:
            raise MalformedTileError(
                f"right edge of the tree of size {size}: "
                f"expected root {root.hex()}, came {edge.root.hex()}"
            )
        return edge

    def append(self, leaf_hashes: Sequence[Hash]) -> "Growth":
        """The edge after `leaf_hashes`, with every tile that is new or wider than before.

        The tiles are those of `new_tiles(old size, new size)`, in its order.
        """
        frontier, completed = self.frontier.grow(leaf_hashes)
        tiles: list[tuple[Tile, bytes]] = []
        rows = list(self.rows)
        for level, hashes in enumerate(completed[::TILE_HEIGHT]):
            if level == len(rows):
                rows.append(b"")
            row = rows[level] + b"".join(hashes)
            n = self.size >> (TILE_HEIGHT * (level + 1))
            while len(row) >= FULL_TILE_BYTES:
                tiles.append((Tile(level, n), row[:FULL_TILE_BYTES]))
                row = row[FULL_TILE_BYTES:]
                n += 1
            if row:
                tiles.append((Tile(level, n, len(row) // HASH_BYTES), row))
            rows[level] = row
        return Growth(edge=RightEdge(frontier, tuple(rows)), tiles=tuple(tiles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What one batch did to a tree."""

    edge: RightEdge
    tiles: tuple[tuple[Tile, bytes], ...] = field(repr=False)


def _peaks_of_row(row: bytes) -> tuple[Hash, ...]:
    hashes = [Hash(row[at : at + HASH_BYTES]) for at in range(0, len(row), HASH_BYTES)]
    return Frontier().append(hashes).peaks
