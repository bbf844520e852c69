"""Sampled answers, derived again: what entries say, against what the index finds of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from indelible.events.codec import format_time, parse_time
from indelible.events.model import Actor, Kind, Subject, Timestamp
from indelible.invariants.facts import Facts
from indelible.policy.invariants import Deed
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.events import ACCESSES, actor_terms
from indelible.questions.judging import is_by, is_done
from indelible.questions.reading import SubjectsView, is_repeated, view_subjects
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader
from indelible.tlog import Index

_ROUNDS: Final = 4
_SPAN: Final = 256
"""So many neighbouring entries are read in a round."""
_ASKED: Final = 3
"""About so many actors or subjects of a round is asked."""
_LOOKED: Final = 2_000
"""So many entries are looked at for somebody who changed something."""


class Samples(NamedTuple):
    """`asked` answers were to have `entries` entries; `missing` are those that they didn't."""

    asked: int
    entries: int
    missing: list[tuple[Index, str]]


def check_samples(facts: Facts, *, since: Timestamp, subjects_of: str | None = None) -> Samples:
    """Read entries from random places, and ask by actor (or by subject of a kind) about their time.

    The answer has to hold each of them. Where to look is drawn by `facts.rng`.
    """
    asked = entries = 0
    missing: list[tuple[Index, str]] = []
    for window, names in _rounds(facts, since, subjects_of):
        for name in facts.rng.sample(sorted(names), min(_ASKED, len(names))):
            who, wanted = names[name]
            if isinstance(who, Actor):
                answer = accesses(facts.reader, by=who, window=window).entries()
            else:
                answer = accessors(facts.reader, of=who, window=window).entries()
            found = set(answer)
            asked += 1
            entries += len(wanted)
            missing += [(index, name) for index in wanted if index not in found]
    return Samples(asked, entries, missing)


_Names = Mapping[str, tuple[Actor | Subject, list[Index]]]


def _rounds(
    facts: Facts, since: Timestamp, subjects_of: str | None
) -> Iterator[tuple[Window, _Names]]:
    first = next((each.index for each in facts.reader.search((), since=since)), None)
    if first is None or first >= facts.size:
        return
    for _ in range(_ROUNDS):
        at = facts.rng.randint(int(first), facts.size - 1)
        names: dict[str, tuple[Actor | Subject, list[Index]]] = {}
        times: list[Timestamp] = []
        for entry in facts.reader.entries(at, min(at + _SPAN, facts.size) - 1):
            view = view_subjects(entry.body)
            if view.kind not in ACCESSES or is_repeated(view) or not is_done(view.outcome):
                continue
            times += (view.time, entry.received) if entry.doubtful else (view.time,)
            for who in _named(view, subjects_of):
                names.setdefault(str(who), (who, []))[1].append(entry.index)
        if times:
            yield Window(min(times), format_time(parse_time(max(times)) + 1)), names


def _named(view: SubjectsView, subjects_of: str | None) -> Iterator[Actor | Subject]:
    if subjects_of is None:
        if view.actor is not None:
            yield Actor(view.actor.kind, view.actor.id)
        return
    for subject in dict.fromkeys(view.subjects):
        if subject.kind == subjects_of and subject.id is not None:
            yield subject


def sample_changers(facts: Facts, *, since: Timestamp, by: str, count: int) -> Sequence[Actor]:
    """Up to `count` actors who changed something since: who did so last, and by `facts.rng`."""
    if by != "all":
        kind, _, name = by.partition(":")
        return [Actor(kind, name)]
    found: dict[tuple[str, str], Actor] = {}
    places = [(since, True)]
    low, high = parse_time(since), parse_time(facts.now)
    places += [(format_time(facts.rng.randint(low, max(low, high))), False) for _ in range(count)]
    for place, newest_first in places:
        some = islice(facts.reader.search((), since=place, newest_first=newest_first), _LOOKED)
        for entry in some:
            view = view_subjects(entry.body)
            if view.kind == "change" and view.actor is not None and view.time >= since:
                found.setdefault(
                    (view.actor.kind, view.actor.id), Actor(view.actor.kind, view.actor.id)
                )
                if not newest_first or len(found) * 2 >= count:
                    break
    return list(found.values())[:count]


def deeds_of(
    reader: TrailReader,
    actor: Actor,
    kinds: frozenset[Kind] = ACCESSES,
    *,
    since: Timestamp | None = None,
) -> Iterator[tuple[Deed, SubjectsView]]:
    """What `actor` did of what was received since then, latest first."""
    terms = actor_terms(actor, kinds, also_as=False)
    for entry in reader.search(terms, since=since, newest_first=True):
        if since is not None and entry.received < since:
            return
        view = view_subjects(entry.body)
        if view.kind in kinds and is_by(view.actor, actor, also_as=False):
            yield ("changes" if view.kind == "change" else "accesses"), view
