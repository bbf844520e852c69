"""One open trail for each configuration, for as long as the process lives."""

from __future__ import annotations

import atexit
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

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


def first_trail() -> Trail:
    """The trail of the first database that names one: where what is no row's is recorded.

    Raises `ImproperlyConfigured` where none does.
    """
    return trail_at(settings.DATABASES[first_database()]["OPTIONS"]["trail"])


def first_database() -> str:
    """The alias of that database. Raises `ImproperlyConfigured` where there is none."""
    for alias, database in settings.DATABASES.items():
        if database.get("OPTIONS", {}).get("trail"):
            return str(alias)
    raise ImproperlyConfigured(
        "expected a database with OPTIONS['trail'], to record to its trail, found none"
    )


def is_on_disk() -> bool:
    """False for the database in memory that Django's test runner makes: nothing of it is kept."""
    in_memory = getattr(connections[first_database()], "is_in_memory_db", None)
    return in_memory is None or not in_memory()
