"""What triggers remember in `indelible_notes`: the kinds of notes."""

from __future__ import annotations

from typing import Final

# A row that REPLACE may delete has as its kind the number of what must be unique, from 0.
PARENT: Final = -1
"""Where a subject's path leads from a row that is being deleted."""
WRITE: Final = -2
"""A write under way; `done` is the outbox's number for how it writes, `o` its row's identity."""
ROW: Final = -3
"""A row as it was last recorded, while a write that touches it is under way. `goes` is the note
of the place that an update takes it to, `comes` that of the row that is to come to this place."""
SETTLED: Final = -4
"""The same once that write is done, while one around it is under way."""

# A recorded row, by `done`: none was there; this one was; the same, and a write of it that changed
# nothing is to be recorded.
ABSENT, THERE, TOUCHED = 0, 1, 2

MAX_WRITES: Final = 50
"""How many writes are taken to be under way in each other. Those of rows that a statement ignored
(OR IGNORE) seem so, too: no trigger fires when they end."""
MAX_SETTLED: Final = 200
"""How many of the newest settled rows are kept."""
