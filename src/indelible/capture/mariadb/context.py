"""Who is acting, told to a connection that writes: in a user variable, signed.

The variable would outlive its transaction, so that whoever sets it has to clear it when that ends.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from indelible.capture.context_text import payload_for, sign_context, sign_event
from indelible.capture.mariadb.names import CONTEXT, quote_name, schema_name
from indelible.capture.nonces import NONCES, Nonces
from indelible.events.context import Frame

_SEND: Final = f"SET {CONTEXT} = %s"
CLEAR: Final = f"SET {CONTEXT} = NULL"


class ContextSender:
    """Signs contexts for one database and sends them. Safe for threads."""

    def __init__(
        self, context_key: bytes, incarnation: str, database: str, *, nonces: Nonces = NONCES
    ) -> None:
        """`incarnation` is that of the application's `database` on this server."""
        self._key = context_key
        self._incarnation = incarnation
        self._record = f"CALL {quote_name(schema_name(database))}.record(%s, %s)"
        self._nonces = nonces

    def send_context(
        self,
        cursor: Any,
        frame: Frame | None,
        *,
        nonce: str | None = None,
        reverses: tuple[str, ...] = (),
    ) -> str:
        """What is written from now on over the cursor's connection is of `frame`'s actor, until
        `clear`.

        Call it once a transaction, before the first write, and again with the `nonce` that it
        returned when another frame acts in the same transaction.
        """
        nonce = nonce or self._nonces.next()
        payload = payload_for(nonce, frame, reverses)
        cursor.execute(_SEND, (sign_context(self._key, self._incarnation, payload),))
        return nonce

    def clear(self, cursor: Any) -> None:
        """Nobody acts over the cursor's connection any more."""
        cursor.execute(CLEAR)

    def record(self, cursor: Any, draft: bytes, *, nonce: str) -> None:
        """Put an explicit event into the outbox: it commits with this transaction or never was.

        `nonce` is what `send_context` returned in this transaction. The draft names its own actor.
        Needs EXECUTE on the procedure `record`: name the role in `[database] roles`.
        """
        proof = sign_event(self._key, self._incarnation, nonce, draft)
        cursor.execute(self._record, (base64.b64encode(draft).decode(), proof))
        while cursor.nextset():
            pass
