"""`verify --url --policy`: cosignatures that somebody hands over count as the trail's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from indelible.integrity.faults import (
    CosignatureError,
    ForkError,
    RollbackError,
    TileMismatchError,
    UnwitnessedError,
)
from indelible.integrity.published import PublishedTrail
from indelible.integrity.remote import RemoteVerification, verify_remote
from indelible.integrity.resources import Kind, cosigned_path, format_path, new_resources
from indelible.integrity.static_export import export_tree
from indelible.integrity.verifier import verify_trail
from indelible.tlog import (
    MAX_NOTE_BYTES,
    Algorithm,
    Checkpoint,
    Hash,
    SigningKey,
    Size,
    TrustPolicy,
    add_signatures,
    cosign_note,
    format_note,
    open_checkpoint,
    parse_note,
    parse_trust_policy,
    sign_checkpoint,
)
from tests.conftest import GoVerifier
from tests.http_trails import Served, get, served, served_folder
from tests.integrity.trails import ORIGIN, Maker
from tests.integrity.witnessed import Operated, policy_of, record, wait_until_witnessed
from tests.integrity.witnesses import WitnessProcess, objects, run, running

NOW = 1_800_000_000
WITNESSES = [SigningKey.generate(f"witness.example/w{n}", Algorithm.COSIGNATURE_V1) for n in (1, 2)]
KEYS = [key.verifier_key for key in WITNESSES]
TRUST = parse_trust_policy(
    (
        "".join(f"witness w{n} {key}\n" for n, key in enumerate(KEYS, start=1))
        + "group both all w1 w2\nquorum both\n"
    ).encode()
)


def cosigned(note: bytes, *by: SigningKey, time: int = NOW) -> bytes:
    parsed = parse_note(note)
    return format_note(
        add_signatures(parsed, [cosign_note(parsed.text, key, time=time) for key in by])
    )


def cosign(maker: Maker, *by: SigningKey, time: int = NOW) -> None:
    """As the trail keeps it: the last checkpoint, cosigned by each."""
    state = maker.store.state()
    assert state.checkpoint is not None
    for key in by:
        note = cosigned(state.checkpoint, key, time=time)
        maker.store.store_cosignature(str(key.verifier_key), note, state.size, time)


class Kept:
    """What a server has, path by path: an attacker's to change."""

    def __init__(self, maker: Maker) -> None:
        tree = PublishedTrail(maker.store).current()
        self.key = maker.key
        self.paths = {"checkpoint": tree.note, **tree.cosigned}
        for each in new_resources(Size(0), tree.checkpoint.size):
            if each.kind is not Kind.BODIES:
                self.paths[format_path(each)] = tree.read(each)
        self.asked: list[str] = []

    def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes | None:
        self.asked.append(path)
        return self.paths.get(path)

    def verify(
        self, trust: TrustPolicy = TRUST, *, now: int = NOW, max_age_s: int | None = 600
    ) -> RemoteVerification:
        return verify_remote(self, self.key.verifier_key, trust=trust, now=now, max_age_s=max_age_s)


@pytest.fixture
def kept(maker: Maker) -> Kept:
    """700 events; one witness has cosigned all of them, the other the first 400."""
    maker.fill([400])
    cosign(maker, *WITNESSES)
    maker.fill([300])
    cosign(maker, WITNESSES[0])
    return Kept(maker)


def test_it_says_what_the_trail_s_own_side_says(maker: Maker, kept: Kept) -> None:
    """By whom, over how many entries and since when: the same as of the file."""
    found = kept.verify()
    ours = verify_trail(maker.path, maker.key.verifier_key, trust=TRUST, now=NOW, max_age_s=600)
    assert found.witnessed == ours.witnessed
    assert found.witnessed is not None
    assert (found.assurance, found.witnessed.size, found.size) == ("witnessed by 2 of 2", 401, 702)
    # What was cosigned before the checkpoint, so that a trail that grows isn't taken for one cut.
    assert kept.asked[:3] == [*map(cosigned_path, KEYS), "checkpoint"]
    del kept.paths[cosigned_path(KEYS[0])]
    assert kept.verify().witnessed == ours.witnessed  # it stands under the checkpoint, too


