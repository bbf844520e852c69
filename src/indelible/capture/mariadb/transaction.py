"""Who acts, told to one connection, once for each actor and only if it writes.

It is told in a user variable, which has no end of its own: so it is cleared where the transaction
ends, before the commit, and where a connection is given back.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

from indelible.capture.mariadb.context import CLEAR, ContextSender
from indelible.capture.mariadb.wires import Wire
from indelible.capture.nonces import NONCES
from indelible.capture.senders import Senders
from indelible.errors import CaptureError
from indelible.events.context import Frame

_log = logging.getLogger(__name__)

_NOT_INSTALLED: Final = "expected a database that is set up: `indelible install`"


class WritingTransaction:
    """What the open transaction was told. Used as its connection is: by one at a time."""

    def __init__(self, wire: Wire, senders: Senders[ContextSender]) -> None:
        self._wire = wire
        self._senders = senders
        self._nonce: str | None = None
        self._frame: Frame | None = None
        self._is_told = False
        self._is_stale = False
        """Whether what the server was told holds no more, or may not be what it was told last."""
        self._was_open = False

    @property
    def transaction(self) -> str | None:
        """The id under which writes of the open transaction, or of the next one, are recorded.

        None in autocommit.
        """
        self._notice_end()
        if self._nonce is None and not self._is_without_transaction():
            self._nonce = NONCES.next()
        return self._nonce

    @property
    def written(self) -> str | None:
        """The id of the open transaction if it was told who acts, as it is before any write."""
        self._notice_end()
        return self._nonce if self._is_told else None

    def before_read(self) -> None:
        """A statement that is proven to be a read is about to run: a view may call what writes."""
        self._notice_end()
        if self._is_stale:
            self.end()

    def before_write(self, frame: Frame | None) -> None:
        """A statement that isn't proven to be a read is about to run for `frame`'s actor.

        A connection that can't be told fails with the statement itself: this raises only what
        that can't say any more (`Wire.is_broken`).
        """
        self._notice_end()
        if self._is_told and not self._is_stale and frame is self._frame:
            return
        if frame is not None or self._nonce is not None:
            self._tell(frame)
        elif self._is_told:
            self.end()

    def after_statement(self) -> None:
        """One ran, or failed. In autocommit that was a transaction."""
        if not self._wire.is_idle:
            self._was_open = True
        elif self._is_told and (self._was_open or self._wire.is_autocommit):
            if self._wire.is_busy:
                self._ended()  # cleared before whatever runs next
            else:
                self.end()

    def end(self) -> None:
        """The transaction ends next, or has ended: nobody acts any more. Raises nothing."""
        self._ended()
        if self._is_told:
            with contextlib.suppress(Exception):  # a connection that broke has no variable left
                with self._wire.cursor() as cursor:
                    cursor.execute(CLEAR)
                self._is_told = self._is_stale = False

    def record(self, draft: bytes, frame: Frame | None = None) -> None:
        """Put an explicit event into the outbox. Raises `CaptureError` and driver errors."""
        self._notice_end()
        sender = self._senders.sender()
        if sender is None:
            raise CaptureError(_NOT_INSTALLED)
        if self._is_without_transaction():
            raise CaptureError(
                "expected a transaction to record the event in, got a connection in autocommit"
            )
        if not self._is_told or self._is_stale or frame is not self._frame:
            self._tell(frame)
        if self._nonce is None:
            raise CaptureError("expected a connection that says who acts, got one that fails")
        with self._wire.cursor() as cursor:
            sender.record(cursor, draft, nonce=self._nonce)
        self.after_statement()

    def _notice_end(self) -> None:
        """What was told ended with its transaction, where that ended in a way that wasn't seen."""
        if self._was_open and self._wire.is_idle:
            self._ended()

    def _ended(self) -> None:
        self._nonce = self._frame = None
        self._was_open = False
        self._is_stale = self._is_told

    def _is_without_transaction(self) -> bool:
        return self._wire.is_idle and self._wire.is_autocommit

    def _tell(self, frame: Frame | None) -> None:
        sender = self._senders.sender()
        if sender is None:
            return
        # Cancelled from here on it may have been told.
        self._is_told, self._is_stale, self._frame = True, True, None
        try:
            with self._wire.cursor() as cursor:
                self._nonce = sender.send_context(cursor, frame, nonce=self._nonce)
        except Exception as error:
            if self._wire.is_broken:
                raise
            # The application's own statement fails next, and says why.
            _log.warning("who acts could not be told to the database: %s", type(error).__name__)
            return
        self._frame, self._is_stale = frame, False
