"""What a stream's numbers say: which lines are missing, came twice, or were played again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from indelible.logs.frames import Frame, StreamId

MAX_REMEMBERED: Final = 4_096
"""How many streams that are over are remembered one by one."""
_SECOND: Final = 8
"""Digits of a stream's name that say when it began."""


class Irregular(msgspec.Struct, frozen=True):
    """Something about a stream that its lines' numbers show.

    `missing`: lines `first` to `last` never came. `duplicated`: line `first` came twice in a row.
    `replayed`: line `first` came again, behind others, or behind the stream's end. `unended`: the
    input ended, or went on without it, and the stream hadn't, behind line `first`: its process was
    killed, or lines at its end were withheld.
    """

    what: Literal["missing", "duplicated", "replayed", "unended"]
    stream: StreamId
    first: int
    last: int


class StreamPosition(msgspec.Struct, array_like=True):
    """How far a stream was read.

    `has_come`: a line of it came since silence was last looked for. `is_silent`: it was told that
    none does.
    """

    seq: int = 0
    has_come: bool = False
    has_ended: bool = False
    is_silent: bool = False


class Following:
    """The streams of one input. `known` is how far streams were read before.

    Of streams that are over (they ended, or broke off) the `max_remembered` that began last are
    remembered. The others are forgotten, and so are taken for a replay by when they began: what
    isn't remembered and began no later than one that was forgotten is refused, whatever it is. A
    stream is named when its first line is written, so a new one is refused only if that many
    younger ones were over before that line was read. `forgotten` is that second, as names of
    streams have it; empty for none.
    """

    def __init__(
        self,
        known: Mapping[StreamId, StreamPosition] | None = None,
        forgotten: str = "",
        *,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._streams = {name: msgspec.structs.replace(at) for name, at in (known or {}).items()}
        self._last_lines: dict[StreamId, bytes] = {}
        self._max_remembered = max_remembered
        self.forgotten = forgotten

    def take(self, frame: Frame) -> tuple[Irregular | None, bool]:
        """What is irregular about this frame, and whether it is new: one that isn't must not be
        taken for an event."""
        seq = frame.seq
        stream = self._streams.get(frame.stream)
        if stream is None:
            if self.is_forgotten(frame.stream):
                return Irregular("replayed", frame.stream, seq, seq), False
            stream = self._streams[frame.stream] = StreamPosition()
        if seq <= stream.seq or stream.has_ended:
            is_twice = seq == stream.seq and frame.body == self._last_lines.get(frame.stream)
            what: Literal["duplicated", "replayed"] = "duplicated" if is_twice else "replayed"
            return Irregular(what, frame.stream, seq, seq), False
        expected, stream.seq = stream.seq + 1, seq
        self._last_lines[frame.stream] = frame.body
        stream.has_come, stream.is_silent = True, False
        if seq == expected:
            return None, True
        return Irregular("missing", frame.stream, expected, seq - 1), True

    def is_forgotten(self, stream: StreamId) -> bool:
        """Whether the stream isn't remembered, and may have been once."""
        return stream not in self._streams and stream[:_SECOND] <= self.forgotten

    def forget(self) -> list[StreamId]:
        """Forget the oldest of the streams that are over, where there are too many; returns them.

        A quarter at once, so that sorting them costs little.
        """
        if len(self._streams) <= self._max_remembered:
            return []
        over = [name for name, at in self._streams.items() if at.has_ended or at.is_silent]
        if len(over) <= self._max_remembered:
            return []
        over.sort()
        gone = over[: len(over) - self._max_remembered * 3 // 4]
        for name in gone:
            del self._streams[name]
            self._last_lines.pop(name, None)
        self.forgotten = max(self.forgotten, gone[-1][:_SECOND])
        return gone

    def end(self, stream: StreamId) -> None:
        """The stream said that it ended: what comes under its name from now on is a replay."""
        self._streams.setdefault(stream, StreamPosition()).has_ended = True
        self._last_lines.pop(stream, None)

    def unended(self) -> list[Irregular]:
        """At the end of the input: the streams of which something came and that didn't end, each
        told once."""
        found = []
        for name, stream in self._streams.items():
            if stream.has_come and not stream.has_ended:
                stream.has_come, stream.is_silent = False, True
                found.append(Irregular("unended", name, stream.seq, stream.seq))
        return found

    def silent(self) -> list[Irregular]:
        """The streams that didn't end and of which nothing came since this was last asked, each
        told once. For an input that has no end: living streams say so every ten seconds."""
        found = []
        for name, stream in self._streams.items():
            if not (stream.has_come or stream.has_ended or stream.is_silent):
                stream.is_silent = True
                found.append(Irregular("unended", name, stream.seq, stream.seq))
            stream.has_come = False
        return found

    def positions(self) -> dict[StreamId, StreamPosition]:
        """How far each stream was read."""
        return self._streams
