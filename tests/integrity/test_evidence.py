"""A file of evidence proves what is in it, and whoever changes it is found out."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.events.codec import join_parts
from indelible.events.model import Actor, Event, TargetRows
from indelible.integrity.evidence import (
    EvidenceMismatchError,
    EvidenceReader,
    Header,
    MalformedEvidenceError,
    write_evidence,
)
from indelible.integrity.verifier import verify_trail
from indelible.questions.accesses import accesses
from indelible.questions.proofs import NotCheckpointedError, gather
from indelible.questions.window import Window
from indelible.tlog import (
    InclusionProofError,
    InvalidSignatureError,
    SigningKey,
    UnknownKeyError,
    VerifierKey,
)
from tests.integrity.trails import ORIGIN, Maker

ACTOR = Actor("staff", "actor3")
VERIFIER = SigningKey.generate("audit.example/verifier")
MADE = "2026-11-30T20:00:00.000000Z"


def export(maker: Maker, *, attest: SigningKey | None = None) -> bytes:
    """What actor3 accessed, as a file."""
    verified = verify_trail(maker.path, maker.key.verifier_key)
    answer = accesses(maker.store, by=ACTOR, window=Window())
    header, entries = gather(
        maker.store, answer, ["accesses", "--by", str(ACTOR)], made=MADE, verified=verified
    )
    return b"".join(write_evidence(header, entries, attest=attest))


def read(
    raw: bytes, *, key: VerifierKey | None = None, verifier: VerifierKey | None = None
) -> list[int]:
    return [one.index for one in EvidenceReader(io.BytesIO(raw), key=key, verifier=verifier)]


@pytest.fixture
def trail(maker: Maker) -> Maker:
    maker.fill([300, 200])
    return maker


@pytest.fixture
def file(trail: Maker) -> bytes:
    return export(trail, attest=VERIFIER)


def test_all_of_the_answer_is_in_the_file_and_verifies(trail: Maker, file: bytes) -> None:
    answer = accesses(trail.store, by=ACTOR, window=Window())
    expected = sorted({*answer.entries()})
    by_hand = [
        entry.index
        for entry in trail.store.entries(0, int(trail.store.size))
        if json.loads(entry.body).get("actor") == {"kind": "staff", "id": "actor3"}
    ]
    assert expected == by_hand and len(expected) > 60
    reader = EvidenceReader(
        io.BytesIO(file), key=trail.key.verifier_key, verifier=VERIFIER.verifier_key
    )
    found = list(reader)
    assert [one.index for one in found] == expected
    assert all(one.event.actor == ACTOR for one in found)
    assert reader.is_attested and reader.header.question == ("accesses", "--by", str(ACTOR))


def test_without_a_verifier_nothing_is_said_of_completeness(trail: Maker, file: bytes) -> None:
    reader = EvidenceReader(io.BytesIO(file), key=trail.key.verifier_key)
    assert list(reader) and not reader.is_attested


def test_an_event_in_parts_is_there_whole(maker: Maker) -> None:
    large = Event(
        action="invoice.update",
        kind="change",
        actor=ACTOR,
        targets=(TargetRows("invoice", ((1,),)),),
        changes={"notes": (None, "n" * 200_000)},
    )
    maker.sequencer.deliver([maker.delivery(large), maker.delivery()])
    found = [one.event for one in EvidenceReader(io.BytesIO(export(maker)))]
    assert len(found) > 3
    assert join_parts(found).changes == {"notes": (None, "n" * 200_000)}


def test_what_no_checkpoint_covers_is_no_evidence_yet(trail: Maker) -> None:
    answer = accesses(trail.store, by=ACTOR, window=Window())

    class Uncheckpointed:
        """As a crash leaves it: numbered, not signed."""

        vkey = trail.store.vkey

        def state(self) -> object:
            return msgspec.structs.replace(trail.store.state(), checkpoint=None)

    with pytest.raises(NotCheckpointedError, match="expected a checkpoint that covers"):
        gather(Uncheckpointed(), answer, [], made=MADE)  # type: ignore[arg-type]


# -- the attacks ----------------------------------------------------------------------------------

Lines = list[dict[str, object]]


def edited(file: bytes, change: Callable[[Lines], object]) -> bytes:
    lines = [json.loads(line) for line in file.splitlines()]
    change(lines)
    return b"".join(
        json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for line in lines
    )


def edit_a_body(lines: Lines) -> None:
    lines[5]["body"] = str(lines[5]["body"]).replace("actor3", "actor4")


def edit_body_and_head(lines: Lines) -> None:
    lines[5]["body"], lines[5]["head"] = lines[6]["body"], lines[6]["head"]
    lines[5]["salt"] = lines[6]["salt"]


def move_an_entry(lines: Lines) -> None:
    lines[5]["index"] = int(str(lines[5]["index"])) + 1


def swap_salts(lines: Lines) -> None:
    lines[5]["salt"], lines[6]["salt"] = lines[6]["salt"], lines[5]["salt"]


def shorten_a_proof(lines: Lines) -> None:
    lines[5]["proof"] = list(lines[5]["proof"])[:-1]  # type: ignore[call-overload]


def lengthen_a_proof(lines: Lines) -> None:
    lines[5]["proof"] = list(lines[5]["proof"]) * 40  # type: ignore[call-overload]


def repeat_an_entry(lines: Lines) -> None:
    lines.insert(5, lines[5])
    lines[-1]["entries"] = len(lines) - 2


def swap_entries(lines: Lines) -> None:
    lines[5], lines[6] = lines[6], lines[5]


def drop_an_entry_only(lines: Lines) -> None:
    del lines[5]


def cut_the_end(lines: Lines) -> None:
    del lines[-1]


def go_on_behind_the_end(lines: Lines) -> None:
    lines.append(lines[5])


def add_a_field(lines: Lines) -> None:
    lines[5]["trusted"] = True


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        (edit_a_body, EvidenceMismatchError),
        (edit_body_and_head, InclusionProofError),
        (move_an_entry, InclusionProofError),
        (swap_salts, EvidenceMismatchError),
        (shorten_a_proof, InclusionProofError),
        (lengthen_a_proof, InclusionProofError),
        (repeat_an_entry, MalformedEvidenceError),
        (swap_entries, MalformedEvidenceError),
        (drop_an_entry_only, MalformedEvidenceError),
        (cut_the_end, MalformedEvidenceError),
        (go_on_behind_the_end, MalformedEvidenceError),
        (add_a_field, MalformedEvidenceError),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_changed_file_does_not_verify(
    trail: Maker, file: bytes, attack: Callable[[Lines], object], error: type[VerificationError]
) -> None:
    assert edited(file, lambda lines: None) == file
    with pytest.raises(error):
        read(edited(file, attack), key=trail.key.verifier_key)


def drop_an_entry(lines: Lines) -> None:
    del lines[5]
    lines[-1]["entries"] = len(lines) - 2


def drop_the_last_entry(lines: Lines) -> None:
    del lines[-2]
    lines[-1]["entries"] = len(lines) - 2


def ask_something_else(lines: Lines) -> None:
    lines[0]["question"] = ["accesses", "--by", "staff:somebody"]


def strip_the_signature(lines: Lines) -> None:
    lines[-1]["attestation"] = None


@pytest.mark.parametrize(
    "attack", [drop_an_entry, drop_the_last_entry, ask_something_else, strip_the_signature]
)
def test_leaving_something_out_shows_by_the_verifier_only(
    trail: Maker, file: bytes, attack: Callable[[Lines], object]
) -> None:
    raw = edited(file, attack)
    assert read(raw, key=trail.key.verifier_key)
    with pytest.raises(EvidenceMismatchError, match="complete"):
        read(raw, key=trail.key.verifier_key, verifier=VERIFIER.verifier_key)


def test_another_s_signature_on_completeness_does_not_count(trail: Maker, file: bytes) -> None:
    other = SigningKey.generate("audit.example/verifier").verifier_key
    with pytest.raises(VerificationError):
        read(file, verifier=other)
    namesake = export(trail, attest=SigningKey.generate("audit.example/verifier"))
    with pytest.raises(VerificationError):
        read(namesake, verifier=VERIFIER.verifier_key)


def test_a_trail_of_the_forger_s_own_is_refused_by_the_key_that_one_has(
    trail: Maker, file: bytes
) -> None:
    forged = SigningKey.generate(ORIGIN).verifier_key
    assert read(file)
    with pytest.raises((InvalidSignatureError, UnknownKeyError)):
        read(file, key=forged)


def test_an_older_checkpoint_does_not_cover_it(maker: Maker) -> None:
    maker.fill([50])
    older = maker.store.state().checkpoint
    maker.fill([300])
    assert older is not None
    raw = edited(export(maker), lambda lines: lines[0].update(checkpoint=older.decode()))
    with pytest.raises(VerificationError):
        read(raw, key=maker.key.verifier_key)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"PK\x03\x04",
        b'{"format":"indelible-evidence/2","question":[]}\n',
        b'{"format":"indelible-evidence/1","question":[',
        b'{"format":"indelible-evidence/1","question":[]}\n',
        b'{"format":"indelible-evidence/1",' + b"[" * 200_000 + b"\n",
        b"x" * 3_000_000,
        b'{"format":"indelible-evidence/1","question":[],"made":"","checkpoint":"\\ud800","key":"k"}\n',
    ],
)
def test_what_is_no_evidence_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(VerificationError, match="expected"):
        read(raw)


def test_no_error_tells_what_was_captured(trail: Maker, file: bytes) -> None:
    secret = "hunter2-of-zara"
    for place in ("body", "head", "salt"):
        raw = edited(file, lambda lines, place=place: lines[5].update({place: secret}))  # type: ignore[misc]
        with pytest.raises(VerificationError) as caught:
            read(raw)
        assert secret not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_bytes_changed_anywhere_never_make_other_entries(
    evidence_bytes: bytes, data: st.DataObject
) -> None:
    raw = bytearray(evidence_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    reader_key = VerifierKey.parse(json.loads(evidence_bytes.splitlines()[0])["key"])
    honest = [one.event for one in EvidenceReader(io.BytesIO(evidence_bytes))]
    try:
        found = [one.event for one in EvidenceReader(io.BytesIO(bytes(raw)), key=reader_key)]
    except VerificationError:
        return
    assert found == honest


@pytest.fixture(scope="module")
def evidence_bytes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    maker = Maker(tmp_path_factory.mktemp("evidence") / "trail.db")
    maker.fill([40])
    yield export(maker, attest=VERIFIER)
    maker.close()


def test_verifying_needs_no_database_driver(file: bytes) -> None:
    program = """
