"""Connections to the application's server: how one is opened, and how its errors are said."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from indelible.capture.postgres.values import SETTINGS
from indelible.errors import ConfigurationError, DeliveryError
from indelible.policy.model import Server

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_OLDEST: Final = 140_000
_CONNECT_S: Final = 10
_STATEMENT_MS: Final = 60_000
_APPLICATION: Final = "indelible"


def connect(server: Server, *, statement_ms: int = _STATEMENT_MS) -> Connection:
    """A connection of ours, in autocommit, on which values have the text form of `SETTINGS`.

    Raises `ConfigurationError` where psycopg isn't installed, the URL can't be read, the server is
    too old or its encoding keeps no text; `DeliveryError` where it doesn't answer. No error ever
    holds the password.
    """
    driver = load_driver()
    try:
        connection: Connection = driver.connect(
            server.url,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            application_name=_APPLICATION,
            prepare_threshold=None,  # a pooler in transaction mode keeps none
        )
    except driver.ProgrammingError:
        raise ConfigurationError(
            f"expected a URL of PostgreSQL's in [database], got one that it can't read: {server}"
        ) from None
    except driver.Error as error:
        raise DeliveryError(f"{server}: {said(error, server)}") from None
    try:
        if connection.info.server_version < _OLDEST:
            raise ConfigurationError(
                f"expected PostgreSQL 14 or newer, found {connection.info.server_version // 10_000}"
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding == "SQL_ASCII":
            raise ConfigurationError(
                "expected a database with an encoding, found SQL_ASCII: its texts may be any bytes"
            )
        with connection.cursor() as cursor:
            for name, value in {
                **SETTINGS,
                "client_encoding": "UTF8",
                "search_path": "pg_catalog",
                "statement_timeout": str(statement_ms),
            }.items():
                cursor.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
    except driver.Error as error:
        connection.close()
        raise DeliveryError(f"{server}: {said(error, server)}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def load_driver() -> Any:
    """psycopg. Raises `ConfigurationError` naming the pip command where it isn't installed."""
    try:
        import psycopg
    except ImportError:
        raise ConfigurationError(
            "PostgreSQL needs psycopg: pip install 'indelible[postgres]'"
        ) from None
    return psycopg


@contextlib.contextmanager
def server_errors(server: Server) -> Iterator[None]:
    """What psycopg raises inside becomes `DeliveryError`; missing rights, `ConfigurationError`."""
    driver = load_driver()
    try:
        yield
    except driver.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"{server}: {said(error, server)}") from None
    except driver.Error as error:
        raise DeliveryError(f"{server}: {said(error, server)}") from None


def said(error: Exception, server: Server) -> str:
    """What the server said in its first line: no value of a row, and never the password."""
    diagnosed = getattr(getattr(error, "diag", None), "message_primary", None)
    text = str(diagnosed or error or type(error).__name__).strip().splitlines()[0]
    return server.without_password(text)
