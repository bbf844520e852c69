"""What goes between a trail and a witness: the request for a cosignature, and its answers.

The bytes are those of c2sp.org/tlog-witness; whoever sends and receives them is elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from indelible.errors import VerificationError
from indelible.tlog.hashing import MAX_SIZE, Hash, Size
from indelible.tlog.keys import VerifierKey
from indelible.tlog.merkle import MAX_PROOF_HASHES
from indelible.tlog.note import (
    Note,
    NoteSignature,
    parse_note,
    parse_signatures,
    verify_note,
)
from indelible.tlog.strict_text import format_base64, parse_decimal, parse_hash, shorten

ADD_CHECKPOINT_PATH = "add-checkpoint"
SIZE_CONTENT_TYPE = "text/x.tlog.size"
MAX_REQUEST_BYTES = 64 * 1024
"""A request of ours has at most 63 hashes and a note of a few hundred bytes: some 4 KiB."""
MAX_ANSWER_BYTES = 64 * 1024

_OLD = "old "


class MalformedWitnessMessageError(VerificationError):
    """Bytes that aren't a request to a witness, or aren't an answer of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """The request to cosign: `proof` leads from the size that the witness knows to the new one.

    `signed_checkpoint` is the signed note, byte for byte and unverified.
    """

    old: Size
    proof: tuple[Hash, ...]
    signed_checkpoint: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.old <= MAX_SIZE or len(self.proof) > MAX_PROOF_HASHES:
            raise MalformedWitnessMessageError(
                f"add-checkpoint: expected an old size from 0 and at most {MAX_PROOF_HASHES} "
                f"hashes, came {self.old} and {len(self.proof)}"
            )


def format_add_checkpoint(request: AddCheckpoint) -> bytes:
    """The body of the request, which `parse_add_checkpoint` gives back."""
    lines = [f"{_OLD}{request.old}", *map(format_base64, request.proof), "", ""]
    return "\n".join(lines).encode() + request.signed_checkpoint


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """The request in `body`; raises `MalformedWitnessMessageError` for any other bytes.

    The checkpoint in it is kept as it came, and opened by who knows its key.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise MalformedWitnessMessageError(
            f"add-checkpoint: expected at most {MAX_REQUEST_BYTES} bytes, came {len(body)}"
        )
    header, blank_line, signed_checkpoint = body.partition(b"\n\n")
    if not blank_line or not header.isascii():
        raise MalformedWitnessMessageError(
            "add-checkpoint: expected ASCII lines and a blank line before the checkpoint"
        )
    first, *hashes = header.decode("ascii").split("\n")
    if not first.startswith(_OLD):
        raise MalformedWitnessMessageError(
            f"add-checkpoint: expected a first line «old <size>», came {shorten(first)}"
        )
    if len(hashes) > MAX_PROOF_HASHES:
        raise MalformedWitnessMessageError(
            f"add-checkpoint: expected at most {MAX_PROOF_HASHES} hashes, came {len(hashes)}"
        )
    old = parse_decimal(
        first.removeprefix(_OLD),
        what="add-checkpoint, old size",
        error=MalformedWitnessMessageError,
    )
    proof = tuple(
        parse_hash(each, what="add-checkpoint, hash", error=MalformedWitnessMessageError)
        for each in hashes
    )
    return AddCheckpoint(old=Size(old), proof=proof, signed_checkpoint=signed_checkpoint)


def format_known_size(size: Size) -> bytes:
    """The body of a 409: the size of what the witness cosigned last."""
    return f"{size}\n".encode()


def parse_known_size(body: bytes) -> Size:
    """The size in the body of a 409; raises `MalformedWitnessMessageError`."""
    line = body.removesuffix(b"\n")
    if len(body) > MAX_ANSWER_BYTES or line == body or not line.isascii():
        raise MalformedWitnessMessageError("witness: expected a size and a newline in a 409")
    return Size(
        parse_decimal(
            line.decode("ascii"), what="witness, size", error=MalformedWitnessMessageError
        )
    )


def open_cosignature(
    body: bytes, signed_checkpoint: bytes, witness: VerifierKey
) -> tuple[NoteSignature, int]:
    """The cosignature of `witness` in the body of a 200, and the POSIX second that it states.

    Of several by that key the latest; signatures by other keys are left out. Raises
    `MalformedNoteError`, `UnknownKeyError` when `witness` isn't among them,
    `InvalidSignatureError` when what claims to be by it isn't, and
    `MalformedWitnessMessageError` for one without a time.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise MalformedWitnessMessageError(
            f"witness: expected at most {MAX_ANSWER_BYTES} bytes, came {len(body)}"
        )
    text = parse_note(signed_checkpoint).text
    claimed = parse_signatures(body)
    (verified,) = verify_note(Note(text, claimed), [witness])
    if not verified.time:
        raise MalformedWitnessMessageError(f"cosignature by {witness}: expected a time, came none")
    return _latest(claimed, witness, verified.time), verified.time


def witnessed_checkpoint_path(origin: str) -> str:
    """Below a witness's prefix: where the last checkpoint of `origin` that it cosigned is."""
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


def _latest(claimed: Iterable[NoteSignature], witness: VerifierKey, time: int) -> NoteSignature:
    """The line of that time; a cosignature begins with its time in 8 bytes."""
    return next(
        each
        for each in claimed
        if (each.name, each.key_id) == (witness.name, witness.key_id)
        and each.signature[:8] == time.to_bytes(8, "big")
    )
