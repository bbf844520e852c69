"""Values survive the way from a column to the trail and back, bit for bit."""

from __future__ import annotations

import math
import sqlite3
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indelible.errors import MalformedEventError, ValueEncodingError
from indelible.events.codec import decode_event, encode_draft, format_time, seal
from indelible.events.model import NO_PRODUCER, Event
from indelible.events.values import (
    MASKED,
    Native,
    RawText,
    TypedValue,
    format_id,
    to_native,
    to_value,
)

natives = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.binary(min_size=1).map(lambda raw: RawText(b"\xff" + raw)),
)


def bits(native: Native) -> tuple[type, bytes]:
    """The type and the bits of a value: what must not change."""
    if isinstance(native, float):
        return float, struct.pack(">d", native)
    if isinstance(native, str):
        return str, native.encode("utf-8", "surrogatepass")
    if isinstance(native, bytes):
        return type(native), bytes(native)
    return type(native), repr(native).encode()


@given(natives)
@example(-0.0)
@example(math.inf)
@example(-math.inf)
@example(5e-324)
@example(0.30000000000000004)
@example(2**53)
@example(-(2**53))
@example("a\x00b\u2028\U0001f600")
def test_every_value_comes_back_bit_for_bit_through_the_bytes(native: Native) -> None:
    """A value of any SQLite type is the same bits after encoding and decoding an event."""
    event = Event(action="t.update", kind="change", changes={"c": (to_value(native), None)})
    body = seal(encode_draft(event), format_time(0), NO_PRODUCER)
    changes = decode_event(body).changes
    assert changes is not None
    assert bits(to_native(changes["c"][0])) == bits(native)


def test_integers_beyond_what_json_readers_keep_are_written_as_text() -> None:
    """2**53 - 1 is a JSON number, 2**53 is not: JavaScript readers would round it."""
    assert to_value(2**53 - 1) == 2**53 - 1
    assert to_value(2**53) == TypedValue("int", "9007199254740992")


def test_one_and_one_point_nought_and_the_text_one_are_three_values() -> None:
    """Equality of values is equality of bits, not of numbers."""
    assert len({to_value(1), to_value(1.0), to_value("1")}) == 3


def test_a_lone_surrogate_in_text_is_kept() -> None:
    """Text that has no UTF-8 is kept as its bytes instead of failing or being replaced."""
    assert to_native(to_value("a\ud800")) == RawText(b"a\xed\xa0\x80")


def test_a_marker_has_no_python_value() -> None:
    """What was masked can't be turned into a value by accident."""
    with pytest.raises(ValueEncodingError, match="'masked' has no Python form"):
        to_native(MASKED)


@pytest.mark.parametrize("kind", ["int", "real", "bytes", "text"])
def test_a_damaged_typed_value_is_our_error(kind: str) -> None:
    """Outside bytes never leak a ValueError."""
    with pytest.raises(MalformedEventError, match=kind):
        to_native(TypedValue(kind, "\N{SNOWMAN}!"))


def test_a_type_that_events_do_not_hold_is_refused_by_name() -> None:
    """The developer reads what was expected and what came, not the value itself."""
    with pytest.raises(ValueEncodingError, match=r"got sqlite3\.Row|got builtins\.object"):
        to_value(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row_id", "text"),
    [
        ((42,), "42"),
        (("42",), "42"),
        ((1, 3), "[1,3]"),
        ((None,), "[null]"),
        ((to_value(b"\x00"),), '[{"t":"bytes","v":"AA=="}]'),
    ],
)
def test_an_id_reads_as_a_person_types_it(row_id: tuple, text: str) -> None:  # type: ignore[type-arg]
    """A single key is itself, a composite key is JSON."""
    assert format_id(row_id) == text


def test_sqlite_text_of_any_bytes_round_trips(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """SQLite keeps text that isn't UTF-8; so do we."""
    connection = sqlite3.connect(tmp_path / "a.db")
    raw = b"\xc3\x28\x00z"
    stored = connection.execute("SELECT CAST(CAST(? AS TEXT) AS BLOB)", (raw,)).fetchone()[0]
    connection.close()
    assert to_native(to_value(RawText(stored))) == raw
