"""From rows, as the driver hands them over, to the ids and subjects in them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from indelible.capture.statements import keys
from indelible.capture.statements.beside import CUT, MAX_ROWS_BESIDE
from indelible.capture.statements.plan import Plan, Taken, TooManyKeysError, UnreadableKeyError
from indelible.events.values import MAX_PLAIN_INT, Id, Native, Value, format_id, to_value

Row = Sequence[Native]

_rows: Final = msgspec.json.Decoder(list[list[Any]])


class Extracted:
    """The ids of one target, each once and in the order met, and the values of their subjects."""

    __slots__ = ("ids", "subjects")

    def __init__(self) -> None:
        self.ids: dict[Id, None] = {}
        self.subjects: dict[Value, None] = {}

    def add(self, taken: Taken, rows: Sequence[Row]) -> None:
        """Add what `taken` points at in `rows`. Raises `UnreadableKeyError`."""
        if taken.readers:
            self._add_read(taken, rows)
            return
        if taken.array:
            self._add_arrays(taken, rows)
            return
        if taken.integers:
            place = taken.key[0]
            self._add_integers([row[place] for row in rows])
        else:
            self._add_keys(taken, rows)
        if taken.subject is not None:
            place = taken.subject
            if taken.optional:
                rows = [row for row in rows if any(row[at] is not None for at in taken.key)]
            values: Iterable[Native] = dict.fromkeys([row[place] for row in rows])
            if taken.guarded_subject:
                values = map(keys.unguard, values)
            self._add_subjects(values)

    def _add_read(self, taken: Taken, rows: Sequence[Row]) -> None:
        nothing = (None,) * len(taken.readers)
        try:
            unique = dict.fromkeys(_raw_keys(taken, rows))
        except TypeError:
            raise UnreadableKeyError("expected values that can be compared") from None
        for raw in unique:
            key, subject = raw[: len(nothing)], raw[len(nothing) :]
            if taken.optional and key == nothing:
                continue
            read = [reader(value) for reader, value in zip(taken.readers, key, strict=True)]
            self.ids[tuple(read)] = None
            if subject and taken.subject_reader is not None:
                self.subjects[taken.subject_reader(subject[0])] = None

    def _add_arrays(self, taken: Taken, rows: Sequence[Row]) -> None:
        place = taken.key[0]
        for row in rows:
            if taken.integers:
                self._add_integers(keys.parse_integer_array(row[place]))
                continue
            found = keys.parse_any_array(row[place])
            if taken.array_subject:
                self._add_subjects(key[-1] for key in found)
                found = [key[:-1] for key in found]
            self._add_natives(found)

    def _add_integers(self, found: Iterable[Native]) -> None:
        """Keys that are integers; NULL where an outer join found no row."""
        unique = dict.fromkeys(found)
        unique.pop(None, None)
        if not unique:
            return
        if max(unique) <= MAX_PLAIN_INT and min(unique) >= -MAX_PLAIN_INT:  # type: ignore[type-var,operator]
            self.ids.update(dict.fromkeys(zip(unique, strict=False)))  # type: ignore[arg-type]
        else:
            self._add_natives((key,) for key in unique)

    def _add_keys(self, taken: Taken, rows: Sequence[Row]) -> None:
        places = taken.key
        if len(places) == 1:
            place = places[0]
            values = [row[place] for row in rows]
            if set(map(type, values)) == {str} and "".join(values).isascii():  # type: ignore[arg-type]
                self.ids.update(dict.fromkeys(zip(values, strict=False)))  # type: ignore[arg-type]
                return
            found: list[keys.Key] = [(value,) for value in values]
        else:
            found = [tuple([row[place] for place in places]) for row in rows]
        if taken.optional:
            nothing = (None,) * len(places)
            found = [key for key in found if key != nothing]
        if taken.guarded_key:
            found = [tuple(map(keys.unguard, key)) for key in found]
        self._add_natives(found)

    def _add_natives(self, found: Iterable[keys.Key]) -> None:
        for key in found:
            self.ids[tuple(map(to_value, key))] = None

    def _add_subjects(self, values: Iterable[Native]) -> None:
        for value in values:
            self.subjects[to_value(value)] = None

    def subject_ids(self, *, is_self: bool) -> list[str]:
        """The ids of the subjects named: the rows' own if `is_self`. NULL names nobody."""
        if is_self:
            return list(map(format_id, self.ids))
        return [format_id((value,)) for value in self.subjects if value is not None]


def rows_beside(plan: Plan, rows: Sequence[Row]) -> list[list[Row]] | None:
    """The rows of each of the plan's companions, which one of `rows` holds; None if none does.

    Raises `UnreadableKeyError`.
    """
    for row in rows:
        end = len(row) - plan.is_stamped
        found = row[end - plan.beside : end]
        if found[0] is not None:
            return [_decoded(each) for each in found]
    return None


def _decoded(rows: object) -> list[Row]:
    if not isinstance(rows, str):
        raise UnreadableKeyError("expected rows of keys as JSON")
    if rows == CUT:
        raise TooManyKeysError
    try:
        decoded = _rows.decode(rows)
    except msgspec.DecodeError:
        raise UnreadableKeyError("expected rows of keys as JSON") from None
    if len(decoded) > MAX_ROWS_BESIDE:
        raise TooManyKeysError
    return [*decoded]


def _raw_keys(taken: Taken, rows: Sequence[Row]) -> Iterable[tuple[Any, ...]]:
    """The keys as the driver gave them, each with its subject behind, if there is one."""
    if not taken.array:
        places = taken.key if taken.subject is None else (*taken.key, taken.subject)
        return [tuple([row[place] for place in places]) for row in rows]
    arrays = [row[taken.key[0]] for row in rows]
    read = taken.array_reader or _list
    elements = [element for array in arrays for element in read(array)]
    return [tuple(element) if isinstance(element, list) else (element,) for element in elements]


def _list(array: object) -> list[Any]:
    """An aggregate of no rows is NULL."""
    if array is None or isinstance(array, list):
        return array or []
    raise UnreadableKeyError("expected a list of keys")
