"""`python -m tests.django.migrate DIRECTORY`: rows, a migration that rebuilds their table, rows."""

import sys
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

import django
from indelible import Actor, acting_as
from tests.django.project import CAPTURED

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    options = {"trail": directory / "indelible.toml"}
    settings.configure(
        DATABASES={
            "default": {"ENGINE": CAPTURED, "NAME": directory / "db.sqlite3", "OPTIONS": options}
        },
        INSTALLED_APPS=["tests.django.moving"],
    )
    django.setup()
    from django.db import connection

    def run(actor: str, *statements: str) -> None:
        with acting_as(Actor("staff", actor)), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    call_command("migrate", "moving", "0001", verbosity=0)
    run("before", "INSERT INTO moving_box (id, size) VALUES (1, '4'), (2, '5')")
    with acting_as(Actor("service", "deployment")):
        call_command("migrate", verbosity=0)
    run(
        "after",
        "UPDATE moving_box SET size = 1 WHERE id = 2",
        "DELETE FROM moving_box WHERE id = 1",
    )
