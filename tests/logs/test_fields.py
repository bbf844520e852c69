"""What of a value may stand in an application's log."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import ConfigurationError, LogFrameError
from indelible.logs.fields import (
    MAX_ITEMS,
    MAX_TEXT,
    FieldRules,
    Judge,
    Pseudonym,
    Pseudonyms,
    Public,
    Sealed,
    Secret,
)
from indelible.logs.sealing import SealingKey, new_sealing_key, open_sealed

KEY = bytes(range(32))


class Color(enum.Enum):
    RED = "s3cret-red"


def judge(declared: dict[str, str] | None = None, **options: Any) -> Judge:
    return Judge(FieldRules.of(declared or {}), Pseudonyms(KEY, "k1"), **options)


def shown(given: dict[Any, object], declared: dict[str, str] | None = None, **options: Any) -> Any:
    text = judge(declared, **options).fields(given, lambda name: True)
    assert all(" " <= character <= "~" for character in text)
    return json.loads(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (None, None),
        (Color.RED, "Color.RED"),
        ("hunter2", "<str:7>"),
        (123456, "<int:6>"),
        (-4711, "<int:4>"),
        pytest.param(10**5000, "<int:999+>", id="large"),
        (1.5, "<float>"),
        (b"\x00key", "<bytes:4>"),
        (uuid.UUID(int=7), "<UUID>"),
        (dt.date(1984, 2, 29), "<date>"),
        (["a", 1, None], ["<str:1>", "<int:1>", None]),
        ([["a"]], ["<list:1>"]),
        ({"token": "abc"}, "<dict:1>"),
        (object(), "<object>"),
        (Secret("x"), "<secret>"),
        (Public("plain"), "plain"),
        (Public(Secret("x")), "<secret>"),
        (Sealed("x"), "<sealed:1, no key>"),
    ],
)
def test_what_nobody_declared_is_shown_as_kind_and_length(value: object, expected: object) -> None:
    """An OTP is a number, a date of birth a date and a reset token a UUID: none of them passes."""
    assert shown({"something": value}) == {"something": expected}


def test_numbers_pass_under_names_that_never_are_secrets() -> None:
    """`duration_ms` may be read by anybody, `otp` may not; the owner declares others."""
    given = {"duration_ms": 12, "status": 200, "otp": 200, "order": 17, "ratio": 0.5, "total": 2.5}

    assert shown(given, {"order": "public"}) == {
        "duration_ms": 12,
        "status": 200,
        "otp": "<int:3>",
        "order": 17,
        "ratio": "<float>",
        "total": 2.5,
    }


def test_words_pass_under_names_of_programs() -> None:
    """A method or a module is a word; text with blanks, or longer than a word, isn't."""
    assert shown(
        {"method": "GET", "route": "/orders/{id}", "module": "a b", "queue": "q" * 65}
    ) == {
        "method": "GET",
        "route": "/orders/{id}",
        "module": "<str:3>",
        "queue": "<str:65>",
    }


def test_pseudonyms_tell_equal_values_and_nothing_else() -> None:
    """Equal values under one key are equal, under another they can't be compared."""
    first = shown(
        {"email": "zara@example.org", "of": Pseudonym("zara@example.org")}, {"email": "pseudonym"}
    )
    other = Pseudonyms(KEY, "k2").of("zara@example.org")

    assert first["email"] == first["of"]
    assert first["email"].startswith("~k1:")
    assert "zara" not in first["email"]
    assert other.split(":")[1] != first["email"].split(":")[1]


def test_only_the_private_key_opens_a_sealed_field() -> None:
    """What is sealed comes back for its key, and for no other, and not when it was changed."""
    private, public = new_sealing_key()
    token = shown({"iban": Sealed("DE89 3704")}, sealing=SealingKey(public))["iban"]

    assert "3704" not in token
    assert open_sealed(private, token) == "DE89 3704"
    with pytest.raises(LogFrameError, match="sealed for the key"):
        open_sealed(new_sealing_key()[0], token)
    with pytest.raises(LogFrameError, match="one that was changed"):
        open_sealed(private, token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:])


