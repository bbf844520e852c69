"""What is counted over the events of a window: `attributed` and `delivered`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from indelible.events.codec import parse_time
from indelible.invariants.facts import Breaches, Facts, WatchingJudge
from indelible.invariants.reach import KIND_OF
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, Verdict
from indelible.policy.durations import length_text
from indelible.policy.invariants import Attributed, Delivered
from indelible.questions.reading import EventView
from indelible.store.protocol import StoredEntry

_STEP: Final = 1.01
"""Delays are told apart to 1 %; whether one is too long is decided exactly."""


class AttributedJudge(WatchingJudge[Attributed]):
    """See `Attributed`."""

    def __init__(self, invariant: Attributed, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self.deeds = invariant.of
        self._kinds = [KIND_OF[deed] for deed in invariant.of]
        self._total = 0
        self._nobody = Breaches()

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        if view.kind in self._kinds:
            self._total += 1
            if view.actor is None:
                self._nobody.add(entry.index, view.action)

    def verdict(self) -> Verdict:
        invariant = self._invariant
        if not self._total:
            return Verdict(
                verdict=CANT_TELL,
                words=f"there were no {' or '.join(invariant.of)} within {invariant.window}",
            )
        share = 1 - self._nobody.count / self._total
        words = (
            f"{self._nobody.count} of {self._total} {' and '.join(invariant.of)} within "
            f"{invariant.window} are by nobody that is known ({share:.2%} have an actor)"
        )
        return Verdict(
            verdict=SHORT if share < invariant.share else HOLDS,
            words=words + (f"; the first: {self._nobody.first}" if self._nobody.count else ""),
            figure=share,
            required=invariant.share,
            unit="share",
            example=self._nobody.example,
            evidence=tuple(self._nobody.indexes),
        )


class DeliveredJudge(WatchingJudge[Delivered]):
    """See `Delivered`. A change's delay is from its own time to that of the batch it came in."""

    deeds = ("changes",)

    def __init__(self, invariant: Delivered, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._p95 = invariant.p95.seconds * 1_000_000
        self._p100 = invariant.p100.seconds * 1_000_000
        self._delays: Counter[int] = Counter()
        self._total = self._in_time = self._doubtful = self._unknown = 0
        self._longest = (0, -1)
        self._late = Breaches()

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        if view.kind != "change":
            return
        delay = parse_time(entry.received) - parse_time(view.time)
        if entry.doubtful:
            # By a clock that went wrong it is late, or came before it was.
            self._doubtful += 1
            self._unknown += not 0 <= delay <= self._p95
            return
        delay = max(0, delay)
        self._total += 1
        self._in_time += delay <= self._p95
        self._delays[math.ceil(math.log(max(delay, 1), _STEP))] += 1
        if delay > self._p100:
            self._late.add(entry.index, view.action)
        self._longest = max(self._longest, (delay, int(entry.index)))

    def verdict(self) -> Verdict:
        invariant = self._invariant
        if not self._total and not self._doubtful:
            return Verdict(verdict=CANT_TELL, words=f"no change came within {invariant.window}")
        longest = self._longest[0] / 1_000_000
        p95 = self._percentile()
        words = (
            f"of {self._total} changes within {invariant.window} 95 % were in the trail after "
            f"{length_text(p95)}, all after {length_text(longest)}"
        )
        if self._doubtful:
            words += f"; of {self._doubtful} the time is doubtful, and not counted"
        if self._unknown:
            words += f", and {self._unknown} of those may have taken longer"
        is_slow = self._in_time < math.ceil(0.95 * self._total)
        if self._late.count:
            words += f"; {self._late.count} took longer than {invariant.p100}"
        elif is_slow:
            words += f"; 95 % are promised after {invariant.p95}"
        longer = self._late.count or not is_slow
        is_short = is_slow or self._late.count
        return Verdict(
            verdict=SHORT if is_short else CANT_TELL if self._unknown else HOLDS,
            words=words,
            figure=longest if longer else p95,
            required=(invariant.p100 if longer else invariant.p95).seconds,
            unit="seconds",
            example=self._late.example,
            evidence=tuple(self._late.indexes),
        )

    def _percentile(self) -> float:
        """How long 95 % took at most, in seconds."""
        wanted = math.ceil(0.95 * self._total)
        for step in sorted(self._delays):
            wanted -= self._delays[step]
            if wanted <= 0:
                return min(_STEP**step, float(self._longest[0])) / 1_000_000
        return 0.0
