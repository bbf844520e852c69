"""Outbox rows become draft events, one for each row and nothing else. Pure.

A draft is what `events.codec.encode_draft` writes; here it is put together from pieces, which is
several times as fast. Every row stands alone: triggers have found out what was replaced and in
which order things happened, so a batch may end anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

import msgspec

from indelible.capture.context_ledger import ContextLedger
from indelible.capture.context_text import ContextPayload, is_signed_event, verify_context
from indelible.capture.outbox_layout import (
    BASE_COLUMNS,
    NOBODY,
    OP_DELETE,
    OP_EVENT,
    OP_INSERT,
    OP_REPLACED,
    OP_UPDATE,
    Layout,
)
from indelible.events.codec import encode_draft, format_time
from indelible.events.model import Event, Timestamp
from indelible.events.values import (
    ABSENT,
    CHANGED,
    MASKED,
    MAX_PLAIN_INT,
    Native,
    Value,
    format_id,
    to_value,
)

OutboxRow = tuple[Native, ...]
"""`id, time, ctx, layout, op, s0, s1, o0, n0, …`, TEXT as str or `RawText`, BLOB as bytes."""

_LAST_TIME: Final = 253_402_300_799_999_999
_encode: Final = msgspec.json.Encoder().encode


class DecodedEvent(NamedTuple):
    """An event at its place: `draft` is to be sealed with `time` and the outbox id `seq`."""

    seq: int
    time: Timestamp
    draft: bytes


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


class OutboxDecoder:
    """Decodes the rows of one incarnation; `layouts` are those known of `indelible_meta`."""

    def __init__(
        self,
        incarnation: str,
        layouts: Mapping[int, Layout],
        context_key: bytes,
        ledger: ContextLedger,
    ) -> None:
        self._incarnation = incarnation
        self._key = context_key
        self._ledger = ledger
        self._tables: dict[int, _TableDecoder] = {}
        self._text: Native = None
        self._context = _NO_CONTEXT
        self._time = format_time(0)
        self.learn(layouts)

    @property
    def known(self) -> frozenset[int]:
        """The numbers of the layouts that need not be read again."""
        return frozenset(self._tables)

    def learn(self, layouts: Mapping[int, Layout]) -> None:
        """Know these, too: a migration was installed."""
        for number, layout in layouts.items():
            self._tables[number] = _TableDecoder(layout)

    def decode(self, rows: Sequence[OutboxRow]) -> DecodedRows:
        """The events of `rows`, which follow on those of the call before.

        The same rows give the same bytes, however they are cut into batches. A row that can't
        be read is an event that says so; this never raises for what is in a row.
        """
        events: list[DecodedEvent] = []
        notices: list[OutboxNotice] = []
        contested: set[str | None] = set()
        unattributed = 0
        for row in rows:
            seq = cast("int", row[0])
            text = row[2]
            if text is not self._text and text != self._text:
                self._context = self._read_context(text)
                self._text = text
            context = self._context
            if self._ledger.is_contested(seq, context.nonce):
                if context.nonce not in contested:
                    contested.add(context.nonce)
                    notices.append(_contested(seq, context.nonce))
                context = context.contested
            elif context.is_invalid:
                notices.append(_invalid(seq))
            time = row[1]
            if type(time) is int and 0 <= time <= _LAST_TIME:
                self._time = _format_time(time)
            unattributed += context.is_unattributed
            events.append(DecodedEvent(seq, self._time, self._draft(row, context, notices)))
        return DecodedRows(events, notices, unattributed)

    def _draft(self, row: OutboxRow, context: _ContextPieces, notices: list[OutboxNotice]) -> bytes:
        number, op = row[3], row[4]
        table = self._tables.get(number) if type(number) is int else None
        if table is not None and type(op) is int:
            verb = _VERBS.get(op)
            if verb is not None and len(row) >= table.width:
                return table.draft(verb, row, context)
        if op == OP_EVENT and number == 0:
            found = self._explicit(row, context)
            if found is not None:
                return found
        notices.append(
            OutboxNotice(
                "outbox.unreadable",
                "a row of the outbox is none that Indelible wrote",
                {"outbox_id": str(row[0])},
            )
        )
        return _unreadable(row)

    def _explicit(self, row: OutboxRow, context: _ContextPieces) -> bytes | None:
        draft, proof = row[BASE_COLUMNS], row[BASE_COLUMNS + 1]
        if type(draft) is not bytes or context.nonce is None:
            return None
        if not is_signed_event(self._key, self._incarnation, context.nonce, draft, proof):
            return None
        return draft

    def _read_context(self, text: Native) -> _ContextPieces:
        if text is None:
            return _NO_CONTEXT
        payload = verify_context(self._key, self._incarnation, text)
        return _INVALID_CONTEXT if payload is None else _ContextPieces(payload)


class _ContextPieces:
    """The parts of a draft that come from its context: before the targets, and at the end."""

    def __init__(self, payload: ContextPayload | None, note: str | None = None) -> None:
        self.nonce = payload.nonce if payload is not None else None
        self.is_invalid = note == "invalid"
        self.is_unattributed = payload is None or payload.actor is None or note is not None
        self._payload = payload
        self.actor = b""
        tail: dict[str, object] = {}
        if payload is not None:
            if payload.actor is not None and note is None:
                self.actor = b',"actor":' + _encode(payload.actor)
            tail = {"reason": payload.reason, "context": payload.context}
            tail = {name: part for name, part in tail.items() if part is not None}
            tail["transaction"] = payload.nonce
            if payload.reverses and note is None:
                tail["reverses"] = payload.reverses
        if note is not None:
            tail["details"] = {"attribution": note}
            if payload is not None and payload.actor is not None:
                tail["details"] = {"attribution": note, "claimed_actor": str(payload.actor)}
        self.tail = b"," + _encode(tail)[1:] if tail else b"}"

    @functools.cached_property
    def contested(self) -> _ContextPieces:
        """The same, for a row that used a context which belongs to another transaction."""
        return _ContextPieces(self._payload, "contested")


_NO_CONTEXT: Final = _ContextPieces(None)
_INVALID_CONTEXT: Final = _ContextPieces(None, "invalid")
_VERBS: Final = {
    OP_INSERT: "insert",
    OP_UPDATE: "update",
    OP_DELETE: "delete",
    OP_REPLACED: "delete",
}


class _TableDecoder:
    """Drafts of one table's changes under one layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.width = BASE_COLUMNS + 2 * len(layout.slots)
        named = [
            (slot.column, BASE_COLUMNS + 2 * place, slot.mode == "value")
            for place, slot in enumerate(layout.slots)
            if slot.column is not None
        ]
        self._values = [(name, place) for name, place, has_value in named if has_value]
        self._changed = [(name, place) for name, place, has_value in named if not has_value]
        hidden = [name for name, _ in self._changed]
        # Columns of which no value is kept: the same in every insert and every delete.
        self._inserted: dict[str, tuple[Value, Value]] = {
            **dict.fromkeys(hidden, (ABSENT, CHANGED)),
            **dict.fromkeys(layout.masked, (ABSENT, MASKED)),
        }
        self._deleted = {name: (after, before) for name, (before, after) in self._inserted.items()}
        self._key = [BASE_COLUMNS + 2 * slot for slot in layout.key]
        self._single = self._key[0] if len(self._key) == 1 and layout.rowid is None else None
        self._rowid = BASE_COLUMNS + 2 * (layout.rowid or 0)
        self._heads = {
            verb: b'{"action":%s,"kind":"change"' % _encode(f"{layout.kind}.{verb}")
            for verb in ("insert", "update", "delete")
        }
        self._target = b',"targets":[{"kind":%s,"ids":[' % _encode(layout.kind)
        self._target_end = b"}]" if layout.key else b',"keyless":"rowid"}]'

    def draft(self, verb: str, row: OutboxRow, context: _ContextPieces) -> bytes:
        changes: dict[str, tuple[Value, Value]] = {}
        before = after = None
        if verb == "update":
            before, after = self._id(row, 0), self._id(row, 1)
            for name, place in self._values:
                old, new = row[place], row[place + 1]
                if old is not new and not _is_same(old, new):
                    changes[name] = (_value(old), _value(new))
            for name, place in self._changed:
                if row[place + 1]:
                    changes[name] = (CHANGED, CHANGED)
        elif verb == "insert":
            after = self._id(row, 1)
            for name, place in self._values:
                changes[name] = (ABSENT, _value(row[place + 1]))
            changes.update(self._inserted)
        else:
            before = self._id(row, 0)
            for name, place in self._values:
                changes[name] = (_value(row[place]), ABSENT)
            changes.update(self._deleted)
        target = self._target + _encode(after if after is not None else before) + b"]"
        if before is not None and after is not None and before != after:
            target += b',"ids_before":[' + _encode(before) + b"]"
        return b"".join(
            (
                self._heads[verb],
                context.actor,
                target,
                self._target_end,
                self._subjects(row, before, after),
                b',"changes":',
                _encode(changes),
                context.tail,
            )
        )

    def _id(self, row: OutboxRow, side: int) -> tuple[Value, ...]:
        if self._single is not None:
            return (_value(row[self._single + side]),)
        found = tuple(_value(row[place + side]) for place in self._key)
        if self._layout.rowid is not None and (not found or None in found):
            # A key with a NULL in it isn't unique: the rowid stands behind it.
            return (*found, _value(row[self._rowid + side]))
        return found

    def _subjects(
        self,
        row: OutboxRow,
        before: tuple[Value, ...] | None,
        after: tuple[Value, ...] | None,
    ) -> bytes:
        subject = self._layout.subject
        if subject is None:
            return b""
        found: list[tuple[str, str | None]] = []
        for side, row_id in enumerate((before, after)):
            if row_id is None:
                continue
            one: str | None
            if subject.source == "self":
                one = format_id(row_id)
            else:
                is_slot = subject.source == "slot"
                place = BASE_COLUMNS + 2 * subject.slot if is_slot else BASE_COLUMNS - 2
                named = row[place + side]
                if named == NOBODY or (is_slot and named is None):
                    continue
                one = format_id((to_value(named),)) if named is not None else None
            if (subject.kind, one) not in found:
                found.append((subject.kind, one))
        return b',"subjects":' + _encode(found) if found else b""


