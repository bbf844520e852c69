"""The baseline of a server's table: rows in its text form become `table.baseline` events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from indelible.capture.text_rows import STAND_IN, Image, TableRows
from indelible.events.codec import encode_draft
from indelible.events.model import BaselineRows, Event, Subject, TargetRows

CHUNK_ROWS: Final = 500
_CHUNK_CHARACTERS: Final = 40_000

Stored = tuple[Any, Any]
"""A row's subject, as a trigger writes it, and its text."""


def in_chunks(rows: Iterable[Stored]) -> Iterator[list[Stored]]:
    """`rows` by as many as fit into an event."""
    chunk: list[Stored] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row[1])
        if size >= _CHUNK_CHARACTERS or len(chunk) >= CHUNK_ROWS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def draft_rows(
    rows: TableRows,
    chunk: Sequence[Stored],
    *,
    incarnation: str,
    position: int,
    is_full: bool,
    epoch: int | None,
) -> bytes:
    """The event that says of `chunk` that it was there when the outbox stood at `position`.

    `is_full`: with values. `epoch` is the restored database's.
    """
    images: list[Image] = []
    subjects: dict[Subject, None] = {}
    for stored, text in chunk:
        image = rows.read(text)
        images.append(image)
        subject = rows.subject_of(image, stored)
        if subject is not None:
            subjects[Subject(*subject)] = None
    layout = rows.layout
    keyless = None if layout.key else STAND_IN
    return encode_draft(
        Event(
            action="table.baseline",
            kind="system",
            targets=(
                TargetRows(layout.kind, tuple(image.id for image in images), keyless=keyless),
            ),
            subjects=tuple(subjects),
            baseline=BaselineRows(
                incarnation,
                position,
                rows.columns if is_full else (),
                tuple(image.values for image in images) if is_full else (),
                epoch,
            ),
        )
    )
