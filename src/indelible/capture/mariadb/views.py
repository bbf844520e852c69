"""Statements on MariaDB with the tables of views in their place."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from sqlglot import exp

from indelible.capture.schema import Table
from indelible.capture.statements.view_keys import View, ViewVersion
from indelible.capture.statements.views import Definition

_PLAIN: Final = re.compile(r"[\w$ -]+")
"""A name that is the same in every string literal."""


class FoundDefinition(msgspec.Struct, frozen=True):
    """A view's query, each name in it with its database, and what tells it from any other."""

    text: str
    version: str


class FoundDefinitions:
    """Those of the views of one `database`; `views` are those that were asked for."""

    def __init__(self, database: str, found: Mapping[str, FoundDefinition]) -> None:
        self._database = database
        self._found = found
        self._folded = frozenset(name.lower() for name in found)
        self.views: dict[str, View] = {}

    def may_be_in(self, names: Collection[str]) -> bool:
        return not self._folded.isdisjoint(names)

    def find(self, table: exp.Table) -> Definition | None:
        found = self._found.get(table.name)
        if found is None or (table.db and table.db != self._database):
            return None
        if not can_be_stamped(table.name, self._database) or "%" in found.text:
            return None  # a percent sign may be a parameter for a driver
        versions = (ViewVersion(table.name, found.version),)
        shape = Table(name=table.name, columns=())
        self.views[table.name] = View(shape, (), (), versions, is_fragile=False)
        return Definition(table.name, found.text.rstrip().removesuffix(";"))


def can_be_stamped(name: str, database: str) -> bool:
    """Whether a view of that name can be asked for by names in string literals."""
    return all(map(_PLAIN.fullmatch, (name, database)))
