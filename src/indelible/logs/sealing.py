"""Fields that only the holder of a private key can read (`indelible.events.box`).

The process that logs has the public key alone, so that nothing of what it wrote can be opened
with what can be taken from it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from indelible.errors import BoxError, LogFrameError
from indelible.events.box import open_box, seal_box
from indelible.logs.keys import decode_key

_PREFIX: Final = "<sealed:"


class SealingKey:
    """Seals; implements `fields.Sealing`. `public` is 32 bytes in base64."""

    def __init__(self, public: str) -> None:
        """Raises `ConfigurationError`."""
        self._raw = decode_key(public, "the sealing key")
        self.key_id = _key_id(self._raw)

    def seal(self, text: str) -> str:
        """`<sealed:KEY ID:BASE64>`."""
        box = seal_box(self._raw, text.encode("utf-8", "surrogatepass"))
        return f"{_PREFIX}{self.key_id}:{base64.b64encode(box).decode()}>"


def new_sealing_key() -> tuple[str, str]:
    """A private key to keep away from the application, and the public one; in base64."""
    private = X25519PrivateKey.generate()
    raw = private.public_key().public_bytes_raw()
    return (
        base64.b64encode(private.private_bytes_raw()).decode(),
        base64.b64encode(raw).decode(),
    )


def open_sealed(private: str, sealed: str) -> str:
    """The text in `<sealed:…>`. Raises `LogFrameError` where it is for another key or changed."""
    own = X25519PrivateKey.from_private_bytes(decode_key(private, "the private sealing key"))
    raw = own.public_key().public_bytes_raw()
    name, _, box = sealed.removeprefix(_PREFIX).removesuffix(">").partition(":")
    if not sealed.startswith(_PREFIX) or name != _key_id(raw):
        raise LogFrameError(f"expected a field sealed for the key {_key_id(raw)}")
    try:
        text = open_box(own, base64.b64decode(box, validate=True))
    except (binascii.Error, BoxError):
        raise LogFrameError(
            "expected a sealed field as it was made, got one that was changed"
        ) from None
    return text.decode("utf-8", "surrogatepass")


def _key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:8]
