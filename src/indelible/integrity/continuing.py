"""A trail that can't go on goes on as another: a new one whose first entry says from which.

That is what remains after a backup was put back, or the key was stolen: the old name stands for
entries that others have seen and this file doesn't have. Nothing may ever be signed under it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from indelible.errors import DeliveryError, VerificationError
from indelible.integrity.faults import CheckpointError
from indelible.integrity.rotations import keys_in, open_by
from indelible.integrity.witness_client import WitnessClient
from indelible.policy.model import WitnessSettings
from indelible.store.sqlite_reader import SqliteReader
from indelible.tlog import (
    Note,
    Size,
    TrustPolicy,
    VerifierKey,
    add_signatures,
    format_note,
    parse_note,
)
from indelible.transport.delivery import Remark

CONTINUED: Final = "trail.continued"


def continuation(
    path: Path, trust: TrustPolicy | None, settings: WitnessSettings | None, given: Sequence[bytes]
) -> Remark:
    """What a new trail's first entry says of the trail at `path`: its name, its key, and the
    largest checkpoint of it that anybody is found to have, with all cosignatures.

    Looks into the file, at the signed notes `given`, and asks the witnesses. Raises `DeliveryError`
    where there are witnesses, none of them shows one and nothing is given: what the old trail had
    become isn't known then. Raises `CheckpointError` where no checkpoint is found, or one that is
    given isn't by the trail's key.
    """
    reader = SqliteReader(path)
    try:
        origin, newest = reader.origin, VerifierKey.parse(reader.vkey)
        keys = (newest, *keys_in(reader).earlier)
        size = reader.size
        kept = [reader.state().checkpoint, *(row.note for row in reader.witnesses())]
        fetched = _fetch(reader, origin, keys, trust, settings, is_needed=not given)
    finally:
        reader.close()
    for note in given:
        _open(note, origin, keys)
    notes = [note for note in (*kept, *fetched, *given) if note is not None]
    last = _largest(notes, origin, keys)
    known = open_by(format_note(last), origin, keys).checkpoint
    size = min(size, known.size)  # what is behind that isn't signed
    return Remark(
        CONTINUED,
        f"goes on from {origin}, which had {known.size} entries; {size} of them are kept",
        {
            "origin": origin,
            "vkey": str(newest),
            "checkpoint": format_note(last).decode(),
            "size": str(known.size),
            "kept": str(size),
        },
    )


def _fetch(
    reader: SqliteReader,
    origin: str,
    keys: Sequence[VerifierKey],
    trust: TrustPolicy | None,
    settings: WitnessSettings | None,
    *,
    is_needed: bool,
) -> list[bytes]:
    """What the witnesses show of the old trail."""
    if trust is None or settings is None:
        return []
    found: list[bytes] = []
    why = "the trust policy has no witness with a URL"
    for witness in trust.witnesses:
        if witness.url is None:
            continue
        client = WitnessClient(witness, lambda: keys, reader, deadline_s=settings.deadline_s)
        try:
            found.append(client.fetch_latest(origin))
        except (DeliveryError, VerificationError) as error:
            why = f"{witness.key.name}: {error}"
    if not found and is_needed:
        raise DeliveryError(
            f"expected a witness to show the last checkpoint of {origin}, none did ({why}): "
            "give one that somebody kept (--checkpoint)"
        )
    return found


def _largest(notes: Sequence[bytes], origin: str, keys: Sequence[VerifierKey]) -> Note:
    """Of notes by the trail's keys the largest, with the signatures of all that are equal."""
    largest: Note | None = None
    size = Size(-1)
    for raw in notes:
        try:
            found = _open(raw, origin, keys)
        except CheckpointError:
            continue  # in a file that was restored, or of a witness that was shown something else
        note = parse_note(raw)
        if found > size:
            largest, size = note, found
        elif largest is not None and note.text == largest.text:
            largest = add_signatures(largest, note.signatures)
    if largest is None:
        raise CheckpointError(0, f"expected a checkpoint of {origin} by {keys[0]}, there is none")
    return largest


def _open(raw: bytes, origin: str, keys: Sequence[VerifierKey]) -> Size:
    try:
        return open_by(raw, origin, keys).checkpoint.size
    except VerificationError as error:
        raise CheckpointError(0, f"expected a checkpoint of {origin}: {error}") from None
