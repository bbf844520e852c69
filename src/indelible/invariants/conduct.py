"""What actors may not do: `authorised`, `forbids`, `separates`, `limits`."""

from __future__ import annotations

import sqlite3

from indelible.events.model import Actor
from indelible.events.values import format_id
from indelible.invariants.facts import Breaches, Facts, WatchingJudge, WindowedJudge
from indelible.invariants.reach import NO_READS
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, Verdict
from indelible.policy.durations import Duration
from indelible.policy.invariants import Authorised, Forbids, Limits, Separates
from indelible.questions.judging import is_done
from indelible.questions.reading import EventView, view_records
from indelible.questions.unauthorised import unauthorised
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry
from indelible.tlog import Index

NOBODY = "unattributed"


class AuthorisedJudge(WindowedJudge[Authorised]):
    """See `Authorised`."""

    deeds = ("accesses", "changes")

    def verdict(self) -> Verdict:
        invariant, facts = self._invariant, self._facts
        kind, _, name = invariant.by.partition(":")
        by = Actor(kind, name) if name else None
        window = Window(self.since, None)
        breaches = Breaches()
        for finding in unauthorised(facts.reader, window=window, by=by):
            if finding.index >= facts.size or not _is_by(finding.event.actor, invariant.by):
                continue
            who = finding.event.actor or NOBODY
            breaches.add(
                finding.index,
                f"{who}, {finding.event.action} {finding.target_text}: {finding.lack_text}",
                certain=finding.certain,
            )
        found = _judged(
            breaches, invariant.tolerated, "accesses or changes without an allow", invariant.window
        )
        if found.verdict == HOLDS and facts.coverage.reads_began is None:
            return Verdict(verdict=CANT_TELL, words=f"{NO_READS}; {found.words}")
        return found


