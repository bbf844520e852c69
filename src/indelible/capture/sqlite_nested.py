"""SQL for tables whose writes can be nested in each other (`sqlite_nesting`). Pure.

There SQLite's OLD may be stale (a BEFORE trigger changed the row), a nested change may come before
the one around it (foreign keys act before AFTER triggers), and REPLACE may delete what was
written a moment ago. So nothing is recorded from OLD and NEW. A BEFORE trigger notes each row that
its write may touch, as the trail knows it; every AFTER trigger compares the noted rows with the
table and records the difference. Whatever happened in which order, folding gives what is there.
"""

from __future__ import annotations

from typing import Literal

from indelible.capture.outbox_layout import OP_DELETE, OP_INSERT, OP_UPDATE
from indelible.capture.sqlite_names import NOTES
from indelible.capture.sqlite_notes import (
    ABSENT,
    MAX_SETTLED,
    MAX_WRITES,
    ROW,
    SETTLED,
    THERE,
    TOUCHED,
    WRITE,
)
from indelible.capture.sqlite_replaced import ReplacedSql
from indelible.capture.sqlite_rows import RowSql, is_other, same

How = Literal["insert", "update", "delete"]
_OPS = {"insert": OP_INSERT, "update": OP_UPDATE, "delete": OP_DELETE}


