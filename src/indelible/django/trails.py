"""One open trail for each configuration, for as long as the process lives."""

from __future__ import annotations

import atexit
import threading
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from indelible.errors import ConfigurationError, NoTrailError
from indelible.trail import Trail

_opening = threading.Lock()
_open: dict[str, Trail] = {}


def take_trail(parameters: dict[str, Any], alias: str) -> Trail:
    """The trail that the options of the database `alias` name; they are a driver's from here on.

    Raises `ImproperlyConfigured` where they name none, or there is none.
    """
    source = parameters.pop("trail", None)
    if not source:
        raise ImproperlyConfigured(
            f"expected DATABASES[{alias!r}]['OPTIONS']['trail'] to name an indelible.toml, "
            "found nothing"
        )
    return trail_at(source)


def trail_at(source: str | Path) -> Trail:
    """The trail of an `indelible.toml` or of a URL, opened by the first caller.

    Raises `ImproperlyConfigured` where there is none, or the configuration can't be followed.
    """
    name = str(source) if "://" in str(source) else str(Path(source).absolute())
    with _opening:
        trail = _open.get(name)
        if trail is None:
            try:
                trail = Trail.open(source)
            except (ConfigurationError, NoTrailError) as error:
                raise ImproperlyConfigured(f"OPTIONS['trail']: {error}") from error
            _open[name] = trail
            atexit.register(trail.close)
        return trail
