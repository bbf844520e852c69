"""An anchor that is a file: on another disk, on a share, or one that may only be appended to.

One line of JSON a checkpoint. What is remembered of it is the digest of all of it, so that a line
edited or taken out shows as long as the trail's file remembers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import msgspec

from indelible.durable import sync_directory
from indelible.errors import DeliveryError
from indelible.integrity.anchors import ReadBack, Receipt, held_in, parse_answer
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import FileSettings
from indelible.store.protocol import AnchorRow
from indelible.tlog import MAX_NOTE_BYTES, Checkpoint

_MAX_LINE_BYTES: Final = 2 * MAX_NOTE_BYTES + 256
_NEWEST_BYTES: Final = 2 * _MAX_LINE_BYTES
"""Within which the newest line is; half a line before it is no checkpoint."""
_CHUNK_BYTES: Final = 1 << 20


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `time` is the POSIX second at which it was written, by our clock."""

    time: int
    checkpoint: str


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How the file begins: so many bytes of this SHA-256 (hexadecimal), our line the last."""

    bytes: int
    sha256: str


_lines: Final = msgspec.json.Decoder(Line)
_answers: Final = msgspec.json.Decoder(_Answer)


class FileAnchor:
    """Implements `indelible.integrity.anchors.Anchor`."""

    kind = "file"
    is_outside = False

    def __init__(self, settings: FileSettings, origin: str) -> None:
        self.name = settings.name
        self._path = settings.path
        self._origin = origin

    def keep(self, note: bytes, checkpoint: Checkpoint, last: AnchorRow | None) -> Receipt:
        self._check_beginning(last)
        now = int(time.time())
        line = msgspec.json.encode(Line(time=now, checkpoint=note.decode())) + b"\n"
        try:
            flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(self._path, flags, 0o644)
            with os.fdopen(fd, "r+b", buffering=0) as file:
                size = os.fstat(fd).st_size
                # A crash may have left half a line.
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    line = b"\n" + line
                written = file.write(line)
                os.fsync(fd)
                end = os.lseek(fd, 0, os.SEEK_CUR)
            if not size:
                sync_directory(self._path.parent)
        except OSError as error:
            raise DeliveryError(f"can't append to {self._path}: {error.strerror}") from None
        if written != len(line):
            raise DeliveryError(f"can't append to {self._path}: half a line was written")
        answer = _Answer(bytes=end, sha256=self._digest(end))
        return Receipt(now, msgspec.json.encode(answer), outside=False)

    def read_back(self, last: AnchorRow | None, *, whole: bool = True) -> ReadBack:
        self._check_beginning(last)
        held = []
        for line in self._lines(_NEWEST_BYTES if not whole else None):
            try:
                found = held_in(_lines.decode(line).checkpoint.encode(), self._origin)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                # Half a line that a crash left, or somebody else's: nothing was answered about it.
                continue
            if found is not None:
                held.append(found)
        return ReadBack(held, f"{len(held)} lines in {self._path}")

    def _check_beginning(self, last: AnchorRow | None) -> None:
        """The file begins as it was when it took what it took last."""
        if last is None:
            return
        answer = parse_answer(_answers, last)
        if self._digest(answer.bytes) != answer.sha256:
            raise AnchorMismatchError(
                self.name,
                f"{self._path} isn't what it was when it took {last.size} entries: its disk isn't "
                "mounted, or a line was changed or taken out. If it was lost, go on under another "
                "name",
            )

    def _digest(self, count: int) -> str:
        """Of the first `count` bytes, or of all where there are fewer."""
        digest = sha256()
        try:
            with self._path.open("rb") as file:
                while count > 0 and (chunk := file.read(min(_CHUNK_BYTES, count))):
                    digest.update(chunk)
                    count -= len(chunk)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DeliveryError(f"can't read {self._path}: {error.strerror}") from None
        return digest.hexdigest() if count == 0 else ""

    def _lines(self, last_bytes: int | None) -> Iterator[bytes]:
        """All of them, or those within the `last_bytes` of the file."""
        try:
            with self._path.open("rb") as file:
                if last_bytes is not None:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - last_bytes))
                while line := file.readline(_MAX_LINE_BYTES):
                    yield line
        except FileNotFoundError:
            return
        except OSError as error:
            raise DeliveryError(f"can't read {self._path}: {error.strerror}") from None
