"""Outbox rows of a server become draft events, one for each row and nothing else. Pure.

A row of a table is the server's text of it; what that looks like is a `TextForm`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, cast

import msgspec

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
from indelible.capture.context_text import is_signed_event, verify_context
from indelible.capture.outbox_layout import (
    OP_DELETE,
    OP_EVENT,
    OP_INSERT,
    OP_UPDATE,
    Layout,
    check_key,
)
from indelible.capture.sealing import NO_SEALING, Leaving, Sealing
from indelible.errors import MalformedEventError
from indelible.events.codec import encode_draft, format_time
from indelible.events.model import Event
from indelible.events.values import ABSENT, CHANGED, Id, Native, TypedValue, Value, format_id

STAND_IN: Final = "values"
"""What rows are called by in a table without a key: all of their values."""
OP_SAID: Final = 6
"""What reading the log has to say: `old` is the action, `new` the details as JSON."""
OP_EMPTIED: Final = 7
"""TRUNCATE, where its rows aren't told."""
OP_STRAY: Final = 8

_OLD, _NEW, _CHANGED, _XID, _BACKEND, _ROLE, _APPLICATION, _ADDRESS = range(7, 15)
_WIDTH: Final = 15
_ALTERED: Final = "!"
"""Begins `changed` where the table is no longer as the layout says: the places that are gone."""
_EMPTIED: Final = "TRUNCATE: the log doesn't tell the rows"
_MAX_ID_CHARACTERS: Final = 1_000
_VERBS: Final = {OP_INSERT: "insert", OP_UPDATE: "update", OP_DELETE: "delete"}
_encode: Final = msgspec.json.Encoder().encode
_CONTEXTS: Final = 64


class TextForm(NamedTuple):
    """What a database's texts of rows look like.

    `fields` takes a row's text, the types of its columns and the places of its key, and gives each
    column's text, and the places that the text doesn't tell; `value` takes a type and such a text.
    `prefix` begins the types of its values.
    """

    prefix: str
    fields: Callable[[str, Sequence[str], Sequence[int]], tuple[list[str | None], Collection[int]]]
    value: Callable[[str, str | None], Value]


class Ledger(Protocol):
    """Which contexts were used, of a database whose transactions lie between each other."""

    def is_contested(self, seq: int, nonce: str | None, transaction: int) -> bool:
        """See `context_ledger.TransactionLedger.is_contested`."""


class Image(NamedTuple):
    """A row as it was: its id, and the values of the columns that are kept."""

    id: Id
    values: tuple[Value, ...]
    fields: list[str | None]


class TableRows:
    """Reads rows of one table under one layout from their text form."""

    def __init__(self, layout: Layout, form: TextForm) -> None:
        self.layout = layout
        self._form = form
        kept = [place for place, slot in enumerate(layout.slots) if slot.mode == "value"]
        self.columns = tuple(layout.slots[place].column or "" for place in kept)
        self.types = [layout.slots[place].type for place in kept]
        index = {place: n for n, place in enumerate(kept)}
        self._key = [index[place] for place in layout.key]
        subject = layout.subject
        self._subject = (
            index[subject.slot] if subject is not None and subject.source == "slot" else 0
        )

    def read(self, text: str, gone: Collection[int] = ()) -> Image:
        """The row of this text form, of which the columns at these places were dropped.

        Raises `MalformedEventError` for any other text.
        """
        fields, untold = self._form.fields(text, self.types, self._key)
        try:
            values = tuple(map(self._form.value, self.types, fields))
        except ValueError:
            values = tuple(map(self._value_of_altered, self.types, fields))
        if untold:
            gone = {*gone, *untold}
        if gone:
            values = tuple([ABSENT if n in gone else each for n, each in enumerate(values)])
        return Image(self._id(values, text), values, fields)

    def subject_of(self, image: Image, stored: Native) -> tuple[str, str | None] | None:
        """Whose row it is; None for nobody's. `stored` is what the trigger found, if it looked."""
        subject = self.layout.subject
        if subject is None:
            return None
        if subject.source in ("self", "slot"):
            named = image.id if subject.source == "self" else (image.values[self._subject],)
            if ABSENT in named:
                return subject.kind, None
            return None if named == (None,) else (subject.kind, format_id(named))
        if stored == "":
            return None
        return subject.kind, stored[1:] if type(stored) is str else None

    def _value_of_altered(self, type_: str, text: str | None) -> Value:
        """What a column holds that `ALTER TABLE` may have given another type: that type's text."""
        try:
            return self._form.value(type_, text)
        except ValueError:
            return TypedValue(f"{self._form.prefix}:text", text)

    def _id(self, values: tuple[Value, ...], text: str) -> Id:
        if self._key:
            return tuple([values[place] for place in self._key])
        if len(text) <= _MAX_ID_CHARACTERS:
            return values
        return (
            TypedValue(
                f"{self._form.prefix}:row-sha256", hashlib.sha256(text.encode()).hexdigest()
            ),
        )


