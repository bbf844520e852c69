"""Checkpoints and tlog-proofs: what a trail signed, and offline proof that an entry is under it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.tlog import (
    EMPTY_ROOT,
    Algorithm,
    Checkpoint,
    Hash,
    InclusionProofError,
    Index,
    InvalidSignatureError,
    MalformedCheckpointError,
    MalformedNoteError,
    MalformedProofError,
    Note,
    OriginMismatchError,
    SigningKey,
    Size,
    TlogProof,
    UnknownKeyError,
    add_signatures,
    cosign_note,
    format_checkpoint,
    format_note,
    format_proof,
    inclusion_proof,
    leaf_hash,
    open_checkpoint,
    parse_checkpoint,
    parse_note,
    parse_proof,
    sign_checkpoint,
    sign_note,
    verify_proof,
)

from .trees import MemoryTiles, leaves

ORIGIN = "trail.example"
KEY = SigningKey.generate(ORIGIN)
WITNESS = SigningKey.generate("witness.example", Algorithm.COSIGNATURE_V1)
TREE = MemoryTiles(leaves(1000))
CHECKPOINT = Checkpoint(origin=ORIGIN, size=TREE.edge.size, root=TREE.edge.root)
SIGNED = sign_checkpoint(CHECKPOINT, KEY)
ROOT = "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

lines = st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=30)
roots = st.binary(min_size=32, max_size=32).map(Hash)
checkpoints = st.builds(
    Checkpoint,
    origin=lines,
    size=st.integers(1, 2**63 - 1).map(Size),
    root=roots,
    extensions=st.lists(lines, max_size=3).map(tuple),
)


def cosigned(raw: bytes, *, time: int = 1_700_000_000) -> bytes:
    note = parse_note(raw)
    return format_note(add_signatures(note, [cosign_note(note.text, WITNESS, time=time)]))


def test_a_signed_checkpoint_opens_with_its_cosignatures() -> None:
    """The trail's key is required; known witnesses are reported, with their times."""
    opened = open_checkpoint(
        cosigned(SIGNED),
        origin=ORIGIN,
        log_key=KEY.verifier_key,
        witness_keys=[WITNESS.verifier_key],
    )

    assert opened.checkpoint == CHECKPOINT
    assert [(each.key.name, each.time) for each in opened.cosignatures] == [
        (WITNESS.name, 1_700_000_000)
    ]


def test_witnesses_that_aren_t_known_aren_t_reported() -> None:
    """Only pinned keys count as witnesses."""
    opened = open_checkpoint(cosigned(SIGNED), origin=ORIGIN, log_key=KEY.verifier_key)

    assert opened.cosignatures == ()


def test_witnesses_alone_don_t_make_a_checkpoint() -> None:
    """Cosignatures without the trail's own signature are refused."""
    text = format_checkpoint(CHECKPOINT)
    raw = format_note(Note(text, (cosign_note(text, WITNESS, time=1),)))

    with pytest.raises(UnknownKeyError, match=f"the trail's key {ORIGIN}"):
        open_checkpoint(
            raw,
            origin=ORIGIN,
            log_key=KEY.verifier_key,
            witness_keys=[WITNESS.verifier_key],
        )


def test_a_checkpoint_of_another_trail_is_refused() -> None:
    """One key may sign two trails; the origin says which one this is."""
    with pytest.raises(
        OriginMismatchError, match=r"expected origin 'other', came 'trail\.example'"
    ):
        open_checkpoint(SIGNED, origin="other", log_key=KEY.verifier_key)


def test_a_key_in_the_wrong_role_verifies_nothing() -> None:
    """A witness's key isn't taken for a trail's, nor a trail's for a witness's."""
    with pytest.raises(UnknownKeyError, match="type 0x01"):
        open_checkpoint(SIGNED, origin=ORIGIN, log_key=WITNESS.verifier_key)
    with pytest.raises(UnknownKeyError, match="type 0x04"):
        open_checkpoint(
            SIGNED,
            origin=ORIGIN,
            log_key=KEY.verifier_key,
            witness_keys=[KEY.verifier_key],
        )


def test_any_changed_byte_of_a_signed_checkpoint_is_found() -> None:
    """Every single byte counts: the text's, the name's, the signature's."""
    for at in range(len(SIGNED)):
        changed = SIGNED[:at] + bytes([SIGNED[at] ^ 1]) + SIGNED[at + 1 :]
        with pytest.raises(VerificationError):
            open_checkpoint(changed, origin=ORIGIN, log_key=KEY.verifier_key)


@given(checkpoints)
def test_a_checkpoint_is_read_as_it_was_written(checkpoint: Checkpoint) -> None:
    """Formatting and parsing are inverse."""
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


