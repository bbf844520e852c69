"""Signed notes: a text with the signatures under it.

Signatures of keys that the verifier doesn't know are ignored, so that witnesses and new keys can be
added; a signature that a known key did not make condemns the whole note. The formats are those of
c2sp.org/signed-note and c2sp.org/tlog-cosignature.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from indelible.errors import VerificationError
from indelible.tlog.hashing import MAX_SIZE
from indelible.tlog.keys import (
    Algorithm,
    InvalidSignatureError,
    Signer,
    VerifierKey,
    is_key_name,
)
from indelible.tlog.strict_text import format_base64, parse_base64, shorten

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
"""Beyond both limits a note is refused unread; Go's reference verifier has the same two."""

_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_SIGNATURE_START = "— "


class MalformedNoteError(VerificationError):
    """Bytes that aren't a signed note, or a text that can't be signed as one."""


class UnknownKeyError(VerificationError):
    """No signature on the note is by a key that the verifier was given."""


class AmbiguousKeyError(VerificationError):
    """Two different keys have the same name and key id, so that a signature could mean either."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, unverified. The tuple of name and key id says which key it claims."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it. Nothing in it may be believed before `verify_note`."""

    text: str
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A key that was found to have signed, and the POSIX second that a cosigner stated."""

    key: VerifierKey
    time: int | None = None


def parse_note(raw: bytes) -> Note:
    """The note in `raw`, unverified; raises `MalformedNoteError` for bytes that aren't one."""
    if len(raw) > MAX_NOTE_BYTES:
        raise MalformedNoteError(f"note: expected at most {MAX_NOTE_BYTES} bytes, came {len(raw)}")
    whole = _decode(raw)
    body, blank_line, lines = whole.rpartition("\n\n")
    if not blank_line:
        raise MalformedNoteError("note: expected a blank line before the signatures, came none")
    return Note(text=body + "\n", signatures=_parse_lines(lines))


def format_note(note: Note) -> bytes:
    """The bytes of a note, which `parse_note` gives back; raises `MalformedNoteError`."""
    check_note_text(note.text)
    return (note.text + "\n").encode() + format_signatures(note.signatures)


def parse_signatures(raw: bytes) -> tuple[NoteSignature, ...]:
    """Signature lines alone, as a witness answers with; raises `MalformedNoteError`."""
    return _parse_lines(_decode(raw))


def format_signatures(signatures: Sequence[NoteSignature]) -> bytes:
    """The signature lines of a note; raises `MalformedNoteError` for what can't be written."""
    lines = [
        f"{_SIGNATURE_START}{each.name} {format_base64(each.key_id + each.signature)}\n"
        for each in signatures
    ]
    if (
        not all(is_key_name(each.name) and len(each.key_id) == _KEY_ID_BYTES for each in signatures)
        or not all(each.signature for each in signatures)
        or not 1 <= len(signatures) <= MAX_SIGNATURES
    ):
        raise MalformedNoteError(
            f"signatures: expected 1 to {MAX_SIGNATURES}, each with a name, a key id of "
            f"{_KEY_ID_BYTES} bytes and a signature, came {shorten(''.join(lines))}"
        )
    return "".join(lines).encode()


def check_note_text(text: str) -> None:
    """Raise `MalformedNoteError` unless `text` is whole lines without control characters."""
    if not text.endswith("\n"):
        raise MalformedNoteError(f"note text: expected a last newline, came {shorten(text[-20:])}")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise MalformedNoteError("note text: expected text that UTF-8 can hold") from None
    _decode(encoded)


def sign_note(text: str, key: Signer) -> NoteSignature:
    """The Ed25519 signature of `key` over `text`; the same each time.

    Raises `MalformedNoteError` for a text that can't be a note's, and for a cosigner's key.
    """
    check_note_text(text)
    _check_algorithm(key, Algorithm.ED25519)
    return _signature(key, key.sign_bytes(text.encode()))