import io, sys
sys.modules["sqlite3"] = sys.modules["psycopg"] = sys.modules["_sqlite3"] = None
from indelible.integrity.evidence import EvidenceReader
print(sum(1 for _ in EvidenceReader(io.BytesIO(sys.stdin.buffer.read()))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=file, capture_output=True, check=True
    )
    assert int(done.stdout) == len(file.splitlines()) - 2


def test_the_program_in_the_documentation_finds_the_same(
    trail: Maker, file: bytes, tmp_path: Path
) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "evidence.md"
    program, _ = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)

    def run(raw: bytes, vkey: VerifierKey) -> subprocess.CompletedProcess[str]:
        (tmp_path / "file").write_bytes(raw)
        return subprocess.run(
            [sys.executable, "-I", "-c", program, str(tmp_path / "file"), str(vkey)],
            capture_output=True,
            text=True,
        )

    entries = len(file.splitlines()) - 2
    said = f"{entries} entries are in {ORIGIN} at size {trail.store.size}\n"
    assert run(file, trail.key.verifier_key).stdout == said
    for attack in (edit_a_body, edit_body_and_head, move_an_entry, shorten_a_proof):
        assert run(edited(file, attack), trail.key.verifier_key).returncode != 0
    assert run(file, SigningKey.generate(ORIGIN).verifier_key).returncode != 0


def test_the_header_is_what_an_auditor_needs(trail: Maker, file: bytes) -> None:
    header = msgspec.json.decode(file.splitlines()[0], type=Header)
    assert header.key == str(trail.key.verifier_key)
    assert header.checkpoint.startswith(f"{ORIGIN}\n{trail.store.size}\n")
    assert header.made == MADE
