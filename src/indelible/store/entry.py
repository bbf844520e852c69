"""The entry's head: the only bytes that are hashed into the tree.

`{"v":1,"p":[producer,epoch,seq],"k":kind,"c":base64(SHA-256(salt ‖ body))}`. While the body is
there, `c` is computed; what is stored of the head is its stem, all before `c`'s value.
"""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256
from typing import Final

from indelible.events.model import Kind, Producer
from indelible.tlog import Hash

SALT_BYTES: Final = 16
_END: Final = b'"}'


def format_stem(producer: Producer, kind: Kind) -> bytes:
    """The head as far as it doesn't depend on the body."""
    return (
        f'{{"v":1,"p":["{producer.id}",{producer.epoch},{producer.seq}],"k":"{kind}","c":"'
    ).encode()


def format_head(stem: bytes, salt: bytes, body: bytes) -> bytes:
    """The whole head, which commits to `body` without telling anything of it."""
    return stem + b64encode(sha256(salt + body).digest()) + _END


def leaf_of(stem: bytes, salt: bytes, body: bytes) -> Hash:
    """The leaf hash of the entry (RFC 6962 section 2.1, over the head)."""
    head = stem + b64encode(sha256(salt + body).digest()) + _END
    return Hash(sha256(b"\x00" + head).digest())


def new_salts(count: int) -> list[bytes]:
    """Random salts: without one, a hash that is kept would let its body be guessed."""
    raw = os.urandom(SALT_BYTES * count)
    return [raw[at : at + SALT_BYTES] for at in range(0, len(raw), SALT_BYTES)]
