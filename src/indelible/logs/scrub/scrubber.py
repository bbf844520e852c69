"""The scrubber: a text in, the text with marks in place of what rules found out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from indelible.logs.scrub.compiling import compile_pattern
from indelible.logs.scrub.engines import EngineName, make_engine
from indelible.logs.scrub.model import DATA_CLASSES, Finding, Rule, Scrubbed, check_rule
from indelible.logs.scrub.rules import DEFAULT_RULES

MAX_TEXT: Final = 8_192
"""Characters of a text that are looked at; what is behind them is dropped."""
_MARGIN: Final = 512
_ERROR: Final = Scrubbed("<redacted:error>")
_MARK: Final = re.compile(r"<redacted:[a-z0-9-]{1,40}>")


class Scrubber:
    """Finds values by rules, and takes them out of texts.

    Costs some 70 milliseconds to make, with Hyperscan half a second, once a process; may be used by
    any number of threads and after a fork. What it finds is the same with every engine.

    Raises `ConfigurationError` where the engine isn't installed or a rule can't be used.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = DEFAULT_RULES,
        *,
        extra_rules: Sequence[Rule] = (),
        engine: EngineName = "auto",
    ) -> None:
        self.rules = (*rules, *extra_rules)
        for rule in extra_rules if rules is DEFAULT_RULES else self.rules:
            check_rule(rule)
        self._engine = make_engine(engine, self.rules)
        self._compiled = [(compile_pattern(rule.pattern).finditer, rule) for rule in self.rules]

    @property
    def engine(self) -> EngineName:
        """The engine in use."""
        return self._engine.name

    def scrub(self, text: str) -> Scrubbed:
        """`text` with `<redacted:KIND>` in place of each finding; never raises.

        Of a text of more than `MAX_TEXT` characters a part at its end that might be the beginning
        of a value is dropped with the rest, and `<dropped:NUMBER>` says how many. After an error
        in a rule nothing of the text is left but `<redacted:error>`.
        """
        try:
            seen = text[:MAX_TEXT]
            findings = self.find(seen)
            if not findings and len(text) <= MAX_TEXT:
                return Scrubbed(text)
            end = len(text) if len(text) <= MAX_TEXT else _end_of_whole(seen)
            return _replaced(seen, findings, end, len(text))
        except Exception:  # noqa: BLE001 - a rule of the owner's may raise anything
            return _ERROR

    def find(self, text: str) -> tuple[Finding, ...]:
        """What the rules find, in order and without overlaps; all of `text` is looked at.

        Findings that overlap are one, from the first's start to the last's end, of the gravest
        class, the longest, the first rule among them. Raises what a rule's judge raises.
        """
        tried = self._engine.hits(text.encode("utf-8", "surrogatepass"))
        return self.find_by(tried, text) if tried else ()

    def rules_for_each(self, lines: Sequence[bytes]) -> Iterable[tuple[int, Collection[int]]]:
        """Indexes of those `lines` in which rules may find something, in order, and of the rules.

        Lines are UTF-8 or nearly. Costs less than asking for each, where the engine can.
        """
        return self._engine.hits_of_each(lines)

    def find_by(self, tried: Iterable[int], text: str) -> tuple[Finding, ...]:
        """As `find`, by some of the rules."""
        folded = _lower(text)
        found = []
        for at in tried:
            finditer, rule = self._compiled[at]
            judge = rule.judge
            for match in finditer(folded if rule.folded else text):
                span = match.span(match.lastindex or 0) if judge is None else judge(match)
                if span is not None and not _MARK.fullmatch(text, *span):
                    found.append((*span, at))
        return self._without_overlaps(found) if found else ()

    def _without_overlaps(self, found: list[tuple[int, int, int]]) -> tuple[Finding, ...]:
        found.sort()
        merged: list[list[tuple[int, int, int]]] = []
        end = -1
        for item in found:
            if item[0] >= end:
                merged.append([])
                end = item[1]
            merged[-1].append(item)
            end = max(end, item[1])
        return tuple(map(self._one, merged))

    def _one(self, overlapping: list[tuple[int, int, int]]) -> Finding:
        first, end, at = overlapping[0]
        if len(overlapping) > 1:
            *_, at = min(
                (DATA_CLASSES.index(self.rules[at].data_class), start - end, at)
                for start, end, at in overlapping
            )
            end = max(end for _, end, _ in overlapping)
        rule = self.rules[at]
        return Finding(rule.kind, rule.data_class, first, end)


def _lower(text: str) -> str:
    """In lower case, ASCII letters only: places stay the same."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _end_of_whole(seen: str) -> int:
    """Where to end a text that goes on: before what may be the first half of a value.

    That is the last space that has a margin behind it, or the margin itself where there is none
    near it.
    """
    limit = len(seen) - _MARGIN
    space = max(seen.rfind(char, limit - _MARGIN, limit) for char in " \n\t")
    return space if space > 0 else limit


def _replaced(text: str, findings: Sequence[Finding], end: int, length: int) -> Scrubbed:
    kept = tuple(finding for finding in findings if finding.start < end)
    parts: list[str] = []
    at = 0
    for finding in kept:
        parts += (text[at : finding.start], f"<redacted:{finding.kind}>")
        at = finding.end
    parts.append(text[at:end])
    if dropped := length - max(end, at):
        parts.append(f"<dropped:{dropped}>")
    return Scrubbed("".join(parts), kept, dropped)
