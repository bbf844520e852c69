"""A process that seals: `python -m tests.store.sealing_process TRAIL BLOCKS [PLACE]`.

Says each segment when it is done, and the failure that stopped it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from indelible.errors import IndelibleError
from indelible.store.sqlite_reader import SqliteReader
from tests.store.sealing import PLACE, seal


def main(trail: str, blocks: int, place: str = PLACE) -> None:
    try:
        for segment in seal(SqliteReader(Path(trail)), blocks=blocks, name=place):
            sys.stdout.write(f"sealed {segment.last}\n")
            sys.stdout.flush()
    except IndelibleError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        sys.exit(4)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
