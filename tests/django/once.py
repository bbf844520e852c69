"""`python -m tests.django.once DIRECTORY TRAIL`: one query, on a trail that may not be there."""

import sys
from pathlib import Path

from django.conf import settings

import django
from tests.django.project import CAPTURED

if __name__ == "__main__":
    options = {"trail": sys.argv[2]} if sys.argv[2] else {}
    name = Path(sys.argv[1]) / "db.sqlite3" if sys.argv[2] != "memory" else ":memory:"
    settings.configure(
        DATABASES={"default": {"ENGINE": CAPTURED, "NAME": name, "OPTIONS": options}},
    )
    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        print(cursor.fetchone())
