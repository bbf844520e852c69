"""The entry's head: the only bytes that are hashed into the tree.

`{"v":1,"p":[producer,epoch,seq],"k":kind,"c":base64(SHA-256(salt ‖ body))}`. While the body is
there, `c` is computed; what is stored of the head is its stem, all before `c`'s value. Of an entry
whose body was dropped, which retention may do, the whole head stands where its stem stood, and body
and salt are empty.
"""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from indelible.events.codec import UNDECODABLE
from indelible.events.model import Kind, Producer
from indelible.store.errors import MalformedBlockError
from indelible.tlog import Hash

SALT_BYTES: Final = 16
NO_SALT: Final = bytes(SALT_BYTES)
"""Stands in the place of a salt that was dropped with its body."""
_END: Final = b'"}'
_COMMITMENT_CHARS: Final = 44


class Dropped(NamedTuple):
    """What is left of an event whose body was dropped."""

    producer: Producer
    kind: Kind


class _Head(msgspec.Struct):
    p: tuple[str, int, int]
    k: Kind


_decoder: Final = msgspec.json.Decoder(_Head)


def format_stem(producer: Producer, kind: Kind) -> bytes:
    """The head as far as it doesn't depend on the body."""
    return (
        f'{{"v":1,"p":["{producer.id}",{producer.epoch},{producer.seq}],"k":"{kind}","c":"'
    ).encode()


def format_head(stem: bytes, salt: bytes, body: bytes) -> bytes:
    """The whole head, which commits to `body` without telling anything of it."""
    if not body:
        return stem
    return stem + b64encode(sha256(salt + body).digest()) + _END


def leaf_of(stem: bytes, salt: bytes, body: bytes) -> Hash:
    """The leaf hash of the entry (RFC 6962 section 2.1, over the head)."""
    head = stem + b64encode(sha256(salt + body).digest()) + _END if body else stem
    return Hash(sha256(b"\x00" + head).digest())


def parse_head(head: bytes) -> Dropped:
    """Whose entry it is, and of what kind. Raises `MalformedBlockError` for what is no head."""
    try:
        found = _decoder.decode(head)
    except UNDECODABLE:
        raise MalformedBlockError("expected the head of an entry") from None
    producer = Producer(*found.p)
    stem = format_stem(producer, found.k)
    if not head.startswith(stem) or len(head) != len(stem) + _COMMITMENT_CHARS + len(_END):
        raise MalformedBlockError("expected the head of an entry, written as all are")
    return Dropped(producer, found.k)


def new_salts(count: int) -> list[bytes]:
    """Random salts: without one, a hash that is kept would let its body be guessed."""
    raw = os.urandom(SALT_BYTES * count)
    return [raw[at : at + SALT_BYTES] for at in range(0, len(raw), SALT_BYTES)]
