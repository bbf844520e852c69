"""`verify --url`: whoever serves a trail can hold it back, and can't make anything up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible.integrity.faults import (
    CheckpointError,
    EntryMismatchError,
    ForkError,
    HeadMismatchError,
    MissingEntryError,
    RollbackError,
    StrayEntryError,
    TileMismatchError,
    TrailFaultError,
    UnauthorisedActError,
)
from indelible.integrity.fetching import UnreachableTrailError
from indelible.integrity.published import PublishedTrail
from indelible.integrity.remote import verify_remote
from indelible.integrity.resources import (
    Kind,
    Resource,
    encode_bodies,
    format_path,
    new_resources,
    parse_bodies,
)
from indelible.integrity.seen import Seen
from indelible.store.sqlite import SqliteTrail
from indelible.testing.tamper import copy_trail
from indelible.tlog import (
    Checkpoint,
    SigningKey,
    Size,
    Tile,
    encode_bundle,
    leaf_hash,
    parse_bundle,
    sign_checkpoint,
)
from tests.http_trails import served, served_folder, write_token
from tests.integrity.trails import ORIGIN, Maker

SIZE = 702


class Kept:
    """What a server has, path by path: an attacker's to change."""

    def __init__(self, maker: Maker) -> None:
        tree = PublishedTrail(maker.store).current()
        self.key = maker.key
        self.paths = {"checkpoint": tree.note}
        for each in new_resources(Size(0), tree.checkpoint.size):
            self.paths[format_path(each)] = tree.read(each)
            if each.kind is Kind.HEADS:
                bodies = each._replace(kind=Kind.BODIES)
                self.paths[format_path(bodies)] = tree.read(bodies)
        self.asked: list[str] = []

    def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes | None:
        self.asked.append(path)
        assert path.startswith("bodies/") == with_token
        return self.paths.get(path)

    def verify(self, **options: object) -> object:
        return verify_remote(self, self.key.verifier_key, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    maker = Maker(tmp_path_factory.mktemp("remote") / "trail.db")
    maker.fill([400, 300])
    yield maker
    maker.close()


@pytest.fixture
def kept(trail: Maker) -> Kept:
    return Kept(trail)


def seen_of(maker: Maker) -> Seen:
    checkpoint = PublishedTrail(maker.store).current().checkpoint
    return Seen(
        origin=ORIGIN,
        size=checkpoint.size,
        root=checkpoint.root,
        vkey=str(maker.key.verifier_key),
    )


def test_an_honest_trail_verifies(kept: Kept) -> None:
    """Each tile and bundle is asked for once but for those at the edge, and nothing else."""
    found = verify_remote(kept, kept.key.verifier_key)
    assert (found.size, found.since, found.with_bodies) == (SIZE, 0, False)
    assert found.assurance == "unwitnessed, one trust domain"
    open_to_all = {path for path in kept.paths if not path.startswith("bodies")}
    assert set(kept.asked) == open_to_all | {"rotations"}
    assert verify_remote(kept, kept.key.verifier_key, with_bodies=True).with_bodies
    assert set(kept.asked) == {*kept.paths, "rotations"}


def test_only_what_is_new_is_read_again(maker: Maker) -> None:
    """Behind a pin: what covers the new entries, and that the tree continues the old one."""
    maker.fill([600, 299])
    seen = seen_of(maker)
    maker.fill([10])
    kept = Kept(maker)
    found = verify_remote(kept, maker.key.verifier_key, seen=seen, only_new=True)
    assert (found.size, found.since) == (912, 901)
    assert not {"tile/0/000", "tile/entries/000", "tile/entries/001"} & set(kept.asked)
    assert "tile/entries/003.p/144" in kept.asked
    same = verify_remote(kept, maker.key.verifier_key, seen=found.seen, only_new=True)
    assert same.size == same.since == 912


def bundle(edit: Callable[[list[bytes]], object], n: int = 1) -> Callable[[Kept], None]:
    def tamper(kept: Kept) -> None:
        path = format_path(Resource(Kind.HEADS, Tile(0, n)))
        heads = parse_bundle(kept.paths[path], 256)
        edit(heads)
        # By hand: an attacker isn't held to 256 entries.
        kept.paths[path] = b"".join(encode_bundle([head]) for head in heads)

    return tamper


def swap(heads: list[bytes]) -> None:
    heads[3], heads[4] = heads[4], heads[3]


def edit_head(heads: list[bytes]) -> None:
    heads[9] = heads[9].replace(b'"k":"change"', b'"k":"access"')


def put(path: str, edit: Callable[[bytes], bytes]) -> Callable[[Kept], None]:
    def tamper(kept: Kept) -> None:
        changed = edit(kept.paths[path])
        assert changed != kept.paths[path]
        kept.paths[path] = changed

    return tamper


def drop(path: str) -> Callable[[Kept], None]:
    return lambda kept: kept.paths.__delitem__(path)  # type: ignore[return-value]


def flip(raw: bytes) -> bytes:
    return raw[:40] + bytes([raw[40] ^ 1]) + raw[41:]


TAMPERINGS: list[tuple[str, Callable[[Kept], None], type[TrailFaultError], int]] = [
    ("an edited head", bundle(edit_head), EntryMismatchError, 256 + 9),
    ("two swapped", bundle(swap), EntryMismatchError, 256 + 3),
    ("one taken out", bundle(lambda heads: heads.pop(20)), EntryMismatchError, 256 + 20),
    ("the last taken out", bundle(lambda heads: heads.pop()), MissingEntryError, 511),
    ("one put in", bundle(lambda heads: heads.insert(7, b"{}")), EntryMismatchError, 256 + 7),
    ("a 257th entry", bundle(lambda heads: heads.append(b"{}")), StrayEntryError, 512),
    ("bytes behind", put("tile/entries/001", lambda raw: raw + b"\0"), StrayEntryError, 512),
    ("bytes cut", put("tile/entries/001", lambda raw: raw[:-1]), MissingEntryError, 511),
    ("no bundle", drop("tile/entries/001"), MissingEntryError, 256),
    ("an empty bundle", put("tile/entries/001", lambda _: b""), MissingEntryError, 256),
    ("a wider edge", put("tile/entries/002.p/190", lambda r: r + b"\0\2{}"), StrayEntryError, 702),
    ("an edited tile", put("tile/0/001", flip), TileMismatchError, 256),
    ("an edited edge", put("tile/0/002.p/190", flip), TileMismatchError, 512),
    ("an edited upper tile", put("tile/1/000.p/2", flip), TileMismatchError, 512),
    ("a tile too long", put("tile/0/001", lambda raw: raw + raw), TileMismatchError, 256),
    ("a tile too short", put("tile/0/001", lambda raw: raw[:-32]), TileMismatchError, 256),
    ("no tile", drop("tile/0/001"), TileMismatchError, 256),
    ("no edge", drop("tile/0/002.p/190"), TileMismatchError, 512),
    ("another size", put("checkpoint", lambda r: r.replace(b"702", b"701")), CheckpointError, 0),
    ("no signature", put("checkpoint", lambda r: r[: r.index("—".encode())]), CheckpointError, 0),
    ("no note", put("checkpoint", lambda _: b"\xff"), CheckpointError, 0),
]


@pytest.mark.parametrize(
    ("tamper", "fault", "index"),
    [row[1:] for row in TAMPERINGS],
    ids=[row[0] for row in TAMPERINGS],
)
def test_what_was_tampered_with_is_named(
    tamper: Callable[[Kept], None], fault: type[TrailFaultError], index: int, kept: Kept
) -> None:
    """By the first index that is wrong."""
    tamper(kept)
    with pytest.raises(fault) as caught:
        kept.verify()
    assert (type(caught.value), caught.value.index) == (fault, index)


def body(place: int, edit: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Callable[[Kept], None]:
    def tamper(kept: Kept) -> None:
        bodies = parse_bodies(kept.paths["bodies/001"], 256)
        bodies[place] = edit(*bodies[place])
        kept.paths["bodies/001"] = encode_bodies(bodies)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "index"),
    [
        (body(7, lambda salt, text: (salt, text.replace(b"actor", b"actus"))), 263),
        (body(8, lambda salt, text: (salt[1:] + salt[:1], text)), 264),
        (put("bodies/001", lambda raw: raw[:-1]), 256),
        (put("bodies/001", lambda raw: raw + b"\0"), 256),
    ],
)
def test_a_body_that_isn_t_its_head_s_is_named(
    tamper: Callable[[Kept], None], index: int, kept: Kept
) -> None:
    """A word of it, its salt; or the bundle isn't so many bodies."""
    tamper(kept)
    kept.verify()
    with pytest.raises(EntryMismatchError) as caught:
        kept.verify(with_bodies=True)
    assert caught.value.index == index


