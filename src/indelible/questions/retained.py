"""What of a window retention may have taken: up to when, and who worked it out again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from indelible.errors import VerificationError
from indelible.events.model import Timestamp
from indelible.integrity.authorisations import signers_of, unpack_note
from indelible.integrity.retention import APPLIED, AUTHORISED, parse_retention
from indelible.questions.reading import read_events
from indelible.questions.window import Window
from indelible.store.protocol import TrailReader
from indelible.store.terms import action_term
from indelible.tlog import Index, VerifierKey, parse_note


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What came before each of these instants is gone; of accesses, first, all but the day.

    By the acts that the entries at `acts` authorised. Of those at `self_attested` no verifier says
    that what is left was told truly: the trail alone does. Those at `pending` aren't done yet.
    """

    access_detail: Timestamp | None = None
    accesses: Timestamp | None = None
    changes: Timestamp | None = None
    events: Timestamp | None = None
    acts: tuple[Index, ...]
    self_attested: tuple[Index, ...] = ()
    pending: tuple[Index, ...] = ()

    def __str__(self) -> str:
        gone = [
            (self.access_detail, "accesses are known by day only"),
            (self.accesses, "accesses are gone"),
            (self.changes, "changes are gone"),
            (self.events, "events are gone"),
        ]
        said = ", ".join(f"{what} before {at[:10]}" for at, what in gone if at is not None)
        how = "attested by a verifier"
        if self.self_attested:
            which = ", ".join(map(str, self.self_attested))
            how = f"self-attested (entry {which})"
        left = f"; not done yet: entry {', '.join(map(str, self.pending))}" if self.pending else ""
        return f"{said}; {how}{left}"


def retained(
    reader: TrailReader, window: Window, *, size: int, verifiers: Sequence[VerifierKey]
) -> Retained | None:
    """What retention may have taken from the window; None where it took nothing.

    Whether enough authorisers signed is `verify`'s to say.
    """
    limits: dict[str, Timestamp] = {}
    acts: list[Index] = []
    alone: list[Index] = []
    begun: dict[object, Index] = {}
    terms = [action_term(AUTHORISED), action_term(APPLIED)]
    for seen in read_events(reader, terms, Window(), size=size, kinds={"system"}):
        nonce = (seen.event.details or {}).get("nonce")
        if seen.event.action == APPLIED:
            begun.pop(nonce, None)
        if seen.event.action != AUTHORISED:
            continue
        try:
            note = parse_note(unpack_note((seen.event.details or {}).get("note")))
            rules = parse_retention(note.text).rules
            attested = bool(signers_of(note, verifiers)) if verifiers else False
        except VerificationError:
            continue
        found = {
            name: limit
            for name, limit in msgspec.structs.asdict(rules).items()
            if limit is not None and (window.since is None or window.since < limit)
        }
        if not found:
            continue
        acts.append(seen.indexes[0])
        begun[nonce] = seen.indexes[0]
        if not attested:
            alone.append(seen.indexes[0])
        for name, limit in found.items():
            limits[name] = max(limits.get(name, limit), limit)
    if not acts:
        return None
    return Retained(
        **limits,
        acts=tuple(acts),
        self_attested=tuple(alone),
        pending=tuple(begun.values()),
    )