@given(st.text(st.characters(), max_size=100))
def test_any_text_is_a_checkpoint_or_our_error(text: str) -> None:
    """No text gets another exception out of the parser, and what parses is canonical."""
    for candidate in (text, text + "\n", f"o\n{text}\n{ROOT}\n", f"o\n1\n{text}\n"):
        try:
            checkpoint = parse_checkpoint(candidate)
        except MalformedCheckpointError:
            continue
        assert format_checkpoint(checkpoint) == candidate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "last newline"),
        (f"origin\n1\n{ROOT}", "last newline"),
        ("origin\n1\n", "came 2 lines"),
        (f"\n1\n{ROOT}\n", "one non-empty line each"),
        (f"origin\n1\n{ROOT}\n\n", "one non-empty line each"),
        (f"origin\n01\n{ROOT}\n", "without leading zeros, came '01'"),
        (f"origin\n+1\n{ROOT}\n", "without leading zeros"),
        (f"origin\n-1\n{ROOT}\n", "without leading zeros"),
        (f"origin\n1_0\n{ROOT}\n", "without leading zeros"),
        (f"origin\n 1\n{ROOT}\n", "without leading zeros"),
        (f"origin\n١\n{ROOT}\n", "without leading zeros"),
        (f"origin\n²\n{ROOT}\n", "without leading zeros"),
        (f"origin\n\n{ROOT}\n", "without leading zeros"),
        (f"origin\n9223372036854775808\n{ROOT}\n", "2\\^63"),
        (f"origin\n{'9' * 5000}\n{ROOT}\n", "5000 characters"),
        (f"origin\n0\n{ROOT}\n", "empty tree's root"),
        (f"origin\n1\n{ROOT[:-1]}\n", "standard base64"),
        (f"origin\n1\n{ROOT[:-2]}B=\n", "standard base64"),
        (f"origin\n1\n {ROOT}\n", "standard base64"),
        ("origin\n1\nAAAA\n", "expected 32 bytes, came 3"),
        (f"orig\tin\n1\n{ROOT}\n", "no control characters"),
        (f"origin\r\n1\r\n{ROOT}\r\n", "no control characters"),
    ],
)
def test_what_breaks_a_rule_of_the_format_is_no_checkpoint(text: str, message: str) -> None:
    """Each rule of c2sp.org/tlog-checkpoint, with what was expected."""
    with pytest.raises(MalformedCheckpointError, match=message):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"origin": "\ud800"},
        {"size": -1},
        {"size": 2**63},
        {"size": 0},
        {"root": b"short"},
        {"extensions": ("",)},
        {"extensions": ("two\nlines",)},
    ],
)
def test_a_checkpoint_that_can_t_be_read_back_can_t_be_made(change: dict[str, object]) -> None:
    """Values that no checkpoint can state are refused before anything is signed."""
    with pytest.raises(MalformedCheckpointError):
        dataclasses.replace(CHECKPOINT, **change)


def test_a_signed_note_that_is_no_checkpoint_is_refused() -> None:
    """A text that the trail's key signed for another purpose doesn't pass for a checkpoint."""
    text = "trail.example says hello\n"
    raw = format_note(Note(text, (sign_note(text, KEY),)))

    with pytest.raises(MalformedCheckpointError, match="came 1 lines"):
        open_checkpoint(raw, origin=ORIGIN, log_key=KEY.verifier_key)


def test_the_empty_trail_has_a_checkpoint() -> None:
    """A trail is signed from its first moment, before its first entry."""
    empty = Checkpoint(origin=ORIGIN, size=Size(0), root=EMPTY_ROOT)

    raw = sign_checkpoint(empty, KEY)

    assert open_checkpoint(raw, origin=ORIGIN, log_key=KEY.verifier_key).checkpoint == empty


def proof_of(index: int, extra: bytes = b"") -> TlogProof:
    return TlogProof(
        index=Index(index),
        hashes=inclusion_proof(TREE, Index(index), Size(1000)),
        signed_checkpoint=cosigned(SIGNED),
        extra=extra,
    )


@pytest.mark.parametrize("index", [0, 255, 256, 767, 999])
def test_one_file_proves_offline_that_an_entry_is_in_a_trail(index: int) -> None:
    """A proof that went through bytes verifies with nothing but the pinned keys."""
    proof = parse_proof(format_proof(proof_of(index, extra=b"a salt")))

    opened = verify_proof(
        proof,
        leaf_hash(b"entry %d" % index),
        origin=ORIGIN,
        log_key=KEY.verifier_key,
        witness_keys=[WITNESS.verifier_key],
    )

    assert proof.extra == b"a salt"
    assert opened.checkpoint == CHECKPOINT
    assert len(opened.cosignatures) == 1


