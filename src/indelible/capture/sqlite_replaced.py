"""SQL that finds the rows which REPLACE deleted, for which SQLite fires no trigger. Pure.

Each unique index (partial ones and expressions, too) has at most one row in the way of a new one.
A BEFORE trigger notes it; if it is gone once the new row is there, it was replaced. Gone is asked
of the table itself, so nothing has to be guessed later.
"""

from __future__ import annotations

from indelible.capture.outbox_layout import OP_REPLACED
from indelible.capture.schema import UniqueIndex
from indelible.capture.sqlite_names import NOTES, quote_name
from indelible.capture.sqlite_notes import GONE, KEPT, OPEN, UPDATING, WRITTEN
from indelible.capture.sqlite_rows import RowSql, same


class ReplacedSql:
    """Statements about the rows of a table that may be replaced."""

    def __init__(self, rows: RowSql, *, is_entangled: bool) -> None:
        self._rows = rows
        self._is_entangled = is_entangled
        self._is_noted = f"layout = {rows.number} AND kind >= 0"

    def note(self, *, is_update: bool) -> list[str]:
        """Note each row that NEW may replace; on an update other than the updated row."""
        rows = self._rows
        columns = {**rows.subjects(rows.name, None), **rows.olds(rows.name)}
        statements = []
        for place, match in enumerate(self._conflicts()):
            where = (
                f"{match} AND NOT EXISTS (SELECT 1 FROM {NOTES} AS n WHERE n.layout = "
                f"{rows.number} AND n.kind >= 0 AND {rows.is_row('n', rows.name)})"
            )
            if is_update:
                where += f" AND NOT {same(rows.key(rows.name), rows.key('OLD'))}"
            statements.append(rows.note(place, columns, f" FROM {rows.name} WHERE {where}"))
        return statements

    def put(self, *, new: str | None, old: str | None) -> str:
        """A deletion for each noted row that is gone; `new` and `old` are NEW and OLD, if any."""
        columns = {f"o{slot}": f"n.o{slot}" for slot in self._rows.values}
        if self._rows.is_subject_stored:
            columns["s0"] = "n.s0"
        gone = self._is_gone("n", new, old)
        return self._rows.put(str(OP_REPLACED), columns, f" FROM {NOTES} AS n WHERE {gone}")

    def forget(self, *, new: str | None, old: str | None) -> list[str]:
        """Forget those; what was to update one of them has no row to update any more."""
        rows = self._rows
        is_same = same(rows.noted_key("n"), rows.noted_key(NOTES))
        return [
            f"UPDATE {NOTES} SET done = {GONE} WHERE layout = {rows.number} AND "
            f"kind = {UPDATING} AND done = {OPEN} AND EXISTS (SELECT 1 FROM {NOTES} AS n WHERE "
            f"{is_same} AND {self._is_gone('n', new, old)})",
            f"DELETE FROM {NOTES} WHERE {self._is_gone(NOTES, new, old)}",
        ]

    def forget_row(self) -> str:
        """OLD's deletion is recorded for what it is."""
        return f"DELETE FROM {NOTES} WHERE {self._is_noted} AND {self._rows.is_row(NOTES, 'OLD')}"

    def forget_stale(self) -> str:
        """Forget what statements noted that did nothing then (IGNORE)."""
        if self._is_entangled:
            # They stay true, and a write around this one needs its own.
            return f"DELETE FROM {NOTES} WHERE id < (SELECT max(id) FROM {NOTES}) - {KEPT}"
        return f"DELETE FROM {NOTES} WHERE layout = {self._rows.number}"

    def of_keys(self) -> str:
        """` OF` the columns that can bring a row into conflict; empty where any may."""
        table = self._rows.table
        names = []
        for index in table.unique:
            for term in index.terms:
                column = table.column(term.column) if term.column else None
                if column is None or column.is_generated or index.where is not None:
                    return ""
                names.append(column.name)
        if table.rowid is not None:
            taken = {column.name.lower() for column in table.columns}
            # SQLite compares them with the names that a statement uses, whatever these mean.
            names += [name for name in ("rowid", "_rowid_", "oid") if name not in taken]
            names += table.key if table.is_rowid_key else ()
        return " OF " + ", ".join(quote_name(name) for name in dict.fromkeys(names))

    def _conflicts(self) -> list[str]:
        """For each thing that must be unique: the row of the table in the way of NEW."""
        table, found = self._rows.table, []
        if table.rowid is not None:
            rowid = quote_name(table.rowid)
            found.append(f"{self._rows.name}.{rowid} = NEW.{rowid}")
        return found + [self._conflict(index) for index in table.unique]

    def _conflict(self, index: UniqueIndex) -> str:
        matches = []
        for term in index.terms:
            collation = f"COLLATE {quote_name(term.collation)}"
            if term.column is not None:
                column = f"{self._rows.name}.{quote_name(term.column)}"
                matches.append(f"{column} = {self._given(term.column)} {collation}")
            elif term.expression is not None:
                there = self._of_new(term.expression)
                matches.append(f"({term.expression}) = {there} {collation}")
        if index.where is not None:
            matches += [f"({index.where})", self._of_new(index.where)]
        return " AND ".join(matches) or "0"

    def _given(self, name: str) -> str:
        """The value that NEW will have: REPLACE puts a default where NULL isn't allowed."""
        column = self._rows.table.column(name)
        given = f"NEW.{quote_name(name)}"
        if column is not None and column.not_null and column.default is not None:
            return f"coalesce({given}, ({column.default}))"
        return given

    def _of_new(self, expression: str) -> str:
        """`expression`, written for a row of the table, of NEW."""
        columns = (
            f"{self._given(column.name)} AS {quote_name(column.name)}"
            for column in self._rows.table.columns
        )
        return f"(SELECT ({expression}) FROM (SELECT {', '.join(columns)}) AS {self._rows.name})"

    def _is_gone(self, note: str, new: str | None, old: str | None) -> str:
        rows = self._rows
        live, noted = rows.key("t"), rows.noted_key(note)
        # The first finds the row by its index, the second by its bits: NOCASE keys.
        there = f"{same(live, noted)} AND {same(noted, live)}"
        gone = f"NOT EXISTS (SELECT 1 FROM {rows.name} AS t WHERE {there})"
        if self._is_entangled:
            gone += f" AND NOT {self._is_moved(note)}"
        if new is not None:
            gone = f"({gone} OR {rows.is_row(note, new)})"
        gone = f"{note}.layout = {rows.number} AND {note}.kind >= 0 AND {gone}"
        if old is not None:
            # The row that this very update took from there.
            gone += f" AND NOT {rows.is_row(note, old)}"
        return gone

    def _is_moved(self, note: str) -> str:
        """An update around this write gave the noted row another key, and will record that."""
        rows = self._rows
        before = rows.noted_key("b")
        is_there = same(rows.noted_image("b", "n"), rows.image("m"))
        return (
            f"EXISTS (SELECT 1 FROM {NOTES} AS b WHERE b.layout = {rows.number} AND "
            f"b.kind = {UPDATING} AND {same(before, rows.noted_key(note))} AND "
            f"NOT {same(before, rows.noted_key('b', 'n'))} AND (b.done = {WRITTEN} OR "
            f"EXISTS (SELECT 1 FROM {rows.name} AS m WHERE {is_there})))"
        )
