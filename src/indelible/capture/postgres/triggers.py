"""Functions and triggers that capture one relation's writes: schema and layout in, SQL out. Pure.

Statement-level triggers copy whole transition tables into the outbox, old paired with new by their
order; no differences are worked out. Tables of an inheritance tree have triggers for each row, as
a parent's transition tables lack its children's columns.

Before a statement's rows are copied, a look finds out whether the columns are still those that the
function was made for: an expression that names them and reads nothing. After `ALTER TABLE` they may
not be: then what is left of a row is copied, beside which columns are gone. The application's
statement goes on.

Where writes to a table can be nested in each other, what a nested statement did is recorded before
the statement that it was nested in: triggers of a statement fire when it ends. There the first
trigger to record anything in one statement of a client's leaves a mark, and rows that come behind
it name that mark (`nest`) and what was at their places then (`left_old`, `left_new`). From these
whoever reads finds the order in which things happened (`nested_order`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from indelible.capture.outbox_layout import OP_DELETE, OP_INSERT, OP_UPDATE, Layout
from indelible.capture.postgres.names import AFTER_PREFIX, quote_name, quote_text
from indelible.capture.postgres.schema import PostgresSchema, Relation
from indelible.capture.postgres.values import settings_for
from indelible.policy.model import Hop, Policy

_ROW, _BEFORE, _INSERT, _DELETE, _UPDATE, _TRUNCATE = 1, 2, 4, 8, 16, 32
_COLUMNS: Final = "layout, op, depth, ctx, database_role, application, address"
_COMMON: Final = "_depth, _ctx, session_user, _application, _address"


class TriggerSql(msgspec.Struct, frozen=True):
    """One trigger of ours; `type` are the bits under which the catalogue has it."""

    name: str
    type: int
    function: str
    sql: str


class FunctionSql(msgspec.Struct, frozen=True):
    """One function of ours, by which a trigger is known."""

    name: str
    source: str
    settings: tuple[str, ...]
    sql: str


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """What captures one relation; neither function nor triggers where the log is read instead."""

    relation: Relation
    number: int
    layout: Layout
    function: FunctionSql | None = None
    triggers: tuple[TriggerSql, ...] = ()


def function_name(relation: Relation) -> str:
    """What the function for the writes to `relation` is called."""
    return f"write_{relation.oid}"


def capture_sql(
    schema: PostgresSchema,
    relation: Relation,
    layout: Layout,
    number: int,
    policy: Policy,
    *,
    is_entangled: bool,
) -> Captured:
    """Function and triggers for the writes to `relation` under the layout `number`."""
    writer = _Writer(schema, relation, layout, number, policy, is_entangled)
    function = writer.function()
    return Captured(
        relation=relation,
        number=number,
        layout=layout,
        function=function,
        triggers=tuple(_triggers(relation, function.name)),
    )


def can_look(layout: Layout) -> bool:
    """Whether rows that name a mark say what was at their places.

    A place needs a key. Of other types than PostgreSQL's own, whose names have a schema, `=` may be
    anything, or nothing.
    """
    return bool(layout.key) and not any("." in layout.slots[n].type for n in layout.key)


class _Writer:
    def __init__(
        self,
        schema: PostgresSchema,
        relation: Relation,
        layout: Layout,
        number: int,
        policy: Policy,
        is_entangled: bool,
    ) -> None:
        self._schema = schema
        self._relation = relation
        self._layout = layout
        self._number = number
        self._policy = policy
        self._is_entangled = is_entangled
        self._values = [s.column or "" for s in layout.slots if s.mode == "value"]
        self._changed = [s.column or "" for s in layout.slots if s.mode == "changed"]
        self._key = [layout.slots[place] for place in layout.key]
        self._looks = self._is_entangled and can_look(layout)

    def function(self) -> FunctionSql:
        name = function_name(self._relation)
        settings = {
            "search_path": "pg_catalog, pg_temp",
            **settings_for(slot.type for slot in self._layout.slots),
            # Else a session plans every statement anew once the first since the table was analyzed
            # had many rows: the plan kept for it seems dearer than a new one for few.
            "plan_cache_mode": "force_generic_plan",
        }
        if not self._relation.inherits:
            # Plans are kept, and made for few rows: the next statement may have many.
            settings["enable_nestloop"] = "off"
        if self._looks:
            # And the table may have grown since.
            settings["enable_seqscan"] = "off"
        if self._looks or not self._relation.inherits:
            # What can't do without is then reckoned so dear that it would be compiled, for 0.2 s.
            settings["jit"] = "off"
        if not self._relation.is_partitioned:
            settings["row_security"] = "off"
        source = self._source()
        clauses = "".join(
            f"\nSET {quote_name(key)} = " + (value if key == "search_path" else quote_text(value))
            for key, value in settings.items()
        )
        return FunctionSql(
            name,
            source,
            tuple(f"{key}={value}" for key, value in settings.items()),
            f"CREATE OR REPLACE FUNCTION indelible.{name}() RETURNS trigger LANGUAGE plpgsql "
            f"SECURITY DEFINER{clauses}\nAS $indelible${source}$indelible$",
        )

    def _source(self) -> str:
        write = self._write_rows if self._relation.inherits else self._write_statements
        variables, find_mark, leave_mark = self._marks() if self._is_entangled else ("", "", "")
        # A look that isn't taken costs, too: its plan is made ready.
        branch = f"  ELSIF _nest IS NULL THEN\n{write(looks=False)}" if self._looks else ""
        return f"""
