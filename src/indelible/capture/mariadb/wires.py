"""What a driver for MariaDB and MySQL is asked and sent, past what the application sees of it."""

from __future__ import annotations

import contextlib
from typing import Any, Final

IN_TRANSACTION: Final = 1
"""`SERVER_STATUS_IN_TRANS` of the protocol's status flags."""


class Wire:
    """One connection of PyMySQL's kind. `dbapi` makes cursors that are used synchronously, `driver`
    is beneath it. What is sent raises whatever the driver raises."""

    def __init__(self, dbapi: Any, driver: Any) -> None:
        self._dbapi = dbapi
        self._driver = driver

    @property
    def is_idle(self) -> bool:
        """Whether no transaction is open on the server, as it last said."""
        return not self._driver.server_status & IN_TRANSACTION

    @property
    def is_autocommit(self) -> bool:
        """Whether the server begins no transaction by itself."""
        return bool(self._driver.get_autocommit())

    @property
    def is_broken(self) -> bool:
        """Whether the driver would say of every further statement that something is closed, and
        no longer why."""
        driver = self._driver
        return bool(driver.closed) if hasattr(driver, "closed") else not driver.open

    @property
    def is_busy(self) -> bool:
        """Whether rows of the last statement are still to be fetched, or further results: what is
        sent now would throw them away."""
        return is_pending(self._driver._result)

    @contextlib.contextmanager
    def cursor(self) -> Any:
        """A cursor of capture's own."""
        with contextlib.closing(self._dbapi.cursor()) as cursor:
            yield cursor

    def query(self, text: str, parameters: Any = None) -> list[dict[str, Any]]:
        """All rows of a statement of ours by their columns' names, with the parameters as the
        driver takes them of the application."""
        with self.cursor() as cursor:
            if parameters is None:
                cursor.execute(text)
            else:
                cursor.execute(text, parameters)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def is_pending(result: Any) -> bool:
    """Whether more of what PyMySQL calls a result is to come."""
    return result is not None and bool(result.unbuffered_active or result.has_next)
