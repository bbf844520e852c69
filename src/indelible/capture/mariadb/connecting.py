"""Connections to the application's server: how one is opened, and how its errors are said."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from typing import Any, Final

from indelible.errors import ConfigurationError, DeliveryError
from indelible.policy.model import Server

Connection = Any
"""PyMySQL's, which has no types of its own."""
_CONNECT_S: Final = 10
_STATEMENT_S: Final = 60
_OPTIONS: Final = {"unix_socket", "ssl_ca", "ssl_cert", "ssl_key"}
_DENIED: Final = {1044, 1045, 1142, 1143, 1227, 1370, 1419, 1698}
_NAMING: Final = {1049, 1054, 1146, 1305, 1360, 1449}
"""Of what isn't there: the server's text holds names only."""
_SETTINGS: Final = (
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'",
    # Else a fingerprint of many tables would be cut.
    "SET SESSION group_concat_max_len = 1073741824",
    # Else MySQL 8 tells of a table what it was a day ago.
    "SET SESSION information_schema_stats_expiry = 0",
)
_UNKNOWN_VARIABLE: Final = 1193
_MEANINGS: Final = {
    1022: "a row with this key is there already",
    1048: "a column can't be NULL",
    1062: "a row with this key is there already",
    1205: "others hold what is needed",
    1213: "a deadlock",
    1406: "a value is too long",
    1419: "with the binary log on, triggers need the right SUPER, or "
    "log_bin_trust_function_creators = 1",
    1451: "other rows refer to it",
    1452: "the row that it refers to isn't there",
    4025: "a CHECK constraint",
}


def connect(server: Server, *, statement_s: float = _STATEMENT_S) -> Connection:
    """A connection of ours, in autocommit, in UTC and without a strict SQL mode.

    Raises `ConfigurationError` where PyMySQL isn't installed, the URL can't be read or the server
    lets us not in; `DeliveryError` where it doesn't answer. No error ever holds the password.
    """
    driver = load_driver()
    options = options_of(server)
    with server_errors(server):
        connection: Connection = driver.connect(
            **options,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=_CONNECT_S,
            read_timeout=statement_s,
            write_timeout=statement_s,
        )
        try:
            with connection.cursor() as cursor:
                for setting in _SETTINGS:
                    try:
                        cursor.execute(setting)
                    except driver.Error as error:
                        if number_of(error) != _UNKNOWN_VARIABLE:
                            raise
        except BaseException:
            connection.close()
            raise
    return connection


def options_of(server: Server) -> dict[str, Any]:
    """What PyMySQL calls the parts of the URL. Raises `ConfigurationError`."""
    parts = urllib.parse.urlsplit(server.url)
    options: dict[str, Any] = dict(urllib.parse.parse_qsl(parts.query))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise ConfigurationError(
            f"expected {', '.join(sorted(_OPTIONS))} behind the ? of [database] url, got "
            f"{', '.join(unknown)}"
        )
    options["database"] = database_of(server)
    options["host"] = parts.hostname or "localhost"
    options["port"] = parts.port or 3306
    options["user"] = urllib.parse.unquote(parts.username or "")
    options["password"] = urllib.parse.unquote(parts.password or "")
    return options


def database_of(server: Server) -> str:
    """The name of the application's database. Raises `ConfigurationError` where there is none."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(server.url).path.removeprefix("/"))
    if not name:
        raise ConfigurationError(
            f"expected the database's name in [database] url, as in mysql://host/name, got {server}"
        )
    return name


def load_driver() -> Any:
    """PyMySQL. Raises `ConfigurationError` naming the pip command where it isn't installed."""
    try:
        import pymysql
    except ImportError:
        raise ConfigurationError(
            "MariaDB and MySQL need PyMySQL: pip install 'indelible[mariadb]'"
        ) from None
    return pymysql


@contextlib.contextmanager
def server_errors(server: Server) -> Iterator[None]:
    """What PyMySQL raises inside becomes `DeliveryError`; missing rights, `ConfigurationError`."""
    driver = load_driver()
    try:
        yield
    except driver.Error as error:
        if number_of(error) in _DENIED:
            raise ConfigurationError(f"{server}: {said(error, server)}") from None
        raise DeliveryError(f"{server}: {said(error, server)}") from None


def number_of(error: Exception) -> int:
    """The server's or the client library's number of an error; 0 where it has none."""
    return error.args[0] if error.args and type(error.args[0]) is int else 0


def said(error: Exception, server: Server) -> str:
    """What is wrong, never with a value of a row, which the server quotes, nor the password."""
    number = number_of(error)
    meaning = _MEANINGS.get(number)
    if meaning is None and (number in _DENIED | _NAMING or number >= 2_000 or not number):
        text = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
        meaning = server.without_password(text.splitlines()[0] if text else "")
    return f"{meaning} (error {number})" if meaning else f"error {number}"
