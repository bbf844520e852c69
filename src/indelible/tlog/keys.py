"""The keys that sign notes: the public half as a vkey, the private half in Go's form.

`VerifierKey` is a value to print and to pin. `SigningKey` holds a secret, and gives it out only
where it is asked to by name, in `export_private`.
"""

import enum
from dataclasses import dataclass
from hashlib import sha256
from typing import NoReturn, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from indelible.errors import VerificationError
from indelible.tlog.strict_text import format_base64, parse_base64, shorten

_PRIVATE_PREFIX = "PRIVATE+KEY+"
_KEY_BYTES = 32


class MalformedKeyError(VerificationError):
    """A text isn't a key of the wanted kind. The message never repeats key material."""


class InvalidSignatureError(VerificationError):
    """A signature claims a known key, which did not make it over this message."""


class Algorithm(enum.IntEnum):
    """The signature types that we make and check, of those that c2sp.org/signed-note assigns."""

    ED25519 = 0x01
    """Over the note's text: what a trail signs its checkpoints with."""

    COSIGNATURE_V1 = 0x04
    """Ed25519 over a time and the note's text: what a witness signs with."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name; its text form is the vkey `name+id+base64(type ‖ key)`.

    Raises `MalformedKeyError` when the name can't name a key or the key isn't 32 bytes.
    """

    name: str
    algorithm: Algorithm
    public_key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public_key) != _KEY_BYTES:
            raise MalformedKeyError(
                f"vkey {self.name}: expected a public key of {_KEY_BYTES} bytes, "
                f"came {len(self.public_key)}"
            )

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ type ‖ public key), the first 4 bytes."""
        return sha256(self.name.encode() + b"\n" + self._typed_key).digest()[:4]

    @property
    def _typed_key(self) -> bytes:
        return bytes([self.algorithm]) + self.public_key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{format_base64(self._typed_key)}"

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """The key of a vkey; any other text, and a private key too, is a `MalformedKeyError`."""
        if vkey.startswith(_PRIVATE_PREFIX):
            del vkey
            raise MalformedKeyError(
                "vkey: expected a public key, came a private key: keep it secret"
            )
        name, algorithm, public_key = _parse_key(vkey, what="vkey")
        key = cls(name, algorithm, public_key)
        if str(key) != vkey:
            raise MalformedKeyError(
                f"vkey {name}: expected key id {key.key_id.hex()}, came another"
            )
        return key

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return only if this key made the 64-byte Ed25519 `signature` over `message`.

        Otherwise raises `InvalidSignatureError`.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise InvalidSignatureError(
                f"expected a signature by {self}, came one that this key did not make: "
                "what was signed is changed, or the signature is"
            ) from None


class Signer(Protocol):
    """Whatever makes the signatures of one key: the key itself, a hardware token, a service."""

    @property
    def verifier_key(self) -> VerifierKey:
        """The public half, of type 0x01 where it signs checkpoints."""

    def sign_bytes(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `message` (pure, RFC 8032): the same bytes each time.

        Raises `DeliveryError` where it can't be had now.
        """


class SigningKey:
    """A private key under a name. Immutable; its repr shows the public half only; never pickled."""

    __slots__ = ("_private_key", "verifier_key")

    verifier_key: VerifierKey
    _private_key: Ed25519PrivateKey

    def __init__(self, name: str, algorithm: Algorithm, private_key: Ed25519PrivateKey) -> None:
        public_key = private_key.public_key().public_bytes_raw()
        object.__setattr__(self, "verifier_key", VerifierKey(name, algorithm, public_key))
        object.__setattr__(self, "_private_key", private_key)

    @classmethod
    def generate(cls, name: str, algorithm: Algorithm = Algorithm.ED25519) -> "SigningKey":
        """A new key from the operating system's randomness."""
        return cls(name, algorithm, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """The key of Go's `PRIVATE+KEY+name+id+base64(type ‖ seed)`; else `MalformedKeyError`."""
        key = _parse_private(text)
        # Error reporters show the variables of every frame in a traceback: leave none with the key.
        del text
        if key is None:
            raise MalformedKeyError(
                f"private key: expected {_PRIVATE_PREFIX}<name>+<id>+<base64>, came another text"
            )
        return key

    @property
    def name(self) -> str:
        return self.verifier_key.name

    @property
    def algorithm(self) -> Algorithm:
        return self.verifier_key.algorithm

    def as_cosigner(self) -> "SigningKey":
        """The same secret as a witness's key. Go's tools store those too as Ed25519 private keys.

        A secret that signs a trail's checkpoints must not also cosign: use it for one of the two.
        """
        return SigningKey(self.name, Algorithm.COSIGNATURE_V1, self._private_key)

    def sign_bytes(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `message`; the same bytes each time."""
        return self._private_key.sign(message)

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """The secret itself, for who writes it to an encrypted file."""
        return self._private_key

    def export_private(self) -> str:
        """The secret in Go's text form, for a key file: never for a log or a message."""
        seed = self._private_key.private_bytes_raw()
        key_id = self.verifier_key.key_id.hex()
        return (
            f"{_PRIVATE_PREFIX}{self.name}+{key_id}+{format_base64(bytes([self.algorithm]) + seed)}"
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a SigningKey can't be changed: {name}")

    def __repr__(self) -> str:
        return f"<SigningKey for {self.verifier_key}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SigningKey is never pickled or copied: export_private() writes it out")


def is_key_name(name: str) -> bool:
    """Whether `name` may name a key: not empty, no space of any script, no control, no plus."""
    return (
        bool(name)
        and "+" not in name
        and not any(character.isspace() or character < " " for character in name)
        and not any("\ud800" <= character <= "\udfff" for character in name)
    )


def _check_name(name: str) -> None:
    if not is_key_name(name):
        raise MalformedKeyError(
            f"key name: expected a text without spaces and plus signs, came {shorten(name)}"
        )


def _parse_key(text: str, *, what: str) -> tuple[str, Algorithm, bytes]:
    """The name, type and key bytes of `name+id+base64`; the caller checks the id."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise MalformedKeyError(f"{what}: expected <name>+<id>+<base64>, came {len(parts)} parts")
    typed_key = parse_base64(parts[2], what=what, error=MalformedKeyError)
    try:
        algorithm = Algorithm(typed_key[0])
    except (ValueError, IndexError):
        raise MalformedKeyError(
            f"{what}: expected type 0x01 (Ed25519) or 0x04 (cosignature/v1), came another or none"
        ) from None
    return parts[0], algorithm, typed_key[1:]


def _parse_private(text: str) -> SigningKey | None:
    """The key, or None: an exception made here would hold the secret in its frame."""
    if not text.startswith(_PRIVATE_PREFIX):
        return None
    try:
        name, algorithm, seed = _parse_key(text.removeprefix(_PRIVATE_PREFIX), what="private key")
        key = SigningKey(name, algorithm, Ed25519PrivateKey.from_private_bytes(seed))
    except (MalformedKeyError, ValueError):
        return None
    return key if key.export_private() == text else None
