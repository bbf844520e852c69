"""What each driver for PostgreSQL is asked and sent, past what the application sees of it.

`Wire` says it with the driver's own cursors, which costs a round trip each; psycopg's synchronous
connections have a shorter way.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
import re
from collections.abc import Generator
from typing import Any, ClassVar, Final

from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.context import ContextSender, Cursor
from indelible.capture.postgres.names import CONTEXT

_PSYCOPG2_IDLE: Final = 0
_PSYCOPG2_IN_TRANSACTION: Final = 2
"""`TRANSACTION_STATUS_IDLE` and `TRANSACTION_STATUS_INTRANS` of `psycopg2.extensions`."""
_PSYCOPG2_BEGUN: Final = 2
"""`STATUS_BEGIN` there: psycopg2 won't send BEGIN before the next statement."""
_PLACEHOLDER: Final = re.compile("%s")


class Wire(abc.ABC):
    """One connection. `dbapi` makes cursors that are used synchronously, `driver` is beneath it.

    What is sent raises whatever the driver raises.
    """

    tells_with_begin: ClassVar[bool] = False
    """Whether `tell` costs no round trip where it begins the transaction."""

    def __init__(self, dbapi: Any, driver: Any) -> None:
        self._dbapi = dbapi
        self._driver = driver

    @property
    @abc.abstractmethod
    def is_idle(self) -> bool:
        """Whether no transaction is open on the server."""

    @property
    @abc.abstractmethod
    def is_open(self) -> bool:
        """Whether a transaction is open that hasn't failed, as far as the driver tells."""

    @property
    def is_autocommit(self) -> bool:
        """Whether the driver begins no transaction by itself."""
        return bool(self._driver.autocommit)

    @property
    def is_broken(self) -> bool:
        """Whether the driver would say of every further statement that something is closed, and
        no longer why. Then what was raised before is what the application has to see."""
        return False

    @property
    def can_begin(self) -> bool:
        """Whether `begin` may be called, in autocommit and while idle."""
        return True

    def cursor(self) -> Cursor:
        """A cursor of capture's own; to be closed."""
        cursor: Cursor = self._dbapi.cursor()
        return cursor

    def query(self, text: str, parameters: Any = None) -> list[Any]:
        """All rows of a statement of ours, which the driver runs as one of the application's; with
        the parameters as it takes them."""
        with contextlib.closing(self._dbapi.cursor()) as cursor:
            if parameters is None:
                cursor.execute(text)
            else:
                cursor.execute(text, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def undo(self) -> None:
        """Roll back the transaction that the driver began, as the application would."""
        self._dbapi.rollback()

    def tell(self, sender: ContextSender, text: str) -> None:
        """Send the signed context to the open transaction, or with the one that it begins."""
        with contextlib.closing(self.cursor()) as cursor:
            sender.send_text(cursor, text)

    def begin(self, sender: ContextSender, text: str) -> None:
        """In autocommit: begin a transaction and send it the signed context."""
        self._run("BEGIN")
        self.tell(sender, text)

    def commit(self) -> None:
        """Commit what `begin` began."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """Take back what `begin` began."""
        self._run("ROLLBACK")

    def _run(self, command: str) -> None:
        with contextlib.closing(self.cursor()) as cursor:
            cursor.execute(command)


class AsyncPsycopgWire(Wire):
    """psycopg's `AsyncConnection`, as SQLAlchemy adapts it."""

    def __init__(self, dbapi: Any, driver: Any) -> None:
        super().__init__(dbapi, driver)
        self._status = load_driver().pq.TransactionStatus

    @property
    def is_idle(self) -> bool:
        return bool(self._driver.pgconn.transaction_status == self._status.IDLE)

    @property
    def is_open(self) -> bool:
        return bool(self._driver.pgconn.transaction_status == self._status.INTRANS)

    @property
    def is_broken(self) -> bool:
        return bool(self._driver.closed)


class PsycopgWire(AsyncPsycopgWire):
    """psycopg's `Connection`: who acts goes along with BEGIN, which saves a round trip."""

    tells_with_begin = True

    def tell(self, sender: ContextSender, text: str) -> None:
        if not self.can_begin:
            super().tell(sender, text)
            return
        # psycopg sends its BEGIN with the next statement, unless one is open by then.
        self._send(text, begin=self._driver._get_tx_start_command() if self.is_idle else b"")

    @property
    def can_begin(self) -> bool:
        """A command may be sent past psycopg unless it is in a pipeline, or recoding."""
        driver = self._driver
        is_off = driver.pgconn.pipeline_status == load_driver().pq.PipelineStatus.OFF
        return bool(is_off and driver.info.encoding == "utf-8")

    def begin(self, sender: ContextSender, text: str) -> None:
        self._send(text, begin=b"BEGIN")

    def _send(self, text: str, *, begin: bytes) -> None:
        literal = load_driver().pq.Escaping(self._driver.pgconn).escape_literal(text.encode())
        command = b"SET LOCAL %s = %s" % (CONTEXT.encode(), bytes(literal))
        self._execute(begin + b"; " + command if begin else command)

    def _run(self, command: str) -> None:
        self._execute(command.encode())

    def _execute(self, command: bytes) -> None:
        with self._driver.lock:
            self._driver.wait(self._answered(command))

    def _answered(self, command: bytes) -> Generator[Any, Any, None]:
        """What psycopg waits for."""
        from psycopg import errors, generators, pq

        pgconn = self._driver.pgconn
        pgconn.send_query(command)
        for result in (yield from generators.execute(pgconn)):
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise errors.error_from_result(result)


class Psycopg2Wire(Wire):
    """psycopg2's connection."""

    @property
    def is_idle(self) -> bool:
        return bool(self._driver.info.transaction_status == _PSYCOPG2_IDLE)

    @property
    def is_open(self) -> bool:
        return bool(self._driver.info.transaction_status == _PSYCOPG2_IN_TRANSACTION)

    @property
    def is_broken(self) -> bool:
        return bool(self._driver.closed)

    @property
    def is_autocommit(self) -> bool:
        """Also behind a COMMIT in a statement's text, which psycopg2 knows nothing of."""
        return bool(self._driver.autocommit) or (
            self.is_idle and self._driver.status == _PSYCOPG2_BEGUN
        )


class AsyncpgWire(Wire):
    """asyncpg's connection, as SQLAlchemy adapts it."""

    @property
    def is_idle(self) -> bool:
        return not self._driver.is_in_transaction()

    @property
    def is_open(self) -> bool:
        return bool(self._driver.is_in_transaction())

    @property
    def is_autocommit(self) -> bool:
        return bool(self._dbapi.autocommit)

    def cursor(self) -> Cursor:
        return _NumberedCursor(self._dbapi.cursor())


class _NumberedCursor:
    """Takes `%s` where the driver takes `$1`, `$2`, …"""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, text: str, parameters: tuple[object, ...] = ()) -> None:
        numbers = itertools.count(1)
        self._cursor.execute(_PLACEHOLDER.sub(lambda _: f"${next(numbers)}", text), parameters)

    def close(self) -> None:
        self._cursor.close()
