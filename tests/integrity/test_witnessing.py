"""A witnessed trail under its operator, and under attack: real processes, real files."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible import Trail
from indelible.errors import ConfigurationError, DeliveryError, UnacknowledgedError
from indelible.integrity.acks import Ack
from indelible.integrity.assurance import load_trust_policy
from indelible.integrity.faults import (
    CheckpointError,
    ContradictedError,
    CosignatureError,
    ForkError,
    RollbackError,
    UnwitnessedError,
)
from indelible.integrity.verifier import Verification, verify_trail
from indelible.tlog import (
    Algorithm,
    Checkpoint,
    Hash,
    SigningKey,
    Size,
    add_signatures,
    cosign_note,
    format_note,
    format_signatures,
    parse_add_checkpoint,
    parse_note,
    root_of,
    sign_checkpoint,
    witnessed_checkpoint_path,
)
from tests.integrity.witnessed import (
    ORIGIN,
    Operated,
    policy_of,
    record,
    wait_until_witnessed,
)
from tests.integrity.witnesses import Answer, WitnessProcess, answering, objects, run, until

Start = Callable[..., WitnessProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts witnesses; ends them all."""
    started: list[WitnessProcess] = []

    def start_one(number: int) -> WitnessProcess:
        process = WitnessProcess(tmp_path / f"w{number}", f"witness.example/w{number}")
        process.start()
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


@pytest.fixture
def two(start: Start) -> list[WitnessProcess]:
    return [start(1), start(2)]


@pytest.fixture
def operated(tmp_path: Path, two: list[WitnessProcess]) -> Operated:
    """Both of two witnesses must cosign."""
    made = Operated(tmp_path / "trail", policy_of(two, "all"))
    for witness in two:
        witness.add(made.key)
    return made


def checked(witness: WitnessProcess, *arguments: str, exit_code: int = 0) -> str:
    """What its cron job says."""
    directory = witness.directory
    command = ("witness", "check", "--directory", str(directory), *arguments)
    return run(*command, cwd=directory, exit_code=exit_code)


def verified(operated: Operated, *, now: int | None = None, max_age_s: int = 600) -> Verification:
    return verify_trail(
        operated.path,
        operated.key,
        trust=load_trust_policy(operated.directory / "trust.policy"),
        now=now,
        max_age_s=max_age_s,
    )


def test_an_operator_has_a_trail_witnessed(operated: Operated, two: list[WitnessProcess]) -> None:
    """Its checkpoints are cosigned, again while it is idle, and every command says by whom."""
    said = run("verify", cwd=operated.directory, exit_code=3)
    assert "expected a signed checkpoint" in said or "expected cosignatures by a quorum" in said
    with operated.open() as trail:
        record(trail)
        wait_until_witnessed(trail)
        before = {row.vkey: row.time for row in trail.witnesses()}
        until(lambda: all(row.time > before[row.vkey] for row in trail.witnesses()))
    found = verified(operated)
    assert found.witnessed is not None
    assert (found.assurance, found.witnessed.size) == ("witnessed by 2 of 2", found.size)
    said = run("verify", cwd=operated.directory)
    assert (
        "assurance: witnessed by 2 of 2 (witness.example-w1, witness.example-w2): "
        f"{found.size} of {found.size}" in said
    )
    said = run("status", cwd=operated.directory, exit_code=1)
    assert "assurance: witnessed by 2 of 2" in said
    assert "trail.not_verified" in said  # the first time, when there was nothing signed yet
    (told,) = objects(run("verify", "--json", cwd=operated.directory))
    assert told["assurance"] == "witnessed by 2 of 2"
    said = checked(two[0])
    assert f"{ORIGIN}   {found.size} " in said