class TextDecoder:
    """Decodes the rows of one incarnation; `layouts` are those known of the database's.

    Without a `ledger` no context counts as used before.
    """

    def __init__(
        self,
        incarnation: str,
        layouts: Mapping[int, Layout],
        context_key: bytes,
        ledger: Ledger | None,
        form: TextForm,
        sealing: Sealing = NO_SEALING,
    ) -> None:
        self._sealing = sealing
        self._is_private = sealing is not NO_SEALING
        self._leaving = Leaving(sealing, sealing, may_mask=False)
        self._incarnation = incarnation
        self._key = context_key
        self._ledger = ledger
        self._form = form
        self._tables: dict[int, _TableDecoder] = {}
        self._contexts: dict[Native, ContextPieces] = {}
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
            check_key(layout, self._sealing.personal, is_text=True)
            self._tables[number] = _TableDecoder(layout, self._form, self._sealing)

    def decode(self, rows: Sequence[OutboxRow]) -> DecodedRows:
        """The events of `rows`, in the order of their ids.

        The same rows give the same bytes, however they are cut into batches. A row that can't be
        read is an event that says so; this never raises for what is in a row, only where a value
        is to be sealed and can't be (`Sealing.seal`).
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
            context = self._context(row[2])
            if self._ledger is not None and self._ledger.is_contested(
                seq, context.nonce, cast("int", row[_XID])
            ):
                if context.nonce not in contested:
                    contested.add(context.nonce)
                    notices.append(contested_notice(seq, context.nonce))
                context = context.contested
            elif context.is_invalid:
                notices.append(invalid_notice(seq))
            time = row[1]
            if type(time) is int and 0 <= time <= LAST_TIME:
                self._time = format_micros(time)
            unattributed += context.is_unattributed and row[4] not in (OP_STRAY, OP_SAID)
            draft = self._draft(row, context, notices)
            events.append(DecodedEvent(seq, self._time, draft, self._is_private))
        return DecodedRows(events, notices, unattributed)

    def _draft(self, row: OutboxRow, context: ContextPieces, notices: list[OutboxNotice]) -> bytes:
        number, op = row[3], row[4]
        table = self._tables.get(number) if type(number) is int else None
        verb = _VERBS.get(op) if type(op) is int else None
        try:
            found = self._told(row, context, table, verb)
            if found is not None:
                return self._leaving.draft(found)
        except MalformedEventError:
            pass
        notices.append(unreadable_notice(row))
        return unreadable_event(row, is_private=self._is_private)

    def _told(
        self,
        row: OutboxRow,
        context: ContextPieces,
        table: _TableDecoder | None,
        verb: str | None,
    ) -> bytes | None:
        number, op = row[3], row[4]
        if table is not None and verb is not None:
            return table.draft(verb, row, context)
        if table is not None and op == OP_EMPTIED:
            return table.emptied(context)
        if number == 0 and op == OP_SAID:
            return _said(row)
        if number == 0 and op == OP_EVENT:
            return self._explicit(row, context)
        if number == 0 and op == OP_STRAY:
            return _stray(row)
        return None

    def _explicit(self, row: OutboxRow, context: ContextPieces) -> bytes:
        try:
            draft = base64.b64decode(cast("str", row[_OLD]) or "")
        except (TypeError, binascii.Error):
            raise MalformedEventError("expected base64 in an explicit event") from None
        if context.nonce is None or not is_signed_event(
            self._key, self._incarnation, context.nonce, draft, row[_NEW]
        ):
            raise MalformedEventError("expected an explicit event that Indelible signed")
        return draft

    def _context(self, text: Native) -> ContextPieces:
        if text is None:
            return NO_CONTEXT
        found = self._contexts.get(text)
        if found is None:
            payload = verify_context(self._key, self._incarnation, text)
            found = (
                INVALID_CONTEXT
                if payload is None
                else ContextPieces(payload, hidden=self._sealing.actors)
            )
            if len(self._contexts) >= _CONTEXTS:
                self._contexts.clear()
            self._contexts[text] = found
        return found


class _TableDecoder:
    """Drafts of one table's changes under one layout."""

    def __init__(self, layout: Layout, form: TextForm, sealing: Sealing) -> None:
        self._rows = TableRows(layout, form)
        self._frame = TableDraft(layout, stand_in=STAND_IN, sealing=sealing)
        self._changed = [slot.column or "" for slot in layout.slots if slot.mode == "changed"]

    def draft(self, verb: str, row: OutboxRow, context: ContextPieces) -> bytes:
        """Raises `MalformedEventError` for a row that isn't of this layout."""
        rows = self._rows
        gone = gone_places(row[_CHANGED])
        # Which of an altered table's columns changed was not looked at.
        bits = str(row[_CHANGED] or "") if gone is None else "1" * len(self._changed)
        before = self._read(row[_OLD], gone or ()) if verb != "insert" else None
        after = self._read(row[_NEW], gone or ()) if verb != "delete" else None
        changes: dict[str, tuple[Value, Value]] = {}
        if before is not None and after is not None:
            for place, name in enumerate(rows.columns):
                if before.fields[place] != after.fields[place]:
                    changes[name] = (before.values[place], after.values[place])
            for bit, name in zip(bits, self._changed, strict=False):
                if bit == "1":
                    changes[name] = (CHANGED, CHANGED)
        elif after is not None:
            changes = {
                name: (ABSENT, value)
                for name, value in zip(rows.columns, after.values, strict=True)
            }
            changes.update(self._frame.inserted)
        elif before is not None:
            changes = {
                name: (value, ABSENT)
                for name, value in zip(rows.columns, before.values, strict=True)
            }
            changes.update(self._frame.deleted)
        owners = (
            rows.subject_of(before, row[5]) if before is not None else None,
            rows.subject_of(after, row[6]) if after is not None else None,
        )
        return self._frame.join(
            verb,
            before.id if before is not None else None,
            after.id if after is not None else None,
            owners,
            changes,
            context.actor,
            _tail(row, context),
        )

    def emptied(self, context: ContextPieces) -> bytes:
        """That all rows went, which ones isn't known."""
        kind = self._rows.layout.kind
        target = {"kind": kind, "ids": (), "coverage": "superset", "why": _EMPTIED}
        return b"".join(
            (
                b'{"action":%s,"kind":"change"' % _encode(f"{kind}.truncate"),
                context.actor,
                b',"targets":%s' % _encode([target]),
                context.tail,
            )
        )

    def _read(self, text: Native, gone: Collection[int]) -> Image:
        if type(text) is not str:
            raise MalformedEventError("expected a row's text form")
        return self._rows.read(text, gone)


