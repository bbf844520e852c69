"""Inclusion and consistency proofs: complete, sound against every single change, cheap to build."""

from collections.abc import Iterator, Sequence

import pymerkle
import pytest

from indelible.tlog import (
    EMPTY_ROOT,
    ConsistencyProofError,
    Hash,
    InclusionProofError,
    InclusionProver,
    Index,
    MalformedTileError,
    Size,
    Tile,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)

from .trees import MemoryTiles, leaves

LARGEST = 70
LEAVES = leaves(LARGEST)
ROOTS = [root_of(LEAVES[:size]) for size in range(LARGEST + 1)]
TREES = [MemoryTiles(LEAVES[:size]) for size in range(LARGEST + 1)]


def test_every_entry_of_every_small_tree_is_provably_in_it_and_nowhere_else() -> None:
    """All sizes to 70, all indexes: the proof holds, and fails when any one thing is changed."""
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = inclusion_proof(TREES[size], Index(index), Size(size))
            assert includes(index, index, size, ROOTS[size], proof)

            for changed in mutations(proof):
                assert not includes(index, index, size, ROOTS[size], changed)
            for other in range(size):
                assert other == index or not includes(index, other, size, ROOTS[size], proof)
                assert other == index or not includes(other, index, size, ROOTS[size], proof)
            for other in range(index + 1, LARGEST + 1):
                assert other == size or not includes(index, index, other, ROOTS[other], proof)


def test_every_small_tree_provably_begins_with_every_smaller_one_and_no_other() -> None:
    """All old <= new to 70: the proof holds, and fails when any one thing is changed."""
    for new in range(LARGEST + 1):
        for old in range(new + 1):
            proof = consistency_proof(TREES[new], Size(old), Size(new))
            assert is_consistent(old, ROOTS[old], new, ROOTS[new], proof)

            for changed in mutations(proof):
                assert not is_consistent(old, ROOTS[old], new, ROOTS[new], changed)
            for other in range(LARGEST + 1):
                if other != old:
                    assert not is_consistent(old, ROOTS[other], new, ROOTS[new], proof)
                # Every tree begins with the empty one: from size 0 any new root follows.
                if other != new and old > 0:
                    assert not is_consistent(old, ROOTS[old], new, ROOTS[other], proof)
                if other != old and 0 < other < new:
                    assert not is_consistent(other, ROOTS[other], new, ROOTS[new], proof)
                if other != new and other > old > 0:
                    assert not is_consistent(old, ROOTS[old], other, ROOTS[other], proof)


def test_the_empty_tree_begins_every_tree_and_only_it_has_its_root() -> None:
    """From size 0 no proof is needed; a wrong empty root or a superfluous hash is refused."""
    assert is_consistent(0, EMPTY_ROOT, 5, ROOTS[5], ())
    assert not is_consistent(0, ROOTS[1], 5, ROOTS[5], ())
    assert not is_consistent(0, EMPTY_ROOT, 0, ROOTS[5], ())
    assert not is_consistent(0, EMPTY_ROOT, 5, ROOTS[5], (ROOTS[1],))


def test_a_rewritten_entry_is_named_as_such() -> None:
    """Whoever reads the error learns which sizes don't fit, and what that means."""
    rewritten = [*LEAVES[:3], Hash(bytes(32)), *LEAVES[4:10]]
    proof = consistency_proof(MemoryTiles(rewritten), Size(7), Size(10))

    with pytest.raises(ConsistencyProofError, match=r"size 7 .* size 10 .* history was rewritten"):
        verify_consistency(
            old=Size(7), old_root=ROOTS[7], new=Size(10), new_root=root_of(rewritten), proof=proof
        )


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (0, 2**63)])
def test_no_proof_is_built_or_accepted_for_an_index_outside_the_tree(index: int, size: int) -> None:
    """There is nothing to prove about an entry that the tree hasn't."""
    with pytest.raises(InclusionProofError, match=f"tree of size {size}, came {index}"):
        inclusion_proof(TREES[5], Index(index), Size(size))
    with pytest.raises(InclusionProofError, match=f"tree of size {size}, came {index}"):
        verify_inclusion(
            leaf=LEAVES[0], index=Index(index), size=Size(size), root=ROOTS[5], proof=()
        )


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5)])
def test_no_proof_is_built_or_accepted_for_a_tree_that_shrinks(old: int, new: int) -> None:
    """A newer tree that is smaller is no growth."""
    with pytest.raises(ConsistencyProofError, match=f"came {old}, {new}"):
        consistency_proof(TREES[5], Size(old), Size(new))
    with pytest.raises(ConsistencyProofError, match=f"came {old}, {new}"):
        verify_consistency(
            old=Size(old), old_root=ROOTS[5], new=Size(new), new_root=ROOTS[5], proof=()
        )


