"""The context text: who is acting, signed, as it stands beside every change in the outbox.

A text is the unpadded URL-safe base64 of an HMAC-SHA256 (43 characters) and the payload's JSON.
The HMAC covers the database's incarnation too, so a text copied into another database is worth
nothing there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Final

import msgspec

from indelible.events.context import Frame
from indelible.events.model import Actor

_MAC_CHARACTERS: Final = 43
_BLOCK: Final = 64
_CONTEXT_DOMAIN: Final = b"indelible context v1\n"
_EVENT_DOMAIN: Final = b"indelible explicit event v1\n"


class ContextPayload(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a change's context says. `nonce` is the id of the transaction it was made in."""

    nonce: str
    actor: Actor | None = None
    reason: str | None = None
    context: dict[str, str] | None = None
    reverses: tuple[str, ...] = ()
    decision: dict[str, str] | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ContextPayload)


def sign_context(key: bytes, incarnation: str, payload: ContextPayload) -> str:
    """The text for `payload` in the database `incarnation`."""
    body = _encode(payload)
    return _mac(key, _CONTEXT_DOMAIN, incarnation, body) + body.decode()


def verify_context(key: bytes, incarnation: str, text: object) -> ContextPayload | None:
    """The payload of `text`, or None where nobody with `key` made it for this database."""
    if type(text) is not str or len(text) <= _MAC_CHARACTERS:
        return None
    try:
        body = text[_MAC_CHARACTERS:].encode()
        claimed = text[:_MAC_CHARACTERS].encode("ascii")
    except UnicodeEncodeError:
        return None
    expected = _mac(key, _CONTEXT_DOMAIN, incarnation, body).encode()
    if not hmac.compare_digest(claimed, expected):
        return None
    return _decoder.decode(body)


def payload_for(nonce: str, frame: Frame | None, reverses: tuple[str, ...] = ()) -> ContextPayload:
    """What is said of a write in `frame`; without one only which transaction it was in."""
    if frame is None:
        return ContextPayload(nonce, reverses=reverses)
    return ContextPayload(
        nonce, frame.actor, frame.reason, frame.context or None, reverses, frame.decision
    )


def sign_event(key: bytes, incarnation: str, nonce: str, draft: bytes) -> str:
    """The proof that an explicit event in the outbox was put there by us, in this transaction."""
    return _mac(key, _EVENT_DOMAIN, f"{incarnation}\n{nonce}", draft)


def is_signed_event(
    key: bytes, incarnation: str, nonce: str, draft: bytes, signature: object
) -> bool:
    """Whether `signature` is what `sign_event` gives."""
    if type(signature) is not str or not signature.isascii():
        return False
    return hmac.compare_digest(sign_event(key, incarnation, nonce, draft), signature)


def _encode(payload: ContextPayload) -> bytes:
    try:
        return _encoder.encode(payload)
    except UnicodeEncodeError:
        # A reason or an actor's name with lone surrogates has no UTF-8.
        text = _encoder.encode(_without_surrogates(msgspec.to_builtins(payload)))
        return _encoder.encode(_decoder.decode(text))


def _without_surrogates(item: object) -> object:
    if isinstance(item, str):
        return item.encode("utf-8", "backslashreplace").decode()
    if isinstance(item, dict):
        return {name: _without_surrogates(member) for name, member in item.items()}
    if isinstance(item, list | tuple):
        return [_without_surrogates(member) for member in item]
    return item


def _mac(key: bytes, domain: bytes, scope: str, body: bytes) -> str:
    inner, outer = (begun.copy() for begun in _begun(key))
    inner.update(b"%s%s\n%s" % (domain, scope.encode(), body))
    outer.update(inner.digest())
    return base64.urlsafe_b64encode(outer.digest())[:_MAC_CHARACTERS].decode()


@lru_cache(maxsize=16)
def _begun(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The two hashes of an HMAC-SHA256 (RFC 2104) behind the key.

    Between an application's statements `hmac.digest` takes three times as long as going on from
    here: it sets up more than it hashes.
    """
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    return inner, hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
