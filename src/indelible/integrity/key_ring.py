"""The keys that sign a trail's checkpoints, as one file holds them: the newest first.

One key, or two while the first takes over from the second. Each stands as Go's text; or as its
public half with, under it, PKCS#8 under a passphrase, or the address of the key in a token
(a PKCS#11 URI). Beside the file stand the `rotations`, signed by both keys of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from indelible.durable import replace_whole
from indelible.errors import ConfigurationError, IndelibleError, VerificationError
from indelible.integrity.faults import SignerAwayError
from indelible.integrity.passphrases import (
    PEM_BEGIN,
    PEM_END,
    Passphrase,
    Unlock,
    no_passphrase,
)
from indelible.integrity.private_files import PKCS11, read_private
from indelible.tlog import (
    Checkpoint,
    Rotation,
    Signer,
    SigningKey,
    TileReader,
    VerifierKey,
    format_rotations,
    open_rotation,
    parse_rotations,
    sign_checkpoint,
    sign_rotation,
    successors,
)

KEY_FILE: Final = "trail.key"
ROTATIONS: Final = "rotations"
_PRIVATE: Final = "PRIVATE+KEY+"


class CheckpointSigner(Protocol):
    """What signs a trail's checkpoints: its keys, or who holds them elsewhere."""

    @property
    def verifier_key(self) -> VerifierKey:
        """The newest key, whose signature every checkpoint carries."""

    @property
    def rotations(self) -> Sequence[bytes]:
        """The rotations that led to it, as far as they are known here; oldest first."""

    def sign(self, checkpoint: Checkpoint, tiles: TileReader) -> bytes:
        """The signed note of `checkpoint`, whose tree `tiles` are of.

        Raises `SignerAwayError` where it can't be had now, and `SignerRefusedError` where something
        else was signed before, which this doesn't continue.
        """


class KeyRing:
    """The keys themselves. Signs whatever it is given: who asks knows what was signed before."""

    def __init__(self, signers: Sequence[Signer], rotations: Sequence[bytes] = ()) -> None:
        self.signers = tuple(signers)
        self.rotations = tuple(rotations)

    @property
    def verifier_key(self) -> VerifierKey:
        return self.signers[0].verifier_key

    def sign(self, checkpoint: Checkpoint, tiles: TileReader) -> bytes:
        return sign_checkpoint(checkpoint, *self.signers)

    def check_follows(self, key: VerifierKey) -> None:
        """Raise `ConfigurationError` unless this ring's newest key is `key`, or rotated from it."""
        found = successors(key, self.rotations, origin=key.name)
        newest = found[-1][1].new if found else key
        if newest != self.verifier_key:
            raise ConfigurationError(
                f"expected the key {newest} or a rotation from it, came {self.verifier_key}: is "
                "the key file another trail's? Nothing is signed"
            )

    def __repr__(self) -> str:
        return f"<KeyRing of {self.verifier_key}>"


class PublicRing:
    """The keys for who only reads: none signs. `rotations` may lead to one that nobody has, where a
    rotation was cut short."""

    def __init__(self, first: VerifierKey, rotations: Sequence[bytes]) -> None:
        found = successors(first, rotations, origin=first.name)
        self.verifier_key = found[-1][1].new if found else first
        self.rotations = tuple(note for note, _ in found)

    def sign(self, checkpoint: Checkpoint, tiles: TileReader) -> bytes:
        raise SignerAwayError("expected a process that signs, this one was opened to read")


def key_text(key: SigningKey, passphrase: Passphrase | None) -> str:
    """How `key` stands in a file."""
    if passphrase is None:
        return key.export_private() + "\n"
    # A tenth of a second of imports, which only who has a passphrase pays.
    from indelible.integrity.encrypted_key import encrypt_key

    return f"{key.verifier_key}\n{encrypt_key(key.private_key, passphrase)}"


def load_signers(path: Path, unlock: Unlock = no_passphrase) -> list[Signer]:
    """The one key in the file at `path`, or the two.

    Raises `ConfigurationError` where it is missing, damaged, or readable by others than its owner,
    and for a passphrase that isn't its own.
    """
    found = _parse(read_private(path), path, unlock)
    if isinstance(found, str):
        raise ConfigurationError(f"{path}: {found}")
    return found


