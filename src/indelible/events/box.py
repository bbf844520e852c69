"""Boxes that only the holder of a private key can open: X25519, HKDF-SHA256, ChaCha20-Poly1305.

Whoever seals has the public key alone, and can't open again what was sealed: each box has an
ephemeral key of its own, which is forgotten.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from indelible.errors import BoxError

KEY_BYTES: Final = 32
_NONCE: Final = bytes(12)  # each key seals one box


def seal_box(public: bytes, content: bytes, associated: bytes | None = None) -> bytes:
    """Ephemeral key ‖ ciphertext and tag; `associated` must be the same to open it."""
    ephemeral = X25519PrivateKey.generate()
    mine = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    key = _derive(shared, mine, public)
    return mine + ChaCha20Poly1305(key).encrypt(_NONCE, content, associated)


def open_box(private: X25519PrivateKey, box: bytes, associated: bytes | None = None) -> bytes:
    """What is in it. Raises `BoxError` where it is for another key, or was changed or moved."""
    return open_with(box_key(private, box), box, associated)


def box_key(private: X25519PrivateKey, box: bytes) -> bytes:
    """The key of this box alone: whoever is given it opens this box, and no other.

    Raises `BoxError` for what isn't a box.
    """
    public = private.public_key().public_bytes_raw()
    theirs = box[:KEY_BYTES]
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise BoxError("expected a sealed value as it was made, came something else") from None
    return _derive(shared, theirs, public)


def open_with(key: bytes, box: bytes, associated: bytes | None = None) -> bytes:
    """What is in the box that has this `box_key`. Raises `BoxError` as `open_box` does."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, box[KEY_BYTES:], associated)
    except (ValueError, InvalidTag):
        raise BoxError("expected a sealed value as it was made, for this key") from None


def _derive(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    derived = HKDF(SHA256(), KEY_BYTES, salt=ephemeral + public, info=b"indelible sealed v1")
    return derived.derive(shared)
