"""Carry keys from base tables out to a select list, by hidden columns spliced in on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from msgspec.structs import replace as replace_fields
from sqlglot import exp

from indelible.capture.schema import Table
from indelible.capture.statements.arms import handed_on, hands_out, joined_arms, slots_of
from indelible.capture.statements.carried import Carried, Inexact
from indelible.capture.statements.concealment import check_concealed
from indelible.capture.statements.edits import Edits
from indelible.capture.statements.plan import Taken
from indelible.capture.statements.reach import key_among, keys_in_reach
from indelible.capture.statements.sources import Items, Scope, Source, read_items, resolve_scope
from indelible.capture.statements.statement import NamedQuery, Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    has_bare_extreme,
    has_filters,
    has_value_windows,
    is_aggregated,
    value_subqueries,
)
from indelible.capture.statements.view_keys import View
from indelible.events.model import Coverage

_WHOLE_TABLE: Final = "an aggregate over every row"
_FILTERED: Final = "an aggregate that passes over some rows of its group"


class Exposing:
    """One attempt at one text. After `take` its edits, and what it couldn't name, stand in it.

    `add_companion` is asked for a derived table whose rows can't carry keys (DISTINCT, UNION);
    it raises `NotUnderstoodError` where there can't be one.
    """

    def __init__(
        self,
        statement: Statement,
        *,
        with_subjects: bool,
        add_companion: Callable[[exp.Expr, Mapping[str, NamedQuery], bool], None],
    ) -> None:
        self._statement = statement
        self._dialect = statement.dialect
        self._with_subjects = with_subjects
        self._add_companion = add_companion
        self._carried_by: dict[int, list[Carried]] = {}
        self._names = 0
        self._exposing: set[int] = set()
        self._recurring: set[str] = set()
        self.views: dict[str, View] = {}
        self.edits = Edits()
        self.inexact: list[Inexact] = []
        self.hidden = 0
        self.is_stamped = False
        self.needs_all = False
        """Whether keys may stand in other rows than what they name."""
        self.names: tuple[str, ...] = ()
        self.starred = False
        self.checked_names: tuple[tuple[int, str], ...] = ()

    def take(
        self,
        select: exp.Select,
        named: Mapping[str, NamedQuery],
        *,
        converted: bool,
        grouped: bool = False,
        values: Iterable[exp.Subquery | exp.Query] = (),
    ) -> list[tuple[Carried, Taken]]:
        """Where the keys of each base table will stand in the rows of `select`.

        `grouped`: have its DISTINCT as GROUP BY. `values` are queries in its select list, whose
        rows are to be named as well.
        """
        scope = resolve_scope(select, self._statement.names(named))
        items = read_items(select, scope)
        aggregated = grouped or is_aggregated(select)
        carried = self._carried(select, scope, items, named, is_only=self._is_sole(select, scope))
        columns: list[str] = []
        found: list[tuple[Carried, Taken]] = []
        if grouped and carried:
            self._group(select, items)
        for one in carried:
            selected = None
            if not converted and not aggregated:
                selected = key_among(items, one, self._dialect)
            found.append((one, self._taken(one, selected, columns, aggregated)))
        for value in values:
            found += self._of_value(value, named, columns)
        columns += self._stamp()
        self.starred = items.starred and bool(self.edits.made)
        self._check_concealed(select, items)
        if columns:
            self.names = tuple(self._name() for _ in columns)
            self._splice(select, columns, self.names)
        self.hidden = len(columns)
        if items.has_star:
            used = {place for _, taken in found for place in (*taken.key, taken.subject)}
            self.checked_names = tuple(
                (place, name) for place, name in items.names.items() if place in used
            )
        is_unique = (
            len(scope.sources) == 1
            and scope.sources[0].table is not None
            and scope.sources[0].view is None
            and not self._dialect.multiplies_rows(self._statement)
        )
        return [
            (one, replace_fields(_from_the_end(taken, len(columns)), unique=is_unique))
            for one, taken in found
        ]

    def take_joined(
        self, tree: exp.SetOperation, named: Mapping[str, NamedQuery]
    ) -> list[tuple[Carried, Taken]]:
        """Where the keys of each base table will stand in the rows of a UNION ALL."""
        found = []
        hidden = 0
        arms = joined_arms(tree, self._statement)
        for one, taken in self._expose_joined(tree, arms, named, with_stamp=True):
            end = hidden + len(one.columns_taken)
            places = tuple(range(_HIDDEN + hidden, _HIDDEN + end))
            subject = None
            if one.subject is not None:
                places, subject = places[:-1], places[-1]
            found.append((one, replace_fields(taken, key=places, subject=subject)))
            hidden = end
        for select in arms:
            self._check_concealed(select, Items())
        hidden += self.is_stamped
        self.hidden = hidden
        return [(one, _from_the_end(taken, hidden)) for one, taken in found]

    def take_numbered(
        self,
        tree: exp.Expr,
        arms: Sequence[exp.Select],
        named: Mapping[str, NamedQuery],
        keyed: int,
    ) -> list[Carried]:
        """What carries the keys of the first `keyed` of the `arms` of `tree`, in columns that have
        the same names in all of them; the last one, `names[-1]`, has the arm's number."""
        exposed = self._expose_joined(tree, arms, named, keyed=keyed)
        for select in arms:
            self._check_concealed(select, Items())
        return [one for one, _ in exposed]

    def _stamp(self) -> list[str]:
        """The hidden column that shows, at the end, whether views are as they were read."""
        self.is_stamped = bool(self.views)
        return [self._dialect.stamp(self.views.values())] if self.views else []

    def _group(self, select: exp.Select, items: Items) -> None:
        arm = self._statement.arm(select)
        if items.starred or arm.distinct is None:
            raise NotUnderstoodError("DISTINCT over columns that we can't count")
        places = ", ".join(str(place + 1) for place in range(items.width))
        self.edits.made += [(*arm.distinct, ""), (arm.end, arm.end, f" GROUP BY {places}")]

    def _of_value(
        self, value: exp.Subquery | exp.Query, named: Mapping[str, NamedQuery], columns: list[str]
    ) -> list[tuple[Carried, Taken]]:
        """The keys of the rows behind a value: by the same query once more, beside it."""
        statement = self._statement
        select = value.unnest()
        try:
            if not isinstance(select, exp.Select):
                raise NotUnderstoodError("a set operation as a value")
            query = statement.query(select)
            self._dialect.check_written_twice(statement, query.start, query.end)
            inner = Exposing(
                statement, with_subjects=self._with_subjects, add_companion=self._add_companion
            )
            exposed = inner._expose_select(_derivable(select, statement), named, None)
        except NotUnderstoodError as problem:
            self._note_all(value, str(problem), named)
            return []
        self.inexact += inner.inexact
        self.views.update(inner.views)
        text = inner.edits.apply(statement.text, query.start, query.end)
        found = []
        for one in exposed:
            alias = self._name()
            under = one.qualified(f"{alias}.")
            if one.array is None:
                (expression,), taken = self._dialect.hidden_columns(under, aggregated=True)
            else:
                (expression,), taken = under.key, one.array
            columns.append(f"(SELECT {expression} FROM ({text}) AS {alias})")
            place = _HIDDEN + len(columns) - 1
            found.append((one, replace_fields(taken, key=(place,), optional=True)))
        return found

    def _taken(
        self, one: Carried, selected: Taken | None, columns: list[str], aggregated: bool
    ) -> Taken:
        """Add the hidden columns that `one` needs; positions count from 10,000 for now."""
        if selected is not None:
            if one.subject is None or selected.subject is not None:
                return selected
            column, taken = self._dialect.with_hidden_subject(one, selected, _HIDDEN + len(columns))
            columns.append(column)
            return taken
        expressions, taken = self._dialect.hidden_columns(one, aggregated=aggregated)
        start = _HIDDEN + len(columns)
        columns += expressions
        places = tuple(range(start, start + len(expressions)))
        if taken.array or one.subject is None:
            return replace_fields(taken, key=places)
        return replace_fields(taken, key=places[:-1], subject=places[-1])

    def _carried(
        self,
        select: exp.Select,
        scope: Scope,
        items: Items,
        named: Mapping[str, NamedQuery],
        *,
        is_only: bool,
    ) -> list[Carried]:
        """The keys within reach of `select`; what has none is noted as inexact."""
        aggregated = is_aggregated(select)
        if aggregated and self._is_unrestricted(select, scope):
            for _, table in scope.tables():
                self._note(table, "superset", _WHOLE_TABLE)
            return []
        carried: list[Carried] = []
        for source in scope.sources:
            if source.table is not None and _is_only_tested(source, items):
                continue
            if source.table is not None:
                found, inexact = keys_in_reach(
                    self._statement,
                    source,
                    items,
                    new_name=self._name if self._with_subjects else None,
                )
                carried += found
                self.inexact += inexact
                if source.view is not None and found:
                    self.views[source.view.shape.name] = source.view
            elif source.behind:
                for table in source.behind:
                    self._note(table, "statement", source.why)
            elif source.query is not None or source.cte is not None:
                inner = self._from_query(select, source, named, is_only=is_only)
                if inner and scope.natural:
                    raise NotUnderstoodError("a NATURAL join of a derived table")
                carried += inner
        if aggregated and has_filters(select):
            for one in carried:
                self._note(one.table, "superset", _FILTERED)
        return carried

    def _from_query(
        self,
        select: exp.Select,
        source: Source,
        named: Mapping[str, NamedQuery],
        *,
        is_only: bool,
    ) -> list[Carried]:
        """The keys that a derived table or a named query hands out to `select`, under `source`'s
        alias."""
        columns_end = None
        if source.cte is not None:
            cte = named[source.cte]
            tree, columns_end = cte.tree, cte.columns_end
            if source.cte in self._recurring:
                return []  # rows that were handed out before
            if cte.is_recursive:
                try:
                    self._check_recursion(cte, select, source, named, is_only=is_only)
                except NotUnderstoodError as problem:
                    self._note_all(tree, str(problem), named)
                    return []
        else:
            assert source.query is not None  # noqa: S101 - what resolve_scope promises
            tree = source.query
        qualifier = f"{self._dialect.quote_name(source.alias)}." if source.alias else ""
        if id(tree) not in self._carried_by:
            self._carried_by[id(tree)] = self._expose(
                tree, named, columns_end, source.cte, is_only=is_only
            )
        return [
            replace(one.qualified(qualifier), optional=one.optional or source.optional)
            for one in self._carried_by[id(tree)]
        ]

    def _expose(
        self,
        tree: exp.Expr,
        named: Mapping[str, NamedQuery],
        columns_end: int | None,
        cte: str | None,
        *,
        is_only: bool,
    ) -> list[Carried]:
        """Splice the keys into the select list of the derived table `tree`, `cte` if it has that
        name."""
        if id(tree) in self._exposing:
            raise NotUnderstoodError("queries that refer to each other")
        self._exposing.add(id(tree))
        edits, inexact = len(self.edits.made), len(self.inexact)
        known = self._carried_by.copy()
        is_recursive = cte is not None and named[cte].is_recursive
        try:
            if not isinstance(tree, exp.SetOperation):
                return self._expose_select(_derivable(tree, self._statement), named, columns_end)
            if cte is not None and is_recursive:
                self._recurring.add(cte)
            arms = joined_arms(tree, self._statement)
            joined = [one for one, _ in self._expose_joined(tree, arms, named)]
            names = [name for one in joined for name in one.columns_taken]
            if columns_end is not None and names:
                self.edits.made.append((columns_end, columns_end, ", " + ", ".join(names)))
            return joined
        except NotUnderstoodError as problem:
            del self.edits.made[edits:]
            del self.inexact[inexact:]
            self._carried_by = known
            try:
                if is_recursive:
                    raise
                self._add_companion(tree, named, is_only)
            except NotUnderstoodError:
                self._note_all(tree, str(problem), named)
            return []
        finally:
            self._exposing.discard(id(tree))
            if cte is not None:
                self._recurring.discard(cte)

    def _check_recursion(
        self,
        cte: NamedQuery,
        select: exp.Select,
        source: Source,
        named: Mapping[str, NamedQuery],
        *,
        is_only: bool,
    ) -> None:
        """Raises `NotUnderstoodError` where a row of `cte` may hold what rows before it did, and
        `select` may hand that out, but not all rows."""
        if not cte.may_recur:
            raise NotUnderstoodError("a query that may mean itself or a table")
        statement = self._statement
        arms = joined_arms(cte.tree, statement)
        names = statement.names(named)
        on = handed_on(cte, arms, lambda arm: resolve_scope(arm, names))
        if not hands_out(select, source, on):
            return
        has_all = is_only and not statement.query(arms[0]).limited
        if not has_all or self._dialect.multiplies_rows(statement):
            raise NotUnderstoodError("a recursive query whose rows hold what others said")
        self.needs_all = True

    def _expose_joined(
        self,
        tree: exp.Expr,
        arms: Sequence[exp.Select],
        named: Mapping[str, NamedQuery],
        *,
        with_stamp: bool = False,
        keyed: int | None = None,
    ) -> list[tuple[Carried, Taken]]:
        """Splice the keys into each arm of a UNION ALL; with `keyed` into so many, and its number
        into each."""
        statement = self._statement
        named = statement.named_queries(tree, statement.query(arms[0]), named)
        carried: list[list[Carried]] = []
        for number, select in enumerate(arms):
            select = _derivable(select, statement, is_set=keyed is not None)
            scope = resolve_scope(select, statement.names(named))
            items = read_items(select, scope)
            if items.starred:
                raise NotUnderstoodError("a star over a derived table")
            if keyed is not None and number >= keyed:
                carried.append([])
                continue
            found = self._carried(select, scope, items, named, is_only=False)
            if found and is_aggregated(select):
                raise NotUnderstoodError("groups beside other rows")
            for subquery in value_subqueries(select):
                self._note_all(subquery, "a subquery in a set operation", named)
            carried.append(found)
        exposed = []
        columns: list[list[str]] = [[] for _ in arms]
        for slot in slots_of(carried, self._dialect):
            if self._recurring and self._dialect.types_by_anchor and not slot.is_in_first:
                raise NotUnderstoodError("a recursive query that begins without the table")
            names = [self._name() for _ in slot.columns[0]]
            for own, expressions in zip(columns, slot.columns, strict=True):
                own += expressions
            has_subject = slot.one.subject is not None
            one = replace(
                slot.one,
                key=tuple(names[:-1] if has_subject else names),
                subject=names[-1] if has_subject else None,
                alias=None,
                guarded=True,
            )
            exposed.append((one, slot.taken))
        every = [name for one, _ in exposed for name in one.columns_taken]
        last = [[f"{number}"] * (keyed is not None) for number in range(len(arms))]
        if with_stamp:
            last = [self._stamp() for _ in arms]
        every += [self._name() for _ in last[0]]
        for own, more in zip(columns, last, strict=True):
            own += more
        for select, expressions in zip(arms, columns, strict=True):
            self._splice(select, expressions, every)
        self.names = tuple(every)
        return exposed

    def _expose_select(
        self, select: exp.Select, named: Mapping[str, NamedQuery], columns_end: int | None
    ) -> list[Carried]:
        named = self._statement.named_queries(select, self._statement.query(select), named)
        scope = resolve_scope(select, self._statement.names(named))
        items = read_items(select, scope)
        carried = self._carried(select, scope, items, named, is_only=False)
        if items.has_star and any(one.alias is None for one in carried):
            raise NotUnderstoodError("a star over a derived table")
        for subquery in value_subqueries(select):
            self._note_all(subquery, "a subquery in a derived table", named)
        aggregated = is_aggregated(select)
        columns: list[str] = []
        names: list[str] = []
        exposed = []
        for one in carried:
            expressions, taken = self._dialect.hidden_columns(one, aggregated=aggregated)
            inner = [self._name() for _ in expressions]
            columns += expressions
            names += inner
            with_subject = one.subject is not None and not taken.array
            exposed.append(
                replace(
                    one,
                    key=tuple(inner[:-1] if with_subject else inner),
                    subject=inner[-1] if with_subject else None,
                    alias=None,
                    guarded=True,
                    array=taken if taken.array else None,
                )
            )
        if columns:
            self._splice(select, columns, names)
            if columns_end is not None:
                self.edits.made.append((columns_end, columns_end, ", " + ", ".join(names)))
        return exposed

    def _splice(self, select: exp.Select, columns: Sequence[str], names: Sequence[str]) -> None:
        at = self._statement.arm(select).list_end
        text = "".join(f", {column} AS {name}" for column, name in zip(columns, names, strict=True))
        self.edits.made.append((at, at, text))

    def _name(self) -> str:
        self._names += 1
        return self._dialect.quote_name(f"{self._statement.prefix}{self._names}")

    def _check_concealed(self, select: exp.Select, items: Items) -> None:
        if self.edits.made:
            check_concealed(self._statement, select, items)

    def _is_unrestricted(self, select: exp.Select, scope: Scope) -> bool:
        """Whether an aggregate takes in every row of one table: its keys aren't worth an array."""
        return (
            len(scope.sources) == 1
            and scope.sources[0].table is not None
            and scope.sources[0].view is None
            and select.args.get("where") is None
            and select.args.get("group") is None
        )

    def _is_sole(self, select: exp.Select, scope: Scope) -> bool:
        """Whether every row of the one derived table is handed out or aggregated."""
        distinct = select.args.get("distinct")
        return (
            len(scope.sources) == 1
            and (distinct is None or distinct.args.get("on") is None)
            and not any(
                select.args.get(clause) is not None
                for clause in ("where", "having", "limit", "offset")
            )
        )

    def _note(self, table: Table, coverage: Coverage, why: str) -> None:
        self.inexact.append(Inexact(table, coverage, why))

    def _note_all(self, tree: exp.Expr, why: str, named: Mapping[str, NamedQuery]) -> None:
        for table in self._statement.tables_read_by(tree, named):
            self._note(table, "statement", why)


