"""A small Django project: `start(directory, engine)` sets it up on databases there."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command

import django

PLAIN = "django.db.backends.sqlite3"
CAPTURED = "indelible.django.sqlite3"
PLAIN_SERVER = "django.db.backends.postgresql"
CAPTURED_SERVER = "indelible.django.postgresql"
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

    `url` is a server's, with more of Django's options as JSON; SQLite has a second database,
    `archive`.
    """
    options = json.loads(server_options)
    if engine.startswith("indelible"):
        options["trail"] = directory / "indelible.toml"

    def database(name: str) -> dict[str, object]:
        return {"ENGINE": engine, "NAME": directory / name, "OPTIONS": options}

    if url:
        parts = urlsplit(url)
        databases: dict[str, object] = {
            "default": {
                "ENGINE": engine,
                "NAME": parts.path[1:],
                "HOST": parts.hostname,
                "PORT": parts.port,
                "USER": parts.username,
                "OPTIONS": options,
            }
        }
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
