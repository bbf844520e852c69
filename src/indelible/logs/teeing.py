"""The tee's decisions: of each line that comes, what is kept in the trail and what goes on.

Audit lines whose MAC holds are events: journal first, and only name and id go on. Lines of the
application whose MAC holds go on as they are. All else is text that anybody may have written: it
is scrubbed, encoded, marked `U` and counted. What is irregular (forged, replayed, duplicated, torn,
missing) is noticed, and the same thing many times over is noticed once, with its count.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from indelible.errors import EventError
from indelible.events.codec import UNDECODABLE, encode_draft
from indelible.events.model import Event
from indelible.events.values import Value
from indelible.logs.encoding import ascii_json, letters
from indelible.logs.following import Following, Irregular, StreamPosition
from indelible.logs.frames import Frame, LineReader, StreamId, Unsigned

MAX_LINE: Final = 65_536
"""A longer line is taken in pieces of this size, each of them unsigned."""
_MAX_PARTS: Final = 64
_NOTICE_EVERY_S: Final = 1.0
_MAX_OPEN: Final = 64

_MESSAGES: Final = {
    "forged": "a line came that looks like ours and that nobody signed with our key",
    "replayed": "a line came again that had come before",
    "duplicated": "a line came twice",
    "torn": "a line was cut off",
    "missing": "lines are missing from a stream",
    "unended": "a stream broke off: its process was killed, or its last lines were withheld",
    "unreadable": "a line that our key signed can't be read",
}


class Kept(Protocol):
    """Where audit events are kept; see `capture.host.Journal`."""

    def append(self, draft: bytes) -> str: ...
    def sync(self) -> None: ...


class Notice(Protocol):
    """Writes an entry that stays noticed until it is acknowledged."""

    def __call__(self, action: str, message: str, **details: str) -> None: ...


class _Parted(msgspec.Struct):
    """A line of the stream as far as the tee looks into it."""

    part: tuple[int, int, int] | None = None
    json: str = ""
    e: msgspec.Raw = msgspec.Raw()
    unkept: str | None = None
    what: str = msgspec.field(default="", name="is")


class Counts(msgspec.Struct):
    """What came so far."""

    audit: int = 0
    application: int = 0
    unsigned: int = 0
    irregular: int = 0


class ReadSoFar(msgspec.Struct):
    """What a tee has to know of what was read before it, to go on at that place.

    Streams that began no later than `forgotten` and aren't among `streams` were forgotten. `pieces`
    are those of records that weren't whole yet. `kept` names the lines behind this place
    whose events are in the trail all the same, with their ids: a tee was killed before it could say
    how far it had come. They will come again, and aren't kept again.
    """

    streams: dict[StreamId, StreamPosition] = msgspec.field(default_factory=dict)
    forgotten: str = ""
    pieces: dict[StreamId, list[str]] = msgspec.field(default_factory=dict)
    kept: dict[str, str] = msgspec.field(default_factory=dict)


class Tee:
    """One input stream. Not safe for threads."""

    def __init__(
        self,
        reader: LineReader,
        kept: Kept,
        notice: Notice,
        go_on: Callable[[bytes], None],
        scrub: Callable[[str], str],
        clock_s: Callable[[], float],
        before: ReadSoFar | None = None,
    ) -> None:
        """`go_on` takes whole lines for the application's branch. `before` says where an earlier
        tee stopped."""
        before = before or ReadSoFar()
        self._reader = reader
        self._following = Following(before.streams, before.forgotten)
        self._kept_before = before.kept
        self._kept = kept
        self._notice = notice
        self._go_on = go_on
        self._scrub = scrub
        self._clock_s = clock_s
        self._rest = b""
        self._pieces = {name: list(pieces) for name, pieces in before.pieces.items()}
        self._waiting: dict[str, tuple[int, dict[str, str]]] = {}
        self._notice_at = 0.0
        self.counts = Counts()

    def feed(self, data: bytes) -> None:
        """Take what was read. When this returns, its audit events survive loss of power. Raises
        `DeliveryError` where one can't be kept: then it is lost, and whoever called has to end."""
        lines = (self._rest + data).split(b"\n")
        rest = lines.pop()
        before = self.counts.audit
        for line in lines:
            self._take(line)
        while len(rest) > MAX_LINE:
            self._unsigned(Unsigned(rest[:MAX_LINE]))
            rest = rest[MAX_LINE:]
        self._rest = rest
        says = bool(self._waiting) and self._clock_s() >= self._notice_at
        if says:
            self._say_noticed()
        if says or self.counts.audit != before:
            self._kept.sync()

    def pause(self) -> None:
        """Reading stops here, of an input that goes on: a later tee begins with `read_so_far`."""
        self._say_noticed()
        self._kept.sync()

    def finish(self) -> None:
        """The input ended."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._take(rest)
        for stream in self._pieces:
            self._irregular("torn", stream=stream)
        self._pieces.clear()
        for each in self._following.unended():
            self._irregular_in(each)
        self._forget()
        self._say_noticed()
        self._kept.sync()

    def tell_silent(self) -> None:
        """Notice streams of which nothing came since this was last called."""
        for each in self._following.silent():
            self._irregular_in(each)
        self._forget()

    @property
    def unread(self) -> int:
        """How many bytes of what was fed are a line that isn't whole yet."""
        return len(self._rest)

    @property
    def has_unsaid(self) -> bool:
        """Whether something irregular was seen and isn't noticed yet: `feed`, also of nothing, does
        so within a second."""
        return bool(self._waiting)

    def read_so_far(self) -> ReadSoFar:
        """What a later tee needs to go on behind what was fed, `unread` bytes before its end."""
        streams = self._following.positions()
        kept = {}
        for line, log_id in self._kept_before.items():
            name, _, seq = line.partition(".")
            stream = streams.get(StreamId(name))
            is_unread = stream is None or stream.seq < int(seq)
            if is_unread and not self._following.is_forgotten(StreamId(name)):
                kept[line] = log_id
        self._kept_before = kept
        return ReadSoFar(streams, self._following.forgotten, self._pieces, kept)

    def _take(self, line: bytes) -> None:
        for found in self._pieced(line):
            for part in self._reader.read(found):
                if isinstance(part, Frame):
                    self._frame(part)
                else:
                    self._unsigned(part)

    def _pieced(self, line: bytes) -> Iterator[bytes]:
        if len(line) <= MAX_LINE:
            yield line
            return
        # Nothing of ours is as long; only what stands last in it can be.
        yield from (line[start : start + MAX_LINE] for start in range(0, len(line), MAX_LINE))

    def _frame(self, frame: Frame) -> None:
        irregular, is_new = self._following.take(frame)
        if irregular is not None:
            self._irregular_in(irregular)
        if not is_new:
            return
        if frame.line_class == "L" and b'"part":[' not in frame.body[:32]:
            self.counts.application += 1
            self._go_on(frame.json + b"\n")
            return
        try:
            found = _read(frame.json)
        except UNDECODABLE:
            self._irregular("unreadable", stream=frame.stream, seq=frame.seq)
            return
        if frame.line_class == "C":
            self._control(frame, found)
        elif found.part is not None:
            self._part(frame, found)
        elif frame.line_class == "A":
            self._audit(frame, found.e)

    def _control(self, frame: Frame, said: _Parted) -> None:
        if said.what == "lost":
            self._go_on(frame.json + b"\n")
        if said.what == "end":
            self._following.end(frame.stream)
            self._reader.forget(frame.stream)
            if self._pieces.pop(frame.stream, None) is not None:
                self._irregular("torn", stream=frame.stream)
            self._forget()

    def _forget(self) -> None:
        for stream in self._following.forget():
            self._reader.forget(stream)
            if self._pieces.pop(stream, None) is not None:
                self._irregular("torn", stream=stream)

    def _part(self, frame: Frame, said: _Parted) -> None:
        number, of, first = said.part or (0, 0, 0)
        pieces = self._pieces.setdefault(frame.stream, [])
        if number != len(pieces) + 1 or frame.seq != first + number - 1 or of > _MAX_PARTS:
            del self._pieces[frame.stream]
            self._irregular("torn", stream=frame.stream, seq=frame.seq)
            return
        pieces.append(said.json)
        if number < of:
            return
        del self._pieces[frame.stream]
        whole = "".join(pieces).encode()
        if frame.line_class == "L":
            self.counts.application += 1
            self._go_on(whole + b"\n")
            return
        try:
            self._audit(frame, _read(whole).e)
        except UNDECODABLE:
            self._irregular("unreadable", stream=frame.stream, seq=frame.seq)

    def _audit(self, frame: Frame, raw: msgspec.Raw) -> None:
        line = f"{frame.stream}.{frame.seq}"
        log_id = self._kept_before.get(line) or letters(secrets.token_bytes(8))
        origin: dict[str, Value] = {"log_id": log_id, "log_line": line}
        try:
            event = _read_event(raw)
            if line not in self._kept_before:
                details = {**(event.details or {}), **origin}
                self._kept.append(encode_draft(msgspec.structs.replace(event, details=details)))
                self.counts.audit += 1
        except (*UNDECODABLE, EventError):
            self._irregular("unreadable", stream=frame.stream, seq=frame.seq)
            return
        name = ascii_json(event.action)
        self._go_on(f'{{"v":1,"c":"A","event":{name},"id":"{log_id}"}}\n'.encode())

    def _unsigned(self, found: Unsigned) -> None:
        if found.looks is not None:
            self._irregular(found.looks)
        text = self._scrub(found.text.decode("utf-8", "backslashreplace"))
        self.counts.unsigned += 1
        self._go_on(f'{{"v":1,"c":"U","text":{ascii_json(text)}}}\n'.encode())

    # -- what is noticed --------------------------------------------------------------------------

    def _irregular_in(self, each: Irregular) -> None:
        count = each.last - each.first + 1 if each.what == "missing" else 1
        self._irregular(
            each.what, stream=each.stream, first=each.first, last=each.last, count=count
        )

    def _irregular(self, what: str, *, count: int = 1, **details: object) -> None:
        self.counts.irregular += 1
        counted, example = self._waiting.get(what, (0, {}))
        self._waiting[what] = (
            counted + count,
            example or {name: f"{value}" for name, value in details.items()},
        )

    def _say_noticed(self) -> None:
        """At most one entry of a kind a second: whoever floods us doesn't flood the trail."""
        waiting, self._waiting = self._waiting, {}
        self._notice_at = self._clock_s() + _NOTICE_EVERY_S
        for what, (count, example) in waiting.items():
            self._notice(f"log.{what}", _MESSAGES[what], count=f"{count}", **example)


_read: Final = msgspec.json.Decoder(_Parted).decode
_read_event: Final = msgspec.json.Decoder(Event).decode
