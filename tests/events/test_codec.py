"""An event's bytes: written once, read back equal, cut where they are too long."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indelible
from indelible.errors import EventTooLargeError, MalformedEventError
from indelible.events.codec import (
    MAX_EVENT_BYTES,
    decode_event,
    encode_draft,
    format_time,
    header_format,
    join_parts,
    parse_time,
    seal,
    seal_parts,
)
from indelible.events.model import (
    Actor,
    Event,
    Outcome,
    Part,
    Producer,
    Statement,
    Subject,
    TargetRows,
    Timestamp,
)
from indelible.events.values import ABSENT, to_value

PRODUCER = Producer("9f2c41d07be3a8c5", 1_700_000_000_123_456, 7)
TIME = format_time(1_700_000_000_123_456)

EVENT = Event(
    action="invoice.update",
    kind="change",
    outcome=Outcome.DENIED,
    actor=Actor("staff", "alice", Actor("customer", "zara")),
    targets=(TargetRows("invoice", ((42,), (1, "x")), columns=("total",)),),
    subjects=(Subject("customer", "zara"), Subject("customer", None)),
    changes={"total": (to_value(1.5), to_value(2**60)), "note": (ABSENT, None)},
    reason="ticket 4411",
    context={"ip": "192.0.2.7"},
    statement=Statement("UPDATE invoice SET total = ?", (1,), ("invoice",)),
    transaction="ab:1",
    reverses=("a.1.2",),
)


@given(st.text("0123456789abcdef%", min_size=1), st.integers(0, 2**53), st.integers(1, 2**63 - 1))
def test_a_header_made_for_a_second_is_that_of_each_event(
    producer_id: str, micros: int, seq: int
) -> None:
    """Sealing by `header_format` gives the bytes of `seal`."""
    draft = encode_draft(EVENT)
    second, rest = divmod(micros, 1_000_000)

    header = header_format(producer_id, 5, format_time(second * 1_000_000)[:20])

    place = Producer(producer_id, 5, seq)
    assert header % (seq, rest, seq) + draft[1:] == seal(draft, format_time(micros), place)


def test_an_event_is_equal_after_its_bytes() -> None:
    """Everything that was said is read back, and the header is where it was put."""
    event = decode_event(seal(encode_draft(EVENT), TIME, PRODUCER))
    assert event.id == "9f2c41d07be3a8c5.1700000000123456.7"
    assert (event.v, event.time, event.producer) == (1, TIME, PRODUCER)
    draft = encode_draft(event)
    assert draft == encode_draft(EVENT)


def test_the_bytes_are_plain_json_in_the_order_of_the_design() -> None:
    """Anybody can read an event with any JSON parser."""
    body = json.loads(seal(encode_draft(EVENT), TIME, PRODUCER))
    assert list(body)[:6] == ["v", "id", "time", "producer", "action", "kind"]
    assert body["actor"] == {
        "kind": "staff",
        "id": "alice",
        "on_behalf_of": {"kind": "customer", "id": "zara"},
    }
    assert body["subjects"] == [["customer", "zara"], ["customer", None]]
    assert body["changes"]["note"] == [{"t": "absent"}, None]


def test_the_same_place_gives_the_same_bytes() -> None:
    """Re-delivery makes the same id and the same bytes, so the store can drop it."""
    assert seal(encode_draft(EVENT), TIME, PRODUCER) == seal(encode_draft(EVENT), TIME, PRODUCER)


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_round_trip_and_sort_as_text(micros: int) -> None:
    """A time is 27 characters to the microsecond, and text order is time order."""
    text = format_time(micros)
    assert len(text) == 27
    assert parse_time(text) == micros
    assert (text < format_time(micros + 1)) is True


@pytest.mark.parametrize("text", ["", "2026-11-23", "2026-11-23T09:28:04.123456+", "x" * 26 + "Z"])
def test_a_time_in_another_form_is_our_error(text: str) -> None:
    """A time that can't be read is a malformed event."""
    with pytest.raises(MalformedEventError, match="expected a time like"):
        parse_time(Timestamp(text))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_event_or_our_error(body: bytes) -> None:
    """Bytes from outside never leak another exception."""
    with pytest.raises(MalformedEventError):
        decode_event(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"v":2,"action":"a.b","kind":"event"}',
        b'{"v":1,"kind":"event"}',
        b'{"v":1,"action":"a.b","kind":"rumour"}',
        b'{"v":1,"action":"a.b","kind":"event","changes":{"c":[1.5,null]}}',
        b'{"v":1,"action":"a.b","kind":"event","actor":{"kind":"a:b","id":"c"}}',
        b'{"v":1,"action":"a.b","kind":"event","reason":"\xff"}',
        b"[" * 100_000,
    ],
)
def test_json_that_is_no_event_is_refused(body: bytes) -> None:
    """A newer version, a missing field, an unknown kind, a float, a bad name, deep nesting."""
    with pytest.raises(MalformedEventError):
        decode_event(body)