def test_proofs_of_a_large_tree_read_few_tiles() -> None:
    """A proof from 200,000 entries reads at most two tiles a level, and holds."""
    size, tiles = Size(200_000), MemoryTiles(leaves(200_000))
    for index in (0, 255, 256, 65_535, 65_536, 131_071, 196_607, 199_999):
        tiles.reads.clear()
        proof = inclusion_proof(tiles, Index(index), size)
        assert len(tiles.reads) == len(set(tiles.reads)) <= 6

        leaf = Hash(tiles.rows[0, index // 256][index % 256 * 32 :][:32])
        verify_inclusion(
            leaf=leaf, index=Index(index), size=size, root=tiles.edge.root, proof=proof
        )
    for old in (1, 255, 256, 65_536, 131_072, 131_073, 199_999):
        tiles.reads.clear()
        proof = consistency_proof(tiles, Size(old), size)
        assert len(tiles.reads) == len(set(tiles.reads)) <= 6

        old_root = MemoryTiles(leaves(old)).edge.root
        verify_consistency(
            old=Size(old), old_root=old_root, new=size, new_root=tiles.edge.root, proof=proof
        )


def test_proofs_of_an_older_size_are_built_from_tiles_that_have_grown_since() -> None:
    """A store that keeps the widest tile only still proves what an older checkpoint covers."""
    grown = MemoryTiles(LEAVES)
    for size in range(1, LARGEST):
        for index in range(size):
            proof = inclusion_proof(grown, Index(index), Size(size))
            assert includes(index, index, size, ROOTS[size], proof)


def test_a_tile_of_another_length_is_refused() -> None:
    """A store that hands over half a tile doesn't get a proof built on it."""

    class HalfTiles:
        def read_tile(self, tile: Tile) -> bytes:
            return bytes(16 * tile.width)

    with pytest.raises(MalformedTileError, match=r"tile/0/000\.p/5: expected 160 bytes, came 80"):
        inclusion_proof(HalfTiles(), Index(2), Size(5))


def test_pymerkle_has_our_roots_to_size_300() -> None:
    """Another implementation of RFC 6962 finds the same root for every size."""
    theirs = pymerkle.InmemoryTree(algorithm="sha256")
    for size in range(1, 301):
        theirs.append_entry(b"entry %d" % (size - 1))
        assert theirs.get_root() == root_of(leaves(size))


def test_pymerkle_and_we_accept_each_other_s_proofs() -> None:
    """Inclusion proofs carry over in both directions; pymerkle counts indexes from one."""
    theirs = pymerkle.InmemoryTree(algorithm="sha256")
    theirs.append_entries([b"entry %d" % n for n in range(LARGEST)])
    for size in range(1, LARGEST + 1, 3):
        for index in range(size):
            their_inclusion = theirs.prove_inclusion(index + 1, size)
            leaf, *path = their_inclusion.path
            assert includes(index, index, size, ROOTS[size], path)

            ours = inclusion_proof(TREES[size], Index(index), Size(size))
            their_inclusion.path = [leaf, *ours]
            pymerkle.verify_inclusion(LEAVES[index], ROOTS[size], their_inclusion)
        for old in range(1, size + 1):
            # Its consistency paths are cut another way than RFC 6962's; that they lead to our two
            # roots is what can be compared.
            growth = theirs.prove_consistency(old, size)
            pymerkle.verify_consistency(ROOTS[old], ROOTS[size], growth)


def mutations(proof: Sequence[Hash]) -> Iterator[tuple[Hash, ...]]:
    """Every proof that differs by one flipped bit, one hash less, one more, or two swapped."""
    extra = Hash(bytes(32))
    for at, each in enumerate(proof):
        flipped = Hash(bytes([each[0] ^ 1]) + each[1:])
        yield (*proof[:at], flipped, *proof[at + 1 :])
        yield (*proof[:at], *proof[at + 1 :])
        yield (*proof[:at], Hash(each[:31]), *proof[at + 1 :])
        for other in range(at):
            swapped = list(proof)
            swapped[at], swapped[other] = swapped[other], swapped[at]
            yield tuple(swapped)
    for at in range(len(proof) + 1):
        yield (*proof[:at], extra, *proof[at:])


def includes(leaf: int, index: int, size: int, root: Hash, proof: Sequence[Hash]) -> bool:
    try:
        verify_inclusion(
            leaf=LEAVES[leaf], index=Index(index), size=Size(size), root=root, proof=proof
        )
    except InclusionProofError:
        return False
    return True


def is_consistent(
    old: int, old_root: Hash, new: int, new_root: Hash, proof: Sequence[Hash]
) -> bool:
    try:
        verify_consistency(
            old=Size(old), old_root=old_root, new=Size(new), new_root=new_root, proof=proof
        )
    except ConsistencyProofError:
        return False
    return True


def test_proofs_of_many_entries_are_those_of_each() -> None:
    """What one prover keeps from one proof to the next changes none, in whatever order."""
    prover = InclusionProver(TREES[LARGEST], Size(LARGEST))
    for index in (*range(LARGEST), 3, 69, 0, 42):
        alone = inclusion_proof(TREES[LARGEST], Index(index), Size(LARGEST))
        assert prover.prove(Index(index)) == alone
