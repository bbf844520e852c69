"""Whether anything is missing, and who vouches for what is there: `complete`, `tamper_evident`."""

from __future__ import annotations

from typing import Final

from indelible.errors import VerificationError
from indelible.events.model import Timestamp
from indelible.integrity.numbering import NOT_VERIFIED, VERIFIED
from indelible.invariants.coverage import within
from indelible.invariants.differences import SORTS
from indelible.invariants.expecting import FINISHED
from indelible.invariants.facts import Facts, Judge, moment_of, timestamp
from indelible.invariants.notes import GAP, READS_LOST, SPOILT, Mark
from indelible.invariants.reconcile import DIFFERS
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, Verdict
from indelible.policy.durations import length_text
from indelible.policy.invariants import Complete, TamperEvident
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.terms import action_term
from indelible.tlog import Index

_NOTHING: Final = "no table was ever captured: nothing shows that anything is"


class CompleteJudge(Judge[Complete]):
    """See `Complete`. A difference that somebody acknowledged is explained."""

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        coverage = facts.coverage
        since = facts.since(invariant.window)
        unverified = _unverified(facts)
        if unverified is not None:
            return unverified
        lost, indexes, words = self._lost(since)
        holes, unseen, uncaptured = self._uncaptured(since)
        differing, told, differences = self._differing(since)
        count = lost + holes + differing
        if count > invariant.tolerated:
            places = (*indexes, *unseen, *told)
            return Verdict(
                verdict=SHORT,
                words=f"within {invariant.window} {lost} events are missing or can't be read, "
                f"changes weren't captured {holes} times, and {differing} rows changed unseen; "
                f"the first: {(words + uncaptured + differences)[0]}",
                figure=float(count),
                required=float(invariant.tolerated),
                example=min(places, default=None),
                evidence=places[:10],
            )
        stale = self._stale()
        if stale is not None:
            return stale
        away = [
            hole for hole in within(coverage.unreadable, since, coverage.now) if hole.is_unreachable
        ]
        if away:
            return Verdict(verdict=CANT_TELL, words=f"{away[0].why} ({len(away)} holes)")
        began = coverage.writes_began(())
        if began is None:
            return Verdict(verdict=CANT_TELL, words=_NOTHING)
        first = max(began.time, facts.reader.entry(0).received)
        young = first > since
        begun = moment_of(max(first, since))
        return Verdict(
            verdict=SO_FAR if young else HOLDS,
            words=f"nothing is missing since {str(begun)[:16]}Z, nor did the database differ when "
            "it was last compared",
            figure=float(count),
            required=float(invariant.tolerated),
            evidence=tuple(note.entry for note in coverage.notes.of(FINISHED))[-1:],
            since=timestamp(begun),
            on_course_until=timestamp(invariant.window.after(begun)) if young else None,
        )

    def _lost(self, since: Timestamp) -> tuple[int, list[Index], list[str]]:
        """How many events, the entries that say so, and the words of each."""
        coverage, notes = self._facts.coverage, self._facts.coverage.notes
        count, indexes, words = 0, [], []
        for note in notes.of(GAP, *SPOILT, *READS_LOST):
            if note.time < since:
                continue
            details = note.event.details or {}
            first, last = details.get("first"), details.get("last")
            many = last - first + 1 if isinstance(first, int) and isinstance(last, int) else 1
            dropped = details.get("count")
            count += dropped if isinstance(dropped, int) else many
            indexes.append(note.entry)
            words.append(note.detail("message") or note.action)
        for source, first_seq, last_seq in notes.missing():
            count += last_seq - first_seq + 1
            words.append(f"{source.producer_id}: {first_seq} to {last_seq} haven't come")
        for hole in within(coverage.unreadable, since, coverage.now):
            if not hole.is_unreachable:
                count += 1
                words.append(hole.why)
        return count, indexes, words

    def _uncaptured(self, since: Timestamp) -> tuple[int, list[Index], list[str]]:
        """How often changes weren't captured, of however many tables at once, and as above."""
        coverage = self._facts.coverage
        holes = coverage.longer_than(self._invariant.brief, coverage.uncaptured)
        found = {hole.entry or hole.why: hole for hole in within(holes, since, coverage.now)}
        indexes = [hole.entry for hole in found.values() if hole.entry is not None]
        return len(found), indexes, [hole.why for hole in found.values()]

    def _differing(self, since: Timestamp) -> tuple[int, list[Index], list[str]]:
        explained = {
            notice.index
            for notice in self._facts.reader.notices()
            if notice.acknowledged is not None
        }
        count, indexes, words = 0, [], []
        for note in self._facts.coverage.notes.of(DIFFERS):
            if note.time >= since and note.entry not in explained:
                found = [(note.event.details or {}).get(sort) for sort in SORTS]
                count += sum(each for each in found if isinstance(each, int))
                indexes.append(note.entry)
                words.append(note.detail("message"))
        return count, indexes, words

    def _stale(self) -> Verdict | None:
        """Where the last reconciliation is too old, left a table out, or can't show anything."""
        facts, invariant = self._facts, self._invariant
        look, notes = facts.coverage.look, facts.coverage.notes
        if look is not None and look.problem is not None:
            return Verdict(
                verdict=CANT_TELL, words=f"the database can't be looked at: {look.problem}"
            )
        kinds = set(look.kinds) if look is not None and look.kinds else set(notes.installed)
        if not kinds:
            return Verdict(verdict=CANT_TELL, words=_NOTHING)
        compared: dict[str, Timestamp] = {}
        for note in notes.of(FINISHED):
            for rows in note.event.targets:
                compared[rows.kind] = note.time
        if never := sorted(kinds - compared.keys()):
            return Verdict(
                verdict=CANT_TELL,
                words=f"never compared with the database: {', '.join(never[:5])}"
                f"{' and others' if never[5:] else ''}: `indelible reconcile`",
            )
        oldest = min((compared[kind], kind) for kind in kinds)
        age = (facts.moment - moment_of(oldest[0])).total_seconds()
        if age <= invariant.reconciled.seconds:
            return None
        return Verdict(
            verdict=SHORT,
            words=f"{oldest[1]} was last compared with the database {length_text(age)} ago, "
            f"{invariant.reconciled} at most are promised: `indelible reconcile`",
            figure=age,
            required=invariant.reconciled.seconds,
            unit="seconds",
        )


