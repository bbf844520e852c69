"""Outbox rows become draft events, one for each row and nothing else. Pure.

A draft is what `events.codec.encode_draft` writes; here it is put together from pieces, which is
several times as fast. Every row stands alone: triggers have found out what was replaced and in
which order things happened, so a batch may end anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, cast

from indelible.capture.change_drafts import (
    INVALID_CONTEXT,
    LAST_TIME,
    NO_CONTEXT,
    ContextPieces,
    DecodedEvent,
    DecodedRows,
    OutboxNotice,
    OutboxRow,
    TableDraft,
    contested_notice,
    format_micros,
    invalid_notice,
    unreadable_event,
    unreadable_notice,
)
from indelible.capture.context_ledger import ContextLedger
from indelible.capture.context_text import is_signed_event, verify_context
from indelible.capture.outbox_layout import (
    BASE_COLUMNS,
    NOBODY,
    OP_DELETE,
    OP_EVENT,
    OP_INSERT,
    OP_REPLACED,
    OP_UPDATE,
    Layout,
    check_key,
)
from indelible.capture.sealing import NO_SEALING, Leaving, Owner, Sealing
from indelible.errors import MalformedEventError
from indelible.events.codec import format_time
from indelible.events.values import (
    ABSENT,
    CHANGED,
    MAX_PLAIN_INT,
    Native,
    Value,
    format_id,
    to_value,
)


class OutboxDecoder:
    """Decodes the rows of one incarnation; `layouts` are those known of `indelible_meta`."""

    def __init__(
        self,
        incarnation: str,
        layouts: Mapping[int, Layout],
        context_key: bytes,
        ledger: ContextLedger,
        sealing: Sealing = NO_SEALING,
    ) -> None:
        self._sealing = sealing
        self._is_private = sealing is not NO_SEALING
        self._leaving = Leaving(sealing, sealing, may_mask=False)
        self._incarnation = incarnation
        self._key = context_key
        self._ledger = ledger
        self._tables: dict[int, _TableDecoder] = {}
        self._text: Native = None
        self._context = NO_CONTEXT
        self._time = format_time(0)
        self.learn(layouts)

    @property
    def known(self) -> frozenset[int]:
        """The numbers of the layouts that need not be read again."""
        return frozenset(self._tables)

    def learn(self, layouts: Mapping[int, Layout]) -> None:
        """Know these, too: a migration was installed.

        Raises `CaptureError` for a table whose keys can't be concealed as they have to be.
        """
        for number, layout in layouts.items():
            check_key(layout, self._sealing.personal)
            self._tables[number] = _TableDecoder(layout, self._sealing)

    def decode(self, rows: Sequence[OutboxRow]) -> DecodedRows:
        """The events of `rows`, which follow on those of the call before.

        The same rows give the same bytes, however they are cut into batches. A row that can't
        be read is an event that says so; this never raises for what is in a row, only where a
        value is to be sealed and can't be (`Sealing.seal`).
        """
        with self._sealing:
            return self._decoded(rows)

    def _decoded(self, rows: Sequence[OutboxRow]) -> DecodedRows:
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
                    notices.append(contested_notice(seq, context.nonce))
                context = context.contested
            elif context.is_invalid:
                notices.append(invalid_notice(seq))
            time = row[1]
            if type(time) is int and 0 <= time <= LAST_TIME:
                self._time = format_micros(time)
            unattributed += context.is_unattributed
            draft = self._draft(row, context, notices)
            events.append(DecodedEvent(seq, self._time, draft, self._is_private))
        return DecodedRows(events, notices, unattributed)

    def _draft(self, row: OutboxRow, context: ContextPieces, notices: list[OutboxNotice]) -> bytes:
        number, op = row[3], row[4]
        table = self._tables.get(number) if type(number) is int else None
        if table is not None and type(op) is int:
            verb = _VERBS.get(op)
            if verb is not None and len(row) >= table.width:
                return self._leaving.draft(table.draft(verb, row, context))
        if op == OP_EVENT and number == 0:
            found = self._explicit(row, context)
            with contextlib.suppress(MalformedEventError):
                if found is not None:
                    return self._leaving.draft(found)
        notices.append(unreadable_notice(row))
        return unreadable_event(row, is_private=self._is_private)

    def _explicit(self, row: OutboxRow, context: ContextPieces) -> bytes | None:
        draft, proof = row[BASE_COLUMNS], row[BASE_COLUMNS + 1]
        if type(draft) is not bytes or context.nonce is None:
            return None
        if not is_signed_event(self._key, self._incarnation, context.nonce, draft, proof):
            return None
        return draft

    def _read_context(self, text: Native) -> ContextPieces:
        if text is None:
            return NO_CONTEXT
        payload = verify_context(self._key, self._incarnation, text)
        return (
            INVALID_CONTEXT
            if payload is None
            else ContextPieces(payload, hidden=self._sealing.actors)
        )


_VERBS: Final = {
    OP_INSERT: "insert",
    OP_UPDATE: "update",
    OP_DELETE: "delete",
    OP_REPLACED: "delete",
}


class _TableDecoder:
    """Drafts of one table's changes under one layout."""

    def __init__(self, layout: Layout, sealing: Sealing) -> None:
        self._layout = layout
        self.width = BASE_COLUMNS + 2 * len(layout.slots)
        named = [
            (slot.column, BASE_COLUMNS + 2 * place, slot.mode == "value")
            for place, slot in enumerate(layout.slots)
            if slot.column is not None
        ]
        self._values = [(name, place) for name, place, has_value in named if has_value]
        self._changed = [(name, place) for name, place, has_value in named if not has_value]
        self._frame = TableDraft(layout, stand_in="rowid", sealing=sealing)
        self._inserted, self._deleted = self._frame.inserted, self._frame.deleted
        self._key = [BASE_COLUMNS + 2 * slot for slot in layout.key]
        self._single = self._key[0] if len(self._key) == 1 and layout.rowid is None else None
        self._rowid = BASE_COLUMNS + 2 * (layout.rowid or 0)

    def draft(self, verb: str, row: OutboxRow, context: ContextPieces) -> bytes:
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
        owners = self._owner(row, before, 0), self._owner(row, after, 1)
        return self._frame.join(verb, before, after, owners, changes, context.actor, context.tail)

    def _id(self, row: OutboxRow, side: int) -> tuple[Value, ...]:
        if self._single is not None:
            return (_value(row[self._single + side]),)
        found = tuple(_value(row[place + side]) for place in self._key)
        if self._layout.rowid is not None and (not found or None in found):
            # A key with a NULL in it isn't unique: the rowid stands behind it.
            return (*found, _value(row[self._rowid + side]))
        return found

    def _owner(self, row: OutboxRow, row_id: tuple[Value, ...] | None, side: int) -> Owner:
        """Whose the row was before (side 0) or after; None for nobody's, or no row."""
        subject = self._layout.subject
        if subject is None or row_id is None:
            return None
        if subject.source == "self":
            return subject.kind, format_id(row_id)
        is_slot = subject.source == "slot"
        named = row[(BASE_COLUMNS + 2 * subject.slot if is_slot else BASE_COLUMNS - 2) + side]
        if named == NOBODY or (is_slot and named is None):
            return None
        return subject.kind, format_id((to_value(named),)) if named is not None else None


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
