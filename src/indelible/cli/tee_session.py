"""One run of the tee: what it reads goes to the trail and the branch, from its start to its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from indelible.cli.tee_position import PositionFile
from indelible.logs.branch import Branch
from indelible.logs.frames import LineReader
from indelible.logs.inputs import Input, Stopping
from indelible.logs.insisting import Insisting
from indelible.logs.keys import LogKeys
from indelible.logs.setup import default_scrub
from indelible.logs.teeing import Kept, ReadSoFar, Tee
from indelible.trail import Trail

T = TypeVar("T")
_CLOSE_S: Final = 5.0
_DRAIN_S: Final = 1.0
_TELL_SHED_S: Final = 10.0
_SILENT_S: Final = 60.0


class Session:
    """The tee of one stream. Whatever can't be kept is tried again with `insists`, until
    `stopping`; else it is a `DeliveryError`."""

    def __init__(
        self,
        trail: Trail,
        branch: Branch,
        keys: LogKeys,
        *,
        insists: bool,
        stopping: Stopping,
        before: ReadSoFar | None,
    ) -> None:
        self._trail = trail
        self._branch = branch
        self._drain_s = _DRAIN_S
        insisting = Insisting(trail.journal, is_stopping=stopping)
        self._take: Callable[[Callable[[], object]], object] = (
            insisting.until_taken if insists else _at_once
        )
        kept: Kept = insisting if insists else trail.journal
        self._tee = Tee(
            LineReader(keys.master),
            kept,
            self._notice,
            branch.put,
            default_scrub(),
            time.monotonic,
            before,
        )

    @contextlib.contextmanager
    def running(self, command: str) -> Iterator[None]:
        """The log is started, and ended: both are events. The trail is closed behind it."""
        self.status = 0
        self._take(lambda: self._trail.record("log.started", details={"command": command}))
        try:
            yield
        finally:
            try:
                is_written = self._branch.close(_CLOSE_S)
                self._tell_shed(is_surely=not is_written)
                ended = {"exit": self.status, **msgspec.structs.asdict(self._tee.counts)}
                self._take(lambda: self._trail.record("log.ended", details=ended))
            finally:
                self._trail.close()

    def follow(
        self, source: Input, name: str, position: PositionFile | None, *, once: bool = False
    ) -> None:
        """Read a stream to its end, or on in it. `position`, where it is kept, moves on behind what
        is durable: events in the journal, irregularities noticed, and lines at the end of the
        branch, unless nobody took them for a second."""
        is_saved = True
        ask_at = time.monotonic() + _SILENT_S
        for data in self._telling_shed(source.read()):
            self._tee.feed(data)
            if position is None:
                continue
            if not data and not source.has_end and time.monotonic() >= ask_at:
                ask_at = time.monotonic() + _SILENT_S
                self._ask_for_silent(position)
            is_saved = is_saved and not data
            if not is_saved and not self._tee.has_unsaid:
                self._save(source, name, position)
                is_saved = True
        if source.has_end:
            self._tee.finish()
        elif position is not None:
            if once and time.time() - position.position.asked_at >= _SILENT_S:
                self._ask_for_silent(position)
            self._tee.pause()
        if position is not None:
            self._save(source, name, position)

    def _save(self, source: Input, name: str, position: PositionFile) -> None:
        if not source.has_end:
            # An output that is stuck holds us up once, and again when it has moved.
            self._drain_s = _DRAIN_S if self._branch.drain(self._drain_s) else 0.0
        read, place = self._tee.read_so_far(), source.place(self._tee.unread)
        self._take(lambda: position.save(self._trail.journal, read, name, place))

    def _ask_for_silent(self, position: PositionFile) -> None:
        position.position.asked_at = time.time()
        self._tee.tell_silent()

    def _telling_shed(self, data: Iterable[bytes]) -> Iterator[bytes]:
        tell_at = 0.0
        for each in data:
            yield each
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + _TELL_SHED_S
                self._tell_shed()

    def _tell_shed(self, *, is_surely: bool = False) -> None:
        count = self._branch.take_shed()
        if count or is_surely:
            self._notice("log.shed", "application lines were shed", count=str(count))

    def _notice(self, action: str, message: str, **details: str) -> None:
        self._take(lambda: self._trail.notice(action, message, **details))


def _at_once(write: Callable[[], object]) -> object:
    return write()
