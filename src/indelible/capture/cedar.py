"""Cedar (`cedarpy`): each request is a decision, by the policies that determined it.

```python
cedar = RecordingCedar(trail, kinds={"User": "staff"})      # User::"alice" is staff:alice
if cedar.is_authorized(request, policies, entities).allowed:
    ...
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

try:
    import cedarpy
except ImportError as missing:
    raise ImportError("expected Cedar: pip install cedarpy") from missing

from indelible.capture.authorisation import (
    Answered,
    Asked,
    Decider,
    Recorder,
    action_name,
    failed,
)
from indelible.errors import EventError
from indelible.events.model import Actor, Target

_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_POLICY: Final = re.compile(r"policy `([^`]*)`")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


class Entity(NamedTuple):
    """`Shop::Invoice::"93"`: its type and its id."""

    type: str
    id: str


class RecordingCedar:
    """`cedarpy`'s functions that decide, recorded.

    The principal is the decision's actor and the resource its target, each by the last part of its
    type in small letters (`Shop::Invoice` is `invoice`), or as `kinds` names it; None there says
    that it is neither. The rule is the ids of the policies that determined the answer (what their
    `@id` says, where they have one). Policies that couldn't be evaluated are noticed.
    """

    def __init__(
        self,
        trail: Decider,
        *,
        kinds: Mapping[str, str | None] | None = None,
        strict: bool = False,
    ) -> None:
        self._recorder = Recorder(trail, _Requests(kinds or {}), strict=strict)

    def is_authorized(self, request: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As `cedarpy.is_authorized`."""
        return self._recorder.call(cedarpy.is_authorized, request, *args, **kwargs)

    def is_authorized_batch(
        self, requests: Sequence[dict[str, Any]], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """As `cedarpy.is_authorized_batch`; each request is a decision."""
        requests = list(requests)
        try:
            results = cedarpy.is_authorized_batch(requests, *args, **kwargs)
        except Exception as error:
            for request in requests:
                self._recorder.record(error, request)
            raise
        for request, result in zip(requests, results, strict=True):
            self._recorder.record(result, request)
        return results


class _Requests:
    def __init__(self, kinds: Mapping[str, str | None]) -> None:
        self._kinds = kinds

    def asked(self, request: Mapping[str, Any], *args: Any, **kwargs: Any) -> Asked:
        principal, action, resource = (
            parse_entity(request[name]) for name in ("principal", "action", "resource")
        )
        actor, target = self._kind(principal.type), self._kind(resource.type)
        return Asked(
            action=action_name(target or "resource", action.id),
            actor=None if actor is None else Actor(actor, principal.id),
            target=None if target is None else Target(target, resource.id),
            details={
                name: f"{entity.type}::{json.dumps(entity.id)}"
                for name, entity in (
                    ("principal", principal),
                    ("action", action),
                    ("resource", resource),
                )
            },
        )

    def answered(self, answer: Any) -> Answered:
        if isinstance(answer, Exception):
            return failed(answer)
        diagnostics = answer.diagnostics
        named = diagnostics.id_annotations_by_reason
        decided = answer.decision is not cedarpy.Decision.NoDecision
        return Answered(
            allowed=answer.allowed if decided else None,
            policy="cedar",
            rule=", ".join(sorted(named.get(id_) or id_ for id_ in diagnostics.reasons)) or None,
            errors=tuple(_failed_policy(str(each)) for each in diagnostics.errors),
        )

    def _kind(self, type_: str) -> str | None:
        last = type_.rpartition("::")[2]
        for name in (type_, last):
            if name in self._kinds:
                return self._kinds[name]
        return last.lower()


def _failed_policy(error: str) -> str:
    """Which policy failed; what else Cedar says of it quotes ids and values of the request."""
    named = _POLICY.search(error)
    return f"policy {named[1]}" if named else "a policy that Cedar doesn't name"


def parse_entity(given: object) -> Entity:
    """An entity as a request names it: Cedar's text, or a dict. Raises `EventError`."""
    if isinstance(given, Mapping):
        given = given.get("__entity", given)
        if isinstance(given, Mapping) and {"type", "id"} <= set(given):
            return Entity(str(given["type"]), str(given["id"]))
    if isinstance(given, str):
        before, quote, rest = given.strip().partition('"')
        type_ = before.rstrip()
        if quote and type_.endswith("::") and rest.endswith('"'):
            text = _ESCAPE.sub(_unescaped, rest[:-1])
            return Entity("".join(type_[:-2].split()), text)
    raise EventError("expected an entity like User::\"alice\" or {'type': …, 'id': …}")


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _ESCAPES.get(found[3], found[3])
