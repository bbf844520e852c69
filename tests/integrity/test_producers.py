"""A process signs its own journal; whoever rewrites it before it is delivered is found."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from indelible.errors import DeliveryError
from indelible.events.codec import decode_event, encode_draft, format_time, seal_parts
from indelible.events.model import Event, Producer
from indelible.integrity.faults import ProducerSignatureError
from indelible.integrity.verified import Signed
from indelible.integrity.verifier import Verification, verify_trail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery
from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.journal_frames import (
    FrameKind,
    format_event_frame,
    format_frame,
    scan_frames,
)
from indelible.transport.producer_signing import Digest, ProducerSigner, statement_text
from indelible.transport.relay import Relay, RelaySettings
from tests.integrity.trails import ORIGIN, Maker

ENROLMENT = SigningKey.generate(f"{ORIGIN}/producers")


def draft(n: int, *, size: int = 0) -> bytes:
    details = {"n": n, "large": "x" * size}
    return encode_draft(Event(action="payment.sent", kind="event", details=details))


def signing_journal(directory: Path, **options: object) -> Journal:
    """As an application has it; it signs when told to, not by the clock."""
    options.setdefault("sign_s", 3_600.0)
    return Journal(
        directory,
        new_signer=lambda producer, epoch: ProducerSigner(producer, epoch, ENROLMENT),
        **options,  # type: ignore[arg-type]
    )


def sign(journal: Journal) -> None:
    with journal._writing:
        assert journal._signer is not None
        journal._sign(journal._signer)


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journals"


def deliver(maker: Maker, journals: Path) -> None:
    relay = Relay([JournalDirectory(journals)], maker.sequencer, RelaySettings())
    relay.flush(30.0)
    relay.stop()


def verify(maker: Maker) -> Verification:
    return verify_trail(maker.path, maker.key.verifier_key, enrolment=ENROLMENT.verifier_key)


def work(journals: Path, *, statements: int = 3, events: int = 5, ends: bool = True) -> Journal:
    journal = signing_journal(journals)
    for n in range(statements * events):
        journal.append(draft(n))
        if n % events == events - 1:
            sign(journal)
    if ends:
        journal.close()
    return journal


# -- honest ---------------------------------------------------------------------------------------


def test_all_that_a_process_wrote_is_under_its_signature(maker: Maker, journals: Path) -> None:
    work(journals)
    deliver(maker, journals)
    # began, 15 events, 3 statements, and the end, which is about the last of these.
    assert verify(maker).signed == Signed(
        enrolment=str(ENROLMENT.verifier_key), producers=1, ended=1, entries=19
    )
    assert not [notice.action for notice in maker.store.notices()]


def test_large_events_rotation_a_clock_set_back_and_a_removed_file(
    maker: Maker, journals: Path
) -> None:
    """Whatever a journal does by itself between two events is under its signatures, too."""
    now = [time.time_ns() // 1_000]

    def clock() -> int:
        now[0] += 700_000
        return now[0]

    journal = signing_journal(journals, max_file_bytes=4_096, clock=clock)
    for n in range(40):
        journal.append(draft(n, size=200_000 if n % 10 == 3 else 10))
        if n % 6 == 0:
            now[0] -= 30_000_000
        if n % 7 == 0:
            sign(journal)
        if n == 25:
            journal.path.unlink()
    journal.close()
    deliver(maker, journals)
    signed = verify(maker).signed
    assert (signed.producers, signed.ended, signed.open, signed.holes) == (1, 1, 0, 0)
    assert {"journal.clock_set_back", "journal.file_removed"} <= {
        notice.action for notice in maker.store.notices()
    }


def test_statements_come_by_themselves(maker: Maker, journals: Path) -> None:
    journal = signing_journal(journals, sign_s=0.05, heartbeat_s=0.3)
    journal.append(draft(1))
    deadline = time.monotonic() + 30
    while journal.last_seq < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert journal.last_seq >= 5  # began, the event, its statement, and heartbeats
    deliver(maker, journals)
    signed = verify(maker).signed
    assert signed.entries >= 2 and signed.open >= 1 and signed.ended == 0
    journal.close()


PROCESS = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, os.getcwd())
from tests.integrity.test_producers import draft, sign, signing_journal

journal = signing_journal(Path(sys.argv[1]))
for n in range(10):
    journal.append(draft(n))
sign(journal)
for n in range(3):
    journal.append(draft(n))
if os.fork() == 0:
    journal.append(draft(100))
    journal.close()
    os._exit(0)
os.wait()
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_and_its_child(maker: Maker, journals: Path) -> None:
    """The child signs as itself; what the parent had not signed is said to be open."""
    done = subprocess.run([sys.executable, "-c", PROCESS, journals])
    assert done.returncode == -9
    deliver(maker, journals)
    signed = verify_trail(maker.path, maker.key.verifier_key).signed
    # Of the parent began and 10 events, then the statement and three more; of the child two.
    assert (signed.producers, signed.ended, signed.entries, signed.open) == (2, 1, 13, 4)
    actions = [decode_event(entry.body).action for entry in maker.store.entries(0, 99)]
    assert actions.count("producer.vanished") == 1
    assert not list(maker.store.notices())


def test_a_process_that_is_stopped_is_noticed_once(maker: Maker, journals: Path) -> None:
    """SIGSTOP: it lives, holds its journal, and says nothing."""
    program = PROCESS.partition("journal = ")[0] + (
        "journal = signing_journal(Path(sys.argv[1]), sign_s=0.1, heartbeat_s=0.7)\n"
        "journal.append(draft(1))\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, journals])
    try:
        relay = Relay([JournalDirectory(journals)], maker.sequencer, RelaySettings())
        deadline = time.monotonic() + 60

        def noticed() -> list[str]:
            relay.flush(30.0)
            return [notice.action for notice in maker.store.notices()]

        while int(maker.store.size) < 4 and time.monotonic() < deadline:
            noticed()
        process.send_signal(signal.SIGSTOP)
        while not noticed() and time.monotonic() < deadline:
            time.sleep(0.05)
        told = noticed()
        assert set(told) == {"producer.silent"}
        for _ in range(5):
            time.sleep(0.5)
            assert noticed() == told
    finally:
        process.kill()
        process.wait()
        relay.stop()


def test_a_full_disk_at_a_statement(maker: Maker, journals: Path) -> None:
    """Its key is gone already, so it is the first thing to be written when there is room."""
    journal = signing_journal(journals)
    journal.append(draft(1))
    write, full = journal._calls.write, True

    def write_if_there_is_room(fd: int, data: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    journal._calls.write = write_if_there_is_room  # type: ignore[method-assign]
    with pytest.raises(DeliveryError):
        sign(journal)
    with pytest.raises(DeliveryError):
        journal.append(draft(2))
    full = False
    journal.append(draft(3))
    journal.close()
    deliver(maker, journals)
    signed = verify(maker).signed
    assert (signed.ended, signed.entries, signed.open) == (1, 4, 0)


# -- the attacks: on what waits in a journal, by whoever can write it -----------------------------

Bodies = list[list[bytes]]


def rewrite(journals: Path, change: Callable[[Bodies], object]) -> None:
    """As an attacker who knows the format: frames and checksums are right."""
    for path in journals.glob("*.journal"):
        raw = path.read_bytes()
        scan = scan_frames(raw, is_end=True, limit=10**6, max_bytes=10**9)
        frames = [frame for frame in scan.frames if frame.kind is FrameKind.EVENT]
        start = raw[: frames[0].start]
        bodies = [list(frame.bodies) for frame in frames]
        change(bodies)
        events = [format_event_frame(seq, body) for seq, body in enumerate(bodies, start=1) if body]
        closed = format_frame(FrameKind.CLOSED, len(bodies), b"")
        path.write_bytes(start + b"".join(events) + closed)


def replaced(bodies: Bodies, place: int, old: bytes, new: bytes) -> None:
    assert old in bodies[place][0]
    bodies[place][0] = bodies[place][0].replace(old, new)


def edit_an_event(bodies: Bodies) -> None:
    replaced(bodies, 3, b'"n":2', b'"n":9')


def edit_the_first_after_a_statement(bodies: Bodies) -> None:
    replaced(bodies, 7, b'"n":5', b'"n":9')


def edit_the_digest(bodies: Bodies) -> None:
    statement = bodies[6][0]
    at = statement.index(b'"digest":"') + 10
    bodies[6][0] = (
        statement[:at] + (b"A" if statement[at : at + 1] != b"A" else b"B") + (statement[at + 1 :])
    )


def exchange_the_key(bodies: Bodies) -> None:
    """A key of one's own from the first statement on."""
    forged = SigningKey.generate("x").verifier_key
    statement = bodies[6][0]
    at = statement.index(b'"next":"') + 8
    end = statement.index(b'"', at)
    bodies[6][0] = statement[:at] + str(forged).encode() + statement[end:]


