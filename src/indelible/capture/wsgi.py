"""Who acts in a WSGI application (Flask, any other): a middleware around it.

```python
app.wsgi_app = AuditMiddleware(app.wsgi_app, actor=who_is_logged_in)
```
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from indelible.capture.request_facts import RequestFacts
from indelible.events.context import RequestFrame, during_request
from indelible.events.model import Actor

Environ = Mapping[str, Any]


class AuditMiddleware:
    """Everything that a request does is its user's doing, until its response is closed.

    `actor` tells who makes a request; it is asked when that is first needed, inside of the
    application, and until it knows somebody. `session` gives the key of a request's session, of
    which a hash is kept. Raises `ValueError` for a proxy that is no address or network.
    """

    def __init__(
        self,
        app: Callable[[Any, Any], Iterable[bytes]],
        *,
        actor: Callable[[Environ], Actor | None],
        session: Callable[[Environ], str | None] | None = None,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str | None = "X-Request-ID",
    ) -> None:
        self._app = app
        self._actor = actor
        self._session = session
        self._facts = RequestFacts(
            trusted_proxies=trusted_proxies, request_id_header=request_id_header
        )

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        def header(name: str) -> str | None:
            text: str | None = environ.get("HTTP_" + name.upper().replace("-", "_"))
            return text

        facts = self._facts.of(
            environ.get("REMOTE_ADDR"),
            header,
            session=self._session(environ) if self._session is not None else None,
        )
        request = RequestFrame(lambda: self._actor(environ), facts)
        # The server takes the response apart later, and may do so in between others.
        context = contextvars.copy_context()

        def begin() -> Iterable[bytes]:
            with during_request(request, is_end=False):
                return self._app(environ, start_response)

        try:
            return _Response(context.run(begin), request, context)
        except BaseException:
            request.scope.close()
            raise


class _Response:
    """A response each of whose steps is taken in its request's frame."""

    def __init__(
        self, response: Iterable[bytes], request: RequestFrame, context: contextvars.Context
    ) -> None:
        self._response = response
        self._steps: Iterator[bytes] | None = None
        self._request = request
        self._context = context

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(self._next)

    def close(self) -> None:
        """The response was sent, or given up: the request ends."""
        try:
            self._context.run(self._close)
        finally:
            self._request.scope.close()

    def _next(self) -> bytes:
        with during_request(self._request, is_end=False):
            if self._steps is None:
                self._steps = iter(self._response)
            return next(self._steps)

    def _close(self) -> None:
        close = getattr(self._response, "close", None)
        if close is not None:
            with during_request(self._request, is_end=False):
                close()