#variable_conflict use_variable
DECLARE
  _depth integer := pg_trigger_depth();
  _ctx text := left(nullif(current_setting('indelible.ctx', true), ''), 65536);
  _application text := current_setting('application_name');
  _address text := host(inet_client_addr());
  _image text;
  _gone text;
{variables}BEGIN
  IF TG_RELID <> {self._relation.oid}::oid THEN
    PERFORM indelible.stray(TG_RELID);
    RETURN NULL;
  END IF;
  BEGIN
    -- Never evaluated, but parsed whenever the table was altered.
    _gone := CASE WHEN {quote_text(self._relation.quoted)}::regclass IS NULL
      THEN ROW({self._looked_at()})::text END;
  EXCEPTION WHEN OTHERS THEN
    SELECT a.image, a.gone INTO _image, _gone
      FROM indelible.altered(TG_RELID, {self._names()}) AS a;
  END;
{find_mark}  IF _image IS NOT NULL THEN
{self._write_altered()}{branch}  ELSE
{write(looks=self._looks)}  END IF;
{leave_mark}  RETURN NULL;
END
"""

    def _marks(self) -> tuple[str, str, str]:
        """A mark ends with its statement, with its transaction and with a savepoint rolled back.

        It is an id below all that the statement records of this table.
        """
        name = quote_text(f"indelible.n{self._relation.root}")
        return (
            """  _statement text := extract(epoch FROM statement_timestamp()) || ':';
  _mark text;
  _nest bigint;
  _begun bigint;
""",
            f"""  _mark := current_setting({name}, true);
  IF starts_with(_mark, _statement) THEN
    _nest := substr(_mark, length(_statement) + 1)::bigint;
  ELSE
    _begun := coalesce(pg_sequence_last_value('indelible.outbox_id_seq'), 0);
  END IF;
""",
            f"""  IF _begun IS NOT NULL AND (FOUND OR _nest IS NOT NULL OR _image IS NOT NULL) THEN
    _mark := set_config({name}, _statement || _begun, true);
  END IF;
""",
        )

    def select(self, alias: str) -> str:
        return f"SELECT {self.subject(alias)}, {self._image(alias)}"

    # -- one row at a time ----------------------------------------------------------------------

    def _write_rows(self, *, looks: bool) -> str:
        insert, delete, update = self._puts("OLD", "NEW", looks=looks)
        return f"""  IF TG_OP = 'INSERT' THEN
    {insert};
  ELSIF TG_OP = 'UPDATE' THEN
    {update};
  ELSIF TG_OP = 'DELETE' THEN
    {delete};
  ELSE
    {self._truncate()};
  END IF;
