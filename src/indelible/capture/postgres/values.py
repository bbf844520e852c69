"""The values of PostgreSQL: from the server's text form, by type, without loss. Pure.

This is the one place where a value gets its form in an event, whether it was written or read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from indelible.capture.text_rows import TextForm
from indelible.errors import MalformedEventError
from indelible.events.values import TypedValue, Value, to_value

INTEGERS: Final = frozenset({"int2", "int4", "int8"})
TEXTS: Final = frozenset({"text", "varchar", "bpchar", "name"})
_QUOTED: Final = re.compile(r'"((?:[^"\\]|""|\\.)*)"|([^,()"\\]*)', re.S)
_TO_QUOTE: Final = re.compile('[,()"\\\\ \t\n\v\f\r]')
_ESCAPED: Final = re.compile(r'""|\\(.)', re.S)

SETTINGS: Final = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
}
"""Under these a value's text form is lossless, and the same in every session."""


_SIMPLE: Final = frozenset(
    {"bool", "uuid", "numeric", "json", "jsonb", "inet", "cidr", "bit", "varbit"}
)
_DEPENDS: Final = {
    "date": ("DateStyle",),
    "timestamp": ("DateStyle",),
    "timestamptz": ("DateStyle", "TimeZone"),
    "interval": ("IntervalStyle",),
    "bytea": ("bytea_output",),
    "float4": ("extra_float_digits",),
    "float8": ("extra_float_digits",),
    "money": ("lc_monetary",),
}


def settings_for(types: Iterable[str]) -> dict[str, str]:
    """Those of `SETTINGS` on which the text form of values of these types may depend."""
    names: set[str] = set()
    for type_ in types:
        if type_ in _DEPENDS:
            names.update(_DEPENDS[type_])
        elif not is_settled(type_):
            return dict(SETTINGS)
    return {name: SETTINGS[name] for name in SETTINGS if name in names}


def is_settled(type_: str) -> bool:
    """Whether the text form of values of this type is the same whatever a session's settings."""
    return type_ in _SIMPLE or type_ in TEXTS or type_ in INTEGERS


def value_of(type_: str, text: str | None) -> Value:
    """What a column of `type_` holds, of which the server's text form under `SETTINGS` is `text`.

    `type_` is the name as in `pg_type` (a domain's: that of the type under it). NULL, booleans,
    integers and texts are plain; all else is `{"t": "pg:<type>", "v": text}`.
    """
    if text is None:
        return None
    if type_ in TEXTS:
        return text
    if type_ in INTEGERS:
        return to_value(int(text))
    if type_ == "bool":
        return text == "t"
    return TypedValue(f"pg:{type_}", text)


def text_of(value: Value) -> str | None:
    """The text form that `value_of` made `value` from.

    Raises `MalformedEventError` for a value that stands for no column's.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int):
        return str(value)
    if value.v is None or not (value.t.startswith("pg:") or value.t == "int"):
        raise MalformedEventError(f"expected a value of PostgreSQL's, got one of {value.t!r}")
    return value.v


def parse_record(text: str, columns: int) -> list[str | None]:
    """The fields of a row's text form, as in `(a,"b,c",)`; None for NULL.

    Raises `MalformedEventError` for anything that isn't a row of so many columns.
    """
    if len(text) < 2 or text[0] != "(" or text[-1] != ")":
        raise MalformedEventError("expected a row's text form in brackets")
    if '"' not in text:
        # A field that holds a comma, a bracket or a quote would be quoted.
        fields: list[str | None] = [field or None for field in text[1:-1].split(",")]
    else:
        fields = _parse_quoted(text)
    if fields == [None] and not columns:
        return []
    if len(fields) != columns:
        raise MalformedEventError(f"expected a row of {columns} columns, got {len(fields)}")
    return fields


def format_record(fields: Sequence[str | None]) -> str:
    """A row's text form, as the server writes it of these fields."""
    return f"({','.join(map(_format_field, fields))})"


def _format_field(field: str | None) -> str:
    if field is None:
        return ""
    if field and not _TO_QUOTE.search(field):
        return field
    return '"' + field.replace("\\", "\\\\").replace('"', '""') + '"'


def _parse_quoted(text: str) -> list[str | None]:
    fields: list[str | None] = []
    at, end = 1, len(text) - 1
    while True:
        match = _QUOTED.match(text, at, end)
        if match is None:
            raise MalformedEventError("expected a field of a row")
        quoted, plain = match.groups()
        if quoted is None:
            fields.append(plain or None)
        elif '"' in quoted or "\\" in quoted:
            fields.append(_ESCAPED.sub(lambda found: found[1] or '"', quoted))
        else:
            fields.append(quoted)
        at = match.end()
        if at == end:
            return fields
        if text[at] != ",":
            raise MalformedEventError("expected a comma behind a field of a row")
        at += 1


def _fields(
    text: str, types: Sequence[str], _: Sequence[int]
) -> tuple[list[str | None], tuple[()]]:
    return parse_record(text, len(types)), ()


ROWS: Final = TextForm("pg", _fields, value_of)
