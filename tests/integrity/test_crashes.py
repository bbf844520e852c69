"""Power lost after any write or sync of the trail: nothing acknowledged is lost, nothing is double.

`recording_vfs` says what is recorded, and what this doesn't prove.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from indelible.events.codec import decode_event
from indelible.integrity.faults import RollbackError, UncheckpointedError
from indelible.integrity.sequencer import Sequencer
from indelible.integrity.verifier import Seen, verify_trail
from indelible.store.sqlite import SqliteTrail
from indelible.transport.delivery import Delivery, Gap, Remark, Void
from tests.integrity.recording_vfs import Loss, RecordingDisk, check_crashes
from tests.integrity.trails import EPOCH, SOURCE, Maker

BATCHES = (1, 3, 40, 2, 300, 1, 90, 130, 5, 250, 60, 2)
SAID_WITH = 4
"""The batch in which something is said beside its events."""
GAP = Gap("3" * 16, EPOCH, 7, 9, "its rows were deleted")
VOID = Void("4" * 16, EPOCH, ((1, 2), (5, 5)))
REMARK = Remark("journal.damaged", "a frame was cut short")


class Acknowledged(NamedTuple):
    """What was promised once this many steps had reached the disk."""

    steps: int
    seq: int
    seen: Seen


class Recording(NamedTuple):
    """A day of a trail, with every step of its disk."""

    maker: Maker
    disk: RecordingDisk
    deliveries: list[Delivery]
    ends: set[int]
    acknowledged: list[Acknowledged]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    directory = tmp_path_factory.mktemp("recorded")
    maker = Maker(directory / "trail.db")
    maker.store.close()
    disk = RecordingDisk(directory)
    maker.store = SqliteTrail(maker.path, connect=disk.connect)
    maker.open()
    deliveries: list[Delivery] = []
    ends = {0}
    acknowledged: list[Acknowledged] = []
    for number, size in enumerate(BATCHES):
        batch = [maker.delivery() for _ in range(size)]
        deliveries += batch
        ends.add(maker.seq)
        maker.clock.now += 1_000_000
        if number == SAID_WITH:
            maker.sequencer.deliver(batch, gaps=[GAP], voids=[VOID], remarks=[REMARK])
        else:
            maker.sequencer.deliver(batch)
        state = maker.store.state()
        seen = Seen(
            origin=maker.store.origin,
            size=state.size,
            root=state.root,
            vkey=str(maker.key.verifier_key),
        )
        acknowledged.append(Acknowledged(len(disk.steps), maker.seq, seen))
    yield Recording(maker, disk, deliveries, ends, acknowledged)
    maker.store.close()
    disk.close()


def check_each(
    recording: Recording, after: Iterable[int], loss: Loss, directory: Path, seed: int
) -> None:
    def check(steps: int) -> None:
        check_what_is_left(recording, directory / "trail.db", steps)

    check_crashes(recording.disk, after, loss, directory, seed=seed, check=check)


def check_what_is_left(recording: Recording, path: Path, steps: int) -> None:
    promised = [each for each in recording.acknowledged if each.steps <= steps]
    key = recording.maker.key
    seen = promised[-1].seen if promised else None
    with contextlib.suppress(UncheckpointedError):  # between the two commits; the next start signs
        verify_trail(path, key.verifier_key, seen=seen)
    store = SqliteTrail(path)
    try:
        received = store.received(SOURCE, EPOCH)
        assert received.last in recording.ends, "a batch came in part"
        has_said = received.last >= recording.acknowledged[SAID_WITH].seq
        assert store.lost(GAP.producer_id, GAP.epoch) == (((7, 9),) if has_said else ())
        assert store.received(VOID.producer_id, VOID.epoch).ranges == (VOID.ranges * has_said)
        noticed = [notice.action for notice in store.notices()]
        assert noticed == ["source.gap", "journal.damaged"] * has_said
        assert not promised or received.last >= promised[-1].seq, "acknowledged and lost"
        lease = store.acquire_lease("after the crash", now=recording.maker.clock(), lease_s=0)
        assert lease is not None
        sequencer = Sequencer(store, lease, key, clock=recording.maker.clock)
        verify_trail(path, key.verifier_key, seen=seen)
        sequencer.deliver(recording.deliveries)
        verify_trail(path, key.verifier_key, seen=seen)
        kept = [
            entry.body
            for entry in store.entries(0, store.size - 1)
            if decode_event(entry.body).producer.id == SOURCE
        ]
        assert kept == [delivery.bodies[0] for delivery in recording.deliveries]
    finally:
        store.close()


@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_some_steps(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """A crash after any of these steps keeps what was acknowledged, once; the rest comes again."""
    steps = len(recording.disk.steps)
    rng = random.Random(loss)
    syncs = [at for at, step in enumerate(recording.disk.steps, start=1) if step.data is None]
    around = rng.sample(syncs, 5)
    chosen = {0, steps, *around, *(at - 1 for at in around), *rng.sample(range(steps), 4)}
    check_each(recording, sorted(chosen), loss, tmp_path, seed=1)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("loss", get_args(Loss))
def test_power_lost_at_every_step(recording: Recording, loss: Loss, tmp_path: Path) -> None:
    """The same after each single write and sync of the recording."""
    check_each(recording, range(len(recording.disk.steps) + 1), loss, tmp_path, seed=2)


def test_what_is_recorded_reaches_every_kind_of_step(recording: Recording) -> None:
    """Writes and syncs of both files are in the recording: commits and checkpoints."""
    kinds = {(step.file, step.data is None) for step in recording.disk.steps}
    assert {
        ("trail.db", False),
        ("trail.db", True),
        ("trail.db-wal", False),
        ("trail.db-wal", True),
    } <= kinds
    commits = 2 * len(BATCHES)
    assert sum(1 for step in recording.disk.steps if step.data is None) >= commits


def test_without_the_sync_the_acknowledged_would_be_lost(
    recording: Recording, tmp_path: Path
) -> None:
    """The test can fail: a disk that forgets syncs loses what was acknowledged."""
    forgetful = copy.copy(recording.disk)
    forgetful.steps = [step for step in recording.disk.steps if step.data is not None]
    broken = recording._replace(disk=forgetful)
    with pytest.raises(RollbackError, match="last seen size"):
        check_each(broken, [len(forgetful.steps)], "unsynced", tmp_path, seed=3)
