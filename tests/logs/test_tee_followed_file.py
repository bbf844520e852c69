"""A file that is followed: nothing of it is passed over, nothing comes twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from indelible.logs.followed_file import FollowedFile


def rotate(log: Path, kept: int = 200) -> None:
    """As logrotate does it: each to the next number, the log to the first."""
    for number in range(kept, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))


def some(file: FollowedFile, random: Random) -> Iterator[bytes]:
    """What comes until we leave it, at any place."""
    leave_at = time.monotonic() + random.random() * 0.2
    for data in file.read():
        yield data
        if time.monotonic() > leave_at:
            return


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_that_comes_and_goes_reads_all(tmp_path: Path, seed: int) -> None:
    """A log that is written and renamed all the while, a reader that is begun anew from its last
    place: every line once, in order."""
    log = tmp_path / "app.log"
    log.touch()
    places = FollowedFile(log).place(0)
    count = 6_000

    def write() -> None:
        for begin in range(0, count, 5):
            with log.open("ab", buffering=0) as file:
                for number in range(begin, begin + 5):
                    file.write(b"%d\n" % number)
            if begin % 100 == 95:
                rotate(log)
            time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    random = Random(seed)
    read = b""
    while writer.is_alive():
        file = FollowedFile(log, places, linger_s=0.05, poll_s=0.01)
        read += b"".join(some(file, random))
        places = file.place(0)
        file.close()
        time.sleep(random.random() * 0.2)
    writer.join()
    file = FollowedFile(log, places, once=True)
    read += b"".join(file.read())
    file.close()

    assert [int(line) for line in read.split()] == list(range(count))


def test_what_a_file_ends_with_is_a_line(tmp_path: Path) -> None:
    """The last line of a renamed file isn't glued before the first of the next; that of the present
    one may go on."""
    log = tmp_path / "app.log"
    log.write_bytes(b"whole\ntorn")
    file = FollowedFile(log, once=True)
    assert b"".join(file.read()) == b"whole\ntorn"
    places = file.place(unread=4)
    file.close()
    rotate(log)
    log.write_bytes(b"next\nto go on")
    file = FollowedFile(log, places, once=True)
    assert b"".join(file.read()) == b"torn\nnext\nto go on"
    file.close()


def test_an_inode_that_is_anothers_now(tmp_path: Path) -> None:
    """A file at our device and inode that doesn't hold what we read is begun at its beginning."""
    log = tmp_path / "app.log"
    log.write_bytes(b"first\nsecond\n")
    file = FollowedFile(log, once=True)
    assert b"".join(file.read()) == b"first\nsecond\n"
    places = file.place(0)
    file.close()
    log.write_bytes(b"other\nlonger than that\n")  # cut, and written anew: the same inode
    file = FollowedFile(log, places, once=True)
    assert b"".join(file.read()) == b"other\nlonger than that\n"
    file.close()
