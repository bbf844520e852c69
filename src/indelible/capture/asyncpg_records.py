"""Records of asyncpg without the columns that a plan added: only the driver can make one.

So the driver makes them of a subclass that doesn't show those.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

try:
    from asyncpg import Record
except ImportError as missing:
    raise ImportError("expected asyncpg: pip install 'indelible[asyncpg]'") from missing

from indelible.capture.access import Access
from indelible.capture.extraction import Row
from indelible.capture.hidden_columns import visible_places
from indelible.capture.statements.plan import Plan


class _Hiding(Record):  # type: ignore[misc]  # asyncpg has no types
    """Stands behind the application's own class of records, which asks it."""

    __slots__ = ()
    _plan: ClassVar[Plan | None] = None
    """That of the statement that these are records of."""

    def __len__(self) -> int:
        return len(_places(self))

    def __iter__(self) -> Iterator[Any]:
        get = super().__getitem__
        return iter([get(place) for place in _places(self)])

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return tuple(self)[key]
        if hasattr(key, "__index__"):
            places = _places(self)
            try:
                key = places[key]
            except IndexError:
                raise IndexError("record index out of range") from None
        elif _is_hidden(self, key):
            raise KeyError(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        return not _is_hidden(self, key) and super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        return default if _is_hidden(self, key) else super().get(key, default)

    def keys(self) -> Iterator[str]:
        names = _names(self)
        return iter([names[place] for place in _places(self)])

    def values(self) -> Iterator[Any]:
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        return iter(list(zip(self.keys(), self, strict=True)))

    def __repr__(self) -> str:
        shown = "".join(f" {name}={value!r}" for name, value in self.items())
        return f"<{type(self).__name__}{shown}>"

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __eq__(self, other: object) -> bool:
        return bool(tuple(self) == _comparable(other))

    def __ne__(self, other: object) -> bool:
        return bool(tuple(self) != _comparable(other))

    def __lt__(self, other: Any) -> Any:
        return tuple(self) < _comparable(other)

    def __le__(self, other: Any) -> Any:
        return tuple(self) <= _comparable(other)

    def __gt__(self, other: Any) -> Any:
        return tuple(self) > _comparable(other)

    def __ge__(self, other: Any) -> Any:
        return tuple(self) >= _comparable(other)


@functools.lru_cache(maxsize=512)
def hiding(text: str, kind: Any) -> Any:
    """The class of the records of `text`, a rewritten statement, where an application asked for
    those of `kind`. They hide nothing before `read_through` was told of them."""
    own = () if kind is Record else (kind,)
    return type(kind.__name__, (*own, _Hiding), {"__slots__": (), "__module__": kind.__module__})


def read_through(records: Sequence[Any], access: Access) -> list[Row]:
    """All values of `records`, which hide from now on what isn't the application's."""
    if not records:
        return []
    kind = type(records[0])
    if issubclass(kind, _Hiding):
        kind._plan = access.plan
    if access.must_describe:
        access.describe(_names(records[0]), str)
    return [tuple(Record.values(record)) for record in records]


def _names(record: Any) -> tuple[str, ...]:
    return tuple(Record.keys(record))


def _places(record: _Hiding) -> Sequence[int]:
    """Where the application's own columns stand."""
    plan = record._plan
    if plan is None:
        return range(Record.__len__(record))
    if plan.starred:
        return visible_places(plan, _names(record), str)
    return range(Record.__len__(record) - plan.hidden)


def _is_hidden(record: _Hiding, key: object) -> bool:
    plan = record._plan
    return plan is not None and isinstance(key, str) and key.startswith(plan.prefix)


def _comparable(other: object) -> Any:
    return tuple(other) if isinstance(other, Record) else other
