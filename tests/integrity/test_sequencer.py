"""Every event delivered is numbered once, and what was acknowledged stays."""

from __future__ import annotations

import random
import threading

import pytest

from indelible.errors import DeposedError
from indelible.events.codec import decode_event, encode_draft, format_time, seal
from indelible.events.model import Actor, Event, Producer, Subject, TargetRows
from indelible.integrity.verifier import verify_trail
from indelible.store.terms import action_term, actor_term, row_term, subject_term
from indelible.tlog import SigningKey, parse_checkpoint, parse_note
from indelible.transport.delivery import Delivery, Gap, Remark
from tests.integrity.trails import EPOCH, SOURCE, Maker


def actions(maker: Maker) -> list[str]:
    return [decode_event(entry.body).action for entry in maker.store.entries(0, 10**9)]


def test_entries_are_numbered_without_gaps_and_batches_end_with_their_own_entry(
    maker: Maker,
) -> None:
    """Three events in two batches make five entries, 0 to 4."""
    maker.fill([2, 1])
    assert actions(maker) == [
        "invoice.update",
        "invoice.update",
        "batch.sequenced",
        "invoice.update",
        "batch.sequenced",
    ]
    assert [(b.first, b.last) for b in maker.store.batches()] == [(0, 2), (3, 4)]
    assert verify_trail(maker.path, maker.key.verifier_key).size == 5


def test_the_same_event_delivered_again_is_dropped(maker: Maker) -> None:
    """Delivery is at least once; the trail holds each event once, also within a batch."""
    delivery = maker.delivery()
    maker.sequencer.deliver([delivery, delivery])
    maker.sequencer.deliver([delivery])
    maker.open()
    maker.sequencer.deliver([delivery])
    assert actions(maker) == ["invoice.update", "batch.sequenced"]
    assert maker.sequencer.received(SOURCE, EPOCH).ranges == ((1, 1),)


def test_other_bytes_at_the_same_position_are_kept_too_and_noticed(maker: Maker) -> None:
    """Who changes an event after it was delivered doesn't replace it, and is seen."""
    first = maker.delivery()
    forged = encode_draft(Event(action="invoice.read", kind="access"))
    second = Delivery(
        SOURCE, EPOCH, 1, (seal(forged, format_time(EPOCH), Producer(SOURCE, EPOCH, 1)),)
    )
    maker.sequencer.deliver([first])
    maker.sequencer.deliver([second])
    maker.sequencer.deliver([second, first])
    assert actions(maker) == [
        "invoice.update",
        "batch.sequenced",
        "invoice.read",
        "source.conflict",
        "batch.sequenced",
    ]
    assert maker.store.bodies_at(SOURCE, EPOCH, 1) == [first.bodies, second.bodies]
    assert [notice.action for notice in maker.store.notices()] == ["source.conflict"]
    verify_trail(maker.path, maker.key.verifier_key)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"v":1}',
        b"{\n}",
        seal(
            encode_draft(Event(action="a.b", kind="event")),
            format_time(EPOCH),
            Producer(SOURCE, EPOCH, 99),
        ),
    ],
)
def test_bytes_that_are_no_event_are_set_aside_and_block_nobody(maker: Maker, body: bytes) -> None:
    """A poison event is kept with its bytes and noticed; its neighbours arrive."""
    before, _, after = maker.delivery(), maker.delivery(), maker.delivery()
    poison = Delivery(SOURCE, EPOCH, 2, (body,))
    maker.sequencer.deliver([before, poison, after])
    maker.sequencer.deliver([poison])
    assert actions(maker).count("event.quarantined") == 1
    assert [kept.bodies for kept in maker.store.quarantined()] == [(body,)]
    assert poison.seq in maker.sequencer.received(SOURCE, EPOCH)
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_gap_is_an_entry_once(maker: Maker) -> None:
    """Positions that will never come are written down, and noticed."""
    gap = Gap(SOURCE, EPOCH, 5, 9, "its rows were deleted")
    maker.sequencer.deliver((), gaps=[gap])
    maker.sequencer.deliver((), gaps=[gap])
    assert actions(maker) == ["source.gap", "batch.sequenced"]
    assert maker.store.lost(SOURCE, EPOCH) == ((5, 9),)
    verify_trail(maker.path, maker.key.verifier_key)


def test_a_deposed_sequencer_cannot_commit(maker: Maker) -> None:
    """One that slept while another took over is refused, and leaves nothing behind."""
    old = maker.sequencer
    maker.fill([3])
    late = maker.delivery()
    maker.open()
    with pytest.raises(DeposedError, match="another sequencer took over"):
        old.deliver([late])
    with pytest.raises(DeposedError):
        old.deliver((), remarks=[Remark("a.b", "c")])
    maker.sequencer.deliver([late])
    assert verify_trail(maker.path, maker.key.verifier_key).size == 4 + 2


def test_the_lease_is_for_one(maker: Maker) -> None:
    """Nobody gets it while its holder is heard of; its clock doesn't have to be right."""
    now = maker.clock() + 1
    assert maker.store.acquire_lease("other", now=now, lease_s=10.0) is None
    assert maker.store.acquire_lease("other", now=now - 5_000_000, lease_s=10.0) is None
    taken = maker.store.acquire_lease("other", now=now + 11_000_000, lease_s=10.0)
    assert taken is not None
    with pytest.raises(DeposedError):
        maker.sequencer.renew()
    maker.store.release_lease(taken)
    assert maker.store.acquire_lease("third", now=now, lease_s=10.0) is not None


