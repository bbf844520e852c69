"""Who acts in a Django application: `"indelible.django.middleware.AuditMiddleware"`, first of all.

`request.user` is asked when somebody has to be named, so `AuthenticationMiddleware` may come later.
Settings: `INDELIBLE_TRUSTED_PROXIES`, a list of addresses and networks; `INDELIBLE_ACTOR`, the
dotted path of a function that is given the request and returns an `Actor` or None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from indelible.capture.request_facts import RequestFacts
from indelible.django.naming import name_of
from indelible.events.context import RequestFrame, during_request
from indelible.events.model import Actor


def user_of(request: Any) -> Actor | None:
    """The user who is logged in, as `user:<primary key>`."""
    return name_of(getattr(request, "user", None))


class AuditMiddleware:
    """Everything that a request does is its user's doing, streamed responses included."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        """Raises `ImproperlyConfigured`."""
        self._get_response = get_response
        named = getattr(settings, "INDELIBLE_ACTOR", None)
        self._actor: Callable[[Any], Actor | None] = import_string(named) if named else user_of
        try:
            self._facts = RequestFacts(
                trusted_proxies=getattr(settings, "INDELIBLE_TRUSTED_PROXIES", ())
            )
        except ValueError as error:
            raise ImproperlyConfigured(f"INDELIBLE_TRUSTED_PROXIES: {error}") from error
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        frame = self._frame(request)
        if self._is_async:
            return self._call_async(request, frame)
        with during_request(frame, is_end=False):
            response = self._get_response(request)
        return _ending(response, frame)

    async def _call_async(self, request: Any, frame: RequestFrame) -> Any:
        with during_request(frame, is_end=False):
            response = await self._get_response(request)
        return _ending(response, frame)

    def _frame(self, request: Any) -> RequestFrame:
        session = getattr(request, "COOKIES", {}).get(settings.SESSION_COOKIE_NAME)
        facts = self._facts.of(
            request.META.get("REMOTE_ADDR"), request.headers.get, session=session
        )
        return RequestFrame(lambda: self._actor(request), facts)


def _ending(response: Any, frame: RequestFrame) -> Any:
    """`response`, with which the request ends: a streamed one when it was sent or given up."""
    if not getattr(response, "streaming", False):
        frame.scope.close()
    elif response.is_async:
        response.streaming_content = _streamed_async(response.streaming_content, frame)
    else:
        response.streaming_content = _streamed(response.streaming_content, frame)
    return response


def _streamed(chunks: Any, frame: RequestFrame) -> Iterator[bytes]:
    steps = iter(chunks)
    try:
        while True:
            with during_request(frame, is_end=False):
                try:
                    chunk = next(steps)
                except StopIteration:
                    return
            yield chunk
    finally:
        frame.scope.close()


async def _streamed_async(chunks: Any, frame: RequestFrame) -> AsyncIterator[bytes]:
    steps = aiter(chunks)
    try:
        while True:
            with during_request(frame, is_end=False):
                try:
                    chunk = await anext(steps)
                except StopAsyncIteration:
                    return
            yield chunk
    finally:
        frame.scope.close()
