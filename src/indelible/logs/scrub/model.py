"""What a rule is, and what it finds: frozen values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from indelible.errors import ConfigurationError

DataClass = Literal["takeover", "special", "personal"]
DATA_CLASSES: Final[tuple[DataClass, ...]] = ("takeover", "special", "personal")
"""The gravest first: takes over an account · GDPR article 9 · personal data."""

Span = tuple[int, int]
Judge = Callable[[re.Match[str]], Span | None]
"""Which part of a match is to go, or None: it only looked like one."""

_KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_LOOK: Final = re.compile(r"\(\?<?[=!]")
_QUANTIFIER: Final = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_ATOM: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|[\^$]", re.DOTALL)
_ANCHORS: Final = {"^", "$", r"\A", r"\Z", r"\z"}


class Rule(msgspec.Struct, frozen=True):
    """One shape that a value may have.

    `pattern` is a regular expression of the standard library without unbounded and without nested
    quantifiers, so that no text makes it slow; what it finds is its last group, or all of it, or
    what `judge` says. With `folded` it is written in lower case and meets the text in lower case
    (ASCII letters only).

    Wherever `pattern` matches, one of `words` stands in the text in lower case, and `shape` matches
    it with a new line before and after it, an expression without looking ahead or behind that may
    say less than `pattern`. They decide whether the pattern is tried: the closer `shape` is, the
    faster. Both may be left out.
    """

    kind: str
    data_class: DataClass
    pattern: str
    words: tuple[str, ...] = ()
    shape: str = ""
    judge: Judge | None = None
    folded: bool = True


class Finding(msgspec.Struct, frozen=True):
    """Characters `start` to `end` of a text show a value of this kind."""

    kind: str
    data_class: DataClass
    start: int
    end: int


class Scrubbed(msgspec.Struct, frozen=True):
    """A text with a mark in place of each finding; the findings' places are in the text before.

    `dropped` is the number of characters that were too far behind to be looked at.
    """

    text: str
    findings: tuple[Finding, ...] = ()
    dropped: int = 0


def check_rule(rule: Rule) -> None:
    """Raises `ConfigurationError` for a rule that can't be used, or that a text could make slow."""
    if not _KIND.fullmatch(rule.kind):
        raise ConfigurationError(
            f"expected a rule's kind as lower-case words with dashes, got {rule.kind!r}"
        )
    if rule.data_class not in DATA_CLASSES:
        raise ConfigurationError(
            f"rule {rule.kind}: expected a class of {', '.join(DATA_CLASSES)}, "
            f"got {rule.data_class!r}"
        )
    for expression in (rule.pattern, rule.shape):
        try:
            re.compile(expression)
        except re.error as error:
            raise ConfigurationError(
                f"rule {rule.kind}: expected a regular expression: {error}"
            ) from None
    for found in _ATOM.finditer(rule.shape):
        if found[0] in _ANCHORS:
            raise ConfigurationError(
                f"rule {rule.kind}: expected a shape without anchors, got {found[0]}: a text has a "
                "new line before and after it there"
            )
    if slow := find_slow(rule.pattern):
        raise ConfigurationError(f"rule {rule.kind}: {slow}, or a text could make it slow")


def find_slow(pattern: str) -> str | None:
    """What is to be changed in `pattern` before its time is bounded by any text's length.

    A quantifier needs an upper bound, and a group that is repeated may hold none but `?` and
    exact counts.
    """
    groups = [False]  # whether a repetition of variable length is in the group
    looks = [False]  # whether the group only looks ahead or behind
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "[":
            at = _end_of_set(pattern, at)
        elif char == "\\":
            at += 2
        elif char == "(":
            groups.append(False)
            looks.append(_LOOK.match(pattern, at) is not None)
            at += 2 if pattern.startswith("(?", at) else 1
            continue
        else:
            at += 1
        holds = False
        if char == ")" and len(groups) > 1:
            holds = groups.pop() and not looks.pop()
        quantifier = _QUANTIFIER.match(pattern, at)
        varies = False
        if quantifier is not None:
            at = quantifier.end()
            least, comma, most = quantifier[1], quantifier[2], quantifier[3]
            if quantifier[0] in "*+" or (comma and not most):
                return f"expected an upper bound in place of {quantifier[0]}"
            varies = bool(comma) and least != most
            if holds and quantifier[0] != "?":
                return "expected no repetition inside of a repeated group"
        groups[-1] = groups[-1] or holds or varies
    return None


def _end_of_set(pattern: str, start: int) -> int:
    at = start + 1
    if pattern.startswith("^", at):
        at += 1
    at += 1  # a ] that comes first is one of the set
    if pattern[at - 1] == "\\":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
