"""Go's own packages (golang.org/x/mod/sumdb/note and tlog) judge the trails that we write."""

import shutil
import subprocess
from pathlib import Path

import pytest

from indelible.tlog import SigningKey, bundle_path, encode_bundle, parse_bundle

from ..conftest import GoVerifier
from .export import write_export

SIZE = 70_000
SIGNER = SigningKey.generate("trail.example/acceptance")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export")
    write_export(directory, [b'{"entry":%d}' % n for n in range(SIZE)], SIGNER)
    return directory


@pytest.fixture
def tampered(exported: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(exported, tmp_path / "tampered"))


def test_go_accepts_a_trail_of_70_000_entries(exported: Path, go_verify: GoVerifier) -> None:
    """A program that isn't ours verifies every entry, tile, proof and the signature of a trail."""
    result = go_verify(exported, str(SIGNER.verifier_key))

    assert (result.stderr, result.stdout) == ("", f"verified {SIZE} entries\n")


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 512, 65_536])
def test_go_accepts_trails_whose_edge_falls_on_a_tile(
    size: int, tmp_path: Path, go_verify: GoVerifier
) -> None:
    """Trails of every awkward size verify, the empty one included."""
    write_export(tmp_path, [b"%d" % n for n in range(size)], SIGNER)

    result = go_verify(tmp_path, str(SIGNER.verifier_key))

    assert (result.stderr, result.stdout) == ("", f"verified {size} entries\n")


def test_the_tiles_of_70_000_entries_are_where_the_spec_puts_them(exported: Path) -> None:
    """An export has exactly the files of c2sp.org/tlog-tiles, and no stray ones."""
    found = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}

    places = [*(f"{n:03d}" for n in range(273)), "273.p/112"]
    assert found == {
        "checkpoint",
        *(f"tile/0/{place}" for place in places),
        *(f"tile/entries/{place}" for place in places),
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    }


def test_go_rejects_an_edited_entry(tampered: Path, go_verify: GoVerifier) -> None:
    """One digit changed in one of 70,000 entries is found."""
    bundle = tampered / bundle_path(100)
    bundle.write_bytes(bundle.read_bytes().replace(b'{"entry":25700}', b'{"entry":25701}'))

    assert_rejected(go_verify(tampered, str(SIGNER.verifier_key)), "is not what is under it")


def test_go_rejects_a_257th_entry(tampered: Path, go_verify: GoVerifier) -> None:
    """An entry slipped in behind the last of a full bundle is found."""
    bundle = tampered / bundle_path(3)
    bundle.write_bytes(bundle.read_bytes() + encode_bundle([b"slipped in"]))

    assert_rejected(go_verify(tampered, str(SIGNER.verifier_key)), "after the last of 256 entries")


def test_go_rejects_two_swapped_entries(tampered: Path, go_verify: GoVerifier) -> None:
    """The same entries in another order are another trail."""
    bundle = tampered / bundle_path(0)
    first, second, *others = parse_bundle(bundle.read_bytes(), 256)
    bundle.write_bytes(encode_bundle([second, first, *others]))

    assert_rejected(go_verify(tampered, str(SIGNER.verifier_key)), "is not what is under it")


@pytest.mark.parametrize("tile", ["tile/0/100", "tile/0/273.p/112", "tile/1/000", "tile/2/000.p/1"])
def test_go_rejects_an_edited_tile(tile: str, tampered: Path, go_verify: GoVerifier) -> None:
    """One bit changed in a tile of any level, full or partial, is found."""
    row = bytearray((tampered / tile).read_bytes())
    row[7] ^= 1
    (tampered / tile).write_bytes(row)

    assert_rejected(go_verify(tampered, str(SIGNER.verifier_key)), "is not what is under it")


def test_go_rejects_a_deleted_bundle(tampered: Path, go_verify: GoVerifier) -> None:
    """Entries that were taken away are missed."""
    (tampered / bundle_path(100)).unlink()

    assert_rejected(go_verify(tampered, str(SIGNER.verifier_key)), "no such file")


def test_go_rejects_an_edited_checkpoint(tampered: Path, go_verify: GoVerifier) -> None:
    """A smaller size written into the checkpoint isn't what was signed."""
    checkpoint = tampered / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"70000", b"69999"))

    assert_rejected(go_verify(tampered, str(SIGNER.verifier_key)), "invalid signature")


def test_go_rejects_a_stranger_s_signature(exported: Path, go_verify: GoVerifier) -> None:
    """A verifier that pinned another key of the same name doesn't believe the trail."""
    stranger = SigningKey.generate(SIGNER.name)

    assert_rejected(go_verify(exported, str(stranger.verifier_key)), "no verifiable signatures")


def assert_rejected(result: "subprocess.CompletedProcess[str]", reason: str) -> None:
    assert result.returncode == 1
    assert reason in result.stderr
