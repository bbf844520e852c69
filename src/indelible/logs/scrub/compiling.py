"""Patterns as `re` finds them fastest: what a match begins with stands before what is behind it.

`re` skips at once over what can't begin a match where each alternative begins with a character, or
all with a set; where it has to look behind first, or alternatives begin with a group, it tries each
place. So `(?<![a-z])pin|(?:a|b)c` is compiled as `p(?<![a-z]p)in|ac|bc`, which finds the same.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

_LOOK_BEHIND: Final = re.compile(r"\(\?<[!=]|\\b")
_GROUP: Final = re.compile(r"\((?:\?:|\?P<\w+>|(?!\?))")
_ESCAPED: Final = re.compile(r"\\.", re.S)
_CAPTURE: Final = re.compile(r"\((?:(?!\?)|\?P)")
_QUANTIFIER: Final = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_CHARACTER: Final = re.compile(r"[^.^$\\\[(|)*+?{]|\\[^A-Za-z0-9]|\[[^^].*\]")
_WORD_CHARACTER: Final = re.compile(r"\w|\[(?:\w(?:-\w)?)+\]", re.ASCII)
_MAX_REPEATED: Final = 80
_FEW: Final = re.compile(r"\[([a-zA-Z0-9]{2,4}|0-9)\]")


class _CannotError(Exception):
    """The pattern begins with what this module doesn't know."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`pattern`, ASCII; what is found, and the groups in it, are those of `re.compile`."""
    with contextlib.suppress(_CannotError):
        pattern = _first_first(pattern, ())
    return re.compile(pattern, re.ASCII)


def _first_first(pattern: str, behind: tuple[str, ...]) -> str:
    """`pattern` that has all of `behind` behind it, with its first characters before that."""
    alternatives = _alternatives(pattern)
    if len(alternatives) == 1:
        looked, rest = _looks_behind(pattern)
        group = _GROUP.match(rest)
        if group is not None:
            end = _end(rest)
            if not _QUANTIFIER.match(rest, end):
                inner = _first_first(rest[group.end() : end - 1], behind + looked)
                return f"{group[0]}{inner}){rest[end:]}"
    begun = [pair for one in alternatives for pair in _begun(one, behind)]
    if len(begun) > 1:
        begun = list(_without_few(begun))
        if any(first.startswith("[") for first, _ in begun):
            raise _CannotError
    return "|".join(map("".join, begun))


def _begun(pattern: str, behind: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """One alternative as some: the first character or set of each, and what follows."""
    looked, pattern = _looks_behind(pattern)
    behind += looked
    end = _end(pattern)
    first = pattern[:end]
    quantifier = _QUANTIFIER.match(pattern, end)
    rest = pattern[quantifier.end() if quantifier else end :]
    if quantifier and rest[:1] in ("?", "+"):  # not the greedy kind
        raise _CannotError
    if first.startswith("("):
        if quantifier or not first.startswith("(?:") or _captures(pattern):
            raise _CannotError
        for inner in _alternatives(first[3:-1]):
            for begin, follows in _begun(inner, behind):
                yield begin, f"{follows}{rest}"
        return
    least, most = _times(quantifier)
    if not _CHARACTER.fullmatch(first) or (not least and _captures(rest)):
        raise _CannotError
    again = f"{first}{{{max(least - 1, 0)},{most - 1}}}" if most > 1 else ""
    yield first, f"{''.join(_behind_one_more(behind, first))}{again}{rest}"
    if not least:
        yield from _begun(rest, behind)


def _times(quantifier: re.Match[str] | None) -> tuple[int, int]:
    if quantifier is None:
        return 1, 1
    if quantifier[0] == "?":
        return 0, 1
    least, comma, most = quantifier[1], quantifier[2], quantifier[3]
    if quantifier[0] in "*+" or not least or (comma and not most) or int(most or least) < 1:
        raise _CannotError
    return int(least), int(most or least)


def _behind_one_more(behind: Iterable[str], first: str) -> Iterator[str]:
    """What looks behind, from behind `first`."""
    for look in behind:
        kind, what = look[:4], look[4:-1]
        if look == r"\b":
            if not _WORD_CHARACTER.fullmatch(first):
                raise _CannotError
            kind, what = "(?<!", r"\w"
        yield f"{kind}(?:{what}){first})" if "|" in what else f"{kind}{what}{first})"


def _without_few(begun: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """A set of few characters as an alternative each."""
    for first, rest in begun:
        few = _FEW.fullmatch(first)
        if few is None or len(rest) > _MAX_REPEATED or _captures(rest):
            yield first, rest
        else:
            yield from ((char, rest) for char in few[1].replace("0-9", "0123456789"))


def _looks_behind(pattern: str) -> tuple[tuple[str, ...], str]:
    """What `pattern` begins with that looks behind, and the rest."""
    looks: tuple[str, ...] = ()
    while _LOOK_BEHIND.match(pattern):
        end = _end(pattern)
        if _captures(pattern[1:end]):
            raise _CannotError
        looks += (pattern[:end],)
        pattern = pattern[end:]
    return looks, pattern


def _captures(pattern: str) -> bool:
    """Whether a group is captured in it: what is repeated can't have one."""
    return _CAPTURE.search(_ESCAPED.sub("", pattern)) is not None


def _alternatives(pattern: str) -> list[str]:
    parts = [""]
    at = 0
    while at < len(pattern):
        end = _end(pattern, at)
        if pattern[at] == "|":
            parts.append("")
        else:
            parts[-1] += pattern[at:end]
        at = end
    return parts


def _end(pattern: str, at: int = 0) -> int:
    """Where the character, set or group at `at` ends, without its quantifier."""
    if at >= len(pattern) or pattern.startswith("(?#", at):
        raise _CannotError
    if pattern[at] == "\\":
        return at + {"x": 4, "u": 6, "U": 10}.get(pattern[at + 1], 2)
    if pattern[at] == "[":
        at += 2 if pattern.startswith("[^", at) else 1
        first = True  # a ] that comes first is one of the set
        while first or pattern[at] != "]":
            at += 2 if pattern[at] == "\\" else 1
            first = False
    elif pattern[at] == "(":
        at += 1
        while pattern[at] != ")":
            at = _end(pattern, at)
    return at + 1
