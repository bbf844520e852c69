"""Fields that only the holder of a private key can read: X25519, HKDF-SHA256, ChaCha20-Poly1305.

The process that logs has the public key alone, so that nothing of what it wrote can be opened
with what can be taken from it. Each value has an ephemeral key of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from indelible.errors import LogFrameError
from indelible.logs.keys import decode_key

_PREFIX: Final = "<sealed:"
_NONCE: Final = bytes(12)  # each key seals one value


class SealingKey:
    """Seals; implements `fields.Sealing`. `public` is 32 bytes in base64."""

    def __init__(self, public: str) -> None:
        """Raises `ConfigurationError`."""
        self._raw = decode_key(public, "the sealing key")
        self._public = X25519PublicKey.from_public_bytes(self._raw)
        self.key_id = _key_id(self._raw)

    def seal(self, text: str) -> str:
        """`<sealed:KEY ID:BASE64>`."""
        ephemeral = X25519PrivateKey.generate()
        mine = ephemeral.public_key().public_bytes_raw()
        key = _derived(ephemeral.exchange(self._public), mine, self._raw)
        box = ChaCha20Poly1305(key).encrypt(_NONCE, text.encode("utf-8", "surrogatepass"), None)
        return f"{_PREFIX}{self.key_id}:{base64.b64encode(mine + box).decode()}>"


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
        sent = base64.b64decode(box, validate=True)
        theirs = X25519PublicKey.from_public_bytes(sent[:32])
        key = _derived(own.exchange(theirs), sent[:32], raw)
        text = ChaCha20Poly1305(key).decrypt(_NONCE, sent[32:], None)
    except (binascii.Error, ValueError, InvalidTag):
        raise LogFrameError(
            "expected a sealed field as it was made, got one that was changed"
        ) from None
    return text.decode("utf-8", "surrogatepass")


def _derived(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=ephemeral + public, info=b"indelible sealed v1").derive(shared)


def _key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:8]
