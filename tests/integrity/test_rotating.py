"""A key is rotated: who has the old one accepts the new one, by the trail's own entries only."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import sqlite3
import time
from itertools import pairwise
from pathlib import Path

import pytest

from indelible import Actor, Trail, acting_as
from indelible.integrity.assurance import load_trust_policy
from indelible.integrity.faults import CheckpointError, ContradictedError, SignerRefusedError
from indelible.integrity.key_ring import (
    KeyRing,
    key_text,
    load_ring,
    load_rotations,
    rotate_ring,
)
from indelible.integrity.published import PublishedTrail
from indelible.integrity.remote import verify_remote
from indelible.integrity.resources import CHECKPOINT_PATH, ROTATIONS_PATH, parse_path
from indelible.integrity.rotations import ROTATED
from indelible.integrity.seen import Seen
from indelible.integrity.sequencer import Sequencer
from indelible.integrity.signer import CheckpointGuard
from indelible.integrity.signer_client import SignerClient
from indelible.integrity.verifier import Verification, verify_trail
from indelible.integrity.witnessing import Witnessing
from indelible.policy.model import WitnessSettings
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import (
    EMPTY_ROOT,
    Checkpoint,
    Hash,
    Rotation,
    SigningKey,
    Size,
    VerifierKey,
    open_rotation,
    parse_note,
    sign_rotation,
)
from indelible.transport.delivery import Remark
from tests.http_trails import served_folder
from tests.integrity.signers import SignerProcess, run
from tests.integrity.test_signer import Site, record, signed_size
from tests.integrity.trails import delivery_at
from tests.integrity.witnessed import ORIGIN, Operated, policy_of, wait_until_witnessed
from tests.integrity.witnesses import WitnessProcess, running, until


class Rotated:
    """A trail in a folder, whose key is a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "indelible.toml"
        self.path = directory / "trail.db"
        self.keys = directory / "trail.db.keys"
        self.config.write_text(f'[trail]\nurl = "sqlite:///trail.db"\norigin = "{ORIGIN}"\n')
        Trail.create(self.config).close()
        self.first = VerifierKey.parse((self.keys / "trail.pub").read_text().strip())
        self.record()

    @property
    def newest(self) -> VerifierKey:
        return load_ring(self.keys / "trail.key").verifier_key

    def record(self) -> None:
        with Trail.open(self.config) as trail, acting_as(Actor("staff", "alice")):
            record(trail)
            until(lambda: signed_size(trail) == trail.reader.size)

    def rotate(self, *arguments: str, exit_code: int = 0) -> str:
        return run("rotate", *arguments, cwd=self.directory, exit_code=exit_code)

    def verify(self, key: VerifierKey, seen: Seen | None = None) -> Verification:
        return verify_trail(self.path, key, seen=seen)


@pytest.fixture
def rotated(tmp_path: Path) -> Rotated:
    return Rotated(tmp_path)


def signed_by(trail: Rotated) -> list[bytes]:
    with contextlib.closing(SqliteTrail(trail.path)) as store:
        note = store.state().checkpoint
    assert note is not None
    return [each.key_id for each in parse_note(note).signatures]


def test_from_the_old_key_to_the_new_one(rotated: Rotated) -> None:
    """rotate, both sign, --finish: at each step the old public key verifies the trail, and so does
    the new one once there is one; what was seen before stays true."""
    before = rotated.verify(rotated.first).seen
    said = rotated.rotate("--both-for", "0")
    second = rotated.newest
    assert f"new public key (give it to whoever verifies): {second}" in said
    assert signed_by(rotated) == [second.key_id, rotated.first.key_id]
    during = rotated.verify(rotated.first, before)
    assert during.vkey == str(second)
    assert rotated.verify(second, before).vkey == str(second)
    rotated.record()
    assert signed_by(rotated) == [second.key_id, rotated.first.key_id]
    said = rotated.rotate("--finish")
    assert "destroy it" in said
    assert signed_by(rotated) == [second.key_id]
    assert (rotated.keys / f"retired-{rotated.first.key_id.hex()}.key").stat().st_mode & 0o077 == 0
    rotated.record()
    for seen in (None, before, during.seen):
        for key in (rotated.first, second):
            assert rotated.verify(key, seen).vkey == str(second)
    assert rotated.verify(second, rotated.verify(rotated.first).seen).size > before.size
    with Trail.open(rotated.config) as trail:
        assert [each.action for each in trail.notices()] == [ROTATED]
        trail.verify()
    # Once more: a chain of two.
    rotated.rotate("--both-for", "0")
    rotated.rotate("--finish")
    third = rotated.newest
    for key in (rotated.first, second, third):
        assert rotated.verify(key, before).vkey == str(third)
    run("verify", cwd=rotated.directory)


