"""Keys on their way through a result: the SQL that fetches them, the values they come back as.

A key that may be text is fetched as a blob with its type in front: a hidden column of bytes that
aren't UTF-8 would otherwise make a fetch fail that succeeds without us. Arrays of keys are
joined from hexadecimal pieces, because `json_group_array` rounds reals and refuses blobs. (A real
key of minus zero, which equals zero, comes out of an array as zero.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from indelible.capture.statements.plan import UnreadableKeyError
from indelible.events.values import Native, RawText, Value, to_value

Key = tuple[Native, ...]

_NULL: Final = b"n"
_integers: Final = msgspec.json.Decoder(list[int])


def plain_column(expression: str) -> str:
    """Of an integer key: unary plus takes the declared type away, so no converter runs."""
    return f"+{expression}"


def guarded_column(expression: str) -> str:
    """Any value, fetched so that neither `text_factory` nor bad UTF-8 can touch it."""
    return (
        f"CASE typeof({expression}) WHEN 'text' THEN CAST('t'||{expression} AS BLOB) "
        f"WHEN 'blob' THEN CAST('b'||{expression} AS BLOB) ELSE {expression} END"
    )


def unguard(value: Native) -> Native:
    """The value that `guarded_column` fetched as `value`."""
    if type(value) is not bytes:
        return value
    if value[:1] == b"b":
        return value[1:]
    try:
        return value[1:].decode()
    except UnicodeDecodeError:
        return RawText(value[1:])


def integer_array(expressions: Sequence[str]) -> str:
    """An aggregate of integer keys; where the row is missing (an outer join) the key is NULL."""
    return f"CAST(group_concat({expressions[0]}) AS BLOB)"


def any_array(expressions: Sequence[str], *, guarded: bool, missing: Sequence[str]) -> str:
    """An aggregate of tuples of any values.

    `guarded`: they are results of `guarded_column` already. A row in which all of `missing` are
    NULL is the empty side of an outer join and left out.
    """
    element = "||':'||".join(_piece(expression, guarded) for expression in expressions)
    if missing:
        test = " AND ".join(f"{expression} IS NULL" for expression in missing)
        element = f"CASE WHEN {test} THEN NULL ELSE {element} END"
    return f"CAST(group_concat({element}) AS BLOB)"


def parse_integer_array(array: Native) -> list[int]:
    """The keys of an `integer_array` or of a driver's list, repeats included."""
    if isinstance(array, list):
        return [key for key in array if key is not None]
    return _integers.decode(b"[" + array + b"]") if isinstance(array, bytes) else []


def read_integer(value: object) -> Value:
    """An integer key as a driver gives it. Raises `UnreadableKeyError`."""
    if value is None or type(value) is int:
        return to_value(value)
    raise UnreadableKeyError("expected an integer")


def parse_any_array(array: Native) -> list[Key]:
    """The tuples of an `any_array`, each once, in the order met."""
    if not isinstance(array, bytes):
        return []
    unique = dict.fromkeys(array.split(b","))
    return [tuple(map(_parse_piece, element.split(b":"))) for element in unique]


def _piece(expression: str, guarded: bool) -> str:
    if guarded:
        text_or_blob = f"WHEN 'blob' THEN 'x'||hex({expression})"
    else:
        text_or_blob = (
            f"WHEN 'text' THEN 't'||hex({expression}) WHEN 'blob' THEN 'b'||hex({expression})"
        )
    return (
        f"CASE typeof({expression}) WHEN 'integer' THEN 'i'||{expression} {text_or_blob} "
        f"WHEN 'real' THEN 'r'||printf('%!.20g',{expression}) ELSE 'n' END"
    )


def _parse_piece(piece: bytes) -> Native:
    if piece == _NULL:
        return None
    kind, rest = piece[:1], piece[1:]
    if kind == b"i":
        return int(rest)
    if kind == b"r":
        return float(rest)
    value = bytes.fromhex(rest.decode())
    return unguard(value if kind == b"x" else kind + value)
