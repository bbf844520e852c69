"""Names in MariaDB: as they are quoted, and those that are ours."""

from __future__ import annotations

from typing import Final

from indelible.errors import ConfigurationError

CONTEXT: Final = "@indelible_ctx"
"""The user variable in which a connection says who acts."""
TRIGGER_PREFIX: Final = "indelible_"
_SUFFIX: Final = "_indelible"
_MAX_NAME: Final = 64


def quote_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def schema_name(database: str) -> str:
    """The schema of our own beside the application's `database`.

    Raises `ConfigurationError` where there is no room for it.
    """
    name = database + _SUFFIX
    if len(name) > _MAX_NAME:
        raise ConfigurationError(
            f"expected a database name of at most {_MAX_NAME - len(_SUFFIX)} characters, as the "
            f"outbox's schema is called {_SUFFIX} behind it; got {database}"
        )
    return name


def trigger_name(number: int, verb: str) -> str:
    """Of the trigger for `verb` on the table whose layout has this number."""
    return f"{TRIGGER_PREFIX}{number}_{verb}"
