"""Pins: what a verifier remembers of a trail, outside of it.

One JSON file a trail in the verifier's own state directory (`$XDG_STATE_HOME/indelible`). Whoever
can write it can make this verifier accept a rollback, and take entries for verified that it never
read; whoever can only write the trail can't.
"""

from __future__ import annotations

import fcntl
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from indelible.durable import replace_whole
from indelible.errors import ConfigurationError
from indelible.events.codec import UNDECODABLE
from indelible.integrity.seen import Seen
from indelible.integrity.verified import Verified


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A tree that was verified, and when.

    `verified` is what the last verification of the trail's file left, of that tree or a smaller
    one: who verifies what is served reads less.
    """

    origin: str
    size: int
    root: bytes
    vkey: str
    time: str
    verified: Verified | None = None

    @property
    def seen(self) -> Seen:
        return Seen(origin=self.origin, size=self.size, root=self.root, vkey=self.vkey)


_decode: Final = msgspec.json.Decoder(Pin).decode


def state_directory(environment: dict[str, str]) -> Path:
    """Where a user's state lives (XDG Base Directory Specification)."""
    home = environment.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "indelible"


def load_pin(directory: Path, origin: str) -> Pin | None:
    """The pin of this trail; None before the first verification.

    Raises `ConfigurationError` for a file that can't be read: going on without it would be to
    forget what was seen.
    """
    path = _path(directory, origin)
    try:
        pin = _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"can't read the pin {path}: {error.strerror}") from None
    except UNDECODABLE as error:
        raise ConfigurationError(
            f"expected a pin at {path}: {error}; without it what was seen before is forgotten"
        ) from None
    if pin.origin != origin:
        raise ConfigurationError(f"expected the pin of {origin} at {path}, it is of {pin.origin}")
    return pin


def store_pin(directory: Path, seen: Seen, time: str, verified: Verified | None = None) -> Path:
    """Remember `seen`, durably, in place of what was remembered; returns the file.

    What was `verified` before stays where nothing of it is given. Where another verification
    remembered a larger tree meanwhile, all of that one's stays.
    """
    path = _path(directory, seen.origin)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = load_pin(directory, seen.origin)
            if known is not None and known.size > seen.size:
                return path
            _write(path, seen, time, verified or (known.verified if known else None))
    except OSError as error:
        raise ConfigurationError(f"can't write the pin {path}: {error.strerror}") from None
    return path


def _write(path: Path, seen: Seen, time: str, verified: Verified | None) -> None:
    """Killed at any moment it leaves the old file or the new one."""
    pin = Pin(
        origin=seen.origin,
        size=seen.size,
        root=seen.root,
        vkey=seen.vkey,
        time=time,
        verified=verified,
    )
    replace_whole(path, msgspec.json.encode(pin) + b"\n")


def _path(directory: Path, origin: str) -> Path:
    return directory / f"{sha256(origin.encode()).hexdigest()[:16]}.json"
