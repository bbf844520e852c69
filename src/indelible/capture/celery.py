"""Who acts, carried along with Celery's tasks: what a task does is whose request published it.

```python
app = Celery("shop", broker=...)
carry_tasks(Trail.open("indelible.toml"))  # in what publishes tasks, and in the worker
```

Only the message's headers change. A retry, a chain and what a task itself publishes are carried
on; a decision isn't: a task is another time. What a schedule or another client publishes is
nobody's, unless the task says `acting_as`.
"""

from __future__ import annotations

from typing import Any, Final

try:
    from celery import signals
except ImportError as missing:
    raise ImportError("expected Celery: pip install 'indelible[celery]'") from missing

from indelible.capture.context_text import payload_for, sign_context, verify_context
from indelible.capture.host import CaptureHost
from indelible.capture.nonces import NONCES
from indelible.events.context import acting_as, current_frame

_HEADER: Final = "indelible_context"
_KEPT: Final = "_indelible_acting"


def carry_tasks(trail: CaptureHost) -> None:
    """From here on, tasks that this process publishes carry who acts; tasks it runs act for them.

    The context is signed with the trail's context key for this one task, so publisher and worker
    need the same trail, or one database's key. What isn't signed so runs as nobody, and is noticed.
    Call it once for a process, before workers are forked or in each.
    """
    carrier = _Carrier(trail)
    for signal, receiver in (
        (signals.before_task_publish, carrier.publish),
        (signals.task_prerun, carrier.begin),
        (signals.task_postrun, carrier.end),
    ):
        uid = f"indelible.{receiver.__name__}"
        signal.disconnect(dispatch_uid=uid)
        signal.connect(receiver, weak=False, dispatch_uid=uid)


class _Carrier:
    """The receivers of one process."""

    def __init__(self, trail: CaptureHost) -> None:
        self._trail = trail

    def publish(self, *, headers: dict[str, Any], **_: object) -> None:
        """A task is about to be sent."""
        frame = current_frame()
        if frame is None or frame.actor is None:
            headers.pop(_HEADER, None)  # a retry keeps what its message had, forged or not
            return
        payload = payload_for(NONCES.next(), frame)
        headers[_HEADER] = sign_context(self._trail.context_key, _scope(headers["id"]), payload)

    def begin(self, *, task_id: str, task: Any, **_: object) -> None:
        """A task is about to run here."""
        text = task.request.get(_HEADER)
        if text is None:
            return
        payload = verify_context(self._trail.context_key, _scope(task_id), text)
        if payload is None or payload.actor is None:
            self._trail.notice(
                "context.invalid",
                "a task's context wasn't signed for it with this trail's key: it ran as nobody",
                task=str(task.name),
            )
            return
        context: dict[str, Any] = dict(payload.context or {})
        acting = acting_as(payload.actor, reason=payload.reason, **context)
        acting.__enter__()
        setattr(task.request, _KEPT, acting)

    def end(self, *, task: Any, **_: object) -> None:
        """It ran, or failed."""
        acting: acting_as | None = getattr(task.request, _KEPT, None)
        if acting is not None:
            setattr(task.request, _KEPT, None)
            acting.__exit__(None, None, None)


def _scope(task_id: object) -> str:
    return f"celery task {task_id}"
