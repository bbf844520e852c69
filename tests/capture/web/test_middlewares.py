"""Real servers: what a request does is its user's doing, whoever else is served at the time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import flask
import httpx
import pytest
import uvicorn
from sqlalchemy import Engine, create_engine, text
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from tests.servers import free_port

from indelible import Actor, Trail, acting_as
from indelible.capture import asgi, wsgi
from indelible.capture.sqlalchemy import capture

REQUESTS = 200


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    policy = "[trail]\nurl = 'sqlite:///trail.db'\n[tables.item]\nsubject = 'self'\n"
    (tmp_path / "indelible.toml").write_text(policy)
    with Trail.create(tmp_path / "indelible.toml") as trail:
        yield trail


@pytest.fixture
def engine(trail: Trail, tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", connect_args={"timeout": 30})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, note TEXT)"))
        connection.execute(
            text("INSERT INTO item VALUES (:n, '')"), [{"n": n} for n in range(1, REQUESTS + 1)]
        )
    capture(engine, trail)
    yield engine
    engine.dispose()


def touch(engine: Engine, n: int, note: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT note FROM item WHERE id = :n"), {"n": n}).one()
        connection.execute(
            text("UPDATE item SET note = :note WHERE id = :n"), {"n": n, "note": note}
        )


def name_of(scope: Any) -> Actor | None:
    """As an authentication would leave it that runs behind the middleware."""
    name = scope.get("who")
    return Actor("user", name) if name else None


def starlette_app(engine: Engine) -> Starlette:
    async def in_task(request: Request) -> JSONResponse:
        request.scope["who"] = request.headers["x-user"]
        n = int(request.path_params["n"])
        await asyncio.sleep(0.001 * (n % 7))
        await asyncio.to_thread(touch, engine, n, "task")
        return JSONResponse({}, background=BackgroundTask(touch, engine, n, "background"))

    def in_pool(request: Request) -> StreamingResponse:
        request.scope["who"] = request.headers["x-user"]
        n = int(request.path_params["n"])
        touch(engine, n, "pool")

        def chunks() -> Iterator[bytes]:
            yield b"a"
            touch(engine, n, "streamed")
            yield b"b"

        return StreamingResponse(chunks())

    def nobody(request: Request) -> JSONResponse:
        touch(engine, 1, "nobody")
        with acting_as(Actor("service", "login")):
            touch(engine, 2, "login")
        request.scope["who"] = "late"
        touch(engine, 3, "late")
        return JSONResponse({})

    routes = [
        Route("/task/{n}", in_task),
        Route("/pool/{n}", in_pool),
        Route("/nobody", nobody),
    ]
    middleware = [Middleware(asgi.AuditMiddleware, actor=name_of, trusted_proxies=["127.0.0.1"])]
    return Starlette(routes=routes, middleware=middleware)


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def notes_of(trail: Trail, actor: str) -> list[tuple[str, str]]:
    return [
        (each.target_text, str((each.event.changes or {})["note"][1]))
        for each in trail.changes(by=Actor("user", actor))
    ]


def test_two_hundred_at_once_never_mix(engine: Engine, trail: Trail) -> None:
    """Tasks, the thread pool, streams and background tasks; each as somebody else."""

    async def ask(base: str) -> None:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60) as client:
            answers = await asyncio.gather(
                *(
                    client.get(
                        f"/{'task' if n % 2 else 'pool'}/{n}",
                        headers={
                            "X-User": f"number {n}",
                            "X-Forwarded-For": f"6.6.6.6, 203.0.113.{n % 200}",
                            "X-Request-ID": f"request-{n:08}",
                        },
                    )
                    for n in range(1, REQUESTS + 1)
                )
            )
            assert {answer.status_code for answer in answers} == {200}

    with served(starlette_app(engine)) as base:
        asyncio.run(ask(base))
    trail.flush()
    for n in range(1, REQUESTS + 1):
        notes = ["task", "background"] if n % 2 else ["pool", "streamed"]
        assert notes_of(trail, f"number {n}") == [(f"item:{n}", note) for note in notes]
        context = {
            "request": f"request-{n:08}",
            "ip": f"203.0.113.{n % 200}",
            "user_agent": f"python-httpx/{httpx.__version__}",
        }
        found = list(trail.access_events(by=Actor("user", f"number {n}")))
        assert len(found) == 4
        assert all(each.event.context == context for each in found)
    assert list(trail.notices()) == []


def test_who_isnt_known_yet_is_nobody(engine: Engine, trail: Trail) -> None:
    with served(starlette_app(engine)) as base:
        assert httpx.get(f"{base}/nobody").status_code == 200
    trail.flush()
    assert notes_of(trail, "late") == [("item:3", "late")]
    login = [each.target_text for each in trail.changes(by=Actor("service", "login"))]
    assert login == ["item:2"]
    (notice,) = trail.notices()
    assert "nobody that is known: 1" in notice.message


def test_a_resolver_that_raises_breaks_nothing(engine: Engine, trail: Trail) -> None:
    def broken(scope: Any) -> Actor | None:
        raise RuntimeError("secret")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(touch, engine, 1, "x")
        await JSONResponse({})(scope, receive, send)

    with served(asgi.AuditMiddleware(app, actor=broken)) as base:
        assert httpx.get(base).status_code == 200
    trail.flush()
    (notice,) = trail.notices()
    assert notice.action == "changes.unattributed"


def flask_app(engine: Engine) -> flask.Flask:
    app = flask.Flask(__name__)

    @app.before_request
    def authenticate() -> None:
        flask.g.user = flask.request.headers.get("X-User")

    @app.get("/<int:n>")
    def show(n: int) -> flask.Response:
        touch(engine, n, "handled")

        def chunks() -> Iterator[bytes]:
            touch(engine, n, "streamed")
            yield b"done"

        return flask.Response(flask.stream_with_context(chunks()))

    def who(environ: Any) -> Actor | None:
        name = flask.g.get("user")
        return Actor("user", name) if name else None

    app.wsgi_app = wsgi.AuditMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, actor=who, session=lambda environ: "the session's key"
    )
    return app


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_flask_names_who_is_logged_in(engine: Engine, trail: Trail) -> None:
    server = make_server("127.0.0.1", 0, flask_app(engine), handler_class=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        for n in (1, 2):
            headers = {"X-User": f"number {n}", "X-Forwarded-For": "6.6.6.6"}
            assert httpx.get(f"{base}/{n}", headers=headers).text == "done"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    trail.flush()
    for n in (1, 2):
        assert notes_of(trail, f"number {n}") == [
            (f"item:{n}", "handled"),
            (f"item:{n}", "streamed"),
        ]
    event = next(iter(trail.changes(by=Actor("user", "number 1")))).event
    assert event.context is not None
    assert event.context["ip"] == "127.0.0.1"
    assert "key" not in event.context["session"]