def load_ring(path: Path, unlock: Unlock = no_passphrase) -> KeyRing:
    """The keys in the file at `path`, and the rotations beside it; raises what `load_signers`
    does."""
    found = load_signers(path, unlock)
    rotations = load_rotations(path.with_name(ROTATIONS))
    return KeyRing(found, _leading_to(found[0].verifier_key, rotations))


def load_rotations(path: Path) -> list[bytes]:
    """The rotations in the file at `path`; none where there is no file."""
    try:
        return parse_rotations(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, VerificationError) as error:
        raise ConfigurationError(f"expected rotations at {path}: {error}") from None


def _leading_to(key: VerifierKey, notes: Sequence[bytes]) -> list[bytes]:
    """Without what a rotation that was cut short left behind: a note to a key that nobody has."""
    try:
        places = [n for n, note in enumerate(notes, 1) if open_rotation(note).new == key]
    except VerificationError as error:
        raise ConfigurationError(f"expected rotations signed by both keys: {error}") from None
    return list(notes[: max(places, default=0)])


def rotate_ring(path: Path, rotation: Rotation, ring: KeyRing, new: Signer, text: str) -> bytes:
    """Have `new`, which stands as `text` in a file, take over from the ring's key; the rotation.

    It is on disk before the file is replaced, so that no key is ever used that nobody vouches for.
    What a crash between leaves is a rotation to a key that nobody has: the next load leaves it out.
    Raises `ConfigurationError` where it can't be written; then the old key signs as before.
    """
    note = sign_rotation(rotation, ring.signers[0], new)
    _replace(path.with_name(ROTATIONS), format_rotations([*ring.rotations, note]))
    _replace(path, text.encode() + read_private(path).encode() + b"\n")
    return note


def retire_old(path: Path, ring: KeyRing) -> Path:
    """Take the ring's second key out of the file; where that stands from now on.

    Raises `ConfigurationError` where that can't be written; then both sign as before.
    """
    old = ring.signers[1].verifier_key
    kept = path.with_name(f"retired-{old.key_id.hex()}.key")
    first, second = _split(read_private(path))
    # Written over where it was cut short before: it is the same key.
    _replace(kept, second.encode() + b"\n")
    _replace(path, first.encode() + b"\n")
    return kept


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_whole(path, content)
    except OSError as error:
        raise ConfigurationError(f"can't write {path}: {error.strerror}") from None


def _split(text: str) -> list[str]:
    """The text of each key. Lines are made of public characters but for those of Go's form."""
    parts: list[str] = []
    is_open = False
    for line in text.splitlines():
        if is_open:
            parts[-1] += f"\n{line}"
            is_open = not line.startswith((PEM_END, PKCS11))
        elif line:
            parts.append(line)
            is_open = not line.startswith(_PRIVATE)
    return parts


def _parse(text: str, path: Path, unlock: Unlock) -> list[Signer] | str:
    """The keys, or what is wrong: an exception made here would hold secrets in its frames."""
    found: list[Signer] = []
    try:
        for part in _split(text):
            found.append(_parse_one(part, path, unlock))
    except IndelibleError as error:
        return str(error)
    if not 1 <= len(found) <= 2:
        return f"expected one key, or two while one is rotated, came {len(found)}"
    return found


def _parse_one(part: str, path: Path, unlock: Unlock) -> Signer:
    if part.startswith(_PRIVATE):
        return SigningKey.parse(part)
    vkey, _, rest = part.partition("\n")
    public = VerifierKey.parse(vkey)
    if rest.startswith(PKCS11):
        # Needs a library that only who has a token has.
        from indelible.integrity.pkcs11_key import Pkcs11Key

        return Pkcs11Key.open(rest, public)
    if not rest.startswith(PEM_BEGIN):
        raise ConfigurationError("expected a private key under its public half, came another text")
    from indelible.integrity.encrypted_key import decrypt_key

    private = decrypt_key(rest, unlock(path))
    if private is None:
        raise ConfigurationError("expected its passphrase, came another (or the file is damaged)")
    key = SigningKey(public.name, public.algorithm, private)
    if key.verifier_key != public:
        raise ConfigurationError(f"expected the private half of {public}, came another key's")
    return key
