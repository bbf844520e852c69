"""The hashes of RFC 6962 section 2.1, and the names of the numbers that go with them.

Leaves and nodes are hashed with different first bytes, so that no node can be passed off as a leaf.
"""

from hashlib import sha256
from typing import NewType

Hash = NewType("Hash", bytes)
"""32 bytes: a leaf hash, the root of a subtree, or the root of a tree."""

Index = NewType("Index", int)
"""The place of an entry in its trail, counted from 0."""

Size = NewType("Size", int)
"""How many entries a tree has; its last index is one less."""

HASH_BYTES = 32

MAX_SIZE = Size(2**63 - 1)
"""The largest tree we read or write; the reference verifiers count in signed 64-bit integers."""

EMPTY_ROOT = Hash(sha256(b"").digest())
"""The root of the tree without entries."""


def leaf_hash(entry: bytes) -> Hash:
    """SHA-256(0x00 ‖ entry)."""
    return Hash(sha256(b"\x00" + entry).digest())


def node_hash(left: Hash, right: Hash) -> Hash:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return Hash(sha256(b"\x01" + left + right).digest())
