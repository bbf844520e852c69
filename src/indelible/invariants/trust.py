"""Whether anything is missing, and who vouches for what is there: `complete`, `tamper_evident`."""

from __future__ import annotations

from indelible.errors import VerificationError
from indelible.events.model import Timestamp
from indelible.invariants.coverage import within
from indelible.invariants.differences import SORTS
from indelible.invariants.expecting import FINISHED
from indelible.invariants.facts import Judge, moment_of, timestamp
from indelible.invariants.notes import GAP, READS_LOST, SPOILT
from indelible.invariants.reconcile import DIFFERS
from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, Verdict
from indelible.policy.durations import length_text
from indelible.policy.invariants import Complete, TamperEvident
from indelible.questions.reading import glance
from indelible.tlog import Index


class CompleteJudge(Judge[Complete]):
    """See `Complete`. A difference that somebody acknowledged is explained."""

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        since = facts.since(invariant.window)
        lost, indexes, words = self._lost(since)
        differing, told, differences = self._differing(since)
        count = lost + differing
        if count > invariant.tolerated:
            return Verdict(
                verdict=SHORT,
                words=f"within {invariant.window} {lost} events are missing or can't be read, and "
                f"{differing} rows changed unseen; the first: {(words + differences)[0]}",
                figure=float(count),
                required=float(invariant.tolerated),
                example=min(indexes + told, default=None),
                evidence=tuple((indexes + told)[:10]),
            )
        stale = self._stale()
        if stale is not None:
            return stale
        first = glance(facts.reader.entry(0).body)[1] if facts.size else facts.now
        young = first > since
        begun = moment_of(max(first, since))
        return Verdict(
            verdict=SO_FAR if young else HOLDS,
            words=f"nothing is missing since {str(begun)[:16]}Z, nor did the database differ when "
            "it was last compared",
            figure=float(count),
            required=float(invariant.tolerated),
            evidence=tuple(note.entry for note in facts.coverage.notes.of(FINISHED))[-1:],
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
            count += 1
            words.append(hole.why)
        return count, indexes, words

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
        """Where the last reconciliation is too old, or left a table out."""
        facts, invariant = self._facts, self._invariant
        look, notes = facts.coverage.look, facts.coverage.notes
        kinds = set(look.kinds) if look is not None and look.kinds else set(notes.installed)
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
        if not kinds:
            return None
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
        now = facts.moment.timestamp()
        ages = sorted((abs(now - time), name) for name, (_, time) in cosigned.items())
        if len(ages) < wanted:
            return Verdict(
                verdict=SHORT,
                words=f"{len(ages)} witnesses have cosigned the trail, {wanted} are promised",
                figure=float(len(ages)),
                required=float(wanted),
            )
        age, name = ages[wanted - 1]
        fresh = sum(each <= invariant.age.seconds for each, _ in ages)
        size = sorted((size for size, _ in cosigned.values()), reverse=True)[wanted - 1]
        if fresh < wanted:
            return self._short(
                age,
                f"{fresh} of {wanted} witnesses vouch for the trail by cosignatures no older than "
                f"{invariant.age}; {name}'s is {length_text(age)} old",
            )
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
        return Verdict(
            verdict=HOLDS,
            words=f"{fresh} witnesses vouch for {min(size, facts.size)} of {facts.size} entries, "
            f"by cosignatures no older than {length_text(age)}",
            figure=age,
            required=invariant.age.seconds,
            unit="seconds",
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
