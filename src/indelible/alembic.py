"""Capture follows Alembic's migrations: in `env.py`, around `context.run_migrations()`.

```python
with connectable.connect() as connection:
    context.configure(
        connection=connection, target_metadata=target_metadata, include_name=include_name
    )
    with followed_by_capture(context), context.begin_transaction():
        context.run_migrations()
```

Needs the trail's configuration and its keys where migrations run. Commands that migrate nothing
(`alembic current`, `stamp`, `check`, `revision`), an upgrade with nothing left to do, and `--sql`
do nothing here either.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from indelible.capture.postgres.names import SCHEMA
from indelible.capture.servers import backend_of
from indelible.capture.sqlite_install import install, suspend
from indelible.capture.sqlite_names import is_ours
from indelible.errors import ConfigurationError, NotInstalledError
from indelible.policy import Policy, Server
from indelible.trail import Trail

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def followed_by_capture(
    context: Any, source: str | Path | Policy = "indelible.toml"
) -> Iterator[None]:
    """Run a migration inside; what it leaves is captured when this returns, also where it failed.

    `context` is `alembic.context`, configured. On SQLite and MariaDB, where triggers are in the way
    of a column that goes, capture is suspended meanwhile, which is an entry of the trail, and every
    table is written down again afterwards. Raises `ConfigurationError`: where the configuration
    names no database, before the migration; where capture can't be installed, after it.
    """
    if not _migrates(context):
        yield
        return
    with contextlib.closing(Trail.open(source, relay=False)) as trail:
        server = trail.policy.server
        if server is None:
            with _following_file(trail):
                yield
        else:
            with _following_server(trail, server):
                yield


def include_name(name: str | None, type_: str, parent_names: object) -> bool:
    """For `context.configure(include_name=…)`: `--autogenerate` leaves alone what is Indelible's,
    which it would drop."""
    if type_ == "schema":
        return name != SCHEMA
    return type_ != "table" or not is_ours(name)


@contextlib.contextmanager
def _following_file(trail: Trail) -> Iterator[None]:
    database = trail.policy.database
    if database is None:
        raise ConfigurationError(
            f"{trail.policy.source}: expected [database] with the url of what is migrated, "
            "found none"
        )
    if database.exists():
        with contextlib.suppress(NotInstalledError):
            suspend(database, journal=trail.journal)
    try:
        yield
    finally:
        report = install(database, trail.policy, journal=trail.journal)
        _say(report.is_first, report.drifts)


@contextlib.contextmanager
def _following_server(trail: Trail, server: Server) -> Iterator[None]:
    backend = backend_of(server)
    if server.is_mariadb:
        with contextlib.suppress(NotInstalledError):
            backend.suspend(server, journal=trail.journal)
    try:
        yield
    finally:
        report = backend.install(server, trail.policy, journal=trail.journal)
        _say(report.is_first, report.drifts)


def _say(is_first: bool, drifts: Sequence[object]) -> None:
    for drift in () if is_first else drifts:
        _log.info("capture follows the migration: %s", drift)


def _migrates(context: Any) -> bool:
    """Whether this run of `env.py` is about to change the schema."""
    if context.is_offline_mode():
        return False
    try:
        wanted = context.get_revision_argument()
    except KeyError:  # of a command that goes nowhere
        return False
    migration = context.get_context()
    if "purge" in migration.opts:  # only `stamp` has it, which changes no schema
        return False
    current = migration.get_current_heads()
    wanted = wanted if isinstance(wanted, list | tuple) else (wanted,)
    return set(wanted) != set(current)
