"""The frontier of an append-only tree: the few hashes that its root and its growth need."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from indelible.errors import VerificationError
from indelible.tlog.hashing import EMPTY_ROOT, HASH_BYTES, Hash, Size, node_hash


class MalformedFrontierError(VerificationError):
    """What was offered as the frontier or the leaves of a tree can't be that."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the complete subtrees that a tree of `size` splits into, the largest first.

    There is one for each bit set in `size`. A value: growing gives a new frontier and leaves this
    one as it was, so that a batch whose transaction fails is simply forgotten.
    """

    size: Size = Size(0)  # noqa: RUF009 - a NewType returns its argument
    peaks: tuple[Hash, ...] = ()

    def __post_init__(self) -> None:
        expected = self.size.bit_count()
        if self.size < 0 or len(self.peaks) != expected or not _are_hashes(self.peaks):
            raise MalformedFrontierError(
                f"frontier of size {self.size}: expected {expected} hashes of {HASH_BYTES} bytes, "
                f"came lengths {[len(peak) for peak in self.peaks]}"
            )

    @property
    def root(self) -> Hash:
        """The root of the tree (RFC 6962 section 2.1)."""
        return fold_peaks(self.peaks)

    def append(self, leaf_hashes: Sequence[Hash]) -> "Frontier":
        """The frontier after `leaf_hashes` have been appended in their order."""
        return self.grow(leaf_hashes)[0]

    def grow(self, leaf_hashes: Sequence[Hash]) -> tuple["Frontier", list[list[Hash]]]:
        """The frontier after `leaf_hashes`, and all subtree roots that they completed.

        The second value's item h has the roots of the subtrees of 2^h leaves that became complete,
        left to right; item 0 is `leaf_hashes` again. Raises `MalformedFrontierError` for a leaf
        hash that isn't 32 bytes.
        """
        if not _are_hashes(leaf_hashes):
            raise MalformedFrontierError(f"leaf hashes: expected {HASH_BYTES} bytes each")
        # Height by height rather than leaf by leaf: one list comprehension a height costs a third
        # of a stack that is pushed and popped for every leaf, for the same number of hashes.
        waiting = self._by_height()
        completed: list[list[Hash]] = []
        row = list(leaf_hashes)
        while row:
            height = len(completed)
            completed.append(row)
            if (left := waiting.pop(height, None)) is not None:
                row = [left, *row]
            if len(row) % 2:
                waiting[height] = row[-1]
            row = _hash_pairs(row)
        size = Size(self.size + len(leaf_hashes))
        return Frontier(size, tuple(waiting[h] for h in sorted(waiting, reverse=True))), completed

    def _by_height(self) -> dict[int, Hash]:
        heights = [h for h in range(self.size.bit_length()) if self.size >> h & 1]
        return dict(zip(reversed(heights), self.peaks, strict=True))


def fold_peaks(peaks: Sequence[Hash]) -> Hash:
    """The root over complete subtrees that stand side by side, each smaller than the one before."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def root_of(leaf_hashes: Sequence[Hash]) -> Hash:
    """The root of the tree that has exactly these leaves."""
    return Frontier().append(leaf_hashes).root


def _hash_pairs(row: list[Hash]) -> list[Hash]:
    """The parents of a row, left to right; the last of an odd number has none yet."""
    rights = iter(row)
    return [
        Hash(sha256(b"\x01" + left + right).digest())
        for left, right in zip(rights, rights, strict=False)
    ]


def _are_hashes(hashes: Sequence[bytes]) -> bool:
    return all(length == HASH_BYTES for length in set(map(len, hashes)))
