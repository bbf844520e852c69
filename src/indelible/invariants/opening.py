"""The application's database, opened to be compared: by the policy, or at a path."""

from __future__ import annotations

from pathlib import Path

from indelible.errors import ConfigurationError
from indelible.invariants.live import LiveDatabase
from indelible.invariants.sqlite_live import SqliteLive
from indelible.policy.model import Policy


def open_live(policy: Policy, database: str | Path | None = None) -> LiveDatabase:
    """The SQLite file `database`, or what the policy names.

    Raises `ConfigurationError` where it names none, `NotInstalledError` and `DeliveryError`.
    """
    server = policy.server
    if database is None and server is not None:
        # Imported here: most trails need no driver.
        if server.is_mariadb:
            from indelible.invariants.mariadb_live import MariadbLive

            return MariadbLive(server, policy)
        from indelible.invariants.postgres_live import PostgresLive

        return PostgresLive(server, policy)
    path = database if database is not None else policy.database
    if path is None:
        raise ConfigurationError(
            "expected a database to compare with: name one in [database], or here"
        )
    return SqliteLive(Path(path), policy)
