"""Programs that aren't ours agree on the tree of a real trail of 70,000 entries."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymerkle import InmemoryTree

from indelible.integrity.verifier import verify_trail
from indelible.store.entry import format_head
from indelible.store.sqlite_audit import audit_trail
from indelible.tlog import (
    Index,
    bundle_path,
    encode_bundle,
    inclusion_proof,
    new_tiles,
    tile_path,
)
from tests.conftest import GoVerifier
from tests.integrity.trails import Maker

SIZE = 70_000


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """70 batches of 999 events and what ends each."""
    maker = Maker(tmp_path_factory.mktemp("large") / "trail.db")
    maker.fill([999] * 70)
    return maker


def heads_of(path: Path) -> list[bytes]:
    with audit_trail(path) as audit:
        return [
            format_head(*parts)
            for block in audit.blocks(0)
            for parts in zip(block.stems, block.salts, block.bodies, strict=True)
        ]


def test_go_accepts_a_trail_as_the_sequencer_made_it(
    trail: Maker, tmp_path: Path, go_verify: GoVerifier
) -> None:
    """Checkpoint, stored tiles and heads are what Go's note and tlog packages expect."""
    state = trail.store.state()
    assert (state.size, state.checkpoint is not None) == (SIZE, True)
    heads = heads_of(trail.path)
    files = {"checkpoint": state.checkpoint or b""}
    for tile in new_tiles(type(state.size)(0), state.size):
        files[tile_path(tile)] = trail.store.read_tile(tile)
    for first in range(0, SIZE, 256):
        bundled = heads[first : first + 256]
        files[bundle_path(first // 256, len(bundled))] = encode_bundle(bundled)
    for name, raw in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    result = go_verify(tmp_path, str(trail.key.verifier_key))
    assert (result.stderr, result.stdout) == ("", f"verified {SIZE} entries\n")


def test_pymerkle_computes_the_same_root_and_proofs(trail: Maker) -> None:
    """A second implementation of RFC 6962 gets the root, and the paths, that the trail signed."""
    tree = InmemoryTree(algorithm="sha256")
    for head in heads_of(trail.path):
        tree.append_entry(head)
    state = trail.store.state()
    assert tree.get_root() == state.root
    for index in (0, 1, 255, 256, 65_536, SIZE - 1):
        ours = inclusion_proof(trail.store, Index(index), state.size)
        theirs = tree.prove_inclusion(index + 1, SIZE).path
        assert set(ours) <= set(theirs)


def test_our_own_verifier_agrees(trail: Maker) -> None:
    """And so does `verify`."""
    assert verify_trail(trail.path, trail.key.verifier_key).size == SIZE
