"""What `indelible verify FILE` shows: entries that are in a trail, and whether they are all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from indelible.capture.sealing import CIRCUMSTANCES, DETAILS
from indelible.cli.assurance import assurance_text
from indelible.cli.output import (
    changes_text,
    console,
    local,
    print_json,
    print_table,
    printable,
    value_text,
)
from indelible.events.model import Event
from indelible.events.personal import with_names
from indelible.integrity.evidence import EvidenceReader, Included
from indelible.integrity.seen import UNWITNESSED
from indelible.questions.findings import target_names
from indelible.store.openings import Opening
from indelible.tlog import TrustPolicy, VerifierKey

COLUMNS = ("index", "time (UTC)", "actor", "action", "target", "changes")


def show_evidence(
    file: Path,
    key: VerifierKey | None,
    verifier: VerifierKey | None,
    trust: TrustPolicy | None,
    *,
    as_json: bool,
) -> None:
    """Print what `file` proves, once all of it was verified. Raises `VerificationError`."""

    def read(lines: BinaryIO) -> EvidenceReader:
        return EvidenceReader(lines, key=key, verifier=verifier, trust=trust)

    with file.open("rb") as lines:
        whole = read(lines)
        opened: Counter[str] = Counter()
        named: set[str] = set()
        for included in whole:
            opened.update(map(_fate, included.opened))
            named.update(each.token for each in included.named if each.name is not None)
        recipient = whole.header.recipient or None
        lines.seek(0)
        if as_json:
            print_json(_objects(whole, read(lines), recipient))
            return
        out = console()
        out.print("asked: indelible " + printable(" ".join(whole.header.question)))
        print_table(out, COLUMNS, map(_row, read(lines)), empty="no entries")
    checkpoint = whole.checkpoint
    out.print(
        f"included: {whole.count} entries are in the trail {checkpoint.origin} as it was signed at "
        f"{checkpoint.size} entries"
    )
    out.print(f"signed by: {whole.key}")
    if opened.total():
        out.print(
            f"opened: {opened['opened']} values, each by the key of the box that it was sealed in; "
            f"by the file's own word {opened['erased']} are erased, and there was no key for "
            f"{opened['sealed']}"
        )
    if named:
        out.print(f"named, by the file's own word: {len(named)}, whose tokens the entries have")
    if recipient is not None:
        out.print(f"opened for, by the file's own word: {printable(recipient)}")
    if key is None:
        out.print("that key is the file's own word: compare it with one that you have otherwise")
    if trust is None and whole.header.policy is not None:
        out.print("and so is who its witnesses are: --policy says whom you trust")
    out.print(
        f"assurance: {assurance_text(whole.witnessed, checkpoint.size, int(time.time()))}",
        style="bold",
    )
    if whole.is_attested:
        out.print(
            f"complete: {verifier} has signed that the question finds no others there", style="bold"
        )
    else:
        out.print(
            "complete: nobody you named says so; what is in the file is proven, not that there is "
            "nothing else",
            style="bold",
        )


def _fate(opening: Opening) -> str:
    if opening.key is not None:
        return "opened"
    return "erased" if opening.is_erased else "sealed"


def _row(included: Included) -> list[str]:
    event = with_names(included.event, included.named)
    return [
        str(included.index),
        local(event.time),
        "(unattributed)" if event.actor is None else str(event.actor),
        event.action,
        ", ".join(name for target in event.targets for name in target_names(target)),
        _changes_text(event, included.opened),
    ]


def _changes_text(event: Event, opened: Sequence[Opening]) -> str:
    """With what was opened; that of an event in several parts stands beside its last."""
    beside = list(opened)
    told = []
    if event.changes is not None:
        rows = [each for each in beside if each.kind not in (CIRCUMSTANCES, DETAILS)]
        beside = [each for each in beside if each not in rows]
        values = {(each.column, each.at): each.opened_value for each in rows}
        changes = {
            column: (values.get((column, 0), before), values.get((column, 1), after))
            for column, (before, after) in event.changes.items()
        }
        told.append(changes_text(msgspec.structs.replace(event, changes=changes)))
    return ", ".join(
        [*told, *(f"{each.column}: {value_text(each.opened_value)}" for each in beside)]
    )


def _objects(
    whole: EvidenceReader, entries: EvidenceReader, recipient: str | None
) -> Iterator[object]:
    yield from entries
    yield {
        "question": whole.header.question,
        "origin": whole.checkpoint.origin,
        "size": whole.checkpoint.size,
        "root": whole.checkpoint.root,
        "key": str(whole.key),
        "included": whole.count,
        "recipient": recipient,
        "complete": whole.is_attested,
        "assurance": UNWITNESSED if whole.witnessed is None else str(whole.witnessed),
    }
