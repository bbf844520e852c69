"""A witness cosigns one history of a tlog, whatever it is offered, and says why not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigurationError, StoreBusyError
from indelible.integrity.witness import Answer, Witness
from indelible.integrity.witness_alarm import alarms
from indelible.integrity.witness_file import WitnessFile
from indelible.tlog import (
    EMPTY_ROOT,
    AddCheckpoint,
    Checkpoint,
    Hash,
    Note,
    SigningKey,
    Size,
    consistency_proof,
    format_add_checkpoint,
    format_note,
    leaf_hash,
    open_checkpoint,
    open_cosignature,
    parse_note,
    sign_checkpoint,
    witnessed_checkpoint_path,
)
from tests.tlog.test_vectors import SIGSUM_KEY, SIGSUM_ORIGIN, WITNESSED_PROOFS, witnessed
from tests.tlog.trees import MemoryTiles

ORIGIN = "example.com/trail"
LOG = SigningKey.generate(ORIGIN)
LEAVES = [leaf_hash(b"%d" % n) for n in range(600)]
FORKED = [*LEAVES[:5], leaf_hash(b"forged"), *LEAVES[6:]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def witness(tmp_path: Path, clock: Clock) -> Iterator[Witness]:
    made = opened(tmp_path / "w", clock)
    made.file.add_tlog(ORIGIN, LOG.verifier_key, clock())
    yield made
    made.close()


def opened(directory: Path, clock: Clock) -> Witness:
    Witness.create(directory, "witness.example/w").close()
    made = Witness.open(directory)
    made._clock = clock
    return made


def signed(
    size: int, leaves: list[Hash] = LEAVES, *, key: SigningKey = LOG, origin: str = ORIGIN
) -> bytes:
    root = root_at(size, leaves)
    return sign_checkpoint(Checkpoint(origin=origin, size=Size(size), root=root), key)


def root_at(size: int, leaves: list[Hash]) -> Hash:
    return MemoryTiles(leaves[:size]).edge.root if size else EMPTY_ROOT


def asking(old: int, size: int, leaves: list[Hash] = LEAVES, **kind: object) -> bytes:
    """A request as an honest client makes it, of whichever tree it has."""
    proof: tuple[Hash, ...] = ()
    if 0 < old < size:
        proof = consistency_proof(MemoryTiles(leaves[:size]), Size(old), Size(size))
    checkpoint = signed(size, leaves, **kind)  # type: ignore[arg-type]
    return format_add_checkpoint(
        AddCheckpoint(old=Size(old), proof=proof, signed_checkpoint=checkpoint)
    )


def statuses(witness: Witness, *bodies: bytes) -> list[int]:
    return [witness.add_checkpoint(body).status for body in bodies]


def known(witness: Witness) -> tuple[int, Hash]:
    tlog = witness.file.tlog(ORIGIN)
    assert tlog is not None
    return tlog.size, tlog.root


def test_growth_is_cosigned_step_by_step(witness: Witness, clock: Clock) -> None:
    """Each cosignature verifies, with the witness's own time, over the tlog's own checkpoint."""
    for old, new in ((0, 0), (0, 3), (3, 3), (3, 256), (256, 257), (257, 600)):
        clock.now += 7
        answer = witness.add_checkpoint(asking(old, new))
        assert answer.status == 200
        _, time = open_cosignature(answer.body, signed(new), witness.verifier_key)
        assert time == clock.now
        latest = witness.latest(witnessed_checkpoint_path(ORIGIN))
        assert latest is not None
        shown = open_checkpoint(
            latest,
            origin=ORIGIN,
            log_key=LOG.verifier_key,
            witness_keys=[witness.verifier_key],
        )
        assert (shown.checkpoint.size, shown.cosignatures[0].time) == (new, clock.now)


def test_the_first_checkpoint_is_believed(witness: Witness) -> None:
    """A tlog that is there already is witnessed from where it is."""
    assert statuses(witness, asking(0, 400)) == [200]


def test_every_refusal_has_its_status(witness: Witness) -> None:
    """As c2sp.org/tlog-witness says; none of them changes what was cosigned."""
    assert statuses(witness, asking(0, 10)) == [200]
    stranger = SigningKey.generate(ORIGIN)
    before = known(witness)
    text = parse_note(signed(20)).text
    forged = format_note(Note(text, parse_note(signed(19)).signatures))
    cases = [
        (400, b"nonsense"),
        (400, b"old 10\n\nno note"),
        (400, asking(10, 20).replace(b"\n20\n", b"\n020\n")),
        (400, asking(20, 15)),
        (404, asking(0, 20, origin="example.com/other")),
        (403, asking(10, 20, key=stranger)),
        (
            403,
            format_add_checkpoint(AddCheckpoint(old=Size(0), proof=(), signed_checkpoint=forged)),
        ),
        (409, asking(0, 20)),
        (409, asking(7, 20)),
        (409, asking(4, 4)),
        (422, asking(10, 20, FORKED)),
        (422, asking(10, 10, FORKED)),
        (422, asking(10, 20).replace(b"old 10\n", b"old 10\n" + b"A" * 43 + b"=\n")),
    ]
    assert [(witness.add_checkpoint(body).status, body) for _, body in cases] == cases
    assert known(witness) == before
    answer = witness.add_checkpoint(asking(7, 20))
    assert answer == Answer(409, "text/x.tlog.size", b"10\n")


def test_litewitness_s_cases_are_answered_alike(witness: Witness, clock: Clock) -> None:
    """The trees and signatures that a deployed witness is tested with, of a Sigsum tlog."""
    witness.file.add_tlog(SIGSUM_ORIGIN, SIGSUM_KEY, clock())
    signatures = {
        1: "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",  # noqa: E501
        3: "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",  # noqa: E501
        5: "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",  # noqa: E501
    }

    def body(old: int, new: int, signature_of: int | None = None) -> bytes:
        lines = "".join(f"{each}\n" for each in WITNESSED_PROOFS.get((old, new), []))
        note = witnessed(new, signatures[signature_of or new])
        return f"old {old}\n{lines}\n".encode() + note

    assert statuses(
        witness, body(0, 1), body(0, 1), body(1, 3), body(1, 5), body(3, 5, 3), body(3, 5)
    ) == [200, 409, 200, 409, 403, 200]


def test_another_tree_of_the_same_size_is_proof_against_the_log(
    witness: Witness, clock: Clock
) -> None:
    """Both signed checkpoints are kept, whichever old size was claimed, until somebody looks."""
    assert statuses(witness, asking(0, 10), asking(10, 10, FORKED)) == [200, 422]
    (alarm,) = alarms(witness, now=clock.now)
    assert alarm.what == "another tree"
    roots = set()
    for note in (alarm.known, alarm.offered):
        assert note is not None
        shown = open_checkpoint(note.encode(), origin=ORIGIN, log_key=LOG.verifier_key)
        assert shown.checkpoint.size == 10
        roots.add(shown.checkpoint.root)
    assert len(roots) == 2
    assert witness.file.acknowledge(ORIGIN, "carol: the restore test of 3 May") == 1
    assert alarms(witness, now=clock.now) == []
    assert statuses(witness, asking(0, 10, FORKED)) == [409]
    assert len(witness.file.refused()) == 1


def test_a_claimed_old_size_doesn_t_hide_another_tree(witness: Witness, clock: Clock) -> None:
    """Also where the answer is that the old size was wrong."""
    assert statuses(witness, asking(0, 10), asking(3, 10, FORKED)) == [200, 409]
    assert [alarm.what for alarm in alarms(witness, now=clock.now)] == ["another tree"]


def test_a_larger_fork_is_refused_and_kept(witness: Witness, clock: Clock) -> None:
    """Nobody can prove it to continue what was cosigned."""
    assert statuses(witness, asking(0, 10), asking(10, 20, FORKED)) == [200, 422]
    (alarm,) = alarms(witness, now=clock.now)
    assert (alarm.what, alarm.message.startswith("its key signed a tree of size 20")) == (
        "not proven",
        True,
    )


def test_a_bad_proof_of_a_good_checkpoint_accuses_nobody_for_long(
    witness: Witness, clock: Clock
) -> None:
    """Anybody can send a published checkpoint with a wrong proof: the right one takes it back."""
    body = asking(10, 20)
    wrong = body.replace(b"old 10\n", b"old 10\n" + b"A" * 43 + b"=\n")
    assert statuses(witness, asking(0, 10), wrong) == [200, 422]
    assert [alarm.what for alarm in alarms(witness, now=clock.now)] == ["not proven"]
    assert statuses(witness, body) == [200]
    assert alarms(witness, now=clock.now) == []


def test_a_silent_log_is_an_alarm(witness: Witness, clock: Clock) -> None:
    """From the bound on, until it is heard of again; never heard of is silent, too."""
    assert alarms(witness, now=clock.now + 300, after_s=300) == []
    (never,) = alarms(witness, now=clock.now + 301, after_s=300)
    assert "since it was added, 301 s ago" in never.message
    assert statuses(witness, asking(0, 10)) == [200]
    assert [a.what for a in alarms(witness, now=clock.now + 301, after_s=300)] == ["silent"]
    clock.now += 301
    assert statuses(witness, asking(10, 10)) == [200]
    assert alarms(witness, now=clock.now + 1, after_s=300) == []


def test_a_clock_that_went_back_doesn_t_hide_silence(witness: Witness, clock: Clock) -> None:
    """A cosignature from the future is as wrong as none."""
    assert statuses(witness, asking(0, 10)) == [200]
    (alarm,) = alarms(witness, now=clock.now - 1_000, after_s=300)
    assert "a clock went backwards" in alarm.message


def test_a_retired_log_is_neither_cosigned_nor_missed(witness: Witness, clock: Clock) -> None:
    """Its last checkpoint can still be read, and it can't be added again as if it were new."""
    assert statuses(witness, asking(0, 10)) == [200]
    witness.file.retire_tlog(ORIGIN, clock())
    assert statuses(witness, asking(10, 20)) == [404]
    assert alarms(witness, now=clock.now + 10_000) == []
    assert witness.latest(witnessed_checkpoint_path(ORIGIN)) is not None
    with pytest.raises(ConfigurationError, match="isn't witnessed yet"):
        witness.file.add_tlog(ORIGIN, LOG.verifier_key, clock())