def leave_a_statement_out(bodies: Bodies) -> None:
    del bodies[6]
    renumber(bodies, 6)


def renumber(bodies: Bodies, start: int) -> None:
    for place in range(start, len(bodies)):
        seq = place + 1
        bodies[place][0] = (
            bodies[place][0]
            .replace(b'"seq":%d}' % (seq + 1), b'"seq":%d}' % seq)
            .replace(b'.%d","time"' % (seq + 1), b'.%d","time"' % seq)
        )


def leave_an_event_out(bodies: Bodies) -> None:
    del bodies[3]
    renumber(bodies, 3)


@pytest.mark.parametrize(
    ("attack", "index"),
    [
        (edit_an_event, 6),
        (edit_the_first_after_a_statement, 12),
        (edit_the_digest, 6),
        (exchange_the_key, 6),
        (leave_an_event_out, 5),
        (leave_a_statement_out, 11),
    ],
)
def test_rewriting_what_was_signed_is_named(
    maker: Maker, journals: Path, attack: Callable[[Bodies], object], index: int
) -> None:
    work(journals)
    rewrite(journals, attack)
    deliver(maker, journals)
    # The trail itself is whole, and that is what the sequencer was given: a plain one stops here.
    verify_trail(maker.path, maker.key.verifier_key, with_index=False)
    with pytest.raises(ProducerSignatureError) as caught:
        verify(maker)
    assert caught.value.index == index


