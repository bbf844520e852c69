"""The questions, as they are asked of a trail: who they are about, and from when until when."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from pathlib import Path
from typing import TypeVar

from indelible.events.model import Actor, Kind, Subject, Target
from indelible.policy import Policy
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.answer import Answer, AnyFinding
from indelible.questions.events import EXPLICIT, access_events, changes, events, history
from indelible.questions.findings import AccessFinding, AccessorFinding, Finding, StateFinding
from indelible.questions.retained import Retained, retained
from indelible.questions.sessions import other_sessions
from indelible.questions.state import state
from indelible.questions.unauthorised import UnauthorisedFinding, unauthorised
from indelible.questions.window import Window, parse_instant, parse_window
from indelible.store.protocol import TrailReader
from indelible.tlog import VerifierKey

F = TypeVar("F", bound=AnyFinding)
When = str | dt.date | None
"""A time as a person types it, a date, or an aware datetime; None leaves the side open."""


class Questions:
    """Answers from the entries of one trail, under the policy that names its tables' subjects."""

    def __init__(self, reader: TrailReader, policy: Policy) -> None:
        self._reader = reader
        self._kinds_of_subject = policy.kinds_of_subject
        self._server = policy.server
        self._verifiers = policy.kept().verifiers

    @property
    def reader(self) -> TrailReader:
        """The trail's entries, for questions and proofs of one's own."""
        return self._reader

    def changes(
        self, *, by: Actor, since: When = None, until: When = None, also_as: bool = False
    ) -> Answer[Finding]:
        """Every change that `by` made in the window."""
        window = self.window(since, until)
        return self._told(changes(self._reader, by=by, window=window, also_as=also_as))

    def accesses(
        self, *, by: Actor, since: When = None, until: When = None, also_as: bool = False
    ) -> Answer[AccessFinding]:
        """Every record that `by` read or changed in the window, one finding a record."""
        window = self.window(since, until)
        return self._beside_sessions(accesses(self._reader, by=by, window=window, also_as=also_as))

    def access_events(
        self, *, by: Actor, since: When = None, until: When = None, also_as: bool = False
    ) -> Answer[Finding]:
        """Every event in which `by` read or changed records in the window."""
        window = self.window(since, until)
        return self._beside_sessions(
            access_events(self._reader, by=by, window=window, also_as=also_as)
        )

    def unauthorised(
        self,
        *,
        by: Actor | None = None,
        since: When = None,
        until: When = None,
        also_as: bool = False,
    ) -> Answer[UnauthorisedFinding]:
        """Every access and change, by anybody or by `by`, under no decision or one that denied."""
        window = self.window(since, until)
        return self._told(unauthorised(self._reader, window=window, by=by, also_as=also_as))

    def accessors(
        self, *, of: Subject, since: When = None, until: When = None, also_as: bool = False
    ) -> Answer[AccessorFinding]:
        """Everybody who read or changed `of`'s data in the window, one finding an actor."""
        kinds = self._kinds_of_subject(of.kind)
        window = self.window(since, until)
        return self._beside_sessions(
            accessors(self._reader, of=of, window=window, kinds=kinds, also_as=also_as)
        )

    def events(
        self,
        *,
        by: Actor | None = None,
        action: str | None = None,
        since: When = None,
        until: When = None,
        also_as: bool = False,
        system: bool = False,
    ) -> Answer[Finding]:
        """Explicit events and decisions of the window, of any outcome, by `by` and of `action`.

        `action` is one, or all of a noun's (`user.*`). With `system` the trail's own entries too.
        """
        kinds: frozenset[Kind] = EXPLICIT if system else EXPLICIT - {"system"}
        return self._told(
            events(
                self._reader,
                window=self.window(since, until),
                by=by,
                action=action,
                kinds=kinds,
                also_as=also_as,
            )
        )

    def history(self, target: Target, *, since: When = None, until: When = None) -> Answer[Finding]:
        """Everything that was done to `target` in the window, reads included, by anybody."""
        window = self.window(since, until)
        return self._told(history(self._reader, target=target, window=window))

    def state(self, target: Target, at: When = None) -> Answer[StateFinding]:
        """What `target` was after all that happened before `at`; None is now."""
        instant = None
        if at is not None:
            instant = parse_instant(at, "until", now=_now(), zone=_local_zone())
        return self._told(state(self._reader, target=target, at=instant))

    def _beside_sessions(self, answer: Answer[F]) -> Answer[F]:
        """`answer`, with whoever else was connected in its window."""
        return self._told(answer).with_sessions(
            lambda: other_sessions(
                self._reader, window=answer.searched, server=self._server, size=answer.size
            )
        )

    def _told(self, answer: Answer[F]) -> Answer[F]:
        """`answer`, with what retention took from its window."""
        return answer.with_retained(lambda: self._retained(answer.searched, answer.size))

    def retained(self) -> Retained | None:
        """What retention took of the trail; None for nothing."""
        return self._retained(Window(), self._reader.size)

    def _retained(self, window: Window, size: int) -> Retained | None:
        verifiers = [VerifierKey.parse(vkey) for vkey in self._verifiers]
        return retained(self._reader, window, size=size, verifiers=verifiers)

    def window(self, since: When, until: When) -> Window:
        """The instants that these mean here and now; raises `WindowError`."""
        return parse_window(since, until, now=_now(), zone=_local_zone())


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _local_zone() -> dt.tzinfo:
    # A fixed offset wouldn't know when clocks are changed.
    try:
        with Path("/etc/localtime").open("rb") as rules:
            return zoneinfo.ZoneInfo.from_file(rules)
    except (OSError, ValueError):
        return dt.datetime.now().astimezone().tzinfo or dt.UTC
