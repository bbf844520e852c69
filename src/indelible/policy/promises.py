"""Read the promises of `indelible.toml`, and refuse those that contradict themselves or others."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from indelible.errors import PolicyError
from indelible.events.system import OWN_NOUNS, SYSTEM_ACTIONS
from indelible.policy.durations import Duration
from indelible.policy.invariants import (
    Accessors,
    Attributed,
    Authorised,
    Complete,
    DataClass,
    Deed,
    Delivered,
    Enumerable,
    Forbids,
    Forgotten,
    Invariant,
    Limits,
    LogClean,
    Rehearse,
    Relaxed,
    Retained,
    Reversible,
    Separates,
    TamperEvident,
)
from indelible.policy.sections import Where

_KINDS: Final[Mapping[str, type[Invariant]]] = {
    str(each.__struct_config__.tag): each
    for each in (
        Enumerable,
        Accessors,
        Reversible,
        Attributed,
        Complete,
        TamperEvident,
        Delivered,
        LogClean,
        Authorised,
        Retained,
        Forgotten,
        Forbids,
        Separates,
        Limits,
    )
}
INVARIANT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: each.__struct_fields__ for kind, each in _KINDS.items()
}
"""Which keys each kind has; `kind` itself, `name`, `promise`, `planned` and `relaxed` are all's."""
_COMMON: Final = Invariant.__struct_fields__
_CHOICES: Final = {
    "of": get_args(Deed),
    "classes": get_args(DataClass),
    "rehearse": get_args(Rehearse),
}
_PATH: Final = re.compile(r" - at `\$(?:\.(\w+))?[^`]*`$")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ACTION: Final = re.compile(r"[^\s.*]+\.(?:[^\s*]+|\*)")


def parse_invariants(found: object, text: str, file: str) -> tuple[Invariant, ...]:
    """The `[[invariant]]`s of a document; `text` is all of it, `file` its name in errors.

    Raises `PolicyError` for a kind, key or value that isn't allowed, and for promises that
    contradict themselves or each other.
    """
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise PolicyError(f"{file}: expected invariants as tables of their own: [[invariant]]")
    places = [Where(file, text, "invariant", nth=n) for n in range(1, len(found) + 1)]
    parsed: list[Invariant] = []
    for each, place in zip(found, places, strict=True):
        invariant = _parse(each, place)
        _check(invariant, place)
        names = [other.name for other in parsed]
        if invariant.name in names:
            raise place.error(
                f"another invariant is called {invariant.name!r}: give each a name of its own",
                "name",
            )
        if not invariant.name:
            name, number = invariant.kind, 1
            while name in names:
                number += 1
                name = f"{invariant.kind}-{number}"
            invariant = msgspec.structs.replace(invariant, name=name)
        parsed.append(invariant)
    _check_together(parsed, places)
    return tuple(parsed)


