"""What trail and witness say to each other: one spelling each, and nothing else is read."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.tlog import (
    AddCheckpoint,
    Algorithm,
    Checkpoint,
    Hash,
    InvalidSignatureError,
    MalformedNoteError,
    MalformedWitnessMessageError,
    SigningKey,
    Size,
    UnknownKeyError,
    cosign_note,
    format_add_checkpoint,
    format_known_size,
    format_signatures,
    open_cosignature,
    parse_add_checkpoint,
    parse_known_size,
    parse_note,
    sign_checkpoint,
    witnessed_checkpoint_path,
)

# The example of c2sp.org/tlog-witness; its signatures are made up.
SPECIFIED = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
""".encode()  # noqa: E501

LOG = SigningKey.generate("example.com/trail")
WITNESS = SigningKey.generate("witness.example/w", Algorithm.COSIGNATURE_V1)
CHECKPOINT = sign_checkpoint(
    Checkpoint(origin="example.com/trail", size=Size(3), root=Hash(bytes(32))), LOG
)
TEXT = parse_note(CHECKPOINT).text


def test_the_request_of_the_specification_is_read_and_written_back() -> None:
    """Old size, four hashes, and the checkpoint byte for byte."""
    request = parse_add_checkpoint(SPECIFIED)

    assert request.old == 20_852_014
    assert len(request.proof) == 4
    assert request.proof[0] == b64decode("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=")
    assert request.signed_checkpoint.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert format_add_checkpoint(request) == SPECIFIED


@given(
    old=st.integers(0, 2**63 - 1),
    proof=st.lists(st.binary(min_size=32, max_size=32).map(Hash), max_size=63),
)
def test_what_is_written_is_read_back(old: int, proof: list[Hash]) -> None:
    """Any size and proof."""
    request = AddCheckpoint(old=Size(old), proof=tuple(proof), signed_checkpoint=CHECKPOINT)

    assert parse_add_checkpoint(format_add_checkpoint(request)) == request


HASH = b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1",
        b"old 1\n",
        b"old 1\n" + HASH + CHECKPOINT,
        b"old 01\n\n" + CHECKPOINT,
        b"old -1\n\n" + CHECKPOINT,
        b"old +1\n\n" + CHECKPOINT,
        b"old  1\n\n" + CHECKPOINT,
        b"old 9223372036854775808\n\n" + CHECKPOINT,
        b"Old 1\n\n" + CHECKPOINT,
        b"old 1\r\n\r\n" + CHECKPOINT,
        b"old 1\n" + HASH * 64 + b"\n" + CHECKPOINT,
        b"old 1\n" + HASH[:-2] + b"\n\n" + CHECKPOINT,
        b"old 1\n" + HASH.strip() + b" \n\n" + CHECKPOINT,
        b"old 1\nYQ==\n\n" + CHECKPOINT,
        "old ١\n\n".encode() + CHECKPOINT,
        b"old 1\n\n" + bytes(65_536),
    ],
)
def test_what_isn_t_a_request_is_refused(body: bytes) -> None:
    """A second spelling of a number or hash, too many of them, or other bytes."""
    with pytest.raises(MalformedWitnessMessageError, match=r"add-checkpoint"):
        parse_add_checkpoint(body)


def test_a_size_has_one_spelling() -> None:
    """As a 409 has it: decimal and a newline."""
    assert parse_known_size(format_known_size(Size(0))) == 0
    assert parse_known_size(b"777\n") == 777
    for body in (b"", b"777", b"0777\n", b"7\n7\n", b"-1\n", b" 7\n", "٧\n".encode(), b"7\n\n"):
        with pytest.raises(MalformedWitnessMessageError, match="size"):
            parse_known_size(body)


def test_a_cosignature_is_taken_from_the_answer() -> None:
    """The witness's own latest line; those of keys that nobody knows are left out."""
    stranger = SigningKey.generate("witness.example/w", Algorithm.COSIGNATURE_V1)
    lines = [
        cosign_note(TEXT, stranger, time=999),
        cosign_note(TEXT, WITNESS, time=5),
        cosign_note(TEXT, WITNESS, time=7),
    ]
    found, time = open_cosignature(format_signatures(lines), CHECKPOINT, WITNESS.verifier_key)

    assert (found, time) == (lines[2], 7)


def test_answers_that_don_t_cosign_are_refused() -> None:
    """Another key, another checkpoint, no time, no signature: each has its error."""
    key = WITNESS.verifier_key
    stranger = SigningKey.generate("witness.example/w", Algorithm.COSIGNATURE_V1)
    other = TEXT.replace("\n3\n", "\n4\n")

    def refused(body: bytes, error: type[VerificationError]) -> None:
        with pytest.raises(error):
            open_cosignature(body, CHECKPOINT, key)

    refused(format_signatures([cosign_note(TEXT, stranger, time=7)]), UnknownKeyError)
    refused(format_signatures([cosign_note(other, WITNESS, time=7)]), InvalidSignatureError)
    refused(format_signatures([cosign_note(TEXT, WITNESS, time=0)]), MalformedWitnessMessageError)
    good = format_signatures([cosign_note(TEXT, WITNESS, time=7)])
    refused(good.removesuffix(b"\n"), MalformedNoteError)
    refused(b"", MalformedNoteError)
    refused(b"<html>", MalformedNoteError)
    refused(good * 1_000, MalformedWitnessMessageError)
    half_wrong = format_signatures(
        [cosign_note(TEXT, WITNESS, time=7), cosign_note(other, WITNESS, time=8)]
    )
    refused(half_wrong, InvalidSignatureError)


def test_where_a_witness_shows_a_log_is_by_its_origin_s_hash() -> None:
    """SHA-256 of the origin, hexadecimal."""
    assert witnessed_checkpoint_path("example.com/trail") == (
        "fc2de77cd696e37b589fe42324e69fb2c6eb100558581644e46aff8d000d3de5/checkpoint"
    )


@given(st.binary(max_size=300), st.integers(0, 400), st.binary(max_size=3))
def test_whatever_comes_is_read_or_our_own_error(noise: bytes, at: int, cut: bytes) -> None:
    """Noise, and a good message with a hole in it."""
    good = format_signatures([cosign_note(TEXT, WITNESS, time=7)])
    for body in (noise, SPECIFIED[:at] + cut + SPECIFIED[at + 1 :], good[:at] + cut + good[at:]):
        for read in (
            parse_add_checkpoint,
            parse_known_size,
            lambda raw: open_cosignature(raw, CHECKPOINT, WITNESS.verifier_key),
        ):
            try:
                read(body)
            except VerificationError:
                continue
