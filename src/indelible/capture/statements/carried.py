"""Keys of base tables on their way out of a query, and tables whose keys aren't."""

from __future__ import annotations

from dataclasses import dataclass, replace

from indelible.capture.schema import Table
from indelible.capture.statements.plan import Taken
from indelible.events.model import Coverage


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

    @property
    def columns_taken(self) -> tuple[str, ...]:
        """Everything that names it: the key, and the subject behind it."""
        return self.key if self.subject is None else (*self.key, self.subject)

    def qualified(self, qualifier: str) -> Carried:
        """The same as it is called from outside of the derived table that exposes it."""
        return replace(
            self,
            key=tuple(f"{qualifier}{name}" for name in self.key),
            subject=None if self.subject is None else f"{qualifier}{self.subject}",
        )


@dataclass(frozen=True, slots=True)
class Inexact:
    """Rows of a table that can't be named, and why."""

    table: Table
    coverage: Coverage
    why: str
