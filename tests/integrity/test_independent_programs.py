"""Programs that aren't ours judge a real trail of 100,000 entries, served and exported.

Tessera's `fsck` and the Go packages of golang.org/x/mod and transparency-dev read what a trail
publishes; `pymerkle` computes its root. Each accepts the honest trail. Where one of them can't see
an attack, a test says so, and what of ours does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymerkle import InmemoryTree

from indelible.integrity.faults import (
    CheckpointError,
    EntryMismatchError,
    MissingEntryError,
    RollbackError,
    StrayEntryError,
    TileMismatchError,
    TrailFaultError,
)
from indelible.integrity.published import PublishedTrail
from indelible.integrity.resources import Kind, NotPublishedError, Resource
from indelible.integrity.seen import Seen
from indelible.integrity.static_export import export_tree
from indelible.integrity.verifier import verify_trail
from indelible.store.sqlite_file import open_connection
from indelible.testing.tamper import copy_trail
from indelible.tlog import (
    Index,
    SigningKey,
    Tile,
    TlogProof,
    encode_bundle,
    format_proof,
    inclusion_proof,
    parse_bundle,
    sign_checkpoint,
)
from tests.conftest import GoVerifier, go_build
from tests.http_trails import Served, get, served, served_folder, verified, write_token
from tests.integrity.test_tampering import change_lines, replace_in
from tests.integrity.trails import ORIGIN, Maker

SIZE = 100_000
EDGE = 160
"""How many entries the last bundle has: 390 full ones are before it."""
GO = Path(__file__).parent / "go"

Judge = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    """100 batches of 999 events and what ends each."""
    maker = Maker(tmp_path_factory.mktemp("large") / "trail.db")
    maker.fill([999] * 99)
    copy_trail(maker.path, maker.path.with_name("older.db"))
    maker.fill([999])
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def folder(trail: Maker) -> Path:
    """Its static export."""
    folder = trail.path.with_name("export")
    export_tree(PublishedTrail(trail.store), folder)
    return folder


@pytest.fixture(scope="module")
def server(trail: Maker) -> Iterator[Served]:
    token = write_token(trail.path.parent)
    with served(trail.path, "--token-file", str(token)) as server:
        yield server


@pytest.fixture(scope="module")
def tessera(tmp_path_factory: pytest.TempPathFactory, trail: Maker) -> Judge:
    """Tessera's fsck, with its answer as an exit code: its own is 0 whatever it finds."""
    folder = tmp_path_factory.mktemp("tessera")
    package = "github.com/transparency-dev/tessera/cmd/fsck"
    program = go_build(GO, package, folder / "fsck")
    key = folder / "key"
    key.write_text(str(trail.key.verifier_key))

    def judge(source: str) -> subprocess.CompletedProcess[str]:
        url = source if source.startswith("http://") else f"file://{source}"
        command = [str(program), f"--storage_url={url}", f"--public_key={key}", "--ui=false"]
        done = subprocess.run([*command, "--N=4"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        is_sound = "Successfully fsck'd log" in done.stderr
        assert is_sound != ("fsck failed" in done.stderr), done.stderr
        done.returncode = 0 if is_sound else 1
        return done

    return judge


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/integrity/go."""
    return go_build(GO, ".", tmp_path_factory.mktemp("formats") / "checkserved")


@pytest.fixture(scope="module")
def sources(server: Served, folder: Path) -> tuple[str, str]:
    """Both ways to read the trail."""
    return server.url, str(folder)


def test_tessera_s_fsck_accepts_it(tessera: Judge, sources: tuple[str, str]) -> None:
    """Entries, every tile and the root, over HTTP and from the folder."""
    for source in sources:
        assert f"Successfully fsck'd log with size {SIZE} " in tessera(source).stderr


def test_go_s_own_packages_accept_it(
    trail: Maker, sources: tuple[str, str], go_verify: GoVerifier
) -> None:
    """x/mod's note and tlog: signature, entries, tiles, record and tree proofs."""
    for source in sources:
        result = go_verify(source, str(trail.key.verifier_key))
        assert (result.stderr, result.stdout) == ("", f"verified {SIZE} entries\n")


def test_the_formats_packages_accept_checkpoint_and_proofs(
    trail: Maker, server: Served, folder: Path, formats: Path, tmp_path: Path
) -> None:
    """transparency-dev's log, note and proof: what is served, and proofs that are handed over."""
    note = get(server.url + "checkpoint").content
    assert note == (folder / "checkpoint").read_bytes()
    (tmp_path / "checkpoint").write_bytes(note)
    files = ["checkpoint"]
    for index in (0, 255, 256, 65_536, SIZE - 1):
        hashes = inclusion_proof(trail.store, Index(index), trail.store.size)
        proof = TlogProof(index=Index(index), hashes=hashes, signed_checkpoint=note)
        (tmp_path / f"{index}.tlog-proof").write_bytes(format_proof(proof))
        (tmp_path / f"{index}.leaf").write_bytes(trail.store.head(index))
        files += [f"{index}.tlog-proof", f"{index}.leaf"]

    def run(*names: str, key: SigningKey = trail.key) -> subprocess.CompletedProcess[str]:
        command = [str(formats), str(key.verifier_key), *names]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    assert (run(*files).stderr, run(*files).stdout) == ("", f"size {SIZE}, 5 proofs\n")
    assert "root" in run("checkpoint", "0.tlog-proof", "255.leaf").stderr
    assert run("checkpoint", key=SigningKey.generate(ORIGIN)).returncode == 1
    (tmp_path / "checkpoint").write_bytes(note.replace(b"100000", b"100001"))
    assert run("checkpoint").returncode == 1


def test_pymerkle_computes_the_same_root_and_proofs(trail: Maker) -> None:
    """A second implementation of RFC 6962 gets the root, and the paths, that the trail signed."""
    tree = InmemoryTree(algorithm="sha256")
    for entry in trail.store.committed(0, SIZE):
        tree.append_entry(entry.head)
    state = trail.store.state()
    assert tree.get_root() == state.root
    for index in (0, 1, 255, 256, 65_536, SIZE - 1):
        ours = inclusion_proof(trail.store, Index(index), state.size)
        theirs = tree.prove_inclusion(index + 1, SIZE).path
        assert set(ours) <= set(theirs)


def test_our_own_verifiers_agree(trail: Maker, server: Served, folder: Path) -> None:
    """Of the file, over HTTP with bodies, and of the folder behind another web server."""
    assert verify_trail(trail.path, trail.key.verifier_key).size == SIZE
    token = trail.path.with_name("token")
    assert verified(server.url, trail.key, token_file=token).size == SIZE
    with served_folder(folder) as url:
        assert verified(url, trail.key).size == SIZE


# -- what was tampered with --------------------------------------------------------------------

Tamper = Callable[[Path], object]


def write(path: Path, content: bytes) -> None:
    """In the place of a file that is another name of the honest one."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def edited(name: str, edit: Callable[[bytes], bytes]) -> Tamper:
    def tamper(folder: Path) -> None:
        before = (folder / name).read_bytes()
        after = edit(before)
        assert after != before
        write(folder / name, after)

    return tamper


def flip(raw: bytes) -> bytes:
    return raw[:40] + bytes([raw[40] ^ 1]) + raw[41:]


def swap(raw: bytes) -> bytes:
    first, second, *others = parse_bundle(raw, 256)
    return encode_bundle([second, first, *others])


def one_more(raw: bytes) -> bytes:
    return raw + encode_bundle([b"slipped in"])


def to_access(raw: bytes) -> bytes:
    return raw.replace(b'"k":"change"', b'"k":"access"', 1)


REJECTED: dict[str, tuple[Tamper, type[TrailFaultError], int]] = {
    "an edited entry": (edited("tile/entries/100", to_access), EntryMismatchError, 25_600),
    "two swapped": (edited("tile/entries/100", swap), EntryMismatchError, 25_600),
    "a bundle cut": (edited("tile/entries/100", lambda r: r[:-9]), MissingEntryError, 25_855),
    "no bundle": (lambda f: (f / "tile/entries/100").unlink(), MissingEntryError, 25_600),
    "an edited tile": (edited("tile/0/100", flip), TileMismatchError, 25_600),
    "an edited edge": (edited(f"tile/0/390.p/{EDGE}", flip), TileMismatchError, 99_840),
    "an edited upper tile": (edited("tile/1/000", flip), TileMismatchError, 0),
    "an edited top": (edited("tile/2/000.p/1", lambda r: r[::-1]), TileMismatchError, 99_840),
    "no tile": (lambda f: (f / "tile/0/100").unlink(), TileMismatchError, 25_600),
    "an edited size": (
        edited("checkpoint", lambda r: r.replace(b"100000", b"099999", 1)),
        CheckpointError,
        0,
    ),
    "a smaller size": (
        edited("checkpoint", lambda r: r.replace(b"100000", b"99999", 1)),
        CheckpointError,
        0,
    ),
}


@pytest.fixture
def tampered(folder: Path, tmp_path: Path) -> Path:
    """A copy to change; its files are other names of the honest ones until then."""
    return Path(shutil.copytree(folder, tmp_path / "export", copy_function=os.link))


@pytest.mark.parametrize("name", REJECTED)
def test_all_reject_what_was_tampered_with(
    name: str, tampered: Path, trail: Maker, tessera: Judge, go_verify: GoVerifier
) -> None:
    """And ours names the first index that is wrong."""
    tamper, fault, index = REJECTED[name]
    tamper(tampered)
    assert tessera(str(tampered)).returncode == 1
    assert go_verify(tampered, str(trail.key.verifier_key)).returncode == 1
    with served_folder(tampered) as url, pytest.raises(fault) as caught:
        verified(url, trail.key)
    assert caught.value.index == index


def test_all_reject_a_stranger_s_signature(
    tampered: Path, trail: Maker, tessera: Judge, go_verify: GoVerifier
) -> None:
    """The same tree under the same name, signed with another key."""
    checkpoint = PublishedTrail(trail.store).current().checkpoint
    write(tampered / "checkpoint", sign_checkpoint(checkpoint, SigningKey.generate(ORIGIN)))
    assert tessera(str(tampered)).returncode == 1
    assert go_verify(tampered, str(trail.key.verifier_key)).returncode == 1
    with served_folder(tampered) as url, pytest.raises(CheckpointError):
        verified(url, trail.key)


def test_all_reject_what_is_served_of_an_edited_file(
    trail: Maker, tmp_path: Path, tessera: Judge, go_verify: GoVerifier
) -> None:
    """One word of one body, changed behind our back: its head is another one from then on."""
    copy_trail(trail.path, tmp_path / "edited.db")
    connection = open_connection(tmp_path / "edited.db")
    change_lines(connection, 100, "frame0", replace_in(7, b"actor", b"actus"))
    connection.close()
    with served(tmp_path / "edited.db") as server:
        assert tessera(server.url).returncode == 1
        assert go_verify(server.url, str(trail.key.verifier_key)).returncode == 1
        with pytest.raises(EntryMismatchError) as caught:
            verified(server.url, trail.key)
    assert caught.value.index == 25_607


def test_fsck_doesn_t_see_a_257th_entry_and_ours_does(
    tampered: Path, trail: Maker, tessera: Judge, go_verify: GoVerifier
) -> None:
    """It hashes the first 256 entries of a bundle and stops; whoever reads on finds another."""
    edited("tile/entries/003", one_more)(tampered)
    assert tessera(str(tampered)).returncode == 0
    assert go_verify(tampered, str(trail.key.verifier_key)).returncode == 1
    with served_folder(tampered) as url, pytest.raises(StrayEntryError) as caught:
        verified(url, trail.key)
    assert caught.value.index == 4 * 256


def test_no_reader_sees_a_stray_tile_and_the_trail_s_own_side_does(
    tampered: Path, trail: Maker, tmp_path: Path, tessera: Judge, go_verify: GoVerifier
) -> None:
    """Nobody asks for what is beyond the signed size: it proves nothing to anybody.

    In a folder the next export finds it, in a trail's file `verify`; and it is never served.
    """
    write(tampered / "tile/0/391", b"x" * 8192)
    assert tessera(str(tampered)).returncode == 0
    assert go_verify(tampered, str(trail.key.verifier_key)).returncode == 0
    with served_folder(tampered) as url:
        assert verified(url, trail.key).size == SIZE
    with pytest.raises(StrayEntryError, match="tile/0/391 is beyond the tree"):
        export_tree(PublishedTrail(trail.store), tampered)
    copy_trail(trail.path, tmp_path / "stray.db")
    connection = open_connection(tmp_path / "stray.db")
    connection.execute("INSERT INTO tile (id, hashes) VALUES (391, zeroblob(8192))")
    connection.close()
    with served(tmp_path / "stray.db") as server:
        assert get(server.url + "tile/0/391").status == 404
        assert tessera(server.url).returncode == 0
    with pytest.raises(StrayEntryError, match="tile 0/391 is beyond the tree"):
        verify_trail(tmp_path / "stray.db", trail.key.verifier_key)
    tree = PublishedTrail(trail.store).current()
    with pytest.raises(NotPublishedError):
        tree.read(Resource(Kind.TILE, Tile(0, 391)))


def test_only_who_has_seen_more_sees_a_rollback(
    trail: Maker, folder: Path, tessera: Judge, go_verify: GoVerifier
) -> None:
    """An older copy of the whole file is all that was signed then; a pin remembers the newer."""
    checkpoint = PublishedTrail(trail.store).current().checkpoint
    seen = Seen(origin=ORIGIN, size=SIZE, root=checkpoint.root, vkey=str(trail.key.verifier_key))
    with served(trail.path.with_name("older.db")) as server:
        assert "log with size 99000 " in tessera(server.url).stderr
        assert go_verify(server.url, str(trail.key.verifier_key)).returncode == 0
        assert verified(server.url, trail.key).size == SIZE - 1_000
        with pytest.raises(RollbackError, match="last seen size 100000, offered 99000"):
            verified(server.url, trail.key, seen=seen)