def test_an_unknown_type_of_field_is_an_error() -> None:
    """A mistake in the configuration is told at the start, not found in the log."""
    with pytest.raises(ConfigurationError, match=r"'email' as one of public, .*got 'hidden'"):
        FieldRules.of({"email": "hidden"})


def test_keys_that_are_data_are_not_shown() -> None:
    """A dictionary keyed by tokens gives none of them away."""
    assert shown({"ok": 1, "sess on": 1, 7: 1, "x" * 99: 1}) == {
        "ok": "<int:1>",
        "<str:7>": "<int:1>",
        "<int>": "<int:1>",
        "<str:99>": "<int:1>",
    }


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __hash__ = __bool__ = __len__ = __iter__ = __eq__ = __str__  # type: ignore[assignment]

    def __getattr__(self, name: str) -> object:
        raise RuntimeError


class HostileStr(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __len__ = __repr__ = __format__ = encode = __str__  # type: ignore[assignment]


class HostileZone(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        Hostile(),
        HostileStr("x"),
        dt.datetime(2026, 1, 1, tzinfo=HostileZone()),
        float("nan"),
        float("inf"),
        2**70,
        "\ud800\n\x1b[0m\x9b\u202e\u2028\x00\x7f",
    ],
    ids=range(7),
)
@pytest.mark.parametrize("wrap", [lambda x: x, Public, Pseudonym, Sealed, Secret, lambda x: [x]])
def test_no_value_disturbs(value: object, wrap: Any) -> None:
    """No method of a value is called, and whatever it holds the JSON is ASCII."""
    shown({"count": wrap(value), "x": wrap(value)})


def test_a_lot_is_bounded() -> None:
    """1 MB, 10,000 keys and 1,000 levels cost no more than their bounds."""
    deep: list[object] = []
    for _ in range(1_000):
        deep = [deep]
    many = shown({f"k{n}": 1 for n in range(10_000)})
    large = shown({"a": Public("x" * 1_000_000), "b": Public(deep), "c": list(range(10_000))})

    assert len(many) == MAX_ITEMS + 1
    assert many["_more"] == "999+"
    assert large["a"] == "x" * MAX_TEXT + "<cut>"
    assert large["b"] == [[[["<list:1>"]]]]
    assert large["c"] == "<list:999+>"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids()
    | st.decimals()
    | st.datetimes(timezones=st.timezones()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner)
        | inner.map(Public)
        | inner.map(Pseudonym)
        | inner.map(Secret)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text() | st.integers(), VALUES, max_size=20))
def test_anything_becomes_ascii_json(given: dict[Any, object]) -> None:
    """Any names and values whatever: one JSON object of printable ASCII."""
    assert isinstance(shown(given), dict)


@given(st.text(min_size=4, alphabet=st.characters(min_codepoint=0x100)))
def test_no_string_passes_undeclared(secret: str) -> None:
    """A string that nobody declared is nowhere, in no container and under no name."""
    text = judge().fields(
        {
            "a": secret,
            "method": secret,
            "b": [secret],
            "c": {secret: secret},
            secret: 1,
            "d": (secret,),
            "status": secret,
        },
        lambda name: name != secret,
    )

    assert json.dumps(secret)[1:-1] not in text


@pytest.mark.parametrize(("kind", "expected"), [("secret", "<secret>"), ("pseudonym", "~k1:")])
def test_what_is_declared_holds_for_names_of_the_allowlist(kind: str, expected: str) -> None:
    """A number, a float and a word under allowed names are shown as their owner declared them."""
    given = {"version": 4711, "total": 47.11, "state": "pending"}

    found = shown(given, dict.fromkeys(given, kind))

    assert all(each.startswith(expected) for each in found.values())


def test_a_word_is_shown_under_its_own_name_only() -> None:
    """What was shown once under one name is withheld under another, and in a longer text."""
    first = judge()
    for _ in range(2):
        found = json.loads(
            first.fields(
                {"method": "GET", "verb": "GET", "state": "GET x", "phase": "GET"},
                lambda name: True,
            )
        )

        assert found == {"method": "GET", "verb": "<str:3>", "state": "<str:5>", "phase": "GET"}
