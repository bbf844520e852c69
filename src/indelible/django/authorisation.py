"""Django's permissions: what `has_perm` answers is a decision, whichever backend gave it.

```python
@record_permissions                   # a user model of one's own
class User(AbstractUser): ...

class Shop(AppConfig):                # or Django's
    def ready(self):
        record_permissions(get_user_model())
        record_permissions(AnonymousUser)
```
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from django.apps import apps

from indelible.capture.authorisation import Answered, Asked, Recorder, action_name, failed
from indelible.django.naming import name_of, stored_key
from indelible.django.trails import first_database, first_trail, is_on_disk
from indelible.events.decisions import Decision
from indelible.events.model import Actor, Target

M = TypeVar("M", bound=type)

_RECORDED: Final = "_indelible_is_recorded"
_asking: contextvars.ContextVar[tuple[int, str, int] | None] = contextvars.ContextVar(
    "indelible_permission", default=None
)


def record_permissions(
    model: M, *, actor: Callable[[Any], Actor | None] = name_of, strict: bool = False
) -> M:
    """Have every `has_perm` and `ahas_perm` of this class of users recorded; returns it.

    Of `has_perms` each permission is one. `actor` names a user as the middleware does. The target
    is the row of the object asked about, else any row of the model that the permission is for.
    Superusers, about whom Django asks no backend, are there too. A class that was given already,
    or inherits from one, isn't recorded twice. Raises `ImproperlyConfigured` where no database
    names a trail.
    """
    recorder = Recorder(_FirstTrail(), _Permissions(actor), strict=strict)
    original, original_async = (getattr(model, name) for name in ("has_perm", "ahas_perm"))

    @functools.wraps(original)
    def has_perm(user: Any, perm: str, obj: Any = None) -> Any:
        with _once(user, perm, obj) as is_first:
            if not is_first:
                return original(user, perm, obj)
            try:
                answer = original(user, perm, obj)
            except Exception as error:
                recorder.record(error, user, perm, obj)
                raise
            recorder.record(_Given(answer, user), user, perm, obj)
            return answer

    @functools.wraps(original_async)
    async def ahas_perm(user: Any, perm: str, obj: Any = None) -> Any:
        with _once(user, perm, obj) as is_first:
            if not is_first:
                return await original_async(user, perm, obj)
            try:
                answer = await original_async(user, perm, obj)
            except Exception as error:
                recorder.record(error, user, perm, obj)
                raise
            recorder.record(_Given(answer, user), user, perm, obj)
            return answer

    for given, wrapped in ((original, has_perm), (original_async, ahas_perm)):
        if not getattr(given, _RECORDED, False):
            setattr(wrapped, _RECORDED, True)
            setattr(model, wrapped.__name__, wrapped)
    return model


@contextlib.contextmanager
def _once(user: Any, perm: str, obj: Any) -> Iterator[bool]:
    """Whether this is to be recorded: not what a recorded method asks of the one it overrides."""
    question = (id(user), perm, id(obj))
    is_first = _asking.get() != question and is_on_disk()
    token = _asking.set(question)
    try:
        yield is_first
    finally:
        _asking.reset(token)


class _Given(NamedTuple):
    answer: bool
    user: Any


class _Permissions:
    def __init__(self, actor: Callable[[Any], Actor | None]) -> None:
        self._actor = actor

    def asked(self, user: Any, perm: str, obj: Any) -> Asked:
        noun, _, verb = perm.partition(".")
        return Asked(
            action=action_name(noun, verb),
            actor=self._actor(user),
            target=_targets(perm, obj),
            details={"permission": perm},
        )

    def answered(self, answer: Any) -> Answered:
        if isinstance(answer, Exception):
            return failed(answer)
        user = answer.user
        is_super = getattr(user, "is_superuser", False) and getattr(user, "is_active", False)
        return Answered(
            allowed=bool(answer.answer),
            policy="django permissions",
            rule="superuser" if is_super and answer.answer else None,
        )


def _targets(perm: str, obj: Any) -> list[Target | str] | None:
    meta = getattr(obj, "_meta", None)
    if meta is None:
        model = _model_of(perm)
        if model is None:
            return None
        meta, obj = model._meta, None
    policy = first_trail().policy
    targets: list[Target | str] = []
    for each in (meta.concrete_model, *meta.get_parent_list()):
        kind = policy.table(each._meta.db_table).kind
        if obj is None or obj.pk is None:
            targets.append(kind)
        else:
            targets.append(Target(kind, stored_key(obj)))
    return targets


def _model_of(perm: str) -> Any:
    """The model that one of Django's own permissions is for: `shop.view_invoice`."""
    app_label, _, codename = perm.partition(".")
    try:
        return apps.get_model(app_label, codename.partition("_")[2])
    except (LookupError, ValueError):
        return None


class _FirstTrail:
    """The trail of the first database that names one, opened when it is needed."""

    def __init__(self) -> None:
        first_database()

    @property
    def decide(self) -> Callable[..., Decision]:
        return first_trail().decide

    def notice(self, action: str, message: str, **details: str) -> None:
        first_trail().notice(action, message, **details)
