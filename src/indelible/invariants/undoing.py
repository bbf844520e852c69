"""Whether what was changed can be reversed: `reversible`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from indelible.events.codec import decode_event, encode_draft
from indelible.events.model import Actor, Timestamp
from indelible.invariants.facts import Breaches, Facts, Judge, Watcher
from indelible.invariants.reach import judge_reach, reach_of
from indelible.invariants.sampling import deeds_of, sample_changers
from indelible.invariants.verdicts import CANT_TELL, SHORT, Verdict
from indelible.policy.invariants import Reversible
from indelible.questions.events import CHANGES
from indelible.questions.reading import EventView, whole_event
from indelible.questions.window import Window
from indelible.store.protocol import StoredEntry

_WITHHELD: Final = {
    b'{"t":"masked"}': "a column of the row was never captured (mask)",
    b'{"t":"changed"}': "the policy keeps no values of a column (without_values)",
}
"""What stands in an event for a value that it doesn't have, which reversing it would need."""
_REHEARSED: Final = 1_000
"""So many of an actor's latest changes are reversed at most."""


class ReversibleJudge(Judge[Reversible]):
    """See `Reversible`."""

    def __init__(self, invariant: Reversible, facts: Facts) -> None:
        super().__init__(invariant, facts)
        self._kinds = {facts.coverage.kind_of(table) for table in invariant.tables}
        look = facts.coverage.look
        masked = dict(look.masked) if look is not None else {}
        self._masked = {k: v for k, v in masked.items() if not self._kinds or k in self._kinds}
        self._lost = _Lost(facts, invariant, self._kinds)

    @property
    def watcher(self) -> Watcher | None:
        return self._lost

    def verdict(self) -> Verdict:
        facts, invariant = self._facts, self._invariant
        tables = ", ".join(invariant.tables) or "any table"
        reach = reach_of(facts, ("changes",), self._kinds, tables, invariant.brief)
        found = judge_reach(facts, reach, invariant.window, f"changes of {tables}")
        if found.verdict in (SHORT, CANT_TELL):
            return found
        breaches = self._lost.breaches
        if breaches.count:
            return Verdict(
                verdict=SHORT,
                words=f"{breaches.count} changes of {invariant.window} can't be reversed whole; "
                f"the first: {breaches.first}",
                figure=float(breaches.count),
                required=0.0,
                example=breaches.example,
                evidence=tuple(breaches.indexes),
            )
        actors = sample_changers(
            facts, since=found.since or Timestamp(""), by=invariant.by, count=invariant.sample
        )
        rows = rehearsed = erased = 0
        for actor in actors:
            window = self._latest(actor, found.since)
            if window is None:
                continue
            rehearsed += 1
            done = facts.site.rehearse(
                actor, window, rolled_back=invariant.rehearse == "rolled-back"
            )
            if isinstance(done, str):
                return Verdict(verdict=CANT_TELL, words=f"no reversal was rehearsed: {done}")
            if done.stuck:
                return Verdict(
                    verdict=SHORT,
                    words=f"rehearsed for {actor}: {len(done.stuck)} rows can't be restored; "
                    f"the first: {done.stuck[0]}",
                    figure=float(len(done.stuck)),
                    required=0.0,
                )
            rows += done.restored
            erased += done.erased
        if not rehearsed:
            who = "nobody known" if invariant.by == "all" else invariant.by
            return Verdict(
                verdict=CANT_TELL,
                words=f"no reversal was rehearsed: {who} changed nothing; {found.words}",
            )
        said = f"; rehearsed for {rehearsed} actors: {rows} rows restored"
        if erased:
            said += f", {erased} with values that were lawfully erased"
        said += "".join(
            f"; never captured, so never reversed: {kind} {', '.join(columns)}"
            for kind, columns in sorted(self._masked.items())
        )
        return msgspec.structs.replace(found, words=found.words + said)

    def _latest(self, actor: Actor, since: Timestamp | None) -> Window | None:
        """The window of the actor's last changes, not more than are rehearsed; None without any."""
        times = []
        for _, view in deeds_of(self._facts.reader, actor, CHANGES, since=since):
            if since is None or view.time >= since:
                times.append(view.time)
                if len(times) >= _REHEARSED:
                    break
        return Window(min(times), None) if times else None


class _Lost:
    """Looks for changes of which the trail doesn't have what was there before."""

    def __init__(self, facts: Facts, invariant: Reversible, kinds: Collection[str]) -> None:
        self.since = facts.since(invariant.window)
        self._reader = facts.reader
        self.breaches = Breaches()
        self._by = invariant.by
        self._kinds = kinds

    def look(self, entry: StoredEntry, view: EventView, *, certain: bool) -> None:
        if view.kind != "change" or self._by not in ("all", str(view.actor)):
            return
        kind, _, verb = view.action.rpartition(".")
        if self._kinds and kind not in self._kinds:
            return
        if verb == "insert":
            return
        why = self._why_cut(entry) if view.fragment is not None else _why(entry.body)
        if why is not None:
            self.breaches.add(entry.index, f"{view.action}: {why}")

    def _why_cut(self, entry: StoredEntry) -> str | None:
        """Of an event that was cut: its values stand in pieces, in entries of their own."""
        seen = whole_event(self._reader, entry, decode_event(entry.body))
        if seen.event.changes is None:
            return "a part of the event is missing"
        return _why(encode_draft(seen.event))


def _why(body: bytes) -> str | None:
    """Why what stands there can't be written back; None where it can."""
    # Within a JSON string the quotes would be escaped.
    return next((why for mark, why in _WITHHELD.items() if mark in body), None)