def cosign_note(text: str, key: Signer, *, time: int) -> NoteSignature:
    """The cosignature/v1 of `key` over `text`, stating the POSIX second `time`.

    The caller must have verified the checkpoint's consistency with the last one it cosigned.
    Raises `MalformedNoteError` for a text that can't be a note's, a time below 0 or above 2^63 - 1,
    and for a key that isn't a cosigner's.
    """
    check_note_text(text)
    _check_algorithm(key, Algorithm.COSIGNATURE_V1)
    if not 0 <= time <= MAX_SIZE:
        raise MalformedNoteError(f"cosignature time: expected 0 to 2^63 - 1, came {time}")
    signature = key.sign_bytes(_cosigned_message(text, time))
    return _signature(key, time.to_bytes(_TIME_BYTES, "big") + signature)


def add_signatures(note: Note, signatures: Iterable[NoteSignature]) -> Note:
    """The note with more signatures under those it has; what it has already is left out."""
    merged = dict.fromkeys((*note.signatures, *signatures))
    return replace(note, signatures=tuple(merged))


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """Which of `keys` signed the note: at most one each, in the order of their signatures.

    A quorum may therefore be counted on the result. Of several cosignatures by one key the one with
    the latest time stands. Raises `UnknownKeyError` when none of `keys` signed, and
    `InvalidSignatureError` when any signature that claims one of `keys` is not by it, even if
    another one is; `AmbiguousKeyError` when `keys` are not told apart by name and key id.
    """
    known = _by_name_and_id(keys)
    verified: dict[VerifierKey, VerifiedSignature] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        found = _verify_signature(note.text, signature, key)
        earlier = verified.get(key)
        if earlier is None or (found.time or 0) > (earlier.time or 0):
            verified[key] = found
    if not verified:
        raise UnknownKeyError(
            f"note: expected a signature by one of {_names(known)}, "
            f"came {_names((each.name, each.key_id) for each in note.signatures)}"
        )
    return tuple(verified.values())


def _verify_signature(text: str, claimed: NoteSignature, key: VerifierKey) -> VerifiedSignature:
    signature, message, time = claimed.signature, text.encode(), None
    if key.algorithm is Algorithm.COSIGNATURE_V1:
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        signature, message = signature[_TIME_BYTES:], _cosigned_message(text, time)
        if time > MAX_SIZE:
            raise InvalidSignatureError(f"cosignature by {key}: expected a time below 2^63")
    key.verify(signature, message)
    return VerifiedSignature(key, time)


def _cosigned_message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _signature(key: Signer, signature: bytes) -> NoteSignature:
    public = key.verifier_key
    return NoteSignature(public.name, public.key_id, signature)


def _check_algorithm(key: Signer, expected: Algorithm) -> None:
    if key.verifier_key.algorithm is not expected:
        raise MalformedNoteError(
            f"signing: expected a key of type {expected.name}, came {key.verifier_key}"
        )


def _by_name_and_id(keys: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        other = known.setdefault((key.name, key.key_id), key)
        if other != key:
            raise AmbiguousKeyError(
                f"keys: expected one key for each name and id, came {other}, {key}"
            )
    return known


def _parse_lines(lines: str) -> tuple[NoteSignature, ...]:
    if not lines.endswith("\n") or lines.count("\n") > MAX_SIGNATURES:
        raise MalformedNoteError(
            f"signatures: expected 1 to {MAX_SIGNATURES} whole lines, came {shorten(lines)}"
        )
    return tuple(_parse_line(line) for line in lines.removesuffix("\n").split("\n"))


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_SIGNATURE_START).partition(" ")
    if not line.startswith(_SIGNATURE_START) or not space or not is_key_name(name):
        raise MalformedNoteError(
            f"signature line: expected «— <key name> <base64>», came {shorten(line)}"
        )
    raw = parse_base64(encoded, what=f"signature of {shorten(name)}", error=MalformedNoteError)
    if len(raw) <= _KEY_ID_BYTES:
        raise MalformedNoteError(
            f"signature of {shorten(name)}: expected more than {_KEY_ID_BYTES} bytes, "
            f"came {len(raw)}"
        )
    return NoteSignature(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedNoteError(
            f"note: expected UTF-8, came another byte at {error.start}"
        ) from None
    if control := next((each for each in text if each < " " and each != "\n"), None):
        raise MalformedNoteError(f"note: expected no control characters, came {control!r}")
    return text


def _names(claims: Iterable[tuple[str, bytes]]) -> str:
    return shorten(", ".join(f"{name}+{key_id.hex()}" for name, key_id in claims), limit=400)
