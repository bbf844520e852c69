"""Which parts of a text the program's author wrote: those that stand as constants in its code.

A message that is a literal can hold nothing of anybody's. Of one that was put together (an
f-string, `"%s" % x`, an exception's) only the pieces that stand in the code that made it are
shown; all else in it is data: `otp for <..> is <..>`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import CodeType
from typing import Final, NamedTuple

_MIN_PIECE: Final = 3
_MAX_CONSTANTS: Final = 512
_MAX_CODES: Final = 1_024
_HOLE: Final = "<..>"
_PLACEHOLDER: Final = re.compile(
    r"%(?:\([^)]*\))?[#0\- +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?[diouxXeEfFgGcrsa%]|\{[^{}]*\}"
)
_LETTERS: Final = re.compile(r"[^\W\d_]{2}")


class _Constants(NamedTuple):
    """The texts in one code object."""

    by_id: dict[int, str]
    names: frozenset[str]
    pieces: tuple[str, ...]


class Literals:
    """The texts in code objects, by code object: a program has few that log. Safe for threads."""

    def __init__(self) -> None:
        # By id, and each with its code, so that no other gets its id: a code's own hash and
        # equality look at all that it holds, and equal ones may hold other objects.
        self._of: dict[int, tuple[CodeType, _Constants]] = {}
        self._pieces_of: dict[tuple[int, ...], tuple[list[CodeType], list[str]]] = {}

    def is_literal(self, text: str, codes: list[CodeType]) -> bool:
        """Whether this very object is a constant of one of `codes`: what was put together never
        is."""
        known = self._of
        place = id(text)
        for code in codes:
            found = known.get(id(code))
            constants = self._constants(code) if found is None else found[1]
            if constants.by_id.get(place) is text:
                return True
        return False

    def has(self, text: str, code: CodeType) -> bool:
        """Whether a constant of `code` is equal to `text`: a name is one that its author wrote."""
        return text in self._constants(code).names

    def visible(self, text: str, codes: list[CodeType]) -> str:
        """`text` with all that isn't a piece of a constant of `codes` withheld."""
        pieces = [piece for piece in self._pieces(codes) if piece in text]
        shown = []
        end = 0
        for start, stop in _covered(text, pieces):
            if start > end:
                shown.append(_HOLE)
            shown.append(text[start:stop])
            end = stop
        if end < len(text):
            shown.append(_HOLE)
        return "".join(shown)

    def _pieces(self, codes: list[CodeType]) -> list[str]:
        """Those of all `codes`, the longest first."""
        found = self._pieces_of.get(tuple(map(id, codes)))
        if found is None:
            if len(self._pieces_of) >= _MAX_CODES:
                self._pieces_of.clear()
            pieces = {piece: None for code in codes for piece in self._constants(code).pieces}
            found = (codes, sorted(pieces, key=len, reverse=True))
            self._pieces_of[tuple(map(id, codes))] = found
        return found[1]

    def _constants(self, code: CodeType) -> _Constants:
        found = self._of.get(id(code))
        if found is None:
            if len(self._of) >= _MAX_CODES:
                self._of.clear()
            texts = list(_texts(code))[:_MAX_CONSTANTS]
            pieces = {piece: None for text in texts for piece in _pieces(text)}
            constants = _Constants(
                {id(text): text for text in texts}, frozenset(texts), tuple(pieces)
            )
            found = self._of[id(code)] = (code, constants)
        return found[1]


def _texts(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if type(constant) is str:
            yield constant
        elif type(constant) is tuple:
            yield from (each for each in constant if type(each) is str)


def _pieces(text: str) -> Iterator[str]:
    """What of a constant may be found in a text that was made with it: between placeholders, and
    with letters, so that no digits of a secret are taken for ours."""
    for piece in _PLACEHOLDER.split(text):
        if len(piece) >= _MIN_PIECE and _LETTERS.search(piece):
            yield piece


def _covered(text: str, pieces: list[str]) -> list[tuple[int, int]]:
    """Stretches of `text` that are pieces, longest first, apart from each other, in order.

    A piece counts only where it stands by itself: not inside of a longer word.
    """
    taken: list[tuple[int, int]] = []
    for piece in pieces:
        start = text.find(piece)
        while start >= 0:
            end = start + len(piece)
            for begin, stop in taken:
                if begin < end and start < stop:
                    break
            else:
                if _stands_alone(text, start, end):
                    taken.append((start, end))
            start = text.find(piece, end)
    return sorted(taken)


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (start and _is_word(text[start - 1]) and _is_word(text[start])) and not (
        end < len(text) and _is_word(text[end]) and _is_word(text[end - 1])
    )


def _is_word(character: str) -> bool:
    return character.isalnum() or character in "_-.+/="