def test_both_sign_for_as_long_as_was_said(rotated: Rotated) -> None:
    """--finish before is refused, unless it is asked for; a third key isn't taken on meanwhile."""
    rotated.rotate(exit_code=0)
    assert "it lasts until" in rotated.rotate("--finish", exit_code=2)
    assert "first `indelible rotate --finish`" in rotated.rotate(exit_code=2)
    rotated.rotate("--finish", "--early")
    assert "expected two keys" in rotated.rotate("--finish", exit_code=2)


def test_while_the_trail_is_in_use_nothing_is_rotated(rotated: Rotated) -> None:
    """Who has it open would go on with the old key."""
    with Trail.open(rotated.config) as trail:
        until(lambda: trail.is_relaying)
        assert "stop the application" in rotated.rotate(exit_code=4)
    assert rotated.newest == rotated.first


def test_cut_short_between_the_rotation_and_the_key_file(rotated: Rotated) -> None:
    """What is left is a note to a key that nobody has: the trail goes on, and is rotated anew."""
    (old,) = load_ring(rotated.keys / "trail.key").signers
    assert isinstance(old, SigningKey)
    lost = note_of(rotated, old, SigningKey.generate(ORIGIN))
    (rotated.keys / "rotations").write_bytes(lost)
    rotated.record()
    assert rotated.verify(rotated.first).vkey == str(rotated.first)
    rotated.rotate("--both-for", "0")
    rotated.rotate("--finish")
    assert rotated.verify(rotated.first).vkey == str(rotated.newest)


def test_a_key_file_that_cannot_be_written_rotates_nothing(rotated: Rotated) -> None:
    """The old key signs as before, and the trail goes on."""
    (rotated.keys / "trail.key.new").mkdir()
    assert "can't write" in rotated.rotate(exit_code=2)
    (rotated.keys / "trail.key.new").rmdir()
    rotated.record()
    assert rotated.verify(rotated.first).vkey == str(rotated.first)


def test_cut_short_behind_the_key_file(rotated: Rotated) -> None:
    """The next start writes the entry."""
    ring = load_ring(rotated.keys / "trail.key")
    (old,) = ring.signers
    assert isinstance(old, SigningKey)
    new = SigningKey.generate(ORIGIN)
    rotation = open_rotation(note_of(rotated, old, new))
    rotate_ring(rotated.keys / "trail.key", rotation, ring, new, key_text(new, None))
    rotated.record()
    found = rotated.verify(rotated.first)
    assert found.vkey == str(new.verifier_key)
    assert signed_by(rotated) == [new.verifier_key.key_id, rotated.first.key_id]


def note_of(trail: Rotated, old: SigningKey, new: SigningKey) -> bytes:
    """A rotation behind what is signed now."""
    with contextlib.closing(SqliteTrail(trail.path)) as store:
        state = store.state()
    return sign_rotation(
        Rotation(
            origin=ORIGIN,
            size=state.size,
            root=state.root,
            old=old.verifier_key,
            new=new.verifier_key,
            time="2026-11-30T10:00:00.000000Z",
            until="2026-12-30T10:00:00.000000Z",
        ),
        old,
        new,
    )


