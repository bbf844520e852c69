"""How far a tee has come in streams whose key is kept: beside the trail's journals.

Saved behind the events, never before them. A tee that was killed in between finds those events by
its predecessor's name in their ids, in the journal or the trail, and doesn't keep them twice.

Whoever can write the file can have a stream read again, or passed over: as with the journals.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from indelible.errors import ConfigurationError, DeliveryError
from indelible.events.codec import UNDECODABLE, decode_event, join_parts
from indelible.events.model import Event
from indelible.logs.followed_file import FilePlace
from indelible.logs.inputs import Place
from indelible.logs.keys import LogKeys
from indelible.logs.teeing import ReadSoFar
from indelible.store.protocol import TrailReader
from indelible.tlog import Index
from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalFile
from indelible.transport.journal_frames import Frame, FrameKind
from indelible.transport.journal_writing import make_private_directory
from indelible.transport.kept_file import replace_file

_LOCK_S: Final = 5.0
_LOCK_POLL_S: Final = 0.1
_PIECE_EVENTS: Final = 1_000
_PIECE_BYTES: Final = 8 << 20


class Run(msgspec.Struct, frozen=True):
    """A tee's events in the journal: those up to `seq` come from what was read before."""

    producer: str = ""
    epoch: int = 0
    seq: int = 0


class Position(msgspec.Struct):
    """What the file holds. `asked_at` is when silent streams were last looked for, in seconds since
    1970."""

    read: ReadSoFar = msgspec.field(default_factory=ReadSoFar)
    places: dict[str, Place] = msgspec.field(default_factory=dict)
    run: Run = Run()
    asked_at: float = 0.0


_decode: Final = msgspec.json.Decoder(Position).decode


class PositionFile:
    """The position of all streams of one key, held by one tee at a time."""

    def __init__(self, directory: Path, keys: LogKeys) -> None:
        """Raises `ConfigurationError` where another tee holds it, or it holds something else."""
        make_private_directory(directory)
        name = hashlib.sha256(b"indelible log key v1|" + keys.master).hexdigest()[:16]
        self._directory = directory
        self._path = directory / f"log-{name}.seen"
        self._lock = _locked(self._path.with_suffix(".lock"))
        try:
            self.position = _decode(self._path.read_bytes())
        except FileNotFoundError:
            self.position = Position(asked_at=time.time())
        except (OSError, *UNDECODABLE):
            raise ConfigurationError(
                f"expected in {self._path} how far each stream was read, got something else: what "
                "comes could be a replay; move it away to read all of it"
            ) from None

    def files(self, name: str) -> list[FilePlace]:
        """How far the files called `name` were read."""
        place = self.position.places.get(name)
        return place if isinstance(place, list) else []

    def cursor(self, name: str) -> str:
        """The last entry read of the journal called `name`; empty for none."""
        place = self.position.places.get(name)
        return place if isinstance(place, str) else ""

    def take_over(self, journal: Journal, reader: TrailReader) -> None:
        """Find what the tee before kept and didn't come to say, and go on as `journal`'s producer.
        To be called before anything is appended there."""
        kept = self.position.read.kept
        for event in _events_after(self._directory, reader, self.position.run):
            details = event.details or {}
            line, log_id = details.get("log_line"), details.get("log_id")
            if isinstance(line, str) and isinstance(log_id, str):
                kept[line] = log_id
        self._run(journal)
        self._write()

    def save(self, journal: Journal, read: ReadSoFar, name: str, place: Place) -> None:
        """All that was read up to there is kept. Raises `DeliveryError` on a full disk: then the
        file says what it said before."""
        self.position.read = read
        if place is not None:
            self.position.places[name] = place
        self._run(journal)
        self._write()

    def _run(self, journal: Journal) -> None:
        self.position.run = Run(journal.producer_id, journal.epoch, journal.last_seq)

    def _write(self) -> None:
        try:
            replace_file(self._path, msgspec.json.encode(self.position))
        except OSError as error:
            raise DeliveryError(f"expected to write {self._path}, got {error.strerror}") from None


def _events_after(directory: Path, reader: TrailReader, run: Run) -> Iterator[Event]:
    """What a producer kept behind `run.seq`: what is in its files, then what was carried."""
    if not run.producer:
        return
    found: set[int] = set()
    for path in directory.glob(f"{run.producer}.{run.epoch}.*.journal"):
        # Carried and deleted meanwhile: then the trail has it, which is asked afterwards.
        with contextlib.suppress(FileNotFoundError):
            file = JournalFile(path)
            try:
                for frame in _frames_in(file, run.seq):
                    found.add(frame.seq)
                    yield _event_of(frame.bodies)
            finally:
                file.close()
    last = max(
        (
            source.received.last
            for source in reader.sources()
            if (source.producer_id, source.epoch) == (run.producer, run.epoch)
        ),
        default=0,
    )
    for seq in range(run.seq + 1, last + 1):
        index = None if seq in found else reader.index_of(f"{run.producer}.{run.epoch}.{seq}")
        if index is not None:
            part = decode_event(reader.entry(index).body).part
            count = 1 if part is None else part.of
            yield _event_of([reader.entry(Index(index + n)).body for n in range(count)])


def _frames_in(file: JournalFile, after: int) -> Iterator[Frame]:
    at, is_at_end = 0, False
    while not is_at_end:
        piece = file.read(at, limit=_PIECE_EVENTS, max_bytes=_PIECE_BYTES, is_final=True)
        at, is_at_end = piece.end, piece.is_at_end
        for frame in piece.frames:
            if frame.kind is FrameKind.EVENT and frame.seq > after:
                yield frame


def _event_of(bodies: Sequence[bytes]) -> Event:
    parts = [decode_event(body) for body in bodies]
    return parts[0] if parts[0].part is None else join_parts(parts)


def _locked(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"expected to write {path}, got {error.strerror}") from None
    # The one before may be on its way out.
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(fd)
                raise ConfigurationError(
                    "expected to be the only tee that reads with this key, found another: make a "
                    "key for each stream"
                ) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return fd