def gone_places(changed: Native) -> frozenset[int] | None:
    """Which columns of a row `ALTER TABLE` took away, counted from 0; None where the table is as
    its layout says. `changed` is what the row's column of that name holds.

    Raises `MalformedEventError`.
    """
    if type(changed) is not str or not changed.startswith(_ALTERED):
        return None
    try:
        return frozenset(int(place) - 1 for place in changed[1:].split(",") if place)
    except ValueError:
        raise MalformedEventError("expected the places of columns") from None


def _tail(row: OutboxRow, context: ContextPieces) -> bytes:
    """Whoever acted, the role is kept; where it isn't told who did, where it came from, too."""
    also = b',"database_role":' + _encode(row[_ROLE]) if row[_ROLE] is not None else b""
    if context.nonce is None:
        client = {"application": row[_APPLICATION], "address": row[_ADDRESS]}
        client = {name: value for name, value in client.items() if value}
        if client:
            also += b',"context":' + _encode(client)
    return also + context.tail


def _stray(row: OutboxRow) -> bytes:
    return encode_draft(
        Event(
            action="capture.stray",
            kind="system",
            database_role=cast("str | None", row[_ROLE]),
            details={
                "message": "a function of Indelible's is attached where it doesn't belong, or the "
                "database was restored from a dump: run `indelible install`",
                "relation": cast("str", row[_NEW]),
            },
        )
    )


def _said(row: OutboxRow) -> bytes:
    try:
        details = msgspec.json.decode(cast("str", row[_NEW]), type=dict[str, str])
    except (msgspec.MsgspecError, TypeError):
        raise MalformedEventError("expected details as JSON") from None
    values: dict[str, Value] = {**details}
    return encode_draft(Event(action=str(row[_OLD]), kind="system", details=values))
