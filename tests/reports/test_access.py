"""What a person is told: all that was done with their data, and nothing about anybody else."""

from __future__ import annotations

import msgspec
import pytest

from indelible.errors import PolicyError
from indelible.events.model import Actor, Event, Outcome, Subject, TargetRows, Timestamp
from indelible.questions.accessors import accessors
from indelible.questions.answer import Answer
from indelible.questions.asking import Questions
from indelible.questions.findings import AccessorFinding
from indelible.questions.window import Window
from indelible.reports.access import AccessReport, Record, report_access
from indelible.reports.page import format_page
from indelible.reports.texts import DOUBTS, OTHER_DOUBT
from indelible.store.terms import DAILY
from tests.questions.trails import Maker

from .people import (
    ALICE,
    BOB,
    TABLES,
    TRUDY,
    YANN,
    ZARA,
    at,
    customers,
    event,
    invoices,
    policy,
    report,
)


def told(made: AccessReport) -> list[tuple[str, int, int]]:
    return [(each.who, each.reads, each.changes) for each in made.accesses]


def records(made: AccessReport) -> list[tuple[str, str | None]]:
    return [(record.kind, record.id) for each in made.accesses for record in each.records]


def test_all_that_was_done_is_told_once(maker: Maker) -> None:
    """First, last, how often, which records, read or changed; by whom, but for their names."""
    maker.add(
        event(1, TRUDY, invoices(1, 2)),
        event(2, ALICE, invoices(1), changed=True),
        event(3, TRUDY, customers("zara")),
        event(4, TRUDY, invoices(2), changed=True),
    )
    first, second = report(maker).accesses
    assert (first.who, first.first, first.last, first.reads, first.changes) == (
        "staff member 1",
        at(1),
        at(4),
        2,
        1,
    )
    assert first.records == (
        Record("customer", "zara", was_read=True, was_changed=False),
        Record("invoice", "1", was_read=True, was_changed=False),
        Record("invoice", "2", was_read=True, was_changed=True),
    )
    assert (second.who, second.reads, second.changes) == ("staff member 2", 0, 1)


def test_it_counts_what_the_answer_counts(maker: Maker) -> None:
    """Certain and possible, parts of cut events and doubtful ones: as `accessors` has them."""
    maker.add(
        event(1, TRUDY),
        event(2, TRUDY, invoices(coverage="statement"), of=()),
        event(3, BOB, changed=True, changes={"notes": (None, "n" * 200_000)}),
        event(4, BOB, of=(Subject("customer", None),)),
        event(5, BOB, outcome=Outcome.FAILURE),
        event(6, BOB, outcome=Outcome.DENIED),
        event(7, None, database_role="shop_app"),
    )
    kinds = policy().kinds_of_subject("customer")
    answer = list(accessors(maker.store, of=ZARA, window=Window(), kinds=kinds))
    made = report(maker)
    assert len(answer) == 5
    for is_certain in (True, False):
        assert sorted(
            (each.first, each.last, each.reads, each.changes)
            for each in made.accesses
            if each.is_certain == is_certain
        ) == sorted(
            (each.first, each.last, each.reads, each.changes)
            for each in answer
            if each.certain == is_certain
        )


def test_each_doubt_is_told_in_plain_words(maker: Maker) -> None:
    """None of those that an answer may have falls to the general one, or shows its own words."""
    unsaid = "because of dora"
    maker.add(
        event(2, TRUDY, invoices(coverage="statement", why=unsaid), of=()),
        event(
            3, TRUDY, invoices(7, coverage="superset", why=unsaid, possible_subjects=(ZARA,)), of=()
        ),
        event(4, TRUDY, of=(Subject("customer", None),)),
        event(5, TRUDY, outcome=Outcome.FAILURE),
        msgspec.structs.replace(
            event(6, TRUDY, changed=True), transaction="t6", action="invoice.refund"
        ),
        msgspec.structs.replace(event(7, TRUDY), time=Timestamp("2031-01-01T00:00:00.000000Z")),
        Event(
            action=DAILY,
            kind="system",
            actor=TRUDY,
            time=at(9),
            subjects=(ZARA,),
            details={"day": "2022-11-01", "nonce": "n", "n": 0},
        ),
    )
    made = report(maker, since="2022-11-01T06:00:00Z")
    doubts = [doubt for each in made.accesses for doubt in each.doubts]
    assert len(doubts) == 7
    page = format_page(made)
    for words in DOUBTS.values():
        assert words.replace("'", "&#x27;") in page
    assert OTHER_DOUBT.replace("'", "&#x27;") not in page and unsaid not in page