def test_an_attacker_with_the_current_key_cannot_rewrite_what_was_signed_before(
    maker: Maker, journals: Path
) -> None:
    """Code execution from now on: the key of the process as it is, and its file."""
    journal = work(journals, ends=False)
    assert journal._signer is not None
    stolen = journal._signer._key
    journal._files.let_go()
    rewrite(journals, lambda bodies: replaced(bodies, 3, b'"n":2', b'"n":9'))

    def resign(bodies: Bodies) -> None:
        """With the only key there is."""
        statement = bodies[6][0]
        at = statement.index(b'"signature":"') + 13
        signature = b64encode(stolen.sign_bytes(b"anything"))
        bodies[6][0] = statement[:at] + signature + statement[at + len(signature) :]

    rewrite(journals, resign)
    deliver(maker, journals)
    with pytest.raises(ProducerSignatureError) as caught:
        verify(maker)
    assert caught.value.index == 6


def test_an_old_statement_sealed_again_with_the_current_key(maker: Maker, journals: Path) -> None:
    """The whole chain from an edited event on is made anew, digests and all, with the one key that
    is there: an old statement isn't that key's to make (journald's sealing had this hole,
    CVE-2023-31439).
    """
    journal = work(journals, ends=False)
    assert journal._signer is not None
    stolen = journal._signer._key
    journal._files.let_go()

    def seal_again(bodies: Bodies) -> None:
        replaced(bodies, 3, b'"n":2', b'"n":9')
        first = 1
        for place in (6, 12, 18):
            digest = Digest()
            for body in bodies[first - 1 : place]:
                digest.add(*body)
            event = decode_event(bodies[place][0])
            assert event.details is not None
            text = statement_text(
                *(event.producer.id, event.producer.epoch, first, place, digest.text()),
                str(event.details["next"]),
            )
            signature = b64encode(stolen.sign_bytes(text)).decode()
            details = {**event.details, "digest": digest.text(), "signature": signature}
            sealed = encode_draft(Event(action=event.action, kind="system", details=details))
            bodies[place] = list(seal_parts(sealed, event.time, event.producer))
            first = place + 1

    rewrite(journals, seal_again)
    deliver(maker, journals)
    verify_trail(maker.path, maker.key.verifier_key, with_index=False)
    with pytest.raises(ProducerSignatureError) as caught:
        verify(maker)
    assert caught.value.index == 6


