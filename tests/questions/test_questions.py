"""The answers: who is in them, what is certain and what is possible, and how far they reach."""

from __future__ import annotations

import base64
import hashlib

import pytest

from indelible.errors import QueryError
from indelible.events.model import Actor, Event, Outcome, Subject, Target, TargetRows, Timestamp
from indelible.questions.accesses import accesses
from indelible.questions.accessors import accessors
from indelible.questions.answer import Answer
from indelible.questions.events import access_events, changes, events, history
from indelible.questions.findings import AccessFinding, AccessorFinding, Finding
from indelible.questions.proofs import prove
from indelible.questions.window import Window
from indelible.tlog import leaf_hash, verify_proof

from .trails import DATABASE, EPOCH, JOURNAL, Maker

ALICE, BOB, TRUDY = Actor("staff", "alice"), Actor("staff", "bob"), Actor("staff", "trudy")
ZARA, YANN = Subject("customer", "zara"), Subject("customer", "yann")
ALWAYS = Window()


def at(day: int, time: str = "12:00:00.000000") -> Timestamp:
    return Timestamp(f"2022-11-{day:02d}T{time}Z")


def change(day: int, actor: Actor | None = ALICE, row: int = 1, **more: object) -> Event:
    fields = {
        "targets": (TargetRows("invoice", ((row,),)),),
        "subjects": (ZARA,),
        "changes": {"total": (1, 2)},
        "transaction": f"t{day}",
        "time": at(day),
        "action": "invoice.update",
        **more,
    }
    return Event(kind="change", actor=actor, **fields)  # type: ignore[arg-type]


def read(
    day: int, actor: Actor | None = TRUDY, rows: tuple[int, ...] = (1,), **more: object
) -> Event:
    fields = {
        "targets": (TargetRows("invoice", tuple((row,) for row in rows)),),
        "subjects": (ZARA,),
        "time": at(day),
        **more,
    }
    return Event(action="invoice.read", kind="access", actor=actor, **fields)  # type: ignore[arg-type]


def days(answer: Answer[Finding]) -> list[int]:
    return [int(finding.time[8:10]) for finding in answer]


def records(answer: Answer[AccessFinding]) -> list[tuple[str, int, int]]:
    return [(each.target_text, each.reads, each.changes) for each in answer]


def names(answer: Answer[AccessorFinding]) -> list[str]:
    return [str(each.actor) for each in answer]


def test_changes_of_one_actor_in_a_window(maker: Maker) -> None:
    """Every change of the actor from the first instant on and before the last, and no other."""
    ids = maker.add(*(change(day) for day in (1, 2, 3, 4)), change(2, BOB), read(3, ALICE))
    answer = changes(maker.store, by=ALICE, window=Window(at(2), at(4)))
    assert [finding.event.id for finding in answer.certain()] == ids[1:3]
    assert not list(answer.possible())
    (first, _) = answer
    assert (first.target_text, first.subject_text) == ("invoice:1", "customer:zara")
    assert first.event.changes == {"total": (1, 2)}
    turned = changes(maker.store, by=ALICE, window=ALWAYS, newest_first=True)
    assert days(turned) == [4, 3, 2, 1]


def test_an_unknown_actor_is_an_empty_answer_that_says_so(maker: Maker) -> None:
    """Nothing found differs from nobody known."""
    maker.add(change(1))
    idle = changes(maker.store, by=ALICE, window=Window(at(5), at(6)))
    assert (list(idle), idle.known) == ([], True)
    stranger = changes(maker.store, by=Actor("staff", "nobody"), window=ALWAYS)
    assert (list(stranger), stranger.known) == ([], False)
    assert not accesses(maker.store, by=Actor("staff", "nobody"), window=ALWAYS).known
    assert not accessors(maker.store, of=YANN, window=ALWAYS).known
    assert accessors(maker.store, of=ZARA, window=Window(at(5), at(6))).known
    assert not history(maker.store, target=Target("invoice", 9), window=ALWAYS).known


