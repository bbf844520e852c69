"""Who read bodies, and who was refused: in the trail itself, and never as many entries as requests.

The first of a token at an address is written down before it is answered, what follows once a minute
with its count, so that a reader of a million entries makes a few entries, and an attacker who
guesses no more. Killed, a process loses the counts of its last minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from indelible.errors import DeliveryError, IndelibleError
from indelible.events.codec import format_time
from indelible.events.model import Actor, Outcome
from indelible.integrity.numbering import BODIES_READ, DENIED, format_ranges
from indelible.store.ranges import RangeSet

_log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
MOST_AT_ONCE: Final = 32
"""Addresses told apart within a minute; more than these are counted together."""
_SEVERAL: Final = "several"
_MOST_RANGES: Final = 500
"""So many an entry, so that it is never cut into parts."""
_LOOK_S: Final = 1.0


class _Who(NamedTuple):
    """`token` is None where it was refused; `address` is `_SEVERAL` where there were too many."""

    token: str | None
    address: str


class _Tally:
    """What one of them did since it was last written down."""

    def __init__(self) -> None:
        self.due_at = 0.0
        self.forget()

    def forget(self) -> None:
        self.count = 0
        self.with_another = 0
        self.since = 0
        self.entries = RangeSet()


class Readers:
    """What is written down of those who ask for bodies; for many threads. `close` it.

    `monotonic` gives seconds, `clock` microseconds since 1970.
    """

    def __init__(
        self,
        tell: Callable[..., None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        """`tell` is what `explicit.telling` gives."""
        self._tell = tell
        self._monotonic = monotonic
        self._clock = clock
        self._tallies: dict[_Who, _Tally] = {}
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indelible-readers", daemon=True)
        self._thread.start()

    def read(self, token: str, address: str, first: int, last: int) -> None:
        """The bodies `first` to `last` are about to be handed out; raises `DeliveryError` where
        that can't be written down, and then they mustn't be.
        """
        with self._lock:
            who, tally = self._tally(_Who(token, address))
            tally.entries.add(first, last)
            self._say_if_due(who, tally)
            if len(tally.entries.ranges()) >= _MOST_RANGES:
                self._say(who, tally)

    def refused(self, address: str, *, has_another: bool) -> None:
        """Somebody asked without the token, or with another; never raises."""
        with self._lock:
            who, tally = self._tally(_Who(None, address))
            tally.with_another += has_another
            try:
                self._say_if_due(who, tally)
            except DeliveryError as error:
                _log.error("a refusal isn't written down yet: %s", error)

    def close(self) -> None:
        """Write down what wasn't yet, as far as that goes."""
        self._is_closing.set()
        self._thread.join()
        self._say_all(lambda tally: True)

    def _tally(self, who: _Who) -> tuple[_Who, _Tally]:
        # Apart, so that whoever guesses from many places hides no reader's place.
        alike = sum((each.token is None) == (who.token is None) for each in self._tallies)
        if who not in self._tallies and alike >= MOST_AT_ONCE:
            who = who._replace(address=_SEVERAL)
        tally = self._tallies.setdefault(who, _Tally())
        if not tally.count:
            tally.since = self._clock()
        tally.count += 1
        return who, tally

    def _say_if_due(self, who: _Who, tally: _Tally) -> None:
        if tally.due_at <= self._monotonic():
            self._say(who, tally)

    def _say(self, who: _Who, tally: _Tally) -> None:
        common: dict[str, str] = {"since": format_time(tally.since)}
        common |= {"addresses": _SEVERAL} if who.address == _SEVERAL else {"ip": who.address}
        if who.token is None:
            self._tell(
                DENIED,
                outcome=Outcome.DENIED,
                count=tally.count,
                with_another=tally.with_another,
                **common,
            )
        else:
            self._tell(
                BODIES_READ,
                actor=Actor("token", who.token),
                count=tally.count,
                entries=format_ranges(tally.entries.ranges()),
                **common,
            )
        tally.forget()
        tally.due_at = self._monotonic() + EVERY_S

    def _run(self) -> None:
        while not self._is_closing.wait(_LOOK_S):
            now = self._monotonic()
            self._say_all(lambda tally, now=now: tally.due_at <= now)  # type: ignore[misc]

    def _say_all(self, is_due: Callable[[_Tally], bool]) -> None:
        with self._lock:
            for who, tally in list(self._tallies.items()):
                if not is_due(tally):
                    continue
                if not tally.count:
                    del self._tallies[who]
                    continue
                try:
                    self._say(who, tally)
                except IndelibleError as error:
                    _log.error("who asked for bodies isn't written down yet: %s", error)
                    return
