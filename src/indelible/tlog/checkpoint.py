"""Checkpoints: the signed statement that a trail had this root at this size.

The format is c2sp.org/tlog-checkpoint: a signed note whose text is origin, size and root.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from indelible.errors import VerificationError
from indelible.tlog.hashing import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, Hash, Size
from indelible.tlog.keys import Algorithm, Signer, VerifierKey
from indelible.tlog.note import (
    MalformedNoteError,
    Note,
    UnknownKeyError,
    VerifiedSignature,
    check_note_text,
    format_note,
    parse_note,
    sign_note,
    verify_note,
)
from indelible.tlog.strict_text import format_base64, parse_decimal, parse_hash, shorten


class MalformedCheckpointError(VerificationError):
    """A text that isn't a checkpoint, or values that no checkpoint can state."""


class OriginMismatchError(VerificationError):
    """A checkpoint is of another trail than the one that was asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is signed: which trail (`origin`), how many entries, and the root over them.

    `extensions` are further lines, which witnesses don't vouch for; ours have none. Raises
    `MalformedCheckpointError` for values that can't be written as a checkpoint.
    """

    origin: str
    size: Size
    root: Hash
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if not all(lines) or any("\n" in line for line in lines):
            raise MalformedCheckpointError(
                f"checkpoint: expected an origin and extensions of one non-empty line each, "
                f"came {shorten(repr(lines))}"
            )
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise MalformedCheckpointError(
                f"checkpoint of {shorten(self.origin)}: expected a size from 0 to 2^63 - 1 and a "
                f"root of {HASH_BYTES} bytes, came {self.size} and {len(self.root)} bytes"
            )
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise MalformedCheckpointError(
                f"checkpoint of {shorten(self.origin)}: expected the empty tree's root at size 0, "
                f"came {self.root.hex()}"
            )
        _check_text(format_checkpoint(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCheckpoint:
    """A checkpoint that the trail's key signed, and the witnesses that cosigned it, each once."""

    checkpoint: Checkpoint
    cosignatures: tuple[VerifiedSignature, ...]


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The note text of a checkpoint."""
    lines = (
        checkpoint.origin,
        str(checkpoint.size),
        format_base64(checkpoint.root),
        *checkpoint.extensions,
    )
    return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint of a note text, unverified; raises `MalformedCheckpointError`."""
    _check_text(text)
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3:
        raise MalformedCheckpointError(
            f"checkpoint: expected origin, size and root lines, came {len(lines)} lines"
        )
    origin, size, root, *extensions = lines
    what = f"checkpoint of {shorten(origin)}"
    return Checkpoint(
        origin=origin,
        size=Size(parse_decimal(size, what=f"{what}, size", error=MalformedCheckpointError)),
        root=parse_hash(root, what=f"{what}, root", error=MalformedCheckpointError),
        extensions=tuple(extensions),
    )


def sign_checkpoint(checkpoint: Checkpoint, *keys: Signer) -> bytes:
    """The signed note of a checkpoint: the same bytes each time (Ed25519 has no randomness).

    By each of `keys`: while a key is rotated there are two.

    Never sign one that is inconsistent with an earlier one: nothing here can know, the caller must.
    """
    text = format_checkpoint(checkpoint)
    return format_note(Note(text, tuple(sign_note(text, key) for key in keys)))


def open_checkpoint(
    raw: bytes, *, origin: str, log_key: VerifierKey, witness_keys: Iterable[VerifierKey] = ()
) -> OpenedCheckpoint:
    """The checkpoint in the signed note `raw`: of `origin`, and signed by `log_key`.

    `cosignatures` has those of `witness_keys` that cosigned; how many must is the caller's policy.
    Raises `MalformedNoteError`, `MalformedCheckpointError`, `OriginMismatchError`,
    `UnknownKeyError` when `log_key` did not sign (however many witnesses did), and
    `InvalidSignatureError` when a signature claims `log_key` or a witness and isn't by it.
    """
    note = parse_note(raw)
    witnesses = tuple(witness_keys)
    _check_roles(log_key, witnesses)
    verified = verify_note(note, (log_key, *witnesses))
    if not any(each.key == log_key for each in verified):
        raise UnknownKeyError(
            f"checkpoint: expected a signature by the trail's key {log_key}, came only witnesses'"
        )
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise OriginMismatchError(
            f"checkpoint: expected origin {shorten(origin)}, came {shorten(checkpoint.origin)}"
        )
    cosignatures = tuple(each for each in verified if each.key != log_key)
    return OpenedCheckpoint(checkpoint=checkpoint, cosignatures=cosignatures)


def _check_roles(log_key: VerifierKey, witness_keys: tuple[VerifierKey, ...]) -> None:
    """A key in the wrong role would verify what it was never meant to vouch for."""
    if log_key.algorithm is not Algorithm.ED25519:
        raise UnknownKeyError(f"checkpoint: expected a trail's key of type 0x01, came {log_key}")
    for key in witness_keys:
        if key.algorithm is not Algorithm.COSIGNATURE_V1:
            raise UnknownKeyError(f"checkpoint: expected witness keys of type 0x04, came {key}")


def _check_text(text: str) -> None:
    try:
        check_note_text(text)
    except MalformedNoteError as error:
        raise MalformedCheckpointError(f"checkpoint: {error}") from None
