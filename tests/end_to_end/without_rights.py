"""What an application does that may not write where it should.

    python without_rights.py install|work DIRECTORY

`install` captures the database, `work` captures, changes a row, records an event and waits.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from indelible import Actor, Trail, acting_as
from indelible.capture.sqlite3 import connect
from indelible.errors import ConfigurationError, DeliveryError


def main(what: str, directory: Path) -> None:
    os.chdir(directory)
    trail = Trail.open("indelible.toml")
    try:
        connection = connect("app.db", trail=trail)
    except ConfigurationError as error:
        print("refused:", error, flush=True)
        os._exit(0)
    if what == "work":
        with acting_as(Actor("staff", "alice")):
            trail.record("user.logged_in")
            connection.execute("UPDATE work SET Times = 8")
            connection.commit()
        try:
            trail.flush(1.0)
        except DeliveryError as error:
            print("waiting:", error, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