def _parse(found: Mapping[str, Any], place: Where) -> Invariant:
    kind = found.get("kind")
    allowed = ", ".join(_KINDS)
    if not isinstance(kind, str) or kind not in _KINDS:
        got = "none" if kind is None else repr(kind)
        raise place.error(f"expected kind as one of {allowed}, got {got}", "kind")
    fields = _KINDS[kind].__struct_fields__
    for key in found:
        if key != "kind" and key not in fields:
            own = ", ".join(("kind", *(each for each in fields if each not in _COMMON), *_COMMON))
            raise place.error(f"unknown key {key!r}; allowed for {kind}: {own}", key)
    try:
        return msgspec.convert(found, _KINDS[kind], dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise _unfit(error, kind, place) from None


def _hook(wanted: type, found: object) -> object:
    if wanted is Duration:
        if not isinstance(found, str):
            raise ValueError(f'expected a length of time in quotes, as in "3 years", got {found!r}')
        return Duration(found)
    raise NotImplementedError


def _unfit(error: msgspec.ValidationError, kind: str, place: Where) -> PolicyError:
    said = str(error)
    path = _PATH.search(said)
    key = (path[1] if path else None) or ""
    said = _PATH.sub("", said)
    if missing := re.search(r"missing required field `(\w+)`", said):
        where = f"{key} = {{…}}" if key else f"kind {kind!r}"
        return place.error(f"expected `{missing[1]}` for {where}", key)
    choices = _CHOICES.get(key)
    if choices and "enum" in said:
        said = f"{said}; expected of {', '.join(choices)}"
    return place.error(f"{key}: {said}", key)


def _check(invariant: Invariant, place: Where) -> None:
    """What one promise may not say."""
    if invariant.name and _NAME.fullmatch(invariant.name) is None:
        raise place.error("expected name of letters, digits, '_', '-' and '.'", "name")
    for key in ("of", "files", "classes", "actions"):
        if getattr(invariant, key, None) in ((), ""):
            raise place.error(f"expected {key} with something in it", key)
    for key in ("share", "exact"):
        share = getattr(invariant, key, 0.0)
        if not 0 <= share <= 1 or (key == "share" and hasattr(invariant, key) and not share):
            raise place.error(f"expected {key} above 0 and at most 1, got {share}", key)
    for key in ("witnesses", "at_most", "sample"):
        number = getattr(invariant, key, 1)
        if isinstance(number, int) and not 1 <= number <= 1_000_000:
            raise place.error(f"expected {key} above zero, got {number}", key)
    for key in ("action", "actions"):
        named = getattr(invariant, key, ())
        for action in (named,) if isinstance(named, str) else named:
            if _ACTION.fullmatch(action) is None:
                raise place.error(
                    f'expected {key} like "customer.export" or "customer.*", got {action!r}', key
                )
            noun, _, verb = action.partition(".")
            if action in SYSTEM_ACTIONS or (noun in OWN_NOUNS and verb == "*"):
                raise place.error(
                    f"expected {key} as what actors do: {action} is an entry of the trail about "
                    "itself (`indelible status` has what was noticed)",
                    key,
                )
    if any("\0" in argument for argument in getattr(invariant, "canary", ())):
        raise place.error("expected canary without NUL characters: no command takes one", "canary")
    by = getattr(invariant, "by", "all")
    if not by or by.startswith(":") or by.endswith(":"):
        raise place.error(f'expected by like "staff" or "staff:bob", got {by!r}', "by")
    if isinstance(invariant, Reversible) and by != "all" and ":" not in by:
        raise place.error(f'expected by as "all" or like "staff:bob", got {by!r}', "by")
    if isinstance(invariant, Forbids) and by == "all":
        raise place.error("expected by as somebody: what nobody may do needs no promise", "by")
    if isinstance(invariant, Separates) and len(set(invariant.actions)) < 2:
        raise place.error("expected two actions at least, that differ", "actions")
    if isinstance(invariant, Delivered) and invariant.p100 < invariant.p95:
        raise place.error(
            f"p95 ({invariant.p95}) is longer than p100 ({invariant.p100}), which is the longest",
            "p95",
        )
    daily = getattr(invariant, "daily", None)
    if isinstance(invariant, Accessors) and daily is not None and daily <= invariant.window:
        raise place.error(
            f"daily ({daily}) has to reach further back than window ({invariant.window}), which "
            "promises more",
            "daily",
        )
    if invariant.relaxed is not None:
        _check_relaxed(invariant, invariant.relaxed, place)


def _check_relaxed(invariant: Invariant, relaxed: Relaxed, place: Where) -> None:
    if invariant.planned:
        raise place.error("it is planned: there is nothing to relax yet", "relaxed")
    if not relaxed.why.strip():
        raise place.error("relaxed: expected why", "relaxed")
    full = [getattr(invariant, key) for key in invariant.relaxes]
    to = relaxed.to
    if isinstance(to, float) and not math.isfinite(to):
        raise place.error(f"relaxed: expected to as a number, got {to}", "relaxed")
    if not full:
        if isinstance(to, Duration) or not to.is_integer() or to < 1:
            raise place.error(
                "relaxed: expected to as how many breaches are let pass, 1 or more", "relaxed"
            )
    elif isinstance(to, Duration) != isinstance(full[0], Duration):
        what = "a length of time" if isinstance(full[0], Duration) else "a number"
        raise place.error(f"relaxed: expected to as {what}, like {invariant.relaxes[0]}", "relaxed")
    elif isinstance(full[0], int) and not to.is_integer():
        raise place.error(
            f"relaxed: expected to as a whole number, like {invariant.relaxes[0]}, got {to:g}",
            "relaxed",
        )
    elif any(_is_no_weaker(to, each, more=invariant.weaker_is_more) for each in full[-1:]):
        which = "more" if invariant.weaker_is_more else "less"
        raise place.error(
            f"relaxed to {to}, which isn't {which} than {invariant.relaxes[-1]} = {full[-1]}",
            "relaxed",
        )


def _is_no_weaker(to: Any, full: Any, *, more: bool) -> bool:
    return bool(to <= full if more else to >= full)


def _check_together(parsed: Sequence[Invariant], places: Sequence[Where]) -> None:
    """What promises may not say of each other."""
    for number, one in enumerate(parsed):
        for other in parsed[:number]:
            if msgspec.structs.replace(one, name="", promise="") == msgspec.structs.replace(
                other, name="", promise=""
            ):
                raise places[number].error(f"it says the same as {other.name!r}", "kind")
        if not isinstance(one, Forgotten):
            continue
        for other, place in zip(parsed, places, strict=True):
            if not _needs_all_of(other, one.of):
                continue
            for key in ("window", "daily", "at_least"):
                length = getattr(other, key, None)
                if isinstance(length, Duration) and length > one.at_most:
                    raise place.error(
                        f"{key} ({length}) is longer than anything is kept: {one.name!r} has "
                        f"at_most = {one.at_most}",
                        key,
                    )


def _needs_all_of(invariant: Invariant, subject: str) -> bool:
    """Whether it promises that what concerns such subjects is there: of any table, or of theirs."""
    if isinstance(invariant, Accessors):
        return invariant.of == subject
    if isinstance(invariant, Enumerable | Reversible):
        return not invariant.tables
    return isinstance(invariant, Retained)
