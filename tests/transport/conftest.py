"""Fixtures of the tests of journal, outbox and relay."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indelible.events.codec import encode_draft
from indelible.events.model import Actor, Event
from indelible.policy.model import RelaySettings
from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.relay import Relay

from .memory_sink import MemorySink

MakeJournal = Callable[..., Journal]
CarryAll = Callable[..., MemorySink]

SETTINGS = RelaySettings(poll_s=0.01, retry_max_s=0.05)


def draft(note: str = "read") -> bytes:
    """An event that tells tests apart by its reason."""
    return encode_draft(
        Event(action="invoice.read", kind="access", actor=Actor("staff", "alice"), reason=note)
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
def make_journal(directory: Path) -> Iterator[MakeJournal]:
    """Opens journals in `directory`, and closes them after the test."""
    journals: list[Journal] = []

    def make(**options: object) -> Journal:
        journals.append(Journal(directory, **options))  # type: ignore[arg-type]
        return journals[-1]

    yield make
    for journal in journals:
        journal.close()


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def carry_all(directory: Path) -> CarryAll:
    """Delivers everything in `directory` to a sink by a relay of its own, as after a restart."""

    def carry(sink: MemorySink) -> MemorySink:
        relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
        relay.flush(timeout_s=250)  # a hundred kills leave up to a million events
        relay.step()
        relay.stop()
        return sink

    return carry
