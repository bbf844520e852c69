"""Who acts, told to one connection's open transaction, once for each actor and only if it writes,
or is expected to.

In autocommit a statement that changes rows gets the transaction that the server would have made
for it anyhow. Nothing outlives the transaction.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

from indelible.capture.nonces import NONCES
from indelible.capture.postgres.context import ContextSender
from indelible.capture.postgres.foresight import Foresight
from indelible.capture.postgres.verbs import changes_rows
from indelible.capture.postgres.wires import Wire
from indelible.capture.senders import Senders
from indelible.errors import CaptureError
from indelible.events.context import Frame

_log = logging.getLogger(__name__)

_NOT_INSTALLED: Final = "expected a database that is set up: `indelible install`"


class WritingTransaction:
    """What the open transaction was told. Used as its connection is: by one at a time."""

    def __init__(self, wire: Wire, senders: Senders[ContextSender], foresight: Foresight) -> None:
        self._wire = wire
        self._senders = senders
        self._foresight = foresight
        self._opening: str | None = None
        """The query that began the transaction, as long as nothing was written in it."""
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
        """The id of the open transaction if it was told who acts and may have written."""
        self.notice_end()
        return self._nonce if self._was_told and self._opening is None else None

    def before_read(self, text: str, frame: Frame | None) -> None:
        """A query that only reads is about to run: nobody has to be told, but may be now, where
        that goes along with BEGIN. Raises as `before_write`."""
        wire = self._wire
        if wire.tells_with_begin and wire.is_idle and not wire.is_autocommit:
            self._opening = text
            if frame is not None and self._foresight.expects_write(text):
                self._tell(frame)

    def before_write(self, frame: Frame | None) -> None:
        """A statement that isn't proven to be a read is about to run for `frame`'s actor.

        A connection that can't be told fails with the statement itself: this raises only what
        that can't say any more (`Wire.is_broken`).
        """
        self._notice_write()
        if self._is_told and frame is self._frame:
            return
        if frame is not None or self._nonce is not None:
            self._tell(frame)

    def begin_alone(self, text: str, frame: Frame | None) -> bool:
        """Whether a transaction was begun for one statement that runs in autocommit.

        Then `end_alone` has to be called. Anything but a single statement that changes rows is
        left alone: some can't run in a transaction, and of others nobody has to be told.
        """
        if frame is None or not self._is_without_transaction() or not changes_rows(text):
            return False
        wire = self._wire
        sender = self._senders.sender()
        if sender is None or not wire.can_begin:
            return False
        nonce, signed = sender.signed(frame)
        try:
            wire.begin(sender, signed)
        except BaseException as error:
            # The statement fails next, and says why; it must not find half a transaction. Nor must
            # whoever has the connection after a task that was cancelled here.
            self._take_back()
            if wire.is_broken or not isinstance(error, Exception):
                raise
            return False
        self._nonce, self._frame = nonce, frame
        self._is_told = self._was_told = True
        self._opening = None
        return True

    def end_alone(self, *, is_failed: bool = False) -> None:
        """Commit what `begin_alone` began, or take it back. Raises what the commit raises."""
        if is_failed:
            self._take_back()
        else:
            self._wire.commit()
        self.notice_end()

    def _take_back(self) -> None:
        # Whatever the driver says: a BEGIN that was cancelled may have reached the server.
        with contextlib.suppress(Exception):  # a connection that broke has none left
            self._wire.rollback()

    def forget(self, *, is_over: bool = False) -> None:
        """A savepoint was rolled back, perhaps with what was told since; or with `is_over`, the
        transaction may have ended and another begun."""
        self._is_told = False
        if is_over:
            self._nonce = None

    def record(self, draft: bytes, frame: Frame | None = None) -> None:
        """Put an explicit event into the outbox. Raises `CaptureError` and driver errors."""
        self._notice_write()
        sender = self._senders.sender()
        if sender is None:
            raise CaptureError(_NOT_INSTALLED)
        if not self._is_told or frame is not self._frame:
            self._tell(frame)
        if not self._is_told or self._nonce is None:
            raise CaptureError(
                "expected a transaction to record the event in, got a connection in autocommit"
            )
        with contextlib.closing(self._wire.cursor()) as cursor:
            sender.record(cursor, draft, nonce=self._nonce)

    def notice_end(self) -> None:
        """To be called before each statement: what was told ended with its transaction."""
        if self._was_told and self._wire.is_idle:
            self._nonce = self._frame = None
            self._is_told = self._was_told = False
            if self._opening is not None:
                self._foresight.only_read(self._opening)

    def _notice_write(self) -> None:
        self.notice_end()
        if self._opening is not None:
            if not self._wire.is_idle:
                self._foresight.wrote(self._opening)
            self._opening = None

    def _is_without_transaction(self) -> bool:
        return self._wire.is_idle and self._wire.is_autocommit

    def _tell(self, frame: Frame | None) -> None:
        sender = self._senders.sender()
        wire = self._wire
        if sender is None or self._is_without_transaction():
            return
        if not wire.is_idle and not wire.is_open:
            return
        nonce, text = sender.signed(frame, nonce=self._nonce)
        # Cancelled from here on it may have been told: then the next has to say that it's another.
        self._nonce, self._is_told, self._was_told = nonce, False, True
        try:
            wire.tell(sender, text)
        except Exception as error:
            if wire.is_broken:
                raise
            # The application's own statement fails next, and says why in the server's words.
            _log.warning("who acts could not be told to the database: %s", type(error).__name__)
            return
        self._nonce, self._frame = nonce, frame
        self._is_told = self._was_told = True
