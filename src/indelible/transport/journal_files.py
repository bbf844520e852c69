"""Journal files as a relay reads them: live ones, and those that a dead process left.

Whatever happened to a file, every frame in it that is whole is delivered; positions that aren't
in any file are reported as a gap. A file is deleted only when the sink holds every event in it and
its writer is gone or has moved on; one with bytes that are no frame is kept beside as `.damaged`.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from indelible.durable import take_lock
from indelible.errors import DeliveryError
from indelible.transport.delivery import Delivery, Gap, Received, Remark, Sink
from indelible.transport.journal_frames import (
    Frame,
    FrameKind,
    JournalHeader,
    check_magic,
    last_seq,
    parse_header,
    scan_frames,
)
from indelible.transport.journal_owner import has_ended
from indelible.transport.producer_signing import SILENT, VANISHED
from indelible.transport.source import Fetched, Mark

_NAME: Final = re.compile(r"([0-9a-f]{1,64})\.([0-9]{1,18})\.([0-9]{1,9})\.journal")
REMOVED: Final = "journal.removed"
_READ_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 1 << 17


class Piece(msgspec.Struct, frozen=True):
    """Frames of a file up to `end`, and what was passed over between and behind them."""

    frames: tuple[Frame, ...]
    end: int
    is_at_end: bool
    damaged_bytes: int = 0
    torn_bytes: int = 0


class JournalFile:
    """One file of one producer, open for reading.

    Raises `OSError` where it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._header: JournalHeader | None = None
        self._is_adopted = False
        self._ranges: list[tuple[int, int]] = []
        self._is_closed = False
        self._grew: tuple[int, float] = (-1, 0.0)
        self.unreadable_bytes = 0

    def close(self) -> None:
        """Close it, and let go of it where it was adopted."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def adopt(self) -> bool:
        """Whether its writer is gone; if so nobody else adopts it until `close`.

        To be asked before reading to the end: the writer may have written until it died.
        """
        self._is_adopted = self._is_adopted or take_lock(self._fd)
        return self._is_adopted or has_ended(self._header)

    def read(self, start: int, *, limit: int, max_bytes: int, is_final: bool) -> Piece:
        """The frames from `start` on: at most `limit` events and about `max_bytes`.

        `is_final` says that nothing will be added: then bytes at the end that are no frame are a
        torn tail and `end` is behind them. Otherwise they may be on their way, and stay.
        """
        size = os.fstat(self._fd).st_size
        if start > size:
            start = 0  # Somebody cut it: what we have had is told by its numbers.
        if start == 0:
            check_magic(os.pread(self._fd, 64, 0), self.path.name)
        wanted = min(_READ_BYTES, max_bytes + _TAIL_BYTES)
        while True:
            stretch = _read_at(self._fd, start, min(wanted, size - start))
            is_end = start + len(stretch) >= size
            scan = scan_frames(stretch, is_end=is_end, limit=limit, max_bytes=max_bytes)
            if scan.end or is_end:
                break
            wanted = max(2 * wanted, scan.needed)
        end = start + scan.end
        # Not at the end: the limit was reached. At the end: what is left is no whole frame.
        is_at_end = is_end and (scan.end == len(stretch) or not scan.is_full)
        torn = size - end if is_at_end and is_final else 0
        self._note(scan.frames)
        self.unreadable_bytes += scan.damaged_bytes + torn
        return Piece(scan.frames, end + torn, is_at_end, scan.damaged_bytes, torn)

    def is_held_by(self, received: Received) -> bool:
        """Whether every event read from it is in `received`."""
        return all(
            any(low <= first and last <= high for low, high in received.ranges)
            for first, last in self._ranges
        )

    @property
    def has_vanished(self) -> bool:
        """Whether its writer, which says so when it ends, has ended without: it was killed."""
        return self._expects_word and not self._is_closed

    @property
    def _expects_word(self) -> bool:
        return self._header is not None and self._header.heartbeat_s > 0

    def silent_s(self, now_s: float) -> float:
        """For how long it hasn't grown although its writer would have seen to that; 0 for less
        than three times what it says. `now_s` is of a clock that stands while the machine sleeps.
        """
        size = os.fstat(self._fd).st_size
        if size != self._grew[0]:
            self._grew = (size, now_s)
        silent_s = now_s - self._grew[1]
        if self._header is None or not self._expects_word:
            return 0.0
        return silent_s if silent_s > 3 * self._header.heartbeat_s else 0.0

    def last_seq(self) -> int:
        """The number of its last whole frame; 0 where the end holds none."""
        size = os.fstat(self._fd).st_size
        start = max(0, size - _TAIL_BYTES)
        return last_seq(_read_at(self._fd, start, size - start))

    def retire(self, size: int) -> bool:
        """Delete the file, or put it aside where it is damaged; False where it isn't time yet.

        It is time when its writer left it, and it is still `size` bytes long.
        """
        if not self.adopt() or os.fstat(self._fd).st_size != size:
            return False
        with contextlib.suppress(FileNotFoundError):  # another relay was quicker
            if self.unreadable_bytes:
                self.path.rename(self.path.with_name(self.path.name + ".damaged"))
            else:
                self.path.unlink()
        return True

    def _note(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._is_closed = frame.kind is FrameKind.CLOSED
            if frame.kind is FrameKind.HEADER:
                self._header = self._header or parse_header(frame)
            elif frame.kind is FrameKind.EVENT:
                if self._ranges and self._ranges[-1][1] in (frame.seq, frame.seq - 1):
                    self._ranges[-1] = (self._ranges[-1][0], frame.seq)
                else:
                    self._ranges.append((frame.seq, frame.seq))


class _Place(msgspec.Struct, frozen=True):
    """How far a stream was read: `seq` is the next event expected."""

    number: int
    offset: int
    seq: int


class JournalStream:
    """One producer's journal, over all of its files: a `Source`."""

    def __init__(self, directory: Path, producer_id: str, epoch: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.name = f"journal {producer_id}.{epoch}"
        self.numbers: tuple[int, ...] = ()
        """The files that there are, ascending: those of the directory, and those still open."""
        self._removed: set[int] = set()
        self._directory = directory
        self._files: dict[int, JournalFile] = {}
        self._held: Received | None = None
        self._confirmed = self._fetched = _Place(0, 0, 1)
        self._read_out: dict[int, int] = {}
        self._to_retire: dict[int, int] = {}
        self._is_silent = self._is_told_silent = False

    def found(self, numbers: Sequence[int]) -> None:
        """These files are in the directory.

        One that is open and no more there is read to its end all the same: whoever took its name
        away took nothing else, unless they cut it before.
        """
        self._removed = self._files.keys() - set(numbers)
        self.numbers = tuple(sorted({*numbers, *self._files}))

    def fetch(self, sink: Sink, *, limit: int, max_bytes: int) -> Fetched:
        """See `Source.fetch`."""
        if self._held is None:
            self._held = sink.received(self.producer_id, self.epoch)
        self._forget_missing_files()
        place = self._confirmed
        deliveries: list[Delivery] = []
        gaps: list[Gap] = []
        remarks: list[Remark] = []
        size = 0
        more = False
        self._is_silent = False
        for number in self.numbers:
            if number < place.number:
                continue
            if number > place.number:
                place = _Place(number, 0, place.seq)
            try:
                file = self._file(number)
            except FileNotFoundError:
                continue  # another relay read it out meanwhile
            is_final = number != self.numbers[-1] or file.adopt()
            is_at_end = False
            while not is_at_end and len(deliveries) < limit and size < max_bytes:
                piece = file.read(
                    place.offset,
                    limit=limit - len(deliveries),
                    max_bytes=max_bytes - size,
                    is_final=is_final,
                )
                is_at_end = piece.is_at_end
                remarks += self._remarks(number, piece)
                seq = place.seq
                for frame in piece.frames:
                    is_event = frame.kind is FrameKind.EVENT
                    gaps += self._gaps(sink, seq, frame.seq - is_event)
                    if is_event and frame.seq >= seq and frame.seq not in self._held:
                        bodies = frame.bodies
                        if number in self._removed:
                            remarks += self._word_of_removal(sink, number, frame.seq)
                        deliveries.append(Delivery(self.producer_id, self.epoch, frame.seq, bodies))
                        size += sum(map(len, bodies))
                    seq = max(seq, frame.seq + 1)
                place = _Place(number, piece.end, seq)
            if not is_at_end:
                more = True
                break
            if is_final:
                self._read_out[number] = place.offset
            if number == self.numbers[-1]:
                remarks += self._word_of(file, is_final=is_final)
        self._fetched = place
        return Fetched(
            deliveries=tuple(deliveries),
            gaps=tuple(gaps),
            remarks=tuple(remarks),
            more=more,
            waiting=max(1, self.last_seq() - place.seq + 1) if more else 0,
        )

    def confirm(self, sink: Sink) -> None:
        """See `Source.confirm`; deletes the files that were read to their end."""
        self._confirmed = self._fetched
        self._is_told_silent = self._is_silent
        self._to_retire |= self._read_out
        self._read_out.clear()
        if not self._to_retire:
            return
        received = sink.received(self.producer_id, self.epoch)
        for number, size in list(self._to_retire.items()):
            file = self._file(number)
            if not file.is_held_by(received):
                raise DeliveryError(
                    f"expected the trail to hold all of {file.path.name}, got less: it is kept"
                )
            if file.retire(size):
                self.numbers = tuple(other for other in self.numbers if other != number)
                self._forget_missing_files()

    def end(self) -> Mark:
        """See `Source.end`."""
        for number in reversed(self.numbers):
            with contextlib.suppress(FileNotFoundError):
                return number, self._path(number).stat().st_size
        return 0, 0

    def confirmed(self) -> Mark:
        """See `Source.confirmed`."""
        return self._confirmed.number, self._confirmed.offset

    def close(self) -> None:
        """Close all files; reading begins anew."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._held = None
        self._confirmed = self._fetched = _Place(0, 0, 1)
        self._read_out.clear()
        self._to_retire.clear()

    def _path(self, number: int) -> Path:
        return self._directory / f"{self.producer_id}.{self.epoch}.{number}.journal"

    def _file(self, number: int) -> JournalFile:
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = JournalFile(self._path(number))
        return file

    def _forget_missing_files(self) -> None:
        for number in self._files.keys() - set(self.numbers):
            self._files.pop(number).close()
            self._read_out.pop(number, None)
            self._to_retire.pop(number, None)

    def last_seq(self) -> int:
        """The number of the last event that is in its files; 0 where their end holds none."""
        return self._file(self.numbers[-1]).last_seq()

    def _gaps(self, sink: Sink, first: int, last: int) -> list[Gap]:
        """The positions `first` to `last` that no file has, and the sink hasn't either."""
        if first > last:
            return []
        gaps = []
        # Asked anew: another relay may have delivered them, and deleted their file.
        for low, high in sink.received(self.producer_id, self.epoch).ranges:
            if low > last:
                break
            if first < low:
                gaps.append((first, low - 1))
            first = max(first, high + 1)
        if first <= last:
            gaps.append((first, last))
        why = "not in the journal's files: removed, or damaged"
        return [Gap(self.producer_id, self.epoch, low, high, why) for low, high in gaps]

    def _word_of(self, file: JournalFile, *, is_final: bool) -> list[Remark]:
        """What its process, which says when it lives and ends, doesn't say."""
        name = {"producer": self.producer_id, "epoch": str(self.epoch)}
        if is_final and file.has_vanished:
            message = f"process {self.producer_id} ended without saying so: it was killed"
            return [Remark(VANISHED, message, name)]
        silent_s = 0.0 if is_final else file.silent_s(time.monotonic())
        self._is_silent = silent_s > 0
        if not self._is_silent or self._is_told_silent:
            return []
        message = (
            f"process {self.producer_id} lives, and has written nothing for {silent_s:.0f} s, "
            "though it should: it is stopped, or something keeps its journal from growing"
        )
        return [Remark(SILENT, message, name)]

    def _word_of_removal(self, sink: Sink, number: int, seq: int) -> list[Remark]:
        """Said once of a file; nothing of one that another relay read to its end, and deleted."""
        self._removed.discard(number)
        if seq in sink.received(self.producer_id, self.epoch):
            return []
        message = (
            f"{self._path(number).name} was removed before event {seq} and what is behind it was "
            "carried; it was still open, and they are"
        )
        name = {"producer": self.producer_id, "epoch": str(self.epoch)}
        return [Remark(REMOVED, message, name)]

    def _remarks(self, number: int, piece: Piece) -> list[Remark]:
        remarks = []
        name = self._path(number).name
        if piece.damaged_bytes:
            message = f"{piece.damaged_bytes} bytes in the middle of {name} are no event"
            remarks.append(Remark("journal.damaged", message, {"file": name}))
        if piece.torn_bytes:
            message = f"{piece.torn_bytes} bytes at the end of {name} are no whole event"
            remarks.append(Remark("journal.tail_cut", message, {"file": name}))
        return remarks


class JournalDirectory:
    """The journals of all processes that write to one directory: a `SourceFinder`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._streams: dict[tuple[str, int], JournalStream] = {}

    def find_sources(self) -> Sequence[JournalStream]:
        """One for each producer; raises `OSError` where the directory can't be listed."""
        numbers: dict[tuple[str, int], list[int]] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as listing:
            for found in listing:
                name = _NAME.fullmatch(found.name)
                if name is not None:
                    numbers.setdefault((name[1], int(name[2])), []).append(int(name[3]))
        for key in numbers.keys() - self._streams.keys():
            self._streams[key] = JournalStream(self._directory, *key)
        for key, stream in list(self._streams.items()):
            stream.found(numbers.get(key, ()))
            if not stream.numbers:
                self._streams.pop(key).close()
        return [self._streams[key] for key in sorted(self._streams, key=lambda key: key[::-1])]

    def ends(self) -> list[tuple[str, int, int]]:
        """The last event of each producer that is in a file now: producer, epoch and number.

        Raises `DeliveryError` where one can't be read.
        """
        found = []
        try:
            for stream in self.find_sources():
                with contextlib.suppress(FileNotFoundError):  # carried, and deleted, meanwhile
                    found.append((stream.producer_id, stream.epoch, stream.last_seq()))
        except OSError as error:
            raise DeliveryError(f"{self._directory}: {error.strerror}") from None
        return found

    def close(self) -> None:
        """See `SourceFinder.close`."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()


def _read_at(fd: int, start: int, length: int) -> bytes:
    pieces = []
    while length > 0:
        piece = os.pread(fd, length, start)
        if not piece:
            break  # cut off meanwhile: a torn frame that its writer took back
        pieces.append(piece)
        start += len(piece)
        length -= len(piece)
    return b"".join(pieces)
