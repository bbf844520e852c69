"""What other implementations published, we reproduce and accept byte for byte.

From c2sp.org/signed-note, golang.org/x/mod/sumdb/note, the Go checksum database, the testdata of
transparency-dev/tessera and of FiloSottile/torchwood's litewitness.
"""

from base64 import b64decode

import pytest

from indelible.tlog import (
    EMPTY_ROOT,
    Checkpoint,
    ConsistencyProofError,
    Hash,
    InvalidSignatureError,
    MalformedNoteError,
    Note,
    SigningKey,
    Size,
    VerifierKey,
    consistency_proof,
    encode_bundle,
    format_note,
    leaf_hash,
    open_checkpoint,
    parse_bundle,
    parse_note,
    root_of,
    sign_checkpoint,
    sign_note,
    verify_consistency,
    verify_note,
)

from .trees import MemoryTiles

GO_SIGNING_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""  # noqa: E501
SUMDB_NAME = ".".join(("sum", "golang", "org"))  # of a key; nothing here asks a host
SUMDB_CHECKPOINT = f"""\
go.sum database tree
35225469
vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=

— {SUMDB_NAME} Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=
"""  # noqa: E501


def test_the_note_of_the_specification_verifies() -> None:
    """c2sp.org/signed-note's own example is accepted under its vkey."""
    key = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    signature = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="  # noqa: E501
    raw = f"This is an example message.\n\n— example.com/foo {signature}\n".encode()

    note = parse_note(raw)

    assert note.text == "This is an example message.\n"
    assert [each.key for each in verify_note(note, [key])] == [key]
    assert format_note(note) == raw


def test_go_s_example_note_is_reproduced() -> None:
    """Go's private key form signs Go's example text to Go's bytes."""
    key = SigningKey.parse(GO_SIGNING_KEY)
    text = parse_note(GO_NOTE.encode()).text

    assert str(key.verifier_key) == (
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    )
    assert key.export_private() == GO_SIGNING_KEY
    assert format_note(Note(text, (sign_note(text, key),))) == GO_NOTE.encode()


def test_the_checkpoint_of_the_go_checksum_database_opens() -> None:
    """A checkpoint of a public log that has run for years verifies under its published key."""
    opened = open_checkpoint(
        SUMDB_CHECKPOINT.encode(),
        origin="go.sum database tree",
        log_key=VerifierKey.parse(
            f"{SUMDB_NAME}+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
        ),
    )

    assert opened.checkpoint.size == 35_225_469
    assert opened.cosignatures == ()


TESSERA_SIGNING_KEY = (
    "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
)
TESSERA_ENTRIES = (
    b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split()
)
TESSERA_ROOTS = {
    0: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    1: "0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=",
    2: "T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=",
    3: "Wqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=",
    15: "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=",
}


@pytest.mark.parametrize("size", TESSERA_ROOTS)
def test_tessera_s_roots_are_ours(size: int) -> None:
    """The same entries have the same root in Tessera and here."""
    root = root_of([leaf_hash(entry) for entry in TESSERA_ENTRIES[:size]])

    assert root == b64decode(TESSERA_ROOTS[size])


def test_tessera_s_signed_checkpoint_is_reproduced() -> None:
    """The signed checkpoint of 15 entries is byte-identical to Tessera's."""
    key = SigningKey.parse(TESSERA_SIGNING_KEY)
    root = root_of([leaf_hash(entry) for entry in TESSERA_ENTRIES])
    checkpoint = Checkpoint(origin="example.com/log/testdata", size=Size(15), root=root)

    assert str(key.verifier_key) == (
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    )
    assert sign_checkpoint(checkpoint, key).decode() == (
        "example.com/log/testdata\n15\nrKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n\n"
        "— example.com/log/testdata M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+"
        "CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=\n"
    )


def test_tessera_s_bundle_and_leaf_hash_are_ours() -> None:
    """Three entries bundle to Tessera's bytes, and back."""
    bundle = bytes.fromhex("00036f6e65000374776f00057468726565")

    assert encode_bundle(TESSERA_ENTRIES[:3]) == bundle
    assert parse_bundle(bundle, 3) == TESSERA_ENTRIES[:3]
    assert leaf_hash(b"one").hex().startswith("d0d7360a")
    assert leaf_hash(b"one").hex().endswith("298df9e9")


