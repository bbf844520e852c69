"""Changes to a text, made at once when all of them are known."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Edits:
    """What is put into a text and cut out of it: where, up to where, what goes in."""

    made: list[tuple[int, int, str]] = field(default_factory=list)

    def apply(self, text: str, start: int, end: int) -> str:
        """`text[start:end]` as edited."""
        pieces = []
        done = start
        for begin, stop, new in sorted(self.made):
            if start <= begin <= end:
                pieces += [text[done:begin], new]
                done = stop
        pieces.append(text[done:end])
        return "".join(pieces)
