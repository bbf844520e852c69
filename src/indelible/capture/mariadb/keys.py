"""How the keys of rows get out of MariaDB, and how they are read (`statements.dialect.Dialect`)."""

from __future__ import annotations

import functools
from typing import Final

from msgspec.structs import replace

from indelible.capture.mariadb.beside import (
    array,
    array_of_arrays,
    parse_array,
    parse_array_of_arrays,
)
from indelible.capture.mariadb.values import INTEGERS, TEXTS, value_of
from indelible.capture.schema import Table
from indelible.capture.statements.carried import Carried
from indelible.capture.statements.dialect import Dialect
from indelible.capture.statements.keys import read_integer
from indelible.capture.statements.plan import Reader, Taken, UnreadableKeyError
from indelible.capture.statements.syntax import NotUnderstoodError
from indelible.events.values import Value, to_value

_SETTLED: Final = INTEGERS | TEXTS | {"uuid"}


class MariadbKeys(Dialect):
    """The part of the dialect that fetches keys."""

    def why_unnamed(self, table: Table) -> str | None:
        if not table.key:
            return "a table without a key"
        if has_percent(table):
            return "a percent sign in a name, which a driver may take for a parameter"
        if not all(self.can_carry(table, name) for name in table.key):
            return "its key has a type that isn't fetched"
        return None

    def can_carry(self, table: Table, column: str) -> bool:
        return type_of(table, column) in _SETTLED

    def hidden_columns(self, one: Carried, *, aggregated: bool) -> tuple[list[str], Taken]:
        if one.array is not None:
            return self._of_array(one, one.array, aggregated=aggregated)
        types = [type_of(one.table, name) for name in one.table.key]
        integers = len(types) == 1 and types[0] in INTEGERS
        expressions = [*one.key]
        if one.subject is not None:
            types.append(one.subject_type)
            expressions.append(one.subject)
        if not one.guarded:
            expressions = [_carried(*each) for each in zip(expressions, types, strict=True)]
        readers = tuple(map(_reader_of_text if aggregated else _reader, types))
        keys = len(one.key)
        taken = Taken(
            (),
            integers=integers,
            optional=one.optional,
            readers=readers[:keys],
            subject_reader=readers[-1] if one.subject is not None else None,
        )
        if not aggregated:
            return expressions, taken
        return [array(expressions)], replace(
            taken,
            integers=False,
            array=True,
            array_subject=one.subject is not None,
            array_reader=parse_array,
        )

    def _of_array(self, one: Carried, taken: Taken, *, aggregated: bool) -> tuple[list[str], Taken]:
        if not aggregated:
            return [one.key[0]], taken
        if taken.array_reader is not parse_array:
            raise NotUnderstoodError("an aggregate of aggregates of aggregates")
        return [array_of_arrays(one.key[0])], replace(taken, array_reader=parse_array_of_arrays)

    def no_key(self, one: Carried) -> list[str]:
        return ["NULL"] * len(one.columns_taken)

    def selected(self, one: Carried, places: tuple[int, ...], subject: int | None) -> Taken | None:
        # A text as the driver gives it hangs on the connection's character set.
        if any(type_of(one.table, name) not in INTEGERS for name in one.table.key):
            return None
        if one.subject_type not in INTEGERS:
            subject = None
        return Taken(
            places,
            subject=subject,
            integers=len(places) == 1,
            optional=one.optional,
            readers=(read_integer,) * len(places),
            subject_reader=read_integer if subject is not None else None,
        )

    def with_hidden_subject(self, one: Carried, taken: Taken, place: int) -> tuple[str, Taken]:
        type_ = one.subject_type
        return _carried(one.subject or "", type_), replace(
            taken, subject=place, subject_reader=_reader(type_)
        )


def has_percent(table: Table) -> bool:
    """Whether it is in a name, which a driver may take for a parameter's sign."""
    return any("%" in name for name in (table.name, *table.names))


def _carried(expression: str, type_: str) -> str:
    """What no character set and no SQL mode of a session changes on its way."""
    if type_ in INTEGERS:
        return expression
    if type_ == "char":  # which PAD_CHAR_TO_FULL_LENGTH hands out with its blanks
        # Of an empty one TRIM makes NULL where SQL mode is ORACLE.
        expression = f"IFNULL(TRIM(TRAILING ' ' FROM {expression}), LEFT({expression}, 0))"
    elif type_ not in TEXTS:
        expression = f"CAST({expression} AS CHAR)"
    return f"HEX(CONVERT({expression} USING utf8mb4))"


def _reader(type_: str) -> Reader:
    return read_integer if type_ in INTEGERS else _from_digits(type_)


def _reader_of_text(type_: str) -> Reader:
    """Of what stands in an array."""
    return _integer_of_text if type_ in INTEGERS else _from_digits(type_)


def _integer_of_text(value: object) -> Value:
    if value is None:
        return None
    try:
        return to_value(int(str(value)))
    except ValueError:
        raise UnreadableKeyError("expected an integer") from None


def _read_digits(type_: str, value: object) -> Value:
    if value is None:
        return None
    if type(value) is not str:
        raise UnreadableKeyError("expected hexadecimal digits")
    try:
        return value_of(type_, bytes.fromhex(value).decode())
    except ValueError:
        raise UnreadableKeyError("expected hexadecimal digits") from None


@functools.lru_cache(maxsize=64)
def _from_digits(type_: str) -> Reader:
    return functools.partial(_read_digits, type_)


def type_of(table: Table, column: str) -> str:
    """The column's declared type; nothing where there is none."""
    found = table.column(column)
    return found.type if found is not None else ""