class NestedSql:
    """The bodies of triggers on a table whose writes can be nested in each other."""

    def __init__(self, rows: RowSql, replaced: ReplacedSql) -> None:
        self._rows = rows
        self._replaced = replaced
        self._is_ours = f"layout = {rows.number}"
        self._hidden = [slot for slot in rows.all if slot not in rows.values]

    def before(self, how: How) -> list[str]:
        """Note the write, the rows that it may replace, its own row and where that moves to."""
        rows = self._rows
        body = [self._forget_old(), self._note_write(how)]
        if how != "delete":
            for found in self._replaced.in_the_way(is_update=how == "update"):
                noted = f"EXISTS (SELECT 1{found} AND {rows.is_row(NOTES, rows.name)})"
                body += [self._watch(noted), self._note_row(rows.name, found)]
        if how != "insert":
            body += [self._watch(rows.is_row(NOTES, "OLD")), self._note_row("OLD")]
        if how == "update":
            body += [self._watch(rows.is_row(NOTES, "NEW")), *self._note_move()]
        return body

    def after(self, how: How) -> list[str]:
        """Record how the noted rows differ from what is known of them."""
        body = []
        # SQLite may have chosen the key only now; and notes may have been forgotten meanwhile.
        if how != "insert":
            body.append(self._note_row("OLD"))
        if how != "delete":
            body += [self._watch(self._rows.is_row(NOTES, "NEW")), self._note_place()]
        if how == "update":
            body.append(self._mark_unseen_changes())
        return [*body, *self._record(how), *self._refresh(how), *self._settle(how)]

    # -- notes

    def _note_write(self, how: How) -> str:
        rows = self._rows
        key = {} if how == "insert" else self._key("OLD")
        return rows.note(WRITE, {"done": str(_OPS[how]), **key})

    def _own(self, how: How) -> str:
        """The number of this trigger's own write: the last like it. NULL if it was forgotten."""
        is_own = f"o.{self._is_ours} AND o.kind = {WRITE} AND o.done = {_OPS[how]}"
        if how != "insert":
            is_own += f" AND {self._rows.is_row('o', 'OLD')}"
        return f"(SELECT max(o.id) FROM {NOTES} AS o WHERE {is_own})"

    def _key(self, alias: str) -> dict[str, str]:
        return {f"o{slot}": self._rows.column(alias, slot) for slot in self._rows.identity}

    def _note_row(self, alias: str, source: str = " WHERE true") -> str:
        """Note that the row `alias` is there, unless it is noted."""
        rows = self._rows
        columns = {"done": str(THERE), **rows.subjects(alias, None), **rows.olds(alias)}
        return rows.note(ROW, columns, f"{source} AND NOT {self._is_noted(alias)}")

    def _note_place(self, condition: str = "true") -> str:
        """Note that there is no row such as NEW yet, unless one is noted."""
        columns = {"done": str(ABSENT), **self._key("NEW")}
        source = f" WHERE {condition} AND NOT {self._is_noted('NEW')}"
        return self._rows.note(ROW, columns, source)

    def _note_move(self) -> list[str]:
        """Where the row goes if its key changes, and whence the one there comes."""
        rows = self._rows
        moves = f"NOT {same(rows.key('OLD'), rows.key('NEW'))}"
        return [
            self._note_place(moves),
            *(
                f"UPDATE {NOTES} SET {column} = (SELECT k.id FROM {NOTES} AS k WHERE "
                f"{self._is_note('k', other)}) WHERE {self._is_note(NOTES, alias)} AND {moves}"
                for column, alias, other in (("goes", "OLD", "NEW"), ("comes", "NEW", "OLD"))
            ),
        ]

    def _is_note(self, note: str, alias: str) -> str:
        """The note, of which there is one at the most, of the row `alias`."""
        return (
            f"{note}.{self._is_ours} AND {note}.kind IN ({ROW}, {SETTLED}) AND "
            f"{self._rows.is_row(note, alias)}"
        )

    def _is_noted(self, alias: str) -> str:
        return f"EXISTS (SELECT 1 FROM {NOTES} AS k WHERE {self._is_note('k', alias)})"

    def _watch(self, condition: str) -> str:
        return (
            f"UPDATE {NOTES} SET kind = {ROW} WHERE {self._is_ours} AND kind = {SETTLED} "
            f"AND {condition}"
        )

    def _mark_unseen_changes(self) -> str:
        """An update that changed nothing, and columns that changed of which no value is kept."""
        rows = self._rows
        touches = f"NOT {is_other(rows.image('OLD'), rows.image('NEW'))}"
        news = rows.news()
        bits = "".join(
            f", n{slot} = coalesce(n{slot}, 0) | {news[f'n{slot}']}" for slot in self._hidden
        )
        return (
            f"UPDATE {NOTES} SET done = CASE WHEN done = {THERE} AND {touches} THEN {TOUCHED} "
            f"ELSE done END{bits} WHERE {self._is_note(NOTES, 'OLD')}"
        )

    # -- recording

    def _record(self, how: How) -> list[str]:
        """Deletions, moves, updates, insertions: no row is ever put where another still is."""
        rows = self._rows
        watched = f" WHERE {self._is_watched('r', how)} AND "
        # The note `m` of the place that `r` is to move to, or of the row that is to come to `r`.
        both = f"EXISTS (SELECT 1 FROM {NOTES} AS m WHERE {self._is_watched('m', how)} AND "
        goes = f"{self._is_gone('r')} AND {self._is_there('m')}"
        comes = f"{self._is_gone('m')} AND {self._is_there('r')}"
        is_moved = f"{both}m.id = r.goes AND m.comes = r.id AND {goes})"
        is_target = f"{both}m.id = r.comes AND m.goes = r.id AND {comes})"
        differs = [is_other(rows.noted_image("r", "o"), rows.image("t")), f"r.done = {TOUCHED}"]
        differs += [f"r.n{slot}" for slot in self._hidden]
        before = {f"o{slot}": f"r.o{slot}" for slot in rows.values}
        after = {f"n{slot}": rows.column("t", slot) for slot in rows.values}
        if rows.is_subject_stored:
            before["s0"] = "r.s0"
        after |= rows.subjects(None, "t")
        changed = {**before, **after, **{f"n{slot}": f"r.n{slot}" for slot in self._hidden}}
        notes = f" FROM {NOTES} AS r"
        here = f"{notes} JOIN {rows.name} AS t ON {self._is_at('r')}{watched}NOT {is_target} AND "
        there = (
            f"{notes} JOIN {NOTES} AS p ON p.id = r.goes JOIN {rows.name} AS t "
            f"ON {self._is_at('p')}{watched}"
        )
        return [
            rows.put(
                str(OP_DELETE),
                before,
                f"{notes}{watched}({self._is_gone('r')} AND NOT {is_moved} OR "
                f"r.done <> {ABSENT} AND {is_target})",
            ),
            rows.put(str(OP_UPDATE), changed, f"{there}{is_moved}"),
            rows.put(
                str(OP_UPDATE), changed, f"{here}r.done <> {ABSENT} AND ({' OR '.join(differs)})"
            ),
            rows.put(str(OP_INSERT), after, f"{here}r.done = {ABSENT}"),
        ]

    def _refresh(self, how: How) -> list[str]:
        """The notes say what was recorded now."""
        rows = self._rows
        names = ["done", *(f"o{slot}" for slot in rows.values)]
        values = [str(THERE), *rows.image("t")]
        names += [f"n{slot}" for slot in self._hidden]
        values += ["NULL" for _ in self._hidden]
        if rows.is_subject_stored:
            names.append("s0")
            values += rows.subjects("t", None).values()
        watched = self._is_watched(NOTES, how)
        return [
            f"UPDATE {NOTES} SET done = {ABSENT}, goes = NULL WHERE {watched} AND "
            f"{self._is_gone(NOTES)}",
            f"UPDATE {NOTES} SET ({', '.join(names)}) = (SELECT {', '.join(values)} FROM "
            f"{rows.name} AS t WHERE {self._is_at(NOTES)}) WHERE {watched} AND "
            f"{self._is_there(NOTES)}",
        ]

    def _is_watched(self, note: str, how: How) -> str:
        """Noted by this write, by one inside it, or by one around it."""
        return (
            f"{note}.{self._is_ours} AND ({note}.kind = {ROW} OR "
            f"{note}.kind = {SETTLED} AND {note}.id > {self._own(how)})"
        )

    def _is_gone(self, note: str) -> str:
        return f"{note}.done <> {ABSENT} AND NOT {self._is_there(note)}"

    def _is_there(self, note: str) -> str:
        return f"EXISTS (SELECT 1 FROM {self._rows.name} AS t WHERE {self._is_at(note)})"

    def _is_at(self, note: str) -> str:
        """`t` is the row that the note is of."""
        live, noted = self._rows.key("t"), self._rows.noted_key(note)
        # The first finds the row by its index, the second by its bits: NOCASE keys.
        return f"{same(live, noted)} AND {same(noted, live)}"

    # -- forgetting

    def _settle(self, how: How) -> list[str]:
        """This write is done. Only a write around it may still touch what is noted."""
        own = self._own(how)
        writes = f"FROM {NOTES} AS w WHERE w.{self._is_ours} AND w.kind = {WRITE}"
        return [
            f"UPDATE {NOTES} SET kind = {SETTLED} WHERE {self._is_ours} AND kind = {ROW} "
            f"AND id > {own}",
            f"DELETE FROM {NOTES} WHERE {self._is_ours} AND kind = {WRITE} AND id >= {own}",
            f"DELETE FROM {NOTES} WHERE {self._is_ours} AND kind IN ({ROW}, {SETTLED}) "
            f"AND NOT EXISTS (SELECT 1 {writes})",
        ]

    def _forget_old(self) -> str:
        """Forget writes that never end, for a statement ignored their row, and what they noted."""
        writes = f"FROM {NOTES} AS w WHERE w.{self._is_ours} AND w.kind = {WRITE}"
        return (
            f"DELETE FROM {NOTES} WHERE {self._is_ours} AND ("
            f"kind = {WRITE} AND id <= "
            f"(SELECT w.id {writes} ORDER BY w.id DESC LIMIT 1 OFFSET {MAX_WRITES})"
            f" OR kind = {SETTLED} AND id < (SELECT max(id) FROM {NOTES}) - {MAX_SETTLED}"
            f" OR kind IN ({ROW}, {SETTLED}) AND id < (SELECT min(w.id) {writes}))"
        )
