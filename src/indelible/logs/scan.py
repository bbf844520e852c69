"""What existing logs give away: where, how often, of which class; never the value itself.

A line is looked at as it is written; names beside values count in JSON, logfmt and all other
dresses that the rules know. Where a line has escapes (`\\u0040`, `\\"`), it is looked at without.
Memory doesn't grow with the log: long lines are looked at in windows that overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from indelible.logs.scrub import DataClass, Finding, Scrubber

MAX_PLACES: Final = 10
"""Places that are kept of each kind in each file; all are counted."""
_WINDOW: Final = 32 << 10
"""Bytes that are looked at together; a line of more is cut."""
_AHEAD: Final = 2 << 10
"""What a window is longer than what it decides on: values that begin in it are seen whole."""
_BEHIND: Final = 512
"""What the next window begins earlier: names stand before values."""
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.S)
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Place(msgspec.Struct, frozen=True):
    """Where a value stands. `sample` is masked, see `mask`."""

    file: str
    line: int
    sample: str


class Exposure(msgspec.Struct):
    """What was found of one kind: how often, in how many lines, and the first places."""

    kind: str
    data_class: DataClass
    count: int = 0
    lines: int = 0
    places: list[Place] = []


class Scan:
    """Looks through logs, one after the other, and adds up what they give away."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._found: dict[str, Exposure] = {}
        self._kept: dict[str, int] = {}
        self.lines = 0
        self.bytes = 0

    @property
    def exposures(self) -> list[Exposure]:
        """What was found so far, the gravest class and the most frequent kind first."""
        order = {"takeover": 0, "special": 1, "personal": 2}
        return sorted(self._found.values(), key=lambda e: (order[e.data_class], -e.count, e.kind))

    def look_through(self, name: str, blocks: Iterable[bytes]) -> None:
        """Add what the log `name` gives away. What `blocks` raises passes through."""
        self._kept.clear()
        number = 0
        rest = b""
        skip = 0
        for block in blocks:
            self.bytes += len(block)
            *lines, rest = (rest + block).split(b"\n")
            seen = 0
            for at, line in enumerate(lines):
                if skip or len(line) > _WINDOW:
                    self._look_at_each(name, number + seen, lines[seen:at])
                    self._look_long(name, number + at + 1, line, skip)
                    seen = at + 1
                    skip = 0
            self._look_at_each(name, number + seen, lines[seen:])
            number += len(lines)
            self.lines += len(lines)
            while len(rest) > _WINDOW:
                skip = self._look_window(name, number + 1, rest, skip)
                rest = rest[_cut(rest) - _BEHIND :]
        if rest:
            self.lines += 1
            self._look_long(name, number + 1, rest, skip)

    def _look_at_each(self, name: str, before: int, lines: Sequence[bytes]) -> None:
        """Look at `lines`, of which none is long, behind `before` others; all at once."""
        plain = [_plain(line) if b"\\" in line else line for line in lines]
        for at, tried in self._scrubber.rules_for_each(plain):
            text = _text(lines[at])
            if findings := self._scrubber.find_by(tried, text):
                self._add(name, before + at + 1, text, findings)

    def _look_long(self, name: str, number: int, line: bytes, skip: int) -> None:
        while len(line) > _WINDOW:
            skip = self._look_window(name, number, line, skip)
            line = line[_cut(line) - _BEHIND :]
        text = _text(line)
        findings = [finding for finding in self._scrubber.find(text) if finding.start >= skip]
        self._add(name, number, text, findings)

    def _look_window(self, name: str, number: int, line: bytes, skip: int) -> int:
        """Look at the first window of `line`, past `skip` characters of it.

        What begins behind its cut is left for the next window. Returns how many characters of that
        one were decided on here.
        """
        cut = _cut(line)
        text, decided = _text(line[:_WINDOW]), _text(line[:cut])
        findings = [f for f in self._scrubber.find(text) if skip <= f.start < len(decided)]
        self._add(name, number, text, findings)
        end = max((finding.end for finding in findings), default=0)
        return len(_text(line[cut - _BEHIND : cut])) + max(end - len(decided), 0)

    def _add(self, name: str, number: int, text: str, findings: Iterable[Finding]) -> None:
        counted = set()
        for finding in findings:
            kind = finding.kind
            exposure = self._found.get(kind)
            if exposure is None:
                exposure = self._found[kind] = Exposure(kind, finding.data_class)
            exposure.count += 1
            if kind not in counted:
                counted.add(kind)
                exposure.lines += 1
            kept = self._kept.get(kind, 0)
            if kept < MAX_PLACES:
                self._kept[kind] = kept + 1
                sample = mask(text[finding.start : finding.end])
                exposure.places.append(Place(name, number, sample))


def mask(value: str) -> str:
    """At most the first two characters of `value`, of a short one none, and its length; ASCII."""
    shown = value[:2] if len(value) >= 8 and value[:2].isascii() and value[:2].isalnum() else ""
    return f"{shown}*** ({len(value)} characters)"


def without_escapes(text: str) -> str:
    """`text` with JSON's escapes decoded, wherever they stand; once."""
    return _ESCAPE.sub(_decoded, text) if "\\" in text else text


def _text(line: bytes) -> str:
    return without_escapes(line.decode("utf-8", "replace"))


def _plain(line: bytes) -> bytes:
    return _text(line).encode("utf-8", "surrogatepass")


def _cut(line: bytes) -> int:
    """Where a window ends for what it decides on: not within a character or an escape."""
    limit = _WINDOW - _AHEAD
    for at in range(limit, limit - 64, -1):
        if line[at] < 0x80 and b"\\" not in line[at - 6 : at]:
            return at
    return limit


def _decoded(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _CONTROLS.get(match[3], match[3])
