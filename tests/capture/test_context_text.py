"""Contexts are signed by plain HMAC-SHA256, whatever the key."""

from __future__ import annotations

import base64
import hmac

from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.context_text import ContextPayload, sign_context, verify_context


@given(st.binary(max_size=200), st.text(st.characters(codec="ascii"), max_size=20), st.text())
def test_anyone_with_the_key_makes_the_same(key: bytes, incarnation: str, nonce: str) -> None:
    """The 43 characters are the HMAC of RFC 2104 over domain, incarnation and payload."""
    text = sign_context(key, incarnation, ContextPayload(nonce))

    body = text[43:].encode()
    signed = b"indelible context v1\n" + incarnation.encode() + b"\n" + body
    mac = hmac.digest(key, signed, "sha256")
    assert text[:43] == base64.urlsafe_b64encode(mac).decode().rstrip("=")
    assert verify_context(key, incarnation, text) == ContextPayload(nonce)
    assert verify_context(key + b"x", incarnation, text) is None