@pytest.mark.parametrize("dropped", [range(2, 3), range(3, 5), range(2, 7)])
def test_an_idle_stretch_that_was_dropped(maker: Maker, journals: Path, dropped: range) -> None:
    """Statements of a process to which nothing happened are a chain, too: one that is left out and
    closed up is named by the next (in journald's sealing idle epochs could go, CVE-2023-31438), and
    one that is missing is a gap.
    """
    journal = signing_journal(journals)
    journal.append(draft(0))
    for _ in range(5):
        sign(journal)
    journal.append(draft(1))
    journal.close()

    def drop(bodies: Bodies) -> None:
        assert all(b'"producer.signed"' in bodies[place][0] for place in dropped)
        del bodies[dropped.start : dropped.stop]
        for place in range(dropped.start, len(bodies)):
            seq, old = place + 1, place + 1 + len(dropped)
            for here, there in ((b'"seq":%d}', b'"seq":%d}'), (b'.%d","time"', b'.%d","time"')):
                bodies[place][0] = bodies[place][0].replace(here % old, there % seq)

    rewrite(journals, drop)
    deliver(maker, journals)
    with pytest.raises(ProducerSignatureError):
        verify(maker)


def test_a_process_whose_journal_was_removed_as_a_whole(maker: Maker, journals: Path) -> None:
    """Idle or not, ended, killed or alive: who takes the name of a file away that the relay has
    open takes nothing else, and it is said. Of a process that nobody had looked at yet there is
    nothing to miss: that is the window until the next look, 20 ms.
    """
    made = [signing_journal(journals) for _ in range(4)]
    ended, idle, read_out, alive = made
    relay = Relay([JournalDirectory(journals)], maker.sequencer, RelaySettings())
    for journal in made:
        journal.append(draft(0))
    relay.flush(30.0)
    read_out.close()
    for _ in range(5):
        sign(idle)
    ended.append(draft(1))
    for journal in (ended, idle):
        journal.close()
    unknown = signing_journal(journals)
    unknown.append(draft(2))
    unknown.close()
    for journal in (ended, idle, alive, unknown):
        journal.path.unlink()
    for _ in range(3):
        relay.step()
    time.sleep(1.1)
    alive.append(draft(3))
    alive.close()
    relay.flush(30.0)
    relay.stop()
    signed = verify(maker).signed
    assert (signed.producers, signed.ended, signed.holes, signed.open) == (4, 4, 0, 0)
    noticed = [(notice.action, notice.message) for notice in maker.store.notices()]
    assert sorted(action for action, _ in noticed) == [
        "journal.file_removed",
        "journal.removed",
        "journal.removed",
    ]
    for journal in (ended, idle):
        assert any(journal.producer_id in said for _, said in noticed)
    assert not list(journals.iterdir())


