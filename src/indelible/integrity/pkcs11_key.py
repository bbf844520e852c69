"""A key that a token keeps: signs by PKCS#11 (CKM_EDDSA), and never leaves the token.

A key file names it by a URI (RFC 7512) with the module to load and, in a file or the environment,
the PIN::

    pkcs11:token=audit;object=trail-2026?module-path=/usr/lib/…/x.so&pin-source=file:/etc/audit/pin
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from indelible.errors import ConfigurationError
from indelible.integrity.faults import SignerAwayError
from indelible.integrity.private_files import PKCS11, read_private
from indelible.tlog import Algorithm, InvalidSignatureError, VerifierKey

_PATH: Final = {"token", "object"}
_QUERY: Final = {"module-path", "pin-source"}
_KEY_BYTES: Final = 32


class Pkcs11Key:
    """A `tlog.Signer`. Safe for threads. Its session is opened again where the token was away."""

    def __init__(self, uri: str, name: str | None) -> None:
        """Use `open` or `find`."""
        self._where = _parse(uri)
        self._name = name
        self._using = threading.Lock()
        self._private: Any = None

    @classmethod
    def find(cls, uri: str, name: str) -> Pkcs11Key:
        """The key at `uri`, as the key called `name`. Raises `ConfigurationError` where the token
        has no such key, or one of another type, and for a wrong PIN.
        """
        key = cls(uri, name)
        key.verifier_key = VerifierKey(name, Algorithm.ED25519, key._read_public())
        return key

    @classmethod
    def open(cls, uri: str, public: VerifierKey) -> Pkcs11Key:
        """The key at `uri`, which must be `public`'s; raises what `find` does."""
        key = cls.find(uri, public.name)
        if key.verifier_key != public:
            raise ConfigurationError(
                f"expected the token to have {public}, its key there is {key.verifier_key}"
            )
        return key

    verifier_key: VerifierKey

    def sign_bytes(self, message: bytes) -> bytes:
        pkcs11 = _library()
        with self._using:
            for is_last in (False, True):
                try:
                    if self._private is None:
                        self._private = self._get(pkcs11.ObjectClass.PRIVATE_KEY)
                    signature: bytes = self._private.sign(message, mechanism=pkcs11.Mechanism.EDDSA)
                    self.verifier_key.verify(signature, message)
                    return signature
                except (pkcs11.PKCS11Error, ConfigurationError, InvalidSignatureError) as error:
                    self._private = None
                    if is_last:
                        raise SignerAwayError(
                            f"expected a signature of the token {self._where['token']}: "
                            f"{type(error).__name__}"
                        ) from None
        raise AssertionError  # pragma: no cover - one of the two came to an end

    def __repr__(self) -> str:
        return f"<Pkcs11Key of {self._name}>"

    def _read_public(self) -> bytes:
        pkcs11 = _library()
        point: bytes = self._get(pkcs11.ObjectClass.PUBLIC_KEY)[pkcs11.Attribute.EC_POINT]
        # An octet string in DER, or as PKCS#11 3.0 has it the 32 bytes alone.
        if point[:2] == bytes([4, _KEY_BYTES]) and len(point) == _KEY_BYTES + 2:
            return point[2:]
        return point

    def _get(self, kind: Any) -> Any:
        """An object of the token, within a new session; raises `ConfigurationError`."""
        pkcs11 = _library()
        where = self._where
        try:
            token = pkcs11.lib(where["module-path"]).get_token(token_label=where["token"])
            try:
                session = token.open(user_pin=_pin(where["pin-source"]))
            except pkcs11.UserAlreadyLoggedIn:
                # A process logs in to a token once, for all of its sessions.
                session = token.open()
            return session.get_key(
                object_class=kind,
                key_type=pkcs11.KeyType.EC_EDWARDS,
                label=where["object"],
            )
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            raise ConfigurationError(
                f"expected an Ed25519 key {where['object']!r} in the token {where['token']!r} of "
                f"{where['module-path']}: {type(error).__name__}"
            ) from None


def _parse(uri: str) -> dict[str, str]:
    path, _, query = uri.strip().removeprefix(PKCS11).partition("?")
    named = [part.partition("=")[::2] for part in path.split(";")]
    found = {name: unquote(value) for name, value in named} | dict(parse_qsl(query))
    if not uri.startswith(PKCS11) or found.keys() != _PATH | _QUERY:
        raise ConfigurationError(
            "expected a URI like pkcs11:token=LABEL;object=LABEL?module-path=FILE&"
            "pin-source=file:FILE (or env:NAME), with these four parts"
        )
    return found


def _pin(source: str) -> str:
    """A PIN is never in the URI itself: that is shown, and stands in files."""
    kind, _, where = source.partition(":")
    if kind == "file":
        return read_private(Path(where), "a PIN")
    if kind == "env" and (found := os.environ.get(where)):
        return found
    raise ConfigurationError(
        f"expected a PIN in pin-source=file:FILE or env:NAME, found none at {source!r}"
    )


def _library() -> Any:
    try:
        import pkcs11
    except ImportError:
        raise ConfigurationError(
            "a key in a token needs PKCS#11: pip install 'indelible[pkcs11]'"
        ) from None
    return pkcs11
