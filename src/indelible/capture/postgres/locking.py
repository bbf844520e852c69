"""Tables locked for a moment, without keeping the application waiting."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.schema import Relation
from indelible.errors import ConfigurationError

if TYPE_CHECKING:
    from indelible.capture.postgres.connecting import Connection

_LOCK_MS: Final = 200


@contextlib.contextmanager
def locked(
    connection: Connection, table: str, patience_s: float, mode: str = "SHARE ROW EXCLUSIVE"
) -> Iterator[Any]:
    """A transaction in which nobody else writes to `table`; never waits long for that at once."""
    driver = load_driver()
    deadline = time.monotonic() + patience_s
    pause_s = 0.05
    is_held = False
    while True:
        try:
            transaction = connection.transaction()
            with transaction, connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_MS}ms'")
                cursor.execute(f"LOCK TABLE {table} IN {mode} MODE")
                is_held = True
                yield cursor
                return
        except (driver.errors.LockNotAvailable, driver.errors.DeadlockDetected):
            if is_held:
                raise
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"expected {table} to be free for a moment within {patience_s:g} s, other "
                    "transactions hold it: end those that are idle, and run this again"
                ) from None
        time.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 - not for secrets
        pause_s = min(1.0, pause_s * 1.5)


def lock_target(root: Relation) -> str:
    """What to lock to keep all rows of `root` as they are."""
    # Of a partitioned table all partitions; of an inheritance tree this table alone.
    return root.quoted if root.is_partitioned else f"ONLY {root.quoted}"
