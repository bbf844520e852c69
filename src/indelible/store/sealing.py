"""Sealing for subjects by their public keys, and opening again by their private ones.

What is sealed is the value's JSON, filled with spaces to a multiple of 32 bytes, so that short
values don't show by their length what they are. Bound to it are the subject's token, the kind and
the column: moved elsewhere it doesn't open.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Final, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from indelible.capture.sealing import CIRCUMSTANCES, DETAILS
from indelible.errors import BoxError, KeystoreError, StoreBusyError
from indelible.events.box import box_key, seal_box
from indelible.events.codec import decode_draft, encode_draft
from indelible.events.model import BaselineRows, ContextValue, Event
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
from indelible.forking import hold_while_forking
from indelible.store.keystore import WAIT_S, Enrolled, Keystore
from indelible.store.keystore_held import HeldKeystore
from indelible.store.openings import (
    MAX_VALUE_BYTES,
    STILL_SEALED,
    Opening,
    is_sealed,
    open_value,
    place_of,
    sealed_values,
)

_FILL: Final = 32
_KNOWN: Final = 100_000
_BUSY_S: Final = 1.0
_encode: Final = msgspec.json.Encoder().encode


class Sealer:
    """Implements `indelible.capture.sealing.Sealing` by a keystore. Safe for threads.

    Subjects that are new are enrolled together, when the batch ends in order: what was sealed for
    them before may not be delivered if it doesn't. Batches of one thread may lie in each other. A
    fork waits for another thread's to end.
    """

    def __init__(
        self,
        keystore: Keystore,
        actors: Collection[str] = (),
        personal: Personal = NOBODY_PERSONAL,
        *,
        wait_s: float = WAIT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`actors` and `personal` as in `Sealing`; others' locks are waited for so long."""
        self.actors = frozenset(actors)
        self.personal = personal
        # Another kind's name in a draft costs a look at it, nothing else.
        kinds = {*personal.kinds, *personal.keys, *personal.columns}
        self._marks = tuple(_encode(kind)[1:-1] for kind in sorted(kinds))
        self._held = HeldKeystore(keystore, wait_s)
        self._lock = threading.RLock()
        self._depth = 0
        self._known: dict[tuple[str, str], Enrolled] = {}
        self._has_looked = False
        self._monotonic = monotonic
        self._busy_until = monotonic()
        hold_while_forking(self._held, self._lock, HeldKeystore.begin_in_child)

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._depth += 1
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

    def token(self, owner: tuple[str, str]) -> str:
        """See `Sealing.token`."""
        return self._enrolled(owner).token

    def seal(self, owner: tuple[str, str], kind: str, column: str, value: Value) -> Value:
        """See `Sealing.seal`."""
        token, public = self._enrolled(owner)
        content = _encode(value)
        content += b" " * (-len(content) % _FILL)
        box = seal_box(public, content, place_of(token, kind, column))
        return TypedValue("sealed", base64.b64encode(box).decode(), token)

    def conceal(self, draft: bytes) -> bytes:
        """See `Sealing.conceal`."""
        if not any(mark in draft for mark in self._marks):
            return draft
        with self:
            event = decode_draft(draft)
            concealed = translate(event, self.personal, self)
        return draft if concealed is event else encode_draft(concealed)

    def close(self) -> None:
        """Hold the keystore open no longer; it may be used again."""
        with self._lock:
            self._held.close()

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
        with self:
            found = self._found((kind, name))
        return NOT_SHOWN if found is None else found.token

    # -- below ------------------------------------------------------------------------------------

    def _enrolled(self, owner: tuple[str, str]) -> Enrolled:
        found = self._found(owner)
        if found is None:
            with self._held.keystore.errors():
                connection = self._held.connection
                if not connection.in_transaction:
                    self._begin(connection)
                    self._look()  # from here on nobody else commits
                found = self._known[owner] = self._held.keystore.enrol(connection, owner)
        return found

    def _found(self, owner: tuple[str, str]) -> Enrolled | None:
        """Nearly always somebody who is known, so that nobody has to wait for who else writes."""
        if not self._has_looked:
            self._look()
        found = self._known.get(owner)
        if found is not None:
            return found
        if len(self._known) >= _KNOWN:
            self._known.clear()
        found = self._held.enrolled(owner)
        if found is not None:
            self._known[owner] = found
        return found

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Whoever comes behind one that waited in vain doesn't wait, too."""
        if self._monotonic() < self._busy_until:
            raise StoreBusyError("expected the keystore to be free, it was held just now")
        try:
            with self._held.keystore.errors():
                connection.execute("BEGIN IMMEDIATE")
        except StoreBusyError:
            self._busy_until = self._monotonic() + _BUSY_S
            raise

    def _look(self) -> None:
        """Somebody may have been erased: a key that is gone must not be sealed for."""
        if self._held.has_changed():
            self._known.clear()
        self._has_looked = True

    def _end(self, *, is_in_order: bool) -> None:
        if not self._has_looked:
            return
        self._has_looked = False
        connection = self._held.connection
        if not connection.in_transaction:
            return
        with contextlib.ExitStack() as undo:
            # Of whom nothing was kept nothing is known; closing rolls back.
            undo.callback(self._held.close)
            undo.callback(self._known.clear)
            if is_in_order:
                with self._held.keystore.errors():
                    connection.execute("COMMIT")
                undo.pop_all()