def test_text_without_utf8_neither_breaks_nor_loses_the_event() -> None:
    """A lone surrogate in a reason is written with a backslash."""
    event = decode_event(
        seal(encode_draft(Event(action="a.b", kind="event", reason="x\ud800")), TIME, PRODUCER)
    )
    assert event.reason == "x\\ud800"


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=50), st.integers(1_000, 20_000))
def test_an_event_too_long_comes_back_whole_from_its_parts(unit: str, times: int) -> None:
    """A large change is cut into parts of at most 65,535 bytes and loses nothing."""
    whole = Event(
        action="a.update",
        kind="change",
        actor=Actor("staff", "bob"),
        targets=(TargetRows("a", ((1,),)),),
        changes={"c": (to_value(unit * times), to_value(b"\x00" * times))},
        reason="r",
    )
    bodies = seal_parts(encode_draft(whole), TIME, PRODUCER)
    assert all(len(body) <= MAX_EVENT_BYTES for body in bodies)
    parts = [decode_event(body) for body in bodies]
    if len(parts) > 1:
        assert [part.id for part in parts[1:]] == [
            f"{parts[0].id}.{n}" for n in range(2, len(parts) + 1)
        ]
        assert all(part.actor == whole.actor for part in parts)
        assert all(part.targets == whole.targets for part in parts)
        assert encode_draft(join_parts(parts)) == encode_draft(whole)


def test_a_part_that_is_missing_is_said() -> None:
    """Joining fails with what was expected when a part isn't there."""
    event = Event(action="a.update", kind="change", changes={"c": (None, "x" * 200_000)})
    parts = [decode_event(body) for body in seal_parts(encode_draft(event), TIME, PRODUCER)]
    with pytest.raises(MalformedEventError, match=f"expected part 2 of {len(parts)}"):
        join_parts([parts[0], *parts[2:]])
    with pytest.raises(MalformedEventError, match=f"expected {len(parts)} parts"):
        join_parts(parts[:-1])
    assert parts[0].part == Part(1, len(parts), parts[0].id)


def test_too_many_targets_for_one_event_is_an_error_that_says_what_to_do() -> None:
    """Targets stand in every part, so they must fit into one."""
    event = Event(
        action="a.read",
        kind="access",
        targets=(TargetRows("a", tuple((n,) for n in range(20_000))),),
    )
    with pytest.raises(EventTooLargeError, match="name fewer targets"):
        seal_parts(encode_draft(event), TIME, PRODUCER)


def test_no_type_is_resolved_while_threads_run() -> None:
    """msgspec resolves a struct's type when it is first decoded, and two threads that do it at once
    crash the process: so each module makes its decoders while it is imported."""
    found = []
    for path in (Path(indelible.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) in (
                        "msgspec.json.decode",
                        "msgspec.json.Decoder",
                    ):
                        types = [ast.unparse(each.value) for each in call.keywords]
                        types += [ast.unparse(each) for each in call.args[1:]]
                        found += [
                            f"{path.name}: {each}"
                            for each in types
                            if not re.match(r"(dict|list|set|tuple)\[", each)
                        ]
    assert found == []
