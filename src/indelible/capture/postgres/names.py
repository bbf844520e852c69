"""The names in a PostgreSQL database: how one is quoted, and which are ours."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = "indelible"
AFTER_PREFIX: Final = "zz_indelible_"
"""Of triggers on the same event PostgreSQL fires the first in the alphabet first."""
CONTEXT: Final = "indelible.ctx"
"""The setting that carries the signed context, for one transaction."""


def quote_name(name: str) -> str:
    """`name` as an identifier, whatever characters are in it."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """`text` as a string literal: for names and settings, never for values."""
    return "'" + text.replace("'", "''") + "'"


def display_name(schema: str, table: str) -> str:
    """A table as policies name it: with its schema where that isn't the default one."""
    return table if schema == "public" else f"{schema}.{table}"
