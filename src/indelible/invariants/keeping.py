"""How long what happened is there: `retained` at least, `forgotten` at most."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from indelible.errors import EventError, MalformedEventError
from indelible.events.codec import decode_event, join_parts, parse_time
from indelible.events.model import Event, Subject, Timestamp
from indelible.events.values import Value
from indelible.integrity.acts import ERASED
from indelible.integrity.retention import day_of
from indelible.invariants.facts import Breaches, Facts, Judge, moment_of, timestamp
from indelible.invariants.notes import Mark
from indelible.invariants.reach import Reach, dropped_of, judge_reach
from indelible.invariants.scratch import is_told
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, Verdict
from indelible.policy.durations import length_text
from indelible.policy.invariants import Forgotten, Retained
from indelible.questions.reading import (
    glance,
    is_repeated,
    read_events,
    search_window,
    view_subjects,
)
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry
from indelible.store.sealing import sealed_tokens
from indelible.store.terms import DAILY, action_term
from indelible.tlog import Index

_SEALED = b"sealed"
_EMPTY = Verdict(verdict=CANT_TELL, words="the trail is empty")


class RetainedJudge(Judge[Retained]):
    """See `Retained`."""

    def verdict(self) -> Verdict:
        began = _first(self._facts)
        if began is None:
            return _EMPTY
        holes = dropped_of(self._facts, ("accesses", "changes", "events"))
        reach = Reach(began, [*holes, *self._facts.coverage.unreadable])
        return judge_reach(self._facts, reach, self._invariant.at_least, "entries are there")


class _Erased(NamedTuple):
    """The tokens of keys that were destroyed, and the subjects of whom nothing else is sealed."""

    gone: frozenset[str]
    subjects: frozenset[Subject]


class ForgottenJudge(Judge[Forgotten]):
    """See `Forgotten`. What is older counts, unless nothing of its subject can be read in it."""

    since = Timestamp("")

    def __init__(self, invariant: Forgotten, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._seals = {
            table.kind: table.seal | table.personal.keys() for table in facts.policy.tables.values()
        }
        self._has_tokens = invariant.of in facts.policy.personal.kinds

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        began = _first(facts)
        if began is None:
            return _EMPTY
        horizon = facts.since(invariant.at_most)
        erased = self._erased()
        breaches = Breaches()
        oldest: Timestamp | None = None
        for index, day in self._days(horizon, erased):
            breaches.add(index, DAILY)
            oldest = day if oldest is None else min(oldest, day)
        for entry in search_window(facts.reader, (), Window(None, horizon), size=facts.size):
            view = view_subjects(entry.body)
            if view.action == DAILY:
                continue
            # What claims to be from later than it came is no younger for that.
            time = min(view.time, entry.received)
            if time >= horizon or is_repeated(view):
                continue
            own = [subject for subject in view.subjects if subject.kind == invariant.of]
            if own and not (erased.gone and self._is_forgotten(entry, own, erased)):
                breaches.add(entry.index, view.action)
                oldest = time if oldest is None else min(oldest, time)
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

    def _days(self, horizon: Timestamp, erased: _Erased) -> Iterator[tuple[Index, Timestamp]]:
        """What is left by day of accesses to somebody's data that are older than that."""
        facts, of = self._facts, self._invariant.of
        terms = [action_term(DAILY)]
        found = read_events(
            facts.reader, terms, Window(), size=facts.size, kinds={"system"}, is_opened=False
        )
        for seen in found:
            if seen.event.action != DAILY:
                continue
            own = [each for each in seen.event.subjects if each.kind == of]
            with contextlib.suppress(EventError):
                start, end = day_of(seen.event)
                if end <= horizon and own and not self._is_nameless(own, erased):
                    yield seen.indexes[0], start

    def _is_forgotten(self, entry: StoredEntry, own: Sequence[Subject], erased: _Erased) -> bool:
        """Whether nothing can be read in it of these subjects but that there was something."""
        event = self._whole(entry)
        if event is None:
            return False
        tokens = sealed_tokens(event)
        if self._has_tokens:
            if not tokens <= erased.gone or not self._is_nameless(own, erased):
                return False
        elif not tokens <= erased.gone or not (tokens or erased.subjects.issuperset(own)):
            return False
        values = self._in_clear(event, is_sealed=bool(tokens))
        return not any(value is not None and is_told(value) for value in values)

    def _is_nameless(self, own: Sequence[Subject], erased: _Erased) -> bool:
        """Whether tokens stand in the place of their names, and mean nobody any more."""
        return self._has_tokens and all(each.id in erased.gone for each in own)

    def _in_clear(self, event: Event, *, is_sealed: bool) -> Iterator[Value]:
        """Values that are a subject's: of columns to be sealed, or personal, by now; where the
        table has none, all, unless something was sealed beside them."""
        yield from (event.details or {}).values()
        seal = self._seals.get(event.targets[0].kind if event.targets else "", frozenset())
        for name, values in _columns(event):
            if name.lower() in seal if seal else not is_sealed:
                yield from values

    def _erased(self) -> _Erased:
        """Which keys were destroyed, and whose they were.

        An erasure names nobody, only a token, which stands beside the values that were sealed. Who
        came back has another one.
        """
        facts = self._facts
        terms = [action_term(ERASED)]
        erasures = read_events(facts.reader, terms, Window(), size=facts.size, kinds={"system"})
        said = [seen.event.details or {} for seen in erasures if seen.event.action == ERASED]
        gone = frozenset(str(details["token"]) for details in said if "token" in details)
        found: set[Subject] = set()
        alive: set[Subject] = set()
        for entry in search_window(facts.reader, (), Window(), size=facts.size) if gone else ():
            view = view_subjects(entry.body)
            if len(view.subjects) != 1 or is_repeated(view):
                continue
            if view.fragment is not None or _SEALED in entry.body:
                event = self._whole(entry)
                tokens = frozenset() if event is None else sealed_tokens(event)
                if tokens:
                    (found if tokens <= gone else alive).add(view.subjects[0])
        return _Erased(gone, frozenset(found - alive))

    def _whole(self, entry: StoredEntry) -> Event | None:
        """The event as it was sealed; None where a part is missing."""
        event = decode_event(entry.body)
        if event.part is None or event.fragment is None:
            return event
        rest = self._facts.reader.entries(entry.index + 1, entry.index + event.part.of - 1)
        try:
            return join_parts([event, *(decode_event(each.body) for each in rest)])
        except MalformedEventError:
            return None


def _columns(event: Event) -> Iterator[tuple[str, Sequence[Value]]]:
    """Each column with the values that the event has of it."""
    yield from (event.changes or {}).items()
    if event.baseline is not None:
        for place, name in enumerate(event.baseline.columns):
            yield name, [row[place] for row in event.baseline.rows]


def _first(facts: Facts) -> Mark | None:
    """The first entry that can be read."""
    for entry in facts.reader.entries(0, facts.size - 1):
        glance(entry.body)  # or it can't be read
        return Mark(entry.received, entry.index)
    return None
