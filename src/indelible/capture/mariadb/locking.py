"""Tables locked for a moment, without keeping the application waiting."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from typing import Final

from indelible.capture.mariadb.connecting import Connection, load_driver, number_of
from indelible.errors import ConfigurationError

_LOCK_S: Final = 1
_NOT_AVAILABLE: Final = {1205, 1213}


@contextlib.contextmanager
def locked(connection: Connection, tables: Sequence[str], patience_s: float) -> Iterator[None]:
    """While this lasts nobody else reads or writes `tables` (quoted names); never waits long for
    that at once. The connection can use no others."""
    driver = load_driver()
    listed = ", ".join(f"{table} WRITE" for table in tables)
    deadline = time.monotonic() + patience_s
    pause_s = 0.05
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {_LOCK_S}")
        while True:
            try:
                cursor.execute(f"LOCK TABLES {listed}")
                break
            except driver.OperationalError as error:
                if number_of(error) not in _NOT_AVAILABLE:
                    raise
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"expected {', '.join(tables)} to be free for a moment within "
                        f"{patience_s:g} s, other transactions hold it: end those that are idle, "
                        "and run this again"
                    ) from None
            time.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 - not for secrets
            pause_s = min(1.0, pause_s * 1.5)
        try:
            yield
        finally:
            with contextlib.suppress(driver.Error):  # a connection that broke holds none
                cursor.execute("UNLOCK TABLES")
