"""What to do with a text: the values that planning gives and execution follows."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from indelible.events.model import Coverage
from indelible.events.values import Value
from indelible.policy.model import Durability, TablePolicy

_DURABILITIES: Final[tuple[Durability, ...]] = ("async", "request", "strict")


class Verb(enum.Enum):
    """What a statement may do to the database."""

    READ = "read"
    """Proven to change nothing: it hands out rows and that is all."""
    WRITE = "write"
    """Anything else, whether or not it changes something."""
    SCHEMA = "schema"
    """A write after which what we know of the schema may be wrong."""


Reader = Callable[[Any], Value]
"""What a driver's value stands for. Raises `UnreadableKeyError`."""


ArrayReader = Callable[[object], Sequence[Any]]
"""The keys in a driver's value. Raises `UnreadableKeyError`."""


class UnreadableKeyError(ValueError):
    """A driver gave something for a key that no key is: its owner converts values, perhaps."""


class TooManyKeysError(UnreadableKeyError):
    """There are more keys than one value holds."""


class Taken(msgspec.Struct, frozen=True):
    """Where the keys of one base table stand in the rows that the driver hands us.

    `key` are row positions, from the end where negative; `subject` that of the column which
    names the subject. Guarded values came through `keys.guarded_column`. `array`: the one
    position in `key` holds an array of keys instead (with the subject as last piece, where
    `array_subject`). `integers`: the key is the rowid, so always an integer (in an array: and
    nothing else is in it). `optional`: a key of NULLs means that an outer join found no row.
    `unique`: no key stands in two rows. `readers` of the key's columns and `subject_reader` read
    what stands there, where it isn't the value itself; then arrays are lists, or what
    `array_reader` makes one of.
    """

    key: tuple[int, ...]
    subject: int | None = None
    guarded_key: bool = False
    guarded_subject: bool = False
    array: bool = False
    array_subject: bool = False
    integers: bool = False
    optional: bool = False
    unique: bool = False
    readers: tuple[Reader, ...] = ()
    subject_reader: Reader | None = None
    array_reader: ArrayReader | None = None


class TargetPlan(msgspec.Struct, frozen=True):
    """One base table that the statement reads.

    `taken` says where its keys come from in the statement's own rows. Where it is empty and no
    companion serves the target, there are only `coverage` and `why`; likewise where `is_withheld`,
    as its keys may not be told.
    """

    policy: TablePolicy
    columns: tuple[str, ...]
    keyless: bool = False
    coverage: Coverage = "exact"
    why: str | None = None
    taken: tuple[Taken, ...] = ()
    is_withheld: bool = False


class Companion(msgspec.Struct, frozen=True):
    """A query of keys, run in the same snapshot as the statement, or within it (`Plan.beside`).

    `parameters` are the ordinals of the statement's placeholders that `text` repeats, `runs` its
    collapsed runs. `taken` pairs the number of a target with where its keys stand. `whole`: the
    keys are those of all rows, so exact only once the statement's rows were all handed over.
    `single`: the keys are exact only if there is no more than one row.
    """

    text: str
    parameters: tuple[int, ...]
    runs: tuple[int, ...]
    taken: tuple[tuple[int, Taken], ...]
    whole: bool
    single: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """How a statement is run and what is taken from its rows.

    `text` is the statement to run instead (collapsed), None to run the original. `hidden` is how
    many columns it adds; they stand last, unless `starred`: then they are found by the `prefix`
    of their names. `checked_names` are the names that the rows must have at these positions,
    or the schema is another than the plan was made for. `fragile`: another query plan than the
    original's could change the result, not only its order. `parameters` say of each placeholder
    (a collapsed run is one) whether its values may be written down (None: of none), `collapsed`
    which of them are runs. `placeholders` are those that stand in `text`, in its order (None: each
    once, in its turn); with `goes_by_place` values go to them by their place. `beside`: so many
    hidden columns, before the stamp, hold in the first row what the companions found.
    `inlines_views`: it has definitions of views for their names, and is right only while they are
    the same. `is_stamped`: the last hidden column is 1 while keys are what they are taken for.
    `needs_all`: a row may hold what is named with another, so that keys are those of all rows or
    none. `unknown`: not even the tables could be found out.
    """

    verb: Verb
    shown_text: str = ""
    text: str | None = None
    hidden: int = 0
    starred: bool = False
    prefix: str = ""
    checked_names: tuple[tuple[int, str], ...] = ()
    fragile: bool = False
    targets: tuple[TargetPlan, ...] = ()
    companions: tuple[Companion, ...] = ()
    tables: tuple[str, ...] = ()
    parameters: tuple[bool, ...] | None = None
    collapsed: tuple[bool, ...] = ()
    placeholders: tuple[int, ...] | None = None
    goes_by_place: bool = False
    beside: int = 0
    inlines_views: bool = False
    is_stamped: bool = False
    needs_all: bool = False
    unknown: bool = False

    @cached_property
    def is_captured(self) -> bool:
        """Whether running this statement is an access that is written down."""
        return bool(self.targets or self.tables) or self.unknown

    @cached_property
    def durability(self) -> Durability:
        """What satisfies every table of the statement."""
        if not self.targets:
            return "request"
        return max((target.policy.durability for target in self.targets), key=_DURABILITIES.index)

    @cached_property
    def waits_for_the_end(self) -> bool:
        """Whether only the last row decides if the keys are exact."""
        return self.needs_all or any(companion.whole for companion in self.companions)

    @cached_property
    def integers_only(self) -> tuple[TargetPlan, Taken] | None:
        """The one place where keys stand, if they are integers and nothing else is to be read."""
        if len(self.targets) != 1 or self.companions:
            return None
        target = self.targets[0]
        if target.coverage != "exact" or len(target.taken) != 1:
            return None
        taken = target.taken[0]
        return (target, taken) if taken.integers and not taken.array else None

    @cached_property
    def has_runs(self) -> bool:
        return any(self.collapsed)
