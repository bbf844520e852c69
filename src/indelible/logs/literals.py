"""Which parts of a text the program's author wrote: those that stand as constants in its code.

A message that is a literal can hold nothing of anybody's. Of one that was put together (an
f-string, `"%s" % x`, an exception's) only the pieces that stand in the code that made it are
shown; all else in it is data: `otp for <..> is <..>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

_MIN_PIECE: Final = 3
_MAX_CONSTANTS: Final = 512
_MAX_CODES: Final = 1_024
_MAX_SHOWN: Final = 64
_HOLE: Final = "<..>"
_PLACEHOLDER: Final = re.compile(
    r"%(?:\([^)]*\))?[#0\- +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?[diouxXeEfFgGcrsa%]|\{[^{}]*\}"
)
_LETTERS: Final = re.compile(r"[^\W\d_]{2}")


_Places = tuple[object, ...]
"""The ids of codes."""


class _Constants(NamedTuple):
    """The texts in one code object."""

    by_id: dict[int, str]
    names: frozenset[str]
    pieces: tuple[str, ...]


class Written(NamedTuple):
    """What the authors of some code wrote: its texts."""

    codes: list[CodeType]
    by_id: dict[int, str]
    names: frozenset[str]
    pieces: dict[str, tuple[bool, bool]]
    """The longest first; whether each begins and ends with what may be part of a word."""

    def is_literal(self, text: str) -> bool:
        """Whether this very object is a constant: what was put together never is."""
        return self.by_id.get(id(text)) is text

    def has(self, text: str) -> bool:
        """Whether a constant is equal to `text`: a name is one that its author wrote."""
        return text in self.names

    def visible(self, text: str) -> str:
        """`text` with all that isn't a piece of a constant withheld.

        Pieces are looked for longest first, up to 64 of them. One counts only where it stands by
        itself: not inside of a longer word.
        """
        size = len(text)
        taken: list[tuple[int, int]] = []
        pieces = self.pieces
        for piece in [piece for piece in pieces if piece in text]:
            begins_word, ends_word = pieces[piece]
            start = text.find(piece)
            while start >= 0 and len(taken) < _MAX_SHOWN:
                end = start + len(piece)
                for begin, stop in taken:
                    if begin < end and start < stop:
                        break
                else:
                    if not (
                        (begins_word and start and _is_word(text[start - 1]))
                        or (ends_word and end < size and _is_word(text[end]))
                    ):
                        taken.append((start, end))
                start = text.find(piece, end)
        taken.sort()
        shown = ""
        at = 0
        for start, end in taken:
            if at < start:
                shown += _HOLE
            shown += text[start:end]
            at = end
        return shown + _HOLE if at < size else shown


class Literals:
    """The texts in code objects: a program has few that log. Safe for threads."""

    def __init__(
        self, named_by: Callable[[CodeType, dict[str, Any]], Iterable[str]] | None = None
    ) -> None:
        """`named_by` says which texts at the top of modules a code names, by its globals: these are
        literals, too, but no pieces of what was put together."""
        # By id, and each with its code, so that no other gets its id: a code's own hash and
        # equality look at all that it holds, and equal ones may hold other objects.
        self._of: dict[int, tuple[CodeType, _Constants]] = {}
        self._of_callers: dict[_Places, Written] = {}
        self._of_raised: dict[_Places, Written] = {}
        self._named_by = named_by

    def of_caller(self, caller: FrameType | None) -> Written:
        """What is written in the code of a frame and of some that called it: a wrapper passes its
        caller's message."""
        # Without a loop: this is asked for each text that was put together.
        second = caller and caller.f_back
        third = second and second.f_back
        fourth = third and third.f_back
        places = (
            caller and id(caller.f_code),
            second and id(second.f_code),
            third and id(third.f_code),
            fourth and id(fourth.f_code),
        )
        found = self._of_callers.get(places)
        if found is None:
            frames = [frame for frame in (caller, second, third, fourth) if frame is not None]
            found = self._learn(self._of_callers, places, frames, self._named(frames))
        return found

    def of(self, frames: Sequence[FrameType]) -> Written:
        """What is written in the code of `frames`, through which an exception went. Texts at the
        top of modules aren't looked for: nothing of it is shown as a whole."""
        places = tuple(id(frame.f_code) for frame in frames)
        found = self._of_raised.get(places)
        return found or self._learn(self._of_raised, places, frames, {})

    def _named(self, frames: Sequence[FrameType]) -> dict[int, str]:
        if self._named_by is None:
            return {}
        return {
            id(text): text
            for frame in frames
            for text in self._named_by(frame.f_code, frame.f_globals)
        }

    def _learn(
        self,
        known: dict[_Places, Written],
        places: _Places,
        frames: Sequence[FrameType],
        named: dict[int, str],
    ) -> Written:
        if len(known) >= _MAX_CODES:
            known.clear()
        codes = [frame.f_code for frame in frames]
        each_of = [self._constants(code) for code in codes]
        pieces = dict.fromkeys(piece for each in each_of for piece in each.pieces)
        by_id = {place: text for each in each_of for place, text in each.by_id.items()}
        made = known[places] = Written(
            codes,
            named | by_id,
            frozenset().union(*(each.names for each in each_of)),
            {
                piece: (_is_word(piece[0]), _is_word(piece[-1]))
                for piece in sorted(pieces, key=len, reverse=True)
            },
        )
        return made

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


def _is_word(character: str) -> bool:
    return character.isalnum() or character in "_-.+/="