def test_a_body_that_is_said_to_be_dropped(kept: Kept) -> None:
    """Only what retention was authorised to drop may be."""
    body(9, lambda salt, text: (salt, b""))(kept)
    kept.verify()
    with pytest.raises(UnauthorisedActError, match="no retention was authorised") as caught:
        kept.verify(with_bodies=True)
    assert caught.value.index == 265


def test_a_body_that_is_missing_is_told_from_a_server_without_any(kept: Kept) -> None:
    """One that is held back is a fault; none at all is a question for who serves."""
    del kept.paths["bodies/001"]
    with pytest.raises(MissingEntryError, match="expected bodies/001"):
        kept.verify(with_bodies=True)
    del kept.paths["bodies/000"]
    with pytest.raises(UnreachableTrailError, match="are they served here"):
        kept.verify(with_bodies=True)


def test_a_signed_head_that_lies_of_its_body_is_found(kept: Kept) -> None:
    """Whoever holds the key can commit to a body under another event's head, but not unseen."""
    head = parse_bundle(kept.paths["tile/entries/000"], 256)[0].replace(b",1],", b",2],")
    root = leaf_hash(head)
    checkpoint = Checkpoint(origin=ORIGIN, size=Size(1), root=root)
    bodies = parse_bodies(kept.paths["bodies/000"], 256)
    kept.paths = {
        "checkpoint": sign_checkpoint(checkpoint, kept.key),
        "tile/0/000.p/1": root,
        "tile/entries/000.p/1": encode_bundle([head]),
        "bodies/000.p/1": encode_bodies(bodies[:1]),
    }
    kept.verify()
    with pytest.raises(HeadMismatchError, match="index 0: head and body tell of different events"):
        kept.verify(with_bodies=True)


