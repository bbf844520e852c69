"""Logins, logouts, failures, passwords, roles and permissions of Django's users, as events.

```python
class Shop(AppConfig):
    def ready(self):
        record_logins()
```

Actions have the names of the OWASP Logging Vocabulary, with a full stop for their first underscore:
`authn.login_success`, `authn.login_fail`, `session.expired` (a logout), `authn.password_change`,
`user.created`, `user.deleted`, `privilege.permissions_changed`. What a transaction did is recorded
when it has committed. No name that was typed in is recorded: some type their password there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, PermissionsMixin
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from indelible.capture.best_effort import best_effort
from indelible.django.naming import name_of, stored_key
from indelible.django.trails import first_database, first_trail, is_on_disk
from indelible.events.context import acting_as, carry, current_frame
from indelible.events.model import Outcome, Target
from indelible.events.values import Value


def record_logins() -> None:
    """Record them from now on, in the trail of the first database that names one.

    Calling it again changes nothing. Raises `ImproperlyConfigured` where no database names a trail.
    """
    first_database()
    model = get_user_model()
    for signal, receiver, sender in (
        (user_logged_in, _logged_in, None),
        (user_logged_out, _logged_out, None),
        (user_login_failed, _login_failed, None),
        (post_save, _saved, model),
        (post_delete, _deleted, model),
    ):
        signal.connect(receiver, sender=sender, dispatch_uid=f"indelible.{receiver.__name__}")
    through = [Group.permissions.through]
    if issubclass(model, PermissionsMixin):
        through += [model.groups.through, model.user_permissions.through]
    for each in through:
        m2m_changed.connect(
            _granted, sender=each, dispatch_uid=f"indelible.granted.{each.__name__}"
        )


def _logged_in(sender: Any, user: Any, **_: Any) -> None:
    _record("authn.login_success", [user], by=user)


def _logged_out(sender: Any, user: Any, **_: Any) -> None:
    if user is not None:
        _record("session.expired", [user], by=user, details={"reason": "logout"})


def _login_failed(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    model = get_user_model()
    name = credentials.get(model.USERNAME_FIELD, credentials.get("username"))
    users: list[Any] = []
    with contextlib.suppress(DatabaseError, ValueError):
        users = list(model._default_manager.filter(**{model.USERNAME_FIELD: name})[:1])
    _record("authn.login_fail", users, outcome=Outcome.FAILURE, details={"known": bool(users)})


def _saved(sender: Any, instance: Any, created: bool, using: str, raw: bool, **_: Any) -> None:
    if raw:
        return  # a fixture
    if created:
        _record("user.created", [instance], using=using)
    elif getattr(instance, "_password", None) is not None:
        _record("authn.password_change", [instance], using=using)


def _deleted(sender: Any, instance: Any, using: str, **_: Any) -> None:
    _record("user.deleted", [instance], using=using)


_GRANTS = {"post_add": "added", "post_remove": "removed", "pre_clear": "cleared"}


def _granted(
    sender: Any,
    instance: Any,
    action: str,
    reverse: bool,
    model: Any,
    pk_set: set[Any] | None,
    using: str,
    **_: Any,
) -> None:
    change = _GRANTS.get(action)
    if change is None or (pk_set is not None and not pk_set):
        return
    details: dict[str, Value] = {"change": change, "of": model._meta.model_name}
    whose = [instance]
    if reverse:  # from the role's side: `group.user_set.add(...)`
        others = model._default_manager.using(using)
        whose = list(others.filter(pk__in=pk_set) if pk_set else ())
        details |= {"of": instance._meta.model_name, "ids": str(instance.pk)}
    elif pk_set:
        details["ids"] = ",".join(sorted(map(str, pk_set)))
    _record("privilege.permissions_changed", whose, using=using, details=details)


def _record(
    action: str,
    rows: Iterable[Any],
    *,
    by: Any = None,
    using: str | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    details: dict[str, Value] | None = None,
) -> None:
    """Write it down; with `using`, when the transaction of that database has committed.

    `by` acts where nobody else is known to. What can't be written breaks nothing.
    """
    if not is_on_disk():
        return
    policy = first_trail().policy
    targets = [Target(policy.table(row._meta.db_table).kind, stored_key(row)) for row in rows]
    frame = current_frame()
    who: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    actor = name_of(by)
    if actor is not None and (frame is None or frame.actor is None):
        who = acting_as(actor)

    def write() -> None:
        with best_effort(action), who:
            first_trail().record(action, target=targets, outcome=outcome, details=details)

    if using is None:
        write()
    else:
        transaction.on_commit(carry(write), using=using, robust=True)
