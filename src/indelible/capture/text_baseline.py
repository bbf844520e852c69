"""The baseline of a server's table: rows in its text form become `table.baseline` events."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from indelible.capture.appending import append_rows
from indelible.capture.host import Journal
from indelible.capture.sealing import Owner, Sealed
from indelible.capture.text_rows import STAND_IN, Image, TableRows
from indelible.events.codec import encode_draft
from indelible.events.model import BaselineRows, Event, Subject, TargetRows
from indelible.policy.model import Policy

CHUNK_ROWS: Final = 500
_CHUNK_CHARACTERS: Final = 40_000

Stored = tuple[Any, Any]
"""A row's subject, as a trigger writes it, and its text."""


def _in_chunks(rows: Iterable[Stored]) -> Iterator[list[Stored]]:
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


class BaselineWriter(msgspec.Struct, frozen=True):
    """Writes down that rows were there when the outbox of `incarnation` stood at `position`;
    `epoch` is that of a restored database."""

    policy: Policy
    journal: Journal
    incarnation: str
    position: int
    epoch: int | None

    def write(self, rows: TableRows, found: Iterable[Stored]) -> Iterator[int]:
        """Append every row of a table to the journal; how many there were in each chunk."""
        is_full = self.policy.table(rows.layout.table).baseline == "full"
        for chunk in _in_chunks(found):
            draft_of = functools.partial(self._draft, rows, is_full=is_full)
            append_rows(self.journal, chunk, draft_of)
            yield len(chunk)

    def _draft(self, rows: TableRows, chunk: Sequence[Stored], *, is_full: bool) -> bytes:
        images: list[Image] = []
        owners: list[Owner] = []
        for stored, text in chunk:
            image = rows.read(text)
            images.append(image)
            owners.append(rows.subject_of(image, stored))
        layout = rows.layout
        values = [image.values for image in images]
        if layout.sealed and is_full:
            with self.journal.sealing as sealing:
                sealed = Sealed(sealing, layout.kind, layout.sealed)
                values = [
                    sealed.row(rows.columns, each, owner)
                    for each, owner in zip(values, owners, strict=True)
                ]
        keyless = None if layout.key else STAND_IN
        return encode_draft(
            Event(
                action="table.baseline",
                kind="system",
                targets=(
                    TargetRows(layout.kind, tuple(image.id for image in images), keyless=keyless),
                ),
                subjects=tuple(
                    Subject(*each) for each in dict.fromkeys(owners) if each is not None
                ),
                baseline=BaselineRows(
                    self.incarnation,
                    self.position,
                    rows.columns if is_full else (),
                    tuple(values) if is_full else (),
                    self.epoch,
                ),
            )
        )
