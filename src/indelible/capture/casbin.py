"""Casbin (`pycasbin`): an enforcer whose every answer is recorded, by the rule that matched.

```python
enforcer = RecordingEnforcer(
    casbin.Enforcer("model.conf", "policy.csv"),
    trail,
    asked=lambda sub, obj, act: Asked(
        action=f"invoice.{act}", target=Target("invoice", obj), actor=Actor("staff", sub)
    ),
)
```
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

try:
    from casbin import SyncedEnforcer
    from casbin.core_enforcer import CoreEnforcer, EnforceContext
except ImportError as missing:
    raise ImportError("expected Casbin: pip install pycasbin") from missing

from indelible.capture.authorisation import Answered, Asked, Decider, Recorder, failed

_EXPLAINED: Final = (CoreEnforcer.enforce, SyncedEnforcer.enforce)
"""Those that are `enforce_ex` without its explanation, and nothing else."""


class RecordingEnforcer:
    """Stands for `enforcer`, of any of Casbin's kinds: all else that it does is its own.

    `asked` gets the request (without an `EnforceContext`) and says what it is about. The rule is
    the line of the policy that matched; `batch_enforce`, and an enforcer that overrides `enforce`,
    tell of none.
    """

    def __init__(
        self,
        enforcer: Any,
        trail: Decider,
        *,
        asked: Callable[..., Asked],
        strict: bool = False,
    ) -> None:
        self._enforcer = enforcer
        self._recorder = Recorder(trail, _Requests(asked), strict=strict)

    def enforce(self, *rvals: Any) -> bool:
        """As the enforcer's."""
        if getattr(type(self._enforcer), "enforce", None) in _EXPLAINED:
            result: bool = self._recorder.call(self._enforcer.enforce_ex, *rvals)[0]
            return result
        return self._recorder.call(self._enforcer.enforce, *rvals)  # type: ignore[no-any-return]

    def enforce_ex(self, *rvals: Any) -> Any:
        """As the enforcer's."""
        return self._recorder.call(self._enforcer.enforce_ex, *rvals)

    def batch_enforce(self, rvals: Any) -> list[bool]:
        """As the enforcer's; each request is a decision."""
        requests = [tuple(each) for each in rvals]
        try:
            results: list[bool] = self._enforcer.batch_enforce(requests)
        except Exception as error:
            for request in requests:
                self._recorder.record(error, *request)
            raise
        for request, result in zip(requests, results, strict=True):
            self._recorder.record(result, *request)
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self._enforcer, name)


class _Requests:
    def __init__(self, asked: Callable[..., Asked]) -> None:
        self._asked = asked

    def asked(self, *rvals: Any) -> Asked:
        return self._asked(*(rvals[1:] if rvals and _is_context(rvals[0]) else rvals))

    def answered(self, answer: Any) -> Answered:
        if isinstance(answer, Exception):
            return failed(answer)
        if isinstance(answer, list | tuple):
            allowed, matched = answer
            return Answered(allowed=bool(allowed), policy="casbin", rule=_line(matched))
        return Answered(allowed=bool(answer), policy="casbin")


def _is_context(given: object) -> bool:
    return isinstance(given, EnforceContext)


def _line(matched: Sequence[Any]) -> str | None:
    """The rule as it stands in a policy's file."""
    return ", ".join(map(str, matched)) or None
