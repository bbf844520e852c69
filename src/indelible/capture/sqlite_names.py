"""The names in an SQLite database: how one is quoted, and which are ours."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "indelible_"
OUTBOX: Final = "indelible_outbox"
META: Final = "indelible_meta"
NOTES: Final = "indelible_notes"
ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")

# Arguments of sqlite_compileoption_get by which triggers ask the connection that fires them;
# the built-in function knows none of them and answers NULL.
ASK_CONTEXT: Final = 7_100_001
ASK_DELIVERED_THROUGH: Final = 7_100_002
ASK_TIME: Final = 7_100_003


def quote_name(name: str) -> str:
    """`name` as an identifier of SQLite, whatever characters are in it."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """`text` as a string literal: for names in the arguments of a trigger, never for values."""
    return "'" + text.replace("'", "''") + "'"


def is_ours(name: str | None) -> bool:
    """Whether the table, trigger or index `name` belongs to Indelible."""
    return name is not None and name[: len(PREFIX)].lower() == PREFIX
