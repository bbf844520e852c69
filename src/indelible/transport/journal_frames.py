"""The bytes of a journal file: how frames are written, found again and checked. Pure.

A file is the line `indelible-journal 1` and then frames::

    mark 4 bytes | length u32 | crc u32 | kind u8 | seq u64 | content (length bytes)

little-endian; `crc` is the CRC-32 of kind, seq and content. An event's content is, for each of its
parts, its length (u32) and its bytes.

The mark holds bytes (0xFF) that UTF-8 never holds, and an event's bytes are UTF-8: so after damage
the next frame can be searched for, and nobody can plant one inside of a captured value.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from indelible.errors import DeliveryError
from indelible.events.codec import MAX_EVENT_BYTES, MAX_PARTS, UNDECODABLE

MAGIC: Final = b"indelible-journal 1\n"
_VERSION: Final = re.compile(rb"indelible-journal ([0-9]{1,9})\n")
MARK: Final = b"\xffIJ\xff"
MAX_CONTENT_BYTES: Final = MAX_PARTS * (MAX_EVENT_BYTES + 4)

_HEAD: Final = struct.Struct("<4sIIBQ")
_CHECKED: Final = struct.Struct("<BQ")
_LENGTH: Final = struct.Struct("<I")
_UNCHECKED: Final = struct.Struct("<4sII")
_CHECKED_ONE: Final = struct.Struct("<BQI")
HEAD_BYTES: Final = _HEAD.size


class FrameKind(IntEnum):
    """What a frame says."""

    HEADER = 1
    """The first of each file: who writes it; events up to `seq` stand in earlier files."""
    EVENT = 2
    CLOSED = 3
    """The producer ended in order; `seq` is its last."""


_EVENT: Final = int(FrameKind.EVENT)


class Frame(msgspec.Struct, frozen=True):
    """One whole frame that stands from `start` up to `end` of what was searched."""

    kind: FrameKind
    seq: int
    content: bytes
    start: int
    end: int

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """The parts of an event's frame; all of it as one where they can't be told apart."""
        bodies = []
        at = 0
        while at + _LENGTH.size <= len(self.content):
            (length,) = _LENGTH.unpack_from(self.content, at)
            at += _LENGTH.size
            bodies.append(self.content[at : at + length])
            at += length
        return tuple(bodies) if at == len(self.content) else (self.content,)


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes a file, in words for whoever has to look at one.

    `boot`, `pid_space`, `pid` and `started` together name one process for ever; `number` counts
    the producer's files from 1.
    """

    producer: str
    epoch: int
    number: int
    service: str
    boot: str
    pid_space: str
    pid: int
    started: int
    heartbeat_s: float = 0.0
    """At least so often something is written while the process lives; 0 says nothing."""


_decode_header: Final = msgspec.json.Decoder(JournalHeader).decode


class Scan(msgspec.Struct, frozen=True):
    """What stands in a stretch of a file.

    Everything before `end` is dealt with: it is in `frames` or it is damage (`damaged_bytes`).
    `needed` is how many bytes from `end` on the next frame says it takes; 0 where nothing is known
    of it. `is_full` says that the limit ended the scan.
    """

    frames: tuple[Frame, ...]
    end: int
    damaged_bytes: int
    needed: int = 0
    is_full: bool = False


def format_frame(kind: FrameKind, seq: int, content: bytes) -> bytes:
    """One frame."""
    crc = zlib.crc32(content, zlib.crc32(_CHECKED.pack(kind, seq)))
    return _HEAD.pack(MARK, len(content), crc, kind, seq) + content


def format_whole_event_frame(seq: int, header: bytes, rest: memoryview) -> bytes:
    """`format_event_frame(seq, (header + rest,))`: nearly every event.

    One checksum over all of it: between an application's statements the tables of `crc32` are
    never in the processor's nearest cache, and a call costs more than the bytes.
    """
    length = len(header) + len(rest)
    checked = b"".join((_CHECKED_ONE.pack(_EVENT, seq, length), header, rest))
    return _UNCHECKED.pack(MARK, length + 4, zlib.crc32(checked)) + checked


