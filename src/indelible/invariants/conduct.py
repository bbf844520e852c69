"""What actors may not do: `authorised`, `forbids`, `separates`, `limits`."""

from __future__ import annotations

import sqlite3

from indelible.events.model import Actor
from indelible.events.values import format_id
from indelible.invariants.facts import Breaches, Facts, Judge, WatchingJudge
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


class AuthorisedJudge(Judge[Authorised]):
    """See `Authorised`."""

    def verdict(self) -> Verdict:
        invariant, facts = self._invariant, self._facts
        kind, _, name = invariant.by.partition(":")
        by = Actor(kind, name) if name else None
        window = Window(facts.since(invariant.window), None)
        breaches = Breaches()
        possible = 0
        for finding in unauthorised(facts.reader, window=window, by=by):
            if finding.index >= facts.size or not _is_by(finding.event.actor, invariant.by):
                continue
            if finding.certain:
                who = finding.event.actor or NOBODY
                breaches.add(
                    finding.index,
                    f"{who}, {finding.event.action} {finding.target_text}: {finding.lack_text}",
                )
            else:
                possible += 1
        found = _judged(
            breaches, invariant.tolerated, "accesses or changes without an allow", invariant.window
        )
        if not breaches.count and possible:
            return Verdict(
                verdict=CANT_TELL,
                words=f"of {possible} accesses or changes it isn't known for certain whether they "
                "were allowed",
                figure=float(possible),
                required=0.0,
            )
        return found


class ForbidsJudge(WatchingJudge[Forbids]):
    """See `Forbids`."""

    def __init__(self, invariant: Forbids, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._breaches = Breaches()

    def look(self, entry: StoredEntry, view: EventView) -> None:
        invariant = self._invariant
        if _is_action(view.action, invariant.action) and _did(view, invariant.by):
            self._breaches.add(entry.index, f"{view.action} by {view.actor or NOBODY}")

    def verdict(self) -> Verdict:
        what = f"{self._invariant.action} by {self._invariant.by}"
        return _judged(self._breaches, self._invariant.tolerated, what, self._invariant.window)


class SeparatesJudge(WatchingJudge[Separates]):
    """See `Separates`. What was done to which target stands in a temporary file."""

    def __init__(self, invariant: Separates, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._breaches = Breaches()
        self._done = sqlite3.connect("", isolation_level=None)
        self._done.execute("BEGIN")
        self._done.execute(
            "CREATE TABLE done (target TEXT, actor TEXT, action TEXT, "
            "PRIMARY KEY (target, actor, action)) WITHOUT ROWID"
        )

    def look(self, entry: StoredEntry, view: EventView) -> None:
        actions = [each for each in self._invariant.actions if _is_action(view.action, each)]
        if not actions or view.actor is None or not is_done(view.outcome):
            return
        actor = str(view.actor)
        for rows in view_records(entry.body).targets:
            for row_id in rows.ids:
                target = f"{rows.kind}:{format_id(row_id)}"
                for action in actions:
                    self._add(entry.index, target, actor, action)

    def _add(self, index: Index, target: str, actor: str, action: str) -> None:
        added = self._done.execute(
            "INSERT OR IGNORE INTO done VALUES (?, ?, ?)", (target, actor, action)
        )
        if not added.rowcount:
            return
        others = self._done.execute(
            "SELECT action FROM done WHERE target = ? AND actor = ? AND action <> ?",
            (target, actor, action),
        ).fetchall()
        if others:
            self._breaches.add(index, f"{actor} did {action} and {others[0][0]} to {target}")

    def verdict(self) -> Verdict:
        self._done.close()
        what = f"more than one of {', '.join(self._invariant.actions)} by one actor to one target"
        return _judged(self._breaches, self._invariant.tolerated, what, self._invariant.window)


class LimitsJudge(WatchingJudge[Limits]):
    """See `Limits`. Counts of the hour stand in a temporary file."""

    def __init__(self, invariant: Limits, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._breaches = Breaches()
        self._most = 0
        self._counts = sqlite3.connect("", isolation_level=None)
        self._counts.execute("BEGIN")
        self._counts.execute(
            "CREATE TABLE done (hour TEXT, actor TEXT, count INTEGER, PRIMARY KEY (hour, actor)) "
            "WITHOUT ROWID"
        )

    def look(self, entry: StoredEntry, view: EventView) -> None:
        invariant = self._invariant
        if not _is_action(view.action, invariant.action) or not _did(view, invariant.by):
            return
        hour, actor = view.time[:13], str(view.actor or NOBODY)
        ((count,),) = self._counts.execute(
            "INSERT INTO done VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1 "
            "RETURNING count",
            (hour, actor),
        ).fetchall()
        self._most = max(self._most, count)
        if count == invariant.at_most + 1:
            self._breaches.add(entry.index, f"{actor} from {hour.replace('T', ' ')}:00Z on")

    def verdict(self) -> Verdict:
        self._counts.close()
        invariant, breaches = self._invariant, self._breaches
        words = (
            f"{invariant.action} at most {self._most} times by one actor in an hour within "
            f"{invariant.window}, {invariant.at_most} are let"
        )
        if breaches.count:
            words += f"; {breaches.count} hours with more; the first: {breaches.first}"
        return Verdict(
            verdict=SHORT if breaches.count else HOLDS,
            words=words,
            figure=float(self._most),
            required=float(invariant.at_most),
            example=breaches.example,
            evidence=tuple(breaches.indexes),
        )


def _judged(breaches: Breaches, tolerated: int, what: str, window: Duration) -> Verdict:
    words = f"{breaches.count} times {what} within {window}"
    return Verdict(
        verdict=SHORT if breaches.count > tolerated else HOLDS,
        words=words + (f"; the first: {breaches.first}" if breaches.count else ""),
        figure=float(breaches.count),
        required=float(tolerated),
        example=breaches.example,
        evidence=tuple(breaches.indexes),
    )


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
