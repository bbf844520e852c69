"""The statements that a server's audit logs, as a source: each an access of nobody known.

What is made of a stretch of the log is on disk, together with where that stretch ends, before any
of it is delivered, so that a kill at any point neither loses nor doubles one. Whoever can write the
server's log, or this file, can make up reads or leave them out.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from indelible.capture.drift import Notice
from indelible.capture.host import Journal
from indelible.capture.statement_log import LoggedStatement, StatementLog, draft_of, is_own, merged
from indelible.capture.statements.planner import Planner
from indelible.errors import DeliveryError, EventError
from indelible.events.codec import encode_draft, format_time, seal_parts
from indelible.events.model import Event, Producer
from indelible.events.sessions import SKIPPED
from indelible.policy.model import Policy, Server
from indelible.transport.delivery import Delivery, Sink
from indelible.transport.kept_file import replace_file
from indelible.transport.log_files import LogFiles, Lost, Place
from indelible.transport.outbox import HeldEvents
from indelible.transport.server_reader import ServerOutboxReader
from indelible.transport.source import Fetched, Mark

_EVERY_S: Final = 1.0
_SCHEMA_S: Final = 30.0
_SECOND: Final = 1_000_000
_AGAIN: Final = 3_600 * _SECOND
_NO_TIME: Final = "of which zone their time is isn't known here: set log_timezone = UTC"
_TOO_MUCH: Final = "they may read too many tables for an entry"

Own = tuple[str, str, str]
"""Role, program and address of the application's."""


class _Waiting(msgspec.Struct, array_like=True):
    """An event on its way."""

    seq: int
    bodies: tuple[str, ...]


class Memory(msgspec.Struct, kw_only=True):
    """How far the log was read, and what was made of its last stretch.

    `epoch` is when its first record was written. `skipped` are the application's own statements,
    and `unread` records of which nothing can be told, that weren't said since `said`.
    """

    epoch: int = 0
    last_seq: int = 0
    places: dict[str, Place] = {}
    waiting: list[_Waiting] = []
    skipped: list[tuple[Own, int]] = []
    unread: dict[str, int] = {}
    said: int = 0


_decode: Final = msgspec.json.Decoder(Memory).decode


