"""One act, in a process to be killed: `... acting DIRECTORY ACT FILE [SUBJECT]`.

Acts: `retain`, `subject.erase`, `hold.add`, `hold.release`; FILE is what was signed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from indelible.errors import IndelibleError
from indelible.events.model import Subject
from tests.retention.archive import Archive


def act(made: Archive, kind: str, signed: bytes, subject: str = "") -> None:
    whose = Subject("customer", subject) if subject else Subject("customer", None)
    if kind == "retain":
        made.retention.apply(signed)
    elif kind == "subject.erase":
        made.erasures.erase(whose, signed)
    elif kind == "hold.add":
        made.erasures.add_hold(whose, signed)
    else:
        made.erasures.release_hold(whose, signed)
    made.carry()


def main(directory: str, kind: str, file: str, *subject: str) -> None:
    try:
        act(Archive.again(Path(directory)), kind, Path(file).read_bytes(), *subject)
    except IndelibleError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        sys.exit(4)


if __name__ == "__main__":
    main(*sys.argv[1:])
