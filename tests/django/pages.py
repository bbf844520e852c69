"""Views that change a customer: in a thread, in a task, and while the response is streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.django.shop.models import Customer


def authenticate(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Runs behind the audit's middleware, as Django's own does."""

    def middleware(request: HttpRequest) -> Any:
        name = request.headers.get("X-User")
        request.user = SimpleNamespace(is_authenticated=name is not None, pk=name)  # type: ignore[assignment]
        return get_response(request)

    return middleware


def touch(n: int, town: str) -> None:
    Customer.objects.filter(id=n).update(town=town)


def plain(request: HttpRequest, n: int) -> HttpResponse:
    touch(n, "plain")
    return HttpResponse("done")


def streamed(request: HttpRequest, n: int) -> StreamingHttpResponse:
    def chunks() -> Iterator[bytes]:
        yield b"do"
        touch(n, "streamed")
        yield b"ne"

    return StreamingHttpResponse(chunks())


async def asynchronous(request: HttpRequest, n: int) -> StreamingHttpResponse:
    async def chunks() -> AsyncIterator[bytes]:
        await Customer.objects.filter(id=n).aupdate(town="chunk")
        yield b"done"

    await Customer.objects.filter(id=n).aupdate(town="task")
    return StreamingHttpResponse(chunks())


urlpatterns = [
    path("plain/<int:n>", plain),
    path("streamed/<int:n>", streamed),
    path("asynchronous/<int:n>", asynchronous),
]