def test_what_the_answer_has_and_no_event_tells(maker: Maker) -> None:
    """It is counted, and said that its records aren't known; what was told isn't told twice."""
    maker.add(event(3, TRUDY), event(4, TRUDY, of=(Subject("customer", None),)))
    asked = Questions(maker.store, policy()).accessors(of=ZARA)
    kept = {"first": at(1), "last": at(2), "indexes": (), "changes": 0}
    more = [
        AccessorFinding(actor=TRUDY, reads=5, **kept),
        AccessorFinding(actor=BOB, reads=2, certain=False, why="its time is doubtful", **kept),
    ]
    answer = Answer(
        maker.store,
        searched=asked.searched,
        size=asked.size,
        find=lambda: iter([*more, *asked]),
        is_known=lambda: True,
    )
    made = report_access(maker.store, answer, of=ZARA, policy=policy(), made=at(9))
    assert [
        (each.who, each.is_certain, each.first, each.last, each.reads, each.untold)
        for each in made.accesses
    ] == [
        ("staff member 1", True, at(1), at(3), 6, 5),
        ("staff member 2", False, at(1), at(2), 2, 2),
        ("staff member 1", False, at(4), at(4), 1, 0),
    ]
    assert "5 times it isn&#x27;t known which ones" in format_page(made)


# -- nobody is told on ----------------------------------------------------------------------------


def test_nobody_is_named_by_default(maker: Maker) -> None:
    """Not who did it, not on whose behalf, not the database's accounts; no reason, no address."""
    chain = Actor("staff", "alice", Actor("staff", "bob", Actor("partner", "carol")))
    context = {"ip": "192.0.2.77", "session": "s-4711"}
    maker.add(
        event(1, chain, reason="asked for by dora", context=context),
        event(2, None, database_role="erin_dba"),
        event(3, BOB),
        event(4, ALICE, changed=True),
    )
    made = report(maker)
    assert told(made) == [
        ("staff member 1 acting for staff member 2 acting for partner 1", 1, 0),
        ("nobody known by name (database account 1)", 1, 0),
        ("staff member 2", 1, 0),
        ("staff member 1", 0, 1),
    ]
    everything = format_page(made) + msgspec.json.encode(made).decode()
    for secret in ("alice", "bob", "carol", "dora", "erin", "192.0.2", "4711"):
        assert secret not in everything


def test_a_role_takes_the_place_of_a_name(maker: Maker) -> None:
    """Of an actor, or of a kind; two of one role are told apart."""
    maker.add(event(1, ALICE), event(2, BOB), event(3, TRUDY), event(4, Actor("service", "mailer")))
    roles = 'roles = {"staff:alice" = "accounts", "staff:bob" = "accounts", service = "mail"}'
    found = [each.who for each in report(maker, reports=roles).accesses]
    assert found == ["accounts 1", "accounts 2", "staff member 1", "mail 1"]
    named = [each.who for each in report(maker, reports=f'staff = "name"\n{roles}').accesses]
    assert named == [
        "staff:alice (accounts)",
        "staff:bob (accounts)",
        "staff:trudy",
        "service:mailer (mail)",
    ]


def test_whose_data_it_is_is_called_you(maker: Maker) -> None:
    """Also as the one on whose behalf somebody acted."""
    zara = Actor("customer", "zara")
    maker.add(event(1, zara), event(2, Actor("staff", "alice", zara)))
    found = [each.who for each in report(maker).accesses]
    assert found == ["you", "staff member 1 acting for you"]


