"""The bytes of an event: written once at its source, committed to, and read back.

An event is sealed in two steps so that its place and time are taken under the journal's lock
while the costly part is done outside of it: `encode_draft` writes everything but the header,
`seal` puts the header before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from indelible.errors import EventError, EventTooLargeError, MalformedEventError
from indelible.events.model import NO_PRODUCER, Event, Part, Producer, Timestamp

MAX_EVENT_BYTES: Final = 65_535
MAX_PARTS: Final = 4_096

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

# Room that a part needs beside its fragment: header, part, quotes and brackets.
_PART_OVERHEAD: Final = 512
_CUT_FIELDS: Final = ("changes", "baseline", "context", "statement", "reason", "details")


UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that aren't the JSON that is expected."""


def format_time(micros: int) -> Timestamp:
    """Microseconds since 1970 as a `Timestamp`."""
    seconds, rest = divmod(micros, 1_000_000)
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return Timestamp(f"{moment.isoformat()[:19]}.{rest:06d}Z")


def parse_time(text: Timestamp) -> int:
    """A `Timestamp` as microseconds since 1970; raises `MalformedEventError`."""
    try:
        if len(text) != 27 or text[-1] != "Z":
            raise ValueError
        moment = dt.datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise MalformedEventError("expected a time like 2026-11-23T09:28:04.123456Z") from None
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def event_id(producer: Producer, part: int = 1) -> str:
    """The id that this place in this source always gives."""
    base = f"{producer.id}.{producer.epoch}.{producer.seq}"
    return base if part == 1 else f"{base}.{part}"


def encode_draft(event: Event) -> bytes:
    """The JSON of `event` without `v`, `id`, `time` and `producer`: starts with `{"action":`.

    Text that has no UTF-8 (lone surrogates) outside of values is written with backslashes.
    """
    draft = msgspec.structs.replace(event, v=0, id="", time="", producer=NO_PRODUCER)
    try:
        return _encoder.encode(draft)
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(draft))


def decode_draft(draft: bytes) -> Event:
    """The event of which `encode_draft` made this. Raises `MalformedEventError`."""
    try:
        return _decoder.decode(draft)
    except (*UNDECODABLE, EventError) as error:
        raise MalformedEventError(f"expected the draft of an event: {error}") from None


def seal(draft: bytes, time: Timestamp, producer: Producer, *, part: int = 1) -> bytes:
    """The event's bytes for ever: `draft` with its header."""
    header = (
        f'{{"v":1,"id":"{event_id(producer, part)}","time":"{time}",'
        f'"producer":{{"id":"{producer.id}","epoch":{producer.epoch},"seq":{producer.seq}}},'
    )
    return header.encode() + draft[1:]


def header_format(producer_id: str, epoch: int, second: str) -> bytes:
    """What `seal` writes for events of one producer in one second (`2026-11-23T09:28:04.`).

    `header_format(…) % (seq, micros, seq) + draft[1:]` is `seal` of the whole: for who seals
    thousands in a second.
    """
    name = producer_id.replace("%", "%%")
    return (
        f'{{"v":1,"id":"{name}.{epoch}.%d","time":"{second}%06dZ",'
        f'"producer":{{"id":"{name}","epoch":{epoch},"seq":%d}},'
    ).encode()


def seal_parts(draft: bytes, time: Timestamp, producer: Producer) -> tuple[bytes, ...]:
    """Like `seal`; a draft too large for one event becomes parts that carry it in slices.

    Each part repeats action, kind, outcome, actor, targets, subjects and transaction, so each
    is found by the same questions; the other fields are cut. `join_parts` puts them together.
    Raises `EventTooLargeError` when the repeated fields alone don't fit.
    """
    if len(draft) + _PART_OVERHEAD <= MAX_EVENT_BYTES:
        return (seal(draft, time, producer),)
    fields = _fields_decoder.decode(draft)
    cut = {name: fields.pop(name) for name in _CUT_FIELDS if name in fields}
    repeated = _encoder.encode(fields)
    room = MAX_EVENT_BYTES - len(repeated) - _PART_OVERHEAD
    text = _encoder.encode(cut).decode()
    if room < 1_024 or not cut:
        raise EventTooLargeError(
            f"expected at most {MAX_EVENT_BYTES} bytes of actor, targets and subjects in one "
            f"event, got {len(repeated)}: name fewer targets in one event"
        )
    slices = _slices(text, room)
    if len(slices) > MAX_PARTS:
        raise EventTooLargeError(
            f"expected an event of at most {MAX_PARTS} parts, got {len(draft)} bytes"
        )
    first = event_id(producer)
    parts = []
    for n, fragment in enumerate(slices, start=1):
        tail = _encoder.encode({"part": Part(n, len(slices), first), "fragment": fragment})
        parts.append(seal(repeated[:-1] + b"," + tail[1:], time, producer, part=n))
    return tuple(parts)


def decode_event(body: bytes) -> Event:
    """The event in `body`. Raises `MalformedEventError`; unknown fields are passed over."""
    try:
        event = _decoder.decode(body)
    except (*UNDECODABLE, EventError) as error:
        raise MalformedEventError(f"expected the JSON of an event: {error}") from None
    if event.v != 1:
        raise MalformedEventError(f"expected an event of version 1, got version {event.v}")
    return event


def join_parts(parts: Sequence[Event]) -> Event:
    """The whole event from all of its fragments, in order.

    Raises `MalformedEventError` when one is missing or the pieces aren't of one event.
    """
    first = parts[0]
    if first.part is None or first.fragment is None:
        raise MalformedEventError("expected the first part of an event")
    for n, event in enumerate(parts, start=1):
        if event.part != Part(n, first.part.of, first.part.first) or event.fragment is None:
            raise MalformedEventError(f"expected part {n} of {first.part.of} of {first.id}")
    if len(parts) != first.part.of:
        raise MalformedEventError(f"expected {first.part.of} parts of {first.id}, got {len(parts)}")
    cut = "".join(cast("str", event.fragment) for event in parts)
    whole = msgspec.structs.replace(first, part=None, fragment=None)
    body = _encoder.encode(whole)
    return decode_event(body[:-1] + b"," + cut.encode()[1:])


class PartsJoiner:
    """Puts events together whose parts come one behind the other, as they stand in a trail."""

    def __init__(self) -> None:
        self._parts: list[Event] = []

    def add(self, event: Event) -> Event | None:
        """The whole event with its last part; None before, and where a part didn't come.

        Raises `MalformedEventError` where the parts don't give an event.
        """
        if event.part is None or event.fragment is None:
            return event
        if event.part.n == 1:
            self._parts.clear()
        if event.part.n != len(self._parts) + 1 or event.part.n > MAX_PARTS:
            self._parts.clear()
            return None
        self._parts.append(event)
        if event.part.n != event.part.of:
            return None
        parts, self._parts = self._parts, []
        return join_parts(parts)


def _slices(text: str, room: int) -> list[str]:
    """Cut `text` so that each slice takes at most `room` bytes as a JSON string."""
    slices = []
    start = 0
    step = room // 2
    while start < len(text):
        end = min(start + step, len(text))
        while len(_encoder.encode(text[start:end])) > room:
            end = start + (end - start) // 2
        slices.append(text[start:end])
        start = end
    return slices


def _without_surrogates(event: Event) -> Event:
    return msgspec.convert(_clean(msgspec.to_builtins(event)), Event)


def _clean(item: object) -> object:
    if isinstance(item, str):
        return item.encode("utf-8", "backslashreplace").decode()
    if isinstance(item, dict):
        return {_clean(key): _clean(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_clean(member) for member in item]
    return item
