"""Which rows EXCEPT and INTERSECT leave: those of all arms as one, grouped by what is compared."""

from __future__ import annotations

from collections.abc import Sequence

from indelible.capture.statements.syntax import NotUnderstoodError


def takes_out(operator: str) -> bool:
    """Whether rows that equal others on its left may not be handed out."""
    return operator.startswith(("EXCEPT", "INTERSECT"))


def keyed_arms(operators: Sequence[str]) -> int:
    """How many arms, from the first one on, have values that may be handed out.

    Raises `NotUnderstoodError` where that isn't the same for all rows, or where it counts how
    often a row is there.
    """
    if set(operators) == {"INTERSECT"}:
        return len(operators) + 1
    first = operators.index("EXCEPT") if "EXCEPT" in operators else 0
    if not {"UNION", "UNION ALL"} >= set(operators[:first]) or set(operators[first:]) != {"EXCEPT"}:
        raise NotUnderstoodError("set operators of several kinds")
    return first + 1


def is_left(operators: Sequence[str], number: str) -> str:
    """SQL that is true of a group of equal rows that the operators leave; the column `number`
    tells which arm a row is of."""
    keyed = keyed_arms(operators)
    if keyed > len(operators):
        return f"count(DISTINCT {number}) = {keyed}"
    return f"max({number}) < {keyed}"
