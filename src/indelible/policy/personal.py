"""Which columns hold the names of persons, and whose: `personal` in `[tables.…]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from indelible.events.personal import NOBODY_PERSONAL, Personal
from indelible.policy.model import TablePolicy
from indelible.policy.sections import Where

_ARROW: Final = "->"


def parse_personal(
    section: Mapping[str, object], base: Mapping[str, str], at: Where
) -> Mapping[str, str]:
    """`["email", "referrer -> customer"]`: by column, where it leads; empty where that isn't said.

    Raises `PolicyError`.
    """
    found = section.get("personal")
    if found is None:
        return base
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise at.error("expected personal as a list of column names", "personal")
    parsed = {}
    for each in found:
        column, arrow, table = (part.strip() for part in each.partition(_ARROW))
        if not column or bool(arrow) != bool(table):
            raise at.error(
                f'personal: expected "column" or "column {_ARROW} table", got {each!r}', "personal"
            )
        parsed[column.lower()] = table.lower()
    return parsed


def resolve_personal(
    default: TablePolicy, tables: Mapping[str, TablePolicy], top: Where
) -> tuple[TablePolicy, dict[str, TablePolicy]]:
    """The same, each personal column with the kind of subject whose name it holds.

    What leads to a personal key along a subject's path is personal whether that is said or not.
    `tables` are by name in lower case. Raises `PolicyError`.
    """
    homes = {name: kind for name, rules in tables.items() if (kind := _own(rules)) is not None}
    found = {name: _resolved(rules, tables, homes, top) for name, rules in tables.items()}
    new_default = _resolved(default, tables, homes, top)
    for rules in (new_default, *list(found.values())):
        path = rules.subject
        if path is None or len(path.hops) < 2 or path.hops[-1].table.lower() not in homes:
            continue
        name = path.hops[-2].table.lower()
        before = found.get(name) or msgspec.structs.replace(
            new_default, table=path.hops[-2].table, kind=name
        )
        column = {path.hops[-1].column.lower(): path.kind}
        found[name] = msgspec.structs.replace(before, personal={**before.personal, **column})
    return new_default, found


def personal_of(default: TablePolicy, tables: Mapping[str, TablePolicy]) -> Personal:
    """What of events is translated under these tables' policies, resolved."""
    rules = [*tables.values(), default]
    if not any(each.personal for each in rules):
        return NOBODY_PERSONAL
    keys = {each.kind: kind for each in tables.values() if (kind := _own(each)) is not None}
    columns = {each.kind: each.personal for each in rules if each.personal}
    return Personal(frozenset(keys.values()), keys, columns)


def _own(rules: TablePolicy) -> str | None:
    """The kind of subject that the table's rows are, if their key is personal."""
    path = rules.subject
    own = [column for column, leads in rules.personal.items() if leads in ("", path and path.kind)]
    return path.kind if path is not None and not path.hops and own else None


def _resolved(
    rules: TablePolicy, tables: Mapping[str, TablePolicy], homes: Mapping[str, str], top: Where
) -> TablePolicy:
    at = top.under("tables", rules.table)
    path = rules.subject
    first = None
    if path is not None and len(path.hops) == 1 and path.hops[0].table.lower() in homes:
        first = path.hops[0].column.lower()
    found = {} if first is None or path is None else {first: path.kind}
    for column, leads in rules.personal.items():
        if leads:
            if leads not in homes:
                raise at.error(
                    f'personal: expected {column} to lead to a table whose subject is "self" and '
                    f"whose key is personal, got {leads!r}",
                    "personal",
                )
            found[column] = homes[leads]
        elif path is not None and not path.hops:
            found[column] = path.kind
        elif column != first:
            raise at.error(
                f'personal: expected the key of a table whose subject is "self", or a column that '
                f'leads to one whose key is personal, as in "{column} -> customer", got {column!r}',
                "personal",
            )
    both = sorted(found.keys() & (rules.mask | rules.without_values | rules.seal))
    if both:
        raise at.error(
            f"personal: expected {', '.join(both)} personal, or masked, or without values, or "
            "sealed: one of them",
            "personal",
        )
    own = [column for column, leads in rules.personal.items() if not leads]
    if path is not None and not path.hops and len(own) > 1:
        raise at.error(
            f"personal: expected one column, the key, got {', '.join(own)}; of another say where "
            f'it leads, as in "{own[-1]} -> customer"',
            "personal",
        )
    return msgspec.structs.replace(rules, personal=found)