def format_event_frame(seq: int, bodies: Sequence[bytes]) -> bytes:
    """The frame of an event in one part or more."""
    content = b"".join([_LENGTH.pack(len(body)) + body for body in bodies])
    return format_frame(FrameKind.EVENT, seq, content)


def format_file_start(header: JournalHeader, seq_before: int) -> bytes:
    """What every file begins with."""
    return MAGIC + format_frame(FrameKind.HEADER, seq_before, msgspec.json.encode(header))


def parse_header(frame: Frame) -> JournalHeader | None:
    """The header in `frame`; None where it isn't one."""
    if frame.kind is not FrameKind.HEADER:
        return None
    try:
        return _decode_header(frame.content)
    except UNDECODABLE:
        return None


def check_magic(start: bytes, name: str) -> None:
    """Raises `DeliveryError` where a whole first line is there and says another format.

    Waiting for a newer version to read it is right, skipping it as damage would not be.
    """
    found = _VERSION.match(start)
    if found is not None and found[1] != b"1":
        raise DeliveryError(
            f"expected a journal of version 1 in {name}, got another version: "
            "its events wait for an Indelible that reads it"
        )


def scan_frames(stretch: bytes, *, is_end: bool, limit: int, max_bytes: int) -> Scan:
    """The frames in `stretch`, at most `limit` events and about `max_bytes` of them (at least one).

    `is_end` says that the file ends with it. Bytes that are no frame are passed over up to the next
    good one; where none follows they are left (`end` stands before them), because their frame may
    still be on its way, or reach beyond `stretch`.
    """
    frames: list[Frame] = []
    events = 0
    at = 0
    damaged = 0
    while at < len(stretch) and events < limit and (at - damaged < max_bytes or not frames):
        if stretch.startswith(MAGIC, at):
            at += len(MAGIC)
            continue
        frame, needed = _frame_at(stretch, at)
        if frame is None:
            if needed and not is_end:
                return Scan(tuple(frames), at, damaged, needed)
            following = _next_frame_start(stretch, at + 1)
            if following < 0:
                return Scan(tuple(frames), at, damaged, needed)
            damaged += following - at
            at = following
            continue
        frames.append(frame)
        events += frame.kind is FrameKind.EVENT
        at = frame.end
    return Scan(tuple(frames), at, damaged, is_full=at < len(stretch))


def last_seq(tail: bytes) -> int:
    """The seq of the last whole frame in `tail`; 0 where there is none."""
    at = tail.rfind(MARK)
    while at >= 0:
        frame, _ = _frame_at(tail, at)
        if frame is not None:
            return frame.seq
        at = tail.rfind(MARK, 0, at)
    return 0


def _frame_at(stretch: bytes, at: int) -> tuple[Frame | None, int]:
    """The frame that starts at `at`; or how many bytes it needs where it isn't all there."""
    if at + HEAD_BYTES > len(stretch):
        begun = stretch[at : at + len(MARK)]
        return None, HEAD_BYTES if MARK.startswith(begun) else 0
    mark, length, crc, kind, seq = _HEAD.unpack_from(stretch, at)
    if mark != MARK or length > MAX_CONTENT_BYTES or not 1 <= kind <= len(FrameKind):
        return None, 0
    start = at + HEAD_BYTES
    if start + length > len(stretch):
        return None, HEAD_BYTES + length
    content = stretch[start : start + length]
    if zlib.crc32(content, zlib.crc32(_CHECKED.pack(kind, seq))) != crc:
        return None, 0
    return Frame(FrameKind(kind), seq, content, at, start + length), 0


def _next_frame_start(stretch: bytes, at: int) -> int:
    """Where the next good frame starts; -1 where none does."""
    at = stretch.find(MARK, at)
    while at >= 0:
        if _frame_at(stretch, at)[0] is not None:
            return at
        at = stretch.find(MARK, at + 1)
    return -1