def test_what_was_done_on_behalf_of_somebody_needs_asking_for(maker: Maker) -> None:
    """`by` is who did it; `also_as` adds what others did on behalf of them."""
    support = Actor("staff", "support", on_behalf_of=ALICE)
    maker.add(change(1), change(2, support), read(3, support))
    assert days(changes(maker.store, by=ALICE, window=ALWAYS)) == [1]
    assert days(changes(maker.store, by=ALICE, window=ALWAYS, also_as=True)) == [1, 2]
    assert days(changes(maker.store, by=Actor("staff", "support"), window=ALWAYS)) == [2]
    found = list(accessors(maker.store, of=ZARA, window=ALWAYS, also_as=True))
    assert [(str(each.actor), str(each.through), each.count) for each in found] == [
        ("staff:alice", "None", 1),
        ("staff:support", "None", 2),
        ("staff:alice", "staff:support", 2),
    ]


def test_denied_and_failed_changes(maker: Maker) -> None:
    """What was denied changed nothing; what failed may have, so it is possible."""
    maker.add(
        change(1, outcome=Outcome.DENIED),
        change(2, outcome=Outcome.FAILURE),
        change(3, targets=(TargetRows("invoice", coverage="statement", why="a view"),)),
    )
    answer = changes(maker.store, by=ALICE, window=ALWAYS)
    assert not list(answer.certain())
    assert [finding.why for finding in answer.possible()] == [
        "it failed, perhaps half-way",
        "which invoice rows it touched couldn't be seen: a view",
    ]


def test_doubtful_times_are_possible_in_both_windows(maker: Maker) -> None:
    """An event dated after its receipt is possible where it claims to be and where it came."""
    later = Timestamp("2030-01-01T00:00:00.000000Z")
    maker.add(change(1, time=later))
    received = Timestamp("2026-01-01T00:00:00.000000Z")
    for window in (
        Window(later, None),
        Window(received, Timestamp("2026-01-02T00:00:00.000000Z")),
    ):
        for answer in (
            changes(maker.store, by=ALICE, window=window),
            accesses(maker.store, by=ALICE, window=window),
            accessors(maker.store, of=ZARA, window=window),
        ):
            (finding,) = answer.possible()
            assert "its time is doubtful: it claims 2030" in str(finding.why)
            assert not list(answer.certain())
    elsewhere = Window(at(1), at(2))
    assert not list(changes(maker.store, by=ALICE, window=elsewhere))


def test_accesses_are_one_line_a_record(maker: Maker) -> None:
    """Reads and changes of a record are counted together, by the time of the first."""
    maker.add(
        change(1, TRUDY, 8),
        read(3, TRUDY, (7, 8)),
        read(4, BOB, (9,)),
        read(5, TRUDY, (7,)),
        read(6, TRUDY, ()),
    )
    answer = accesses(maker.store, by=TRUDY, window=ALWAYS)
    assert records(answer) == [("invoice:8", 1, 1), ("invoice:7", 2, 0)]
    first, second = answer
    assert (first.first, first.last, first.deed) == (at(1), at(3), "read and changed")
    assert (second.count, second.indexes) == (2, (1, 3))
    assert days(access_events(maker.store, by=TRUDY, window=ALWAYS)) == [1, 3, 5, 6]


def test_a_changed_key_is_an_access_of_both(maker: Maker) -> None:
    """A record that got another key was accessed under both."""
    rows = TargetRows("invoice", ((2,),), ids_before=((1,),))
    maker.add(change(1, targets=(rows,)))
    assert records(accesses(maker.store, by=ALICE, window=ALWAYS)) == [
        ("invoice:2", 0, 1),
        ("invoice:1", 0, 1),
    ]


def test_records_not_seen_exactly_are_possible(maker: Maker) -> None:
    """Rows named too widely are possible; rows not named at all are one line a kind."""
    maker.add(
        read(1, rows=(1,)),
        read(2, targets=(TargetRows("invoice", ((1,), (2,)), coverage="superset"),)),
        read(3, targets=(TargetRows("ticket", coverage="statement", why="opaque"),)),
    )
    answer = accesses(maker.store, by=TRUDY, window=ALWAYS)
    assert [each.target_text for each in answer.certain()] == ["invoice:1"]
    possible = list(answer.possible())
    assert [each.target_text for each in possible] == ["invoice:1", "invoice:2", "ticket:(some)"]
    assert possible[2].why == "which ticket rows it touched couldn't be seen: opaque"


