"""Queries of keys that go with a statement: run in its snapshot, or put inside of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace
from sqlglot import exp

from indelible.capture.statements.arms import arms_of
from indelible.capture.statements.carried import Inexact
from indelible.capture.statements.exposing import Exposing
from indelible.capture.statements.left_rows import is_left, keyed_arms, takes_out
from indelible.capture.statements.plan import Companion, Taken
from indelible.capture.statements.sources import read_items, resolve_scope
from indelible.capture.statements.spans import Query
from indelible.capture.statements.statement import NamedQuery, Statement
from indelible.capture.statements.syntax import (
    NotUnderstoodError,
    has_value_windows,
    is_aggregated,
)
from indelible.capture.statements.targets import Targets
from indelible.capture.statements.view_keys import View


class Companions:
    """The companions of one statement; `views` are those that they take keys from.

    Without `may_add` there can't be one.
    """

    def __init__(
        self,
        statement: Statement,
        targets: Targets,
        *,
        with_subjects: bool,
        may_add: bool = True,
    ) -> None:
        self._statement = statement
        self._targets = targets
        self._with_subjects = with_subjects
        self._may_add = may_add
        self.made: list[Companion] = []
        self.views: dict[str, View] = {}

    def add(self, tree: exp.Expr, named: Mapping[str, NamedQuery], is_whole: bool) -> None:
        """Fetch the keys of every row that `tree` is made of.

        `is_whole`: all rows of `tree` are handed out in the end; otherwise these keys are a
        superset. Raises `NotUnderstoodError`.
        """
        self._check_repeatable()
        arms = list(arms_of(tree))
        if not arms:
            return
        query = self._statement.query(arms[0])
        if any(self._statement.arm(select) not in query.arms for select in arms):
            raise NotUnderstoodError("a set operation that the parser reads otherwise")
        why = None
        if not is_whole:
            why = "rows of a derived table, not all of which need be handed out"
        elif query.limited:
            why = "LIMIT over rows that stand for several"
        elif any(map(takes_out, query.operators)):
            why = "rows that another query may have taken out"
            if self._add_left(tree, arms, named):
                return
        for select in arms:
            number = query.arms.index(self._statement.arm(select))
            if number and query.operators[number - 1].startswith("EXCEPT"):
                continue
            self._add_arm(
                select, named, why=why, end=self._statement.arm(select).end, is_whole=is_whole
            )

    def may_take(self, value: exp.Subquery | exp.Query, named: Mapping[str, NamedQuery]) -> bool:
        """Whether the rows behind a value can be asked for in a query by itself."""
        select = value.unnest()
        return self._statement.dialect.has_companions and not (
            isinstance(select, exp.Select) and self._is_correlated(select, named)
        )

    def add_value(
        self, subquery: exp.Subquery | exp.Query, named: Mapping[str, NamedQuery]
    ) -> None:
        """Fetch the keys of the row that a scalar subquery in the select list hands out."""
        select = subquery.unnest()
        try:
            if not isinstance(select, exp.Select):
                raise NotUnderstoodError("a set operation as a value")
            if self._is_correlated(select, named):
                raise NotUnderstoodError("a correlated subquery")
            self._check_repeatable()
            if self._statement.arm(select).distinct or has_value_windows(select):
                raise NotUnderstoodError("DISTINCT or a window function in a value")
            self._add_arm(
                select,
                named,
                end=self._statement.query(select).end,
                is_whole=False,
                is_value=True,
            )
        except NotUnderstoodError as problem:
            self._targets.lower(
                Inexact(table, "statement", str(problem))
                for table in self._statement.tables_read_by(subquery, named)
            )

    def _check_repeatable(self) -> None:
        if not self._may_add:
            raise NotUnderstoodError("rows that stand for several, which can't be asked for again")
        self._statement.dialect.check_repeatable(self._statement)

    def _add_arm(
        self,
        select: exp.Select,
        named: Mapping[str, NamedQuery],
        *,
        end: int,
        is_whole: bool,
        why: str | None = None,
        is_value: bool = False,
    ) -> None:
        statement = self._statement
        arm, query = statement.arm(select), statement.query(select)
        exposing = self._exposing(is_whole=is_whole and why is None)
        if query is not statement.spans.query:
            named = statement.named_queries(select, query, named)
        taken = exposing.take(select, named, converted=True)
        self._targets.lower(exposing.inexact)
        if not taken:
            return
        self.views.update(exposing.views)
        if arm.distinct:
            exposing.edits.made.append((*arm.distinct, ""))
        head = self._head(select, query, named)
        # Its own columns may be converted by the application or not be UTF-8: only ours come out.
        text = exposing.edits.apply(statement.text, *head) + " "
        text += exposing.edits.apply(statement.text, arm.start, end)
        if why is not None:
            self._targets.lower(Inexact(one.table, "superset", why) for one, _ in taken)
        self._add(
            text,
            (head, (arm.start, end)),
            exposing.names,
            [(self._targets.number(one), place) for one, place in taken],
            whole=not is_value and not _is_one_row(select),
            single=is_value and not is_aggregated(select),
        )

    def _exposing(self, *, is_whole: bool) -> Exposing:
        """For a part of the statement; `is_whole`: all of its rows are handed out in the end."""

        def add(tree: exp.Expr, named: Mapping[str, NamedQuery], is_only: bool) -> None:
            self.add(tree, named, is_whole and is_only)

        return Exposing(self._statement, with_subjects=self._with_subjects, add_companion=add)

    def _add(
        self,
        text: str,
        spans: Sequence[tuple[int, int]],
        names: Sequence[str],
        taken: Iterable[tuple[int, Taken]],
        *,
        whole: bool,
        single: bool = False,
    ) -> None:
        """`text` is made of these `spans` of the statement's."""
        statement = self._statement
        found = [statement.parameters_in(*span) for span in spans]
        self.made.append(
            Companion(
                statement.dialect.companion(statement, text, names),
                tuple(each for parameters, _ in found for each in parameters),
                tuple(each for _, runs in found for each in runs),
                tuple(taken),
                whole=whole,
                single=single,
            )
        )

    def _add_left(
        self, tree: exp.Expr, arms: Sequence[exp.Select], named: Mapping[str, NamedQuery]
    ) -> bool:
        """Fetch the keys of the rows that EXCEPT and INTERSECT leave, if that can be told."""
        statement, dialect = self._statement, self._statement.dialect
        query = statement.query(arms[0])
        if dialect.has_companions or [statement.arm(select) for select in arms] != query.arms:
            return False
        exposing = self._exposing(is_whole=False)
        try:
            keyed = keyed_arms(query.operators)
            head = self._head(tree, query, named)
            carried = exposing.take_numbered(tree, arms, named, keyed)
        except NotUnderstoodError:
            return False
        self._targets.lower(exposing.inexact)
        if not carried:
            return True
        self.views.update(exposing.views)
        for arm, following in itertools.pairwise(query.arms):
            exposing.edits.made.append((arm.end, following.start, " UNION ALL "))
        for arm in query.arms:
            if arm.distinct:
                exposing.edits.made.append((*arm.distinct, ""))
        names = statement.names(statement.named_queries(tree, query, named))
        width = read_items(arms[0], resolve_scope(arms[0], names)).width

        def own(name: str) -> str:
            return dialect.quote_name(statement.prefix + name)

        compared = ", ".join(own(f"c{place}") for place in range(width))
        arrays, taken = [], []
        for place, one in enumerate(carried):
            (array,), how = dialect.hidden_columns(one, aggregated=True)
            arrays.append(array)
            taken.append((self._targets.number(one), replace(how, key=(place,))))
        hidden = [own(f"k{place}") for place in range(len(arrays))]
        spans = (head, (query.arms[0].start, query.arms[-1].end))
        text = (
            f"WITH {own('x')} ({', '.join((compared, *exposing.names))}) AS ("
            + " ".join(exposing.edits.apply(statement.text, *span) for span in spans)
            + ") SELECT "
            + ", ".join(f"{array} AS {name}" for array, name in zip(arrays, hidden, strict=True))
            + f" FROM {own('x')} GROUP BY {compared} "
            f"HAVING {is_left(query.operators, exposing.names[-1])}"
        )
        self._add(text, spans, hidden, taken, whole=True)
        return True

    def _head(
        self, tree: exp.Expr, query: Query, named: Mapping[str, NamedQuery]
    ) -> tuple[int, int]:
        """The WITH clause that goes before a companion of `tree`: the statement's, or the query's
        own. Raises `NotUnderstoodError` where `tree` means what another one says: without it a name
        could be a table's."""
        root = self._statement.spans.query
        is_own = query.start == root.start or not root.ctes
        head = query if is_own else root
        used = {table.name.lower() for table in tree.find_all(exp.Table) if not table.db}
        if (not is_own and query.ctes) or used & (named.keys() - head.ctes.keys()):
            raise NotUnderstoodError("a WITH clause inside of another")
        return head.start, head.arms_start

    def _is_correlated(self, select: exp.Select, named: Mapping[str, NamedQuery]) -> bool:
        """Whether the query may depend on the row that it stands beside."""
        aliases: set[str] = set()
        columns: set[str] = {"rowid", "_rowid_", "oid"}
        for table in select.find_all(exp.Table):
            aliases.add(table.alias_or_name.lower())
            for shape in self._statement.dialect.tables_behind(table, self._statement.schema):
                columns.update(name.lower() for name in shape.names)
        for subquery in select.find_all(exp.Subquery):
            aliases.add(subquery.alias.lower())
        columns.update(alias.alias.lower() for alias in select.find_all(exp.Alias))
        for column in select.find_all(exp.Column):
            if column.table:
                if column.table.lower() not in aliases:
                    return True
            elif not isinstance(column.this, exp.Star) and column.name.lower() not in columns:
                return True
        return False


def _is_one_row(select: exp.Select) -> bool:
    """Whether its one row stands for everything, so that handing it out hands out all."""
    return is_aggregated(select) and select.args.get("group") is None
