"""Keys of base tables on their way out of a query."""

from __future__ import annotations

from dataclasses import dataclass

from indelible.capture.schema import Table
from indelible.capture.statements.plan import Taken


@dataclass(frozen=True, slots=True)
class Carried:
    """The key of one base table in the scope of one SELECT.

    `key` and `subject` are SQL expressions there. `guarded`: they give what hidden columns give.
    `array` says how the array is read that the one expression in `key` gives. `alias` is the base
    table's own, None once it came through a derived table; `subject_name` is the subject's column
    there, None where it is another table's. `subject_type` is its declared type.
    """

    table: Table
    columns: frozenset[str]
    key: tuple[str, ...]
    subject: str | None
    subject_name: str | None = None
    subject_type: str = ""
    alias: str | None = None
    guarded: bool = False
    array: Taken | None = None
    optional: bool = False
