"""Edit a trail's file behind its back, as somebody with root on its machine could.

Every function writes straight into the SQLite file and keeps nothing else in step, so `verify` has
to name the spot. For small trails (a rewrite takes all entries into memory) that no process is
appending to; work on a copy (`copy_trail`) to keep the original.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from indelible.errors import IndelibleError
from indelible.events.codec import decode_event
from indelible.store.blocks import BLOCK_ENTRIES, FRAME_ENTRIES, FRAMES, encode_frame, encode_stems
from indelible.store.entry import format_stem, new_salts
from indelible.store.errors import NoSuchEntryError
from indelible.store.sqlite_audit import audit_trail
from indelible.store.sqlite_file import open_connection, statements

Edit = Callable[[bytes], bytes]


class TamperError(IndelibleError):
    """What was to be tampered with isn't there, or came out as it was."""


class _Stored(NamedTuple):
    """An entry as its file has it."""

    stem: bytes
    salt: bytes
    body: bytes
    doubtful: bool


def copy_trail(trail: Path, copy: Path) -> None:
    """Make `copy` of the trail's file, of one moment, also while it is in use."""
    copy.touch(mode=0o600, exist_ok=False)
    with (
        contextlib.closing(open_connection(trail)) as source,
        contextlib.closing(sqlite3.connect(copy)) as to,
    ):
        source.backup(to)


def at_another_second(body: bytes) -> bytes:
    """The event's bytes with one digit of its time changed: as small an edit as there is."""
    event = decode_event(body)
    at = body.index(event.time.encode()) + len("2026-11-23T09:28:0")
    digit = b"1" if body[at : at + 1] == b"0" else b"0"
    return body[:at] + digit + body[at + 1 :]


def edit_body(trail: Path, index: int, edit: Edit = at_another_second) -> None:
    """Give the entry at `index` another body: what `edit` makes of it."""
    with _rewriting(trail) as entries:
        old = _at(entries, index)
        body = edit(old.body)
        if body == old.body:
            raise TamperError(f"expected another body at index {index}, the edit changes nothing")
        entries[index] = old._replace(body=body)


def swap_entries(trail: Path, one: int, other: int) -> None:
    """Put two entries in each other's place."""
    with _rewriting(trail) as entries:
        entries[one], entries[other] = _at(entries, other), _at(entries, one)


def delete_entry(trail: Path, index: int) -> None:
    """Take the entry at `index` out; those behind it move up."""
    with _rewriting(trail) as entries:
        _at(entries, index)
        del entries[index]


def insert_entry(trail: Path, index: int, body: bytes) -> None:
    """Put an event that nobody recorded before the entry at `index`."""
    event = decode_event(body)
    stem = format_stem(event.producer, event.kind)
    with _rewriting(trail) as entries:
        entries.insert(index, _Stored(stem, new_salts(1)[0], body, False))


def cut_tail(trail: Path, size: int) -> None:
    """Leave only the first `size` entries."""
    with _rewriting(trail) as entries:
        _at(entries, size)
        del entries[size:]


def change_tile(trail: Path, level: int = 0, n: int = 0) -> None:
    """Turn one bit of a tile of the tree."""
    key = level << 48 | n
    with _writing(trail) as connection:
        row = connection.execute(statements()["tile"], (key,)).fetchone()
        if row is None:
            raise TamperError(f"expected a tile {level}/{n} to change, there is none")
        connection.execute(statements()["put_tile"], (key, bytes([row[0][0] ^ 1]) + row[0][1:]))


def read_checkpoint(trail: Path) -> bytes:
    """The signed checkpoint as it stands in the file; raises `TamperError` before the first."""
    with audit_trail(trail) as audit:
        checkpoint = audit.trail().checkpoint
    if checkpoint is None:
        raise TamperError("expected a checkpoint, the trail has none yet")
    return checkpoint


def replace_checkpoint(trail: Path, checkpoint: bytes) -> None:
    """Put another checkpoint in the place of the signed one: an older one, for example."""
    with _writing(trail) as connection:
        connection.execute(statements()["store_checkpoint"], (checkpoint,))


def _at(entries: list[_Stored], index: int) -> _Stored:
    if not 0 <= index < len(entries):
        raise NoSuchEntryError(f"expected an index below {len(entries)}, got {index}")
    return entries[index]


@contextlib.contextmanager
def _writing(trail: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(open_connection(trail)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


@contextlib.contextmanager
def _rewriting(trail: Path) -> Iterator[list[_Stored]]:
    """All entries, to be changed in place; nothing is written where the block raises."""
    with audit_trail(trail) as audit:
        blocks = list(audit.blocks(0))
    entries = [
        _Stored(stem, salt, body, bool(block.doubtful >> place & 1))
        for block in blocks
        for place, (stem, salt, body) in enumerate(
            zip(block.stems, block.salts, block.bodies, strict=True)
        )
    ]
    yield entries
    times = (min(block.min_time for block in blocks), max(block.max_time for block in blocks))
    with _writing(trail) as connection:
        connection.execute("DELETE FROM block")
        for n in range(-(-len(entries) // BLOCK_ENTRIES)):
            _put_block(connection, n, entries[n * BLOCK_ENTRIES :][:BLOCK_ENTRIES], times)


def _put_block(
    connection: sqlite3.Connection, n: int, entries: list[_Stored], times: tuple[str, str]
) -> None:
    doubtful = sum(entry.doubtful << place for place, entry in enumerate(entries))
    frames = [
        encode_frame([entry.body for entry in entries[at : at + FRAME_ENTRIES]])
        for at in range(0, FRAMES * FRAME_ENTRIES, FRAME_ENTRIES)
    ]
    connection.execute(
        statements()["put_block"],
        (
            n,
            len(entries),
            *times,
            doubtful.to_bytes(BLOCK_ENTRIES // 8, "little") if doubtful else None,
            encode_stems([entry.stem for entry in entries]),
            b"".join(entry.salt for entry in entries),
            *frames,
        ),
    )