def test_a_root_that_a_crash_left_unsigned_is_signed_by_the_next_start(maker: Maker) -> None:
    """The crash between the two commits leaves the same bytes after the restart."""
    maker.fill([3])
    before = maker.store.state()
    maker.store._connection.execute("UPDATE trail SET checkpoint = NULL")
    maker.open()
    assert maker.store.state() == before
    assert parse_checkpoint(parse_note(before.checkpoint or b"").text).size == 4


def test_a_trail_in_use_verifies_at_any_moment(maker: Maker) -> None:
    """Also between the two commits of a batch."""
    is_over = threading.Event()

    def sequence() -> None:
        while not is_over.is_set():
            maker.fill([1])

    thread = threading.Thread(target=sequence)
    thread.start()
    try:
        sizes = [verify_trail(maker.path, maker.key.verifier_key).size for _ in range(60)]
    finally:
        is_over.set()
        thread.join()
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_a_time_that_cannot_be_right_is_doubtful(maker: Maker) -> None:
    """After receipt, before its producer began, or before an earlier one of the same producer."""
    now = maker.clock()
    claimed = [
        EPOCH + 5_000_000,
        now + 1_000_001,
        EPOCH - 2_000,
        EPOCH + 3_999_999,
        EPOCH + 4_000_000,
        EPOCH + 6_000_000,
    ]
    maker.sequencer.deliver([maker.delivery(time=time) for time in claimed])
    found = [entry.doubtful for entry in maker.store.entries(0, 5)]
    assert found == [False, True, True, True, False, False]
    verify_trail(maker.path, maker.key.verifier_key)


def test_an_event_in_parts_is_found_by_its_id_and_each_part_by_its_own(maker: Maker) -> None:
    """Parts stand at consecutive indexes and count as one position."""
    large = maker.delivery(
        Event(action="a.update", kind="change", changes={"c": (None, "x" * 150_000)})
    )
    maker.sequencer.deliver([large, maker.delivery()])
    base = f"{SOURCE}.{EPOCH}.1"
    assert len(large.bodies) > 2
    assert maker.store.index_of(base) == 0
    assert maker.store.index_of(f"{base}.2") == 1
    assert maker.store.index_of(f"{base}.{len(large.bodies) + 1}") is None
    assert maker.store.index_of(f"{SOURCE}.{EPOCH}.2") == len(large.bodies)
    assert maker.store.bodies_at(SOURCE, EPOCH, 1) == [large.bodies]
    maker.sequencer.deliver([large])
    verify_trail(maker.path, maker.key.verifier_key)


def test_everything_is_found_by_its_terms_whatever_the_batches_were(maker: Maker) -> None:
    """The index in runs, merged or still waiting, gives what a scan gives, after restarts too."""
    rng = random.Random(7)
    for _ in range(12):
        events = [
            Event(
                action="invoice.read",
                kind="access",
                targets=(TargetRows("invoice", tuple((rng.randrange(900),) for _ in range(40))),),
                subjects=tuple(Subject("customer", str(rng.randrange(300))) for _ in range(30)),
            )
            for _ in range(rng.choice((1, 40, 150)))
        ]
        maker.sequencer.deliver([maker.delivery(event) for event in events])
        if rng.random() < 0.3:
            maker.open()
    everything = [
        (entry.index, decode_event(entry.body)) for entry in maker.store.entries(0, 10**9)
    ]
    for n in range(0, 300, 23):
        subject = Subject("customer", str(n))
        expected = [index for index, event in everything if subject in event.subjects]
        found = [
            entry.index
            for entry in maker.store.search([subject_term(subject)])
            if subject in decode_event(entry.body).subjects
        ]
        assert found == expected
        newest = maker.store.search([subject_term(subject)], newest_first=True)
        assert [e.index for e in newest if subject in decode_event(e.body).subjects] == expected[
            ::-1
        ]
    assert verify_trail(maker.path, maker.key.verifier_key).size == len(everything)


def test_a_window_never_misses_by_claimed_or_received_time(maker: Maker) -> None:
    """Blocks are left out only when neither time of any of their entries is in the window."""
    for n in range(6):
        maker.clock.now += 3_600_000_000
        maker.sequencer.deliver(
            [maker.delivery(time=EPOCH + n * 1_000_000 + k) for k in range(200)]
        )
    term = row_term("invoice", (7,), changes=True)
    everything = list(maker.store.search([term]))
    for since, until in ((2, 4), (0, 1), (5, 6)):
        low, high = (format_time(EPOCH + s * 1_000_000) for s in (since, until))
        found = {e.index for e in maker.store.search([term], since=low, until=high)}
        wanted = {e.index for e in everything if low <= decode_event(e.body).time < high}
        assert wanted <= found
        assert wanted
    received = everything[0].received
    assert everything[0].index in {
        e.index for e in maker.store.search([term], since=received, until=None)
    }


def test_an_unknown_term_finds_nothing(maker: Maker) -> None:
    """Asking for somebody who was never there gives no entry of theirs."""
    maker.fill([10])
    found = maker.store.search([actor_term(Actor("staff", "nobody"))])
    assert not [e for e in found if b"nobody" in e.body]
    assert not [
        e for e in maker.store.search([action_term("user.logged_in")]) if b"logged_in" in e.body
    ]


def test_the_key_shows_nowhere(maker: Maker) -> None:
    """No repr of anything that holds the key tells it."""
    secret = maker.key.export_private().split("+", 4)[4]  # base64, which may hold a plus itself
    assert len(secret) > 40
    assert secret not in repr(maker.key) + repr(maker.sequencer) + repr(maker.store)
    assert isinstance(maker.key, SigningKey)