def test_many_records_spill_and_answer_the_same(maker: Maker) -> None:
    """However little memory an answer may take, it is the same answer."""
    maker.add(
        *(read(1 + n % 20, TRUDY, tuple(range(n % 7, n % 7 + 40, 3))) for n in range(60)),
        *(change(1 + n % 9, TRUDY, n % 31) for n in range(60)),
    )
    whole = list(accesses(maker.store, by=TRUDY, window=ALWAYS))
    for max_keys in (1, 2, 7):
        assert list(accesses(maker.store, by=TRUDY, window=ALWAYS, max_keys=max_keys)) == whole
    assert [each.first for each in whole] == sorted(each.first for each in whole)
    people = list(accessors(maker.store, of=ZARA, window=ALWAYS))
    assert list(accessors(maker.store, of=ZARA, window=ALWAYS, max_keys=1)) == people


def test_accessors_of_a_subject(maker: Maker) -> None:
    """Everybody whose events touched the subject's data, whoever else's was in them."""
    maker.add(
        read(1, BOB),
        change(2, ALICE),
        read(3, TRUDY, subjects=(YANN,)),
        read(4, TRUDY, subjects=(YANN, ZARA)),
        read(5, None, database_role="app"),
        Event(action="customer.noted", kind="event", actor=BOB, subjects=(ZARA,), time=at(6)),
    )
    answer = accessors(maker.store, of=ZARA, window=ALWAYS)
    assert names(answer) == ["staff:bob", "staff:alice", "staff:trudy", "None"]
    assert [(each.deed, each.database_role) for each in answer][1::2] == [
        ("changed", None),
        ("read", "app"),
    ]


def test_the_subjects_own_row_counts_without_a_policy(maker: Maker) -> None:
    """Whoever touched the row `customer:zara` accessed Zara's data."""
    maker.add(read(1, BOB, targets=(TargetRows("customer", (("zara",),)),), subjects=()))
    assert names(accessors(maker.store, of=ZARA, window=ALWAYS)) == ["staff:bob"]


def test_accessors_that_cannot_be_told_are_possible(maker: Maker) -> None:
    """Unknown subjects, and tables of this kind of subject not seen exactly, are never a hole."""
    vague = TargetRows("invoice", coverage="statement", why="opaque")
    named = TargetRows("invoice", ((1,),), coverage="superset", possible_subjects=(YANN,))
    maker.add(
        read(1, BOB, subjects=(Subject("customer", None),)),
        read(2, ALICE, subjects=(), targets=(vague,)),
        read(3, TRUDY, subjects=(), targets=(named,)),
    )
    answer = accessors(maker.store, of=ZARA, window=ALWAYS, kinds=("invoice",))
    assert [(str(each.actor), each.certain) for each in answer] == [
        ("staff:bob", False),
        ("staff:alice", False),
    ]
    assert [each.why for each in answer] == [
        "the customer whose data it was couldn't be told",
        "which invoice rows it touched couldn't be seen: opaque",
    ]
    assert names(accessors(maker.store, of=YANN, window=ALWAYS))[-1] == "staff:trudy"


def test_explicit_events_by_action(maker: Maker) -> None:
    """One action, or all of a noun's; of anybody, or of one actor; whatever the outcome."""
    for n, (action, actor, outcome) in enumerate(
        [
            ("user.logged_in", ALICE, Outcome.SUCCESS),
            ("user.logged_in", BOB, Outcome.DENIED),
            ("user.logged_out", ALICE, Outcome.SUCCESS),
            ("userlike.thing", ALICE, Outcome.SUCCESS),
        ],
        start=1,
    ):
        maker.add(Event(action=action, kind="event", actor=actor, outcome=outcome, time=at(n)))
    maker.add(read(5, ALICE))
    assert days(events(maker.store, window=ALWAYS, action="user.*", by=ALICE)) == [1, 3]
    assert days(events(maker.store, window=ALWAYS, action="user.logged_in")) == [1, 2]
    assert days(events(maker.store, window=ALWAYS, action="user.*")) == [1, 2, 3]
    assert days(events(maker.store, window=ALWAYS, by=ALICE)) == [1, 3, 4]
    reads = events(maker.store, window=ALWAYS, kinds=frozenset({"access"}))
    assert days(reads) == [5]
    for wrong in ("*", "user*", "*.logged_in", "us*r.*"):
        with pytest.raises(QueryError, match="expected an action like"):
            events(maker.store, window=ALWAYS, action=wrong)