class StatementSource:
    """Implements `indelible.transport.source.Source` for the log of one server."""

    def __init__(
        self,
        server: Server,
        pattern: str,
        policy: Policy,
        reader: ServerOutboxReader,
        held: HeldEvents,
        journal: Journal,
        notice: Notice,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self.name = f"audit log {pattern}"
        self.producer_id = hashlib.sha256(f"audit log {pattern}".encode()).hexdigest()[:16]
        self._server = server
        self._pattern = pattern
        self._policy = policy
        self._reader = reader
        self._held = held
        self._journal = journal
        self._notice = notice
        self._monotonic = monotonic
        self._clock = clock
        self._path = policy.journals / f"{self.producer_id}.statements"
        self._memory: Memory | None = None
        self._log: StatementLog | None = None
        self._planner: Planner | None = None
        self._planned_s = self._looked_s = float("-inf")
        self._is_failing = False
        self._has_more = False

    @property
    def epoch(self) -> int:
        """See `Source.epoch`."""
        return self._memory.epoch if self._memory is not None else 0

    def fetch(self, sink: Sink, *, limit: int, max_bytes: int) -> Fetched:
        """See `Source.fetch`. Looks at the files once a second, or at once where there is more."""
        memory = self._memory = self._memory or self._read_memory(sink)
        if not memory.waiting:
            now_s = self._monotonic()
            if not self._has_more and now_s - self._looked_s < _EVERY_S:
                return Fetched()
            self._looked_s = now_s
            try:
                self._has_more = self._read_on(memory, limit)
            except BaseException:
                # What isn't on disk isn't to be delivered: as the file has it, next time.
                self._memory = None
                raise
        received = sink.received(self.producer_id, memory.epoch) if memory.waiting else ()
        return Fetched(
            deliveries=tuple(
                Delivery(
                    self.producer_id, memory.epoch, one.seq, tuple(map(str.encode, one.bodies))
                )
                for one in memory.waiting
                if one.seq not in received
            ),
            more=self._has_more,
        )

    def confirm(self, sink: Sink) -> None:
        """See `Source.confirm`; on disk with what is made next."""
        if self._memory is not None:
            self._memory.waiting = []

    def end(self) -> Mark:
        """See `Source.end`: what the server logged, but nobody has read, isn't captured yet."""
        return 0, self._memory.last_seq if self._memory is not None else 0

    def confirmed(self) -> Mark:
        """See `Source.confirmed`."""
        if self._memory is None or not self._memory.waiting:
            return self.end()
        return 0, self._memory.waiting[0].seq - 1

    def close(self) -> None:
        """Another process may relay from here on: read anew how far it is."""
        self._memory = None

    def _read_memory(self, sink: Sink) -> Memory:
        memory = Memory()
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            memory = _decode(self._path.read_bytes())
        epoch = self._held.last_epoch(self.producer_id)
        last_seq = sink.received(self.producer_id, epoch).last
        if (epoch, last_seq) > (memory.epoch, memory.last_seq):
            # More was delivered than the file knows of: it is gone, or another's, or an old copy.
            self._notice(
                "statements.position_lost",
                f"how far {self._pattern} was read isn't known any more: some is read again",
            )
            # The numbers of the old epoch are taken.
            memory.epoch, memory.last_seq, memory.waiting = epoch + 1, 0, []
        return memory

    # -- reading on -----------------------------------------------------------------------------

    def _read_on(self, memory: Memory, limit: int) -> bool:
        """Make events of the next stretch; whether there may be more."""
        with self._reader.outbox() as outbox:
            if self._log is None:
                self._log = outbox.statement_log()
            log = self._log
            planner = self._planner
            if planner is None or self._monotonic() - self._planned_s > _SCHEMA_S:
                planner = self._planner = outbox.planner(self._policy)
                self._planned_s = self._monotonic()
        before = msgspec.json.encode(memory.places)
        files = LogFiles(self._pattern, log.is_quoted)
        try:
            lost, key = files.look(memory.places)
            if not memory.places:
                raise FileNotFoundError(2, "no such file has a line")
            found = None if key is None else files.read(memory.places[key])
        except OSError as error:
            raise self._failed(error) from None
        self._is_failing = False
        for one in lost:
            self._say_lost(one)
        if found is not None and key is not None:
            taken = found.records[:limit]
            self._take(memory, planner, log.parse(found.records)[: len(taken)])
            if not taken:
                self._say_lost(Lost(found.file, found.begin, "has a record that is too long"))
            memory.places[key].offset = found.begin + sum(map(len, taken))
        self._say_counts(memory)
        if found is not None or msgspec.json.encode(memory.places) != before:
            # Before anything is delivered: a crash behind this line delivers the same again.
            replace_file(self._path, msgspec.json.encode(memory))
        return found is not None

    def _take(
        self, memory: Memory, planner: Planner, parsed: Sequence[LoggedStatement | str | None]
    ) -> None:
        own = dict(memory.skipped)
        statements: list[LoggedStatement] = []
        for one in parsed:
            if isinstance(one, str):
                memory.unread[one] = memory.unread.get(one, 0) + 1
            elif one is not None and is_own(one, self._server):
                name = (one.role, one.program or "", one.address or "")
                own[name] = own.get(name, 0) + 1
            elif one is not None:
                statements.append(one)
        memory.skipped = list(own.items())
        for statement in merged(statements):
            try:
                self._add(memory, statement, planner)
            except EventError:
                memory.unread[_TOO_MUCH] = memory.unread.get(_TOO_MUCH, 0) + 1

    def _add(self, memory: Memory, statement: LoggedStatement, planner: Planner) -> None:
        draft = draft_of(statement, planner)
        if draft is None:
            return
        now, micros = self._clock(), statement.time
        if micros is None or micros < 0:
            micros = now
            memory.unread[_NO_TIME] = memory.unread.get(_NO_TIME, 0) + 1
        # Not of a time to come, which anybody may have made up: all others would be older.
        epoch = memory.epoch or max(1, min(micros, now))
        producer = Producer(self.producer_id, epoch, memory.last_seq + 1)
        bodies = seal_parts(draft, format_time(micros), producer)
        memory.epoch, memory.last_seq = epoch, producer.seq
        memory.waiting.append(_Waiting(producer.seq, tuple(map(bytes.decode, bodies))))

    # -- what is to be said ---------------------------------------------------------------------

    def _failed(self, error: OSError) -> DeliveryError:
        problem = f"{self._pattern} can't be read: {error.strerror}"
        if not self._is_failing:
            self._is_failing = True
            self._notice("statements.unreadable", problem)
        return DeliveryError(problem)

    def _say_lost(self, lost: Lost) -> None:
        self._notice(
            "statements.lost",
            f"{lost.name} {lost.why}: statements behind byte {lost.offset} are missing, perhaps",
            file=lost.name,
        )

    def _say_counts(self, memory: Memory) -> None:
        """At once, and then once an hour."""
        now = self._clock()
        if not (memory.skipped or memory.unread) or now - memory.said < _AGAIN:
            return
        for why, count in memory.unread.items():
            message = f"{self._pattern}: {count} records couldn't be read: {why}"
            self._notice("statements.unread", message)
        for (role, program, address), count in memory.skipped:
            context = {"application": program, "address": address}
            event = Event(
                action=SKIPPED,
                kind="system",
                database_role=role,
                context={name: text for name, text in context.items() if text},
                details={"statements": count},
            )
            self._journal.append(encode_draft(event))
        memory.skipped, memory.unread, memory.said = [], {}, now
