"""How the keys of rows get out of PostgreSQL, and how they are read
(`statements.dialect.Dialect`)."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from indelible.capture.postgres.beside import lists_in_json
from indelible.capture.postgres.values import INTEGERS, TEXTS, is_settled, value_of
from indelible.capture.schema import Table
from indelible.capture.statements.carried import Carried
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.keys import read_integer
from indelible.capture.statements.plan import Reader, Taken, UnreadableKeyError
from indelible.capture.statements.syntax import NotUnderstoodError
from indelible.events.values import Value

_CAST_AS_WRITTEN: Final = INTEGERS | TEXTS - {"bpchar"} | {"numeric", "uuid"}
_UNREADABLE: Final = "a text form that may differ between sessions"


class PostgresKeys(Dialect):
    """The part of the dialect that fetches keys."""

    def why_unnamed(self, table: Table) -> str | None:
        if not table.key:
            return "a table without a key"
        if not all(self.can_carry(table, name) for name in table.key):
            return f"its key has {_UNREADABLE}"
        return None

    def can_carry(self, table: Table, column: str) -> bool:
        return is_settled(_type_of(table, column))

    def hidden_columns(self, one: Carried, *, aggregated: bool) -> tuple[list[str], Taken]:
        if one.array is not None:
            if not aggregated:
                return [one.key[0]], one.array
            if one.array.array_reader is not None:
                raise NotUnderstoodError("an aggregate of aggregates of aggregates")
            # Arrays of arrays would all have to be as long.
            json = f"CAST(pg_catalog.json_agg({one.key[0]}) AS pg_catalog.text)"
            return [json], replace(one.array, integers=False, array_reader=lists_in_json)
        types = [_type_of(one.table, name) for name in one.table.key]
        integers = len(types) == 1 and types[0] in INTEGERS
        taken = Taken((), integers=integers, optional=one.optional)
        if one.subject is not None:
            types.append(one.subject_type)
        expressions = [*one.key] if one.subject is None else [*one.key, one.subject]
        keys = len(one.key)
        if not aggregated:
            readers = tuple(
                read_integer if type_ in INTEGERS else _from_text(type_) for type_ in types
            )
            if not one.guarded:
                expressions = [
                    each if type_ in INTEGERS else _text(each, type_)
                    for each, type_ in zip(expressions, types, strict=True)
                ]
            return expressions, replace(
                taken,
                readers=readers[:keys],
                subject_reader=readers[-1] if one.subject is not None else None,
            )
        taken = replace(taken, array=True, array_subject=one.subject is not None)
        if integers and one.subject is None:
            return [f"pg_catalog.array_agg({expressions[0]})"], replace(
                taken, readers=(read_integer,)
            )
        readers = tuple(_from_text(type_) for type_ in types)
        elements = [
            f"CAST({each} AS pg_catalog.text)" if one.guarded else _text(each, type_)
            for each, type_ in zip(expressions, types, strict=True)
        ]
        element = elements[0] if len(elements) == 1 else f"ARRAY[{', '.join(elements)}]"
        return [f"pg_catalog.array_agg({element})"], replace(
            taken,
            integers=False,
            readers=readers[:keys],
            subject_reader=readers[-1] if one.subject is not None else None,
        )

    def no_key(self, one: Carried) -> list[str]:
        types = [_type_of(one.table, name) for name in one.table.key]
        if one.subject is not None:
            types.append(one.subject_type)
        return [
            f"CAST(NULL AS pg_catalog.{type_ if type_ in INTEGERS else 'text'})" for type_ in types
        ]

    def selected(self, one: Carried, places: tuple[int, ...], subject: int | None) -> Taken | None:
        types = [_type_of(one.table, name) for name in one.table.key]
        readers = tuple(_DRIVERS[type_] for type_ in types if type_ in _DRIVERS)
        if len(readers) < len(types):
            return None
        subject_reader = None
        if subject is not None:
            subject_reader = _DRIVERS.get(one.subject_type)
        return Taken(
            places,
            subject=None if subject_reader is None else subject,
            integers=len(types) == 1 and types[0] in INTEGERS,
            optional=one.optional,
            readers=readers,
            subject_reader=subject_reader,
        )

    def with_hidden_subject(self, one: Carried, taken: Taken, place: int) -> tuple[str, Taken]:
        type_ = one.subject_type
        subject = one.subject or ""
        if type_ in INTEGERS:
            return subject, replace(taken, subject=place, subject_reader=read_integer)
        return _text(subject, type_), replace(
            taken, subject=place, subject_reader=_from_text(type_)
        )


def _type_of(table: Table, column: str) -> str:
    found = table.column(column)
    return found.type if found is not None else ""


def _text(expression: str, type_: str) -> str:
    """The text form that `values.value_of` reads, which isn't always what a cast makes."""
    if type_ in _CAST_AS_WRITTEN:
        return f"CAST({expression} AS pg_catalog.text)"
    return f"CASE WHEN {expression} IS NOT NULL THEN pg_catalog.concat({expression}) END"


def _string(value: object) -> Value:
    if value is None or type(value) is str:
        return value
    raise UnreadableKeyError("expected a string")


def _uuid(value: object) -> Value:
    if value is None or isinstance(value, uuid.UUID | str):
        return value_of("uuid", None if value is None else str(value))
    raise UnreadableKeyError("expected a UUID")


def _read_text(type_: str, value: object) -> Value:
    if value is None or type(value) is str:
        return value_of(type_, value)
    raise UnreadableKeyError("expected a text form")


@functools.lru_cache(maxsize=256)
def _from_text(type_: str) -> Reader:
    return functools.partial(_read_text, type_)


_DRIVERS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys(INTEGERS, read_integer),
    **dict.fromkeys(TEXTS, _string),
    "uuid": _uuid,
}
"""The types of which every driver gives the value itself."""
