"""Which parts of a message the program's author wrote."""

from __future__ import annotations

import sys
from types import FrameType

from hypothesis import given
from hypothesis import strategies as st

from indelible.logs.literals import Literals


def here() -> FrameType:
    return sys._getframe(1)


def test_a_literal_is_told_from_what_was_put_together() -> None:
    """The very object that stands in the code is a literal; one that equals it isn't."""
    literals = Literals().of_caller(here())
    name = "zara"

    assert literals.is_literal("order placed")
    assert not literals.is_literal(f"order {name}")
    assert not literals.is_literal("order %s" % name)  # noqa: UP031
    assert not literals.is_literal("".join(["order", " placed"]))


def test_of_an_f_string_only_its_own_words_are_shown() -> None:
    """What was put in is withheld, however it was put in."""
    literals = Literals().of_caller(here())
    token = "".join(["s3", "cr3t"])

    for text in (
        f"reset token {token} was used",
        "reset token %s was used" % token,  # noqa: UP031
        "reset token {} was used".format(token),  # noqa: UP032
        "reset token " + token + " was used",
    ):
        assert literals.visible(text) == "reset token <..> was used"


def test_a_piece_inside_of_a_word_is_not_shown() -> None:
    """`admin` in the code doesn't show a part of the password `admin123`."""
    literals = Literals().of_caller(here())
    known = "admin"
    password = "".join(["admin", "123"])

    assert literals.visible(f"password {password}") == "password <..>"
    assert literals.visible(known) == "admin"


def test_a_text_of_many_pieces_shows_some() -> None:
    """Whoever sends the code's own words a thousand times gets them shown 64 times: each is
    compared with those before it."""
    literals = Literals().of_caller(here())
    word = "order"

    assert literals.visible(f"{word} " * 1_000) == "order<..>" * 64


def test_digits_in_the_code_show_no_digits() -> None:
    """A constant without letters covers nothing: an OTP may equal a number that the code names."""
    literals = Literals().of_caller(here())
    known = "123456"
    otp = "".join(["123", "456"])

    assert literals.visible(f"otp is {otp}") == "otp is <..>"
    assert known


def test_nothing_is_shown_without_the_code() -> None:
    """A record that another thread writes has no caller: its text is withheld."""
    assert Literals().of_caller(None).visible("anything") == "<..>"


@given(st.text(alphabet="0123456789abcdefXYZ+/=_-.", min_size=4))
def test_no_secret_is_shown(secret: str) -> None:
    """Whatever stands in an f-string's hole is withheld."""
    literals = Literals().of_caller(here())
    text = f"the code {secret} of {secret} was sent"

    assert literals.visible(text) == "the code <..> of <..> was sent"
