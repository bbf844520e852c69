"""The promises of `indelible.toml`: a closed set of kinds, each a frozen value. No expressions."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, Literal, Self

import msgspec

from indelible.policy.durations import Duration

Deed = Literal["accesses", "changes"]
DataClass = Literal["takeover", "personal", "special"]
Rehearse = Literal["copy", "rolled-back"]


class Relaxed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to and including the day `until` only `to` is promised; behind it, all of it again.

    `to` is a `Duration` or a float, also where it was written as text or an integer.
    """

    to: Any
    until: dt.date
    why: str

    def __post_init__(self) -> None:
        to = self.to
        if isinstance(to, str):
            to = Duration(to)
        elif isinstance(to, int | float) and not isinstance(to, bool):
            to = float(to)
        if not isinstance(to, Duration | float):
            raise ValueError("expected to as a length of time or a number")
        msgspec.structs.force_setattr(self, "to", to)


class Invariant(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every promise may say.

    `promise` are the owner's words, shown with each result. One that is `planned` is reported,
    and nothing fails by it.
    """

    relaxes: ClassVar[tuple[str, ...]] = ()
    """What `relaxed.to` stands in for; without any it is how many breaches are let pass."""
    weaker_is_more: ClassVar[bool] = True

    name: str = ""
    promise: str = ""
    planned: bool = False
    relaxed: Relaxed | None = None

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def tolerated(self) -> int:
        """How many breaches are let pass."""
        return int(self.relaxed.to) if self.relaxed and isinstance(self.relaxed.to, float) else 0

    def in_force(self, today: dt.date) -> Self:
        """What is promised on that day."""
        if self.relaxed is None:
            return self
        if today > self.relaxed.until:
            return msgspec.structs.replace(self, relaxed=None)
        return msgspec.structs.replace(self, **dict.fromkeys(self.relaxes, self.relaxed.to))


class Windowed(Invariant, frozen=True, kw_only=True):
    """One that is about what happened in the last `window`."""

    window: Duration = Duration("30 days")


class Enumerable(Invariant, frozen=True, tag="enumerable"):
    """Whatever any actor did, in any window up to `window` back, can be enumerated.

    Holes in changes no longer than `brief` don't count, here and below, where a reconciliation
    behind them found nothing.
    """

    relaxes = ("window",)
    weaker_is_more = False
    window: Duration
    of: tuple[Deed, ...] = ("accesses", "changes")
    tables: tuple[str, ...] = ()
    exact: float = 0.0
    brief: Duration | None = None
    canary: tuple[str, ...] = ()


class Accessors(Invariant, frozen=True, tag="accessors"):
    """For any subject of the kind `of`, who accessed its data can be enumerated; up to `daily` back
    at least day by day."""

    relaxes = ("window",)
    weaker_is_more = False
    of: str
    window: Duration
    daily: Duration | None = None
    brief: Duration | None = None

    def in_force(self, today: dt.date) -> Self:
        found = super().in_force(today)
        if found.relaxed is None:
            return found
        return msgspec.structs.replace(found, daily=None)


class Reversible(Invariant, frozen=True, tag="reversible"):
    """Whatever `by` changed up to `window` back can be reversed."""

    relaxes = ("window",)
    weaker_is_more = False
    window: Duration
    by: str = "all"
    tables: tuple[str, ...] = ()
    rehearse: Rehearse = "copy"
    sample: int = 3
    brief: Duration | None = None


class Attributed(Windowed, frozen=True, kw_only=True, tag="attributed"):
    """At least this share of accesses and changes has an actor."""

    relaxes = ("share",)
    weaker_is_more = False
    share: float = 1.0
    of: tuple[Deed, ...] = ("accesses", "changes")


class Complete(Windowed, frozen=True, kw_only=True, tag="complete"):
    """Nothing is missing, and no older than `reconciled` nothing differed from the database."""

    reconciled: Duration = Duration("7 days")
    brief: Duration | None = None


class TamperEvident(Invariant, frozen=True, tag="tamper_evident"):
    """So many witnesses vouch for the trail, by cosignatures no older than `age`; no longer than
    `verified` ago every entry was found to be what they vouch for."""

    relaxes = ("age",)
    witnesses: int = 1
    age: Duration = Duration("5 minutes")
    verified: Duration = Duration("7 days")


class Delivered(Windowed, frozen=True, kw_only=True, tag="delivered"):
    """From the change to the trail it takes at most so long: of 95 % and of all of them."""

    relaxes = ("p95", "p100")
    p95: Duration
    p100: Duration


class LogClean(Invariant, frozen=True, tag="log_clean"):
    """Application logs hold nothing of these classes."""

    files: tuple[str, ...]
    classes: tuple[DataClass, ...] = ("takeover", "personal", "special")


class Authorised(Windowed, frozen=True, kw_only=True, tag="authorised"):
    """Nobody reads or changes anything without having been allowed to."""

    by: str = "all"


class Retained(Invariant, frozen=True, tag="retained"):
    """What happened is kept for so long at least."""

    relaxes = ("at_least",)
    weaker_is_more = False
    at_least: Duration


class Forgotten(Invariant, frozen=True, tag="forgotten"):
    """What concerns subjects of the kind `of` is readable for so long at most."""

    relaxes = ("at_most",)
    at_most: Duration
    of: str


class Forbids(Windowed, frozen=True, kw_only=True, tag="forbids"):
    """Such an actor never does this: a kind of actors, one of them, or nobody known."""

    action: str
    by: str


class Separates(Windowed, frozen=True, kw_only=True, tag="separates"):
    """No actor does more than one of these to the same target: four eyes."""

    actions: tuple[str, ...]


class Limits(Windowed, frozen=True, kw_only=True, tag="limits"):
    """An actor does this at most so often in an hour of the clock."""

    relaxes = ("at_most",)
    action: str
    at_most: int
    by: str = "all"
