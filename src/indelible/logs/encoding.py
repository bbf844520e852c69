"""JSON in which nothing can happen to a line: printable ASCII only, whatever stands in it. Pure."""

from __future__ import annotations

import json
from typing import Final

import msgspec

JsonScalar = None | bool | int | float | str
Json = JsonScalar | list["Json"] | dict[str, "Json"]

_LETTERS: Final = bytes.maketrans(b"0123456789abcdef", b"bcdfghjklmnpqrst")

_encode: Final = msgspec.json.Encoder().encode
_plain: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def ascii_json(value: Json) -> str:
    """`value` as JSON of the characters 0x20 to 0x7e: what is outside of them is escaped.

    Floats that JSON hasn't become null. `value` is ours by now, so it is neither deep nor large.
    """
    try:
        encoded = _encode(value)
    except (UnicodeEncodeError, OverflowError):  # lone surrogates, integers beyond 64 bits
        return _plain(value)
    # DEL is ASCII, and stands unescaped in JSON.
    return encoded.decode() if encoded.isascii() and b"\x7f" not in encoded else _plain(value)


def letters(raw: bytes) -> str:
    """`raw` in letters, two a byte: an id in which no run of digits could be taken for a code."""
    return raw.hex().encode().translate(_LETTERS).decode()


def size_text(size: int) -> str:
    """A length, in fewer digits than any code has."""
    return f"{size}" if size < 1_000 else "999+"