def test_a_rollback_is_seen_by_who_has_seen_more(maker: Maker) -> None:
    """However validly the older checkpoint is signed."""
    maker.fill([400])
    older = Kept(maker)
    maker.fill([300])
    seen = seen_of(maker)
    older.verify()
    with pytest.raises(RollbackError, match="last seen size 702, offered 401"):
        older.verify(seen=seen)


def test_a_fork_is_seen_by_who_has_seen_the_other_branch(maker: Maker, tmp_path: Path) -> None:
    """The thief of the key signs another history: larger, or of the same size."""
    maker.fill([400])
    copy_trail(maker.path, tmp_path / "fork.db")
    maker.fill([300])
    seen = seen_of(maker)
    fork = Maker.__new__(Maker)
    fork.__dict__.update(maker.__dict__)
    fork.store = SqliteTrail(tmp_path / "fork.db")
    fork.open()
    fork.seq += 1_000
    for more, size in ((300, 702), (500, 1203)):
        fork.fill([more])
        other = Kept(fork)
        assert verify_remote(other, fork.key.verifier_key).size == size
        with pytest.raises(ForkError, match="the first 702 entries aren't those"):
            other.verify(seen=seen)
    fork.close()


def test_another_trail_at_the_url_is_refused(kept: Kept, maker: Maker) -> None:
    """By its key, whatever it calls itself; and by its name, whatever its key."""
    maker.fill([5])
    other = Kept(maker)
    with pytest.raises(CheckpointError, match="expected a signature by one of"):
        verify_remote(other, kept.key.verifier_key)
    renamed = SigningKey.generate("example.com/other")
    checkpoint = PublishedTrail(maker.store).current().checkpoint
    other.paths["checkpoint"] = sign_checkpoint(checkpoint, renamed)
    with pytest.raises(CheckpointError, match="expected origin"):
        verify_remote(other, renamed.verifier_key)


