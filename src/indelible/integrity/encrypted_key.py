"""A private key under a passphrase: PKCS#8 as PEM (RFC 5958), which openssl reads, too.

The cipher's key is made by scrypt (RFC 7914) within PBES2 (RFC 8018). `cryptography` reads that but
writes PBKDF2 of 2,048 rounds only, with which a thief of the file tries a hundred thousand
passphrases a minute on one core: so the container is put together here.
"""

from __future__ import annotations

import os
import textwrap
from base64 import b64encode
from hashlib import scrypt
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from indelible.integrity.passphrases import PEM_BEGIN, PEM_END, Passphrase

# OpenSSL gives scrypt 32 MiB: N = 2^14 is what it reads. p = 8 makes up for it in time.
_N, _R, _P = 1 << 14, 8, 8
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")
_AES256_CBC: Final = bytes.fromhex("060960864801650304012a")
_SEQUENCE, _OCTETS, _INTEGER = 0x30, 0x04, 0x02


def encrypt_key(key: Ed25519PrivateKey, passphrase: Passphrase) -> str:
    """The PEM text of the key under the passphrase."""
    salt, iv = os.urandom(16), os.urandom(16)
    padder = PKCS7(128).padder()
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    encryptor = Cipher(AES(_derive(passphrase, salt)), CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    derivation = _der(
        _SEQUENCE, _der(_OCTETS, salt), *(_der(_INTEGER, _number(each)) for each in (_N, _R, _P))
    )
    how = _der(
        _SEQUENCE,
        _der(_SEQUENCE, _SCRYPT, derivation),
        _der(_SEQUENCE, _AES256_CBC, _der(_OCTETS, iv)),
    )
    whole = _der(_SEQUENCE, _der(_SEQUENCE, _PBES2, how), _der(_OCTETS, encrypted))
    lines = textwrap.wrap(b64encode(whole).decode(), 64)
    return "\n".join((PEM_BEGIN, *lines, PEM_END, ""))


def decrypt_key(pem: str, passphrase: Passphrase) -> Ed25519PrivateKey | None:
    """The key; None for another passphrase, and for what isn't such a text."""
    try:
        key = load_pem_private_key(pem.encode(), passphrase.reveal())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def _derive(passphrase: Passphrase, salt: bytes) -> bytes:
    return scrypt(passphrase.reveal(), salt=salt, n=_N, r=_R, p=_P, dklen=32)


def _number(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _der(tag: int, *content: bytes) -> bytes:
    """An element of at most 64 KiB."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body