def test_a_killed_process_whose_journal_was_removed(maker: Maker, journals: Path) -> None:
    """It vanished, as any that is killed, and what it had written is there."""
    program = PROCESS.partition("journal = ")[0] + (
        "journal = signing_journal(Path(sys.argv[1]))\n"
        "journal.append(draft(0))\n"
        "print(journal.path, flush=True)\n"
        "sys.stdin.readline()\n"
        "journal.append(draft(1))\n"
        "journal.path.unlink()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    relay = Relay([JournalDirectory(journals)], maker.sequencer, RelaySettings())
    with subprocess.Popen(
        [sys.executable, "-c", program, journals],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        relay.flush(30.0)
        process.communicate("\n")
    relay.step()
    relay.stop()
    assert verify_trail(maker.path, maker.key.verifier_key).signed.producers == 1
    actions = [decode_event(entry.body).action for entry in maker.store.entries(0, 99)]
    assert (actions.count("payment.sent"), actions.count("producer.vanished")) == (2, 1)
    assert [notice.action for notice in maker.store.notices()] == ["journal.removed"]


@pytest.mark.parametrize(("reach", "passes"), [(0, True), (1, False)])
def test_the_window_that_a_stolen_key_opens(
    maker: Maker, journals: Path, reach: int, passes: bool
) -> None:
    """With all that the process has, exactly what no statement is about can be rewritten unseen."""
    journal = signing_journal(journals)
    for n in range(12):
        journal.append(draft(n))
        if n in (3, 7):
            sign(journal)
    signer = journal._signer
    assert signer is not None
    stolen, stated = signer._key, signer.stated_through
    producer_id, epoch = journal.producer_id, journal.epoch
    journal._files.let_go()  # killed

    def forge(bodies: Bodies) -> None:
        """The second statement is event `stated + 1`; the first of ours is behind it."""
        forger = ProducerSigner(producer_id, epoch, ENROLMENT)
        forger._key, forger._first = stolen, stated + 1
        for place in range(stated + 1 - 2 * reach, len(bodies)):
            if b"payment.sent" in bodies[place][0]:
                replaced(bodies, place, b'"payment.sent"', b'"payment.kept"')
        for body in bodies[stated:]:
            forger.add(body[0])
        forger.state(len(bodies), is_end=True)
        assert forger.unwritten is not None
        place = Producer(producer_id, epoch, len(bodies) + 1)
        bodies.append(list(seal_parts(forger.unwritten, format_time(epoch + 10**6), place)))

    rewrite(journals, forge)
    deliver(maker, journals)
    events = [decode_event(entry.body).action for entry in maker.store.entries(0, 99)]
    assert events.count("payment.kept") == 4 + reach
    if passes:
        signed = verify(maker).signed
        assert (signed.ended, signed.open) == (1, 0)
    else:
        with pytest.raises(ProducerSignatureError, match="changed or exchanged"):
            verify(maker)


def test_events_that_are_gone_are_gaps_and_what_they_carried_is_said(
    maker: Maker, journals: Path
) -> None:
    """A hole in an event's place, then one in a statement's."""
    work(journals)

    def empty(bodies: Bodies) -> None:
        bodies[3] = []

    rewrite(journals, empty)
    deliver(maker, journals)
    signed = verify(maker).signed
    assert (signed.holes, signed.broken, signed.ended) == (1, 0, 1)
    assert [notice.action for notice in maker.store.notices()] == ["source.gap"]


def test_a_statement_that_is_gone_breaks_the_chain(maker: Maker, journals: Path) -> None:
    work(journals)

    def empty(bodies: Bodies) -> None:
        bodies[6] = []

    rewrite(journals, empty)
    deliver(maker, journals)
    signed = verify(maker).signed
    assert (signed.broken, signed.ended, signed.entries) == (1, 0, 0)
    assert [notice.action for notice in maker.store.notices()] == ["source.gap"]


def test_nothing_is_added_behind_a_process_s_end(maker: Maker, journals: Path) -> None:
    """Frames, numbers and name are right, and nobody signed it."""
    work(journals)
    deliver(maker, journals)
    assert verify(maker).signed.ended == 1
    source = next(each for each in maker.store.sources() if each.producer_id != "f" * 16)
    producer = Producer(source.producer_id, source.epoch, source.received.last + 1)
    at = format_time(source.epoch + 60_000_000)
    bodies = seal_parts(draft(99), at, producer)
    maker.sequencer.deliver([Delivery(producer.id, producer.epoch, producer.seq, bodies)])
    index = int(maker.store.size) - 2
    with pytest.raises(ProducerSignatureError, match="ended with its event 20") as caught:
        verify(maker)
    assert caught.value.index == index


def test_what_a_relay_drops_is_missing_by_number(maker: Maker, journals: Path) -> None:
    """One that takes the honest one's place, and says nothing of it."""
    work(journals)
    (path,) = journals.glob("*.journal")
    scan = scan_frames(path.read_bytes(), is_end=True, limit=10**6, max_bytes=10**9)
    producer_id, epoch = path.name.split(".")[:2]
    maker.sequencer.deliver(
        [
            Delivery(producer_id, int(epoch), frame.seq, frame.bodies)
            for frame in scan.frames
            if frame.kind is FrameKind.EVENT and frame.seq != 4
        ]
    )
    source = next(each for each in maker.store.sources() if each.producer_id == producer_id)
    assert source.missing == ((4, 4),)
    signed = verify(maker).signed
    assert (signed.holes, signed.broken, signed.ended) == (1, 0, 1)


def test_a_process_that_signs_nothing_is_counted(maker: Maker, journals: Path) -> None:
    """Who leaves statements out altogether doesn't pass for one that signed."""
    journal = Journal(journals)
    for n in range(3):
        journal.append(draft(n))
    journal.close()
    work(journals)
    deliver(maker, journals)
    signed = verify(maker).signed
    assert (signed.producers, signed.entries, signed.unsigned) == (1, 19, 3)


def test_a_process_that_nobody_known_enrolled(maker: Maker, journals: Path) -> None:
    stranger = SigningKey.generate(f"{ORIGIN}/producers")
    journal = Journal(
        journals, new_signer=lambda producer, epoch: ProducerSigner(producer, epoch, stranger)
    )
    journal.append(draft(1))
    journal.close()
    deliver(maker, journals)
    with pytest.raises(ProducerSignatureError, match="enrolled by"):
        verify(maker)
    unasked: Sequence[object] = (verify_trail(maker.path, maker.key.verifier_key).signed.enrolment,)
    assert unasked == (None,)