class Opener:
    """Opens sealed values, with the keystore and its master key at hand. Safe for threads.

    A value whose subject was erased becomes `erased`; one that can't be opened here stays sealed,
    also where the keystore isn't there any more.
    """

    def __init__(self, keystore: Keystore) -> None:
        self._held = HeldKeystore(keystore)
        self._lock = threading.RLock()
        self._keys: dict[str, X25519PrivateKey | None] = {}
        self._erased: frozenset[str] = frozenset()
        hold_while_forking(self._held, self._lock, HeldKeystore.begin_in_child)

    def open(self, event: Event) -> Event:
        """The event with its sealed values opened, as far as that goes here.

        Raises `StoreBusyError` where the keystore is locked for longer than anybody waits.
        """
        changes, baseline = event.changes, event.baseline
        context, details = event.context, event.details
        if context is not None and any(map(is_sealed, context.values())):
            event = msgspec.structs.replace(event, context=self._context(context))
        if details is not None and any(map(is_sealed, details.values())):
            told = {name: self._value(DETAILS, name, value) for name, value in details.items()}
            event = msgspec.structs.replace(event, details=told)
        if not event.targets or (changes is None and baseline is None):
            return event
        kind = event.targets[0].kind
        if changes is not None and any(is_sealed(v) for pair in changes.values() for v in pair):
            opened = {
                name: (self._value(kind, name, old), self._value(kind, name, new))
                for name, (old, new) in changes.items()
            }
            event = msgspec.structs.replace(event, changes=opened)
        if baseline is not None and any(is_sealed(v) for row in baseline.rows for v in row):
            event = msgspec.structs.replace(event, baseline=self._baseline(kind, baseline))
        return event

    def _context(self, context: Mapping[str, ContextValue]) -> dict[str, ContextValue]:
        opened = {name: self._value(CIRCUMSTANCES, name, value) for name, value in context.items()}
        return {
            # What isn't a text was put there by somebody else: as it was.
            name: value if isinstance(value, str | TypedValue) else context[name]
            for name, value in opened.items()
        }

    def _baseline(self, kind: str, baseline: BaselineRows) -> BaselineRows:
        rows = tuple(
            tuple(
                self._value(kind, name, value)
                for name, value in zip(baseline.columns, row, strict=True)
            )
            for row in baseline.rows
        )
        return msgspec.structs.replace(baseline, rows=rows)

    def openings(self, event: Event) -> tuple[Opening, ...]:
        """What each sealed value of the event (whole) is, to be given to somebody beside it."""
        found = []
        for kind, column, at, value in sealed_values(event):
            opened, key = self._opened(kind, column, value)
            found.append(
                Opening(
                    kind=kind,
                    column=column,
                    at=at,
                    token=value.s or "",
                    value=_to_show(opened, is_opened=key is not None),
                    key=None if key is None else base64.b64encode(key).decode(),
                )
            )
        return tuple(found)

    def _value(self, kind: str, column: str, value: Value) -> Value:
        if not is_sealed(value) or not isinstance(value, TypedValue):
            return value
        return self._opened(kind, column, value)[0]

    def _opened(self, kind: str, column: str, value: TypedValue) -> tuple[Value, bytes | None]:
        """What was sealed, and the key of its box; without a key as `open` says."""
        token = value.s or ""
        with self._lock:
            try:
                private = self._key(token)
            except KeystoreError:
                return value, None
            if token in self._erased:
                return ERASED, None
        if private is None:
            return value, None
        try:
            key = box_key(private, base64.b64decode(value.v or "", validate=True))
            return open_value(value, key, kind, column), key
        except (BoxError, binascii.Error):
            return value, None  # moved here, or changed: it isn't what was sealed

    def _key(self, token: str) -> X25519PrivateKey | None:
        """None where there is none, or the master key isn't at hand."""
        self._look()
        if token not in self._keys:
            if len(self._keys) >= _KNOWN:
                self._keys.clear()
            try:
                self._keys[token] = self._held.private_key(token)
            except KeystoreError:
                if self._look():  # somebody was erased between the two
                    return self._key(token)
                self._keys[token] = None
        return self._keys[token]

    def _look(self) -> bool:
        """Whether others changed the keystore; then nothing is known of it any more."""
        if not self._held.has_changed():
            return False
        self._keys.clear()
        try:
            self._erased = frozenset(each.token for each in self._held.keystore.erased())
        except BaseException:
            self._held.close()
            raise
        return True

    def close(self) -> None:
        """Hold the keystore open no longer; it may be used again."""
        with self._lock:
            self._held.close()


def _to_show(value: Value, *, is_opened: bool) -> Value | msgspec.UnsetType:
    if is_sealed(value) and not is_opened:
        return STILL_SEALED
    return value if len(_encode(value)) <= MAX_VALUE_BYTES else msgspec.UNSET


def sealed_tokens(event: Event) -> frozenset[str]:
    """The tokens of the subjects for whom values of `event` (whole, not a part) are sealed."""
    return frozenset(
        each.value.s for each in sealed_values(event) if each.value.s and each.kind != CIRCUMSTANCES
    )


def all_tokens(event: Event) -> frozenset[str]:
    """The same, that of the actor for whom is sealed where from it acted, and those that stand in
    the place of values."""
    values = [value for pair in (event.changes or {}).values() for value in pair]
    if event.baseline is not None:
        values += [value for row in event.baseline.rows for value in row]
    values += [value for rows in event.targets for row_id in rows.ids for value in row_id]
    names = [v.s for v in values if isinstance(v, TypedValue) and v.t == TOKEN and v.s]
    return frozenset((*names, *(each.value.s for each in sealed_values(event) if each.value.s)))
