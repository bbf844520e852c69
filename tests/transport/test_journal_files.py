"""What a relay makes of journal files that somebody or something damaged."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import DeliveryError
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.transport.delivery import Delivery, Gap
from indelible.transport.journal_files import JournalDirectory, JournalFile
from indelible.transport.journal_frames import (
    MARK,
    FrameKind,
    format_event_frame,
    format_frame,
    format_whole_event_frame,
)
from indelible.transport.relay import Relay

from .conftest import SETTINGS, CarryAll, MakeJournal, draft
from .memory_sink import MemorySink


def dead_journal(make_journal: MakeJournal, events: int, **options: object) -> Path:
    """The file of a process that ended; its producer and epoch are in its name."""
    journal = make_journal(**options)
    for number in range(events):
        journal.append(draft(f"event {number + 1}"))
    path = journal.path
    journal.close()
    return path


def source_of(path: Path) -> tuple[str, int]:
    producer_id, epoch, _, _ = path.name.split(".")
    return producer_id, int(epoch)


def seqs(sink: MemorySink) -> list[int]:
    return [event.producer.seq for event in sink.events]


def test_delivered_files_are_deleted(
    make_journal: MakeJournal, directory: Path, sink: MemorySink, carry_all: CarryAll
) -> None:
    """When all of it is in the trail a file goes, unless its process still writes to it."""
    journal = make_journal(max_file_bytes=2_000)
    for number in range(50):
        journal.append(draft(str(number)))
    assert len(list(directory.iterdir())) > 5
    carry_all(sink)
    assert list(directory.iterdir()) == [journal.path]
    journal.close()
    carry_all(sink)
    assert list(directory.iterdir()) == []
    assert seqs(sink) == list(range(1, 51))


def test_cut_anywhere_at_the_end(
    make_journal: MakeJournal, directory: Path, carry_all: CarryAll
) -> None:
    """A dead process's file cut at any byte: all whole events before the cut come, it is noticed,
    and the piece stays beside."""
    path = dead_journal(make_journal, 3)
    whole = path.read_bytes()
    starts = [at for at in range(len(whole)) if whole.startswith(MARK, at)]
    for length in range(starts[2] - 3, len(whole)):
        path.write_bytes(whole[:length])
        sink = carry_all(MemorySink())

        ends = [*starts[2:], len(whole)]
        assert seqs(sink) == list(range(1, 1 + sum(end <= length for end in ends[:3])))
        is_between = length in ends
        assert sink.noticed == ([] if is_between else ["journal.tail_cut"])
        left = list(directory.iterdir())
        assert [item.suffix for item in left] == ([] if is_between else [".damaged"])
        for item in left:
            assert item.read_bytes() == whole[:length]
            item.unlink()


@pytest.mark.parametrize("where", ["mark", "length", "checksum", "kind", "seq", "body"])
@pytest.mark.parametrize("is_alive", [True, False])
def test_flipped_byte(
    make_journal: MakeJournal,
    directory: Path,
    sink: MemorySink,
    carry_all: CarryAll,
    where: str,
    is_alive: bool,
) -> None:
    """One changed byte costs the event that it is in, which is reported; later ones still come."""
    journal = make_journal()
    for number in range(5):
        journal.append(draft(f"event {number + 1}"))
    path = journal.path
    if not is_alive:
        journal.close()
    content = bytearray(path.read_bytes())
    frame = [at for at in range(len(content)) if content.startswith(MARK, at)][3]
    offset = {"mark": 1, "length": 6, "checksum": 9, "kind": 12, "seq": 13, "body": 40}[where]
    content[frame + offset] ^= 0x11
    with path.open("r+b") as file:
        file.write(content)
    carry_all(sink)

    assert seqs(sink) == [1, 2, 4, 5]
    assert sink.conflicts == [] and sink.poison == []
    why = "not in the journal's files: removed, or damaged"
    assert sink.gaps == [Gap(*source_of(path), 3, 3, why)]
    assert "journal.damaged" in sink.noticed
    journal.close()
    carry_all(sink)
    assert [item.suffix for item in directory.iterdir()] == [".damaged"]


def test_every_single_flipped_byte(
    make_journal: MakeJournal, directory: Path, carry_all: CarryAll
) -> None:
    """Wherever a byte is changed in a file: at most one event is lost, none is altered, and it is
    noticed."""
    path = dead_journal(make_journal, 3)
    whole = path.read_bytes()
    expected = carry_all(MemorySink()).arrived
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0x80
        path.write_bytes(damaged)
        sink = carry_all(MemorySink())

        assert len(sink.arrived) >= 2
        assert all(delivery in expected for delivery in sink.arrived)
        lost = {1, 2, 3} - set(seqs(sink))
        assert {gap.first for gap in sink.gaps} == lost
        assert sink.noticed != []
        for item in directory.iterdir():
            item.unlink()


def test_a_frame_planted_in_a_value_is_never_found(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """Somebody's text that looks like a journal's frame can't become an event, even when the
    frame around it is damaged."""
    forged = format_event_frame(2, (b'{"v":1,"action":"user.promoted"}',))
    journal = make_journal()
    for text in (forged.decode("latin-1"), forged.decode("utf-8", "surrogateescape")):
        journal.append(encode_draft(Event(action="a.b", kind="event", reason=text)))
    path = journal.path
    journal.close()
    content = bytearray(path.read_bytes())
    for at in [at for at in range(len(content)) if content.startswith(MARK, at)][1:3]:
        content[at + 8] ^= 1
    path.write_bytes(content)
    carry_all(sink)

    assert sink.arrived == [] and sink.poison == []
    assert [(gap.first, gap.last) for gap in sink.gaps] == [(1, 2)]


@given(st.integers(1, 2**63), st.binary(), st.binary())
def test_the_quick_way_to_a_frame(seq: int, header: bytes, rest: bytes) -> None:
    """An event in one part has the frame of any other."""
    quick = format_whole_event_frame(seq, header, memoryview(rest))

    assert quick == format_event_frame(seq, (header + rest,))


def test_deleted_files_are_a_gap(
    make_journal: MakeJournal, directory: Path, sink: MemorySink, carry_all: CarryAll
) -> None:
    """Removing a file before it was delivered is reported with the positions that it held."""
    journal = make_journal(max_file_bytes=1_000)
    for number in range(30):
        journal.append(draft(f"event {number}"))
    journal.close()
    files = sorted(directory.iterdir(), key=lambda path: int(path.name.split(".")[2]))
    held: list[list[int]] = []
    for path in files:
        file = JournalFile(path)
        piece = file.read(0, limit=100, max_bytes=1 << 20, is_final=True)
        held.append([frame.seq for frame in piece.frames if frame.kind is FrameKind.EVENT])
        file.close()
    files[0].unlink()
    files[3].unlink()
    files[4].unlink()
    carry_all(sink)

    lost = sorted(held[0] + held[3] + held[4])
    assert sorted(set(range(1, 31)) - set(seqs(sink))) == lost
    assert [(gap.first, gap.last) for gap in sink.gaps] == [
        (held[0][0], held[0][-1]),
        (held[3][0], held[4][-1]),
    ]
    assert sink.noticed == []
    sink.check_each_once_and_in_order()
    carry_all(sink)
    assert len(sink.gaps) == 2


def test_a_tail_removed_before_the_end_mark_is_a_gap(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """A process that ended in order said how many events it wrote: the last ones can't vanish."""
    path = dead_journal(make_journal, 5)
    content = path.read_bytes()
    starts = [at for at in range(len(content)) if content.startswith(MARK, at)]
    path.write_bytes(content[: starts[4]] + content[starts[6] :])
    carry_all(sink)

    assert seqs(sink) == [1, 2, 3]
    assert [(gap.first, gap.last) for gap in sink.gaps] == [(4, 5)]


