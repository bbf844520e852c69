"""Inclusion and consistency proofs: building them from tiles, verifying them from hashes alone.

Built as in RFC 6962 sections 2.1.1 and 2.1.2, verified as in RFC 9162 sections 2.1.3.2 and 2.1.4.2.

A proof says nothing about the size it is given: size and root belong together, and must come from
one signed checkpoint.
"""

from collections.abc import Sequence
from functools import lru_cache

from indelible.errors import VerificationError
from indelible.tlog.frontier import fold_peaks, root_of
from indelible.tlog.hashing import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, Hash, Index, Size, node_hash
from indelible.tlog.tiles import FULL_WIDTH, TILE_HEIGHT, TileReader, read_exact, tile_of_tree

MAX_PROOF_HASHES = 63
_KEPT_TILES = 16
_KEPT_ROOTS = 1_024


class InclusionProofError(VerificationError):
    """No proof that the entry is in the tree at that index."""


class ConsistencyProofError(VerificationError):
    """No proof that the newer tree holds the older one unchanged; perhaps history was rewritten."""


def inclusion_proof(reader: TileReader, index: Index, size: Size) -> tuple[Hash, ...]:
    """The hashes that lead from the leaf at `index` to the root of the tree of `size`.

    From the leaf's sibling up to the root's child. Reads at most two tiles a level. Raises
    `InclusionProofError` when the tree has no such index.
    """
    return InclusionProver(reader, size).prove(index)


class InclusionProver:
    """Inclusion proofs in the tree of `size`: of indexes in order, what they share is worked out
    once. Memory is bounded."""

    def __init__(self, reader: TileReader, size: Size) -> None:
        self._size = size
        self._subtrees = _SubtreeReader(reader, size)

    def prove(self, index: Index) -> tuple[Hash, ...]:
        """See `inclusion_proof`."""
        _check_index(index, self._size)
        siblings: list[Hash] = []
        start, end = 0, int(self._size)
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                siblings.append(self._subtrees.root(middle, end))
                end = middle
            else:
                siblings.append(self._subtrees.root(start, middle))
                start = middle
        return tuple(reversed(siblings))


def consistency_proof(reader: TileReader, old: Size, new: Size) -> tuple[Hash, ...]:
    """The hashes that prove that the tree of size `new` begins with the tree of size `old`.

    None when `old` is 0 or equals `new`. Reads at most two tiles a level. Raises
    `ConsistencyProofError` when `old` is larger than `new`.
    """
    _check_sizes(old, new)
    if old in (0, new):
        return ()
    subtrees = _SubtreeReader(reader, new)
    hashes: list[Hash] = []
    start, end = 0, int(new)
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            hashes.append(subtrees.root(middle, end))
            end = middle
        else:
            hashes.append(subtrees.root(start, middle))
            start = middle
    # Where the walk never turned right, the old tree is one subtree whose root the verifier has.
    if start:
        hashes.append(subtrees.root(start, end))
    return tuple(reversed(hashes))


def verify_inclusion(
    *, leaf: Hash, index: Index, size: Size, root: Hash, proof: Sequence[Hash]
) -> None:
    """Return only if `leaf` is at `index` in the tree of `size` with `root`.

    Otherwise raises `InclusionProofError`.
    """
    _check_index(index, size)
    node, last = int(index), size - 1
    computed = leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_BYTES:
            break
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    else:
        if last == 0 and computed == root:
            return
    raise InclusionProofError(
        f"inclusion of index {index} in the tree of size {size}: expected a proof that leads to "
        f"root {root.hex()}, came {len(proof)} hashes that don't"
    )


def verify_consistency(
    *, old: Size, old_root: Hash, new: Size, new_root: Hash, proof: Sequence[Hash]
) -> None:
    """Return only if the tree (`new`, `new_root`) begins with all of (`old`, `old_root`).

    Otherwise raises `ConsistencyProofError`. The empty tree begins every tree, without a proof.
    """
    _check_sizes(old, new)
    if any(len(each) != HASH_BYTES for each in proof):
        holds = False
    elif old == 0:
        holds = not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    elif old == new:
        holds = not proof and old_root == new_root
    else:
        # Where the old tree is one complete subtree, its root starts the proof and isn't sent.
        is_complete = old & (old - 1) == 0
        path = (old_root, *proof) if is_complete else tuple(proof)
        holds = bool(proof) and _roots_of_path(path, old, new) == (old_root, new_root)
    if not holds:
        raise ConsistencyProofError(
            f"consistency of size {old} (root {old_root.hex()}) with size {new} "
            f"(root {new_root.hex()}): expected a proof, came {len(proof)} hashes that prove "
            "nothing: one of the two trees is not of this trail, or its history was rewritten"
        )


def _roots_of_path(path: Sequence[Hash], old: Size, new: Size) -> tuple[Hash, Hash] | None:
    """Both roots that a path leads to (RFC 9162 2.1.4.2), or None if its length is wrong."""
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_root = new_root = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            old_root = node_hash(sibling, old_root)
            new_root = node_hash(sibling, new_root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_root = node_hash(new_root, sibling)
        node, last = node >> 1, last >> 1
    return (old_root, new_root) if last == 0 else None


class _SubtreeReader:
    """The roots of parts of one tree, from its tiles; what was found last is kept."""

    def __init__(self, reader: TileReader, size: Size) -> None:
        self._reader = reader
        self._size = size
        self._row = lru_cache(_KEPT_TILES)(self._read_row)
        self._complete_root = lru_cache(_KEPT_ROOTS)(self._find_complete_root)

    def root(self, start: int, end: int) -> Hash:
        """The root over the leaves from `start` to before `end`, as RFC 6962 splits them off."""
        peaks: list[Hash] = []
        while start < end:
            height = (end - start).bit_length() - 1
            peaks.append(self._complete_root(height, start >> height))
            start += 1 << height
        return fold_peaks(peaks)

    def _find_complete_root(self, height: int, place: int) -> Hash:
        level, rise = divmod(height, TILE_HEIGHT)
        n, first = divmod(place << rise, FULL_WIDTH)
        row = self._row(level, n)
        ends = range(first * HASH_BYTES, (first + (1 << rise)) * HASH_BYTES, HASH_BYTES)
        return root_of([Hash(row[at : at + HASH_BYTES]) for at in ends])

    def _read_row(self, level: int, n: int) -> bytes:
        return read_exact(self._reader, tile_of_tree(level, n, self._size))


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1


def _check_index(index: Index, size: Size) -> None:
    if not 0 <= index < size <= MAX_SIZE:
        raise InclusionProofError(
            f"inclusion: expected an index of the tree of size {size}, came {index}"
        )


def _check_sizes(old: Size, new: Size) -> None:
    if not 0 <= old <= new <= MAX_SIZE:
        raise ConsistencyProofError(
            f"consistency: expected old size <= new size, came {old}, {new}"
        )
