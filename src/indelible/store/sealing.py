"""Sealing for subjects by their public keys, and opening again by their private ones.

What is sealed is the value's JSON, filled with spaces to a multiple of 32 bytes, so that short
values don't show by their length what they are. Bound to it are the subject's token, the kind and
the column: moved elsewhere it doesn't open.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import sqlite3
import threading
import weakref
from types import TracebackType
from typing import Final, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from indelible.errors import BoxError, KeystoreError
from indelible.events.box import open_box, seal_box
from indelible.events.codec import decode_draft, encode_draft
from indelible.events.model import BaselineRows, Event
from indelible.events.personal import (
    NOBODY_PERSONAL,
    NOT_SHOWN,
    TOKEN_FORM,
    Personal,
    has_name,
    token_for,
    translate,
)
from indelible.events.values import ERASED, ERASED_NAME, TOKEN, TypedValue, Value, format_id
from indelible.store.keystore import Enrolled, Keystore
from indelible.store.looking_up import LookUp

_FILL: Final = 32
_KNOWN: Final = 100_000
_NAMING: Final = ("sealed", TOKEN)
_encode: Final = msgspec.json.Encoder().encode
_decoder: Final[msgspec.json.Decoder[Value]] = msgspec.json.Decoder(Value)


class Sealer:
    """Implements `indelible.capture.sealing.Sealing` by a keystore. Safe for threads.

    Subjects that are new are enrolled together, when the batch ends in order: what was sealed for
    them before may not be delivered if it doesn't. Batches of one thread may lie in each other. A
    fork waits for another thread's to end.
    """

    def __init__(self, keystore: Keystore, personal: Personal = NOBODY_PERSONAL) -> None:
        self.personal = personal
        self._keystore = keystore
        # Another kind's name in a draft costs a look at it, nothing else.
        kinds = {*personal.kinds, *personal.keys, *personal.columns}
        self._marks = tuple(_encode(kind)[1:-1] for kind in sorted(kinds))
        self._look_up = LookUp(keystore)
        self._lock = threading.RLock()
        self._depth = 0
        self._is_current = False
        self._version: tuple[int, int, int] | None = None
        self._known: dict[tuple[str, str], Enrolled] = {}
        self._connection: sqlite3.Connection | None = None
        # Half a transaction must not be inherited: closing it, the child would take it back.
        hold, let_go = weakref.WeakMethod(self._hold), weakref.WeakMethod(self._let_go)
        os.register_at_fork(
            before=lambda: (hold() or _nothing)(),
            after_in_parent=lambda: (let_go() or _nothing)(),
            after_in_child=lambda: (let_go() or _nothing)(),
        )

    def _hold(self) -> None:
        self._lock.acquire()

    def _let_go(self) -> None:
        self._lock.release()

    def close(self) -> None:
        """Let go of the keystore's file, between batches."""
        self._look_up.close()

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._is_current = False
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._depth -= 1
            if not self._depth:
                self._end(is_in_order=exc_type is None)
        finally:
            self._lock.release()

    def seal(self, owner: tuple[str, str], kind: str, column: str, value: Value) -> Value:
        """See `Sealing.seal`."""
        token, public = self._enrolled(owner)
        content = _encode(value)
        content += b" " * (-len(content) % _FILL)
        box = seal_box(public, content, _place(token, kind, column))
        return TypedValue("sealed", base64.b64encode(box).decode(), token)

    def conceal(self, draft: bytes) -> bytes:
        """See `Sealing.conceal`."""
        if not any(mark in draft for mark in self._marks):
            return draft
        with self:
            event = decode_draft(draft)
            concealed = translate(event, self.personal, self)
        return draft if concealed is event else encode_draft(concealed)

    # -- a `Translator` ---------------------------------------------------------------------------

    def name(self, kind: str, name: str) -> str:
        """The token of who goes by this name, whatever it looks like."""
        return self._enrolled((kind, name)).token

    def key(self, kind: str, value: Value) -> Value:
        """The token of who has this key."""
        if not has_name(value):
            return value
        return token_for(value, self.name(kind, format_id((value,))))

    column = key

    def asked(self, kind: str, name: str) -> str:
        """Who is asked for isn't enrolled by that."""
        if TOKEN_FORM.fullmatch(name.removeprefix(ERASED_NAME)):
            return name
        found = self._look_up.enrolled((kind, name))
        return NOT_SHOWN if found is None else found.token

    # -- below ------------------------------------------------------------------------------------

    def _enrolled(self, owner: tuple[str, str]) -> Enrolled:
        if not self._is_current:
            now = self._keystore.version()
            if now != self._version:
                # Somebody may have been erased: a key that is gone must not be sealed for.
                self._known.clear()
                self._version = now
            self._is_current = True
        found = self._known.get(owner)
        if found is not None:
            return found
        if len(self._known) >= _KNOWN:
            self._known.clear()
        if self._connection is None and (found := self._look_up.enrolled(owner)) is not None:
            # Nearly always: nobody has to wait for who else writes.
            self._known[owner] = found
            return found
        with self._keystore.errors():
            if self._connection is None:
                self._connection = self._keystore.connect()
                self._connection.execute("BEGIN IMMEDIATE")
            found = self._known[owner] = self._keystore.enrol(self._connection, owner)
        return found

    def _end(self, *, is_in_order: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # Whoever commits right behind us is seen: its version isn't this one.
        self._known.clear()
        with self._keystore.errors(), contextlib.closing(connection):
            if is_in_order:
                connection.execute("COMMIT")


class Opener:
    """Opens sealed values, with the keystore and its master key at hand. Safe for threads.

    A value whose subject was erased becomes `erased`; one that can't be opened here stays sealed.
    """

    def __init__(self, keystore: Keystore) -> None:
        self._keystore = keystore
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._keys: dict[str, X25519PrivateKey | None] = {}
        self._erased: frozenset[str] = frozenset()

    def open(self, event: Event) -> Event:
        """The event with its sealed values opened, as far as that goes here."""
        changes, baseline = event.changes, event.baseline
        if not event.targets or (changes is None and baseline is None):
            return event
        kind = event.targets[0].kind
        if changes is not None and any(_is_sealed(v) for pair in changes.values() for v in pair):
            opened = {
                name: (self._value(kind, name, old), self._value(kind, name, new))
                for name, (old, new) in changes.items()
            }
            event = msgspec.structs.replace(event, changes=opened)
        if baseline is not None and any(_is_sealed(v) for row in baseline.rows for v in row):
            event = msgspec.structs.replace(event, baseline=self._baseline(kind, baseline))
        return event

    def _baseline(self, kind: str, baseline: BaselineRows) -> BaselineRows:
        rows = tuple(
            tuple(
                self._value(kind, name, value)
                for name, value in zip(baseline.columns, row, strict=True)
            )
            for row in baseline.rows
        )
        return msgspec.structs.replace(baseline, rows=rows)

    def _value(self, kind: str, column: str, value: Value) -> Value:
        if not _is_sealed(value) or not isinstance(value, TypedValue):
            return value
        token = value.s or ""
        with self._lock:
            self._look()
            if token in self._erased:
                return ERASED
            key = self._key(token)
        if key is None:
            return value
        try:
            box = base64.b64decode(value.v or "", validate=True)
            return _decoder.decode(open_box(key, box, _place(token, kind, column)))
        except (BoxError, binascii.Error, msgspec.MsgspecError):
            return value  # moved here, or changed: it isn't what was sealed

    def _key(self, token: str) -> X25519PrivateKey | None:
        if token not in self._keys:
            if len(self._keys) >= _KNOWN:
                self._keys.clear()
            try:
                self._keys[token] = self._keystore.private_key(token)
            except KeystoreError:
                self._keys[token] = None  # the master key isn't at hand
        return self._keys[token]

    def _look(self) -> None:
        now = self._keystore.version()
        if now != self._version:
            self._keys.clear()
            self._erased = frozenset(each.token for each in self._keystore.erased())
            self._version = now


def sealed_tokens(event: Event) -> frozenset[str]:
    """The tokens of the subjects for whom values of `event` (whole, not a part) are sealed, or in
    the place of whose names they stand."""
    values = [value for pair in (event.changes or {}).values() for value in pair]
    if event.baseline is not None:
        values += [value for row in event.baseline.rows for value in row]
    values += [value for rows in event.targets for row_id in rows.ids for value in row_id]
    tokens = (value.s for value in values if isinstance(value, TypedValue) and value.t in _NAMING)
    return frozenset(token for token in tokens if token)


def _nothing() -> None:
    return None


def _is_sealed(value: Value) -> bool:
    return isinstance(value, TypedValue) and value.t == "sealed"


def _place(token: str, kind: str, column: str) -> bytes:
    return "\0".join(("indelible value v1", token, kind, column)).encode("utf-8", "surrogatepass")
