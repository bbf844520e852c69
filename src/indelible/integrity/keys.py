"""The trail's keys, as files that only their owner reads.

`trail.key` signs checkpoints (Go's private form), `trail.pub` is its public half (a vkey),
`context.key` signs the contexts that are sent to a database, `enrolment.key` (and `.pub`) the first
key of each process that writes events. Whoever holds `trail.key` and the trail can write another
history; whoever holds `context.key` can attribute changes to anybody, whoever holds
`enrolment.key` can add processes that never were.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from indelible.errors import ConfigurationError, TrailExistsError
from indelible.tlog import MalformedKeyError, SigningKey, VerifierKey

_CONTEXT_KEY_BYTES: Final = 32


class TrailKeys:
    """The keys of one trail; its repr shows the public one only."""

    __slots__ = ("context_key", "enrolment_key", "signing_key")

    def __init__(
        self, signing_key: SigningKey, context_key: bytes, enrolment_key: SigningKey
    ) -> None:
        self.signing_key = signing_key
        self.context_key = context_key
        self.enrolment_key = enrolment_key

    def __repr__(self) -> str:
        return f"<TrailKeys for {self.signing_key.verifier_key}>"


def create_keys(directory: Path, origin: str) -> TrailKeys:
    """Make new keys in `directory` (0700, files 0600); the note key's name is `origin`.

    Raises `TrailExistsError` where there are keys already, and `ConfigurationError` where nothing
    can be written or `origin` can't name a key.
    """
    try:
        signing_key = SigningKey.generate(origin)
    except MalformedKeyError as error:
        raise ConfigurationError(f"origin: {error}") from None
    enrolment_key = SigningKey.generate(f"{origin}/producers")
    keys = TrailKeys(signing_key, secrets.token_bytes(_CONTEXT_KEY_BYTES), enrolment_key)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_pair(directory, "trail", signing_key)
        _write_pair(directory, "enrolment", enrolment_key)
        _write_new(directory / "context.key", keys.context_key.hex().encode() + b"\n")
    except FileExistsError as error:
        raise TrailExistsError(f"expected no key at {error.filename}, there is one") from None
    except OSError as error:
        raise ConfigurationError(f"can't write keys in {directory}: {error.strerror}") from None
    return keys


def load_keys(directory: Path) -> TrailKeys:
    """The keys in `directory`.

    Raises `ConfigurationError` where one is missing, damaged, or readable by others than its owner.
    """
    signing_key = load_signing_key(directory / "trail.key")
    path = directory / "context.key"
    try:
        context_key = bytes.fromhex(_read_private(path))
    except ValueError:
        context_key = b""
    if len(context_key) != _CONTEXT_KEY_BYTES:
        raise ConfigurationError(f"{path}: expected {_CONTEXT_KEY_BYTES} bytes as hexadecimal")
    return TrailKeys(signing_key, context_key, load_signing_key(directory / "enrolment.key"))


def create_signing_key(path: Path, name: str) -> SigningKey:
    """Make a key called `name` at `path` (0600): a verifier's, say.

    Raises `ConfigurationError` where there is a file, nothing can be written, or `name` can't be
    that of a key.
    """
    try:
        key = SigningKey.generate(name)
        _write_new(path, key.export_private().encode() + b"\n")
    except MalformedKeyError as error:
        raise ConfigurationError(str(error)) from None
    except FileExistsError:
        raise ConfigurationError(f"expected no file at {path} yet, there is one") from None
    except OSError as error:
        raise ConfigurationError(f"can't write a key at {path}: {error.strerror}") from None
    return key


def load_signing_key(path: Path) -> SigningKey:
    """The private key at `path`; raises what `load_keys` does."""
    try:
        return SigningKey.parse(_read_private(path))
    except MalformedKeyError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def load_public_key(directory: Path, name: str = "trail") -> VerifierKey:
    """The public half of the trail's key, or of that called `name`; raises `ConfigurationError`."""
    path = directory / f"{name}.pub"
    try:
        return VerifierKey.parse(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigurationError(f"expected a key at {path}: {error.strerror}") from None
    except (MalformedKeyError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _read_private(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(
                f"expected {path} to be readable by its owner only: chmod 600 {path}"
            )
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"expected a key at {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"expected a key at {path}, came other bytes") from None


def _write_pair(directory: Path, name: str, key: SigningKey) -> None:
    _write_new(directory / f"{name}.key", key.export_private().encode() + b"\n")
    _write_new(directory / f"{name}.pub", f"{key.verifier_key}\n".encode())


def _write_new(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
