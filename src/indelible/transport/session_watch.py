"""Who else is connected to a captured server: its sessions, looked at every few seconds.

What is between two looks isn't seen; where the server counts its sessions, how many those were is
said. What was seen last stands in a file beside the journals, so that whichever process relays
next knows for how long nobody looked. Whoever can write that file can make it say less.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from indelible.capture.horizon import OutboxState
from indelible.capture.host import Journal
from indelible.capture.sessions import Session, SessionsLook
from indelible.errors import IndelibleError
from indelible.events.codec import UNDECODABLE, encode_draft, format_time
from indelible.events.sessions import AGAIN_S, ENDED, MISSED, SEEN, UNWATCHED, Span, event_of
from indelible.policy.model import Server
from indelible.transport.kept_file import replace_file
from indelible.transport.server_reader import ServerOutboxReader

_SECOND: Final = 1_000_000
_AGAIN: Final = AGAIN_S * _SECOND
_MISSED_AGAIN: Final = 60 * _SECOND

Name = tuple[str, str | None, str | None, bool]
"""Role, program, address, whether it is replication: what sessions have in common."""


class Group(msgspec.Struct, kw_only=True):
    """The sessions of one name, from when there was none before until there is none again.

    Moments are microseconds since 1970. `keys` are the sessions of the last look, `sessions` is
    how many there were altogether, `said` when the last entry was made.
    """

    name: Name
    since: int
    first_seen: int
    last_seen: int = 0
    said: int
    sessions: int = 0
    keys: set[str] = set()


class Memory(msgspec.Struct, kw_only=True):
    """What is known behind a look at `looked`.

    The server had counted `counted` sessions, of which `expected` are known. Of the others
    `told` were told before `told_at`, and the last look missed `missed`, all but those since
    `missed_since`.
    """

    looked: int
    counting: str
    counted: int | None
    expected: int
    missed: int = 0
    told: int = 0
    told_at: int = 0
    missed_since: int = 0
    keys: list[str] = []
    groups: list[Group] = []

    def goes_on(self, found: SessionsLook) -> bool:
        """Whether the server counts as it did: it neither was restarted nor forgot."""
        return self.counting == found.counting and (self.counted or 0) <= (found.counted or 0)

    def new(self, found: SessionsLook) -> int:
        """How many are there that weren't before, our own among them."""
        return len(found.countable.difference(self.keys))


_decode: Final = msgspec.json.Decoder(Memory).decode


class SessionWatch:
    """Looks at most every `every_s`, and writes what it sees to the journal.

    A server that can't be asked now is asked again later; that nobody looked meanwhile is an entry
    then. Used from the relay's thread, on the reader's connection.
    """

    def __init__(
        self,
        server: Server,
        directory: Path,
        reader: ServerOutboxReader,
        journal: Journal,
        *,
        every_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._database = str(server)
        self._directory = directory
        self._reader = reader
        self._journal = journal
        self._every_s = every_s
        self._pause = int((2 * every_s + 1) * _SECOND)
        self._monotonic = monotonic
        self._clock = clock
        self._looked_s = float("-inf")

    def look(self) -> None:
        """Look, unless that was done just now."""
        now_s = self._monotonic()
        if now_s - self._looked_s < self._every_s:
            return
        self._looked_s = now_s
        with contextlib.suppress(IndelibleError, OSError):
            with self._reader.outbox() as outbox:
                state = outbox.state()
                found = outbox.sessions()
            self._note(state, found, self._clock())

    def _note(self, state: OutboxState, found: SessionsLook, now: int) -> None:
        # Read anew each time: another process may have relayed meanwhile.
        path = self._directory / f"{state.incarnation}.sessions"
        memory = _read(path)
        before = state.epoch if memory is None else memory.looked
        is_gap = now - before > self._pause
        if is_gap:
            self._say_unwatched(memory, found, before, now)
        if memory is None or is_gap or not memory.goes_on(found):
            groups = [] if memory is None else memory.groups
            memory = Memory(
                looked=now,
                counting=found.counting,
                counted=found.counted,
                expected=(found.counted or 0) + found.uncounted,
                told_at=now - _MISSED_AGAIN,
                missed_since=now,
                groups=groups,
            )
        else:
            memory.expected += memory.new(found)
            self._say_missed(memory, found, now)
        memory.groups = self._say_groups(memory.groups, found, before, now)
        memory.keys = sorted(found.countable)
        memory.looked, memory.counted = now, found.counted
        # Behind the entries: a crash between the two says a span again, which changes no answer.
        replace_file(path, msgspec.json.encode(memory))

    def _say_unwatched(
        self, memory: Memory | None, found: SessionsLook, before: int, now: int
    ) -> None:
        missed = None
        if memory is not None and memory.goes_on(found) and found.counted is not None:
            memory.expected += memory.new(found)
            missed = max(0, found.counted - memory.expected - memory.told)
        self._say(UNWATCHED, before, now, missed)

    def _say_missed(self, memory: Memory, found: SessionsLook, now: int) -> None:
        if found.counted is None:
            return
        # Those that the look before found missing too: what is about to connect is counted first.
        missed = found.counted - memory.expected
        surely, memory.missed = min(missed, memory.missed), missed
        if surely > memory.told and now - memory.told_at >= _MISSED_AGAIN:
            self._say(MISSED, memory.missed_since, now, surely - memory.told)
            memory.told, memory.told_at = surely, now
        if surely <= memory.told:
            memory.missed_since = memory.looked

    def _say_groups(
        self, known: list[Group], found: SessionsLook, before: int, now: int
    ) -> list[Group]:
        groups = {group.name: group for group in known}
        for name, sessions in _by_name(found.sessions).items():
            since = min(now, *(before if one.since is None else one.since for one in sessions))
            group = groups.get(name)
            if group is None:
                group = groups[name] = Group(name=name, since=since, first_seen=now, said=0)
            keys = {session.key for session in sessions}
            group.since = min(group.since, since)
            group.sessions += len(keys - group.keys)
            group.keys = keys
            group.last_seen = now
            if now - group.said >= _AGAIN:
                self._say(SEEN, group.since, now, group.sessions, group)
                group.said = now
        for group in groups.values():
            if group.last_seen != now:
                self._say(ENDED, group.since, now, group.sessions, group)
        return [group for group in groups.values() if group.last_seen == now]

    def _say(
        self, action: str, since: int, until: int, sessions: int | None, group: Group | None = None
    ) -> None:
        span = Span(
            action=action,
            database=self._database,
            since=format_time(since),
            until=format_time(until),
            sessions=sessions,
            interval_s=self._every_s,
        )
        if group is not None:
            role, program, address, is_replication = group.name
            span = msgspec.structs.replace(
                span,
                how="replication" if is_replication else "client",
                role=role,
                program=program,
                address=address,
                first_seen=format_time(group.first_seen),
                last_seen=format_time(group.last_seen),
            )
        self._journal.append(encode_draft(event_of(span)))


def _read(path: Path) -> Memory | None:
    try:
        return _decode(path.read_bytes())
    except (FileNotFoundError, *UNDECODABLE):
        return None


def _by_name(sessions: tuple[Session, ...]) -> dict[Name, list[Session]]:
    found: dict[Name, list[Session]] = {}
    for one in sessions:
        name = (one.role, one.program, one.address, one.is_replication)
        found.setdefault(name, []).append(one)
    return found
