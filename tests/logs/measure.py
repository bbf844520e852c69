"""How well a scrubber does on lines of which is known what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from indelible.logs.scrub import Scrubber
from tests.logs.corpus import Line


@dataclass
class Figures:
    """Counts over lines. A value is found if none of its characters is left."""

    planted: int = 0
    found: int = 0
    of_right_class: int = 0
    findings: int = 0
    right: int = 0
    clean: int = 0
    touched: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / self.planted

    @property
    def precision(self) -> float:
        return self.right / self.findings

    def __str__(self) -> str:
        return (
            f"recall {self.recall:.1%} of {self.planted} values, precision {self.precision:.1%} of "
            f"{self.findings} findings"
        )


def measure(scrubber: Scrubber, lines: Iterable[Line]) -> Figures:
    """The figures of `scrubber` on `lines`."""
    figures = Figures()
    for line in lines:
        findings = scrubber.find(line.text)
        figures.findings += len(findings)
        if not line.planted:
            figures.clean += 1
            figures.touched += bool(findings)
            figures.wrong += [f"{f.kind}: {line.text}" for f in findings]
        for finding in findings:
            figures.right += any(
                finding.start < value.end and value.start < finding.end for value in line.planted
            )
        for value in line.planted:
            figures.planted += 1
            over = [f for f in findings if f.start <= value.start and value.end <= f.end]
            figures.found += bool(over)
            figures.of_right_class += any(f.data_class == value.data_class for f in over)
            if not over:
                figures.missed[value.kind] += 1
                figures.examples.setdefault(value.kind, scrubber.scrub(line.text).text)
    return figures