"""

    # -- one statement at a time ----------------------------------------------------------------

    def _write_statements(self, *, looks: bool) -> str:
        insert, delete, single = self._puts("o", "n", looks=looks)
        paired = self._put(
            OP_UPDATE,
            {
                "s0": "o.subject",
                "s1": "n.subject",
                "old": "o.image",
                "new": "n.image",
                "changed": self._bits("o.changed[{i}]", "n.changed[{i}]"),
                **(_left(("o.image", "o.here"), ("n.image", "n.here")) if looks else {}),
            },
        )
        truncate = ""
        if not self._relation.is_partitioned:
            truncate = f"  ELSIF TG_OP = 'TRUNCATE' THEN\n    {self._truncate()};\n"
        # Then even these two are in no order.
        is_nest = "    _nest := coalesce(_nest, _begun);\n" if self._is_entangled else ""
        come, gone, _ = self._puts("o", "n", looks=self._looks)
        return f"""  IF TG_OP = 'INSERT' THEN
    {insert} FROM new_rows AS n;
  ELSIF TG_OP = 'DELETE' THEN
    {delete} FROM old_rows AS o;
{truncate}  ELSE
    IF NOT EXISTS (SELECT FROM old_rows OFFSET 1)
      AND NOT EXISTS (SELECT FROM new_rows OFFSET 1) THEN
    {single} FROM old_rows AS o, new_rows AS n;
    END IF;
    IF FOUND THEN
      NULL; -- One row, as nearly always.
    ELSIF (SELECT count(*) FROM old_rows) = (SELECT count(*) FROM new_rows) THEN
    {paired}
    FROM ({self._numbered("old_rows", looks=looks)}) AS o
    JOIN ({self._numbered("new_rows", looks=looks)}) AS n USING (place) ORDER BY place;
    ELSE
    -- A row left one partition and a trigger kept it out of the other: nothing tells which.
{is_nest}    {gone} FROM old_rows AS o;
    {come} FROM new_rows AS n;
    END IF;
  END IF;
"""

    def _puts(self, old: str, new: str, *, looks: bool) -> tuple[str, str, str]:
        """One row inserted, deleted, updated."""
        before = {"s0": self.subject(old), "old": self._image(old)}
        after = {"s1": self.subject(new), "new": self._image(new)}
        changed = self._bits(f"ROW({old}.{{c}})::text", f"ROW({new}.{{c}})::text")
        left: list[dict[str, str]] = [{}, {}, {}]
        if looks:
            gone = (before["old"], self._here(old))
            come = (after["new"], self._here(new))
            left = [_left(None, come), _left(gone, None), _left(gone, come)]
        return (
            self._put(OP_INSERT, {**after, **left[0]}),
            self._put(OP_DELETE, {**before, **left[1]}),
            self._put(OP_UPDATE, {**before, **after, "changed": changed, **left[2]}),
        )

    # -- after ALTER TABLE, until `install` runs again -------------------------------------------

    def _looked_at(self) -> str:
        row = f"(NULL::{self._relation.quoted})"
        parts = [self.subject(row), self._image(row)]
        parts += [f"{row}.{quote_name(name)}" for name in self._changed]
        parts += [f"{row}.{name} = {row}.{name}" for name in self._key_names() if self._looks]
        return ", ".join(parts)

    def _names(self) -> str:
        return f"ARRAY[{', '.join(map(quote_text, self._values))}]::text[]"

    def _write_altered(self) -> str:
        nest, nest_of = "", ""
        if self._is_entangled:
            nest, nest_of = ", nest", ", ' || coalesce(_nest::text, 'NULL') || '"

        def put(op: int, columns: str, values: str, rows: str) -> str:
            return (
                f"    EXECUTE 'INSERT INTO indelible.outbox ({_COLUMNS}, {columns}, changed{nest}) "
                f"SELECT {self._number}, {op}, $1, $2, session_user, $3, $4, ' || {values} || "
                f"', $5{nest_of} FROM ' || {rows} USING _depth, _ctx, _application, _address, _gone"
            )

        if self._relation.inherits:
            row = "'(SELECT ($6).*) AS t'"
            pair = " || ', ' || ".join(
                f"'(SELECT ' || _image || ' AS image FROM (SELECT ({row}).*) AS t) AS {alias}'"
                for row, alias in (("$6", "o"), ("$7", "n"))
            )
            insert = put(OP_INSERT, "new", "_image", row) + ", NEW"
            delete = put(OP_DELETE, "old", "_image", row) + ", OLD"
            update = put(OP_UPDATE, "old, new", "'o.image, n.image'", pair) + ", OLD, NEW"
        else:
            insert = put(OP_INSERT, "new", "_image", "'new_rows AS t'")
            delete = put(OP_DELETE, "old", "_image", "'old_rows AS t'")
            update = put(
                OP_UPDATE,
                "old, new",
                "'o.image, n.image'",
                "'(SELECT row_number() OVER () AS place, ' || _image || ' AS image FROM old_rows "
                "AS t) AS o FULL JOIN (SELECT row_number() OVER () AS place, ' || _image || "
                "' AS image FROM new_rows AS t) AS n USING (place) ORDER BY place'",
            )
        truncate = put(OP_DELETE, "old", "_image", "'ONLY ' || TG_RELID::regclass || ' AS t'")
        return f"""    IF TG_OP = 'INSERT' THEN
{insert};
    ELSIF TG_OP = 'UPDATE' THEN
{update};
    ELSIF TG_OP = 'DELETE' THEN
{delete};
    ELSE
{truncate};
    END IF;
