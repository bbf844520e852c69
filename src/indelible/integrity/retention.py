"""What retention drops, as it is signed and as it is said in the trail. Pure.

Authorisers and verifiers sign a signed note (c2sp.org/signed-note) with this text, each line a name
and what it says::

    indelible retention v1
    origin <of the trail>
    access_detail <time>      older accesses are known by day from here on; - for none
    accesses <time>           older ones are gone
    changes <time>
    events <time>
    through <index>           the last entry that was looked at
    held <count>              entries that stay because somebody is held
    dropped <count> <root>    bodies; the root over the tree's hashes of their blocks
    said <count> <SHA-256>    of the entries that say which, and who accessed whose data by day
    nonce <random>
    time <when it was asked for>
    reason <one line, which must name nobody>

The trail then has, in this order::

    retention.authorised {nonce, note}
    retention.dropped {nonce, n, block, bits}          256 blocks each: a bit an entry
    retention.daily {nonce, n, day} actor, subjects…   `indelible.integrity.retention_plan`
    retention.applied {nonce, left}                    when the bodies are gone

`n` counts from 0. The SHA-256 is over the drafts of all `n`, each behind its length of four bytes
(little-endian). The first line keeps the text from being anything else that the same key signs.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

import msgspec

from indelible.errors import MalformedEventError
from indelible.events.codec import encode_draft, format_time, parse_time
from indelible.events.model import Event, Timestamp
from indelible.integrity.authorisations import (
    Authorisers,
    check_signed,
    pack_note,
    signers_of,
)
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.terms import DAILY
from indelible.tlog import Hash, MalformedNoteError, parse_note, root_of
from indelible.tlog.note import check_note_text

AUTHORISED: Final = "retention.authorised"
DROPPED: Final = "retention.dropped"
APPLIED: Final = "retention.applied"
RETENTION: Final = frozenset({AUTHORISED, DROPPED, DAILY, APPLIED})

_FIRST: Final = "indelible retention v1"
_NAMES: Final = (
    "origin",
    "access_detail",
    "accesses",
    "changes",
    "events",
    "through",
    "held",
    "dropped",
    "said",
    "nonce",
    "time",
    "reason",
)
_NOTHING: Final = "-"
_NONCE: Final = re.compile(r"[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_HASH_BYTES: Final = 32
_DAY: Final = 86_400 * 1_000_000
_CHUNK: Final = 256
"""Blocks whose bits stand in one entry."""
_BLOCK_BYTES: Final = BLOCK_ENTRIES // 8


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is older than each of these goes: of accesses first the detail. None: nothing does."""

    access_detail: Timestamp | None = None
    accesses: Timestamp | None = None
    changes: Timestamp | None = None
    events: Timestamp | None = None


class RetentionAct(msgspec.Struct, frozen=True, kw_only=True):
    """What authorisers and verifiers sign; see the module for each field."""

    origin: str
    rules: Rules
    through: int
    held: int
    dropped: int
    root: bytes
    said: int
    digest: bytes
    nonce: str
    time: str
    reason: str


def format_retention(act: RetentionAct) -> str:
    """The text to be signed. Raises `MalformedNoteError` where a field doesn't fit on its line."""
    rules = act.rules
    values = (
        act.origin,
        *(rule or _NOTHING for rule in _listed(rules)),
        str(act.through),
        str(act.held),
        f"{act.dropped} {base64.b64encode(act.root).decode()}",
        f"{act.said} {base64.b64encode(act.digest).decode()}",
        act.nonce,
        act.time,
        act.reason,
    )
    lines = [f"{name} {value}" for name, value in zip(_NAMES, values, strict=True)]
    text = "\n".join((_FIRST, *lines, ""))
    check_note_text(text)
    if text.count("\n") != len(_NAMES) + 1:
        raise MalformedNoteError("reason: expected one line, got more")
    return text


def is_retention(text: str) -> bool:
    """Whether the text says that it is one of these."""
    return text.startswith(_FIRST + "\n")


def parse_retention(text: str) -> RetentionAct:
    """What `format_retention` wrote; raises `MalformedNoteError` for any other text."""
    lines = text.split("\n")
    if len(lines) != len(_NAMES) + 2 or lines[0] != _FIRST or lines[-1]:
        raise MalformedNoteError(f"expected {len(_NAMES) + 1} lines, {_FIRST!r} the first of them")
    values: dict[str, str] = {}
    for name, line in zip(_NAMES, lines[1:], strict=False):
        found, _, values[name] = line.partition(" ")
        if found != name:
            raise MalformedNoteError(f"expected a line {name!r}, came {found!r}")
    rules = [_rule(values[name]) for name in ("access_detail", "accesses", "changes", "events")]
    dropped, root = _counted(values["dropped"])
    said, digest = _counted(values["said"])
    if not _NONCE.fullmatch(values["nonce"]):
        raise MalformedNoteError("nonce: expected 32 hexadecimal digits")
    return RetentionAct(
        origin=values["origin"],
        rules=Rules(access_detail=rules[0], accesses=rules[1], changes=rules[2], events=rules[3]),
        through=_number(values["through"]),
        held=_number(values["held"]),
        dropped=dropped,
        root=root,
        said=said,
        digest=digest,
        nonce=values["nonce"],
        time=values["time"],
        reason=values["reason"],
    )


