"""The token of bodies: let in with it, and with nothing else; never shown."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import ConfigurationError
from indelible.integrity.tokens import Token, read_token_file

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda text: f"Bearer {text}"))
def test_whatever_is_sent_only_the_token_is(header: str) -> None:
    """Any text is an answer: yes or no."""
    assert not Token(SECRET).is_in(header)
    assert Token(SECRET).is_in(f"Bearer {SECRET}")


def test_a_token_shows_nothing_of_itself() -> None:
    """Neither printed nor copied; only its header has it."""
    token = Token(SECRET)
    assert (repr(token), str(token)) == ("<Token>", "<Token>")
    assert token.header == f"Bearer {SECRET}"
    for leave in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="never pickled or copied"):
            leave(token)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"short",
        SECRET.encode() + b"\nand another",
        SECRET.encode() + b"\xff",
        b"\0" * 40,
    ],
)
def test_a_file_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    """Without a word of what is in it."""
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="expected a token") as caught:
        read_token_file(path)
    assert SECRET not in str(caught.value)
    path.write_text(f" {SECRET}\n")
    assert read_token_file(path).header == f"Bearer {SECRET}"