"""

    def _numbered(self, table: str, *, looks: bool) -> str:
        changed = ", ".join(f"ROW(r.{quote_name(name)})::text" for name in self._changed)
        also = f", ARRAY[{changed}] AS changed" if self._changed else ""
        if looks:
            also += f", {self._here('r')} AS here"
        return (
            f"SELECT row_number() OVER () AS place, {self._image('r')} AS image, "
            f"{self.subject('r')} AS subject{also} FROM {table} AS r"
        )

    # -- parts ----------------------------------------------------------------------------------

    def _truncate(self) -> str:
        put = self._put(OP_DELETE, {"s0": self.subject("t"), "old": self._image("t")})
        return f"{put} FROM ONLY {self._relation.quoted} AS t"

    def _put(self, op: int, values: dict[str, str]) -> str:
        if self._is_entangled:
            values = {**values, "nest": "_nest"}
        return (
            f"INSERT INTO indelible.outbox ({_COLUMNS}, {', '.join(values)})\n"
            f"    SELECT {self._number}, {op}, {_COMMON},\n      "
            + ",\n      ".join(values.values())
            + "\n   "
        )

    def _here(self, alias: str) -> str:
        """The image of the row that has the key of the row `alias` now."""
        only = "" if self._relation.is_partitioned else "ONLY "
        return (
            f"(SELECT {self._image('t')} FROM {only}{self._relation.quoted} AS t "
            f"WHERE {self._is_at(alias)} LIMIT 1)"
        )

    def _is_at(self, alias: str) -> str:
        """Whether `t` has the key of the row `alias`."""
        return " AND ".join(f"t.{name} = {alias}.{name}" for name in self._key_names())

    def _key_names(self) -> list[str]:
        return [quote_name(slot.column or "") for slot in self._key]

    def _image(self, alias: str) -> str:
        return f"ROW({', '.join(f'{alias}.{quote_name(name)}' for name in self._values)})::text"

    def _bits(self, old: str, new: str) -> str:
        """A digit for each column of which only that is kept."""
        if not self._changed:
            return "NULL"
        bits = (
            f"({old.format(c=quote_name(name), i=place)} "
            f"IS DISTINCT FROM {new.format(c=quote_name(name), i=place)})::integer"
            for place, name in enumerate(self._changed, start=1)
        )
        return f"concat({', '.join(bits)})"

    def subject(self, alias: str) -> str:
        """`=` and whose row it is; empty for nobody's, NULL for one that can't be found."""
        subject = self._layout.subject
        if subject is None or subject.source != "stored":
            return "NULL"
        path = self._policy.table(self._layout.table).subject
        return self._path(alias, path.hops, 0) if path is not None else "NULL"

    def _path(self, alias: str, hops: Sequence[Hop], depth: int) -> str:
        column = f"{alias}.{quote_name(self.exact(alias, hops, depth))}"
        if depth == len(hops) - 1:
            found = f"format('=%s', {column})"
        else:
            parent = self._schema.tables.table(hops[depth].table)
            oid = next(
                oid
                for oid, name in self._schema.table_of.items()
                if parent is not None and self._schema.tables.tables[name] is parent
            )
            row = f"p{depth}"
            key = quote_name(parent.key[0]) if parent is not None else ""
            found = (
                f"(SELECT {self._path(row, hops, depth + 1)} "
                f"FROM {self._schema.relations[oid].quoted} AS {row} WHERE {row}.{key} = {column})"
            )
        return f"CASE WHEN {column} IS NULL THEN '' ELSE {found} END"

    def exact(self, alias: str, hops: Sequence[Hop], depth: int) -> str:
        """The column as the table has it: policies don't tell upper from lower case."""
        name = self._layout.table if depth == 0 else hops[depth - 1].table
        table = self._schema.tables.table(name)
        column = table.column(hops[depth].column) if table is not None else None
        return column.name if column is not None else hops[depth].column


