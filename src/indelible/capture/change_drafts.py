"""What every outbox row becomes, whatever database wrote it: pieces of draft events. Pure.

A draft is what `events.codec.encode_draft` writes; here it is put together from pieces, which is
several times as fast.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from indelible.capture.context_text import ContextPayload
from indelible.capture.outbox_layout import BASE_COLUMNS, Layout
from indelible.capture.sealing import Owner, Sealed, Sealing, masked
from indelible.events.codec import encode_draft, format_time
from indelible.events.model import ContextValue, Event, Timestamp
from indelible.events.values import ABSENT, CHANGED, MASKED, Id, Native, Value, to_value

OutboxRow = tuple[Native, ...]
"""`id, time, ctx, layout, op, s0, s1`, then what its database keeps of the row."""

LAST_TIME: Final = 253_402_300_799_999_999
_encode: Final = msgspec.json.Encoder().encode


class DecodedEvent(NamedTuple):
    """An event at its place: `draft` is to be sealed with `time` and the outbox id `seq`.

    `is_private`: the row's cells may hold what is, or would have to be, sealed.
    """

    seq: int
    time: Timestamp
    draft: bytes
    is_private: bool = False


class OutboxNotice(msgspec.Struct, frozen=True):
    """Something in the outbox that a person has to see."""

    action: str
    message: str
    details: dict[str, str]


class DecodedRows(NamedTuple):
    """What rows meant: an event each, in their order. `unattributed` counts those of nobody."""

    events: list[DecodedEvent]
    notices: list[OutboxNotice]
    unattributed: int


class ContextPieces:
    """The parts of a draft that come from its context: before the targets, and at the end.

    Where from an actor of a `hidden` kind acts isn't said of one that isn't certain: for whom it
    would have to be sealed isn't known.
    """

    def __init__(
        self,
        payload: ContextPayload | None,
        note: str | None = None,
        *,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self._hidden = hidden
        self.nonce = payload.nonce if payload is not None else None
        self.is_invalid = note == "invalid"
        self.is_unattributed = payload is None or payload.actor is None or note is not None
        self._payload = payload
        self.actor = b""
        tail: dict[str, object] = {}
        if payload is not None:
            if payload.actor is not None and note is None:
                self.actor = b',"actor":' + _encode(payload.actor)
            context: Mapping[str, ContextValue] | None = payload.context
            if note is not None and context and payload.actor and payload.actor.kind in hidden:
                context = masked(context)
            tail = {"reason": payload.reason, "context": context}
            tail = {name: part for name, part in tail.items() if part is not None}
            tail["transaction"] = payload.nonce
            if payload.decision is not None and note is None:
                tail["decision"] = payload.decision
            if payload.reverses and note is None:
                tail["reverses"] = payload.reverses
        if note is not None:
            tail["details"] = {"attribution": note}
            if payload is not None and payload.actor is not None:
                tail["details"] = {"attribution": note, "claimed_actor": str(payload.actor)}
        self.tail = b"," + _encode(tail)[1:] if tail else b"}"

    @functools.cached_property
    def contested(self) -> ContextPieces:
        """The same, for a row that used a context which belongs to another transaction."""
        return ContextPieces(self._payload, "contested", hidden=self._hidden)


NO_CONTEXT: Final = ContextPieces(None)
INVALID_CONTEXT: Final = ContextPieces(None, "invalid")


class TableDraft:
    """What all drafts of one table's changes share under one layout.

    `inserted` and `deleted` say of the columns of which no value is kept that they came and went.
    `stand_in` names what rows are called by in a table without a key.
    """

    def __init__(self, layout: Layout, *, stand_in: str, sealing: Sealing) -> None:
        hidden = [slot.column for slot in layout.slots if slot.mode == "changed" and slot.column]
        self.inserted: dict[str, tuple[Value, Value]] = {
            **dict.fromkeys(hidden, (ABSENT, CHANGED)),
            **dict.fromkeys(layout.masked, (ABSENT, MASKED)),
        }
        self.deleted = {name: (after, before) for name, (before, after) in self.inserted.items()}
        self._sealed = Sealed(sealing, layout.kind, layout.sealed) if layout.sealed else None
        self._heads = {
            verb: b'{"action":%s,"kind":"change"' % _encode(f"{layout.kind}.{verb}")
            for verb in ("insert", "update", "delete")
        }
        self._target = b',"targets":[{"kind":%s,"ids":[' % _encode(layout.kind)
        self._target_end = b"}]" if layout.key else b',"keyless":%s}]' % _encode(stand_in)

    def join(
        self,
        verb: str,
        before: Id | None,
        after: Id | None,
        owners: tuple[Owner, Owner],
        changes: Mapping[str, tuple[Value, Value]],
        actor: bytes,
        tail: bytes,
    ) -> bytes:
        """The draft. `owners` are the row's subjects before and after; `actor` and `tail` as in
        `ContextPieces`."""
        if self._sealed is not None:
            changes = self._sealed.changes(changes, *owners)
        subjects = list(dict.fromkeys(owner for owner in owners if owner is not None))
        target = self._target + _encode(after if after is not None else before) + b"]"
        if before is not None and after is not None and before != after:
            target += b',"ids_before":[' + _encode(before) + b"]"
        return b"".join(
            (
                self._heads[verb],
                actor,
                target,
                self._target_end,
                b',"subjects":' + _encode(subjects) if subjects else b"",
                b',"changes":',
                _encode(changes),
                tail,
            )
        )


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return format_time(seconds * 1_000_000)[:20]


def format_micros(micros: int) -> Timestamp:
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(f"{_second(seconds)}{rest:06d}Z")


def contested_notice(seq: int, nonce: str | None) -> OutboxNotice:
    return OutboxNotice(
        "context.contested",
        "the context of one transaction was used in two; neither is certain",
        {"outbox_id": str(seq), "transaction": nonce or ""},
    )


def invalid_notice(seq: int) -> OutboxNotice:
    return OutboxNotice(
        "context.invalid",
        "a write came with a context that Indelible didn't sign",
        {"outbox_id": str(seq)},
    )


def unreadable_notice(row: OutboxRow) -> OutboxNotice:
    return OutboxNotice(
        "outbox.unreadable",
        "a row of the outbox is none that Indelible wrote",
        {"outbox_id": str(row[0])},
    )


def unreadable_event(row: OutboxRow, *, is_private: bool) -> bytes:
    """What is in the row, as far as it holds anything, under no table's name.

    Without its values where some may be such that have to be sealed.
    """
    details = {"layout": to_value(row[3]), "op": to_value(row[4])}
    details |= {
        f"column_{place}": MASKED if is_private else to_value(native)
        for place, native in enumerate(row[BASE_COLUMNS:])
        if native is not None
    }
    return encode_draft(Event(action="outbox.unreadable", kind="system", details=details))
