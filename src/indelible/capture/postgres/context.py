"""Who is acting, told to PostgreSQL in the transaction that writes.

The signed context is a setting that ends with its transaction: it can't leak through a pool, and
a savepoint that is rolled back takes it along (then it has to be sent again). Where the log is read
it is a message in the log, too, which is the transaction's in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from indelible.capture.context_text import payload_for, sign_context, sign_event
from indelible.capture.nonces import NONCES, Nonces
from indelible.capture.postgres.names import CONTEXT
from indelible.events.context import Frame

_SEND = "SELECT pg_catalog.set_config(%s, %s, true)"
_SEND_TO_LOG = (
    "SELECT pg_catalog.set_config(%s, %s, true), "
    # A standby has no log of its own to write to, and a write fails there anyhow.
    "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_logical_emit_message(true, "
    "'indelible', pg_catalog.convert_to(%s, 'UTF8')) END"
)
_RECORD = "SELECT indelible.record(%s, %s)"


class Cursor(Protocol):
    """What of a driver's cursor is needed: parameters are written `%s`."""

    @property
    def execute(self) -> Callable[..., Any]: ...

    @property
    def close(self) -> Callable[[], Any]: ...


class ContextSender:
    """Signs contexts for one database and sends them. Safe for threads."""

    def __init__(
        self,
        context_key: bytes,
        incarnation: str,
        *,
        to_log: bool = False,
        nonces: Nonces = NONCES,
    ) -> None:
        """`incarnation` is the database's (`read_incarnation`); `to_log` says that its log is read
        instead of triggers fired."""
        self._to_log = to_log
        self._key = context_key
        self._incarnation = incarnation
        self._nonces = nonces

    def send_context(
        self,
        cursor: Cursor,
        frame: Frame | None,
        *,
        nonce: str | None = None,
        reverses: tuple[str, ...] = (),
    ) -> str:
        """What is written from now on in the cursor's open transaction is of `frame`'s actor.

        Call it once a transaction, before the first write, and again with the `nonce` that it
        returned when another frame acts in the same transaction. Outside of a transaction it does
        nothing that lasts.
        """
        nonce, text = self.signed(frame, nonce=nonce, reverses=reverses)
        self.send_text(cursor, text)
        return nonce

    def signed(
        self, frame: Frame | None, *, nonce: str | None = None, reverses: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """The nonce, a new one where None is given, and the text that says it and `frame`."""
        nonce = nonce or self._nonces.next()
        payload = payload_for(nonce, frame, reverses)
        return nonce, sign_context(self._key, self._incarnation, payload)

    def send_text(self, cursor: Cursor, text: str) -> None:
        """Send what `signed` gave."""
        if self._to_log:
            cursor.execute(_SEND_TO_LOG, (CONTEXT, text, text))
        else:
            cursor.execute(_SEND, (CONTEXT, text))

    def command(self, literal: bytes) -> bytes:
        """The same as a command, of the text as an SQL literal."""
        if not self._to_log:
            return b"SET LOCAL %s = %s" % (CONTEXT.encode(), literal)
        name = b"'%s'" % CONTEXT.encode()
        return _SEND_TO_LOG.encode() % (name, literal, literal)

    def record(self, cursor: Cursor, draft: bytes, *, nonce: str) -> None:
        """Put an explicit event into the outbox: it commits with this transaction or never was.

        `nonce` is what `send_context` returned in this transaction. The draft names its own actor.
        Needs EXECUTE on `indelible.record`: name the role in `[database] roles`.
        """
        proof = sign_event(self._key, self._incarnation, nonce, draft)
        cursor.execute(_RECORD, (draft, proof))


def read_incarnation(cursor: Any) -> str | None:
    """The database's incarnation, through a role that may read `indelible.meta`."""
    cursor.execute("SELECT value FROM indelible.meta WHERE key = 'incarnation'")
    row = cursor.fetchone()
    return str(row[0]) if row is not None else None
