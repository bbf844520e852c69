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
from types import TracebackType
from typing import Final, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from indelible.errors import BoxError, KeystoreError
from indelible.events.box import box_key, seal_box
from indelible.events.model import BaselineRows, Event
from indelible.events.values import ERASED, TypedValue, Value
from indelible.store.keystore import Enrolled, Keystore
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
_encode: Final = msgspec.json.Encoder().encode


class Sealer:
    """Implements `indelible.capture.sealing.Sealing` by a keystore. Safe for threads.

    Subjects that are new are enrolled together, when the batch ends in order: what was sealed for
    them before may not be delivered if it doesn't.
    """

    def __init__(self, keystore: Keystore) -> None:
        self._keystore = keystore
        self._lock = threading.RLock()
        self._version: tuple[int, int, int] | None = None
        self._known: dict[tuple[str, str], Enrolled] = {}
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._end(is_in_order=exc_type is None)
        finally:
            self._lock.release()

    def seal(self, owner: tuple[str, str], kind: str, column: str, value: Value) -> Value:
        """See `Sealing.seal`."""
        token, public = self._enrolled(owner)
        content = _encode(value)
        content += b" " * (-len(content) % _FILL)
        box = seal_box(public, content, place_of(token, kind, column))
        return TypedValue("sealed", base64.b64encode(box).decode(), token)

    def _enrolled(self, owner: tuple[str, str]) -> Enrolled:
        if self._connection is None and self._version != (now := self._keystore.version()):
            # Somebody may have been erased: a key that is gone must not be sealed for.
            self._known.clear()
            self._version = now
        found = self._known.get(owner)
        if found is not None:
            return found
        if len(self._known) >= _KNOWN:
            self._known.clear()
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
        if changes is not None and any(is_sealed(v) for pair in changes.values() for v in pair):
            opened = {
                name: (self._value(kind, name, old), self._value(kind, name, new))
                for name, (old, new) in changes.items()
            }
            event = msgspec.structs.replace(event, changes=opened)
        if baseline is not None and any(is_sealed(v) for row in baseline.rows for v in row):
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
            self._look()
            if token in self._erased:
                return ERASED, None
            private = self._key(token)
        if private is None:
            return value, None
        try:
            key = box_key(private, base64.b64decode(value.v or "", validate=True))
            return open_value(value, key, kind, column), key
        except (BoxError, binascii.Error):
            return value, None  # moved here, or changed: it isn't what was sealed

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


def _to_show(value: Value, *, is_opened: bool) -> Value | msgspec.UnsetType:
    if is_sealed(value) and not is_opened:
        return STILL_SEALED
    return value if len(_encode(value)) <= MAX_VALUE_BYTES else msgspec.UNSET


def sealed_tokens(event: Event) -> frozenset[str]:
    """The tokens of the subjects for whom values of `event` (whole, not a part) are sealed."""
    return frozenset(each.value.s for each in sealed_values(event) if each.value.s)
