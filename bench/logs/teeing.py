"""What a tee reads: lines that it verifies, and audit events that it keeps."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from indelible.events.codec import encode_draft
from indelible.events.context import acting_as
from indelible.events.explicit import explicit_event
from indelible.events.model import Actor, Target
from indelible.logs.branch import Branch, DescriptorOutput
from indelible.logs.frames import LineReader, StreamId, StreamKeys
from indelible.logs.setup import default_scrub
from indelible.logs.teeing import Tee
from indelible.transport.journal import Journal

READ_BYTES = 65_536
MASTER = b"k" * 32
STREAM = StreamId("6745230189abcdef")
LINES = 60_000
EVENTS = 20_000


class Taken(NamedTuple):
    """Lines or events a second, by the clock and by processor time."""

    by_clock: float
    by_processor: float


def application_lines() -> bytes:
    """As the handler writes them, about 290 bytes a line."""
    body = (
        '{"v":1,"c":"L","t":"2026-11-30T13:30:59.123Z","l":"info","n":"shop.orders",'
        '"m":"order placed","f":{"total_ms":12.5,"status":200,"method":"POST",'
        '"route":"/api/v1/orders/{id}","order":"<str:9>"}'
    )
    keys = StreamKeys(MASTER, STREAM)
    return b"".join(keys.seal("L", body, number) for number in range(1, LINES + 1))


def audit_lines() -> bytes:
    """An event each, with who, of what, and a detail."""
    with acting_as(Actor("staff", "alice"), ip="192.0.2.7"):
        event = explicit_event(
            "user.logged_in",
            target=Target("account", "17"),
            details={"method": "password", "attempts": 2},
        )
    body = f'{{"v":1,"c":"A","e":{encode_draft(event).decode()}'
    keys = StreamKeys(MASTER, STREAM)
    return b"".join(keys.seal("A", body, number) for number in range(1, EVENTS + 1))


def measure(lines: bytes, count: int, directory: Path) -> Taken:
    """Read `lines` in pieces as from a pipe, the journal and the application's branch behind the
    tee being real; until all of it is durable and gone on."""
    blocks = [lines[start : start + READ_BYTES] for start in range(0, len(lines), READ_BYTES)]
    null = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory(dir=directory) as name:
        journal = Journal(Path(name) / "journals")
        branch = Branch(DescriptorOutput(null), max_waiting_bytes=2 * len(lines))
        tee = Tee(
            LineReader(MASTER), journal, _not_noticed, branch.put, default_scrub(), time.monotonic
        )
        began, began_processor = time.perf_counter(), time.process_time()
        for block in blocks:
            tee.feed(block)
        if not branch.close(60):
            raise SystemExit("expected all lines to go on within a minute")
        taken = Taken(
            count / (time.perf_counter() - began),
            count / (time.process_time() - began_processor),
        )
        journal.close()
    if tee.counts.audit + tee.counts.application != count or tee.counts.irregular:
        raise SystemExit(f"expected {count} lines that hold, got {tee.counts}")
    return taken


def _not_noticed(action: str, message: str, **details: str) -> None:
    raise SystemExit(f"expected nothing irregular, got {action}: {message}")
