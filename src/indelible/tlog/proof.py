"""A tlog-proof: one file that proves offline that an entry is in a trail (c2sp.org/tlog-proof).

It holds the entry's index, an inclusion proof and the signed checkpoint that the proof leads to.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from indelible.errors import VerificationError
from indelible.tlog.checkpoint import OpenedCheckpoint, open_checkpoint
from indelible.tlog.hashing import HASH_BYTES, MAX_SIZE, Hash, Index
from indelible.tlog.keys import VerifierKey
from indelible.tlog.merkle import MAX_PROOF_HASHES, verify_inclusion
from indelible.tlog.note import MAX_NOTE_BYTES
from indelible.tlog.strict_text import (
    format_base64,
    parse_base64,
    parse_decimal,
    parse_hash,
    shorten,
)

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_MAX_PROOF_BYTES = 2 * MAX_NOTE_BYTES


class MalformedProofError(VerificationError):
    """Bytes that aren't a tlog-proof, or values that can't be written as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """A proof, unverified. `signed_checkpoint` is the signed note, byte for byte.

    `extra` goes with the proof and is *not* authenticated by it: whoever hands over the file may
    have written it. Raises `MalformedProofError` for values that can't be written as a proof.
    """

    index: Index
    hashes: tuple[Hash, ...]
    signed_checkpoint: bytes
    extra: bytes = b""

    def __post_init__(self) -> None:
        if (
            not 0 <= self.index < MAX_SIZE
            or len(self.hashes) > MAX_PROOF_HASHES
            or any(len(each) != HASH_BYTES for each in self.hashes)
        ):
            raise MalformedProofError(
                f"proof: expected an index from 0 and at most {MAX_PROOF_HASHES} hashes of "
                f"{HASH_BYTES} bytes, came {self.index} and {len(self.hashes)} hashes"
            )


def format_proof(proof: TlogProof) -> bytes:
    """The bytes of a `.tlog-proof` file, which `parse_proof` gives back."""
    lines = [_FIRST_LINE]
    if proof.extra:
        lines.append(f"extra {format_base64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines += [format_base64(each) for each in proof.hashes]
    return "\n".join([*lines, "", ""]).encode() + proof.signed_checkpoint


def parse_proof(raw: bytes) -> TlogProof:
    """The proof in `raw`, unverified; raises `MalformedProofError` for bytes that aren't one.

    Its checkpoint is kept as it came, and read when the proof is verified.
    """
    if len(raw) > _MAX_PROOF_BYTES:
        raise MalformedProofError(
            f"proof: expected at most {_MAX_PROOF_BYTES} bytes, came {len(raw)}"
        )
    header, blank_line, signed_checkpoint = raw.partition(b"\n\n")
    if not blank_line or not header.isascii():
        raise MalformedProofError("proof: expected ASCII lines and a blank line, came other bytes")
    first, *lines = header.decode("ascii").split("\n")
    if first != _FIRST_LINE:
        raise MalformedProofError(
            f"proof: expected a first line {_FIRST_LINE!r}, came {shorten(first)}"
        )
    extra = b""
    if lines and lines[0].startswith("extra "):
        encoded = lines.pop(0).removeprefix("extra ")
        extra = parse_base64(encoded, what="proof, extra", error=MalformedProofError)
        if not extra:
            raise MalformedProofError("proof: expected no extra line when there is none, came one")
    if not lines or not lines[0].startswith("index "):
        raise MalformedProofError("proof: expected an index line, came another or none")
    index_line, *hash_lines = lines
    index = parse_decimal(
        index_line.removeprefix("index "), what="proof, index", error=MalformedProofError
    )
    hashes = [parse_hash(each, what="proof hash", error=MalformedProofError) for each in hash_lines]
    return TlogProof(
        index=Index(index), hashes=tuple(hashes), signed_checkpoint=signed_checkpoint, extra=extra
    )


def verify_proof(
    proof: TlogProof,
    leaf: Hash,
    *,
    origin: str,
    log_key: VerifierKey,
    witness_keys: Iterable[VerifierKey] = (),
) -> OpenedCheckpoint:
    """Return the checkpoint under which `leaf` is in the trail `origin`, at `proof.index`.

    Whether its cosignatures suffice is the caller's policy. Raises what `open_checkpoint` raises,
    and `InclusionProofError` when the hashes don't lead from `leaf` to the signed root.
    """
    opened = open_checkpoint(
        proof.signed_checkpoint, origin=origin, log_key=log_key, witness_keys=witness_keys
    )
    verify_inclusion(
        leaf=leaf,
        index=proof.index,
        size=opened.checkpoint.size,
        root=opened.checkpoint.root,
        proof=proof.hashes,
    )
    return opened
