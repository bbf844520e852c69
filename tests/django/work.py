"""`python -m tests.django.work DIRECTORY ENGINE [URL [OPTIONS]]`: everything once, on one engine.

Prints JSON: what each shape and write returned, and what the tables hold at the end.
"""

import json
import sys
from pathlib import Path

from indelible import Actor, acting_as
from tests.django.project import start

if __name__ == "__main__":
    directory, engine = Path(sys.argv[1]), sys.argv[2]
    start(directory, engine, *sys.argv[3:])

    from django.db import connections

    from tests.django.reads import SHAPES, fill
    from tests.django.writes import WRITES

    with acting_as(Actor("staff", "filler")):
        fill()
    said = {}
    if "archive" not in connections.settings:
        del SHAPES["other_database"]
    for name, run in {**SHAPES, **WRITES}.items():
        with acting_as(Actor("staff", name)):
            said[name] = repr(run())
    with connections["default"].cursor() as cursor:
        for table in connections["default"].introspection.table_names():
            if table == "django_migrations":  # tells when
                continue
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            said[table] = repr([column[0] for column in cursor.description] + [*cursor.fetchall()])
    connections.close_all()
    getattr(connections["default"], "close_pool", bool)()
    print(json.dumps(said))
