"""The keys of a log stream: handed over by the tee on an open descriptor, or kept in a file.

Never in the environment, which children inherit and error reports show: there stands only the
descriptor's number. The descriptor is closed once it was read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from indelible.durable import write_new
from indelible.errors import ConfigurationError
from indelible.logs.frames import KEY_BYTES

FD_VARIABLE: Final = "INDELIBLE_LOG_KEY_FD"
_MAX_BYTES: Final = 4_096
_NAME: Final = "indelible-log-keys"


class LogKeys(msgspec.Struct, frozen=True, omit_defaults=True):
    """`master` signs lines, `pseudonym` hashes values; both 32 bytes, base64 on the wire.

    `pseudonym_id` names the pseudonyms' key: after a rotation hashes have another. `pipe` is the
    one that the tee reads, where a tee handed the keys over.
    """

    master: bytes
    pseudonym: bytes
    pseudonym_id: str
    pipe: str = ""

    def __post_init__(self) -> None:
        if len(self.master) != KEY_BYTES or len(self.pseudonym) != KEY_BYTES:
            raise ConfigurationError(f"expected log keys of {KEY_BYTES} bytes each")

    def __repr__(self) -> str:
        return f"LogKeys(pseudonym_id={self.pseudonym_id!r})"

    @classmethod
    def new(cls, pseudonym: bytes | None = None, pseudonym_id: str = "") -> Self:
        """Keys of one run; the pseudonyms' key may be older."""
        return cls(
            secrets.token_bytes(KEY_BYTES),
            pseudonym or secrets.token_bytes(KEY_BYTES),
            pseudonym_id or secrets.token_hex(2),
        )

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, text: bytes, where: str) -> LogKeys:
        """Raises `ConfigurationError`, which shows nothing of what came."""
        try:
            return _decode(text)
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            raise ConfigurationError(f"expected log keys in {where}, got something else") from None


_decode: Final = msgspec.json.Decoder(LogKeys).decode


def hand_over(keys: LogKeys) -> int:
    """A descriptor from which a child that inherits it can read the keys, in memory only."""
    fd = os.memfd_create(_NAME, os.MFD_CLOEXEC)
    os.write(fd, keys.encode())
    return fd


def name_of_pipe(fd: int) -> str:
    """The same for every descriptor of one pipe, and for no two pipes at a time."""
    status = os.fstat(fd)
    return f"{status.st_dev}:{status.st_ino}"


def keys_from_environment(environment: Mapping[str, str] = os.environ) -> LogKeys | None:
    """The keys that a tee handed to this process; None where there is none.

    The descriptor is closed. Raises `ConfigurationError` where it is announced and isn't there.
    """
    number = environment.get(FD_VARIABLE)
    if number is None:
        return None
    if not number.isascii() or not number.isdigit() or int(number) < 3:
        raise ConfigurationError(f"expected a descriptor's number in {FD_VARIABLE}, got {number!r}")
    fd = int(number)
    try:
        # At a place, not from where others stopped: several workers read the same.
        text = os.pread(fd, _MAX_BYTES, 0)
    except OSError as error:
        raise ConfigurationError(
            f"expected the tee's keys on descriptor {fd}, as {FD_VARIABLE} says, got "
            f"{error.strerror}: something closed it between the tee and this process"
        ) from None
    keys = LogKeys.decode(text, f"descriptor {fd}")
    os.close(fd)
    return keys


def close_handed_keys(environment: Mapping[str, str] = os.environ) -> None:
    """For who has keys of its own: close the descriptor with those that a tee handed over, so that
    what this process starts doesn't inherit it. Another file under its number is left alone."""
    number = environment.get(FD_VARIABLE, "")
    with contextlib.suppress(OSError, ValueError):
        file = Path(f"/proc/self/fd/{int(number)}").readlink()
        if str(file).startswith(f"/memfd:{_NAME} "):
            os.close(int(number))


def read_key_file(path: Path) -> LogKeys:
    """The keys of a stream that no tee started. Raises `ConfigurationError` where the file isn't
    there, isn't ours alone (0600), or holds something else."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise ConfigurationError(
                    f"expected {path} to be readable by its owner only, got "
                    f"{stat.S_IMODE(status.st_mode):04o}: chmod 600 {path}"
                )
            return LogKeys.decode(file.read(_MAX_BYTES), str(path))
    except OSError as error:
        raise ConfigurationError(
            f"expected log keys in {path}, got {error.strerror}: `indelible tee --make-key {path}`"
        ) from None


def make_key_file(path: Path) -> None:
    """Write new keys to a file of mode 0600. Raises `ConfigurationError` where there is one."""
    try:
        write_new(path, LogKeys.new().encode())
    except OSError as error:
        raise ConfigurationError(f"expected to make {path}, got {error.strerror}") from None


def pseudonym_key(directory: Path) -> bytes:
    """The key of all pseudonyms, kept beside the trail's keys; made where there is none."""
    path = directory / "log-pseudonyms"
    made = base64.b64encode(secrets.token_bytes(KEY_BYTES))
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(made)
    try:
        return decode_key(path.read_text("ascii"), f"{path}")
    except OSError as error:
        raise ConfigurationError(f"expected a key in {path}, got {error.strerror}") from None


def decode_key(text: str, what: str) -> bytes:
    """32 bytes in base64."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"expected {what} as {KEY_BYTES} bytes in base64")
    return key
