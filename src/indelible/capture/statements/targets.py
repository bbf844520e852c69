"""What becomes known of each table that a statement reads, while its parts are planned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from indelible.capture.schema import Table
from indelible.capture.statements.carried import Carried, Inexact
from indelible.capture.statements.plan import Plan, Taken, TargetPlan
from indelible.capture.statements.statement import Statement
from indelible.events.model import Coverage

_ORDER: Final[dict[Coverage, int]] = {"exact": 0, "superset": 1, "statement": 2}


@dataclass(slots=True)
class _Gathered:
    table: Table
    columns: set[str] = field(default_factory=set)
    taken: list[Taken] = field(default_factory=list)
    coverage: Coverage = "exact"
    why: str | None = None


def worst_coverage(plan: Plan) -> int:
    """0 where it is exact for every table, more the less is known."""
    return max((_ORDER[target.coverage] for target in plan.targets), default=0)


class Targets:
    """What is known of each table that the statement reads; its parts add to it."""

    def __init__(self, statement: Statement) -> None:
        self._policy = statement.policy
        self._gathered: dict[str, _Gathered] = {}

    def take(self, found: Iterable[tuple[Carried, Taken]]) -> None:
        """These keys stand in the statement's own rows."""
        for carried, taken in found:
            gathered = self._of(carried.table)
            gathered.columns |= carried.columns
            gathered.taken.append(taken)

    def number(self, carried: Carried) -> int:
        """Which target this is, for keys that a companion fetches."""
        self._of(carried.table).columns |= carried.columns
        return list(self._gathered).index(carried.table.name)

    def lower(self, inexact: Iterable[Inexact]) -> None:
        """Some rows of these tables can't be named; the worse coverage counts."""
        for one in inexact:
            if not self._policy.table(one.table.name).reads:
                continue
            gathered = self._of(one.table)
            if _ORDER[one.coverage] > _ORDER[gathered.coverage]:
                gathered.coverage, gathered.why = one.coverage, one.why

    def finish(self) -> tuple[TargetPlan, ...]:
        return tuple(map(self._plan_of, self._gathered.values()))

    def _plan_of(self, gathered: _Gathered) -> TargetPlan:
        table, rules = gathered.table, self._policy.table(gathered.table.name)
        problem = self._policy.personal.key_problem(rules.kind, table.key)
        return TargetPlan(
            policy=rules,
            columns=tuple(c for c in table.names if c in gathered.columns),
            keyless=table.keyless,
            coverage=gathered.coverage if problem is None else "statement",
            why=gathered.why if problem is None else problem,
            taken=tuple(gathered.taken),
            is_withheld=problem is not None,
        )

    def _of(self, table: Table) -> _Gathered:
        return self._gathered.setdefault(table.name, _Gathered(table))
