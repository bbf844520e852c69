"""Who acts in an ASGI application (Starlette, FastAPI, any other): a middleware around it.

```python
app.add_middleware(AuditMiddleware, trusted_proxies=["10.0.0.0/8"])
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from indelible.capture.request_facts import RequestFacts, joined
from indelible.events.context import RequestFrame, during_request
from indelible.events.model import Actor

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


def user_of(scope: Scope) -> Actor | None:
    """`scope["user"]`, as Starlette's `AuthenticationMiddleware` leaves it."""
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    return Actor("user", str(getattr(user, "identity", None) or user.display_name))


class AuditMiddleware:
    """Everything that a request does is its user's doing, background tasks and streams included.

    `actor` tells who makes a request; it is asked when that is first needed, so authentication may
    run behind this, and until it knows somebody. `session` gives the key of a request's session, of
    which a hash is kept. Raises `ValueError` for a proxy that is no address or network.
    """

    def __init__(
        self,
        app: Application,
        *,
        actor: Callable[[Scope], Actor | None] = user_of,
        session: Callable[[Scope], str | None] | None = None,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str | None = "X-Request-ID",
    ) -> None:
        self._app = app
        self._actor = actor
        self._session = session
        self._facts = RequestFacts(
            trusted_proxies=trusted_proxies, request_id_header=request_id_header
        )

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers: dict[str, list[str]] = {}
        for name, text in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(text.decode("latin-1"))
        client = scope.get("client")
        facts = self._facts.of(
            client[0] if client else None,
            lambda name: joined(headers.get(name.lower(), ())),
            session=self._session(scope) if self._session is not None else None,
        )
        with during_request(RequestFrame(lambda: self._actor(scope), facts)):
            await self._app(scope, receive, send)
