"""What a process signs of its own journal, so that nobody rewrites it before it is delivered.

Three entries, by the journal itself::

    producer.began   {key, enrolled_by, signature}            the first
    producer.signed  {first, last, digest, next, signature}   now and then, also if nothing happens
    producer.ended   {first, last, digest, signature}         the last, where it ended in order

`digest` is over the events `first` to `last`, the statement before among them, so that statements
are a chain. Each is signed with the key that the one before named, and that key is then forgotten:
who takes over the process finds a key for what comes, none for what was (Bellare and Yee 1997,
forward-secure signatures; the window in between is `SIGN_S`). What is signed is text, each field on
a line of its own.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from hashlib import sha256
from typing import Final

from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.events.values import Value
from indelible.tlog import SigningKey

BEGAN: Final = "producer.began"
SIGNED: Final = "producer.signed"
ENDED: Final = "producer.ended"
VANISHED: Final = "producer.vanished"
SILENT: Final = "producer.silent"
"""Of a process that lives, and of which no word came for three times `HEARTBEAT_S`; like
`VANISHED`, by whoever relays."""
SIGN_S: Final = 10.0
"""Seconds between an event and the statement that it is under, at most."""
HEARTBEAT_S: Final = 60.0
"""Seconds between statements of a process to which nothing happens."""
_LENGTH: Final = struct.Struct(">I")


def began_text(producer_id: str, epoch: int, key: str) -> bytes:
    """What an enrolment key signs: `key` is the producer's first vkey."""
    return f"indelible-producer-began/1\n{producer_id}\n{epoch}\n{key}\n".encode()


def statement_text(
    producer_id: str, epoch: int, first: int, last: int, digest: str, following: str
) -> bytes:
    """What a producer signs; `following` is the vkey for the next statement, empty at the end."""
    return (
        f"indelible-producer-signed/1\n{producer_id}\n{epoch}\n{first}\n{last}\n{digest}\n"
        f"{following}\n"
    ).encode()


class Digest:
    """Over events in order: each part's length (u32, big-endian) and bytes, hashed with SHA-256."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, *pieces: bytes | memoryview) -> None:
        """One part of an event, in pieces."""
        self._hash.update(b"".join((_LENGTH.pack(sum(map(len, pieces))), *pieces)))

    def text(self) -> str:
        return b64encode(self._hash.digest()).decode()


class ProducerSigner:
    """Signs for one producer. Not for threads: the journal's lock is held around every call."""

    def __init__(self, producer_id: str, epoch: int, enrolment: SigningKey) -> None:
        self._producer = (producer_id, epoch)
        self._enrolment = enrolment
        self._key = self._new_key()
        self._digest = Digest()
        self._first = 1
        self.has_begun = False
        """Whether what `began` gives was written."""
        self.unwritten: bytes | None = None
        """A statement that was made and isn't written. It can't be made again: its key is gone."""

    @property
    def stated_through(self) -> int:
        """The number of the last event that a statement is about; 0 before the first."""
        return self._first - 1

    def began(self) -> bytes:
        """The draft of the first entry."""
        key = str(self._key.verifier_key)
        signature = self._enrolment.sign_bytes(began_text(*self._producer, key))
        return _draft(
            BEGAN,
            key=key,
            enrolled_by=str(self._enrolment.verifier_key),
            signature=b64encode(signature).decode(),
        )

    def add(self, *pieces: bytes | memoryview) -> None:
        """One part of the next event was written."""
        self._digest.add(*pieces)

    def state(self, last: int, *, is_end: bool = False) -> None:
        """Make the draft of a statement over all that was added, `last` being its last event, and
        forget its key; what is added next is for the next one. The draft is `unwritten`."""
        key, digest, first = self._key, self._digest.text(), self._first
        self._key = self._new_key()
        self._digest = Digest()
        self._first = last + 1
        following = "" if is_end else str(self._key.verifier_key)
        text = statement_text(*self._producer, first, last, digest, following)
        said: dict[str, Value] = {"first": first, "last": last, "digest": digest}
        if not is_end:
            said["next"] = following
        said["signature"] = b64encode(key.sign_bytes(text)).decode()
        self.unwritten = _draft(ENDED if is_end else SIGNED, **said)

    def _new_key(self) -> SigningKey:
        producer_id, epoch = self._producer
        return SigningKey.generate(f"{producer_id}.{epoch}")


def _draft(action: str, **details: Value) -> bytes:
    return encode_draft(Event(action=action, kind="system", details=details))