def test_who_waits_for_witnesses_has_them_asked_at_once(
    operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the pause between two checkpoints is that nobody waits for."""
    monkeypatch.setattr("indelible.integrity.witnessing._ASK_S", 3_600.0)
    with operated.open() as trail:
        for _ in range(3):
            event_id = trail.record("payment.sent")
            assert event_id is not None
            trail.await_ack(event_id, Ack.WITNESSED, timeout_s=60.0)
        event_id = trail.record("payment.sent")
        assert event_id is not None
        trail.await_ack(event_id, Ack.CHECKPOINTED, timeout_s=60.0)
        time.sleep(0.3)
        assert trail.ack_of(event_id) is Ack.CHECKPOINTED
        trail.await_ack(event_id, Ack.WITNESSED, timeout_s=60.0)


def test_an_event_is_witnessed_when_a_quorum_has_cosigned_it(
    operated: Operated, two: list[WitnessProcess]
) -> None:
    """A critical action may wait for that; with one of two dead it isn't done."""
    done: list[int] = []
    with operated.open() as trail:
        event_id = trail.record("payment.sent")
        assert event_id is not None
        trail.await_ack(event_id, Ack.WITNESSED, timeout_s=60.0)
        assert trail.ack_of(event_id) is Ack.WITNESSED
        assert all(row.size > 0 for row in trail.witnesses())
        two[1].kill()
        send = trail.action("payment.send", ack=Ack.WITNESSED, deadline_s=1.0)(done.append)
        with pytest.raises(UnacknowledgedError, match="it is checkpointed"):
            send(1)
    assert done == []


def test_evidence_carries_the_cosignatures(
    operated: Operated, two: list[WitnessProcess], tmp_path: Path
) -> None:
    """Checked without the trail, and refused where they were stripped or are others'."""
    with operated.open() as trail:
        event_id = trail.record("payment.sent")
        assert event_id is not None
        trail.await_ack(event_id, Ack.WITNESSED, timeout_s=60.0)
    ask = ("export", "events", "--action", "payment.*", "--to")
    run(*ask, "file", cwd=operated.directory)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    raw = (operated.directory / "file").read_text()
    (elsewhere / "file").write_text(raw)
    (elsewhere / "policy").write_bytes((operated.directory / "trust.policy").read_bytes())
    said = run("verify", "file", "--key", str(operated.key), "--policy", "policy", cwd=elsewhere)
    assert "payment.sent" in said
    assert "assurance: witnessed by 2 of 2" in said
    assert "who its witnesses are: --policy says" in run("verify", "file", cwd=elsewhere)

    first, rest = raw.split("\n", 1)
    header = json.loads(first)
    lines = header["checkpoint"].rstrip("\n").split("\n")
    header["checkpoint"] = "\n".join(lines[:-1]) + "\n"
    (elsewhere / "file").write_text(json.dumps(header, separators=(",", ":")) + "\n" + rest)
    assert "there are 1 of 2 witnesses" in run("verify", "file", cwd=elsewhere, exit_code=3)

    for witness in two:
        witness.kill()
    with operated.open() as trail:
        record(trail)
        trail.flush()
    assert "expected a quorum of witnesses to have cosigned" in run(
        *("export", "events", "--system", "--to", "later"), cwd=operated.directory, exit_code=2
    )


def test_a_dead_and_a_silent_witness_hold_nothing_up(tmp_path: Path, start: Start) -> None:
    """Events are acknowledged while one never answers; with the others it is still a quorum."""
    good, dead = start(1), start(2)
    silent = SigningKey.generate("witness.example/silent", Algorithm.COSIGNATURE_V1)
    asked: list[bytes] = []

    def never(method: str, path: str, body: bytes) -> None:
        asked.append(body)

    with answering(never) as url:
        line = f"witness silent {silent.verifier_key} {url}"
        operated = Operated(
            tmp_path / "trail", [line, *policy_of([good, dead], "any")], deadline_s=1.0
        )
        good.add(operated.key)
        dead.kill()
        with operated.open() as trail:
            for _ in range(20):
                record(trail, 1)
            wait_until_witnessed(trail)
            until(lambda: sum(bool(row.fault) for row in trail.witnesses()) == 2)
            record(trail)
            wait_until_witnessed(trail)
        assert asked
        assert verified(operated).assurance == "witnessed by 1 of 3"
        said = run("status", cwd=operated.directory, exit_code=1)
    assert "witness.example/silent didn't cosign" in said
    assert "witness.example/w2 didn't cosign" in said
    assert "assurance: witnessed by 1 of 3 (witness.example-w1)" in said


def test_nothing_waits_for_a_witness_that_never_answers(tmp_path: Path) -> None:
    """It is the whole quorum, and has a minute: events are in the journal, the process ends."""
    silent = SigningKey.generate("witness.example/silent", Algorithm.COSIGNATURE_V1)
    with answering(lambda *_: None) as url:
        lines = [f"witness silent {silent.verifier_key} {url}", "quorum silent"]
        operated = Operated(tmp_path / "trail", lines, deadline_s=60.0)
        trail = operated.open()
        trail.record("invoice.refund")
        trail.close(0.1)
    assert list((operated.directory / "trail.db.journals").iterdir())


def test_what_was_carried_last_is_witnessed_before_a_process_ends(operated: Operated) -> None:
    """A relay that cron starts leaves nothing unwitnessed behind."""
    with operated.open() as trail:
        record(trail)
    for _ in range(3):
        with Trail.open(operated.config, relay=False) as trail:
            trail.record("invoice.refund")
        run("relay", "--once", cwd=operated.directory)
        found = verified(operated)
        assert found.witnessed is not None
        assert found.witnessed.size == found.size


# -- witnesses that lie ---------------------------------------------------------------------------

LIAR = SigningKey.generate("witness.example/liar", Algorithm.COSIGNATURE_V1)


def signed_by(key: SigningKey, text: str, at: int) -> Answer:
    return Answer(200, "text/plain", format_signatures([cosign_note(text, key, time=at)]))


LIES: dict[str, Callable[[SigningKey, str], Answer]] = {
    "another-key": lambda key, text: signed_by(
        SigningKey.generate(key.name, Algorithm.COSIGNATURE_V1), text, 1_800_000_000
    ),
    "another-text": lambda key, text: signed_by(key, text + "x\n", 1_800_000_000),
    "no-time": lambda key, text: signed_by(key, text, 0),
    "nothing": lambda key, text: Answer(200, "text/plain", b""),
    "noise": lambda key, text: Answer(200, "text/plain", b"\xff" * 1_000),
    "too-much": lambda key, text: Answer(200, "text/plain", b"x" * 1_000_000),
    "its-error": lambda key, text: Answer(500, "text/plain", b"<b>sorry</b>"),
    "a-redirect": lambda key, text: Answer(302, "text/plain", b""),
    "unknown": lambda key, text: Answer(404, "text/plain", b""),
    "a-larger-size": lambda key, text: Answer(409, "text/x.tlog.size", b"1099511627776\n"),
    "no-size": lambda key, text: Answer(409, "text/plain", b"5\n"),
    "the-empty-size": lambda key, text: Answer(409, "text/x.tlog.size", b"0\n"),
    "a-bad-start": lambda key, text: Answer(422, "text/plain", b"no\n"),
    "a-bad-proof": lambda key, text: Answer(422, "text/plain", b"no\n"),
}
CONTRADICTING = {"a-larger-size", "a-bad-proof"}


def lying(lie: str, key: SigningKey) -> Callable[[str, str, bytes], Answer]:
    def answer(method: str, path: str, body: bytes) -> Answer:
        if method == "GET":
            return Answer(404, "text/plain", b"")
        request = parse_add_checkpoint(body)
        if lie == "a-bad-proof" and request.old == 0:
            return Answer(409, "text/x.tlog.size", b"1\n")
        return LIES[lie](key, parse_note(request.signed_checkpoint).text)

    return answer


def test_witnesses_that_lie_count_for_nothing(tmp_path: Path, start: Start) -> None:
    """Where the others are a quorum the trail goes on, and verifies without the liars."""
    good = start(1)
    lines = []
    with contextlib.ExitStack() as servers:
        for lie in LIES:
            key = SigningKey.generate(f"witness.example/{lie}", Algorithm.COSIGNATURE_V1)
            url = servers.enter_context(answering(lying(lie, key)))
            lines.append(f"witness {lie} {key.verifier_key} {url}")
        operated = Operated(tmp_path / "trail", [*lines, *policy_of([good], 1)])
        good.add(operated.key)
        with operated.open() as trail:
            record(trail)
            wait_until_witnessed(trail)
            until(lambda: sum(bool(row.fault) for row in trail.witnesses()) == len(LIES))
            until(lambda: sum(row.contradicts for row in trail.witnesses()) == len(CONTRADICTING))
            record(trail)
            wait_until_witnessed(trail)
            assert {row.vkey for row in trail.witnesses() if row.contradicts} == {
                line.split()[2] for line in lines if line.split()[1] in CONTRADICTING
            }
        assert verified(operated).assurance == f"witnessed by 1 of {len(LIES) + 1}"
        said = run("status", cwd=operated.directory, exit_code=1)
        assert all(f"witness.example/{lie} " in said for lie in LIES)


def test_a_claim_that_nobody_outvotes_stops_the_trail(tmp_path: Path, start: Start) -> None:
    """Unproven as it is: who was rolled back must not sign. Out of the policy, it goes on."""
    claim = Answer(409, "text/x.tlog.size", b"1000\n")
    with answering(lambda method, path, body: claim) as url:
        operated = Operated(
            tmp_path / "trail", [f"witness liar {LIAR.verifier_key} {url}", "quorum liar"]
        )
        with operated.open() as trail:
            trail.record("invoice.refund")
            until(lambda: trail.refusal is not None)
            with pytest.raises(ContradictedError, match="cosigned a tree of size 1000"):
                trail.flush()
            assert trail.reader.state().checkpoint is None, "nothing was signed"
        said = run("relay", cwd=operated.directory, exit_code=3)
        assert "liar: it cosigned a tree of size 1000, ours has 0" in said
        said = run("status", cwd=operated.directory, exit_code=1)
        assert "witness.example/liar contradicts this trail" in said
    good = start(1)
    good.add(operated.key)
    operated.trust(policy_of([good], 1))
    with operated.open() as trail:
        trail.flush()
        wait_until_witnessed(trail)
        assert [finding.event.action for finding in trail.events()] == ["invoice.refund"]
        (noticed,) = trail.notices()
        assert noticed.action == "trail.contradicted"
        trail.acknowledge(noticed.index)
        trail.flush()
    assert "liar" not in run("status", cwd=operated.directory)


# -- rollback, restore, fork ----------------------------------------------------------------------


@pytest.fixture
def rolled_back(operated: Operated) -> Operated:
    """A trail that was put back to a backup while nobody looked."""
    with operated.open() as trail:
        record(trail)
        wait_until_witnessed(trail)
    backup = operated.backup("backup.db")
    with operated.open() as trail:
        record(trail, 5)
        wait_until_witnessed(trail)
    operated.restore(backup)
    return operated


def test_a_rolled_back_trail_signs_nothing_and_loses_nothing(
    rolled_back: Operated, two: list[WitnessProcess]
) -> None:
    """Each witness knows more; what is captured meanwhile waits in the journal."""
    before = verify_trail(rolled_back.path, rolled_back.key).size
    with rolled_back.open() as trail:
        trail.record("invoice.waiting")
        until(lambda: trail.refusal is not None)
        refusal = trail.refusal
        assert refusal is not None
        assert refusal.is_proven
        known = two[0].knows(ORIGIN).size
        assert f"it cosigned a tree of size {known}, ours has {before}" in str(refusal)
        with pytest.raises(ContradictedError):
            trail.flush()
    assert verify_trail(rolled_back.path, rolled_back.key).size == before
    said = run("status", cwd=rolled_back.directory, exit_code=1)
    assert f"contradicts this trail: it cosigned a tree of size {known}" in said
    assert "indelible init --continue" in run("relay", cwd=rolled_back.directory, exit_code=3)


def test_it_goes_on_as_a_new_one_that_names_the_old(
    rolled_back: Operated, two: list[WitnessProcess]
) -> None:
    """Entry 0 holds the old one's last cosigned checkpoint; what waited is in the new trail."""
    with rolled_back.open() as trail:
        trail.record("invoice.waiting")
        until(lambda: trail.refusal is not None)
    directory = rolled_back.directory
    said = run("init", "--continue", "trail.db", cwd=directory, exit_code=2)
    assert "an origin other than 'example.com/trail'" in said
    rolled_back.configure("second.db", "example.com/trail-2")
    said = run("init", "--continue", "trail.db", cwd=directory)
    known = two[0].knows(ORIGIN).size
    kept = verify_trail(rolled_back.path, rolled_back.key).size
    assert (
        f"entry 0: goes on from {ORIGIN}, which had {known} entries; {kept} of them are kept"
        in said
    )
    rolled_back.path = directory / "second.db"
    with Trail.open(rolled_back.config, relay=False) as trail:
        first = json.loads(trail.reader.entry(0).body)
        second = trail.reader.vkey
    assert (first["action"], first["kind"]) == ("trail.continued", "system")
    note = first["details"]["checkpoint"].encode()
    assert note.startswith(f"{ORIGIN}\n{known}\n".encode())
    assert {each.name for each in parse_note(note).signatures} == {
        "example.com/trail",
        "witness.example/w1",
        "witness.example/w2",
    }
    for witness in two:
        run("witness", "add", second, "--directory", str(witness.directory), cwd=directory)
        run("witness", "retire", ORIGIN, "--directory", str(witness.directory), cwd=directory)
    with rolled_back.open() as trail:
        trail.flush()
        wait_until_witnessed(trail)
        assert [*trail.events()][-1].event.action == "invoice.waiting"
        noticed = [notice.action for notice in trail.notices()]
        assert noticed[0] == "trail.continued"
        assert noticed.count("trail.contradicted") == 2, "one for each witness"
    assert "assurance: witnessed by 2 of 2" in run("verify", cwd=directory)


def test_it_doesn_t_go_on_from_what_nobody_knows(
    rolled_back: Operated, two: list[WitnessProcess], tmp_path: Path
) -> None:
    """While no witness answers, only a checkpoint that somebody kept says how far it was."""
    known = two[0].knows(ORIGIN).size
    kept = tmp_path / "kept.note"
    kept.write_bytes(two[0].get(f"/{witnessed_checkpoint_path(ORIGIN)}").body)
    for witness in two:
        witness.kill()
    rolled_back.configure("second.db", "example.com/trail-2")
    command = ("init", "--continue", "trail.db")
    said = run(*command, cwd=rolled_back.directory, exit_code=4)
    assert "expected a witness to show the last checkpoint of example.com/trail" in said
    forged = tmp_path / "forged.note"
    forged.write_bytes(kept.read_bytes().replace(b"\n%d\n" % known, b"\n%d\n" % (known + 1)))
    said = run(*command, "--checkpoint", str(forged), cwd=rolled_back.directory, exit_code=3)
    assert "expected a checkpoint of example.com/trail" in said
    said = run(*command, "--checkpoint", str(kept), cwd=rolled_back.directory)
    assert f"which had {known} entries" in said


def test_a_restored_trail_that_went_on_alone_is_caught_when_witnesses_are_back(
    rolled_back: Operated, two: list[WitnessProcess]
) -> None:
    """It has outgrown what they know, with another history: they prove it, and it signs no more."""
    for witness in two:
        witness.kill()
    with rolled_back.open() as trail:
        record(trail, 30)
        forked = trail.reader.size
        for witness in two:
            witness.start()
        until(lambda: trail.refusal is not None)
        refusal = trail.refusal
        assert refusal is not None
        assert refusal.is_proven
        known = two[0].knows(ORIGIN).size
        assert f"it knows another tree than ours of size {known}" in str(refusal)
        trail.record("invoice.waiting")
        with pytest.raises(ContradictedError):
            trail.flush()
        assert trail.reader.size == forked
        until(lambda: all(each.alarms() == ["not proven"] for each in two))


def test_a_fork_by_the_stolen_key_is_refused_everywhere(
    operated: Operated, two: list[WitnessProcess], tmp_path: Path
) -> None:
    """The thief's copy is neither cosigned nor, without new cosignatures, accepted."""
    with operated.open() as trail:
        record(trail)
        wait_until_witnessed(trail)
    known = two[0].knows(ORIGIN).size
    thief = tmp_path / "thief"
    shutil.copytree(operated.directory, thief)
    (thief / "indelible.toml").write_text('[trail]\nurl = "sqlite:///trail.db"\n')
    with Trail.open(thief / "indelible.toml") as trail:
        record(trail, 7)
    with operated.open() as trail:
        record(trail, 4)
        wait_until_witnessed(trail)
    trust = load_trust_policy(operated.directory / "trust.policy")
    soon = int(time.time()) + 700
    stale = verify_trail(thief / "trail.db", operated.key, trust=trust)
    assert stale.witnessed is not None
    assert stale.witnessed.size == known < stale.size
    with pytest.raises(
        UnwitnessedError, match="no quorum cosigned within the last 600 s"
    ) as raised:
        verify_trail(thief / "trail.db", operated.key, trust=trust, now=soon, max_age_s=600)
    assert raised.value.index == known
    shutil.copy(operated.config, thief / "indelible.toml")
    with Trail.open(thief / "indelible.toml") as trail:
        until(lambda: trail.refusal is not None)
        until(lambda: all(each.alarms() == ["not proven"] for each in two))
    assert "not proven: example.com/trail: its key signed" in checked(two[1], exit_code=1)


def test_two_that_sequence_copies_of_one_trail(operated: Operated, tmp_path: Path) -> None:
    """Of two hosts with the same key and file one is witnessed; the other is told, and stops."""
    twin = tmp_path / "twin"
    shutil.copytree(operated.directory, twin)
    with operated.open() as one, Trail.open(twin / "indelible.toml") as other:
        record(one, 2)
        wait_until_witnessed(one)
        until(lambda: other.refusal is not None or other.is_relaying)
        with contextlib.suppress(ContradictedError):
            record(other, 5)
        until(lambda: other.refusal is not None)
        assert one.refusal is None
        record(one)
        wait_until_witnessed(one)


def test_one_trail_of_two_processes_is_no_contradiction(operated: Operated) -> None:
    """Whoever leads has it cosigned; who takes over goes on from what was cosigned."""
    with operated.open() as one, operated.open() as other:
        for _ in range(3):
            record(one)
            record(other)
            wait_until_witnessed(other)
        assert (one.refusal, other.refusal) == (None, None)
        assert one.is_relaying != other.is_relaying
        leader, follower = (one, other) if one.is_relaying else (other, one)
        leader.close()
        record(follower)
        wait_until_witnessed(follower)
        assert follower.refusal is None


def test_a_pending_root_that_continues_nothing_isn_t_signed(operated: Operated) -> None:
    """Entries rewritten behind the last checkpoint's back, tiles and all, before a start."""
    with operated.open() as trail:
        record(trail, 3)
        wait_until_witnessed(trail)
        size = int(trail.reader.size)
    operated.edit("UPDATE tile SET hashes = zeroblob(length(hashes))")
    operated.edit("UPDATE trail SET root = ?", root_of([Hash(bytes(32))] * size))
    trail = operated.open()
    trail.record("invoice.refund")
    with pytest.raises(DeliveryError):
        trail.flush(3.0)
    assert not trail.is_relaying
    trail.close(0.1)
    with pytest.raises(CheckpointError, match="expected the signed root"):
        verify_trail(operated.path, operated.key)


# -- what is kept with the trail ------------------------------------------------------------------


@pytest.fixture
def witnessed(operated: Operated) -> Operated:
    with operated.open() as trail:
        record(trail, 20)
        wait_until_witnessed(trail)
    return operated


def forge(operated: Operated, size: int, root: bytes, *, by: Path) -> bytes:
    """A checkpoint by the trail's own key, cosigned by a witness's own key."""
    key = SigningKey.parse((operated.directory / "trail.db.keys" / "trail.key").read_text().strip())
    witness = SigningKey.parse((by / "witness.key").read_text().strip())
    note = parse_note(
        sign_checkpoint(Checkpoint(origin=ORIGIN, size=Size(size), root=Hash(root)), key)
    )
    cosignature = cosign_note(note.text, witness, time=int(time.time()))
    return format_note(add_signatures(note, [cosignature]))


def test_stripped_cosignatures_are_missed(witnessed: Operated, two: list[WitnessProcess]) -> None:
    """One of two, then both: fewer than the policy asks for."""
    witnessed.edit("DELETE FROM witness WHERE vkey = ?", str(two[0].key))
    with pytest.raises(UnwitnessedError, match="there are 1 of 2 witnesses"):
        verified(witnessed)
    assert "UnwitnessedError" not in run("verify", cwd=witnessed.directory, exit_code=3)
    witnessed.edit("DELETE FROM witness")
    with pytest.raises(UnwitnessedError, match="there are 0 of 2 witnesses"):
        verified(witnessed)
    assert verify_trail(witnessed.path, witnessed.key).assurance == "unwitnessed, one trust domain"


def test_a_damaged_cosignature_is_named(witnessed: Operated, two: list[WitnessProcess]) -> None:
    """A byte of it, another witness's in its place, and bytes that aren't a note."""
    with Trail.open(witnessed.config, relay=False) as trail:
        notes = {row.vkey: row.note for row in trail.witnesses()}
    size = two[0].knows(ORIGIN).size
    ours, other = str(two[0].key), str(two[1].key)
    note = notes[ours]
    assert note is not None
    damaged = note[:-8] + (b"A" if note[-8:-7] != b"A" else b"B") + note[-7:]
    for bad in (
        damaged,
        notes[other],
        b"",
        b"noise",
        note.replace(b"\n%d\n" % size, b"\n%d\n" % (size - 1)),
    ):
        witnessed.edit("UPDATE witness SET note = ? WHERE vkey = ?", bad, ours)
        with pytest.raises(CosignatureError):
            verified(witnessed)


def test_a_cosigned_larger_or_other_tree_is_named(
    witnessed: Operated, two: list[WitnessProcess]
) -> None:
    """What a witness really cosigned and the file doesn't have: cut off, or rewritten."""
    by, vkey = two[0].directory, str(two[0].key)
    larger = forge(witnessed, 500, bytes(32), by=by)
    witnessed.edit("UPDATE witness SET note = ? WHERE vkey = ?", larger, vkey)
    with pytest.raises(RollbackError, match="last seen size 500"):
        verified(witnessed)
    other = forge(witnessed, 10, bytes(32), by=by)
    witnessed.edit("UPDATE witness SET note = ? WHERE vkey = ?", other, vkey)
    with pytest.raises(ForkError, match=r"aren't those that witness\.example/w1 cosigned"):
        verified(witnessed)


def test_old_cosignatures_are_stale(witnessed: Operated) -> None:
    """A replayed checkpoint has its old time; a copy that was laid aside may be any age."""
    later = int(time.time()) + 3_600
    with pytest.raises(UnwitnessedError, match="no quorum cosigned within the last 600 s"):
        verified(witnessed, now=later)
    assert verified(witnessed, now=later, max_age_s=7_200).assurance == "witnessed by 2 of 2"
    run("verify", "--max-age", "0", cwd=witnessed.directory)


def test_an_auditor_brings_a_policy_of_their_own(
    witnessed: Operated, two: list[WitnessProcess], tmp_path: Path
) -> None:
    """Nothing of the trail's configuration is believed: neither its policy nor its key."""
    arguments = (
        *("verify", "--trail", str(witnessed.path), "--key", str(witnessed.key)),
        *("--policy", "mine"),
    )
    (tmp_path / "mine").write_text(f"log {witnessed.key}\nwitness a {two[0].key}\nquorum a\n")
    assert "assurance: witnessed by 1 of 1 (a)" in run(*arguments, cwd=tmp_path)
    stranger = SigningKey.generate("witness.example/w1", Algorithm.COSIGNATURE_V1)
    (tmp_path / "mine").write_text(f"witness a {stranger.verifier_key}\nquorum a\n")
    said = run(*arguments, cwd=tmp_path, exit_code=3)
    assert "expected cosignatures by a quorum ('a' of the trust policy)" in said
    (tmp_path / "mine").write_text(f"log {SigningKey.generate('x').verifier_key}\nquorum none\n")
    assert "that the trust policy lists" in run(*arguments, cwd=tmp_path, exit_code=3)
    (tmp_path / "mine").write_text("quorum all\n")
    assert "line 1: expected a quorum" in run(*arguments, cwd=tmp_path, exit_code=2)


def test_a_silenced_trail_rings_at_the_witness(
    witnessed: Operated, two: list[WitnessProcess]
) -> None:
    """Nobody relays any more: the witness knows it by itself, and says since when."""
    until(lambda: time.time() - two[0].knows(ORIGIN).heard > 2)
    said = checked(two[0], "--alarm-after", "1", exit_code=1)
    assert "silent: example.com/trail: nothing was heard of it for" in said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["quorum none"], "expected a witness with a URL"),
        ([f"witness a {LIAR.verifier_key}", "quorum a"], "expected a witness with a URL"),
        ([f"witness a {LIAR.verifier_key} ftp://w/", "quorum a"], "expected a URL like"),
        ([f"log {SigningKey.generate('x').verifier_key}", "quorum none"], "policy lists"),
        (["nonsense"], "trust.policy: trust policy, line 1: expected"),
    ],
)
def test_a_policy_that_can_t_be_used_is_an_error_at_open(
    tmp_path: Path, lines: list[str], said: str
) -> None:
    """By name of its file; nothing starts half-witnessed."""
    operated = Operated(
        tmp_path / "trail", [f"witness a {LIAR.verifier_key} http://127.0.0.1:1/", "quorum a"]
    )
    operated.trust(lines)
    with pytest.raises(ConfigurationError, match=said):
        operated.open()


def test_a_promise_of_witnesses_is_judged_by_their_cosignatures(
    operated: Operated, two: list[WitnessProcess]
) -> None:
    """Both fresh, and entries verified: it holds. One stopped: it falls short by how old its last
    cosignature is."""
    with operated.config.open("a") as file:
        file.write('[[invariant]]\nkind = "tamper_evident"\nwitnesses = 2\nage = "3 seconds"\n')
    with operated.open() as trail:
        record(trail)
        wait_until_witnessed(trail)
        (found,) = trail.check()
        assert found.verdict == "can't tell", found.words
        assert "nobody has looked: `indelible verify`" in found.words
        run("verify", cwd=operated.directory)
        until(lambda: trail.check()[0].verdict == "holds")
        (found,) = trail.check()
        assert "2 witnesses vouch for" in found.words
        assert "all of them were verified" in found.words
        two[1].kill()
        until(lambda: trail.check()[0].verdict == "falls short")
        (found,) = trail.check()
        assert found.figure is not None
        assert found.figure > 3
        assert "1 of 2 witnesses" in found.words
        assert "witness.example/w2's is" in found.words