def test_of_others_records_only_the_kind_is_told(maker: Maker) -> None:
    """What was touched together with hers may be theirs; her own row is known, and a row changed
    is hers, whoever it goes to."""
    maker.add(
        event(1, TRUDY, invoices(1, 77), of=(ZARA, YANN)),
        event(2, TRUDY, customers("zara", "yann"), of=(ZARA, YANN)),
        event(3, TRUDY, invoices(88, coverage="superset"), of=()),
        event(4, TRUDY, invoices(5), of=(ZARA, YANN), changed=True),
        event(5, TRUDY, invoices(6), TargetRows("product", ((99,),))),
    )
    made = report(maker)
    assert set(records(made)) == {
        ("invoice", None),
        ("customer", "zara"),
        ("invoice", "5"),
        ("invoice", "6"),
    }
    told_of = msgspec.json.encode(made.accesses).decode()
    for other in ("yann", "77", "88", "product", "99"):
        assert other not in told_of


def test_reasons_are_shown_where_the_policy_says_so(maker: Maker) -> None:
    """Each once; those of an event that was cut into parts, too."""
    large = {"notes": (None, "n" * 200_000)}
    maker.add(
        event(1, ALICE, reason="ticket 7"),
        event(2, ALICE, reason="ticket 7"),
        event(3, ALICE, reason="ticket 8", changed=True, changes=large),
    )
    assert [each.reasons for each in report(maker).accesses] == [()]
    (access,) = report(maker, reports="reasons = true").accesses
    assert access.reasons == ("ticket 7", "ticket 8")
    assert "ticket 8" in format_page(report(maker, reports="reasons = true"))


# -- what it covers -------------------------------------------------------------------------------


def test_what_isnt_known_is_said(maker: Maker) -> None:
    """When the trail began, since when a kind is captured, what is missing, what was noticed."""
    maker.add(
        Event(
            action="capture.installed",
            kind="system",
            time=at(1),
            targets=(TargetRows("invoice"),),
        ),
        Event(action="capture.drift", kind="system", time=at(2), details={"message": "secret!"}),
        event(3, TRUDY),
    )
    maker.add(event(5, TRUDY), skip=3)
    made = report(maker, since="2020-01-01", until="2022-12-31")
    assert dict(made.captured) == {"customer": None, "invoice": at(1)}
    assert [(gap.since, gap.missing, gap.lost) for gap in made.gaps] == [(at(3), 3, 0)]
    page = format_page(made)
    assert "after the beginning of the period: nothing is known of the time before" in page
    assert "kind invoice are observed since 2022-11-01 12:00:00" in page
    assert "Since when records of the kind customer are observed isn" in page
    assert "from 2022-11-03 12:00:00 on, 3 records are missing" in page
    assert "Of what the trail knows of nothing is missing" not in page
    assert "recording wasn&#x27;t set up as it should have been" in page
    assert "secret!" not in page


def test_a_kind_that_is_not_recorded_is_said(maker: Maker) -> None:
    maker.add(event(1, TRUDY))
    decided = policy(tables=TABLES.replace("[tables.invoice]", "[tables.invoice]\nreads = false"))
    made = report(maker, decided=decided)
    assert made.unread == ("invoice",) and made.unwritten == ()
    assert "It is not recorded who reads records of the kind invoice" in format_page(made)


def test_of_whom_nothing_is_known(maker: Maker) -> None:
    """An empty report doesn't look like a clean one."""
    maker.add(event(1, TRUDY))
    made = report(maker, of=Subject("customer", "nobody"))
    assert not made.is_known and made.accesses == ()
    assert "The trail holds nothing about this person" in format_page(made)


def test_an_empty_trail(maker: Maker) -> None:
    made = report(maker)
    assert made.size == 0 and made.began is None
    assert "The trail has no entries yet" in format_page(made)


# -- the setting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ('staff = "both"', "expected staff as one of role, name, got 'both'"),
        ("reasons = 1", "expected reasons as bool"),
        ("roles = []", "expected roles by actor or kind"),
        ('roles = {staff = ""}', "expected roles by actor or kind"),
        ("names = true", "unknown key 'names'; allowed here: staff, roles, reasons"),
    ],
)
def test_settings_that_are_wrong(reports: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        policy(reports)
