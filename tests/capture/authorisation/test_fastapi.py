"""A FastAPI dependency that decides: in the request, by a real server, sync and async."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from tests.capture.web.test_middlewares import served

from indelible import Actor, Target, Trail
from indelible.capture.asgi import AuditMiddleware
from indelible.capture.authorisation import Asked
from indelible.capture.fastapi import recorded_dependency
from indelible.errors import CaptureError


def asked(number: int, x_user: str) -> Asked:
    return Asked(action="invoice.read", target=Target("invoice", number))


def may_read(number: int, x_user: Annotated[str, Header()]) -> str:
    """Alice may read 93; whoever else is told so, and 95 breaks it."""
    if number == 95:
        raise RuntimeError("the rules are gone")
    if x_user != "alice" or number != 93:
        raise HTTPException(403, "no")
    return x_user


async def may_read_soon(number: int, x_user: Annotated[str, Header()]) -> str:
    return may_read(number, x_user)


def application(trail: Trail, read: Callable[..., list[int]]) -> FastAPI:
    app = FastAPI()
    in_pool = recorded_dependency(may_read, trail, asked=asked)
    in_task = recorded_dependency(may_read_soon, trail, asked=asked, policy="rules")

    @app.get("/pool/{number}")
    def pool(number: int, who: str = Depends(in_pool)) -> list[Any]:
        return [who, *read(number), *read(94)]

    @app.get("/task/{number}")
    async def task(number: int, who: str = Depends(in_task)) -> list[Any]:
        return [who, *read(number)]

    @app.get("/open/{number}")
    def unguarded(number: int) -> list[int]:
        return read(number)

    def user_of(scope: Any) -> Actor | None:
        names = [value.decode() for name, value in scope["headers"] if name == b"x-user"]
        return Actor("staff", names[0]) if names else None

    app.add_middleware(AuditMiddleware, actor=user_of)
    return app


def test_every_request_is_under_its_own_decision(
    trail: Trail, read: Callable[..., list[int]]
) -> None:
    """What the endpoint reads refers to it, also in the pool; the next request begins without."""
    with served(application(trail, read)) as base, httpx.Client(base_url=base) as client:
        alice, bob = {"X-User": "alice"}, {"X-User": "bob"}
        assert client.get("/pool/93", headers=alice).json() == ["alice", 120, 50]
        assert client.get("/task/93", headers=alice).json() == ["alice", 120]
        assert client.get("/task/93", headers=bob).status_code == 403
        assert httpx.get(f"{base}/task/95", headers=bob).status_code == 500
        assert client.get("/pool/93").status_code == 422
        assert client.get("/open/93", headers=alice).json() == [120]
    trail.flush()
    decisions = [each for each in trail.events() if each.event.kind == "decision"]
    assert [(str(each.event.actor), each.decision_text) for each in decisions] == [
        ("staff:alice", "allow by may_read"),
        ("staff:alice", "allow by rules"),
        ("staff:bob", "deny by rules 403"),
        ("staff:bob", "error (invoice.read)"),
    ]
    assert [(each.target_text, each.lack_text) for each in trail.unauthorised()] == [
        ("invoice:94", "no decision"),
        ("invoice:93", "no decision"),
    ]


def test_one_that_yields_is_refused(trail: Trail) -> None:
    def opened() -> Iterator[int]:
        yield 1

    with pytest.raises(CaptureError, match="got one that yields"):
        recorded_dependency(opened, trail, asked=lambda: Asked(action="a.b"))
