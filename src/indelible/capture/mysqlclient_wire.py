"""What mysqlclient's connections are asked and sent, past what the application sees of them.

mysqlclient doesn't tell whether a transaction is open; its client library does, MariaDB's
Connector/C by a function of its own. MySQL's has none.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any, Final

try:
    from MySQLdb import _mysql
    from MySQLdb.constants import CR, ER
    from MySQLdb.cursors import Cursor
except ImportError as missing:
    raise ImportError("expected mysqlclient: pip install 'indelible[mysqlclient]'") from missing

from indelible.capture.mariadb.wires import IN_TRANSACTION, Wire
from indelible.errors import CaptureError

_SERVER_STATUS: Final = 30
"""`MARIADB_CONNECTION_SERVER_STATUS` of Connector/C."""
_KILLED: Final = 1927
_ENDED: Final = {CR.SERVER_GONE_ERROR, CR.SERVER_LOST, _KILLED, ER.NET_PACKET_TOO_LARGE}
"""What is said once of a connection that ended; of further statements, that it's gone."""


class MysqlclientWire(Wire):
    """One connection of mysqlclient's."""

    def __init__(self, driver: Any) -> None:
        super().__init__(None, driver)

    @property
    def is_idle(self) -> bool:
        return bool(self._driver.closed) or not _status_of(self._driver) & IN_TRANSACTION

    @property
    def is_autocommit(self) -> bool:
        return bool(self._driver.closed or self._driver.get_autocommit())

    @property
    def is_broken(self) -> bool:
        return bool(self._driver.closed) or self._driver.errno() in _ENDED

    @property
    def is_busy(self) -> bool:
        """Whether rows may be left to be fetched: of a result set it isn't told."""
        driver = self._driver
        return not driver.closed and bool(driver.field_count() or driver.more_results())

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        yield _OwnCursor(self._driver)


class _OwnCursor(Cursor):  # type: ignore[misc]  # mysqlclient has no types
    """Goes past what may be captured, and throws no result away that isn't its own."""

    def _discard(self) -> None:
        pass

    def _query(self, q: bytes) -> Any:
        connection = self._get_db()
        _mysql.connection.query(connection, q)
        self._do_get_result(connection)
        self._post_get_result()
        self._executed = q
        return self.rowcount


def status_reader(library: Any) -> Callable[[Any], int]:
    """How a connection's status flags are read through `library`, what mysqlclient is linked with.

    Raises `CaptureError` where that isn't MariaDB's.
    """
    try:
        ask = library.mariadb_get_info
    except AttributeError:
        raise CaptureError(
            "expected mysqlclient to be built with MariaDB's Connector/C (libmariadb-dev), got one "
            "with another client library: that can't tell whether a transaction is open"
        ) from None
    ask.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    ask.restype = ctypes.c_char
    pointer_in = ctypes.PyDLL(None).PyCapsule_GetPointer
    pointer_in.argtypes = [ctypes.py_object, ctypes.c_char_p]
    pointer_in.restype = ctypes.c_void_p

    def read(connection: Any) -> int:
        status = ctypes.c_uint()
        capsule = connection._get_native_connection()
        pointer = pointer_in(capsule, b"_mysql.connection.native_connection")
        ask(pointer, _SERVER_STATUS, ctypes.byref(status))
        return status.value

    return read


_status_of: Final = status_reader(ctypes.PyDLL(_mysql.__file__))
