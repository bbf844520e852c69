"""What the policy of the day keeps out of the trail, and rows as they look without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .snapshots import ABSENT, Bits, Row, Snapshot

MASKED: Final[Mapping[str, frozenset[str]]] = {"Customer": frozenset({"Fax"})}
"""Columns that are never captured."""
WITHOUT_VALUES: Final[Mapping[str, frozenset[str]]] = {"CaseNote": frozenset({"Body"})}
"""Columns of which only that they changed is."""
WITHHELD: Final[Bits] = ("withheld", None)
"""Stands for any value of theirs."""

SECRET_FAX: Final = "+351 4711 0815"
SECRET_BODY: Final = "quite wrongly quarrelled"
"""Values that the day writes into these columns and nothing else has."""


def withheld_columns(table: str) -> frozenset[str]:
    return MASKED.get(table, frozenset()) | WITHOUT_VALUES.get(table, frozenset())


def veiled(table: str, values: Row) -> Row:
    """Values of a row as the trail may know them; that a column is absent isn't its value."""
    hidden = withheld_columns(table)
    return {
        name: WITHHELD if name in hidden and value != ABSENT else value
        for name, value in values.items()
    }


def veil(snapshot: Snapshot) -> Snapshot:
    """Every row as the trail may know it."""
    return {
        table: {key: veiled(table, row) for key, row in rows.items()}
        for table, rows in snapshot.items()
    }