class ForbidsJudge(WatchingJudge[Forbids]):
    """See `Forbids`."""

    def __init__(self, invariant: Forbids, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self.deeds = _deeds_of(invariant.action)
        self._breaches = Breaches()

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        invariant = self._invariant
        if _is_action(view.action, invariant.action) and _did(view, invariant.by):
            words = f"{view.action} by {view.actor or NOBODY}"
            self._breaches.add(entry.index, words, certain=certain)

    def verdict(self) -> Verdict:
        what = f"{self._invariant.action} by {self._invariant.by}"
        return _judged(self._breaches, self._invariant.tolerated, what, self._invariant.window)


class SeparatesJudge(WatchingJudge[Separates]):
    """See `Separates`. What was done to which target stands in a temporary file."""

    def __init__(self, invariant: Separates, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self.deeds = _deeds_of(*invariant.actions)
        self._breaches = Breaches()
        self._done = sqlite3.connect("", isolation_level=None)
        self._done.execute("BEGIN")
        self._done.execute(
            "CREATE TABLE done (target TEXT, actor TEXT, action TEXT, certain INTEGER, "
            "PRIMARY KEY (target, actor, action, certain)) WITHOUT ROWID"
        )

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        actions = [each for each in self._invariant.actions if _is_action(view.action, each)]
        if not actions or view.actor is None or not is_done(view.outcome):
            return
        actor = str(view.actor)
        for rows in view_records(entry.body).targets:
            for row_id in rows.ids:
                target = f"{rows.kind}:{format_id(row_id)}"
                for action in actions:
                    self._add(entry.index, target, actor, action, certain)

    def _add(self, index: Index, target: str, actor: str, action: str, certain: bool) -> None:
        added = self._done.execute(
            "INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)", (target, actor, action, certain)
        )
        if not added.rowcount:
            return
        other = self._done.execute(
            "SELECT action, certain FROM done WHERE target = ? AND actor = ? AND action <> ? "
            "ORDER BY certain DESC",
            (target, actor, action),
        ).fetchone()
        if other is not None:
            words = f"{actor} did {action} and {other[0]} to {target}"
            self._breaches.add(index, words, certain=certain and bool(other[1]))

    def verdict(self) -> Verdict:
        self._done.close()
        what = f"more than one of {', '.join(self._invariant.actions)} by one actor to one target"
        return _judged(self._breaches, self._invariant.tolerated, what, self._invariant.window)


class LimitsJudge(WatchingJudge[Limits]):
    """See `Limits`. Counts of the hour stand in a temporary file."""

    def __init__(self, invariant: Limits, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self.deeds = _deeds_of(invariant.action)
        self._breaches = Breaches()
        self._most = 0
        self._counts = sqlite3.connect("", isolation_level=None)
        self._counts.execute("BEGIN")
        self._counts.execute(
            "CREATE TABLE done (hour TEXT, actor TEXT, certain INTEGER, possible INTEGER, "
            "PRIMARY KEY (hour, actor)) WITHOUT ROWID"
        )

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        invariant = self._invariant
        if not _is_action(view.action, invariant.action) or not _did(view, invariant.by):
            return
        if view.part is not None and view.part.n > 1:
            return  # more rows of what was counted
        actor = str(view.actor or NOBODY)
        if not entry.doubtful:
            self._count(entry.index, view.time[:13], actor, True)
            return
        for hour in {view.time[:13], entry.received[:13]}:
            self._count(entry.index, hour, actor, False)

    def _count(self, index: Index, hour: str, actor: str, certain: bool) -> None:
        """Once more in that hour; of what is doubtful, it may have been in that hour."""
        ((sure, possible),) = self._counts.execute(
            "INSERT INTO done VALUES (?1, ?2, ?3, 1 - ?3) ON CONFLICT DO UPDATE SET "
            "certain = certain + ?3, possible = possible + 1 - ?3 RETURNING certain, possible",
            (hour, actor, int(certain)),
        ).fetchall()
        self._most = max(self._most, sure)
        over = self._invariant.at_most + 1
        words = f"{actor} from {hour.replace('T', ' ')}:00Z on"
        if certain and sure == over:
            self._breaches.add(index, words)
        elif sure < over and sure + possible == over:
            self._breaches.add(index, words, certain=False)

    def verdict(self) -> Verdict:
        self._counts.close()
        invariant, breaches = self._invariant, self._breaches
        words = (
            f"{invariant.action} at most {self._most} times by one actor in an hour within "
            f"{invariant.window}, {invariant.at_most} are let"
        )
        if breaches.count:
            words += f"; {breaches.count} hours with more; the first: {breaches.first}"
        elif breaches.possible:
            words += f"; perhaps more, for some times are doubtful: {breaches.first_possible}"
        return Verdict(
            verdict=SHORT if breaches.count else CANT_TELL if breaches.possible else HOLDS,
            words=words,
            figure=float(self._most),
            required=float(invariant.at_most),
            example=breaches.example,
            evidence=tuple(breaches.indexes),
        )


def _judged(breaches: Breaches, tolerated: int, what: str, window: Duration) -> Verdict:
    words = f"{breaches.count} times {what} within {window}"
    if breaches.count:
        words += f"; the first: {breaches.first}"
    is_short = breaches.count > tolerated
    is_unknown = not is_short and breaches.count + breaches.possible > tolerated
    if is_unknown:
        words += f"; {breaches.possible} times perhaps; the first: {breaches.first_possible}"
    return Verdict(
        verdict=SHORT if is_short else CANT_TELL if is_unknown else HOLDS,
        words=words,
        figure=float(breaches.count),
        required=float(tolerated),
        example=breaches.example,
        evidence=tuple(breaches.indexes),
    )


def _deeds_of(*actions: str) -> tuple[str, ...]:
    """What has to be captured for these to be seen: reads only where they can be one."""
    may_read = any(action.rpartition(".")[2] in ("read", "*") for action in actions)
    return ("events", "accesses") if may_read else ("events",)


def _did(view: EventView, by: str) -> bool:
    return _is_by(view.actor, by) and is_done(view.outcome)


def _is_by(actor: Actor | None, by: str) -> bool:
    if by == "all":
        return True
    if actor is None:
        return by == NOBODY
    return by in (actor.kind, str(actor))


def _is_action(action: str, wanted: str) -> bool:
    return action == wanted or (wanted.endswith(".*") and action.startswith(wanted[:-1]))
