"""Values as they stand in an event: lossless from a column to the trail and back.

A `Value` is `None`, a `bool`, a Unicode `str`, an `int` within ±(2⁵³−1), or a `TypedValue`
for all that JSON can't hold bit for bit. Values are equal when they are the same bits: `1`,
`1.0` (`{"t":"real","v":"0x1.0000000000000p+0"}`) and `"1"` are three values.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Final

import msgspec

from indelible.errors import MalformedEventError, ValueEncodingError

MAX_PLAIN_INT: Final = 2**53 - 1


class RawText(bytes):
    """A text value whose bytes aren't valid UTF-8, as some databases allow."""

    __slots__ = ()


class TypedValue(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """`{"t": type, "v": text}`: a value that JSON has no lossless form for, or a marker.

    `t` is `int`, `real` (hexadecimal float, `inf`, `-inf`, `nan`), `bytes` or `text` (base64),
    `pg:<type>` or `my:<type>` (the server's text form), or a marker without `v`: `absent`,
    `masked`, `changed`, `erased`. `s` is the subject's token of a `sealed` value. A `token` stands
    in the place of the value that names a person: `s` is theirs, `v` what type the value has.
    """

    t: str
    v: str | None = None
    s: str | None = None


Value = None | bool | int | str | TypedValue
Native = None | bool | int | float | str | bytes
Id = tuple[Value, ...]

ABSENT: Final = TypedValue("absent")
"""There was no row, so no value: `before` of an insert, `after` of a delete."""
MASKED: Final = TypedValue("masked")
"""Never captured, by policy."""
CHANGED: Final = TypedValue("changed")
"""It changed; policy keeps neither value."""
ERASED: Final = TypedValue("erased")
"""Was here, and was lawfully destroyed."""
TOKEN: Final = "token"  # noqa: S105 - a type of value, no secret
ERASED_NAME: Final = "erased:"
"""Begins the name of who was erased; their token follows."""


def to_value(native: Native) -> Value:
    """The `Value` that holds `native` bit for bit.

    A `str` with lone surrogates (which has no UTF-8) becomes `text` of its WTF-8 bytes.
    Raises `ValueEncodingError` for any other type.
    """
    kind = type(native)
    if kind is str:
        if native.isascii():  # type: ignore[union-attr]
            return native  # type: ignore[return-value]
        try:
            native.encode()  # type: ignore[union-attr]
        except UnicodeEncodeError:
            raw = native.encode("utf-8", "surrogatepass")  # type: ignore[union-attr]
            return TypedValue("text", base64.b64encode(raw).decode())
        return native  # type: ignore[return-value]
    if kind is int:
        if -MAX_PLAIN_INT <= native <= MAX_PLAIN_INT:  # type: ignore[operator]
            return native  # type: ignore[return-value]
        return TypedValue("int", str(native))
    if native is None or kind is bool:
        return native  # type: ignore[return-value]
    if kind is float:
        if math.isfinite(native):  # type: ignore[arg-type]
            return TypedValue("real", native.hex())  # type: ignore[union-attr]
        return TypedValue("real", str(native))
    if kind is bytes:
        return TypedValue("bytes", base64.b64encode(native).decode())  # type: ignore[arg-type]
    if isinstance(native, RawText):
        return TypedValue("text", base64.b64encode(native).decode())
    raise ValueEncodingError(
        "expected None, bool, int, float, str, bytes or RawText as a value, "
        f"got {kind.__module__}.{kind.__qualname__}; convert it first"
    )


def to_native(value: Value) -> Native:
    """The Python value that `to_value` made `value` from.

    Raises `ValueEncodingError` for a marker or a type that only its own database reads, and
    `MalformedEventError` where `v` isn't what `t` says.
    """
    if not isinstance(value, TypedValue):
        return value
    text = value.v or ""
    try:
        if value.t == "int":
            return int(text)
        if value.t == "real":
            return float(text) if text in ("inf", "-inf", "nan") else float.fromhex(text)
        if value.t == "bytes":
            return base64.b64decode(text, validate=True)
        if value.t == "text":
            return RawText(base64.b64decode(text, validate=True))
    except (ValueError, OverflowError, binascii.Error):
        raise MalformedEventError(f"expected the text form of {value.t!r} in a value") from None
    raise ValueEncodingError(f"a value of type {value.t!r} has no Python form")


def format_id(row_id: Id) -> str:
    """The text by which people and the index name an id.

    A single text or integer is itself (`42`), and so is a value in a server's text form (a UUID)
    or an integer too large for JSON; anything else is its JSON (`[1,3]`). Rows 42 and "42"
    therefore share a name; callers that must tell them apart compare the ids. A token goes by
    itself, and by `erased:TOKEN` where whose it was was erased.
    """
    if len(row_id) == 1:
        only = _plainly(row_id[0])
        if type(only) is str:
            return only
        if type(only) is int:
            return str(only)
    return _ENCODER.encode(tuple(map(_plainly, row_id))).decode()


def _plainly(value: Value) -> Value:
    """What a person types for `value`, where that is a text."""
    if type(value) is not TypedValue:
        return value
    if value.s is not None and value.t in (TOKEN, "erased"):
        return value.s if value.t == TOKEN else f"{ERASED_NAME}{value.s}"
    if value.v is not None and value.t.startswith(_TYPED_AS_TEXT):
        return value.v
    return value


_TYPED_AS_TEXT: Final = ("pg:", "my:", "int")


_ENCODER = msgspec.json.Encoder()