def test_a_proof_is_laid_out_as_the_specification_says() -> None:
    """First line, extra, index, hashes, blank line, and the checkpoint verbatim."""
    tree = MemoryTiles(leaves(2))
    proof = TlogProof(
        index=Index(0),
        hashes=inclusion_proof(tree, Index(0), Size(2)),
        signed_checkpoint=b"checkpoint",
        extra=b"\0",
    )

    first, extra, index, sibling, blank, checkpoint = format_proof(proof).decode().split("\n")

    assert (first, extra, index) == ("c2sp.org/tlog-proof@v1", "extra AA==", "index 0")
    assert (len(sibling), blank, checkpoint) == (44, "", "checkpoint")


def test_a_proof_of_another_entry_index_or_trail_is_refused() -> None:
    """It proves one entry at one index of one trail, and nothing else."""
    proof, leaf = proof_of(300), leaf_hash(b"entry 300")

    with pytest.raises(InclusionProofError, match="index 300 in the tree of size 1000"):
        verify(proof, leaf_hash(b"entry 301"))
    with pytest.raises(InclusionProofError, match="index 301"):
        verify(dataclasses.replace(proof, index=Index(301)), leaf)
    with pytest.raises(InclusionProofError, match="came 1000"):
        verify(dataclasses.replace(proof, index=Index(1000)), leaf)
    with pytest.raises(InclusionProofError, match="came 9 hashes"):
        verify(dataclasses.replace(proof, hashes=proof.hashes[:-1]), leaf)
    with pytest.raises(InvalidSignatureError):
        forged = proof.signed_checkpoint.replace(b"\n1000\n", b"\n1001\n")
        verify(dataclasses.replace(proof, signed_checkpoint=forged), leaf)
    with pytest.raises(MalformedNoteError):
        verify(dataclasses.replace(proof, signed_checkpoint=b"nothing"), leaf)
    with pytest.raises(OriginMismatchError):
        verify_proof(proof, leaf, origin="other", log_key=KEY.verifier_key)


def verify(proof: TlogProof, leaf: Hash) -> None:
    verify_proof(proof, leaf, origin=ORIGIN, log_key=KEY.verifier_key)


@given(
    st.integers(0, 2**63 - 2),
    st.lists(roots, max_size=63),
    st.binary(max_size=100),
    st.binary(max_size=100),
)
def test_a_proof_is_read_as_it_was_written(
    index: int, hashes: list[Hash], checkpoint: bytes, extra: bytes
) -> None:
    """Formatting and parsing are inverse, whatever the bytes of the checkpoint."""
    proof = TlogProof(
        index=Index(index), hashes=tuple(hashes), signed_checkpoint=checkpoint, extra=extra
    )

    assert parse_proof(format_proof(proof)) == proof


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_our_error(raw: bytes) -> None:
    """No bytes get another exception out of the parser, and what parses is canonical."""
    start = b"c2sp.org/tlog-proof@v1\n"
    for candidate in (raw, start + raw, start + b"index 1\n" + raw, start + b"extra " + raw):
        try:
            proof = parse_proof(candidate)
        except MalformedProofError:
            continue
        assert format_proof(proof) == candidate


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("c2sp.org/tlog-proof@v2\nindex 0", "first line"),
        ("c2sp.org/tlog-proof@v1", "expected an index line"),
        ("c2sp.org/tlog-proof@v1\nextra AAAA", "expected an index line"),
        ("c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA", "proof hash"),
        ("c2sp.org/tlog-proof@v1\nextra \nindex 0", "no extra line"),
        ("c2sp.org/tlog-proof@v1\nextra A\nindex 0", "proof, extra: expected padded"),
        ("c2sp.org/tlog-proof@v1\nindex 00", "leading zeros"),
        ("c2sp.org/tlog-proof@v1\nindex -1", "leading zeros"),
        ("c2sp.org/tlog-proof@v1\nindex 0\nAAAA", "expected 32 bytes, came 3"),
        ("c2sp.org/tlog-proof@v1\nindex 0" + f"\n{ROOT}" * 64, "at most 63 hashes"),
        ("c2sp.org/tlog-proof@v1\nindex 9223372036854775807", "index from 0"),
        ("c2sp.org/tlog-proof@v1\r\nindex 0", "first line"),
        ("c2sp.org/tlog-proof@v1\nindex ٠", "ASCII lines"),
    ],
)
def test_what_breaks_a_rule_of_the_format_is_no_proof(header: str, message: str) -> None:
    """Each rule of c2sp.org/tlog-proof, with what was expected."""
    with pytest.raises(MalformedProofError, match=message):
        parse_proof(f"{header}\n\ncheckpoint".encode())


def test_a_proof_without_its_blank_line_or_of_absurd_length_is_refused() -> None:
    """The parser doesn't read on for ever."""
    with pytest.raises(MalformedProofError, match="a blank line"):
        parse_proof(b"c2sp.org/tlog-proof@v1\nindex 0\n")
    with pytest.raises(MalformedProofError, match="at most 2000000 bytes"):
        parse_proof(bytes(2_000_001))
