"""What a stream's numbers say: which lines are missing, came twice, or were played again. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from indelible.logs.frames import Frame, StreamId


class Irregular(msgspec.Struct, frozen=True):
    """Something about a stream that its lines' numbers show.

    `missing`: lines `first` to `last` never came. `duplicated`: line `first` came twice in a row.
    `replayed`: line `first` came again, behind others, or behind the stream's end. `unended`: the
    input ended and the stream hadn't, behind line `first`: its process was killed, or lines at its
    end were withheld.
    """

    what: Literal["missing", "duplicated", "replayed", "unended"]
    stream: StreamId
    first: int
    last: int


class _Stream(msgspec.Struct):
    seq: int = 0
    line: bytes = b""
    has_come: bool = False
    has_ended: bool = False


class Following:
    """The streams of one input. `known` is what was seen of streams before: their last numbers."""

    def __init__(self, known: dict[StreamId, int] | None = None) -> None:
        self._streams = {name: _Stream(seq) for name, seq in (known or {}).items()}

    def take(self, frame: Frame) -> tuple[Irregular | None, bool]:
        """What is irregular about this frame, and whether it is new: one that isn't must not be
        taken for an event."""
        stream = self._streams.setdefault(frame.stream, _Stream())
        seq = frame.seq
        if seq <= stream.seq or stream.has_ended:
            is_twice = seq == stream.seq and frame.body == stream.line and not stream.has_ended
            what: Literal["duplicated", "replayed"] = "duplicated" if is_twice else "replayed"
            return Irregular(what, frame.stream, seq, seq), False
        expected, stream.seq, stream.line = stream.seq + 1, seq, frame.body
        stream.has_come = True
        if seq == expected:
            return None, True
        return Irregular("missing", frame.stream, expected, seq - 1), True

    def end(self, stream: StreamId) -> None:
        """The stream said that it ended: what comes under its name from now on is a replay."""
        self._streams.setdefault(stream, _Stream()).has_ended = True

    def unended(self) -> list[Irregular]:
        """At the end of the input: the streams of which something came and that didn't end."""
        return [
            Irregular("unended", name, stream.seq, stream.seq)
            for name, stream in self._streams.items()
            if stream.has_come and not stream.has_ended
        ]

    def positions(self) -> dict[StreamId, int]:
        """The last number of each stream."""
        return {name: stream.seq for name, stream in self._streams.items()}