def check_retention(
    note: bytes, authorisers: Authorisers, *, origin: str
) -> tuple[RetentionAct, tuple[str, ...]]:
    """The act, only if enough authorisers signed it for the trail of this origin; and the names of
    the verifiers who attest it.

    Raises `AuthorisationError`, or another `VerificationError` for bytes that are no such note and
    signatures that the key which they claim didn't make.
    """
    parsed = parse_note(note)
    act = parse_retention(parsed.text)
    check_signed(parsed, authorisers, act.origin, origin=origin)
    return act, tuple(key.name for key in signers_of(parsed, authorisers.verifiers))


def read_retention(note: bytes) -> RetentionAct:
    """What the note says, whoever signed it. Raises `MalformedNoteError`."""
    return parse_retention(parse_note(note).text)


# -- what is said in the trail -----------------------------------------------------------------


def authorised_entry(act: RetentionAct, note: bytes) -> Event:
    return _entry(AUTHORISED, nonce=act.nonce, note=pack_note(note))


def applied_entry(nonce: str) -> Event:
    return _entry(APPLIED, nonce=nonce)


def dropped_entry(nonce: str, n: int, chunk: int, bits: Mapping[int, int]) -> Event:
    """Which entries of the blocks `chunk` * 256 to that + 255 are dropped: a bit for each."""
    first = chunk * _CHUNK
    raw = b"".join(
        bits.get(block, 0).to_bytes(_BLOCK_BYTES, "little")
        for block in range(first, first + _CHUNK)
    )
    packed = base64.b64encode(zlib.compress(raw, 9)).decode()
    return _entry(DROPPED, nonce=nonce, n=n, block=first, bits=packed)


def chunks_of(bits: Mapping[int, int]) -> list[int]:
    """The chunks that have a bit, in order."""
    return sorted({block // _CHUNK for block, each in bits.items() if each})


def read_bits(event: Event) -> dict[int, int]:
    """By block, what `dropped_entry` says. Raises `MalformedEventError`."""
    details = event.details or {}
    first, packed = details.get("block"), details.get("bits")
    if type(first) is not int or first < 0 or first % _CHUNK or type(packed) is not str:
        raise MalformedEventError("expected the bits of 256 blocks")
    size = _CHUNK * _BLOCK_BYTES
    try:
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(base64.b64decode(packed, validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError):
        raise MalformedEventError("expected bits that can be unpacked") from None
    if len(raw) != size:
        raise MalformedEventError(f"expected {size} bytes of bits, came {len(raw)}")
    found = {
        first + at: int.from_bytes(raw[at * _BLOCK_BYTES : (at + 1) * _BLOCK_BYTES], "little")
        for at in range(_CHUNK)
    }
    return {block: bits for block, bits in found.items() if bits}


def day_of(event: Event) -> tuple[Timestamp, Timestamp]:
    """The day that a `retention.daily` is about: its first instant, and the first after it.

    Raises `MalformedEventError`.
    """
    day = (event.details or {}).get("day")
    if type(day) is not str:
        raise MalformedEventError("expected the day of what was accessed")
    start = parse_time(Timestamp(f"{day}T00:00:00.000000Z"))
    return format_time(start), format_time(start + _DAY)


class Saying:
    """The digest of what is said, draft by draft."""

    def __init__(self) -> None:
        self._digest = sha256()
        self.count = 0

    def add(self, event: Event) -> None:
        draft = encode_draft(event)
        self._digest.update(len(draft).to_bytes(4, "little") + draft)
        self.count += 1

    def digest(self) -> bytes:
        return self._digest.digest()


def root_of_blocks(bits: Mapping[int, int], hash_of: Callable[[int], Hash]) -> Hash:
    """The root over the tree's hashes of the blocks that have a bit (`hash_of` a block)."""
    return root_of([hash_of(block) for block in sorted(bits) if bits[block]])


def _entry(action: str, **details: str | int) -> Event:
    return Event(action=action, kind="system", details=dict(details))


def _listed(rules: Rules) -> tuple[Timestamp | None, ...]:
    return rules.access_detail, rules.accesses, rules.changes, rules.events


def _rule(text: str) -> Timestamp | None:
    if text == _NOTHING:
        return None
    try:
        time = format_time(parse_time(Timestamp(text)))
    except MalformedEventError as error:
        raise MalformedNoteError(str(error)) from None
    if time != text:
        raise MalformedNoteError(f"expected a time written as {time}, came {text!r}")
    return time


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise MalformedNoteError(f"expected a number, came {text!r}")
    return int(text)


def _counted(text: str) -> tuple[int, bytes]:
    count, _, packed = text.partition(" ")
    try:
        raw = base64.b64decode(packed, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != _HASH_BYTES or base64.b64encode(raw).decode() != packed:
        raise MalformedNoteError("expected a count and a hash of 32 bytes in base64")
    return _number(count), raw