def _left(gone: tuple[str, str] | None, come: tuple[str, str] | None) -> dict[str, str]:
    """What is at the places of rows that went or came, where that isn't what the write left there.

    Both are given as the row's image, and as what is at its place.
    """
    found = {}
    if gone is not None:
        # Under an unchanged key both are one place.
        found["left_old"] = gone[1] if come is None else f"nullif({gone[1]}, {come[1]})"
    if come is not None:
        image, here = come
        found["left_new"] = (
            f"CASE WHEN {here} IS DISTINCT FROM {image} THEN coalesce({here}, '') END"
        )
    return found


def _triggers(relation: Relation, function: str) -> list[TriggerSql]:
    found = []
    for event, bit, tables in (
        ("INSERT", _INSERT, "NEW TABLE AS new_rows"),
        ("UPDATE", _UPDATE, "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        ("DELETE", _DELETE, "OLD TABLE AS old_rows"),
    ):
        scope = "FOR EACH ROW" if relation.inherits else f"REFERENCING {tables} FOR EACH STATEMENT"
        found.append(
            _trigger(
                f"{AFTER_PREFIX}{event.lower()}",
                bit | (_ROW if relation.inherits else 0),
                relation,
                f"AFTER {event}",
                scope,
                function,
            )
        )
    if not relation.is_partitioned:
        found.append(
            _trigger(
                f"{AFTER_PREFIX}truncate",
                _BEFORE | _TRUNCATE,
                relation,
                "BEFORE TRUNCATE",
                "FOR EACH STATEMENT",
                function,
            )
        )
    return found


def _trigger(
    name: str, bits: int, relation: Relation, event: str, scope: str, function: str
) -> TriggerSql:
    return TriggerSql(
        name,
        bits,
        function,
        f"CREATE TRIGGER {quote_name(name)} {event} ON {relation.quoted} {scope} "
        f"EXECUTE FUNCTION indelible.{function}()",
    )


def subject_sql(
    schema: PostgresSchema, relation: Relation, layout: Layout, policy: Policy
) -> tuple[str, str] | None:
    """The column on which the path of a subject begins that has to be looked up, and the query that
    gives it for the text of such a value, as a trigger would write it; None for no such path."""
    path = policy.table(layout.table).subject
    if path is None or layout.subject is None or layout.subject.source != "stored":
        return None
    writer = _Writer(schema, relation, layout, 0, policy, False)
    column = writer.exact("t", path.hops, 0)
    name = quote_name(column)
    # The first of the two only lends its type.
    typed = f"SELECT (NULL::{relation.quoted}).{name} AS {name}"
    query = f"SELECT {writer.subject('t')} FROM ({typed} UNION ALL SELECT ".replace("%", "%%")
    end = f") AS t WHERE t.{name} IS NOT NULL".replace("%", "%%")
    return column, f"{query}%s{end}"


def baseline_sql(schema: PostgresSchema, relation: Relation, layout: Layout, policy: Policy) -> str:
    """Every row of `relation`, as triggers would write it: its subject and its image."""
    writer = _Writer(schema, relation, layout, 0, policy, False)
    only = "ONLY " if relation.inherits else ""
    return writer.select("t") + f" FROM {only}{relation.quoted} AS t"
