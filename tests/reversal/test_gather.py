"""What a reversal takes from the trail: the actor's changes, and what became of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from indelible.events.codec import encode_draft, seal_parts
from indelible.events.model import Actor, Event, Producer, TargetRows, Timestamp
from indelible.events.values import Id
from indelible.integrity.sequencer import Sequencer
from indelible.questions.row_change import row_change_of
from indelible.questions.window import Window
from indelible.reversal.gather import refresh_selection, select_changes
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery

BOB, CAROL = Actor("staff", "bob"), Actor("staff", "carol")
DATABASE, EPOCH = "0123456789abcdef", 1_600_000_000_000_000


class Trail:
    def __init__(self, path: Path) -> None:
        key = SigningKey.generate("example.com/trail")
        self.store = SqliteTrail.create(
            path, origin="example.com/trail", vkey=str(key.verifier_key), source_id="f" * 16
        )
        lease = self.store.acquire_lease("test", now=EPOCH, lease_s=3_600.0)
        assert lease is not None
        self._sequencer = Sequencer(self.store, lease, key)
        self.seq = 0

    def made(self, actor: Actor, row_id: Id, before: Id = (), **more: object) -> Event:
        """The next change of the database, as captured; delivered by `add` only."""
        self.seq += 1
        rows = TargetRows("customer", (row_id,), ids_before=(before,) if before else ())
        event = Event(
            action="customer.update",
            kind="change",
            actor=actor,
            targets=(rows,),
            changes={"name": (self.seq - 1, self.seq)},
            time=Timestamp(f"2022-01-{self.seq:02d}T00:00:00.000000Z"),
            producer=Producer(DATABASE, EPOCH, self.seq),
            id=f"{DATABASE}.{EPOCH}.{self.seq}",
        )
        return msgspec.structs.replace(event, **more)

    def add(self, actor: Actor, row_id: Id, before: Id = (), **more: object) -> str:
        event = self.made(actor, row_id, before, **more)
        place = event.producer
        bodies = seal_parts(encode_draft(event), event.time, place)
        self._sequencer.deliver([Delivery(place.id, place.epoch, place.seq, bodies)])
        return event.id


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    made = Trail(tmp_path / "trail.db")
    yield made
    made.store.close()


def test_later_changes_of_the_same_rows_come_along(trail: Trail) -> None:
    """Whoever changed the rows later is known to the plan, under whatever key they are by then."""
    trail.add(CAROL, (1,))
    mine = [trail.add(BOB, (1,)), trail.add(BOB, (2,))]
    later = [
        trail.add(CAROL, (7,), before=(1,)),
        trail.add(CAROL, (8,), before=(7,)),
        trail.add(CAROL, (8,)),
    ]
    trail.add(CAROL, (9,))
    selection = select_changes(trail.store, by=BOB, window=Window())
    assert selection.selected == set(mine)
    assert {change.event for change in selection.changes} == {*mine, *later}


def test_only_the_window_is_selected(trail: Trail) -> None:
    """What the same actor did later is known as somebody's later change."""
    first, second = trail.add(BOB, (1,)), trail.add(BOB, (1,))
    until = Timestamp("2022-01-02T00:00:00.000000Z")
    selection = select_changes(trail.store, by=BOB, window=Window(None, until))
    assert selection.selected == {first}
    assert {change.event for change in selection.changes} == {first, second}


def test_what_cannot_be_reversed_is_listed(trail: Trail) -> None:
    """Changes that aren't certain, or that state no row and values, are named with why."""
    vague = TargetRows("customer", coverage="statement", why="a view")
    trail.add(BOB, (1,), targets=(vague,))
    trail.add(BOB, (1,), action="customer.renamed", changes=None)
    selection = select_changes(trail.store, by=BOB, window=Window())
    assert not selection.selected
    assert [each.why for each in selection.unplanned] == [
        "which customer rows it touched couldn't be seen: a view",
        "it doesn't state one row and its values",
    ]


def test_what_waits_in_the_outbox_counts(trail: Trail) -> None:
    """A refreshed selection is of the same changes, and knows all that happened since."""
    mine = trail.add(BOB, (1,))
    selection = select_changes(trail.store, by=BOB, window=Window())
    since = trail.add(CAROL, (1,))
    trail.add(BOB, (1,))
    waiting = row_change_of(trail.made(CAROL, (1,)), -1)
    assert waiting is not None
    refreshed = refresh_selection(trail.store, selection, [waiting])
    assert refreshed.selected == {mine}
    assert {mine, since, waiting.event} <= {change.event for change in refreshed.changes}