def test_history_of_one_target(maker: Maker) -> None:
    """All that was done to a record by anybody; what may have touched it is possible."""
    vague = TargetRows("invoice", coverage="statement")
    maker.add(change(1), read(2, TRUDY, (1, 2)), read(3, BOB, (2,)), read(4, BOB, targets=(vague,)))
    answer = history(maker.store, target=Target("invoice", "1"), window=ALWAYS)
    assert [(int(each.time[8:10]), each.certain) for each in answer] == [
        (1, True),
        (2, True),
        (4, False),
    ]


def test_an_event_in_parts_is_one_finding(maker: Maker) -> None:
    """What was cut because of its size is whole again, and stands on all of its entries."""
    notes = {"note": ("x" * 100_000, "y" * 100_000)}
    maker.add(change(1, changes=notes), read(2, ALICE))
    for newest_first in (False, True):
        answer = changes(maker.store, by=ALICE, window=ALWAYS, newest_first=newest_first)
        (finding,) = answer
        assert finding.event.changes == notes
        assert len(finding.indexes) > 2
        assert len(set(finding.indexes)) == len(finding.indexes)
    assert records(accesses(maker.store, by=ALICE, window=ALWAYS)) == [("invoice:1", 1, 1)]
    (person,) = accessors(maker.store, of=ZARA, window=ALWAYS)
    assert (person.reads, person.changes) == (1, 1)


def test_explicit_events_of_a_transaction_say_whether_it_committed(maker: Maker) -> None:
    """One in a journal is known to have committed when the database says something of it."""

    def refund(day: int, transaction: str | None) -> Event:
        return change(day, action="invoice.refund", changes=None, transaction=transaction)

    maker.add(change(1, transaction="done"))
    maker.add(refund(2, "done"), refund(3, "lost"), refund(4, None), source=JOURNAL)
    maker.add(refund(5, "alone"))
    found = {int(each.time[8:10]): each for each in changes(maker.store, by=ALICE, window=ALWAYS)}
    assert {day: each.committed for day, each in found.items()} == {
        1: None,
        2: True,
        3: False,
        4: None,
        5: True,
    }
    assert [day for day, each in found.items() if not each.certain] == [3]
    assert "no commit is known" in str(found[3].why)
    lines = list(accesses(maker.store, by=ALICE, window=ALWAYS))
    assert [(line.certain, line.changes) for line in lines] == [(True, 4), (False, 1)]


def test_the_answer_does_not_grow_while_it_is_read(maker: Maker) -> None:
    """Every reading of an answer covers the entries that were there when it was asked."""
    maker.add(change(1))
    answer = changes(maker.store, by=ALICE, window=ALWAYS)
    maker.add(change(2))
    assert days(answer) == [1]
    assert days(changes(maker.store, by=ALICE, window=ALWAYS)) == [1, 2]


def test_an_answer_says_up_to_when_it_is_complete(maker: Maker) -> None:
    """For each source: until its last event, or until the first that is missing."""
    maker.add(change(1), change(2))
    maker.add(read(3), source=JOURNAL)
    maker.add(change(9), skip=2)
    reach = {
        each.producer_id: each for each in changes(maker.store, by=ALICE, window=ALWAYS).sources()
    }
    assert reach[JOURNAL].complete_until == at(3)
    assert reach[DATABASE].complete_until == at(2)
    assert reach[DATABASE].missing == ((3, 4),)
    assert reach[DATABASE].epoch == EPOCH


def test_a_finding_can_be_proved(maker: Maker) -> None:
    """The evidence of a finding leads from its bytes to the root that the trail signed."""
    maker.add(*(change(1 + n % 28) for n in range(300)))
    (finding, *_) = changes(maker.store, by=ALICE, window=ALWAYS, newest_first=True)
    for evidence in prove(maker.store, finding.indexes):
        assert b'"invoice.update"' in evidence.body
        verify_proof(
            evidence.proof,
            leaf_hash(evidence.head),
            origin=maker.store.origin,
            log_key=maker.key.verifier_key,
        )
        assert base64.b64encode(hashlib.sha256(evidence.salt + evidence.body).digest()) in (
            evidence.head
        )
