"""The answers of `indelible serve`: a trail's checkpoints, tiles and heads for everybody, bodies
for whoever has the token. Read only, and nothing that isn't under a signed checkpoint.

Whoever can answer in our place can leave answers out, or show an older checkpoint; anything else
that they make up fails the reader's checks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from indelible.errors import DeliveryError, IndelibleError
from indelible.integrity.resources import (
    CHECKPOINT_PATH,
    COSIGNED,
    ROTATIONS_PATH,
    Kind,
    NotPublishedError,
    parse_path,
)
from indelible.integrity.tokens import Token
from indelible.integrity.tree import first_entry
from indelible.server.readers import Readers
from indelible.server.trail_file import TrailFile

logger = logging.getLogger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
# A cache that showed a checkpoint for even a second could make a reader believe in a rollback.
_EACH_TIME: Final = "no-cache"
_NOWHERE: Final = "no-store"


def make_application(
    trail: TrailFile, tokens: Sequence[Token], readers: Readers | None = None
) -> Starlette:
    """The ASGI application; without a token there are no bodies.

    `readers` writes down who was given bodies, or refused them.
    """

    # Not coroutines: reading waits for a disk, so it is done in a thread.
    def checkpoint(request: Request) -> Response:
        return _answer(trail.current().note, _TEXT, _EACH_TIME)

    def cosigned(request: Request) -> Response:
        note = trail.current().cosigned.get(request.url.path.removeprefix("/"))
        if note is None:
            raise NotPublishedError("expected a witness that cosigned a checkpoint of this trail")
        return _answer(note, _TEXT, _EACH_TIME)

    def rotations(request: Request) -> Response:
        found = trail.current().rotations()
        if not found:
            raise NotPublishedError("the key of this trail was never rotated")
        return _answer(found, _TEXT, _EACH_TIME)

    def resource(request: Request) -> Response:
        found = parse_path(request.url.path.removeprefix("/"))
        if found.kind is not Kind.BODIES:
            return _answer(trail.current().read(found), _BYTES, _FOR_EVER)
        if not tokens:
            raise NotPublishedError("expected heads, tiles or the checkpoint: no bodies here")
        header = request.headers.get("authorization", "")
        address = request.client.host if request.client else "unknown"
        # All of them are compared, so that it takes as long for each.
        holders = [token.name for token in tokens if token.is_in(header)]
        if not holders:
            logger.warning("bodies were asked for without the token, or with another one")
            if readers is not None:
                readers.refused(address, has_another=bool(header))
            raise HTTPException(
                401, "expected the token of this trail's bodies", {"WWW-Authenticate": "Bearer"}
            )
        bodies = trail.current().read(found)
        if readers is not None:
            first = first_entry(found.tile)
            readers.read(holders[0], address, first, first + found.tile.width - 1)
        return _answer(bodies, _BYTES, _NOWHERE)

    application = Starlette(
        routes=[
            Route(f"/{CHECKPOINT_PATH}", checkpoint),
            Route(f"/{COSIGNED}/{{witness}}", cosigned),
            Route(f"/{ROTATIONS_PATH}", rotations),
            Route("/tile/{place:path}", resource),
            Route("/bodies/{place:path}", resource),
        ],
        exception_handlers={IndelibleError: _refuse, HTTPException: _refuse_http},
    )
    application.router.redirect_slashes = False  # each path has one spelling
    return application


def _answer(content: bytes | str, media_type: str, caching: str, status: int = 200) -> Response:
    headers = {"Cache-Control": caching, "X-Content-Type-Options": "nosniff"}
    return Response(content, status, headers, media_type)


def _refuse(request: Request, error: Exception) -> Response:
    """What asked for too much or is asked again later, and what is our fault, told apart."""
    if isinstance(error, NotPublishedError):
        return _answer(f"{error}\n", _TEXT, _EACH_TIME, 404)
    logger.error("a part of the trail can't be shown", exc_info=error)
    if isinstance(error, DeliveryError):
        answer = _answer("the trail can't be read or written now\n", _TEXT, _NOWHERE, 503)
        answer.headers["Retry-After"] = "1"
        return answer
    return _answer("the trail is damaged here: `indelible verify`\n", _TEXT, _NOWHERE, 500)


def _refuse_http(request: Request, error: Exception) -> Response:
    """What no route takes (404), another method than GET and HEAD (405), no token (401)."""
    if not isinstance(error, HTTPException):  # Starlette gives nothing else
        raise error
    if error.status_code == 404:
        return _refuse(
            request, NotPublishedError("expected /checkpoint, /cosigned/…, /tile/… or /bodies/…")
        )
    answer = _answer(f"{error.detail}\n", _TEXT, _NOWHERE, error.status_code)
    answer.headers.update(error.headers or {})
    return answer
