"""One line of a log stream that can't be forged: ASCII JSON whose last member is a keyed MAC.

::

    {"v":1,"c":"L",...,"_m":"<stream>.<seq>.<mac>"}\\n

`c` is the class: `A` an audit event, `L` a line of the application, `C` what the stream says of
itself (begun, alive, ended). The MAC is over every byte before it, under a key of the class and
the stream, so that a line of one class never passes as one of another. `stream` is 16 hexadecimal
digits, of which the first 8 are the second in which it began; `seq` counts all of its lines from
1, in 12 digits; `mac` is the first half of an HMAC-SHA256, 32 digits. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Final, Literal, NewType

import msgspec

from indelible.errors import LogFrameError

LineClass = Literal["A", "L", "C"]
StreamId = NewType("StreamId", str)

MAX_LINE_BYTES: Final = 4_096
"""What one `write` to a pipe puts there in one piece (PIPE_BUF)."""
TRAILER_BYTES: Final = len(',"_m":"') + 16 + 1 + 12 + 1 + 32 + len('"}\n')
KEY_BYTES: Final = 32

_TRAILER_LENGTH: Final = TRAILER_BYTES - len("\n")
_MAX_KEYS: Final = 8_192
_MAC_LENGTH: Final = 32 + len('"}')
_START: Final = b'{"v":1,"c":"'
_CLASS_AT: Final = len(_START)
_TRAILER: Final = re.compile(rb',"_m":"([0-9a-f]{16})\.([0-9]{12})\.([0-9a-f]{32})"\}\Z')
_CLASSES: Final[dict[bytes, LineClass]] = {b"A": "A", b"L": "L", b"C": "C"}


class Frame(msgspec.Struct, frozen=True):
    """A line whose MAC holds. `body` is its JSON, without the trailer and its closing brace."""

    line_class: LineClass
    stream: StreamId
    seq: int
    body: bytes

    @property
    def json(self) -> bytes:
        """The body as a JSON object."""
        return self.body + b"}"


class Unsigned(msgspec.Struct, frozen=True):
    """A line, or what stood before a frame in one, that nobody signed.

    `looks` says that it begins as ours does: `"torn"` one that was cut off, `"forged"` one that is
    whole and has no trailer that holds.
    """

    text: bytes
    looks: Literal["torn", "forged"] | None = None


class Mac:
    """HMAC-SHA256 (RFC 2104) under one key, its first half: both hashes have taken the key in
    already, which makes it twice as fast for a line."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block)).copy
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block)).copy

    def of(self, signed: bytes) -> str:
        """32 hexadecimal digits."""
        inner = self._inner()
        inner.update(signed)
        outer = self._outer()
        outer.update(inner.digest())
        return outer.hexdigest()[:32]


class StreamKeys:
    """The keys of one stream; only who has the master key can make or check its lines."""

    __slots__ = ("_keys", "_name", "stream")

    def __init__(self, master: bytes, stream: StreamId) -> None:
        if len(master) != KEY_BYTES:
            raise LogFrameError(f"expected a key of {KEY_BYTES} bytes, got {len(master)}")
        self.stream = stream
        self._name = f',"_m":"{stream}.'.encode()
        self._keys: dict[LineClass, Mac] = {
            each: Mac(hmac.digest(master, f"indelible log v1|{each}|{stream}".encode(), "sha256"))
            for each in _CLASSES.values()
        }

    def seal(self, line_class: LineClass, body: str, seq: int) -> bytes:
        """The whole line: `body` is a JSON object in ASCII that begins with `{"v":1,"c":`, without
        its closing brace."""
        signed = b"%b%b%012d." % (body.encode(), self._name, seq)
        return signed + self._keys[line_class].of(signed).encode() + b'"}\n'

    def holds(self, line_class: LineClass, signed: bytes, mac: bytes) -> bool:
        """Whether `mac` is that of what stands before it."""
        return hmac.compare_digest(self._keys[line_class].of(signed).encode(), mac)


class LineReader:
    """Tells signed lines from others. Streams are accepted as they come: a MAC that holds shows
    that who wrote it has the master key."""

    def __init__(self, master: bytes) -> None:
        self._master = master
        self._streams: dict[bytes, StreamKeys] = {}

    def read(self, line: bytes) -> Iterator[Frame | Unsigned]:
        """What is in one line (without its LF): a frame, behind what may be glued before it.

        Inside of JSON a quote is escaped, so the last place at which a frame could begin is where
        this one does.
        """
        start = line.rfind(_START)
        if start < 0:
            yield Unsigned(line)
            return
        found = _TRAILER.match(line, max(start, len(line) - _TRAILER_LENGTH))
        frame = None if found is None else self._frame(line[start:] if start else line, found)
        if frame is None:
            yield Unsigned(line, "torn" if not line.endswith(b"}") else "forged")
            return
        if start:
            before = line[:start]
            yield Unsigned(before, "torn" if _START in before else None)
        yield frame

    def forget(self, stream: StreamId) -> None:
        """Its keys aren't needed any more."""
        self._streams.pop(stream.encode(), None)

    def _frame(self, line: bytes, found: re.Match[bytes]) -> Frame | None:
        line_class = _CLASSES.get(line[_CLASS_AT : _CLASS_AT + 1])
        if line_class is None:
            return None
        name, seq, mac = found.groups()
        keys = self._streams.get(name)
        if keys is None:
            keys = StreamKeys(self._master, StreamId(name.decode()))
        if not keys.holds(line_class, line[:-_MAC_LENGTH], mac):
            return None
        # Only now: a stranger's lines make us keep nothing. What is played again may be of any
        # number of streams; whose keys are gone, they are worked out anew.
        if len(self._streams) >= _MAX_KEYS:
            self._streams.clear()
        self._streams[name] = keys
        return Frame(line_class, keys.stream, int(seq), line[:-_TRAILER_LENGTH])
