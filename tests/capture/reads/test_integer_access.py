"""The short way to an access event makes the bytes of the general one, or leaves it to that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.access_event import AccessStatement, encode_access, who_is
from indelible.capture.access_targets import named_targets
from indelible.capture.extraction import Row
from indelible.capture.integer_access import IntegerAccess, integer_access
from indelible.capture.statement_parameters import shown_parameters
from indelible.capture.statements.plan import Plan, Taken, TargetPlan, Verb
from indelible.events.context import Frame, Scope
from indelible.events.model import Actor, Part
from indelible.events.values import MAX_PLAIN_INT
from indelible.policy.model import Hop, SubjectPath, TablePolicy

OWN = SubjectPath("customer")
OTHERS = SubjectPath("customer", (Hop("CustomerId", "customer"),))
FRAMES = [
    None,
    Frame(Actor("staff", 'al"ice'), None, {}, Scope()),
    Frame(Actor("staff", "bob"), "ticket \udc80 4411", {"ip": "192.0.2.7"}, Scope()),
    Frame(Actor("staff", "bob"), None, {}, Scope(), {"id": "j.1.1", "effect": "allow"}),
]
PARTS = [None, Part(2, 0, "j.1.1"), Part(3, 3, "j.1.1")]
INTEGERS = st.one_of(
    st.integers(-3, 20),
    st.integers(MAX_PLAIN_INT - 2, MAX_PLAIN_INT + 2),
    st.integers(-MAX_PLAIN_INT - 2, -MAX_PLAIN_INT + 2),
    st.integers(-(2**63), 2**63 - 1),
)


def _plan(
    taken: Taken, subject: SubjectPath | None = None, parameters: tuple[bool, ...] | None = None
) -> Plan:
    policy = TablePolicy("Invoice", "invoice", subject=subject)
    target = TargetPlan(policy, ("Total",), taken=(taken,))
    return Plan(
        verb=Verb.READ,
        shown_text='SELECT "Total" FROM Invoice',
        targets=(target,),
        tables=("Invoice",),
        parameters=parameters,
    )


def _general(
    plan: Plan,
    rows: list[Row],
    frame: Frame | None,
    parameters: tuple[object, ...],
    part: Part | None = None,
) -> bytes:
    targets, subjects = named_targets(plan, rows, (), is_first=part is None, is_whole=True)
    shown = None
    if plan.parameters and part is None:
        shown = shown_parameters(plan, "", parameters)
    return encode_access(
        action="invoice.read",
        who=who_is(frame),
        targets=tuple(targets),
        subjects=subjects,
        statement=AccessStatement(plan.shown_text, shown, plan.tables),
        transaction=None,
        part=part,
    )


def _short(plan: Plan) -> IntegerAccess:
    short = integer_access(plan)
    assert short is not None
    return short


@given(
    keys=st.lists(INTEGERS, min_size=1),
    subjects=st.lists(st.one_of(st.none(), INTEGERS), min_size=1),
    path=st.sampled_from([None, OWN, OTHERS]),
    has_subject=st.booleans(),
    frame=st.sampled_from(FRAMES),
    part=st.sampled_from(PARTS),
)
def test_rows_with_a_key_each(
    keys: list[int],
    subjects: list[int | None],
    path: SubjectPath | None,
    has_subject: bool,
    frame: Frame | None,
    part: Part | None,
) -> None:
    """Keys and subjects of any size give the bytes of the general way; only too large ones, which
    JSON can't hold as they are, are left to it."""
    plan = _plan(Taken((-1,), subject=-2 if has_subject else None, integers=True), path)
    rows = [("x", subjects[n % len(subjects)], key) for n, key in enumerate(keys)]

    draft = _short(plan).draft(rows, who_is(frame), "", (), None, part)

    if draft is None:
        named = [row[1] for row in rows if row[1] is not None] if has_subject and path else []
        assert max(map(abs, keys + named)) > MAX_PLAIN_INT
    else:
        assert draft == _general(plan, rows, frame, (), part)


@given(st.lists(st.one_of(st.none(), st.integers(-3, 20)), min_size=1))
def test_rows_of_an_outer_join(keys: list[int | None]) -> None:
    """A key of NULL is no row; where there is no other the general way says so."""
    plan = _plan(Taken((0,), integers=True, optional=True))
    rows = [(key,) for key in keys]

    draft = _short(plan).draft(rows, who_is(None), "", (), None)

    if set(keys) == {None}:
        assert draft is None
    else:
        assert draft == _general(plan, rows, None, ())


@given(
    st.lists(st.one_of(st.none(), st.lists(INTEGERS, min_size=1)), min_size=1),
    st.sampled_from([None, OWN, OTHERS]),
)
def test_rows_with_an_array_of_keys_each(
    groups: list[list[int] | None], path: SubjectPath | None
) -> None:
    """The keys of all groups are in one event, each once; a group without any adds none."""
    plan = _plan(Taken((1,), array=True, integers=True, optional=True), path)
    rows = [
        (n, None if group is None else ",".join(map(str, group)).encode())
        for n, group in enumerate(groups)
    ]

    draft = _short(plan).draft(rows, who_is(None), "", (), None)

    keys = [key for group in groups if group is not None for key in group]
    if draft is None:
        assert not keys or max(map(abs, keys)) > MAX_PLAIN_INT
    else:
        assert draft == _general(plan, rows, None, ())


@pytest.mark.parametrize(
    "parameters", [(5, "ä"), (2**60, "\ud800"), (1.5, b"x"), (True, None), (object(), 7)]
)
@pytest.mark.parametrize("kept", [(True, True), (True, False)])
def test_parameters(parameters: tuple[object, ...], kept: tuple[bool, bool]) -> None:
    """Parameters of any type are written as the general way writes them."""
    plan = _plan(Taken((0,), integers=True, unique=True), None, kept)

    draft = _short(plan).draft([(1,), (2,)], who_is(None), plan.shown_text, parameters, None)
    later = _short(plan).draft([(3,)], who_is(None), plan.shown_text, parameters, None, PARTS[1])

    assert draft == _general(plan, [(1,), (2,)], None, parameters)
    assert later == _general(plan, [(3,)], None, parameters, PARTS[1])


def test_frames_in_turn() -> None:
    """What was encoded for one actor is never used for another."""
    plan = _plan(Taken((0,), integers=True))
    for frame in FRAMES + FRAMES[::-1]:
        draft = _short(plan).draft([(1,)], who_is(frame), "", (), None)
        assert draft == _general(plan, [(1,)], frame, ())
