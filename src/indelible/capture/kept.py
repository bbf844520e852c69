"""What capture makes once for a trail, and lets go of with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from indelible.capture.host import CaptureHost

T = TypeVar("T")
_KEPT: Final = "_kept_by_capture"


def kept_with(trail: CaptureHost, key: object, make: Callable[[], T]) -> T:
    """What `make` made first for this `trail` and this `key`.

    It is kept in the trail, to which it refers: a weak dictionary would hold both for ever.
    """
    kept: dict[object, Any] = vars(trail).setdefault(_KEPT, {})
    found: T | None = kept.get(key)
    if found is None:
        found = kept.setdefault(key, make())
    return found


def class_kept_with(
    trail: CaptureHost, base: type[T], server: Callable[[CaptureHost], object]
) -> type[T]:
    """The subclass of a driver's connections `base` that is captured into `trail`: what `server`
    makes is the `_server` of them all."""
    return kept_with(trail, base, lambda: type(base.__name__, (base,), {"_server": server(trail)}))
