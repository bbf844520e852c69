"""`python -m tests.django.serve DIRECTORY`: requests through Django's WSGI and ASGI handlers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.django.project import CAPTURED, start

if __name__ == "__main__":
    start(
        Path(sys.argv[1]),
        CAPTURED,
        ROOT_URLCONF="tests.django.pages",
        ALLOWED_HOSTS=["testserver"],
        INDELIBLE_TRUSTED_PROXIES=["127.0.0.1"],
        MIDDLEWARE=[
            "indelible.django.middleware.AuditMiddleware",
            "tests.django.pages.authenticate",
        ],
    )

    from django.test import AsyncClient, Client

    from tests.django.shop.models import Customer

    for n in range(1, 6):
        Customer.objects.create(id=n, name=f"customer {n}")
    client = Client(REMOTE_ADDR="127.0.0.1")
    for n, view in ((1, "plain"), (2, "streamed")):
        sent = {"X-User": f"number {n}", "X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
        client.cookies["sessionid"] = "the session's key"
        response = client.get(f"/{view}/{n}", headers=sent)
        assert response.status_code == 200, response
        body = response.getvalue() if response.streaming else response.content
        assert body == b"done", body
    assert client.get("/plain/5").status_code == 200

    async def ask() -> None:
        for n in (3, 4):
            who = {"X-User": f"number {n}"}
            response = await AsyncClient().get(f"/asynchronous/{n}", headers=who)
            assert [chunk async for chunk in response.streaming_content] == [b"done"]

    asyncio.run(ask())
