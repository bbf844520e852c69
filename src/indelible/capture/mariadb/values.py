"""The values of MariaDB: a row as text, by SQL, and back from it without loss. Pure.

A row's image is its columns, each behind the other and ended by a comma. NULL is nothing. What
may hold a comma stands behind its length in characters (`5:a,b,c`), bytes in hexadecimal behind an
`x`. This is the one place where a value gets its form in an event.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final

from indelible.capture.text_rows import TextForm
from indelible.errors import MalformedEventError
from indelible.events.values import TypedValue, Value, to_native, to_value

INTEGERS: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
REALS: Final = frozenset({"float", "double"})
TEXTS: Final = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
BYTES: Final = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
GEOMETRIES: Final = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    }
)
_PLAIN: Final = frozenset({"decimal", "date", "datetime", "time"})
_ONLY_KEY: Final = "!"
"""Begins an image of the key alone: the whole row was larger than `max_allowed_packet`."""
_ZERO: Final = "0000-00-00 00:00:00"
_EPOCH: Final = dt.datetime(1970, 1, 1)


def column_sql(type_: str, column: str) -> str:
    """One column's piece of an image. `column` is an expression, `OLD.x` for example."""
    if type_ in INTEGERS or type_ in _PLAIN or type_ == "double":
        piece = f"IFNULL({column},'')"
    elif type_ == "float":  # whose own text has six digits only
        piece = f"IFNULL(CAST({column} AS DOUBLE),'')"
    elif type_ == "bit":
        piece = f"IFNULL(CAST({column} AS UNSIGNED),'')"
    elif type_ == "timestamp":  # whose own text hangs on the session's time zone
        # Nor is a zero date always one of 0 seconds: in a trigger it has none.
        piece = f"IF({column}<=>NULL,'',IFNULL(UNIX_TIMESTAMP({column}),0))"
    elif type_ in BYTES or type_ in GEOMETRIES:
        piece = f"IF({column} IS NULL,'',CONCAT('x',HEX({column})))"
    else:
        # Of an enum, a UUID, an address, whose own lengths aren't that of their text.
        text = column if type_ in TEXTS else f"CAST({column} AS CHAR)"
        long = f"CONCAT(CHAR_LENGTH({text}),':',CONVERT({text} USING utf8mb4))"
        piece = f"IF({column} IS NULL,'',{long})"
    return piece


def image_sql(types: Sequence[str], columns: Sequence[str], key: Sequence[int]) -> str:
    """A row's image; of a row that is too large that of its key (the places in `key`)."""
    pieces = [column_sql(*each) for each in zip(types, columns, strict=True)]
    whole = _joined(pieces)
    if not key:
        return whole
    return f"COALESCE({whole},CONCAT('{_ONLY_KEY}',{_joined([pieces[n] for n in key])}))"


def parse_image(
    text: str, types: Sequence[str], key: Sequence[int]
) -> tuple[list[str | None], Collection[int]]:
    """The fields of an image, and the places that it doesn't tell: where it has the key alone, all
    others.

    Raises `MalformedEventError` for anything that `image_sql` doesn't give.
    """
    if not text.startswith(_ONLY_KEY):
        return _fields(text, 0, types), ()
    found: list[str | None] = [None] * len(types)
    for place, field in zip(key, _fields(text, 1, [types[n] for n in key]), strict=True):
        found[place] = field
    return found, [place for place in range(len(types)) if place not in key]


def value_of(type_: str, field: str | None) -> Value:
    """What a column of `type_` (as `DATA_TYPE` names it) holds, of which this is the field.

    NULL, integers and texts are plain, floats `real`, bytes `bytes`; all else is
    `{"t": "my:<type>", "v": text}`. Times of a TIMESTAMP are UTC. Raises `ValueError` for what is
    no such field.
    """
    if field is None or type_ in TEXTS:
        return field
    if type_ in INTEGERS:
        return to_value(int(field))
    if type_ in REALS:
        return to_value(float(field))
    if type_ in BYTES:
        return TypedValue("bytes", base64.b64encode(bytes.fromhex(field[1:])).decode())
    if type_ == "timestamp":
        return TypedValue("my:timestamp", _utc(field))
    if type_ in GEOMETRIES:
        return TypedValue(f"my:{type_}", field[1:])
    return TypedValue(f"my:{type_}", field)


def parameter_of(type_: str, value: Value) -> tuple[str, str | int | float | bytes | None]:
    """The SQL and the parameter by which `value` is written to a column of `type_` as it was, on a
    connection whose time zone is UTC.

    Raises `ValueEncodingError` for what no value of a column is.
    """
    if isinstance(value, TypedValue) and value.t.startswith("my:") and value.v is not None:
        if type_ in GEOMETRIES:
            return "UNHEX(%s)", value.v
        if type_ == "bit":
            return "CAST(%s AS UNSIGNED)", value.v
        return "%s", value.v
    native = to_native(value)
    if type(native) is float:
        return "%s", repr(native)
    if type(native) is bytes:
        return "UNHEX(%s)", native.hex()
    return "%s", native


def _joined(pieces: Sequence[str]) -> str:
    return "CONCAT(" + ",".join(f"{piece},','" for piece in pieces) + ")"


def _fields(text: str, start: int, types: Sequence[str]) -> list[str | None]:
    found: list[str | None] = []
    try:
        for type_ in types:
            end = text.index(",", start)
            if end == start:
                found.append(None)
            elif _is_plain(type_):
                found.append(text[start:end])
            else:
                colon = text.index(":", start)
                end = colon + 1 + int(text[start:colon])
                found.append(text[colon + 1 : end])
                if text[end] != ",":
                    raise ValueError
            start = end + 1
        if start != len(text):
            raise ValueError
    except (ValueError, IndexError):
        raise MalformedEventError("expected a row's image") from None
    return found


def _is_plain(type_: str) -> bool:
    return (
        type_ in INTEGERS
        or type_ in REALS
        or type_ in _PLAIN
        or type_ in BYTES
        or type_ in GEOMETRIES
        or type_ in ("bit", "timestamp")
    )


def _utc(field: str) -> str:
    seconds, dot, fraction = field.partition(".")
    if not int(seconds):
        return _ZERO
    return f"{_EPOCH + dt.timedelta(seconds=int(seconds))}{dot}{fraction}"


ROWS: Final = TextForm("my", parse_image, value_of)