_HIDDEN: Final = 10_000
"""Positions from here on are hidden columns, until their number is known."""


def _derivable(tree: exp.Expr, statement: Statement, *, is_set: bool = False) -> exp.Select:
    """`tree`, if its rows can carry keys; equal ones may be one where it `is_set`."""
    if not isinstance(tree, exp.Select):
        raise NotUnderstoodError("a set operation in a derived table")
    if statement.arm(tree).distinct and not is_set:
        raise NotUnderstoodError("DISTINCT in a derived table")
    if has_value_windows(tree):
        raise NotUnderstoodError("a window function in a derived table")
    if statement.dialect.has_bare_columns and has_bare_extreme(tree):
        raise NotUnderstoodError("columns beside min or max in a derived table")
    return tree


def _from_the_end(taken: Taken, hidden: int) -> Taken:
    def settle(place: int) -> int:
        return place - _HIDDEN - hidden if place >= _HIDDEN else place

    return replace_fields(
        taken,
        key=tuple(map(settle, taken.key)),
        subject=None if taken.subject is None else settle(taken.subject),
    )


def _is_only_tested(source: Source, items: Items) -> bool:
    """Whether a joined table hands out no value while another does: it is consulted, not read."""
    return bool(items.columns) and not items.columns.get(source.alias)
