"""Statements on PostgreSQL with the tables of views in their place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from sqlglot import exp

from indelible.capture.postgres.readable import Named
from indelible.capture.schema import Column, Table
from indelible.capture.statements.syntax import NotUnderstoodError
from indelible.capture.statements.view_keys import View, ViewVersion
from indelible.capture.statements.views import Definition


class FoundDefinitions:
    """Those that `find_named` finds by their names."""

    def __init__(
        self, names: Collection[str], find_named: Callable[[exp.Table], Named | None]
    ) -> None:
        self._names = names
        self._find_named = find_named
        self._views: list[View] = []
        self._tables: set[int] = set()
        self._has_filters = False

    def views(self) -> dict[str, View]:
        """Those that were found.

        Raises `NotUnderstoodError` where a table was met whose rows aren't the same for everybody:
        a view asks for them as its owner.
        """
        if self._has_filters:
            raise NotUnderstoodError("row security under a view")
        tables = tuple(map(str, sorted(self._tables)))
        return {one.shape.name: replace(one, unfiltered=tables) for one in self._views}

    def may_be_in(self, names: Collection[str]) -> bool:
        return any(name in self._names for name in names)

    def find(self, table: exp.Table) -> Definition | None:
        try:
            found = self._find_named(table)
        except NotUnderstoodError:
            return None
        if found is None or found.view is None:
            if found is not None and found.table is not None:
                self._tables.add(found.oid)
                self._has_filters |= found.is_filtered
            return None
        view = found.view
        if "%" in view.text:
            return None  # which a driver may take for a parameter
        name = str(view.oid)
        shape = Table(name=view.name, columns=tuple(map(Column, view.columns)))
        self._views.append(View(shape, (), (), (ViewVersion(name, view.version),), False))
        return Definition(name, view.text.rstrip().removesuffix(";"))