def test_the_last_checkpoint_has_what_was_cosigned_of_it(maker: Maker) -> None:
    """Once each, with the newest time, under the very text; each witness's own beside it."""
    maker.fill([5])
    bare = PublishedTrail(maker.store)
    assert (bare.current().note, bare.current().cosigned) == (maker.store.state().checkpoint, {})
    cosign(maker, *WITNESSES)
    cosign(maker, WITNESSES[1], time=NOW + 60)
    for published in (bare, PublishedTrail(maker.store)):
        tree = published.current()
        opened = open_checkpoint(
            tree.note, origin=ORIGIN, log_key=maker.key.verifier_key, witness_keys=KEYS
        )
        assert {(each.key, each.time) for each in opened.cosignatures} == {
            (KEYS[0], NOW),
            (KEYS[1], NOW + 60),
        }
        assert len(parse_note(tree.note).signatures) == 3
        assert set(tree.cosigned) == set(map(cosigned_path, KEYS))
    maker.fill([5])
    tree = bare.current()
    assert tree.note == maker.store.state().checkpoint
    assert set(tree.cosigned) == set(map(cosigned_path, KEYS))


def test_a_cosignature_that_was_damaged_is_not_passed_on(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is missed by whoever needs it, and holds up nobody else."""
    maker.fill([5])
    cosign(maker, *WITNESSES)
    note = maker.store.state().checkpoint
    assert note is not None
    bad = cosigned(note, WITNESSES[0]).replace(b"\n5\n", b"\n4\n").replace(b"\n6\n", b"\n5\n")
    maker.store.store_cosignature(str(KEYS[0]), bad, Size(6), NOW + 1)
    tree = PublishedTrail(maker.store).current()
    assert set(tree.cosigned) == {cosigned_path(KEYS[1])}
    assert len(parse_note(tree.note).signatures) == 2
    assert "a cosignature that is kept isn't one" in caplog.text
    with pytest.raises(UnwitnessedError, match="there are 1 of 2 witnesses"):
        Kept(maker).verify()


def strip(kept: Kept, *keys: SigningKey) -> None:
    for key in keys:
        kept.paths.pop(cosigned_path(key.verifier_key), None)
    note = parse_note(kept.paths["checkpoint"])
    names = {key.name for key in keys}
    left = tuple(each for each in note.signatures if each.name not in names)
    kept.paths["checkpoint"] = format_note(type(note)(note.text, left))


@pytest.mark.parametrize("stripped", [WITNESSES[:1], WITNESSES[1:], WITNESSES])
def test_stripped_cosignatures_are_missed(kept: Kept, stripped: Sequence[SigningKey]) -> None:
    """Whoever serves a trail can leave them out: then it isn't witnessed."""
    strip(kept, *stripped)
    with pytest.raises(UnwitnessedError, match=f"there are {2 - len(stripped)} of 2 witnesses"):
        kept.verify()
    assert verify_remote(kept, kept.key.verifier_key).assurance == "unwitnessed, one trust domain"


def test_old_cosignatures_are_stale(kept: Kept) -> None:
    """A replayed state has its old time, unless any age will do."""
    with pytest.raises(UnwitnessedError, match="no quorum cosigned within the last 600 s") as said:
        kept.verify(now=NOW + 601)
    assert said.value.index == 401
    assert kept.verify(now=NOW + 601, max_age_s=None).witnessed is not None


def test_cosignatures_of_another_trail_or_by_nobody_are_refused(
    kept: Kept, maker: Maker, tmp_path: Path
) -> None:
    """Another origin; another log's key; a witness that didn't sign it; no note; too much."""
    (tmp_path / "other").mkdir()
    other = Maker(tmp_path / "other" / "trail.db")
    other.fill([5])
    path = cosigned_path(KEYS[0])
    honest = kept.paths[path]
    root = Hash(maker.store.state().root)
    elsewhere = sign_checkpoint(
        Checkpoint(origin="example.com/other", size=Size(702), root=root), maker.key
    )
    state = other.store.state()
    assert state.checkpoint is not None
    for bad in (
        cosigned(elsewhere, WITNESSES[0]),
        cosigned(state.checkpoint, WITNESSES[0]),
        kept.paths[cosigned_path(KEYS[1])],
        honest[:-8] + (b"A" if honest[-8:-7] != b"A" else b"B") + honest[-7:],
        honest.replace(b"\n702\n", b"\n701\n"),
        b"",
        b"noise",
        b"\xff" * (MAX_NOTE_BYTES + 1),
    ):
        kept.paths[path] = bad
        with pytest.raises(CosignatureError):
            kept.verify()
    other.close()


def test_a_larger_or_another_tree_that_was_cosigned_is_named(kept: Kept, maker: Maker) -> None:
    """What a witness really cosigned, and isn't what is served: cut off, or rewritten."""
    path = cosigned_path(KEYS[1])
    for size, error, words in (
        (900, RollbackError, "last seen size 900, offered 702"),
        (300, ForkError, "witness.example/w2 cosigned"),
    ):
        forged = sign_checkpoint(
            Checkpoint(origin=ORIGIN, size=Size(size), root=Hash(bytes(32))), maker.key
        )
        kept.paths[path] = cosigned(forged, WITNESSES[1])
        with pytest.raises(error, match=words):
            kept.verify()


def test_a_tile_that_was_changed_isn_t_taken_for_another_history(kept: Kept) -> None:
    """The proof from what was cosigned stands on tiles that are proven themselves."""
    whole = kept.paths["tile/0/001"]
    kept.paths["tile/0/001"] = bytes([whole[0] ^ 1]) + whole[1:]
    with pytest.raises(TileMismatchError, match="index 256: "):
        kept.verify()


def test_served_and_exported_and_read_by_others(
    maker: Maker, tmp_path: Path, go_verify: GoVerifier
) -> None:
    """Each time anew and from no cache; Go's own packages take the lines that they don't know."""
    maker.fill([400])
    cosign(maker, *WITNESSES)
    folder = tmp_path / "export"
    export_tree(PublishedTrail(maker.store), folder)
    vkey = str(maker.key.verifier_key)
    with served(maker.path) as server, served_folder(folder) as url:
        for source in (server.url, url):
            assert go_verify(source, vkey).stdout == "verified 401 entries\n"
            note = get(source + "checkpoint").content
            assert len(parse_note(note).signatures) == 3
            assert get(source + cosigned_path(KEYS[0])).content == cosigned(
                maker.store.state().checkpoint or b"", WITNESSES[0]
            )
        check_headers(server)
        cosign(maker, *WITNESSES, time=NOW + 60)
        assert export_tree(PublishedTrail(maker.store), folder).files == 3
        assert get(server.url + "checkpoint").content == get(url + "checkpoint").content
        maker.fill([1])
        assert get(server.url + "checkpoint").content == maker.store.state().checkpoint
        assert get(server.url + cosigned_path(KEYS[0])).status == 200


def check_headers(server: Served) -> None:
    answer = get(server.url + cosigned_path(KEYS[1]))
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    for path in ("cosigned", "cosigned/", "cosigned/" + "0" * 64, cosigned_path(KEYS[0]) + "/"):
        answer = get(server.url + path)
        assert (answer.status, answer.headers["cache-control"]) == (404, "no-cache")


def test_an_auditor_on_another_machine_judges_the_quorum(tmp_path: Path) -> None:
    """Real witnesses, a trail that goes on, its server and its folder; then one is taken out."""
    processes = [WitnessProcess(tmp_path / f"w{n}", f"witness.example/w{n}") for n in (1, 2)]
    operated = Operated(tmp_path / "trail", policy_of(processes, "all"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "policy").write_bytes((operated.directory / "trust.policy").read_bytes())
    ask = ("verify", "--key", str(operated.key), "--policy", "policy")
    for process in processes:
        process.add(operated.key)
    with running(processes[0]), running(processes[1]), served(operated.path) as server:
        operated.configure("trail.db", ORIGIN)  # `served` wrote one of its own
        with operated.open() as trail:
            record(trail, 300)
            wait_until_witnessed(trail)
            for _ in range(3):
                record(trail, 20)
                said = run(*ask, "--url", server.url, cwd=elsewhere)
                assert "assurance: witnessed by 2 of 2 (witness.example-w1, " in said
            wait_until_witnessed(trail)
            size = trail.reader.size
        run("export", "log", str(tmp_path / "export"), cwd=operated.directory)
        with served_folder(tmp_path / "export") as url:
            (told,) = objects(run(*ask, "--url", url, "--json", cwd=elsewhere))
            assert told["assurance"] == "witnessed by 2 of 2"
            assert told["witnessed"]["size"] == told["size"] >= size  # type: ignore[index]
            one = tmp_path / "export" / cosigned_path(processes[0].key)
            one.unlink()
            checkpoint = tmp_path / "export" / "checkpoint"
            note = parse_note(checkpoint.read_bytes())
            checkpoint.write_bytes(format_note(type(note)(note.text, note.signatures[:1])))
            said = run(*ask, "--url", url, cwd=elsewhere, exit_code=3)
            assert "there are 1 of 2 witnesses" in said
            time.sleep(1.1)
            said = run(*ask, "--url", server.url, "--max-age", "1", cwd=elsewhere, exit_code=3)
            assert "no quorum cosigned within the last 1 s" in said
