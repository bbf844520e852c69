"""Each way of tampering is named by `verify`, at its index: so an alarm on it can be tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from indelible import Actor, Target, Trail, acting_as
from indelible.errors import VerificationError
from indelible.integrity.faults import (
    CheckpointError,
    EntryMismatchError,
    MissingEntryError,
    StrayEntryError,
    TileMismatchError,
    UncheckpointedError,
)
from indelible.integrity.verifier import verify_trail
from indelible.store.errors import NoSuchEntryError
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_audit import audit_trail
from indelible.testing import capture_events, in_memory_trail, tamper
from indelible.tlog import VerifierKey

COUNT = 300
"""More than a block holds, so that entries move from one to the next."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail that nothing is wrong with."""
    path = tmp_path_factory.mktemp("whole") / "trail.db"
    with in_memory_trail() as trail:
        with acting_as(Actor("staff", "alice")):
            for number in range(COUNT):
                trail.record("invoice.printed", target=Target("invoice", number))
        trail.flush()
        trail.verify()
        tamper.copy_trail(trail.policy.trail, path)
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    copy = tmp_path / "trail.db"
    tamper.copy_trail(whole, copy)
    return copy


def verify(path: Path) -> None:
    """As somebody who has the public key and the file only."""
    with audit_trail(path) as audit:
        vkey = audit.trail().vkey
    verify_trail(path, VerifierKey.parse(vkey))


def body_at(path: Path, index: int) -> bytes:
    store = SqliteTrail(path)
    try:
        return store.entry(index).body
    finally:
        store.close()


def test_a_copy_verifies(copied: Path) -> None:
    """Copying a trail changes nothing of it."""
    verify(copied)


@pytest.mark.parametrize(
    ("spoil", "error", "index"),
    [
        (lambda path: tamper.edit_body(path, 3), EntryMismatchError, 3),
        (lambda path: tamper.edit_body(path, 270), EntryMismatchError, 270),
        (lambda path: tamper.swap_entries(path, 7, 9), EntryMismatchError, 7),
        (lambda path: tamper.swap_entries(path, 270, 12), EntryMismatchError, 12),
        (lambda path: tamper.delete_entry(path, 5), EntryMismatchError, 5),
        (lambda path: tamper.insert_entry(path, 10, body_at(path, 1)), EntryMismatchError, 10),
        (lambda path: tamper.cut_tail(path, 280), MissingEntryError, 280),
        (lambda path: tamper.cut_tail(path, 256), MissingEntryError, 256),
        (tamper.change_tile, TileMismatchError, 0),
        (lambda path: tamper.change_tile(path, 0, 1), TileMismatchError, 256),
    ],
)
def test_tampering_is_named(
    copied: Path, spoil: Callable[[Path], None], error: type[VerificationError], index: int
) -> None:
    """What was done to the file is named with the first index that is wrong."""
    spoil(copied)

    with pytest.raises(error, match=f"^index {index}: "):
        verify(copied)


def test_an_entry_at_the_end_is_stray(copied: Path, whole: Path) -> None:
    """An entry put behind the last one isn't covered by the checkpoint."""
    with audit_trail(copied) as audit:
        size = int(audit.trail().size)
    tamper.insert_entry(copied, size, body_at(copied, 1))

    with pytest.raises(StrayEntryError, match=f"index {size}: "):
        verify(copied)


def test_an_older_checkpoint_is_named() -> None:
    """A checkpoint of a smaller trail leaves what came after it uncovered."""
    with in_memory_trail() as trail:
        with capture_events(trail):
            trail.record("invoice.printed")
        older = tamper.read_checkpoint(trail.policy.trail)
        size = int(trail.reader.size)
        with capture_events(trail):
            trail.record("invoice.printed")
        tamper.replace_checkpoint(trail.policy.trail, older)

        with pytest.raises(UncheckpointedError, match=f"index {size}: "):
            trail.verify()


def test_a_forged_checkpoint_is_named(copied: Path) -> None:
    """A checkpoint whose text was edited isn't the trail key's."""
    note = tamper.read_checkpoint(copied)
    tamper.replace_checkpoint(
        copied, note.replace(b"test.example/trail\n", b"a.example/trail\n", 1)
    )

    with pytest.raises(CheckpointError, match="index 0: "):
        verify(copied)


def test_an_edit_that_changes_nothing_is_refused(copied: Path) -> None:
    """A test of an alarm can't pass because nothing was tampered with."""
    with pytest.raises(tamper.TamperError, match="index 3"):
        tamper.edit_body(copied, 3, lambda body: body.replace(b"nobody wrote this", b""))
    verify(copied)


def test_an_index_that_isnt_there_is_refused(copied: Path) -> None:
    """Tampering with an entry behind the end says so, and leaves the file as it was."""
    for spoil in (tamper.edit_body, tamper.delete_entry, tamper.cut_tail):
        with pytest.raises(NoSuchEntryError, match="9999"):
            spoil(copied, 9999)
    verify(copied)


def test_a_living_trail_can_be_copied(trail: Trail, tmp_path: Path) -> None:
    """A copy made while the trail is in use verifies, and can be tampered with by itself."""
    with capture_events(trail):
        trail.record("invoice.printed")
    copy = tmp_path / "copy.db"
    tamper.copy_trail(trail.policy.trail, copy)
    tamper.edit_body(copy, 0)

    with pytest.raises(EntryMismatchError, match="index 0"):
        verify(copy)
    trail.verify()
