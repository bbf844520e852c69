"""Flask-Login's own login manager in a Flask application: what happens to users, once each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import flask
import pytest
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)
from tests.capture.reads.host import MemoryHost

from indelible import Actor, Trail
from indelible.capture.flask_login import LoginEvents, record_logins
from indelible.capture.wsgi import AuditMiddleware
from indelible.errors import DeliveryError
from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.policy import parse_policy

PASSWORDS = {"7": "right-secret"}


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, number: str) -> None:
        self.id = number


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    policy = parse_policy("[trail]\nurl = 'sqlite:///trail.db'\n", directory=tmp_path)
    with Trail.create(policy) as trail:
        yield trail


def application() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "not one"
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.post("/login")
    def log_in() -> str:
        name = flask.request.form["name"]
        user = User(name) if name in PASSWORDS else None
        if user is None or PASSWORDS[name] != flask.request.form["password"]:
            events: LoginEvents = app.extensions["indelible_logins"]
            events.failed(user)
            flask.abort(401)
        login_user(user)
        return "in"

    @app.get("/private")
    @login_required  # type: ignore[untyped-decorator]
    def private() -> str:
        return "private"

    @app.post("/logout")
    def log_out() -> str:
        logout_user()
        return "out"

    return app


@pytest.mark.parametrize("has_middleware", [False, True])
def test_what_happens_to_users(trail: Trail, has_middleware: bool) -> None:
    app = application()
    assert record_logins(app, trail) is record_logins(app, trail)
    if has_middleware:
        app.wsgi_app = AuditMiddleware(  # type: ignore[method-assign]
            app.wsgi_app,
            actor=lambda _: (
                Actor("user", current_user.get_id()) if current_user.is_authenticated else None
            ),
        )
    other = application()  # which isn't recorded
    other.extensions["indelible_logins"] = LoginEvents(MemoryTrail(), "user")
    other.test_client().post("/login", data={"name": "7", "password": "right-secret"})

    client = app.test_client()
    said = [
        client.get("/private").status_code,
        client.post("/login", data={"name": "7", "password": "wrong-secret"}).status_code,
        client.post("/login", data={"name": "typed-secret", "password": "x"}).status_code,
        client.post("/login", data={"name": "7", "password": "right-secret"}).text,
        client.get("/private").text,
        client.post("/logout").text,
        client.post("/logout").text,
        client.get("/private").status_code,
    ]
    assert said == [401, 401, 401, "in", "private", "out", "out", 401]

    trail.flush()
    entries = [event for event in events_of(trail) if event.kind == "event"]
    assert [
        (
            str(event.actor),
            event.action,
            event.outcome.value,
            event.targets and event.targets[0].ids,
        )
        for event in entries
    ] == [
        ("None", "authz.fail", "denied", ()),
        ("None", "authn.login_fail", "failure", (("7",),)),
        ("None", "authn.login_fail", "failure", ()),
        ("user:7", "authn.login_success", "success", (("7",),)),
        ("user:7", "session.expired", "success", (("7",),)),
        ("None", "authz.fail", "denied", ()),
    ]
    assert "secret" not in repr(entries)


def events_of(trail: Trail) -> list[Event]:
    entries = trail.reader.entries(0, int(trail.reader.size) - 1)
    return [decode_event(entry.body) for entry in entries]


class MemoryTrail(MemoryHost):
    """Takes nothing."""

    def record(self, action: str, **_: object) -> str | None:
        raise DeliveryError("full")


def test_the_rest_is_said(trail: Trail) -> None:
    events = record_logins(application(), trail, kind="person")
    user = User("7")
    events.created(user)
    events.password_changed(user)
    events.permissions_changed(user, change="added", of="role", ids="clerk")
    events.deleted(user)
    trail.flush()
    found = [(event.action, event.targets[0].kind) for event in events_of(trail) if event.targets]
    assert found == [
        ("user.created", "person"),
        ("authn.password_change", "person"),
        ("privilege.permissions_changed", "person"),
        ("user.deleted", "person"),
    ]


def test_a_trail_that_is_full_lets_users_in(caplog: pytest.LogCaptureFixture) -> None:
    app = application()
    record_logins(app, MemoryTrail())
    with caplog.at_level(logging.ERROR):
        client = app.test_client()
        answer = client.post("/login", data={"name": "7", "password": "right-secret"})
    assert answer.text == "in"
    assert "authn.login_success could not be recorded" in caplog.text
