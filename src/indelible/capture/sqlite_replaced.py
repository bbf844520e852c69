"""SQL that finds the rows which REPLACE deleted, for which SQLite fires no trigger. Pure.

Each unique index (partial ones and expressions, too) has at most one row in the way of a new one.
A BEFORE trigger notes it; if it is gone once the new row is there, it was replaced. Gone is asked
of the table itself, so nothing has to be guessed later.
"""

from __future__ import annotations

from indelible.capture.outbox_layout import OP_REPLACED
from indelible.capture.schema import Column, UniqueIndex
from indelible.capture.sqlite_names import NOTES, quote_name
from indelible.capture.sqlite_rows import RowSql, same
from indelible.capture.sqlite_schema import affinity


class ReplacedSql:
    """Statements about the rows of a table that may be replaced."""

    def __init__(self, rows: RowSql) -> None:
        self._rows = rows

    def in_the_way(self, *, is_update: bool) -> list[str]:
        """For each thing that must be unique, ` FROM … WHERE …` of the rows (of the table's own
        name) that NEW may replace; on an update other than the updated row.
        """
        rows = self._rows
        other = f" AND NOT {same(rows.key(rows.name), rows.key('OLD'))}" if is_update else ""
        return [f" FROM {rows.name} WHERE {match}{other}" for match in self._conflicts()]

    def note(self, *, is_update: bool) -> list[str]:
        """Note each of those rows."""
        rows = self._rows
        columns = {**rows.subjects(rows.name, None), **rows.olds(rows.name)}
        return [
            rows.note(
                place,
                columns,
                f"{found} AND NOT EXISTS (SELECT 1 FROM {NOTES} AS n WHERE n.layout = "
                f"{rows.number} AND n.kind >= 0 AND {rows.is_row('n', rows.name)})",
            )
            for place, found in enumerate(self.in_the_way(is_update=is_update))
        ]

    def put(self, *, old: str | None) -> str:
        """A deletion for each noted row that is gone, for NEW is there; `old` is OLD, if any."""
        columns = {f"o{slot}": f"n.o{slot}" for slot in self._rows.values}
        if self._rows.is_subject_stored:
            columns["s0"] = "n.s0"
        return self._rows.put(
            str(OP_REPLACED), columns, f" FROM {NOTES} AS n WHERE {self._is_gone(old)}"
        )

    def forget_row(self) -> str:
        """OLD's deletion is recorded for what it is."""
        return (
            f"DELETE FROM {NOTES} WHERE layout = {self._rows.number} AND kind >= 0 "
            f"AND {self._rows.is_row(NOTES, 'OLD')}"
        )

    def forget_stale(self) -> str:
        """Forget what statements noted that did nothing then (IGNORE)."""
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
            f"{self._stored(column)} AS {quote_name(column.name)}"
            for column in self._rows.table.columns
        )
        return f"(SELECT ({expression}) FROM (SELECT {', '.join(columns)}) AS {self._rows.name})"

    def _stored(self, column: Column) -> str:
        """What `_given` gives, as the column stores it: a default comes as it was declared."""
        given = self._given(column.name)
        kind = affinity(column.type)
        if not column.not_null or column.default is None:
            return given
        if kind == "TEXT":
            return f"CASE typeof({given}) WHEN 'blob' THEN {given} ELSE CAST({given} AS TEXT) END"
        if kind == "BLOB":
            return given
        is_number = f"{given} GLOB '*[0-9]*' AND {given} NOT GLOB '*[^-+.0-9eE]*'"
        number = "REAL" if kind == "REAL" else "NUMERIC"
        return f"CASE WHEN {is_number} THEN CAST({given} AS {number}) ELSE {given} END"

    def _is_gone(self, old: str | None) -> str:
        rows = self._rows
        live, noted = rows.key("t"), rows.noted_key("n")
        # The first finds the row by its index, the second by its bits: NOCASE keys.
        there = f"{same(live, noted)} AND {same(noted, live)}"
        gone = (
            f"n.layout = {rows.number} AND n.kind >= 0 AND (NOT EXISTS (SELECT 1 FROM {rows.name} "
            f"AS t WHERE {there}) OR {rows.is_row('n', 'NEW')})"
        )
        # The row that this very update took from there.
        return f"{gone} AND NOT {rows.is_row('n', old)}" if old is not None else gone
