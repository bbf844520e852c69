"""A small Django project: `start(directory, engine)` sets it up on databases there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command

import django
from indelible.capture.servers import backend_of
from indelible.django.trails import trail_at

PLAIN = "django.db.backends.sqlite3"
CAPTURED = "indelible.django.sqlite3"
PLAIN_SERVER = "django.db.backends.postgresql"
CAPTURED_SERVER = "indelible.django.postgresql"
PLAIN_MARIADB = "django.db.backends.mysql"
CAPTURED_MARIADB = "indelible.django.mysql"
POLICY = """
[trail]
url = "sqlite:///trail.db"
[tables.shop_customer]
kind = "customer"
subject = "self"
[tables.shop_invoice]
kind = "invoice"
subject = "customer_id -> shop_customer"
[tables.shop_line]
kind = "line"
[tables.shop_label]
kind = "label"
subject = "self"
[tables.shop_document]
kind = "document"
[tables.django_session]
reads = false
writes = false
"""


def start(
    directory: Path,
    engine: str,
    url: str = "",
    server_options: str = "{}",
    *,
    applications: tuple[str, ...] = (),
    **more: object,
) -> None:
    """Settings, applications (`applications` besides) and an empty, migrated database.

    `url` is a server's, with more of Django's options as JSON. There is a second database,
    `archive`, on SQLite and where `url` is two, with a blank between: that has a trail of its own.
    """
    options = json.loads(server_options)
    if engine.startswith("indelible"):
        options["trail"] = directory / "indelible.toml"

    def database(name: str) -> dict[str, object]:
        return {"ENGINE": engine, "NAME": directory / name, "OPTIONS": options}

    def on_server(url: str) -> dict[str, object]:
        parts = urlsplit(url)
        return {
            "ENGINE": engine,
            "NAME": parts.path[1:],
            "HOST": parts.hostname,
            "PORT": parts.port,
            "USER": parts.username,
            "PASSWORD": parts.password or "",
            "OPTIONS": dict(options),
        }

    databases: dict[str, dict[str, Any]]
    if url:
        databases = dict(zip(("default", "archive"), map(on_server, url.split()), strict=False))
        if "archive" in databases and "trail" in options:
            databases["archive"]["OPTIONS"]["trail"] = directory / "archive.toml"
    else:
        databases = {"default": database("db.sqlite3"), "archive": database("archive.sqlite3")}
    settings.configure(
        DATABASES=databases,
        INSTALLED_APPS=["django.contrib.contenttypes", *applications, "tests.django.shop.Shop"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        SECRET_KEY="not one",
        **more,
    )
    django.setup()
    for alias in settings.DATABASES:
        call_command("migrate", run_syncdb=True, verbosity=0, database=alias)
    if url and "trail" in options:
        _install()


def _install() -> None:
    """What `indelible install` does, for each database on a server."""
    for database in settings.DATABASES.values():
        trail = trail_at(database["OPTIONS"]["trail"])
        server = trail.policy.server
        assert server is not None
        backend_of(server).install(server, trail.policy, journal=trail.journal)
        trail.watch_server()