class TamperEvidentJudge(Judge[TamperEvident]):
    """See `TamperEvident`."""

    def verdict(self) -> Verdict:
        invariant, facts = self._invariant, self._facts
        wanted = invariant.witnesses
        try:
            cosigned = facts.site.cosigned()
        except VerificationError as error:
            return Verdict(verdict=SHORT, words=f"the evidence does not verify: {error}")
        if cosigned is None:
            return Verdict(
                verdict=SHORT,
                words=f"nobody is asked to witness the trail ([witness]), {wanted} are promised",
                figure=0.0,
                required=float(wanted),
            )
        unverified = _unverified(facts)
        if unverified is not None:
            return unverified
        now = facts.moment.timestamp()
        ages = sorted((abs(now - time), name) for name, (_, time) in cosigned.items())
        if len(ages) < wanted:
            return Verdict(
                verdict=SHORT,
                words=f"{len(ages)} witnesses have cosigned the trail, {wanted} are promised",
                figure=float(len(ages)),
                required=float(wanted),
            )
        fresh = [(cosigned[name][0], age) for age, name in ages if age <= invariant.age.seconds]
        if len(fresh) < wanted:
            age, name = ages[wanted - 1]
            return self._short(
                age,
                f"{len(fresh)} of {wanted} witnesses vouch for the trail by cosignatures no older "
                f"than {invariant.age}; {name}'s is {length_text(age)} old",
            )
        # Of a tree that is vouched for by an old cosignature alone nobody says that it still is so.
        largest = sorted(fresh, reverse=True)[:wanted]
        size, age = largest[-1][0], max(age for _, age in largest)
        if size < facts.size:
            # A cosignature of now may be over a tree of long ago.
            left = (facts.moment - moment_of(facts.reader.entry(size).received)).total_seconds()
            if left > invariant.age.seconds:
                return self._short(
                    left,
                    f"{wanted} witnesses vouch for the first {size} of {facts.size} entries only, "
                    f"though the next came {length_text(left)} ago",
                    Index(size),
                )
        when = _last_verified(facts)
        words = (
            f"{len(fresh)} witnesses vouch for {min(size, facts.size)} of {facts.size} entries, "
            f"by cosignatures no older than {length_text(age)}"
        )
        if when is None:
            return Verdict(
                verdict=CANT_TELL,
                words=f"{words}; whether the entries are what they vouch for nobody has looked: "
                "`indelible verify`",
            )
        passed = (facts.moment - moment_of(when.time)).total_seconds()
        words += f"; all of them were verified {length_text(passed)} ago"
        if passed > invariant.verified.seconds:
            return Verdict(
                verdict=SHORT,
                words=f"{words}, {invariant.verified} at most are promised: `indelible verify`",
                figure=passed,
                required=invariant.verified.seconds,
                unit="seconds",
                evidence=(when.entry,),
            )
        return Verdict(
            verdict=HOLDS,
            words=words,
            figure=age,
            required=invariant.age.seconds,
            unit="seconds",
            evidence=(when.entry,),
        )

    def _short(self, figure: float, words: str, example: Index | None = None) -> Verdict:
        return Verdict(
            verdict=SHORT,
            words=words,
            figure=figure,
            required=self._invariant.age.seconds,
            unit="seconds",
            example=example,
            evidence=() if example is None else (example,),
        )


def _unverified(facts: Facts) -> Verdict | None:
    """What a verification found, as long as nobody has acknowledged it."""
    found = [
        notice
        for notice in facts.reader.notices(unacknowledged_only=True)
        if notice.action == NOT_VERIFIED and notice.index < facts.size
    ]
    if not found:
        return None
    return Verdict(
        verdict=SHORT,
        words=f"the trail was verified, and isn't what it should be: {found[0].message}",
        figure=float(len(found)),
        required=0.0,
        example=found[0].index,
        evidence=tuple(notice.index for notice in found[:10]),
    )


def _last_verified(facts: Facts) -> Mark | None:
    """When all entries were last hashed and found to be what was committed to."""
    found = read_events(
        facts.reader,
        [action_term(VERIFIED)],
        Window(),
        size=facts.size,
        kinds={"system"},
        newest_first=True,
    )
    for seen in found:
        # One that read what was new alone says nothing of what was before.
        if seen.event.action == VERIFIED and (seen.event.details or {}).get("since") == 0:
            return Mark(seen.event.time, seen.indexes[0])
    return None
