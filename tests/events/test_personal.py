"""Names of persons and their tokens change places, and nothing else does."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.events.codec import decode_draft, encode_draft
from indelible.events.model import Actor, BaselineRows, Event, Subject, TargetRows
from indelible.events.personal import (
    NOT_SHOWN,
    Personal,
    has_name,
    token_for,
    translate,
    value_of,
)
from indelible.events.values import (
    ABSENT,
    CHANGED,
    ERASED,
    MASKED,
    TypedValue,
    Value,
    format_id,
    to_value,
)

PERSONAL = Personal(
    frozenset({"customer"}),
    {"Customer": "customer"},
    {"Customer": {"email": "customer"}, "invoice": {"customer_email": "customer"}},
)
TOKEN = "0123456789abcdef" * 2
values = st.one_of(
    st.text(),
    st.integers(),
    st.floats(allow_nan=False),
    st.binary(),
    st.booleans(),
).map(to_value) | st.builds(
    TypedValue, st.sampled_from(["pg:uuid", "my:decimal", "pg:text"]), st.text()
)


class Book:
    """Tokens that are names backwards, behind a mark; and the other way round."""

    def __init__(self, *, back: bool = False) -> None:
        self.back = back

    def name(self, kind: str, name: str) -> str:
        assert kind == "customer"
        if self.back:
            return name.removeprefix("<")[::-1] if name.startswith("<") else name
        return name if name.startswith("<") else f"<{name[::-1]}"

    def key(self, kind: str, value: Value) -> Value:
        if self.back:
            assert isinstance(value, TypedValue) and value.s is not None
            return value_of(value, self.name(kind, value.s))
        return token_for(value, self.name(kind, format_id((value,)))) if has_name(value) else value

    def column(self, kind: str, value: Value) -> Value:
        is_mark = isinstance(value, TypedValue) and value.s is None
        return value if self.back and (value is None or is_mark) else self.key(kind, value)

    asked = name


@given(values)
def test_a_value_comes_back_from_its_name_and_its_token(value: Value) -> None:
    """Bit for bit: the name says what it is, the token of what type."""
    assert value_of(token_for(value, TOKEN), format_id((value,))) == value


@given(values, values)
def test_tokens_go_by_themselves(one: Value, other: Value) -> None:
    assert format_id((token_for(one, TOKEN),)) == format_id((token_for(other, TOKEN),)) == TOKEN
    assert format_id((TypedValue("erased", None, TOKEN),)) == f"erased:{TOKEN}"


@pytest.mark.parametrize("mark", [None, ABSENT, MASKED, CHANGED, ERASED, token_for("a", TOKEN)])
def test_a_mark_names_nobody(mark: Value) -> None:
    assert not has_name(mark)


@given(values, values)
def test_all_of_an_event_there_and_back(before: Value, after: Value) -> None:
    """Whatever stands where, and nothing else is touched."""
    old, new = format_id((before,)), format_id((after,))
    event = Event(
        action="Customer.update",
        kind="change",
        actor=Actor("staff", "alice", Actor("customer", new or "x")),
        targets=(
            TargetRows("Customer", ((after,), (None, 7)), ((before,), (None, 7))),
            TargetRows("product", ((before,),), possible_subjects=(Subject("customer", old),)),
        ),
        subjects=(Subject("customer", new), Subject("customer", None), Subject("shop", old)),
        changes={"EMAIL": (before, after), "level": (before, after)},
        reason=f"about {old}",
    )
    there = translate(event, PERSONAL, Book())
    assert there.targets[0].ids[0][0].s == Book().name("customer", new)  # type: ignore[union-attr]
    assert there.subjects[1:] == event.subjects[1:]
    assert there.targets[1].ids == event.targets[1].ids
    assert there.changes is not None and there.changes["level"] == (before, after)
    if not old.startswith("<") and not new.startswith("<"):
        assert translate(there, PERSONAL, Book(back=True)) == event
    assert decode_draft(encode_draft(there)) == there


def test_rows_of_a_baseline() -> None:
    event = Event(
        action="table.baseline",
        kind="system",
        targets=(TargetRows("invoice", ((1,), (2,))),),
        baseline=BaselineRows("i", 1, ("id", "customer_email"), ((1, "ab"), (2, None))),
    )
    there = translate(event, PERSONAL, Book())
    assert there.baseline is not None
    assert there.baseline.rows == ((1, TypedValue("token", None, "<ba")), (2, None))
    assert translate(there, PERSONAL, Book(back=True)) == event


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("claimed_actor", "customer:ab", "customer:<ba"),
        ("claimed_actor", "staff:ab", "staff:ab"),
        ("principal", 'Person::"zara"', 'Person::"<araz"'),
        ("login", "zara", "<araz"),
        ("text", "zara wrote", "zara wrote"),
        (
            "question",
            "accessors --of customer:ab --since 2020",
            "accessors --of 'customer:<ba' --since 2020",
        ),
        ("question", "accessors --of=customer:ab", "accessors '--of=customer:<ba'"),
        ("question", "history Customer:ab", "history 'Customer:<ba'"),
        ("question", "history 'customer:[\"ab\"]'", f"history 'customer:{NOT_SHOWN}'"),
        ("question", "accessors --of 'customer:ab", NOT_SHOWN),
        ("question", "changes  --by staff:ab", "changes  --by staff:ab"),
    ],
)
def test_details(name: str, before: str, after: str) -> None:
    """What programs write is translated where it is a name, or quotes one of the event's."""
    event = Event(
        action="a.b", kind="event", subjects=(Subject("customer", "zara"),), details={name: before}
    )
    assert translate(event, PERSONAL, Book()).details == {name: after}


def test_an_event_without_names_is_the_same() -> None:
    event = Event(action="a.b", kind="event", actor=Actor("staff", "a"), details={"n": 1})
    assert translate(event, PERSONAL, Book()) is event
    assert msgspec.structs.asdict(event)["actor"] == Actor("staff", "a")