# litewitness checks a tree whose leaf hashes (not entries) are 0x2a, n, and thirty zeros.
WITNESSED_LEAVES = [Hash(bytes([0x2A, n]) + bytes(30)) for n in range(5)]
WITNESSED_ROOTS = {
    0: EMPTY_ROOT,
    1: b64decode("KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    3: b64decode("RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0="),
    5: b64decode("QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY="),
}
WITNESSED_PROOFS = {
    (0, 1): [],
    (1, 3): [
        "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
    (1, 5): [
        "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=",
        "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
    (3, 5): [
        "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "KgMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=",
        "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
}


@pytest.mark.parametrize(("old", "new"), WITNESSED_PROOFS)
def test_litewitness_s_consistency_proofs_are_ours(old: int, new: int) -> None:
    """The proofs that a deployed witness is tested with are those that we build and accept."""
    tiles = MemoryTiles(WITNESSED_LEAVES[:new])
    proof = tuple(Hash(b64decode(each)) for each in WITNESSED_PROOFS[old, new])

    assert tiles.edge.root == WITNESSED_ROOTS[new]
    assert consistency_proof(tiles, Size(old), Size(new)) == proof
    verify_consistency(
        old=Size(old),
        old_root=Hash(WITNESSED_ROOTS[old]),
        new=Size(new),
        new_root=Hash(WITNESSED_ROOTS[new]),
        proof=proof,
    )


def test_litewitness_s_corrupted_proof_is_refused() -> None:
    """The witness's own bad proof (one bit in the last byte but one) is refused here too."""
    with pytest.raises(ConsistencyProofError, match=r"size 1 .* with size 3"):
        verify_consistency(
            old=Size(1),
            old_root=Hash(WITNESSED_ROOTS[1]),
            new=Size(3),
            new_root=Hash(WITNESSED_ROOTS[3]),
            proof=[
                WITNESSED_LEAVES[1],
                Hash(b64decode("KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA=")),
            ],
        )


SIGSUM_ORIGIN = (
    "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
)
SIGSUM_KEY = VerifierKey.parse(
    f"{SIGSUM_ORIGIN}+5202289b+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP"
)


@pytest.mark.parametrize(
    ("size", "signature"),
    [
        (
            1,
            "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
        ),
        (
            3,
            "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
        ),
        (
            5,
            "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
        ),
    ],
)
def test_litewitness_s_checkpoints_open(size: int, signature: str) -> None:
    """Checkpoints of a Sigsum log, as its witness accepts them."""
    opened = open_checkpoint(witnessed(size, signature), origin=SIGSUM_ORIGIN, log_key=SIGSUM_KEY)

    assert (opened.checkpoint.size, opened.checkpoint.root) == (size, WITNESSED_ROOTS[size])


def test_litewitness_s_invalid_signature_is_refused() -> None:
    """A signature made for size 3 doesn't sign size 5."""
    of_size_3 = "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go="  # noqa: E501

    with pytest.raises(InvalidSignatureError, match="5202289b"):
        open_checkpoint(witnessed(5, of_size_3), origin=SIGSUM_ORIGIN, log_key=SIGSUM_KEY)


def test_litewitness_s_second_spelling_of_a_signature_is_refused() -> None:
    """Base64 with stray bits in its last character isn't canonical, and is no note here."""
    stray_bits = "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6gx="  # noqa: E501

    with pytest.raises(MalformedNoteError, match="standard base64"):
        open_checkpoint(witnessed(3, stray_bits), origin=SIGSUM_ORIGIN, log_key=SIGSUM_KEY)


def witnessed(size: int, signature: str) -> bytes:
    root = Checkpoint(origin=SIGSUM_ORIGIN, size=Size(size), root=Hash(WITNESSED_ROOTS[size]))
    unsigned = sign_checkpoint(root, SigningKey.generate("anyone")).decode().partition("\n\n")[0]
    return f"{unsigned}\n\n— {SIGSUM_ORIGIN} {signature}\n".encode()
