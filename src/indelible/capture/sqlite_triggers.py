"""The SQL of our triggers: a table and its layout in, statements out. Pure.

AFTER triggers copy old and new values into the outbox. What only they can't see, BEFORE triggers
note in `indelible_notes`:

- A row that REPLACE deletes fires no trigger. Each unique index (partial and on expressions, too)
  has at most one row in the way of a new one; it is noted, and if it is gone once the new row is
  there, it was replaced. Gone is asked of the table itself, so nothing has to be guessed later.
- Where writes to a table can be nested in each other (`sqlite_nesting`), SQLite's OLD and NEW may
  be stale, and a nested change may be recorded first. There every update under way is noted with
  its images; changes to the same row keep the notes true.

No differences are worked out, and nothing here has a constraint: the conflict clause of the
application's statement overrides those of its triggers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from indelible.capture.outbox_layout import (
    OP_DELETE,
    OP_INSERT,
    OP_REPLACED,
    OP_UPDATE,
    Layout,
)
from indelible.capture.sqlite_names import (
    ASK_CONTEXT,
    ASK_DELIVERED_THROUGH,
    ASK_TIME,
    NOTES,
    OUTBOX,
    PREFIX,
    quote_name,
    quote_text,
)
from indelible.capture.sqlite_schema import Schema, Table, UniqueIndex
from indelible.policy.model import Policy, SubjectPath

# Kinds of notes; a row that may be replaced has the number of what must be unique, from 0.
_UPDATING: Final = -1
_PARENT: Final = -2
_DELETING: Final = -3
_INSERTING: Final = -4
# States of a note of an update under way.
_OPEN, _WRITTEN, _GONE = 0, 1, 2

_TRIM_EVERY: Final = 64
_TRIM_AT_ONCE: Final = 2_000
_KEEP_NOTES: Final = 200

# A foreign client's clock gives milliseconds. In the same millisecond as the row before, take
# that row's time, or time would seem to run backwards.
_FOREIGN_TIME: Final = (
    "(SELECT CASE WHEN last.time BETWEEN own.ms AND own.ms + 999 THEN last.time ELSE own.ms END "
    "FROM (SELECT 1000 * CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS ms)"
    f" AS own LEFT JOIN (SELECT time FROM {OUTBOX} ORDER BY id DESC LIMIT 1) AS last)"
)
_TIME: Final = f"coalesce(sqlite_compileoption_get({ASK_TIME}), {_FOREIGN_TIME})"
_CONTEXT: Final = f"sqlite_compileoption_get({ASK_CONTEXT})"

# Rows that were delivered go with a later write of the application's, some at a time. The last
# one stays: it shows whether the database is the one that it was delivered from.
_TRIM: Final = (
    f"DELETE FROM {OUTBOX} WHERE id < CASE WHEN last_insert_rowid() % {_TRIM_EVERY} = 0 THEN "
    f"(SELECT min(through, (SELECT min(id) FROM {OUTBOX}) + {_TRIM_AT_ONCE}) FROM "
    f"(SELECT sqlite_compileoption_get({ASK_DELIVERED_THROUGH}) AS through) "
    f"WHERE EXISTS (SELECT 1 FROM {OUTBOX} WHERE id = through)) END"
)


class TriggerSql(NamedTuple):
    """One trigger of ours. Those of a table must be created in the order they come in."""

    name: str
    sql: str


def trigger_name(table: str, suffix: str) -> str:
    return f"{PREFIX}{table}_{suffix}"


def triggers_for(
    schema: Schema,
    table: Table,
    layout: Layout,
    number: int,
    policy: Policy,
    *,
    is_entangled: bool,
) -> list[TriggerSql]:
    """All triggers that capture the writes of `table` under the layout `number`."""
    writer = _Writer(schema, table, layout, number, policy, is_entangled)
    return writer.triggers()


def subject_of(schema: Schema, table: Table, policy: Policy, alias: str) -> str:
    """An expression for the subject of a row of `table`, in a query of our own."""
    path = policy.table(table.name).subject
    return _follow(schema, path, alias, notes=None) if path is not None else "NULL"


def _follow(schema: Schema, path: SubjectPath, alias: str, *, notes: str | None) -> str:
    """The subject of the row `alias`: a blob of no bytes for nobody, NULL for not found."""
    start = f"{alias}.{quote_name(path.hops[0].column)}"
    value = start
    for hop, through in zip(path.hops[1:], path.hops, strict=False):
        parent = schema.table(through.table)
        key = quote_name(parent.key[0] if parent else "")
        found = (
            f"(SELECT ifnull(p.{quote_name(hop.column)}, x'') "
            f"FROM {quote_name(through.table)} AS p WHERE p.{key} = {value})"
        )
        if notes is not None:
            # The row that named it may be on its way out (CASCADE).
            found = (
                f"coalesce({found}, (SELECT p.s0 FROM {notes} AS p WHERE p.kind = {_PARENT} AND "
                f"p.layout = {quote_text(_parent_name(through.table, hop.column))} AND "
                f"p.o0 = {value} ORDER BY p.id DESC LIMIT 1))"
            )
        value = found
    return f"CASE WHEN {start} IS NULL THEN x'' ELSE {value} END"


class _Writer:
    def __init__(
        self,
        schema: Schema,
        table: Table,
        layout: Layout,
        number: int,
        policy: Policy,
        is_entangled: bool,
    ) -> None:
        self._schema = schema
        self._table = table
        self._layout = layout
        self._number = number
        self._policy = policy
        self._is_entangled = is_entangled
        self._name = quote_name(table.name)
        self._path = policy.table(table.name).subject
        self._is_stored = layout.subject is not None and layout.subject.source == "stored"
        self._values = [n for n, slot in enumerate(layout.slots) if slot.mode == "value"]
        # The rowid tells rows apart wherever there is one; a key of NULLs doesn't.
        self._identity = (layout.rowid,) if layout.rowid is not None else layout.key

    def triggers(self) -> list[TriggerSql]:
        found = [self._before_insert(), self._before_update(), *self._before_delete()]
        found += [self._after_insert(), self._after_update(), self._after_delete()]
        if not self._is_entangled:
            # Newest first: what was replaced is gone before the update that replaced it.
            found.append(self._after_key_update())
        return found

    # -- columns

    def _column(self, alias: str, slot: int) -> str:
        name = self._layout.slots[slot].column or self._table.rowid or ""
        return f"{alias}.{quote_name(name)}"

    def _images(self, side: str, slots: Iterable[int]) -> list[str]:
        return [f"{side}{slot}" for slot in slots]

    def _same(self, left: Sequence[str], right: Sequence[str]) -> str:
        pairs = (f"{a} IS {b}" for a, b in zip(left, right, strict=True))
        return "(" + " AND ".join(pairs) + ")"

    def _is_row(self, note: str, alias: str, side: str = "o") -> str:
        """The note's row is the one that `alias` stands for."""
        return self._same(
            [f"{note}.{side}{slot}" for slot in self._identity],
            [self._column(alias, slot) for slot in self._identity],
        )

    def _changed(self, slot: int) -> str:
        old, new = self._column("OLD", slot), self._column("NEW", slot)
        return f"(typeof({old}) <> typeof({new}) OR {old} IS NOT {new} COLLATE BINARY)"

    def _new(self, slot: int) -> str:
        mode = self._layout.slots[slot].mode
        return self._column("NEW", slot) if mode == "value" else self._changed(slot)

    @property
    def _all(self) -> range:
        return range(len(self._layout.slots))

    def _put(self, op: str, values: dict[str, str], source: str = "") -> str:
        """An outbox row; `source` is a FROM (and WHERE) for values that come from one."""
        row = {"time": _TIME, "ctx": _CONTEXT, "layout": str(self._number), "op": op, **values}
        values_sql = ", ".join(row.values())
        given = f"SELECT {values_sql}{source}" if source else f"VALUES ({values_sql})"
        return f"INSERT INTO {OUTBOX} ({', '.join(row)})\n    {given}"

    def _subjects(self, before: str | None, after: str | None) -> dict[str, str]:
        if not self._is_stored or self._path is None:
            return {}
        found = {}
        if before is not None:
            found["s0"] = self._follow(self._path, before)
        if after is not None:
            found["s1"] = self._follow(self._path, after)
        return found

    def _follow(self, path: SubjectPath, alias: str) -> str:
        return _follow(self._schema, path, alias, notes=NOTES)

    # -- what REPLACE may delete

    def _note_replaceable(self, *, is_update: bool) -> list[str]:
        statements = []
        here = self._name
        slots = self._values
        columns = ["layout", "kind", *(f"o{slot}" for slot in slots)]
        values = [self._column(here, slot) for slot in slots]
        subject = self._subjects(here, None).get("s0")
        if subject is not None:
            columns.append("s0")
            values.append(subject)
        for place, match in enumerate(self._conflicts()):
            where = f"{match} AND NOT EXISTS (SELECT 1 FROM {NOTES} AS n WHERE n.layout = "
            where += f"{self._number} AND n.kind >= 0 AND {self._is_row('n', here)})"
            if is_update:
                own = self._same(
                    [self._column(here, slot) for slot in self._identity],
                    [self._column("OLD", slot) for slot in self._identity],
                )
                where += f" AND NOT {own}"
            statements.append(
                f"INSERT INTO {NOTES} ({', '.join(columns)})\n"
                f"    SELECT {self._number}, {place}, {', '.join(values)} FROM {here}"
                f" WHERE {where}"
            )
        return statements

    def _conflicts(self) -> list[str]:
        """For each thing that must be unique: the row of the table in the way of NEW."""
        found = []
        if self._table.rowid is not None:
            rowid = quote_name(self._table.rowid)
            found.append(f"{self._name}.{rowid} = NEW.{rowid}")
        found += [self._conflict(index) for index in self._table.unique]
        return found

    def _conflict(self, index: UniqueIndex) -> str:
        matches = []
        for term in index.terms:
            collation = f"COLLATE {quote_name(term.collation)}"
            if term.column is not None:
                name = quote_name(term.column)
                matches.append(f"{self._name}.{name} = {self._given(term.column)} {collation}")
            elif term.expression is not None:
                there = self._of_new(term.expression)
                matches.append(f"({term.expression}) = {there} {collation}")
        if index.where is not None:
            matches += [f"({index.where})", self._of_new(index.where)]
        return " AND ".join(matches) or "0"

    def _given(self, name: str) -> str:
        """The value that NEW will have: REPLACE puts a default where NULL isn't allowed."""
        column = self._table.column(name)
        given = f"NEW.{quote_name(name)}"
        if column is not None and column.not_null and column.default is not None:
            return f"coalesce({given}, ({column.default}))"
        return given

    def _of_new(self, expression: str) -> str:
        """`expression`, written for a row of the table, of NEW."""
        columns = [f"{self._given(c.name)} AS {quote_name(c.name)}" for c in self._table.columns]
        return f"(SELECT ({expression}) FROM (SELECT {', '.join(columns)}) AS {self._name})"

    def _put_replaced(self, new: str | None, old: str | None) -> str:
        """A deletion for each noted row that is gone; `new` and `old` are NEW and OLD if any."""
        values = {f"o{slot}": f"n.o{slot}" for slot in self._values}
        if self._is_stored:
            values["s0"] = "n.s0"
        gone = self._was_replaced("n", new, old)
        return self._put(str(OP_REPLACED), values, f" FROM {NOTES} AS n WHERE {gone}")

    def _is_moved(self, note: str) -> str:
        """An update around us has given the noted row another key, and will record that."""
        image = self._same(
            [f"b.n{slot}" for slot in self._values],
            [self._column("m", slot) for slot in self._values],
        )
        key_before = [f"b.o{slot}" for slot in self._identity]
        noted = self._same(key_before, [f"{note}.o{slot}" for slot in self._identity])
        stays = self._same(key_before, [f"b.n{slot}" for slot in self._identity])
        return (
            f"EXISTS (SELECT 1 FROM {NOTES} AS b WHERE b.layout = {self._number} AND b.kind = "
            f"{_UPDATING} AND {noted} AND NOT {stays} AND (b.done = {_WRITTEN} OR "
            f"EXISTS (SELECT 1 FROM {self._name} AS m WHERE {image})))"
        )

    def _forget_replaced(self, new: str | None, old: str | None) -> list[str]:
        same_row = self._same(
            [f"n.o{slot}" for slot in self._identity],
            [f"{NOTES}.o{slot}" for slot in self._identity],
        )
        return [
            f"UPDATE {NOTES} SET done = {_GONE} WHERE layout = {self._number} AND "
            f"kind = {_UPDATING} AND done = {_OPEN} AND EXISTS (SELECT 1 FROM {NOTES} AS n WHERE "
            f"{same_row} AND {self._was_replaced('n', new, old)})",
            f"DELETE FROM {NOTES} WHERE {self._was_replaced(NOTES, new, old)}",
        ]

    def _was_replaced(self, note: str, new: str | None, old: str | None) -> str:
        live = [self._column("t", slot) for slot in self._identity]
        noted = [f"{note}.o{slot}" for slot in self._identity]
        # The first finds the row by its index, the second by its bits: NOCASE keys.
        there = f"SELECT 1 FROM {self._name} AS t WHERE {self._same(live, noted)}"
        there += f" AND {self._same(noted, live)}"
        gone = f"NOT EXISTS ({there})"
        if self._is_entangled:
            gone += f" AND NOT {self._is_moved(note)}"
        if new is not None:
            gone = f"({gone} OR {self._is_row(note, new)})"
        gone = f"{note}.layout = {self._number} AND {note}.kind >= 0 AND {gone}"
        if old is not None:
            # The row that this very update took from there.
            gone += f" AND NOT {self._is_row(note, old)}"
        return gone

    def _watch_new(self, own: str) -> str:
        """A row written inside another write may be replaced by that one, which has noted all
        that it may replace: note this one, too.
        """
        around = (
            f"EXISTS (SELECT 1 FROM {NOTES} AS a WHERE a.layout = {self._number} AND "
            f"a.kind IN ({_UPDATING}, {_DELETING}, {_INSERTING}) AND a.id < {own})"
        )
        # An update around us that is written already replaces nothing any more.
        written = (
            f"EXISTS (SELECT 1 FROM {NOTES} AS w WHERE w.layout = {self._number} AND "
            f"w.kind = {_UPDATING} AND w.done = {_WRITTEN})"
        )
        known = (
            f"EXISTS (SELECT 1 FROM {NOTES} AS k WHERE k.layout = {self._number} AND k.kind >= 0 "
            f"AND {self._is_row('k', 'NEW')})"
        )
        note = {"layout": str(self._number), "kind": "0"}
        if self._is_stored:
            note["s0"] = self._subjects("NEW", None)["s0"]
        note |= {f"o{slot}": self._column("NEW", slot) for slot in self._values}
        return (
            f"INSERT INTO {NOTES} ({', '.join(note)})\n    SELECT {', '.join(note.values())} "
            f"WHERE {around} AND NOT {written} AND NOT {known}"
        )

    def _forget_notes(self) -> str:
        if self._is_entangled:
            # Notes of statements that did nothing (IGNORE) stay true, and are in nobody's way.
            return f"DELETE FROM {NOTES} WHERE id < (SELECT max(id) FROM {NOTES}) - {_KEEP_NOTES}"
        return f"DELETE FROM {NOTES} WHERE layout = {self._number}"

    # -- the triggers

    def _before_insert(self) -> TriggerSql:
        body = [self._forget_notes(), *self._note_replaceable(is_update=False)]
        if self._is_entangled:
            body.append(f"INSERT INTO {NOTES} (layout, kind) VALUES ({self._number}, {_INSERTING})")
        return self._trigger("before_insert", "BEFORE INSERT", body)

    def _after_insert(self) -> TriggerSql:
        body = [self._put_replaced("NEW", None)]
        if self._is_entangled:
            own = (
                f"(SELECT max(id) FROM {NOTES} "
                f"WHERE layout = {self._number} AND kind = {_INSERTING})"
            )
            body += [*self._forget_replaced("NEW", None), self._watch_new(own)]
            body.append(f"DELETE FROM {NOTES} WHERE id = {own}")
        values = {f"n{slot}": self._column("NEW", slot) for slot in self._values}
        body += [self._put(str(OP_INSERT), {**self._subjects(None, "NEW"), **values}), _TRIM]
        return self._trigger("after_insert", "AFTER INSERT", body)

    def _before_update(self) -> TriggerSql:
        body = [self._forget_notes(), *self._note_replaceable(is_update=True)]
        if not self._is_entangled:
            return self._trigger("before_update", f"BEFORE UPDATE{self._of_keys()}", body)
        old = {f"o{slot}": self._column("OLD", slot) for slot in self._values}
        new = {f"n{slot}": self._new(slot) for slot in self._all}
        subject = {"s0": self._subjects("OLD", None)["s0"]} if self._is_stored else {}
        note = {"layout": str(self._number), "kind": str(_UPDATING), "done": str(_OPEN)}
        note |= {**subject, **old, **new}
        body.append(
            f"INSERT INTO {NOTES} ({', '.join(note)})\n    SELECT {', '.join(note.values())}"
        )
        return self._trigger("before_update", "BEFORE UPDATE", body)

    def _after_update(self) -> TriggerSql:
        values = {}
        for slot in self._all:
            if self._layout.slots[slot].mode == "value":
                values[f"o{slot}"] = self._column("OLD", slot)
            values[f"n{slot}"] = self._new(slot)
        values = {**self._subjects("OLD", "NEW"), **values}
        if not self._is_entangled:
            body = [self._put(str(OP_UPDATE), values), _TRIM]
        else:
            body = self._nested_update(values)
        return self._trigger("after_update", "AFTER UPDATE", body)

    def _after_key_update(self) -> TriggerSql:
        event = f"AFTER UPDATE{self._of_keys()}"
        return self._trigger("after_key_update", event, [self._put_replaced("NEW", "OLD")])

    def _nested_update(self, values: dict[str, str]) -> list[str]:
        """The update of a row that other updates of it may be nested in, or that is nested."""
        updating = f"layout = {self._number} AND kind = {_UPDATING}"
        own = (
            f"(SELECT max(own.id) FROM {NOTES} AS own WHERE own.layout = {self._number} "
            f"AND own.kind = {_UPDATING} AND {self._is_row('own', 'NEW', 'n')})"
        )
        old = [self._column("OLD", slot) for slot in self._values]
        stays = self._same(
            [f"o{slot}" for slot in self._identity], [f"n{slot}" for slot in self._identity]
        )
        left = self._same(
            [self._column("t", slot) for slot in self._identity],
            [f"{NOTES}.o{slot}" for slot in self._identity],
        )
        outer = (
            f"{updating} AND done = {_OPEN} AND id < {own} AND "
            f"{self._same(self._images('n', self._values), old)} AND NOT "
            f"{self._same(self._images('o', self._values), old)} AND "
            f"({stays} OR NOT EXISTS (SELECT 1 FROM {self._name} AS t WHERE {left}))"
        )
        written = {f"o{slot}": f"o{slot}" for slot in self._values}
        written |= {f"n{slot}": f"n{slot}" for slot in self._all}
        if self._is_stored:
            written |= {"s0": "s0", "s1": self._subjects(None, "OLD")["s1"]}
        taken = (
            f"layout = {self._number} AND kind >= 0 AND {self._is_row(NOTES, 'OLD')} AND "
            f"EXISTS (SELECT 1 FROM {NOTES} WHERE {outer} AND NOT {stays})"
        )
        replaced = {f"o{slot}": f"o{slot}" for slot in self._values}
        if self._is_stored:
            replaced["s0"] = "s0"
        op = f"CASE done WHEN {_GONE} THEN {OP_INSERT} ELSE {OP_UPDATE} END"
        tracked = {
            name: f"CASE WHEN id IS NULL THEN {value} ELSE {name} END" if name[0] == "o" else value
            for name, value in values.items()
        }
        is_row = self._is_row(NOTES, "OLD")
        renewed = [f"o{slot} = {self._column('NEW', slot)}" for slot in self._values]
        return [
            # Our row was written by an update around us whose AFTER trigger is still to come
            # (a foreign key's action): it happened before us, and so did what it replaced.
            self._put(str(OP_REPLACED), replaced, f" FROM {NOTES} WHERE {taken}"),
            f"DELETE FROM {NOTES} WHERE {taken}",
            self._put(op, written, f" FROM {NOTES} WHERE {outer}"),
            f"UPDATE {NOTES} SET done = {_WRITTEN} WHERE {outer}",
            self._put_replaced("NEW", "OLD"),
            *self._forget_replaced("NEW", "OLD"),
            self._put(
                op,
                tracked,
                f" FROM (SELECT 1) LEFT JOIN {NOTES} ON id = {own}"
                f" WHERE coalesce(done, 0) <> {_WRITTEN}",
            ),
            # What else is noted of this row is now as we left it, unless what is nested in us
            # went on from there.
            f"UPDATE {NOTES} SET {', '.join(renewed)} WHERE layout = {self._number} AND {is_row}"
            f" AND id IS NOT {own}"
            f" AND NOT EXISTS (SELECT 1 FROM {NOTES} AS x WHERE x.id = {own}"
            f" AND x.done = {_WRITTEN})",
            self._watch_new(own),
            f"DELETE FROM {NOTES} WHERE id = {own}",
            _TRIM,
        ]

    def _before_delete(self) -> list[TriggerSql]:
        body = []
        if self._is_entangled:
            # This deletion will be recorded for what it is, after what goes with it.
            body.append(self._forget_row())
            note = {"layout": str(self._number), "kind": str(_DELETING)}
            note |= {f"o{slot}": self._column("OLD", slot) for slot in self._values}
            body.append(
                f"INSERT INTO {NOTES} ({', '.join(note)})\n    VALUES ({', '.join(note.values())})"
            )
        # Rows that go with this one (CASCADE) must still find the subject through it.
        for column, path in self._paths_through():
            parent = quote_text(_parent_name(self._table.name, column))
            subject = self._follow(path, "OLD")
            body.append(
                f"INSERT INTO {NOTES} (layout, kind, o0, s0)\n    SELECT {parent}, {_PARENT}, "
                f"OLD.{quote_name(self._table.key[0])}, {subject}"
            )
        return [self._trigger("before_delete", "BEFORE DELETE", body)] if body else []

    def _after_delete(self) -> TriggerSql:
        old = {f"o{slot}": self._column("OLD", slot) for slot in self._values}
        subject = self._subjects("OLD", None)
        if not self._is_entangled:
            body = [self._put(str(OP_DELETE), {**subject, **old}), self._forget_row()]
        else:
            own = (
                f"(SELECT max(own.id) FROM {NOTES} AS own WHERE own.layout = {self._number} "
                f"AND own.kind = {_DELETING} AND {self._is_row('own', 'OLD')})"
            )
            tracked = {
                name: f"CASE WHEN id IS NULL THEN {value} ELSE {name} END"
                for name, value in old.items()
            }
            source = f" FROM (SELECT 1) LEFT JOIN {NOTES} ON id = {own}"
            body = [
                self._put(str(OP_DELETE), {**subject, **tracked}, source),
                f"DELETE FROM {NOTES} WHERE id = {own}",
                self._forget_row(),
            ]
            # A row that REPLACE deleted may take along the one that was to replace it: then no
            # other trigger fires.
            body += [self._put_replaced(None, None), *self._forget_replaced(None, None)]
            body.append(
                f"UPDATE {NOTES} SET done = {_GONE} WHERE layout = {self._number} AND "
                f"kind = {_UPDATING} AND done = {_OPEN} AND {self._is_row(NOTES, 'OLD')}"
            )
        for column, _ in self._paths_through():
            parent = quote_text(_parent_name(self._table.name, column))
            body.append(
                f"DELETE FROM {NOTES} WHERE layout = {parent} AND "
                f"o0 = OLD.{quote_name(self._table.key[0])}"
            )
        return self._trigger("after_delete", "AFTER DELETE", [*body, _TRIM])

    def _forget_row(self) -> str:
        return (
            f"DELETE FROM {NOTES} WHERE layout = {self._number} AND kind >= 0 AND "
            f"{self._is_row(NOTES, 'OLD')}"
        )

    def _paths_through(self) -> list[tuple[str, SubjectPath]]:
        """The rests of other tables' subject paths that go through this one, by column."""
        found = {}
        for other in self._schema.tables:
            path = self._policy.table(other.name).subject
            hops = path.hops if path is not None else ()
            for place in range(len(hops) - 1):
                if path and hops[place].table.lower() == self._table.name.lower():
                    rest = SubjectPath(path.kind, hops[place + 1 :])
                    found[rest.hops[0].column.lower()] = (rest.hops[0].column, rest)
        return list(found.values())

    def _of_keys(self) -> str:
        """` OF` the columns that can bring a row into conflict; empty where any may."""
        names = []
        for index in self._table.unique:
            for term in index.terms:
                column = self._table.column(term.column) if term.column else None
                if column is None or column.is_generated or index.where is not None:
                    return ""
                names.append(column.name)
        if self._table.rowid is not None:
            taken = {column.name.lower() for column in self._table.columns}
            # The names match what the statement says, not what it means.
            names += [name for name in ("rowid", "_rowid_", "oid") if name not in taken]
            names += self._table.key if self._table.is_rowid_key else ()
        return " OF " + ", ".join(quote_name(name) for name in dict.fromkeys(names))

    def _trigger(self, suffix: str, event: str, body: Sequence[str]) -> TriggerSql:
        name = trigger_name(self._table.name, suffix)
        statements = "".join(f"  {statement};\n" for statement in body)
        return TriggerSql(
            name,
            f"CREATE TRIGGER {quote_name(name)} {event} ON {self._name}\nBEGIN\n{statements}END",
        )


def _parent_name(table: str, column: str) -> str:
    return f"{table}.{column}".lower()
