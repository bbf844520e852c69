"""Small trees to prove things about: their leaves, and their tiles in memory."""

from collections.abc import Sequence

from indelible.errors import IndelibleError
from indelible.tlog import Hash, RightEdge, Tile, leaf_hash


class TileNotFoundError(IndelibleError):
    """The memory holds no such tile."""


class MemoryTiles:
    """A `TileReader` that keeps, as a store does, only the widest row of each tile."""

    def __init__(self, leaf_hashes: Sequence[Hash] = ()) -> None:
        self.rows: dict[tuple[int, int], bytes] = {}
        self.reads: list[Tile] = []
        self.edge = RightEdge()
        self.append(leaf_hashes)

    def append(self, leaf_hashes: Sequence[Hash]) -> None:
        growth = self.edge.append(leaf_hashes)
        self.edge = growth.edge
        for tile, row in growth.tiles:
            self.rows[tile.level, tile.n] = row

    def read_tile(self, tile: Tile) -> bytes:
        self.reads.append(tile)
        row = self.rows.get((tile.level, tile.n))
        if row is None:
            raise TileNotFoundError(f"{tile}")
        return row[: tile.width * 32]


def leaves(count: int) -> list[Hash]:
    """The leaf hashes of `count` entries that are all different."""
    return [leaf_hash(b"entry %d" % n) for n in range(count)]
