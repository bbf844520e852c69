"""What triggers remember in `indelible_notes`: the kinds of notes, and states of an update's."""

from __future__ import annotations

from typing import Final

# A row that REPLACE may delete has as its kind the number of what must be unique, from 0.
UPDATING: Final = -1
PARENT: Final = -2
DELETING: Final = -3
INSERTING: Final = -4

# Of an update under way: its AFTER trigger is to come; it came early, from inside; the row that
# it updates was deleted by something inside it, so what it writes is a row that wasn't there.
OPEN, WRITTEN, GONE = 0, 1, 2

KEPT: Final = 200
"""How many notes of statements that did nothing (IGNORE) are left lying about."""
