"""SQL for tables whose writes can be nested in each other (`sqlite_nesting`). Pure.

There SQLite's OLD may be stale (a BEFORE trigger changed the row), and a nested change may be
recorded before the one around it (foreign keys act before AFTER triggers). So each write under
way is noted: an update with its images, kept true by what is nested in it. An AFTER trigger that
finds its row as a write around it leaves it records that one first.
"""

from __future__ import annotations

from indelible.capture.outbox_layout import OP_DELETE, OP_INSERT, OP_REPLACED, OP_UPDATE
from indelible.capture.sqlite_names import NOTES
from indelible.capture.sqlite_notes import DELETING, GONE, INSERTING, OPEN, UPDATING, WRITTEN
from indelible.capture.sqlite_replaced import ReplacedSql
from indelible.capture.sqlite_rows import RowSql, same


class NestedSql:
    """The bodies of triggers on a table whose writes can be nested in each other."""

    def __init__(self, rows: RowSql, replaced: ReplacedSql) -> None:
        self._rows = rows
        self._replaced = replaced

    def before_insert(self) -> list[str]:
        return [self._rows.note(INSERTING, {})]

    def after_insert(self, put: str) -> list[str]:
        own = self._own(INSERTING, "1")
        return [
            self._replaced.put(new="NEW", old=None),
            *self._replaced.forget(new="NEW", old=None),
            self._watch_new(own),
            f"DELETE FROM {NOTES} WHERE id = {own}",
            put,
        ]

    def before_update(self) -> list[str]:
        rows = self._rows
        images = {"done": str(OPEN), **rows.subjects("OLD", None), **rows.olds("OLD")}
        return [rows.note(UPDATING, {**images, **rows.news()})]

    def after_update(self) -> list[str]:
        rows = self._rows
        own = self._own(UPDATING, rows.is_row("own", "NEW", "n"))
        return [
            *self._put_outer(own),
            self._replaced.put(new="NEW", old="OLD"),
            *self._replaced.forget(new="NEW", old="OLD"),
            rows.put(
                _OP,
                {**rows.subjects("OLD", "NEW"), **self._tracked(), **rows.news()},
                f" FROM (SELECT 1) LEFT JOIN {NOTES} ON id = {own}"
                f" WHERE coalesce(done, {OPEN}) <> {WRITTEN}",
            ),
            self._renew(own),
            self._watch_new(own),
            f"DELETE FROM {NOTES} WHERE id = {own}",
        ]

    def before_delete(self) -> list[str]:
        # This deletion will be recorded for what it is, after what goes with it.
        return [self._replaced.forget_row(), self._rows.note(DELETING, self._rows.olds("OLD"))]

    def after_delete(self) -> list[str]:
        rows = self._rows
        own = self._own(DELETING, rows.is_row("own", "OLD"))
        source = f" FROM (SELECT 1) LEFT JOIN {NOTES} ON id = {own}"
        return [
            rows.put(str(OP_DELETE), {**rows.subjects("OLD", None), **self._tracked()}, source),
            f"DELETE FROM {NOTES} WHERE id = {own}",
            self._replaced.forget_row(),
            # A row that REPLACE deleted may take along the one that was to replace it: then no
            # other trigger fires.
            self._replaced.put(new=None, old=None),
            *self._replaced.forget(new=None, old=None),
            f"UPDATE {NOTES} SET done = {GONE} WHERE layout = {rows.number} AND "
            f"kind = {UPDATING} AND done = {OPEN} AND {rows.is_row(NOTES, 'OLD')}",
        ]

    def _own(self, kind: int, is_own: str) -> str:
        """The number of this trigger's own note: the last of its kind. NULL if it was lost."""
        return (
            f"(SELECT max(own.id) FROM {NOTES} AS own WHERE own.layout = {self._rows.number} "
            f"AND own.kind = {kind} AND {is_own})"
        )

    def _tracked(self) -> dict[str, str]:
        """OLD, as what was nested in this write left it."""
        return {
            name: f"CASE WHEN id IS NULL THEN {old} ELSE {name} END"
            for name, old in self._rows.olds("OLD").items()
        }

    def _put_outer(self, own: str) -> list[str]:
        """If our row was written by an update around us whose AFTER trigger is still to come
        (we are its foreign key's action): that happened before us, and so did what it replaced.
        """
        rows = self._rows
        stays = same(rows.noted_key(NOTES), rows.noted_key(NOTES, "n"))
        left = same(rows.key("t"), rows.noted_key(NOTES))
        outer = (
            f"layout = {rows.number} AND kind = {UPDATING} AND done = {OPEN} AND id < {own} AND "
            f"{same(rows.noted_image(NOTES, 'n'), rows.image('OLD'))} AND "
            f"NOT {same(rows.noted_image(NOTES, 'o'), rows.image('OLD'))} AND "
            f"({stays} OR NOT EXISTS (SELECT 1 FROM {rows.name} AS t WHERE {left}))"
        )
        images = {f"o{slot}": f"o{slot}" for slot in rows.values}
        images |= {f"n{slot}": f"n{slot}" for slot in rows.all}
        noted = {f"o{slot}": f"r.o{slot}" for slot in rows.values}
        if rows.is_subject_stored:
            images |= {"s0": "s0", "s1": rows.subjects(None, "OLD")["s1"]}
            noted["s0"] = "r.s0"
        still_there = same(rows.key("t"), rows.noted_key("r"))
        is_outers = same(rows.noted_key(NOTES), rows.noted_key("r"))
        taken = (
            f"r.layout = {rows.number} AND r.kind >= 0 AND "
            f"({rows.is_row('r', 'OLD')} OR NOT EXISTS (SELECT 1 FROM {rows.name} AS t WHERE "
            f"{still_there})) AND EXISTS (SELECT 1 FROM {NOTES} WHERE {outer} AND NOT {is_outers})"
        )
        return [
            rows.put(str(OP_REPLACED), noted, f" FROM {NOTES} AS r WHERE {taken}"),
            f"DELETE FROM {NOTES} WHERE id IN (SELECT r.id FROM {NOTES} AS r WHERE {taken})",
            rows.put(_OP, images, f" FROM {NOTES} WHERE {outer}"),
            f"UPDATE {NOTES} SET done = {WRITTEN} WHERE {outer}",
        ]

    def _renew(self, own: str) -> str:
        """What else is noted of this row is now as we left it, unless what is nested in us
        went on from there.
        """
        rows = self._rows
        renewed = ", ".join(f"{name} = {new}" for name, new in rows.olds("NEW").items())
        return (
            f"UPDATE {NOTES} SET {renewed} WHERE layout = {rows.number} AND "
            f"{rows.is_row(NOTES, 'OLD')} AND id IS NOT {own} AND NOT EXISTS (SELECT 1 FROM "
            f"{NOTES} AS x WHERE x.id = {own} AND x.done = {WRITTEN})"
        )

    def _watch_new(self, own: str) -> str:
        """A row written inside another write may be replaced by that one, which has noted all
        that it may replace by now: note this one, too.
        """
        rows = self._rows
        around = (
            f"EXISTS (SELECT 1 FROM {NOTES} AS a WHERE a.layout = {rows.number} AND "
            f"a.kind IN ({UPDATING}, {DELETING}, {INSERTING}) AND a.id < {own})"
        )
        # An update around us that is written already replaces nothing any more.
        written = (
            f"EXISTS (SELECT 1 FROM {NOTES} AS w WHERE w.layout = {rows.number} AND "
            f"w.kind = {UPDATING} AND w.done = {WRITTEN})"
        )
        known = (
            f"EXISTS (SELECT 1 FROM {NOTES} AS k WHERE k.layout = {rows.number} AND "
            f"k.kind >= 0 AND {rows.is_row('k', 'NEW')})"
        )
        columns = {**rows.subjects("NEW", None), **rows.olds("NEW")}
        return rows.note(0, columns, f" WHERE {around} AND NOT {written} AND NOT {known}")


_OP = f"CASE done WHEN {GONE} THEN {OP_INSERT} ELSE {OP_UPDATE} END"
