"""What `indelible verify FILE` shows: entries that are in a trail, and whether they are all."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from indelible.cli.assurance import assurance_text
from indelible.cli.output import (
    changes_text,
    console,
    local,
    print_json,
    print_table,
    printable,
)
from indelible.integrity.evidence import EvidenceReader, Included
from indelible.integrity.seen import UNWITNESSED
from indelible.questions.findings import target_names
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
        deque(whole, maxlen=0)
        lines.seek(0)
        if as_json:
            print_json(_objects(whole, read(lines)))
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


def _row(included: Included) -> list[str]:
    event = included.event
    return [
        str(included.index),
        local(event.time),
        "(unattributed)" if event.actor is None else str(event.actor),
        event.action,
        ", ".join(name for target in event.targets for name in target_names(target)),
        changes_text(event),
    ]


def _objects(whole: EvidenceReader, entries: EvidenceReader) -> Iterator[object]:
    yield from entries
    yield {
        "question": whole.header.question,
        "origin": whole.checkpoint.origin,
        "size": whole.checkpoint.size,
        "root": whole.checkpoint.root,
        "key": str(whole.key),
        "included": whole.count,
        "complete": whole.is_attested,
        "assurance": UNWITNESSED if whole.witnessed is None else str(whole.witnessed),
    }
