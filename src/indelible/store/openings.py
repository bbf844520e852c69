"""Sealed values that were opened, beside the event that has them, each with the key of its own box.

The event's bytes stay as they were committed to. With that key, which opens one box and no other,
anybody sees for themselves that this value is the one that was sealed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from indelible.capture.sealing import CIRCUMSTANCES, DETAILS
from indelible.errors import BoxError
from indelible.events.box import open_with
from indelible.events.model import Event
from indelible.events.values import ERASED, TypedValue, Value

STILL_SEALED: Final = TypedValue("sealed")
"""Of a value that couldn't be opened: there is no key of its token, or it was moved or changed."""
MAX_VALUE_BYTES: Final = 1_024
"""Of the JSON of a value that stands in an `Opening`; a larger one its key gives."""
_decoder: Final[msgspec.json.Decoder[Value]] = msgspec.json.Decoder(Value)


class SealedValue(NamedTuple):
    """A sealed value and its place in an event.

    `kind` is that of the rows, to which it is bound; `actor:context` or `event:details` elsewhere,
    with the field's name as `column`. `at` is 0 for the value before a change and 1
    for that after it; of a baseline, the number of the row, from 0.
    """

    kind: str
    column: str
    at: int
    value: TypedValue


class Opening(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What the sealed value at this place is (`SealedValue`), and the key of its box (base64).

    A value of more than `MAX_VALUE_BYTES` is left out. Without a key it is `erased`, or `sealed`
    where it couldn't be opened.
    """

    kind: str
    column: str
    at: int
    token: str
    value: Value | msgspec.UnsetType = msgspec.UNSET
    key: str | None = None

    @property
    def opened_value(self) -> Value:
        """Once it was checked: the value, or why there is none."""
        return STILL_SEALED if self.value is msgspec.UNSET else self.value

    @property
    def is_erased(self) -> bool:
        return self.key is None and self.value == ERASED


def sealed_values(event: Event) -> Iterator[SealedValue]:
    """Those of `event` (whole, not a part), in its order."""
    kind = event.targets[0].kind if event.targets else ""
    for column, pair in (event.changes or {}).items():
        for at, value in enumerate(pair):
            if is_sealed(value) and isinstance(value, TypedValue):
                yield SealedValue(kind, column, at, value)
    if event.baseline is not None:
        for at, row in enumerate(event.baseline.rows):
            for column, value in zip(event.baseline.columns, row, strict=False):
                if is_sealed(value) and isinstance(value, TypedValue):
                    yield SealedValue(kind, column, at, value)
    for where, told in ((CIRCUMSTANCES, event.context), (DETAILS, event.details)):
        for name, value in (told or {}).items():
            if is_sealed(value) and isinstance(value, TypedValue):
                yield SealedValue(where, name, 0, value)


def is_sealed(value: Value) -> bool:
    return isinstance(value, TypedValue) and value.t == "sealed"


def check_openings(event: Event, openings: Sequence[Opening]) -> tuple[Opening, ...]:
    """The same, those that have none with their values.

    Raises `BoxError` where one isn't of a sealed value of `event`, two are of the same, or a key
    gives another value, or none.
    """
    sealed = {(each.kind, each.column, each.at): each.value for each in sealed_values(event)}
    checked = []
    for opening in openings:
        value = sealed.pop((opening.kind, opening.column, opening.at), None)
        if value is None or value.s != opening.token:
            raise BoxError("expected opened values of sealed ones, each once, came others")
        if opening.key is None:
            if opening.value not in (ERASED, STILL_SEALED):
                raise BoxError("expected the key of an opened value, there is none")
        else:
            sealed_value = _opened(opening, value)
            if opening.value is not msgspec.UNSET and not _is_same(opening.value, sealed_value):
                raise BoxError("expected the value that was sealed, came another")
            opening = msgspec.structs.replace(opening, value=sealed_value)
        checked.append(opening)
    return tuple(checked)


def _opened(opening: Opening, value: TypedValue) -> Value:
    try:
        key = base64.b64decode(opening.key or "", validate=True)
    except (ValueError, binascii.Error):
        raise BoxError("expected the key of an opened value in base64") from None
    return open_value(value, key, opening.kind, opening.column)


def open_value(value: TypedValue, key: bytes, kind: str, column: str) -> Value:
    """What was sealed. Raises `BoxError` where `key` isn't that of its box, or it was moved."""
    try:
        box = base64.b64decode(value.v or "", validate=True)
        return _decoder.decode(open_with(key, box, place_of(value.s or "", kind, column)))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BoxError("expected a sealed value as it was made") from None


def _is_same(one: object, other: object) -> bool:
    """Equal bit for bit: True isn't 1."""
    return type(one) is type(other) and one == other


def place_of(token: str, kind: str, column: str) -> bytes:
    """What is bound to a box: moved elsewhere it doesn't open."""
    return "\0".join(("indelible value v1", token, kind, column)).encode("utf-8", "surrogatepass")
