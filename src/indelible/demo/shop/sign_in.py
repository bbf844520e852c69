"""Who is at the other end of a request, and telling Indelible so.

A session is a random token in a cookie; this process keeps what it stands for.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from indelible import Actor, acting_as
from indelible.demo.shop.seed import hash_password

COOKIE = "session"
LOGIN_PATH = "/login"


class SignedIn(msgspec.Struct, frozen=True):
    """One session. `number` names it in the trail; the token itself stays in the cookie."""

    staff: str
    role: str
    number: str


class Sessions:
    """The sessions of this process, by token."""

    def __init__(self) -> None:
        self._by_token: dict[str, SignedIn] = {}

    def open(self, staff: str, role: str) -> str:
        """A new session's token."""
        token = secrets.token_urlsafe(32)
        self._by_token[token] = SignedIn(staff, role, secrets.token_hex(4))
        return token

    def find(self, cookies: Mapping[str, str]) -> SignedIn | None:
        """The session that a request's cookies prove, if any."""
        return self._by_token.get(cookies.get(COOKIE, ""))


def is_password(password: str, kept: str) -> bool:
    """Whether `kept` was made of `password`."""
    salt = bytes.fromhex(kept.partition("$")[0])
    return hmac.compare_digest(hash_password(password, salt), kept)


class ActingAsStaff:
    """Middleware: everything that a request does is its signed-in staff's doing.

    Without a session only the login is served; the application itself looks the person up.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        signed_in = self._sessions.find(request.cookies)
        if signed_in is None and request.url.path != LOGIN_PATH:
            refusal = JSONResponse({"error": "sign in first"}, status_code=401)
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["signed_in"] = signed_in
        asked = f"{scope['method']} {request.url.path}"
        ip = request.client.host if request.client else "unknown"
        if signed_in is None:
            acting = acting_as(Actor("service", "login"), request=asked, ip=ip)
        else:
            acting = acting_as(
                Actor("staff", signed_in.staff),
                reason=request.headers.get("x-reason"),
                request=asked,
                ip=ip,
                session=signed_in.number,
            )
        with acting:
            await self._app(scope, receive, send)
