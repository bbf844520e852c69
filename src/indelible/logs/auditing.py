"""Audit events on a log stream: their own way out, that nothing which is done to logging closes."""

from __future__ import annotations

import json
from typing import Protocol, Unpack

import msgspec

from indelible.events.codec import encode_draft
from indelible.events.explicit import ExplicitArguments, explicit_event
from indelible.logs.encoding import ascii_json
from indelible.logs.stream import LogStream


class Keeper(Protocol):
    """What keeps events at once, without a tee between: a trail's journal."""

    def append(self, draft: bytes) -> str: ...


class Auditor:
    """Where audit events go: to `keeper` where there is one, else onto the stream."""

    def __init__(self, stream: LogStream, keeper: Keeper | None) -> None:
        self._stream = stream
        self._keeper = keeper

    def audit(self, action: str, **said: Unpack[ExplicitArguments]) -> None:
        """See `indelible.logs.audit`."""
        draft = encode_draft(explicit_event(action, **said))
        if self._keeper is not None:
            self._keeper.append(draft)
        elif self._stream.is_signed:
            self._stream.write("A", f'{{"v":1,"c":"A","e":{_ascii(draft)}')
        else:
            self._stream.write("A", unkept_body(action))


def unkept_body(action: str) -> str:
    """What a stream that nobody tees has of an event, without the closing brace: it is an
    application log, so no more than that it happened."""
    return f'{{"v":1,"c":"A","unkept":{ascii_json(action)}'


def _ascii(draft: bytes) -> str:
    """The same JSON value in ASCII."""
    if draft.isascii() and b"\x7f" not in draft:
        return draft.decode()
    return json.dumps(msgspec.json.decode(draft), separators=(",", ":"))
