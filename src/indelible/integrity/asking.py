"""Asks parties that may be slow or dead, each in a thread of its own: none holds up another."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from indelible.errors import DeliveryError, IndelibleError

_log = logging.getLogger(__name__)

_FIRST_RETRY_S: Final = 0.5

R = TypeVar("R")
P = TypeVar("P", bound="Asked")


class Asked:
    """What is remembered of one party: its question under way, and how often it failed in a row."""

    def __init__(self) -> None:
        self.late_at = math.inf
        """When its answer is no longer waited for."""
        self._question: object = None
        self._busy: threading.Thread | None = None
        self._failures = 0

    @property
    def is_asked(self) -> bool:
        return self._question is not None

    @property
    def is_free(self) -> bool:
        """Whether it can be asked: it isn't, nor is it still at something that it was asked."""
        return not self.is_asked and (self._busy is None or not self._busy.is_alive())

    def is_about(self, question: object) -> bool:
        return self._question is question

    def begin(self, ask: Callable[[object], None], late_at: float, *, name: str) -> None:
        """Run `ask` in a thread; it is given the question, by which its answer is told."""
        self._question, self.late_at = object(), late_at
        self._busy = threading.Thread(
            target=ask, args=(self._question,), name=f"indelible-{name}", daemon=True
        )
        self._busy.start()

    def end(self) -> None:
        """It has answered, or nobody waits any more."""
        self._question, self.late_at = None, math.inf

    def succeed(self) -> None:
        self.end()
        self._failures = 0

    def fail(self, most_s: float, jitter: float) -> float:
        """For how many seconds it is to be left alone: half of them by `jitter` (0 to 1), so that
        many trails don't come back together."""
        self.end()
        pause_s = min(most_s, _FIRST_RETRY_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return pause_s * (0.5 + jitter / 2)


class Answer(NamedTuple, Generic[P, R]):
    """What came of a question to `asked`."""

    asked: P
    question: object
    result: R | IndelibleError


class Answers(Generic[P, R]):
    """Where the answers of all parties come in, and who waits for them is woken."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Answer[P, R] | None] = queue.SimpleQueue()

    def ask(self, asked: P, call: Callable[[], R], late_at: float, *, name: str) -> None:
        """Have `call` ask the party in a thread; what it raises is its answer, too."""

        def run(question: object) -> None:
            result: R | IndelibleError
            try:
                result = call()
            except IndelibleError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("asking (%s)", name)
                result = DeliveryError(type(error).__name__)
            self._queue.put(Answer(asked, question, result))

        asked.begin(run, late_at, name=name)

    def wake(self) -> None:
        """Who waits looks around. Returns at once."""
        self._queue.put(None)

    def take(self, timeout_s: float) -> Iterator[Answer[P, R]]:
        """Those that have come and are still waited for; waits so long for the first, or `wake`."""
        timeout: float | None = timeout_s
        while True:
            try:
                answer = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
            except queue.Empty:
                return
            timeout = None
            if answer is not None and answer.asked.is_about(answer.question):
                yield answer
