"""`python -m tests.django.paths DIRECTORY ENGINE NAME [HOST PORT USER PASSWORD]`: paths of writes.

Through Django's cursor, on a database that is there. Prints JSON: what was seen of each.
"""

import contextlib
import json
import sys
from pathlib import Path

from django.conf import settings

import django
from indelible import Actor, acting_as
from indelible.capture.servers import backend_of
from indelible.django.trails import trail_at
from tests.capture.writes import paths

if __name__ == "__main__":
    directory, engine, *place = sys.argv[1:]
    database: dict[str, object] = dict(
        zip(("NAME", "HOST", "PORT", "USER", "PASSWORD"), place, strict=False)
    )
    config = Path(directory) / "indelible.toml"
    if engine.startswith("indelible"):
        database["OPTIONS"] = {"trail": config}
        trail = trail_at(config)
        if trail.policy.server is not None:
            backend = backend_of(trail.policy.server)
            backend.install(trail.policy.server, trail.policy, journal=trail.journal)
            trail.watch_server()
    settings.configure(DATABASES={"default": {"ENGINE": engine, **database}})
    django.setup()

    from django.db import connection, transaction

    def run(path: paths.Path) -> list[object]:
        seen: list[object] = []
        try:
            is_alone = path.ends == "autocommit"
            block = contextlib.nullcontext() if is_alone else transaction.atomic()
            with block, connection.cursor() as cursor:
                for statement in path.statements:
                    cursor.execute(statement)
                    rows = cursor.fetchall() if cursor.description else None
                    seen.append((rows, cursor.rowcount))
                if path.many is not None:
                    sql, given = path.many
                    cursor.executemany(sql.replace("{}", "%s"), given)
                    seen.append(cursor.rowcount)
                if path.ends == "rollback":
                    transaction.set_rollback(True)
        except Exception as error:
            seen.append(paths.seen_of(error))
        return [*seen, connection.in_atomic_block, connection.get_autocommit()]

    found, reset = {
        "sqlite": (paths.SQLITE, paths.RESET),
        "postgresql": (paths.POSTGRES, paths.POSTGRES_RESET),
        "mysql": (paths.MARIADB, paths.MARIADB_RESET),
    }[connection.vendor]
    said = {}
    for path in found:
        if paths.takes("Django", path):
            with acting_as(Actor("path", "reset")):
                run(paths.Path("reset", (), reset))
            with acting_as(Actor("path", path.name)):
                said[path.name] = repr(run(path)).replace(str(database["NAME"]), "app")
    connection.close()
    print(json.dumps(said))
