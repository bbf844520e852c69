"""Who acts, told to one connection's open transaction, once for each actor and only if it writes.

It goes along with BEGIN where psycopg would send that next, which saves a round trip; inside of a
transaction it is a statement of its own. In autocommit a statement that changes rows gets the
transaction that the server would have made for it anyhow. Nothing outlives the transaction.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from indelible.capture.nonces import NONCES
from indelible.capture.postgres.connecting import load_driver
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.names import CONTEXT
from indelible.capture.postgres.verbs import changes_rows
from indelible.errors import CaptureError
from indelible.events.context import Frame

_log = logging.getLogger(__name__)

_NOT_INSTALLED: Final = "expected a database that is set up: `indelible install`"


class Senders(Protocol):
    """Signs contexts for the database of an engine."""

    def sender(self) -> ContextSender | None:
        """None while there is no capture there, or it can't be asked."""


class WritingTransaction:
    """What the transaction that is open now was told. Used as the connection is: by one at a time.

    `driver` is psycopg's `Connection` or `AsyncConnection`, `dbapi` what stands for it where it is
    used synchronously.
    """

    def __init__(self, dbapi: Any, driver: Any, senders: Senders) -> None:
        self._dbapi = dbapi
        self._driver = driver
        self._senders = senders
        self._is_async = isinstance(driver, load_driver().AsyncConnection)
        self._status = load_driver().pq.TransactionStatus
        self._nonce: str | None = None
        self._frame: Frame | None = None
        self._is_told = False
        self._was_told = False

    @property
    def transaction(self) -> str | None:
        """The id under which writes of the open transaction, or of the next one, are recorded.

        None in autocommit.
        """
        self.notice_end()
        if self._nonce is None and not self._is_without_transaction():
            self._nonce = NONCES.next()
        return self._nonce

    @property
    def written(self) -> str | None:
        """The id of the open transaction if it was told who acts, as it is before any write."""
        self.notice_end()
        return self._nonce if self._was_told else None

    def before_write(self, frame: Frame | None) -> None:
        """A statement that isn't proven to be a read is about to run for `frame`'s actor.

        Raises nothing: a connection that can't be told fails with the statement itself.
        """
        self.notice_end()
        if self._is_told and frame is self._frame:
            return
        if frame is not None or self._nonce is not None:
            self._tell(frame)

    def begin_alone(self, text: str, frame: Frame | None) -> bool:
        """Whether a transaction was begun for one statement that runs in autocommit.

        Then `end_alone` has to be called. Anything but a single statement that changes rows is
        left alone: some can't run in a transaction, and of others nobody has to be told.
        """
        if frame is None or self._is_async or not self._is_without_transaction():
            return False
        if not changes_rows(text):
            return False
        sender = self._senders.sender()
        if sender is None or not self._has_plain_protocol():
            return False
        nonce, signed = sender.signed(frame)
        try:
            self._send(signed, begin=b"BEGIN")
        except load_driver().Error:
            # The statement fails next, and says why; it must not find half a transaction.
            if self._driver.pgconn.transaction_status != self._status.IDLE:
                self._driver.pgconn.exec_(b"ROLLBACK")
            return False
        self._nonce, self._frame = nonce, frame
        self._is_told = self._was_told = True
        return True

    def end_alone(self, *, is_failed: bool = False) -> None:
        """Commit what `begin_alone` began, or take it back. Raises what the commit raises."""
        driver = load_driver()
        result = self._driver.pgconn.exec_(b"ROLLBACK" if is_failed else b"COMMIT")
        self.notice_end()
        if not is_failed and result.status != driver.pq.ExecStatus.COMMAND_OK:
            raise driver.errors.error_from_result(result)

    def forget(self, *, is_over: bool = False) -> None:
        """A savepoint was rolled back, perhaps with what was told since; or with `is_over`, the
        transaction may have ended and another begun."""
        self._is_told = False
        if is_over:
            self._nonce = None

    def record(self, draft: bytes, frame: Frame | None = None) -> None:
        """Put an explicit event into the outbox. Raises `CaptureError` and driver errors."""
        self.notice_end()
        sender = self._senders.sender()
        if sender is None:
            raise CaptureError(_NOT_INSTALLED)
        if not self._is_told or frame is not self._frame:
            self._tell(frame)
        if not self._is_told or self._nonce is None:
            raise CaptureError(
                "expected a transaction to record the event in, got a connection in autocommit"
            )
        cursor = self._dbapi.cursor()
        try:
            sender.record(cursor, draft, nonce=self._nonce)
        finally:
            cursor.close()

    def notice_end(self) -> None:
        """To be called before each statement: what was told ended with its transaction."""
        if self._was_told and self._driver.pgconn.transaction_status == self._status.IDLE:
            self._nonce = self._frame = None
            self._is_told = self._was_told = False

    def _is_without_transaction(self) -> bool:
        is_idle = self._driver.pgconn.transaction_status == self._status.IDLE
        return is_idle and bool(self._driver.autocommit)

    def _tell(self, frame: Frame | None) -> None:
        sender = self._senders.sender()
        status = self._driver.pgconn.transaction_status
        if sender is None or self._is_without_transaction():
            return
        is_idle = status == self._status.IDLE
        if not is_idle and status != self._status.INTRANS:
            return
        nonce, text = sender.signed(frame, nonce=self._nonce)
        try:
            if self._is_async or not self._has_plain_protocol():
                sender.send_text(self._dbapi.cursor(), text)
            else:
                # psycopg sends its BEGIN with the next statement, unless one is open by then.
                self._send(text, begin=self._driver._get_tx_start_command() if is_idle else b"")
        except load_driver().Error as error:
            # The application's own statement fails next, and says why in the server's words.
            _log.warning("who acts could not be told to the database: %s", type(error).__name__)
            return
        self._nonce, self._frame = nonce, frame
        self._is_told = self._was_told = True

    def _has_plain_protocol(self) -> bool:
        """Whether a command may be sent past psycopg: it is neither in a pipeline nor recoding."""
        driver = self._driver
        is_off = driver.pgconn.pipeline_status == load_driver().pq.PipelineStatus.OFF
        return bool(is_off and driver.info.encoding == "utf-8")

    def _send(self, text: str, *, begin: bytes) -> None:
        driver = load_driver()
        connection = self._driver.pgconn
        literal = driver.pq.Escaping(connection).escape_literal(text.encode())
        command = b"SET LOCAL %s = %s" % (CONTEXT.encode(), bytes(literal))
        if begin:
            command = begin + b"; " + command
        result = connection.exec_(command)
        if result.status != driver.pq.ExecStatus.COMMAND_OK:
            raise driver.OperationalError(result.error_message.decode("utf-8", "replace"))
