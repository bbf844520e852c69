"""How far back answers reach without a hole: `enumerable`, `accessors`.

Whole is a window in which everything was captured, of which every entry can be read, and of which
sampled answers, asked of the index, have what the entries themselves say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from indelible.events.codec import parse_time
from indelible.events.model import Timestamp
from indelible.invariants.coverage import Hole, uncovered_s, within
from indelible.invariants.facts import Breaches, Facts, Judge, Watcher, moment_of, timestamp
from indelible.invariants.notes import Mark
from indelible.invariants.sampling import check_samples, deeds_of
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, Verdict
from indelible.policy.durations import Duration, length_text
from indelible.policy.invariants import Accessors, Enumerable
from indelible.questions.reading import EventView, search_window, view_subjects
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry
from indelible.store.terms import inexact_term
from indelible.tlog import Index

KIND_OF: Final = {"accesses": "access", "changes": "change"}
NO_READS: Final = "no read was ever captured: nothing shows that reads are"


class Reach(NamedTuple):
    """What has to be covered: since when it is, and where it wasn't. `unknown` says why that can't
    be told; `left_out` are tables that the policy leaves out of "any table"."""

    began: Mark | None
    holes: list[Hole]
    unknown: str | None = None
    left_out: tuple[str, ...] = ()


def reach_of(
    facts: Facts,
    deeds: Collection[str],
    kinds: Collection[str],
    all_of: str,
    brief: Duration | None,
    *,
    by_day: bool = False,
) -> Reach:
    """Of accesses or changes of tables of these kinds; of all, without any. `all_of` names them.

    Without holes in changes no longer than `brief` behind which nothing differed. `by_day`: where
    accesses are known by day that is enough.
    """
    coverage = facts.coverage
    marks = []
    holes: list[Hole] = [*coverage.unreadable, *dropped_of(facts, deeds, by_day=by_day)]
    if coverage.look is not None and coverage.look.problem is not None:
        return Reach(None, [], f"the database can't be looked at: {coverage.look.problem}")
    if "changes" in deeds:
        began = coverage.writes_began(kinds)
        if began is None:
            return Reach(None, [], f"no entry says since when changes of {all_of} are captured")
        marks.append(began)
        holes += coverage.longer_than(brief, coverage.holes_in_writes)
    if "accesses" in deeds:
        began = coverage.reads_began
        if began is None:
            return Reach(None, [], NO_READS)
        marks.append(began)
        holes += coverage.holes_in_reads
    left_out = list(coverage.left_out("accesses" in deeds))
    if kinds:
        holes += [hole for hole in left_out if hole.kind in kinds]
        holes = [hole for hole in holes if hole.kind is None or hole.kind in kinds]
        left_out = []
    elif "accesses" in deeds and not facts.policy.default.reads:
        why = "reads aren't captured where a table doesn't say so: reads = false"
        holes.append(Hole(Timestamp(""), None, None, why))
    return Reach(
        max(marks),
        sorted(holes, key=lambda hole: hole.since),
        left_out=tuple(dict.fromkeys(hole.why for hole in left_out)),
    )


def dropped_of(facts: Facts, deeds: Collection[str], *, by_day: bool = False) -> list[Hole]:
    """What retention took of these."""
    taken = facts.retained
    if taken is None:
        return []
    detail = None if by_day else taken.access_detail
    limits = {"accesses": max(detail or "", taken.accesses or ""), "changes": taken.changes or ""}
    limits["events"] = taken.events or ""
    return [
        Hole(
            Timestamp(""),
            Timestamp(limits[deed]),
            None,
            f"retention dropped {deed} before {limits[deed][:10]}",
            taken.acts[-1],
        )
        for deed in deeds
        if limits[deed]
    ]


def judge_reach(facts: Facts, reach: Reach, window: Duration, what: str) -> Verdict:
    """Whether all that happened up to `window` back is covered."""
    required = window.seconds
    if reach.unknown is not None or reach.began is None:
        return Verdict(
            verdict=CANT_TELL, words=reach.unknown or NO_READS, required=required, unit="seconds"
        )
    horizon = facts.since(window)
    since = max(horizon, reach.began.time)
    # What began later (a table, reads) takes back no hole from before.
    found = within(reach.holes, horizon, facts.now)
    holes = [hole for hole in found if not hole.is_unreachable]
    if found and not holes:
        return Verdict(
            verdict=CANT_TELL,
            words=f"{what} within {window}: {found[0].why}",
            figure=uncovered_s(found, facts.now),
            required=0.0,
            unit="seconds",
            evidence=tuple(hole.entry for hole in found[:10] if hole.entry is not None),
        )
    if holes:
        first = holes[0]
        figure = uncovered_s(holes, facts.now)
        until = "now" if first.until is None else _short(first.until)
        many = (
            f"{len(holes)} holes, {length_text(figure)} in all; the first"
            if holes[1:]
            else (f"a hole of {length_text(figure)}")
        )
        indexes = [hole.entry for hole in holes if hole.entry is not None]
        return Verdict(
            verdict=SHORT,
            words=f"{what} within {window}: {many}: {first.why} ({_short(first.since)} to {until})",
            figure=figure,
            required=0.0,
            unit="seconds",
            example=indexes[0] if indexes else None,
            evidence=tuple(indexes[:10]),
        )
    reached = parse_time(facts.now) - parse_time(since)
    young = reach.began.time > horizon
    return Verdict(
        verdict=SO_FAR if young else HOLDS,
        words=f"{what}: without a hole since {_short(since)}"
        + (
            f"; {window} from {_short(timestamp(window.after(moment_of(since))))} on"
            if young
            else ""
        )
        + "".join(f"; left out: {each}" for each in reach.left_out),
        figure=min(reached / 1_000_000, required) if young else required,
        required=required,
        unit="seconds",
        evidence=(reach.began.entry,),
        since=since,
        on_course_until=timestamp(window.after(moment_of(since))) if young else None,
    )


class EnumerableJudge(Judge[Enumerable]):
    """See `Enumerable`."""

    def __init__(self, invariant: Enumerable, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._kinds = {facts.coverage.kind_of(table) for table in invariant.tables}
        self._share: _Share | None = None
        if invariant.exact:
            self._share = _Share(facts.since(invariant.window), invariant, self._kinds)

    @property
    def watcher(self) -> Watcher | None:
        return self._share

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        what = " and ".join(invariant.of)
        tables = ", ".join(invariant.tables) or "any table"
        reach = reach_of(facts, invariant.of, self._kinds, tables, invariant.brief)
        found = judge_reach(facts, reach, invariant.window, f"{what} of {tables}")
        if found.verdict in (SHORT, CANT_TELL):
            return found
        samples = check_samples(facts, since=found.since or Timestamp(""))
        if samples.missing:
            return _unsound(samples.missing, "by an actor")
        if self._share is not None and self._share.share < invariant.exact:
            return self._share.verdict(invariant.exact)
        said = f"; {samples.asked} sampled answers have all of {samples.entries} entries"
        if invariant.canary:
            failed = self._canary(invariant.canary)
            if failed is not None:
                return failed
            said += "; the canary was found"
        return msgspec.structs.replace(found, words=found.words + said)

    def _canary(self, command: Sequence[str]) -> Verdict | None:
        actor, why = self._facts.site.try_canary(command)
        if actor is None:
            return Verdict(verdict=CANT_TELL, words=f"canary: {why}")
        seen = {
            deed
            for deed, view in deeds_of(self._facts.reader, actor)
            if not self._kinds or any(rows.kind in self._kinds for rows in view.targets)
        }
        lacking = [deed for deed in self._invariant.of if deed not in seen]
        if not lacking:
            return None
        tables = f" of {', '.join(self._invariant.tables)}" if self._kinds else ""
        return Verdict(
            verdict=SHORT,
            words=f"canary: {actor} did what the application does, and no "
            f"{' and no '.join(lacking)}{tables} of it came to the trail",
            figure=float(len(lacking)),
            required=0.0,
        )


class _Share:
    """Counts which accesses and changes (of tables of these kinds; of all, without any) were seen
    exactly."""

    def __init__(self, since: Timestamp, invariant: Enumerable, kinds: Collection[str]) -> None:
        self.since = since
        self._deeds = [KIND_OF[deed] for deed in invariant.of]
        self._kinds = kinds
        self._total = 0
        self._inexact = Breaches()

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        if view.kind not in self._deeds:
            return
        may_be_inexact = b'"coverage":' in entry.body
        if not self._kinds and not may_be_inexact:
            self._total += 1
            return
        rows = [
            each
            for each in view_subjects(entry.body).targets
            if not self._kinds or each.kind in self._kinds
        ]
        self._total += bool(rows) or not self._kinds
        if any(each.coverage != "exact" for each in rows):
            self._inexact.add(entry.index, view.action)

    @property
    def share(self) -> float:
        return 1 - self._inexact.count / self._total if self._total else 1.0

    def verdict(self, required: float) -> Verdict:
        return Verdict(
            verdict=SHORT,
            words=f"{self._inexact.count} of {self._total} weren't seen by row, {self.share:.2%} "
            f"were, {required:.2%} are promised",
            figure=self.share,
            required=required,
            unit="share",
            example=self._inexact.example,
            evidence=tuple(self._inexact.indexes),
        )


class AccessorsJudge(Judge[Accessors]):
    """See `Accessors`."""

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        of = invariant.of
        kinds = {
            table.kind
            for table in facts.policy.tables.values()
            if table.subject is not None and table.subject.kind == of
        }
        if not kinds:
            return Verdict(
                verdict=CANT_TELL,
                words=f"no table says that its rows are some {of}'s: subject = … in [tables.…]",
            )
        reach = reach_of(
            facts, ("accesses", "changes"), kinds, ", ".join(sorted(kinds)), invariant.brief
        )
        found = judge_reach(facts, reach, invariant.window, f"who accessed any {of}'s data")
        if invariant.daily is not None and found.verdict in (HOLDS, SO_FAR):
            reach = reach_of(
                facts,
                ("accesses", "changes"),
                kinds,
                ", ".join(sorted(kinds)),
                invariant.brief,
                by_day=True,
            )
            found = judge_reach(
                facts, reach, invariant.daily, f"who accessed any {of}'s data, by day"
            )
        if found.verdict in (SHORT, CANT_TELL):
            return found
        samples = check_samples(facts, since=found.since or Timestamp(""), subjects_of=of)
        if samples.missing:
            return _unsound(samples.missing, f"of a {of}")
        doubtful = self._doubtful(kinds, found.since)
        said = f"; {samples.asked} sampled answers have all of {samples.entries} entries"
        if doubtful:
            said += f"; {doubtful} events only possibly touched some {of}'s"
        return msgspec.structs.replace(found, words=found.words + said)

    def _doubtful(self, kinds: Collection[str], since: Timestamp | None) -> int:
        """How many events touched rows of these kinds that weren't seen exactly."""
        terms = [inexact_term(kind) for kind in sorted(kinds)]
        window = Window(since, None)
        return sum(
            any(
                rows.kind in kinds and rows.coverage != "exact"
                for rows in view_subjects(entry.body).targets
            )
            for entry in search_window(self._facts.reader, terms, window, size=self._facts.size)
        )


def _unsound(missing: Sequence[tuple[Index, str]], of: str) -> Verdict:
    index, name = missing[0]
    return Verdict(
        verdict=SHORT,
        words=f"the index leaves {len(missing)} sampled entries out of an answer {of}; the first: "
        f"entry {index}, {name}: `indelible verify`",
        figure=float(len(missing)),
        required=0.0,
        example=index,
        evidence=tuple(index for index, _ in missing[:10]),
    )


def _short(time: Timestamp) -> str:
    return f"{time[:10]} {time[11:16]}Z" if time else "ever"