def _value(native: Native) -> Value:
    kind = type(native)
    if kind is str or native is None:
        return cast("str | None", native)
    if kind is int and -MAX_PLAIN_INT <= cast("int", native) <= MAX_PLAIN_INT:
        return cast("int", native)
    return to_value(native)


def _is_same(old: Native, new: Native) -> bool:
    """Whether both are the same bits."""
    if type(old) is not type(new) or old != new:
        return False
    return type(old) is not float or old != 0.0 or str(old) == str(new)


@functools.lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return format_time(seconds * 1_000_000)[:20]


def _format_time(micros: int) -> Timestamp:
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(f"{_second(seconds)}{rest:06d}Z")


def _contested(seq: int, nonce: str | None) -> OutboxNotice:
    return OutboxNotice(
        "context.contested",
        "the context of one transaction was used in two; neither is certain",
        {"outbox_id": str(seq), "transaction": nonce or ""},
    )


def _invalid(seq: int) -> OutboxNotice:
    return OutboxNotice(
        "context.invalid",
        "a write came with a context that Indelible didn't sign",
        {"outbox_id": str(seq)},
    )


def _unreadable(row: OutboxRow) -> bytes:
    """What is in the row, as far as it holds anything, under no table's name."""
    details = {"layout": to_value(row[3]), "op": to_value(row[4])}
    details |= {
        f"column_{place}": to_value(native)
        for place, native in enumerate(row[BASE_COLUMNS:])
        if native is not None
    }
    return encode_draft(Event(action="outbox.unreadable", kind="system", details=details))
