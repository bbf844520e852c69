"""Whether a transaction that begins with a query will write: as the last one did that began so.

Who acts can then be told along with BEGIN, where that costs no round trip. What is foreseen wrongly
costs little and changes nothing: a transaction that writes without having been told is told then.
"""

from __future__ import annotations

from typing import Final

_MAX_TEXTS: Final = 4_096


class Foresight:
    """What the connections of one engine share. Safe for threads."""

    def __init__(self) -> None:
        self._writing: dict[str, None] = {}

    def expects_write(self, opening: str) -> bool:
        """Whether the transaction that begins with the query `opening` is expected to write."""
        return opening in self._writing

    def wrote(self, opening: str) -> None:
        """One that began so did write."""
        if len(self._writing) >= _MAX_TEXTS:
            self._writing.clear()
        self._writing[opening] = None

    def only_read(self, opening: str) -> None:
        """One that was expected to didn't."""
        self._writing.pop(opening, None)