def test_two_relays_at_once(make_journal: MakeJournal, directory: Path, sink: MemorySink) -> None:
    """Two relays on one directory, turn by turn and with files deleted between: each event once,
    and nothing reported lost."""
    journal = make_journal(max_file_bytes=1_500)
    relays = [Relay([JournalDirectory(directory)], sink, SETTINGS) for _ in range(2)]
    for round_number in range(40):
        for number in range(round_number % 7):
            journal.append(draft(str(number)))
        relays[round_number % 2].step()
        if round_number % 5 == 0:
            relays[(round_number + 1) % 2].step()
    journal.close()
    for relay in (*relays, *relays):
        relay.step()
    for relay in relays:
        relay.stop()

    sink.check_each_once_and_in_order()
    assert seqs(sink) == list(range(1, journal._files.seq + 1))
    assert sink.gaps == [] and sink.noticed == []
    assert list(directory.iterdir()) == []


def test_a_file_that_is_being_written_is_left_alone(
    make_journal: MakeJournal, sink: MemorySink, directory: Path
) -> None:
    """Half an event at the end of a living process's file isn't an error, and isn't deleted."""
    journal = make_journal()
    journal.append(draft("one"))
    relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
    whole = format_frame(FrameKind.EVENT, 2, b"x" * 100)
    with journal.path.open("ab") as file:
        file.write(whole[:50])
        file.flush()
        for _ in range(3):
            relay.step()
        assert seqs(sink) == [1]
        assert sink.noticed == [] and sink.gaps == []
        assert journal.path.exists()
        file.write(whole[50:])
    relay.step()
    relay.stop()
    assert [delivery.seq for delivery in sink.poison] == [2]


