"""The two spellings that every C2SP text format shares: decimal numbers and standard base64.

One value has one spelling. A second one for the same value (a leading zero, missing padding, stray
bits in the last character) is refused, so that what was parsed formats back to the same bytes.
"""

import base64
import binascii

from indelible.errors import VerificationError
from indelible.tlog.hashing import HASH_BYTES, MAX_SIZE, Hash


def parse_decimal(text: str, *, what: str, error: type[VerificationError]) -> int:
    """An ASCII decimal from 0 to 2^63 - 1 without sign or leading zeros; otherwise raises `error`.

    `what` names the number in the message.
    """
    is_decimal = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SIZE))
    if not is_decimal or (text[0] == "0" and text != "0") or int(text) > MAX_SIZE:
        raise error(
            f"{what}: expected a decimal from 0 to 2^63 - 1 without leading zeros, "
            f"came {shorten(text)}"
        )
    return int(text)


def parse_base64(text: str, *, what: str, error: type[VerificationError]) -> bytes:
    """The bytes of padded standard base64 in its one canonical spelling; otherwise raises `error`.

    The message names `what` and never repeats the text, which may be secret.
    """
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = None
    if decoded is None or format_base64(decoded) != text:
        raise error(f"{what}: expected padded standard base64, came {len(text)} other characters")
    return decoded


def parse_hash(text: str, *, what: str, error: type[VerificationError]) -> Hash:
    """A hash from its base64; otherwise raises `error`."""
    decoded = parse_base64(text, what=what, error=error)
    if len(decoded) != HASH_BYTES:
        raise error(f"{what}: expected {HASH_BYTES} bytes, came {len(decoded)}")
    return Hash(decoded)


def format_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def shorten(text: str, limit: int = 80) -> str:
    """`text` quoted for an error message, cut after `limit` characters."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}… ({len(text)} characters)"
