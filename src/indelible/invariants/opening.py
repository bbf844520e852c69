"""The application's database, opened to be compared."""

from __future__ import annotations

from indelible.errors import ConfigurationError
from indelible.invariants.live import LiveDatabase
from indelible.invariants.sqlite_live import SqliteLive
from indelible.policy.model import Policy


def open_live(policy: Policy) -> LiveDatabase:
    """The database that the policy names.

    Raises `ConfigurationError` where it names none, `NotInstalledError` and `DeliveryError`.
    """
    server = policy.server
    if server is not None:
        # Imported here: most trails need no driver.
        if server.is_mariadb:
            from indelible.invariants.mariadb_live import MariadbLive

            return MariadbLive(server, policy)
        from indelible.invariants.postgres_live import PostgresLive

        return PostgresLive(server, policy)
    if policy.database is None:
        raise ConfigurationError(
            f'{policy.source}: expected [database] with url = "sqlite:///app.db", it has none'
        )
    return SqliteLive(policy.database, policy)
