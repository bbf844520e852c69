"""Logins, logouts, refusals and failures of Flask-Login, as events.

```python
logins = record_logins(app, trail)

@app.post("/login")
def log_in():
    user = User.of(request.form["name"])
    if user is None or not user.has(request.form["password"]):
        logins.failed(user)
        abort(401)
    login_user(user)
```

Actions have the names of the OWASP Logging Vocabulary, with a full stop for their first underscore:
`authn.login_success`, `authn.login_fail`, `session.expired` (a logout), `authz.fail` (somebody who
isn't logged in asked for what is for users), `authn.password_change`,
`privilege.permissions_changed`, `user.created`, `user.deleted`. Flask-Login has no signals for
failures, passwords and permissions: say those. No name that was typed in is recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

try:
    from flask_login import signals
except ImportError as missing:
    raise ImportError("expected Flask-Login: pip install flask-login") from missing

from indelible.capture.best_effort import best_effort
from indelible.events.context import acting_as, current_frame
from indelible.events.model import Actor, Outcome, Target
from indelible.events.values import Native, Value


class Recording(Protocol):
    """What of a `Trail` is needed."""

    def record(
        self,
        action: str,
        *,
        target: Target | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        details: Mapping[str, Native | Value] | None = None,
    ) -> str | None: ...


class LoginEvents:
    """What happens to the users of one application. A `user` has Flask-Login's `get_id()`."""

    def __init__(self, trail: Recording, kind: str) -> None:
        self._trail = trail
        self._kind = kind

    def failed(self, user: Any = None) -> None:
        """Somebody couldn't log in: as `user`, or as nobody that there is."""
        details = {"known": user is not None}
        self._record("authn.login_fail", user, outcome=Outcome.FAILURE, details=details)

    def password_changed(self, user: Any) -> None:
        """`user` has another password."""
        self._record("authn.password_change", user)

    def permissions_changed(self, user: Any, *, change: str, of: str, ids: str = "") -> None:
        """`user` was given (`change="added"`) or denied roles or permissions; `of` says which."""
        details = {"change": change, "of": of, "ids": ids}
        self._record("privilege.permissions_changed", user, details=details)

    def created(self, user: Any) -> None:
        """`user` is new."""
        self._record("user.created", user)

    def deleted(self, user: Any) -> None:
        """There is no `user` any more."""
        self._record("user.deleted", user)

    def _logged_in(self, sender: Any, user: Any, **_: Any) -> None:
        self._record("authn.login_success", user, by=user)

    def _logged_out(self, sender: Any, user: Any, **_: Any) -> None:
        if getattr(user, "is_authenticated", False):
            self._record("session.expired", user, by=user, details={"reason": "logout"})

    def _refused(self, sender: Any, **_: Any) -> None:
        from flask import request

        self._record(
            "authz.fail",
            None,
            outcome=Outcome.DENIED,
            details={"endpoint": request.endpoint or "", "method": request.method},
        )

    def _record(
        self,
        action: str,
        user: Any,
        *,
        by: Any = None,
        outcome: Outcome = Outcome.SUCCESS,
        details: Mapping[str, Native | Value] | None = None,
    ) -> None:
        """Write it down; `by` acts where nobody else is known to. A failure breaks nothing."""
        frame = current_frame()
        who: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if by is not None and (frame is None or frame.actor is None):
            who = acting_as(Actor("user", str(by.get_id())))
        target = None if user is None else Target(self._kind, str(user.get_id()))
        with best_effort(action), who:
            self._trail.record(action, target=target, outcome=outcome, details=details)


def record_logins(app: Any, trail: Recording, *, kind: str = "user") -> LoginEvents:
    """Record the logins of `app` from now on, once however often it is called.

    `kind` is what users are called in the trail. What Flask-Login doesn't tell is said with what is
    returned.
    """
    events: LoginEvents | None = app.extensions.get("indelible_logins")
    if events is None:
        events = app.extensions["indelible_logins"] = LoginEvents(trail, kind)
        for signal, receiver in (
            (signals.user_logged_in, events._logged_in),
            (signals.user_logged_out, events._logged_out),
            (signals.user_unauthorized, events._refused),
        ):
            signal.connect(receiver, sender=app, weak=False)
    return events
