"""How long what happened is there: `retained` at least, `forgotten` at most."""

from __future__ import annotations

from indelible.events.codec import decode_event, parse_time
from indelible.events.model import Subject, Timestamp
from indelible.integrity.acts import ERASED
from indelible.invariants.facts import Breaches, Facts, Judge, moment_of, timestamp
from indelible.invariants.notes import Mark
from indelible.invariants.reach import Reach, judge_reach
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, Verdict
from indelible.policy.durations import length_text
from indelible.policy.invariants import Forgotten, Retained
from indelible.questions.reading import glance, read_events, search_window, view_subjects
from indelible.questions.window import Window
from indelible.store.sealing import sealed_tokens
from indelible.store.terms import action_term

_SEALED = b"sealed"
_EMPTY = Verdict(verdict=CANT_TELL, words="the trail is empty")


class RetainedJudge(Judge[Retained]):
    """See `Retained`."""

    def verdict(self) -> Verdict:
        began = _first(self._facts)
        if began is None:
            return _EMPTY
        reach = Reach(began, self._facts.coverage.unreadable)
        return judge_reach(self._facts, reach, self._invariant.at_least, "entries are there")


class ForgottenJudge(Judge[Forgotten]):
    """See `Forgotten`. What is older counts, unless its subject was erased."""

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        began = _first(facts)
        if began is None:
            return _EMPTY
        horizon = facts.since(invariant.at_most)
        erased = self._erased()
        breaches = Breaches()
        oldest: Timestamp | None = None
        for entry in search_window(facts.reader, (), Window(None, horizon), size=facts.size):
            view = view_subjects(entry.body)
            if view.time >= horizon:
                continue
            left = [s for s in view.subjects if s.kind == invariant.of and s not in erased]
            if left:
                breaches.add(entry.index, view.action)
                oldest = view.time if oldest is None else min(oldest, view.time)
        if oldest is not None:
            over = (parse_time(horizon) - parse_time(oldest)) / 1_000_000
            return Verdict(
                verdict=SHORT,
                words=f"{breaches.count} entries about some {invariant.of} are older than "
                f"{invariant.at_most}, the oldest by {length_text(over)}",
                figure=over,
                required=0.0,
                unit="seconds",
                example=breaches.example,
                evidence=tuple(breaches.indexes),
            )
        young = began.time > horizon
        until = timestamp(invariant.at_most.after(moment_of(began.time)))
        return Verdict(
            verdict=SO_FAR if young else HOLDS,
            words=f"nothing about any {invariant.of} is older than {invariant.at_most}"
            + (f"; the first entry will be on {until[:10]}" if young else ""),
            required=invariant.at_most.seconds,
            unit="seconds",
            since=began.time if young else None,
            on_course_until=until if young else None,
        )

    def _erased(self) -> frozenset[Subject]:
        """Whose sealed values can't be opened any more.

        An erasure names nobody, only a token, which stands beside the values that were sealed.
        """
        facts = self._facts
        terms = [action_term(ERASED)]
        erasures = read_events(facts.reader, terms, Window(), size=facts.size, kinds={"system"})
        gone = {(seen.event.details or {}).get("token") for seen in erasures}
        if not gone:
            return frozenset()
        # Where names are tokens it stands in their place.
        found = {Subject(self._invariant.of, token) for token in gone if isinstance(token, str)}
        for entry in search_window(facts.reader, (), Window(), size=facts.size):
            if _SEALED in entry.body:
                event = decode_event(entry.body)
                tokens = sealed_tokens(event)
                if tokens and tokens <= gone and len(event.subjects) == 1:
                    found.add(event.subjects[0])
        return frozenset(found)


def _first(facts: Facts) -> Mark | None:
    """The first entry that can be read."""
    for entry in facts.reader.entries(0, facts.size - 1):
        return Mark(glance(entry.body)[1], entry.index)
    return None