def test_the_trail_lost_what_it_had(
    make_journal: MakeJournal, directory: Path, sink: MemorySink
) -> None:
    """A file is kept when the sink, asked before deleting it, doesn't hold all of it."""
    path = dead_journal(make_journal, 5)

    class ForgetfulSink(MemorySink):
        def deliver(self, batch: object, **said: object) -> None:
            pass

    relay = Relay([JournalDirectory(directory)], ForgetfulSink(), SETTINGS)
    relay.step()
    assert path.exists()
    (status,) = relay.status()
    assert "expected the trail to hold all of" in str(status.last_error)
    relay.stop()


def test_only_a_left_file_is_retired(make_journal: MakeJournal) -> None:
    """A file whose process lives, or that grew since it was read, isn't deleted by anybody."""
    journal = make_journal()
    journal.append(draft())
    path = journal.path
    size = path.stat().st_size
    file = JournalFile(path)
    file.read(0, limit=10, max_bytes=1_000, is_final=False)
    assert not file.retire(size)
    journal.close()
    assert not file.retire(size)
    assert path.exists()
    assert file.retire(path.stat().st_size)
    assert not path.exists()
    file.close()


def test_a_restarted_relay_reads_on(
    make_journal: MakeJournal, sink: MemorySink, carry_all: CarryAll
) -> None:
    """What the sink holds isn't sent to it again after a restart."""
    journal = make_journal()
    for number in range(100):
        journal.append(draft(str(number)))
    carry_all(sink)
    sent = sum(sink.batches)
    journal.append(draft("one more"))
    carry_all(sink)
    assert sent == 100
    assert sum(sink.batches) == 101


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_gap_of_which_the_acknowledgement_was_lost(
    make_journal: MakeJournal, directory: Path, is_restarted: bool
) -> None:
    """Where nobody heard that the events around a gap were kept, and the gap, it is said once."""

    def busy(batch: Sequence[Delivery]) -> None:
        raise DeliveryError("the store doesn't answer")

    journal = make_journal(max_file_bytes=1_000)
    for number in range(20):
        journal.append(draft(str(number)))
    second = sorted(directory.iterdir(), key=lambda path: int(path.name.split(".")[2]))[1]
    second.unlink()
    sink = MemorySink()
    sink.fault_after = busy
    relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
    relay.step()
    assert len(sink.arrived) > 10
    if is_restarted:
        relay.stop()
        relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
    sink.fault_after = lambda batch: None
    relay.flush(timeout_s=5)
    relay.stop()
    assert sorted(set(range(1, 21)) - set(seqs(sink))) == [
        seq for gap in sink.gaps for seq in range(gap.first, gap.last + 1)
    ]
    assert len(sink.gaps) == 1


def test_a_newer_format_waits(make_journal: MakeJournal, directory: Path) -> None:
    """A file of a later version is neither read nor deleted."""
    path = dead_journal(make_journal, 2)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"indelible-journal 1\n", b"indelible-journal 2\n", 1))
    sink = MemorySink()
    relay = Relay([JournalDirectory(directory)], sink, SETTINGS)
    relay.step()
    assert sink.arrived == [] and sink.gaps == []
    assert path.exists()
    assert "another version" in str(relay.status()[0].last_error)
    relay.stop()
    file = JournalFile(path)
    with pytest.raises(DeliveryError, match="version 1"):
        file.read(0, limit=1, max_bytes=1, is_final=True)
    file.close()


def test_a_child_that_holds_on_to_the_lock(
    directory: Path, sink: MemorySink, carry_all: CarryAll
) -> None:
    """A process that dies while a child, forked behind Python's back, keeps its descriptors open
    is known to be dead all the same."""
    directory.mkdir(mode=0o700)
    program = """
import ctypes, os, sys, time
from pathlib import Path
from indelible.transport.journal import Journal
from indelible.events.codec import encode_draft
from indelible.events.model import Event
journal = Journal(Path(sys.argv[1]))
journal.append(encode_draft(Event(action="a.b", kind="event")))
child = ctypes.CDLL(None).fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        carry_all(sink)
        assert seqs(sink) == [1]
        assert len(list(directory.iterdir())) == 1
        process.kill()
        process.wait()
        carry_all(sink)
        assert list(directory.iterdir()) == []
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()
    time.sleep(0)
