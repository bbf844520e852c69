"""An anchor that is a webhook: each checkpoint is posted to a URL, and acknowledged.

Nothing can be read back: that it was acknowledged is all that can be said, by us.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from indelible.errors import DeliveryError
from indelible.integrity.anchors import ReadBack, Receipt
from indelible.integrity.http_exchange import exchange
from indelible.integrity.tokens import read_token_file
from indelible.policy.anchors import WebhookSettings
from indelible.store.protocol import AnchorRow
from indelible.tlog import Checkpoint

_MAX_ANSWER_BYTES: Final = 1 << 16


class WebhookAnchor:
    """Implements `indelible.integrity.anchors.Anchor`."""

    kind = "webhook"
    is_outside = False

    def __init__(self, settings: WebhookSettings) -> None:
        """Raises `ConfigurationError` where the token can't be read, or others may read it."""
        self.name = settings.name
        self._settings = settings
        token_file = settings.token_file
        self._token = None if token_file is None else read_token_file(token_file)

    def keep(self, note: bytes, checkpoint: Checkpoint, last: AnchorRow | None) -> Receipt:
        body = {
            "origin": checkpoint.origin,
            "size": int(checkpoint.size),
            "root": checkpoint.root.hex(),
            "checkpoint": note.decode(),
        }
        answer = exchange(
            "POST",
            self._settings.url,
            deadline_s=self._settings.deadline_s,
            max_bytes=_MAX_ANSWER_BYTES,
            body=msgspec.json.encode(body),
            content_type="application/json",
            authorization=None if self._token is None else self._token.header,
        )
        # A redirect isn't followed: nobody but who was named gets the token.
        if not 200 <= answer.status < 300:
            raise DeliveryError(f"expected a status of 200 to 299, came {answer.status}")
        return Receipt(int(time.time()), str(answer.status).encode(), outside=False)

    def read_back(self, last: AnchorRow | None, *, whole: bool = True) -> ReadBack:
        return ReadBack([], "acknowledged, which nobody can check")