def test_a_key_cosigns_with_its_own_file_only(tmp_path: Path, clock: Clock) -> None:
    """With an empty file beside it the same key would cosign a second history."""
    first = tmp_path / "first"
    Witness.create(first, "witness.example/w").close()
    with pytest.raises(ConfigurationError, match="there is one"):
        Witness.create(first, "witness.example/w")
    Witness.create(tmp_path / "second", "witness.example/w").close()
    (first / "witness.db").unlink()
    with pytest.raises(ConfigurationError, match="there is none"):
        Witness.open(first)
    (tmp_path / "second" / "witness.db").rename(first / "witness.db")
    with pytest.raises(ConfigurationError, match="expected the key of"):
        Witness.open(first)


def test_what_can_t_be_kept_isn_t_cosigned(
    witness: Witness, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the file's lock, nothing is given out."""
    monkeypatch.setattr("indelible.integrity.witness_file.BUSY_TIMEOUT_S", 0.1)
    second = WitnessFile(witness.file.path)
    slow = Witness(second, witness._key, clock=clock)
    with witness.file.transaction(), pytest.raises(StoreBusyError):
        slow.add_checkpoint(asking(0, 10))
    assert known(witness)[0] == 0
    second.close()


def test_requests_at_once_are_cosigned_one_after_the_other(witness: Witness) -> None:
    """Of many that continue the same size with different trees, one is cosigned."""
    assert statuses(witness, asking(0, 10)) == [200]
    trees = [[*LEAVES[:10], leaf_hash(b"%d" % n)] for n in range(8)]
    bodies = [asking(10, 11, leaves) for leaves in trees]
    other = Witness(WitnessFile(witness.file.path), witness._key)
    answers: list[int] = []

    def ask(through: Witness, body: bytes) -> None:
        answers.append(through.add_checkpoint(body).status)

    threads = [
        threading.Thread(target=ask, args=((witness, other)[n % 2], body))
        for n, body in enumerate(bodies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(answers) == [200] + [409] * 7


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 24), st.integers(0, 24), st.booleans()), min_size=1, max_size=12
    )
)
def test_whatever_is_offered_only_one_history_is_cosigned(
    steps: list[tuple[int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All checkpoints ever cosigned are of one tree, and never smaller than the one before."""
    witness = opened(tmp_path_factory.mktemp("any") / "w", Clock())
    witness.file.add_tlog(ORIGIN, LOG.verifier_key, 1)
    cosigned: list[tuple[int, Hash]] = []
    for old, new, is_fork in steps:
        if witness.add_checkpoint(asking(old, new, FORKED if is_fork else LEAVES)).status == 200:
            cosigned.append(known(witness))
    witness.close()
    assert [size for size, _ in cosigned] == sorted(size for size, _ in cosigned)
    assert any(
        all(root == root_at(size, leaves) for size, root in cosigned) for leaves in (LEAVES, FORKED)
    )
