"""Writing and asking name things alike, so what was written is found."""

from hypothesis import given
from hypothesis import strategies as st

from indelible.events.model import Actor, Event, Subject, TargetRows
from indelible.events.values import TypedValue
from indelible.store.terms import (
    action_term,
    actor_term,
    daily_term,
    hash_terms,
    inexact_term,
    noun_term,
    on_behalf_of_term,
    row_term,
    subject_term,
    term_hashes_of,
    terms_of,
    transaction_term,
)

KINDS = st.sampled_from(["customer", "invoice", "größe"])
NAMES = st.text(min_size=1, max_size=8)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), NAMES, st.just(TypedValue("real", "1"))
)
SUBJECTS = st.builds(Subject, KINDS, st.none() | NAMES)
IDS = st.lists(VALUES, min_size=1, max_size=3).map(tuple)
TARGETS = st.builds(
    TargetRows,
    KINDS,
    st.lists(IDS, max_size=5).map(tuple),
    st.lists(IDS, max_size=2).map(tuple),
    coverage=st.sampled_from(["exact", "superset", "statement"]),
    possible_subjects=st.lists(SUBJECTS, max_size=2).map(tuple),
)
ACTORS = st.builds(Actor, KINDS, NAMES, st.none() | st.builds(Actor, KINDS, NAMES))
EVENTS = st.builds(
    Event,
    action=st.sampled_from(["invoice.read", "user.logged_in"]),
    kind=st.sampled_from(["change", "access", "event", "decision", "system"]),
    actor=st.none() | ACTORS,
    targets=st.lists(TARGETS, max_size=3).map(tuple),
    subjects=st.lists(SUBJECTS, max_size=4).map(tuple),
    transaction=st.none() | NAMES,
    reverses=st.lists(NAMES, max_size=2).map(tuple),
)


@given(EVENTS)
def test_the_fast_hashes_are_those_of_the_terms(event: Event) -> None:
    """The index is written with one function and asked with another; they never differ."""
    hashes = term_hashes_of(event)
    assert len(hashes) == len(set(hashes))
    assert set(hashes) == set(hash_terms(terms_of(event)))


def test_an_event_is_found_by_everything_it_names() -> None:
    """Who, for whom, whose data, which rows before and after, what kind of doing."""
    event = Event(
        action="invoice.refund",
        kind="event",
        actor=Actor("staff", "bob", Actor("staff", "alice")),
        targets=(TargetRows("invoice", ((93,), (1, "a")), ((92,),), coverage="superset"),),
        subjects=(Subject("customer", "zara"), Subject("customer", None)),
        transaction="tx1",
    )
    assert set(terms_of(event)) == {
        actor_term(Actor("staff", "bob")),
        on_behalf_of_term(Actor("staff", "alice")),
        row_term("invoice", (93,)),
        row_term("invoice", (92,)),
        row_term("invoice", (1, "a")),
        inexact_term("invoice"),
        subject_term(Subject("customer", "zara")),
        subject_term(Subject("customer", None)),
        action_term("invoice.refund"),
        noun_term("invoice"),
        transaction_term("tx1"),
    }


def test_what_a_change_did_is_found_apart_from_the_rest() -> None:
    """Who asks for somebody's changes, or a row's, gets no read of it."""
    bob, alice = Actor("staff", "bob", Actor("staff", "alice")), Actor("staff", "alice")
    target = TargetRows("invoice", ((93,),), ((92,),))
    change = Event(action="invoice.update", kind="change", actor=bob, targets=(target,))
    read = Event(action="invoice.read", kind="access", actor=bob, targets=(target,))
    for event, changes in ((change, True), (read, False)):
        assert set(terms_of(event)) == {
            actor_term(bob, changes=changes),
            on_behalf_of_term(alice, changes=changes),
            row_term("invoice", (93,), changes=changes),
            row_term("invoice", (92,), changes=changes),
        }


@given(ACTORS)
def test_what_an_actor_changed_stands_beside_what_else_they_did(actor: Actor) -> None:
    """Who asks for all that somebody accessed looks in one place."""
    for term in (actor_term, on_behalf_of_term):
        rest, changes = hash_terms([term(actor), term(actor, changes=True)])
        assert changes == rest + 1


@given(EVENTS)
def test_what_is_sought_by_the_hundred_stands_together(event: Event) -> None:
    """Rows changed, rows not seen exactly and reversals come before all else in a sorted run."""
    for term, term_hash in zip(terms_of(event), hash_terms(terms_of(event)), strict=True):
        assert (term_hash < 2**31) == (term[:1] in (b"T", b"x", b"u", b"r"))


@given(EVENTS)
def test_what_is_known_by_day_has_hashes_to_itself(event: Event) -> None:
    """So that a run of the index says by its first whether there is any."""
    exact = set(term_hashes_of(event))
    by_day = set(hash_terms(map(daily_term, terms_of(event))))
    assert min(exact, default=1 << 24) >= 1 << 24
    assert max(by_day, default=0) < 1 << 24
    for row in range(200):  # two of these would have been below
        for changes in (True, False):
            assert hash_terms([row_term(event.action, (row,), changes=changes)])[0] >= 1 << 24


def test_names_cannot_run_into_each_other() -> None:
    """`a:bc` and `ab:c` are two actors."""
    assert actor_term(Actor("a", "bc")) != actor_term(Actor("ab", "c"))
