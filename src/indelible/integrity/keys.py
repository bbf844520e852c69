"""The trail's keys, as files that only their owner reads.

`trail.key` signs checkpoints (`key_ring` says how it stands in its file), `trail.pub` is the public
half of the first that the trail had (a vkey), `context.key` signs the contexts that are sent to a
database, `enrolment.key` (and `.pub`) the first key of each process that writes events. Whoever
holds `trail.key` and the trail can write another history; whoever holds `context.key` can attribute
changes to anybody, whoever holds `enrolment.key` can add processes that never were. Where a signer
process has the trail's key there is no `trail.key` here.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from indelible.durable import sync_directory, write_new
from indelible.errors import ConfigurationError, TrailExistsError
from indelible.integrity.key_ring import KEY_FILE, KeyRing, key_text, load_ring, load_signers
from indelible.integrity.passphrases import Passphrase, Unlock, no_passphrase
from indelible.integrity.private_files import read_private
from indelible.tlog import Algorithm, MalformedKeyError, SigningKey, VerifierKey

_CONTEXT_KEY_BYTES: Final = 32


class TrailKeys:
    """The keys of one trail; its repr shows the public one only.

    `verifier_key` is the first that the trail had: what later ones sign counts by the rotations
    that lead to them. `ring` is None where a signer process has the keys, and for who signs none.
    """

    __slots__ = ("context_key", "enrolment_key", "ring", "verifier_key")

    def __init__(
        self,
        verifier_key: VerifierKey,
        ring: KeyRing | None,
        context_key: bytes,
        enrolment_key: SigningKey,
    ) -> None:
        self.verifier_key = verifier_key
        self.ring = ring
        self.context_key = context_key
        self.enrolment_key = enrolment_key

    def __repr__(self) -> str:
        return f"<TrailKeys for {self.verifier_key}>"


def create_keys(
    directory: Path,
    origin: str,
    *,
    taken_over: TrailKeys | None = None,
    signed_by: VerifierKey | None = None,
    passphrase: Passphrase | None = None,
) -> TrailKeys:
    """Make new keys in `directory` (0700, files 0600); the note key's name is `origin`.

    A trail that goes on from another takes over all of its keys but the one that signs
    checkpoints, so that contexts and journals that wait stay valid. With `signed_by`, the key that
    a signer process has, none that signs checkpoints is made. `trail.key` and `enrolment.key` are
    under the `passphrase`.

    Raises `TrailExistsError` where there are keys already, and `ConfigurationError` where nothing
    can be written or `origin` can't name a key.
    """
    ring = None
    try:
        signing_key = SigningKey.generate(origin) if signed_by is None else None
    except MalformedKeyError as error:
        raise ConfigurationError(f"origin: {error}") from None
    if signing_key is not None:
        ring, signed_by = KeyRing([signing_key]), signing_key.verifier_key
    assert signed_by is not None  # noqa: S101 - one of the two
    if taken_over is None:
        enrolment_key = SigningKey.generate(f"{origin}/producers")
        context_key = secrets.token_bytes(_CONTEXT_KEY_BYTES)
    else:
        enrolment_key, context_key = taken_over.enrolment_key, taken_over.context_key
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if signing_key is not None:
            write_new(directory / KEY_FILE, key_text(signing_key, passphrase).encode())
        write_new(directory / "trail.pub", f"{signed_by}\n".encode())
        write_new(directory / "enrolment.key", key_text(enrolment_key, passphrase).encode())
        write_new(directory / "enrolment.pub", f"{enrolment_key.verifier_key}\n".encode())
        write_new(directory / "context.key", context_key.hex().encode() + b"\n")
        sync_directory(directory)
    except FileExistsError as error:
        raise TrailExistsError(f"expected no key at {error.filename}, there is one") from None
    except OSError as error:
        raise ConfigurationError(f"can't write keys in {directory}: {error.strerror}") from None
    return TrailKeys(signed_by, ring, context_key, enrolment_key)


def load_keys(directory: Path, unlock: Unlock = no_passphrase, *, signs: bool = True) -> TrailKeys:
    """The keys in `directory`; the one that signs checkpoints isn't read for who never `signs`.

    Raises `ConfigurationError` where one is missing, damaged, or readable by others than its owner.
    """
    ring = load_ring(directory / KEY_FILE, unlock) if signs else None
    public = load_public_key(directory)
    if ring is not None:
        ring.check_follows(public)
    path = directory / "context.key"
    try:
        context_key = bytes.fromhex(read_private(path))
    except ValueError:
        context_key = b""
    if len(context_key) != _CONTEXT_KEY_BYTES:
        raise ConfigurationError(f"{path}: expected {_CONTEXT_KEY_BYTES} bytes as hexadecimal")
    enrolment_key = load_signing_key(directory / "enrolment.key", unlock)
    return TrailKeys(public, ring, context_key, enrolment_key)


def create_signing_key(
    path: Path,
    name: str,
    algorithm: Algorithm = Algorithm.ED25519,
    *,
    passphrase: Passphrase | None = None,
) -> SigningKey:
    """Make a key called `name` at `path` (0600): a verifier's, say, or a witness's.

    Raises `ConfigurationError` where there is a file, nothing can be written, or `name` can't be
    that of a key.
    """
    try:
        key = SigningKey.generate(name, algorithm)
        write_new(path, key_text(key, passphrase).encode())
        sync_directory(path.parent)
    except MalformedKeyError as error:
        raise ConfigurationError(str(error)) from None
    except FileExistsError:
        raise ConfigurationError(f"expected no file at {path} yet, there is one") from None
    except OSError as error:
        raise ConfigurationError(f"can't write a key at {path}: {error.strerror}") from None
    return key


def load_signing_key(path: Path, unlock: Unlock = no_passphrase) -> SigningKey:
    """The private key at `path`, the newest where one takes over; raises what `load_keys` does."""
    key = load_signers(path, unlock)[0]
    if not isinstance(key, SigningKey):
        raise ConfigurationError(f"{path}: expected a key, not where a token has one")
    return key


def load_public_key(directory: Path, name: str = "trail") -> VerifierKey:
    """The public half of the trail's first key, or of that called `name`.

    Raises `ConfigurationError`.
    """
    path = directory / f"{name}.pub"
    try:
        return VerifierKey.parse(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigurationError(f"expected a key at {path}: {error.strerror}") from None
    except (MalformedKeyError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
