"""Which rules may have something to say about a text: three engines for one question.

Two look for the shapes of all rules at once, in one pass; the third for words. Whatever they
answer, the rules then decide by themselves, so that findings don't hang on the engine. All take
time that is linear in the text.

They see a text as UTF-8 in lower case, with a new line before and behind it: a shape asks for "no
letter before" by asking for another character.
"""

from __future__ import annotations

import importlib
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, Literal, Protocol

from indelible.errors import ConfigurationError
from indelible.logs.scrub.model import Rule

EngineName = Literal["auto", "hyperscan", "re2", "re"]
_FASTEST_FIRST: Final[tuple[EngineName, ...]] = ("hyperscan", "re2", "re")
_MODULES: Final = {"hyperscan": "hyperscan", "re2": "re2"}
_EXTRAS: Final = {"hyperscan": "hyperscan", "re2": "logs"}
_MAX_RE2_BYTES: Final = 64 << 20
_MAX_ENDS: Final = 1 << 17
"""Ends of matches that are noted of a block; lines of one with more are asked for one by one."""


class Engine(Protocol):
    """Looks for shapes. May be asked by any number of threads, and in a forked child."""

    name: EngineName

    def hits(self, line: bytes) -> Collection[int]:
        """Indexes of rules, each that matches `line`, maybe others."""
        ...

    def hits_of_each(self, lines: Sequence[bytes]) -> Iterable[tuple[int, Collection[int]]]:
        """As `hits` of each line: the line's index and the rules', in order, where there are any.

        A line may have new lines in it. Takes memory in proportion to `lines`.
        """
        return ((at, found) for at, line in enumerate(lines) if (found := self.hits(line)))


def make_engine(name: EngineName, rules: Sequence[Rule]) -> Engine:
    """The engine called `name`, or with "auto" the fastest that is installed.

    Raises `ConfigurationError` where it isn't, with what to install, and where it can't take a
    shape.
    """
    for candidate in _FASTEST_FIRST if name == "auto" else (name,):
        module = _MODULES.get(candidate)
        try:
            found = importlib.import_module(module) if module else None
        except ImportError:
            if name == "auto":
                continue
            raise ConfigurationError(
                f"expected the engine {name}, it isn't installed: "
                f"pip install 'indelible[{_EXTRAS[candidate]}]'"
            ) from None
        if candidate == "hyperscan":
            return _Hyperscan(found, rules)
        if candidate in ("re2", "re"):
            return _Re2(found, rules) if candidate == "re2" else _Re(rules)
    raise ConfigurationError(
        f"expected an engine of auto, {', '.join(_FASTEST_FIRST)}, got {name!r}"
    )


def _shapes(rules: Sequence[Rule]) -> tuple[list[int], list[tuple[int, bytes]]]:
    """Which rules are always tried, and the shapes of the others."""
    shapes = [
        (at, (rule.shape or "|".join(map(re.escape, rule.words))).encode())
        for at, rule in enumerate(rules)
    ]
    return [at for at, shape in shapes if not shape], [pair for pair in shapes if pair[1]]


def _folded(line: bytes) -> bytes:
    return b"\n%b\n" % line.lower()


class _Re(Engine):
    """The standard library: a look for each word."""

    name: EngineName = "re"

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._always = [at for at, rule in enumerate(rules) if not rule.words]
        self._words: dict[str, list[int]] = {}
        for at, rule in enumerate(rules):
            for word in rule.words:
                self._words.setdefault(word, []).append(at)

    def hits(self, line: bytes) -> list[int]:
        text = _folded(line).decode("latin-1")
        found = self._always.copy()
        for word, rules in self._words.items():
            if word in text:
                found += rules
        return found


class _Re2(Engine):
    """google-re2: a set of all shapes."""

    name: EngineName = "re2"

    def __init__(self, module: Any, rules: Sequence[Rule]) -> None:
        self._module = module
        self._always, shapes = _shapes(rules)
        self._shapes = [shape for _, shape in shapes]
        self._rules = [at for at, _ in shapes]
        self._of_parents: list[Any] = []
        self._compile()

    def hits(self, line: bytes) -> list[int]:
        # RE2 lets go of the interpreter while it holds locks of its own: a child that was forked
        # meanwhile would wait for them for ever. Old sets are kept: freeing may take them, too.
        if self._pid != os.getpid():
            self._of_parents.append(self._set)
            self._compile()
        found = self._set.Match(_folded(line))
        return self._always + [self._rules[at] for at in found] if found else self._always

    def _compile(self) -> None:
        options = self._module.Options()
        options.encoding = self._module.Options.Encoding.LATIN1
        options.max_mem = _MAX_RE2_BYTES
        options.log_errors = False
        made = self._module.Set.SearchSet(options)
        try:
            for shape in self._shapes:
                made.Add(shape)
            made.Compile()
        except self._module.error as error:
            raise ConfigurationError(f"expected shapes that RE2 takes: {error}") from None
        self._set = made
        self._pid = os.getpid()


class _Hyperscan(Engine):
    """Hyperscan: all shapes in one database, and many lines in one pass."""

    name: EngineName = "hyperscan"

    def __init__(self, module: Any, rules: Sequence[Rule]) -> None:
        self._module = module
        self._always, shapes = _shapes(rules)
        self._database = module.Database(mode=module.HS_MODE_BLOCK)
        try:
            # Without HS_FLAG_SINGLEMATCH: each end of a match is told, which tells its line. It
            # takes less time, too: lines are short, and what was found needs no remembering.
            self._database.compile(
                expressions=[shape for _, shape in shapes],
                ids=[at for at, _ in shapes],
                elements=len(shapes),
                flags=[0] * len(shapes),
            )
        except module.error as error:
            raise ConfigurationError(f"expected shapes that Hyperscan takes: {error}") from None
        self._idle: list[Any] = []

    def hits(self, line: bytes) -> set[int]:
        found = {*self._always}
        self._look(_folded(line), _note, found)
        return found

    def hits_of_each(self, lines: Sequence[bytes]) -> Iterable[tuple[int, Collection[int]]]:
        if self._always:
            return super().hits_of_each(lines)
        ends: list[tuple[int, int]] = []
        try:
            self._look(_folded(b"\n".join(lines)), _note_end, ends)
        except self._module.ScanTerminated:
            return super().hits_of_each(lines)
        # Where each line begins, behind its new line.
        starts = list(accumulate((len(line) + 1 for line in lines), initial=1))
        found: dict[int, set[int]] = {}
        for end, rule in ends:
            at = bisect_right(starts, end) - 1
            found.setdefault(at, set()).add(rule)
            if end == starts[at]:  # ends with the new line between two, and is of either
                found.setdefault(at - 1, set()).add(rule)
        # What begins in one line and ends in another is no match of either; the rules will see.
        return sorted((at, rules) for at, rules in found.items() if 0 <= at < len(lines))

    def _look(self, folded: bytes, note: Callable[..., bool | None], found: object) -> None:
        # A scratch serves one scan at a time, and a signal may come in the middle of one:
        # whoever scans takes one away, or makes it.
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = self._module.Scratch(self._database)
        try:
            self._database.scan(folded, match_event_handler=note, context=found, scratch=scratch)
        finally:
            self._idle.append(scratch)


def _note(rule: int, start: int, end: int, flags: int, found: set[int]) -> None:
    found.add(rule)


def _note_end(
    rule: int, start: int, end: int, flags: int, ends: list[tuple[int, int]]
) -> bool | None:
    ends.append((end, rule))
    return len(ends) >= _MAX_ENDS or None