def test_a_partial_tile_that_became_full_meanwhile_is_read_from_it(maker: Maker) -> None:
    """A folder that was exported again between two answers still verifies."""
    maker.fill([400])
    kept = Kept(maker)
    maker.fill([600])
    newer = Kept(maker)
    for path in ("tile/0/001", "tile/entries/001", "bodies/001"):
        del kept.paths[f"{path}.p/145"]
        kept.paths[path] = newer.paths[path]
    assert verify_remote(kept, maker.key.verifier_key, with_bodies=True).size == 401
    kept.paths["tile/entries/001"] += b"\0\0"
    with pytest.raises(StrayEntryError):
        kept.verify()
    kept.paths["tile/0/001"] += b"x" * 32
    with pytest.raises(TileMismatchError):
        kept.verify()


NO_DRIVER = """
import sys
class NoDriver:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in DRIVERS: raise ImportError('no ' + name)
DRIVERS = {'sqlite3', '_sqlite3', 'apsw', 'aiosqlite', 'psycopg', 'psycopg_binary', 'psycopg2',
           'asyncpg', 'pymysql', 'MySQLdb', 'mysql', 'aiomysql', 'sqlalchemy', 'django',
           'starlette', 'uvicorn'}
sys.meta_path.insert(0, NoDriver())
"""
CLIENT = (
    *("remote", "fetching", "resources", "tree", "seen", "verified", "pins", "tokens"),
    *("evidence", "assurance", "faults", "http_exchange", "witness_client"),
)


@pytest.mark.parametrize(
    "module",
    [*(f"integrity.{name}" for name in CLIENT), "cli.verify", "cli.evidence"],
)
def test_a_verifier_s_code_needs_no_database_driver(module: str) -> None:
    run_without_driver(f"import indelible.{module}, indelible.tlog")


def test_the_driver_is_missed_where_it_is_needed() -> None:
    with pytest.raises(AssertionError, match="ImportError: no sqlite3"):
        run_without_driver("import indelible.integrity.verifier")


def run_without_driver(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_DRIVER + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def run_verify(*arguments: str, state: Path, exit_code: int = 0) -> str:
    """In a process in which no database driver can be imported."""
    code = NO_DRIVER + "from indelible.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", "--state", str(state), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return (done.stdout + done.stderr).replace("\n", " ")


def test_the_command_needs_no_database_driver(maker: Maker, tmp_path: Path) -> None:
    """Served, it is verified with bodies and remembered; what comes next is held against that."""
    maker.fill([400, 300])
    key, state = str(maker.key.verifier_key), tmp_path / "state"
    token = str(write_token(tmp_path))
    with served(maker.path, "--token-file", token) as server:
        first = run_verify("--url", server.url, "--key", key, state=state)
        assert f"whole: 702 entries of {ORIGIN} are what was signed" in first
        assert "(heads; no bodies)" in first and "for the first time here" in first
        assert "assurance: unwitnessed, one trust domain" in first
        copy_trail(maker.path, tmp_path / "backup.db")
        maker.fill([99])
        again = run_verify(
            *("--url", server.url, "--key", key, "--token-file", token, "--only-new", "--json"),
            state=state,
        )
        found = json.loads(again)
        assert (found["size"], found["since"], found["with_bodies"]) == (802, 702, True)
        wrong = tmp_path / "wrong"
        wrong.touch(mode=0o600)
        wrong.write_text("w" * 64)
        refused = ("--url", server.url, "--key", key, "--token-file", str(wrong))
        said = run_verify(*refused, state=state, exit_code=2)
        assert "is it the token of this trail?" in said and "www" not in said
    with served(tmp_path / "backup.db") as restored:
        said = run_verify("--url", restored.url, "--key", key, state=state, exit_code=3)
        assert "went backwards: last seen size 802, offered 702" in said


def test_the_command_says_how_it_is_used(tmp_path: Path) -> None:
    """A key is needed; a URL is one of a trail; nothing there is told from something wrong."""
    key = str(SigningKey.generate(ORIGIN).verifier_key)
    url = ("--url", "http://127.0.0.1:9/")
    assert "expected --key" in run_verify(*url, state=tmp_path, exit_code=2)
    token = ("--token-file", str(tmp_path / "none"))
    assert "expected --url" in run_verify(*token, "--key", key, state=tmp_path, exit_code=2)
    assert "Connection refused" in run_verify(*url, "--key", key, state=tmp_path, exit_code=4)
    (tmp_path / "empty").mkdir()
    with served_folder(tmp_path / "empty") as empty:
        said = run_verify("--url", empty, "--key", key, state=tmp_path, exit_code=4)
        assert "is it a trail's?" in said