# -- what isn't a rotation ------------------------------------------------------------------------


def sequence(trail: Rotated, ring: KeyRing, *remarks: Remark) -> None:
    """By hand, as an attacker who has the file does, with whatever keys they have."""
    with contextlib.closing(SqliteTrail(trail.path)) as store:
        with contextlib.closing(sqlite3.connect(trail.path, isolation_level=None)) as connection:
            connection.execute("UPDATE trail SET vkey = ?", (str(ring.verifier_key),))
        lease = store.acquire_lease("thief", now=time.time_ns() // 1_000, lease_s=0)
        assert lease is not None
        Sequencer(store, lease, ring).deliver([delivery_at(1)], remarks=list(remarks))


def remark(note: bytes) -> Remark:
    return Remark(ROTATED, "another key", {"rotation": note.decode()})


def test_a_rotation_by_the_new_key_alone_is_none(rotated: Rotated) -> None:
    """Whoever has the file and a key of theirs, not the trail's: nothing leads there."""
    thief, accomplice = SigningKey.generate(ORIGIN), SigningKey.generate(ORIGIN)
    real = note_of(rotated, accomplice, thief)
    forged = real.replace(
        str(accomplice.verifier_key).encode(), str(rotated.first).encode()
    ).replace(accomplice.verifier_key.key_id, rotated.first.key_id)
    sequence(rotated, KeyRing([thief]), remark(real), remark(forged))
    with pytest.raises(CheckpointError, match="expected a checkpoint signed by"):
        rotated.verify(rotated.first)


def test_a_rotated_key_signs_nothing_more(rotated: Rotated) -> None:
    """A thief of the old key, with the file: neither entries behind the rotation, nor a second
    rotation to a key of their own."""
    (old,) = load_ring(rotated.keys / "trail.key").signers
    assert isinstance(old, SigningKey)
    rotated.rotate("--both-for", "0")
    rotated.rotate("--finish")
    second = rotated.newest
    copy = rotated.path.with_name("copy.db")
    shutil.copy(rotated.path, copy)
    sequence(rotated, KeyRing([old]))
    for key in (rotated.first, second):
        with pytest.raises(CheckpointError):
            rotated.verify(key)
    shutil.copy(copy, rotated.path)
    thief = SigningKey.generate(ORIGIN)
    note = note_of(rotated, old, thief)
    sequence(rotated, KeyRing([thief, old]), remark(note))
    for key in (rotated.first, second):
        with pytest.raises(CheckpointError):
            rotated.verify(key)


def test_a_fork_by_the_old_key_is_found_by_who_has_seen_more(rotated: Rotated) -> None:
    """From before the rotation a thief of the old key can sign another history, as before: a pin
    that has the new key refuses it, though the old key is given."""
    older = rotated.path.with_name("older.db")
    with contextlib.closing(sqlite3.connect(rotated.path)) as source:
        source.execute("VACUUM INTO ?", (str(older),))
    (old,) = load_ring(rotated.keys / "trail.key").signers
    assert isinstance(old, SigningKey)
    rotated.rotate("--both-for", "0")
    seen = rotated.verify(rotated.first).seen
    for suffix in ("", "-wal", "-shm"):
        Path(f"{rotated.path}{suffix}").unlink(missing_ok=True)
    shutil.copy(older, rotated.path)
    for n in range(3):
        sequence(rotated, KeyRing([old]), Remark("forged", f"{n}"))
    assert rotated.verify(rotated.first).size >= seen.size, "without a pin nothing shows"
    with pytest.raises(CheckpointError, match="to be rotated from"):
        rotated.verify(rotated.first, seen)


def test_a_rotation_over_another_tree_is_refused(rotated: Rotated) -> None:
    """What the old key signed last must be the beginning of what the new one signs."""
    (old,) = load_ring(rotated.keys / "trail.key").signers
    assert isinstance(old, SigningKey)
    new = SigningKey.generate(ORIGIN)
    true = open_rotation(note_of(rotated, old, new))
    other = Hash(bytes(32))
    note = sign_rotation(dataclasses.replace(true, root=other), old, new)
    sequence(rotated, KeyRing([new, old]), remark(note))
    with pytest.raises(CheckpointError, match="signed before"):
        rotated.verify(rotated.first)


def test_an_entry_that_is_no_rotation_stops_nobody(rotated: Rotated) -> None:
    """An application can write such entries down: they lead nowhere, and are noticed."""
    with contextlib.closing(SqliteTrail(rotated.path)) as store:
        lease = store.acquire_lease("test", now=time.time_ns() // 1_000, lease_s=0)
        assert lease is not None
        sequencer = Sequencer(store, lease, load_ring(rotated.keys / "trail.key"))
        sequencer.deliver([], remarks=[remark(b"noise"), Remark(ROTATED, "x", {})])
    assert rotated.verify(rotated.first).vkey == str(rotated.first)


def planted(trail: Rotated, notes: list[str]) -> None:
    """Written down as entries by an application, which has no key of the trail's."""
    with Trail.open(trail.config) as opened:
        for note in notes:
            opened.notice(ROTATED, "another key", rotation=note)
        opened.flush()
        until(lambda: signed_size(opened) == opened.reader.size)


def strangers(count: int, origin: str = ORIGIN) -> list[str]:
    """Rotations that are right in themselves, between keys that aren't the trail's."""
    keys = [SigningKey.generate(origin) for _ in range(count + 1)]
    return [
        sign_rotation(
            Rotation(
                origin=origin,
                size=Size(0),
                root=EMPTY_ROOT,
                old=old.verifier_key,
                new=new.verifier_key,
                time="2026-11-30T10:00:00.000000Z",
                until="2026-12-30T10:00:00.000000Z",
            ),
            old,
            new,
        ).decode()
        for old, new in pairwise(keys)
    ]


def test_planted_rotations_are_served_to_nobody(rotated: Rotated, tmp_path: Path) -> None:
    """Noise, another trail's, strangers', the trail's own once more: an export, a file of evidence
    and `verify --url` have the trail's own, and go on."""
    rotated.rotate("--both-for", "0")
    rotated.rotate("--finish")
    own = (rotated.keys / "rotations").read_bytes()
    secret = "x" * 40_000
    planted(rotated, [secret] * 15)
    planted(rotated, [*strangers(3), *strangers(1, "example.com/other"), "", own.decode()])
    cwd, folder, key = rotated.directory, tmp_path / "web", str(rotated.first)
    run("export", "log", str(folder), cwd=cwd)
    assert (folder / "rotations").read_bytes() == own
    with served_folder(folder) as url:
        run("verify", "--url", url, "--key", key, "--state", str(tmp_path / "pins"), cwd=cwd)
    run("export", "events", "--by", "staff:alice", "--to", "evidence", cwd=cwd)
    header = json.loads((cwd / "evidence").read_text().partition("\n")[0])
    assert header["rotations"] == [own.decode()]
    assert str(rotated.newest) in run("verify", "evidence", "--key", key, cwd=cwd)
    rotated.rotate("--both-for", "0")
    assert rotated.verify(rotated.first).vkey == str(rotated.newest)


def test_each_planted_rotation_is_opened_once(
    rotated: Rotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that verifying takes no longer for each one that is written down."""
    planted(rotated, strangers(40))
    opened: list[bytes] = []
    monkeypatch.setattr(
        "indelible.tlog.rotation.open_rotation",
        lambda raw: opened.append(raw) or open_rotation(raw),  # type: ignore[func-returns-value]
    )
    assert rotated.verify(rotated.first).size > 40
    assert len(opened) == 40


# -- from elsewhere -------------------------------------------------------------------------------


class Shown:
    """A trail behind a server that shows these rotations."""

    def __init__(self, trail: Rotated, rotations: bytes) -> None:
        self._trail = trail
        self._rotations = rotations

    def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes | None:
        with contextlib.closing(SqliteTrail(self._trail.path)) as store:
            tree = PublishedTrail(store).current()
            if path == CHECKPOINT_PATH:
                return tree.note
            return self._rotations if path == ROTATIONS_PATH else tree.read(parse_path(path))


def test_a_rotated_key_behind_a_server_that_hides_its_rotation(rotated: Rotated) -> None:
    """A thief of the old key goes on behind the rotation. Who reads bodies finds it among them; in
    heads alone it can't be seen, unless it is served or was seen before."""
    before = rotated.verify(rotated.first).seen
    (old,) = load_ring(rotated.keys / "trail.key").signers
    rotated.rotate("--both-for", "0")
    rotated.rotate("--finish")
    rotated.record()
    honest = Shown(rotated, (rotated.keys / "rotations").read_bytes())
    since = verify_remote(honest, rotated.first, with_bodies=True, seen=before).seen
    assert since.vkey == str(rotated.newest)
    newest = rotated.newest
    sequence(rotated, KeyRing([old]))
    with pytest.raises(CheckpointError, match=re.escape(f"a checkpoint signed by {newest}")):
        verify_remote(Shown(rotated, b""), rotated.first, with_bodies=True)
    with pytest.raises(CheckpointError, match="to be rotated from"):
        verify_remote(Shown(rotated, b""), rotated.first, seen=since)
    with pytest.raises(CheckpointError):
        verify_remote(honest, rotated.first)
    assert verify_remote(Shown(rotated, b""), rotated.first).vkey == str(rotated.first)


def test_a_rotation_that_comes_while_it_is_read_is_no_fault(rotated: Rotated) -> None:
    """The checkpoint is from before it, the rotations from behind it."""
    with contextlib.closing(SqliteTrail(rotated.path)) as store:
        tree = PublishedTrail(store).current()
        rotated.rotate("--both-for", "0")
        rotations = PublishedTrail(store).current().rotations()

        class Meanwhile:
            def fetch(self, path: str, *, max_bytes: int, with_token: bool = False) -> bytes:
                if path == CHECKPOINT_PATH:
                    return tree.note
                return rotations if path == ROTATIONS_PATH else tree.read(parse_path(path))

        assert rotations
        found = verify_remote(Meanwhile(), rotated.first, with_bodies=True)
        assert found.vkey == str(rotated.first)


def test_over_a_url_and_in_evidence(rotated: Rotated, tmp_path: Path) -> None:
    """verify --url, a pin of before, and a file of evidence, each by the old public key; with the
    rotations withheld there is no way to the new one."""
    cwd, folder, key = rotated.directory, tmp_path / "web", str(rotated.first)
    run("export", "log", str(folder), cwd=cwd)
    with served_folder(folder) as url:
        verify = ("verify", "--url", url, "--key", key, "--state", str(tmp_path / "pins"))
        run(*verify, cwd=cwd)
        rotated.rotate("--both-for", "0")
        run("export", "log", str(folder), cwd=cwd)
        run(*verify, cwd=cwd)
        rotated.rotate("--finish")
        rotated.record()
        run("export", "log", str(folder), cwd=cwd)
        run(*verify, cwd=cwd)
        run(*verify, "--only-new", cwd=cwd)
        rotations = folder / "rotations"
        assert load_rotations(rotations) == load_rotations(rotated.keys / "rotations")
        rotations.rename(tmp_path / "withheld")
        assert "expected" in run(*verify, cwd=cwd, exit_code=3)
        (tmp_path / "withheld").rename(rotations)
    question = ("events", "--by", "staff:alice")
    run("export", *question, "--to", "evidence", cwd=cwd)
    assert str(rotated.newest) in run("verify", "evidence", "--key", key, cwd=cwd)
    text = (cwd / "evidence").read_text()
    head, _, rest = text.partition("\n")
    header = json.loads(head)
    assert len(header.pop("rotations")) == 1
    (cwd / "without").write_text(json.dumps(header, separators=(",", ":")) + "\n" + rest)
    run("verify", "without", "--key", key, cwd=cwd, exit_code=3)
    run("verify", "without", "--key", str(rotated.newest), cwd=cwd)


def test_witnesses_go_along(tmp_path: Path) -> None:
    """While both sign they need to know nothing; told of the new key they cosign what only that
    signs; not told they don't, and status says so."""
    witness = WitnessProcess(tmp_path / "w", "witness.example/w")
    operated = Operated(tmp_path / "trail", policy_of([witness], 1))
    cwd = operated.directory
    witness.add(operated.key)
    with running(witness):
        with operated.open() as trail:
            record(trail)
            wait_until_witnessed(trail)
        run("rotate", "--both-for", "0", cwd=cwd)
        with operated.open() as trail:
            record(trail)
            wait_until_witnessed(trail)
            assert trail.verify().witnessed is not None
        run("rotate", "--finish", cwd=cwd)
        with operated.open() as trail:
            record(trail)
            until(lambda: any("403" in row.fault for row in trail.witnesses()))
        assert "didn't cosign" in run("status", cwd=cwd, exit_code=1)
        said = run(
            "witness",
            "rekey",
            str(cwd / "trail.db.keys" / "rotations"),
            "--directory",
            str(witness.directory),
            cwd=cwd,
        )
        assert ORIGIN in said
        with operated.open() as trail:
            record(trail)
            wait_until_witnessed(trail)
        run(
            "verify",
            "--key",
            str(operated.key),
            "--trail",
            "trail.db",
            "--policy",
            "trust.policy",
            cwd=cwd,
        )
    other = tmp_path / "other"
    other.write_bytes(b"")
    run("witness", "rekey", str(other), "--directory", str(witness.directory), cwd=cwd, exit_code=2)


def test_what_a_witness_shows_is_told_by_the_key_of_now(tmp_path: Path) -> None:
    """A process that has asked it since before a rotation knows the new key's signature for its
    trail's own, and so for a proof."""
    witness = WitnessProcess(tmp_path / "w", "witness.example/w")
    with SignerProcess(tmp_path / "signer") as signer, running(witness):
        site = Site(tmp_path, signer)
        (tmp_path / "trust.policy").write_text("\n".join(policy_of([witness], 1)) + "\n")
        site.config.write_text(site.config.read_text() + '[witness]\npolicy = "trust.policy"\n')
        witness.add(signer.key)
        run("init", cwd=tmp_path)
        Trail.open(site.config).close()
        client = SignerClient(signer.socket, signer.key)
        rotate = ("rotate", "--signer", str(signer.directory))
        signer.stop()
        run(*rotate, "--both-for", "0", cwd=tmp_path)
        signer.start()
        with Trail.open(site.config) as trail:
            record(trail)
            wait_until_witnessed(trail)
        with contextlib.closing(SqliteTrail(site.backup())) as older:
            state = older.state()
            trust = load_trust_policy(tmp_path / "trust.policy")
            settings = WitnessSettings(policy=tmp_path / "trust.policy")
            witnessing = Witnessing(older, client, trust, settings)
            signer.stop()
            run(*rotate, "--finish", cwd=tmp_path)
            known = str(signer.directory / "rotations")
            run("witness", "rekey", known, "--directory", str(witness.directory), cwd=tmp_path)
            signer.start()
            with Trail.open(site.config) as trail:
                record(trail)
                wait_until_witnessed(trail)
            now = Checkpoint(origin=ORIGIN, size=state.size, root=state.root)
            with pytest.raises(SignerRefusedError):
                client.sign(now, older)
            with pytest.raises(ContradictedError) as caught:
                witnessing.check(lambda: None)
            assert caught.value.is_proven


def test_a_signer_s_key_is_rotated(tmp_path: Path) -> None:
    """In its folder, while it is stopped; the trail goes on meanwhile and then says so."""
    with SignerProcess(tmp_path / "signer") as signer:
        site = Site(tmp_path, signer)
        first = signer.key
        run("init", cwd=tmp_path)
        with Trail.open(site.config) as trail:
            record(trail)
            until(lambda: signed_size(trail) == trail.reader.size)
            rotate = ("rotate", "--signer", str(signer.directory))
            assert "stop it first" in run(*rotate, cwd=tmp_path, exit_code=4)
            signer.stop()
            run(*rotate, "--both-for", "0", cwd=tmp_path)
            record(trail)
            signer.start()
            until(lambda: signed_size(trail) == trail.reader.size)
            until(lambda: ROTATED in [each.action for each in trail.notices()])
            until(lambda: trail.reader.vkey == str(signer.key))
            until(lambda: signed_size(trail) == trail.reader.size)
            assert trail.verify().vkey == str(signer.key)
            signer.stop()
            run(*rotate, "--finish", cwd=tmp_path)
            signer.start()
            record(trail)
            until(lambda: signed_size(trail) == trail.reader.size)
        with Trail.open(site.config) as trail:
            record(trail)
            until(lambda: signed_size(trail) == trail.reader.size)
        for key in (first, signer.key):
            assert verify_trail(site.path, key).vkey == str(signer.key)
        run("rotate", cwd=tmp_path, exit_code=2)


def test_a_signer_whose_rotations_are_lost(tmp_path: Path) -> None:
    """It says where they are, and ends the time of both keys where that is wanted."""
    signer = SignerProcess(tmp_path / "signer")
    rotate = ("rotate", "--signer", str(signer.directory))
    run(*rotate, "--both-for", "0", cwd=tmp_path)
    (signer.directory / "rotations").unlink()
    said = run(*rotate, "--finish", cwd=tmp_path, exit_code=2)
    assert "rotations, it is lost: write what the trail serves" in said
    run(*rotate, "--finish", "--early", cwd=tmp_path)
    with signer:
        assert signer.ask("GET", "key").body == f"{signer.key}\n".encode()


def test_a_signer_takes_over_a_key_that_was_rotated_before(tmp_path: Path) -> None:
    """And its key is rotated again: the trail follows both, from its first key on."""
    rotated = Rotated(tmp_path)
    rotated.rotate("--both-for", "0")
    rotated.rotate("--finish")
    folder, key = tmp_path / "signer", rotated.keys / "trail.key"
    run("signer", "init", ORIGIN, "--key", str(key), "--directory", str(folder), cwd=tmp_path)
    assert load_rotations(folder / "rotations") == load_rotations(rotated.keys / "rotations")
    key.unlink()
    (rotated.keys / "rotations").unlink()
    with SignerProcess(folder) as signer:
        rotated.config.write_text(rotated.config.read_text() + f'signer = "{signer.url}"\n')
        rotated.record()
        signer.stop()
        run("rotate", "--signer", str(folder), "--both-for", "0", cwd=tmp_path)
        # One that was made before this was taken along has only its own.
        *_, last = load_rotations(folder / "rotations")
        (folder / "rotations").write_bytes(last)
        signer.start()
        rotated.record()
        assert rotated.verify(rotated.first).vkey == str(signer.key)


def test_a_signer_s_rotation_that_was_cut_short(tmp_path: Path) -> None:
    """Behind the key file, before its state: the next start goes on."""
    signer = SignerProcess(tmp_path / "signer")
    path = signer.directory / "trail.key"
    ring = load_ring(path)
    (old,) = ring.signers
    assert isinstance(old, SigningKey)
    new = SigningKey.generate(ORIGIN)
    rotation = Rotation(
        origin=ORIGIN,
        size=Size(0),
        root=EMPTY_ROOT,
        old=old.verifier_key,
        new=new.verifier_key,
        time="2026-11-30T10:00:00.000000Z",
        until="2026-12-30T10:00:00.000000Z",
    )
    rotate_ring(path, rotation, ring, new, key_text(new, None))
    with contextlib.closing(CheckpointGuard.open(signer.directory)) as guard:
        assert guard.last.key == new.verifier_key
