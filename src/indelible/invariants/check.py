"""The check: each invariant gets the verdict that the trail's entries bear out."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from indelible.errors import IndelibleError, VerificationError
from indelible.events.model import Event, Timestamp
from indelible.events.values import Value
from indelible.invariants.conduct import AuthorisedJudge, ForbidsJudge, LimitsJudge, SeparatesJudge
from indelible.invariants.counts import AttributedJudge, DeliveredJudge
from indelible.invariants.coverage import Coverage, look_at, within
from indelible.invariants.facts import (
    Facts,
    Judge,
    Progress,
    Site,
    Watcher,
    WindowedJudge,
    moment_of,
    pass_over,
    timestamp,
)
from indelible.invariants.keeping import ForgottenJudge, RetainedJudge
from indelible.invariants.log_files import LogCleanJudge
from indelible.invariants.notes import Notes
from indelible.invariants.reach import AccessorsJudge, EnumerableJudge
from indelible.invariants.trust import CompleteJudge, TamperEvidentJudge
from indelible.invariants.undoing import ReversibleJudge
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, WORDS, Verdict
from indelible.policy import Policy
from indelible.policy.invariants import Invariant
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader
from indelible.store.terms import action_term

CHECKED: Final = "invariants.checked"
FELL_SHORT: Final = "invariant.fell_short"
_PREFIX: Final = "verdict "
_JUDGES: Final[dict[str, type[Judge[Any]]]] = {
    "enumerable": EnumerableJudge,
    "accessors": AccessorsJudge,
    "reversible": ReversibleJudge,
    "attributed": AttributedJudge,
    "complete": CompleteJudge,
    "tamper_evident": TamperEvidentJudge,
    "delivered": DeliveredJudge,
    "log_clean": LogCleanJudge,
    "authorised": AuthorisedJudge,
    "retained": RetainedJudge,
    "forgotten": ForgottenJudge,
    "forbids": ForbidsJudge,
    "separates": SeparatesJudge,
    "limits": LimitsJudge,
}


def check(
    reader: TrailReader,
    policy: Policy,
    site: Site,
    *,
    now: dt.datetime,
    progress: Progress = lambda done, of: None,
) -> tuple[Verdict, ...]:
    """A verdict for each invariant of `policy`, in its order.

    Of a trail that grows it is that of the entries there are now. What is sampled is drawn by the
    trail's root, so that a check can be done over, and nobody knows before what will be looked at.
    What can't be decided is `can't tell`, whatever the reason; entries that don't verify make an
    invariant fall short.
    """
    state = reader.state()
    coverage = Coverage(
        Notes(reader, int(state.size)), policy, now=timestamp(now), look=look_at(policy)
    )
    rng = random.Random(bytes(state.root))  # noqa: S311 - a sample, no secret
    facts = Facts(reader, int(state.size), policy, coverage, now, timestamp(now), rng, site)
    judges: list[tuple[Invariant, Judge[Any]]] = []
    for invariant in policy.invariants:
        in_force = invariant.in_force(now.date())
        judges.append((in_force, _JUDGES[in_force.kind](in_force, facts)))
    watchers = [judge.watcher for _, judge in judges if judge.watcher is not None]
    problems = pass_over(facts, watchers, progress)
    return tuple(_verdict(judge, problems, facts).of(invariant) for invariant, judge in judges)


def _verdict(
    judge: Judge[Any], problems: Mapping[Watcher, IndelibleError], facts: Facts
) -> Verdict:
    watcher = judge.watcher
    try:
        if watcher is not None and watcher in problems:
            raise problems[watcher]
        found = judge.verdict()
        if judge.since is None or found.verdict not in (HOLDS, SO_FAR):
            return found
        holes = [*facts.coverage.unreadable, *facts.coverage.unseen(judge.deeds)]
        blind = within(holes, judge.since, facts.now)
        if blind:
            many = f" (the first of {len(blind)} holes)" if blind[1:] else ""
            words = f"{blind[0].why}{many}; of what was seen: {found.words}"
            evidence = tuple(hole.entry for hole in blind[:10] if hole.entry is not None)
            return Verdict(verdict=CANT_TELL, words=words, evidence=evidence)
        return _so_far(judge, judge.since, found, facts)
    except VerificationError as error:
        return Verdict(verdict=SHORT, words=f"the evidence does not verify: {error}")
    except IndelibleError as error:
        return Verdict(verdict=CANT_TELL, words=str(error))


def _so_far(judge: Judge[Any], since: Timestamp, found: Verdict, facts: Facts) -> Verdict:
    """What holds of less than the window, where not all of it was captured yet."""
    if not isinstance(judge, WindowedJudge):
        return found
    began = facts.coverage.began(judge.deeds)
    if began is None:
        return Verdict(verdict=CANT_TELL, words=f"nothing was ever captured; {found.words}")
    if began.time <= since:
        return found
    until = timestamp(judge.window.after(moment_of(began.time)))
    return msgspec.structs.replace(
        found,
        verdict=SO_FAR,
        words=f"{found.words}; captured since {began.time[:10]}, in full on {until[:10]}",
        since=began.time,
        on_course_until=until,
    )


def entries_of(reader: TrailReader, verdicts: Sequence[Verdict]) -> list[Event]:
    """What the trail is told: the verdicts, and what falls short that didn't when it was last
    checked."""
    before = _last(reader)
    counts = {word: sum(each.verdict == word for each in verdicts) for word in WORDS}
    message = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    details: dict[str, Value] = {"message": message or "no invariants"}
    details |= {f"{_PREFIX}{each.name}": _told(each) for each in verdicts}
    said = [Event(action=CHECKED, kind="system", details=details)]
    for each in verdicts:
        was = str(before.get(_PREFIX + each.name, HOLDS))
        if each.fails and not was.startswith((SHORT, CANT_TELL)):
            words = f"{each.name} {each.verdict}: {each.words}"
            told: dict[str, Value] = {"message": words, "invariant": each.name}
            said.append(Event(action=FELL_SHORT, kind="system", details=told))
    return said


def _told(verdict: Verdict) -> str:
    """What falls short of a plan was no failure; once it is enforced it is a new one."""
    plan = "planned, " if verdict.standing == "planned" else ""
    return f"{plan}{verdict.verdict}: {verdict.words}"


def _last(reader: TrailReader) -> dict[str, Value]:
    terms = [action_term(CHECKED)]
    for seen in read_events(
        reader, terms, Window(), size=reader.size, kinds={"system"}, newest_first=True
    ):
        if seen.event.action == CHECKED:
            return seen.event.details or {}
    return {}
