"""A disk that remembers every write and sync, so that a test can lose power after each of them.

SQLite runs on it through apsw, with the store's own SQL. apsw brings its own SQLite (newer than
Python's), so this proves our transactions and SQLite's write order, not Python's driver; the files
that a crash leaves are read with Python's `sqlite3` again.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import apsw

Loss = Literal["nothing", "unsynced", "some"]
"""What a crash takes: nothing that was written (a killed process), everything since the file's last
sync, or some of that (writes reach the platters in any order, whole or in part)."""

SECTOR = 512


class Step(NamedTuple):
    """One call that reached the disk. `data` of None: a sync; of bytes at -1: a truncation."""

    file: str
    offset: int
    data: bytes | None


class RecordingDisk:
    """Files in `directory`, written through SQLite, and the steps that wrote them."""

    def __init__(self, directory: Path) -> None:
        self.steps: list[Step] = []
        self._start = {
            path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()
        }
        self._vfs = _Vfs(self, f"recording-{id(self)}")

    def connect(self, path: Path) -> sqlite3.Connection:
        """A connection that looks like Python's, checkpoints often, and is recorded."""
        connection = apsw.Connection(str(path), vfs=self._vfs.vfs_name)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 60")
        return cast("sqlite3.Connection", _Connection(connection))

    def close(self) -> None:
        self._vfs.unregister()

    def crashes(
        self, after: Iterable[int], loss: Loss, rng: random.Random
    ) -> Iterator[tuple[int, dict[str, bytes]]]:
        """The files as each of these crashes leaves them: (steps done, content by name).

        `after` ascends.
        """
        synced = {name: bytearray(content) for name, content in self._start.items()}
        written: dict[str, list[Step]] = {}
        done = 0
        for end in after:
            for step in self.steps[done:end]:
                unsynced = written.setdefault(step.file, [])
                if step.data is None:
                    _apply(synced, unsynced)
                    unsynced.clear()
                else:
                    unsynced.append(step)
            done = end
            left = {name: bytearray(content) for name, content in synced.items()}
            for unsynced in written.values():
                _apply(left, _surviving(unsynced, loss, rng))
            yield end, {name: bytes(content) for name, content in left.items()}


def check_crashes(
    disk: RecordingDisk,
    after: Iterable[int],
    loss: Loss,
    directory: Path,
    *,
    seed: int,
    check: Callable[[int], None],
) -> None:
    """Lay what each of these crashes leaves into the empty `directory`, and `check(steps done)`."""
    for steps, files in disk.crashes(after, loss, random.Random(seed)):
        for name, content in files.items():
            # A file that was deleted is one of no bytes here, as it is to SQLite.
            (directory / name).write_bytes(content)
        try:
            check(steps)
        except BaseException as error:
            error.add_note(f"power lost after step {steps}, losing {loss}, seed {seed}")
            raise
        for path in directory.iterdir():
            path.unlink()


def _surviving(unsynced: Sequence[Step], loss: Loss, rng: random.Random) -> list[Step]:
    if loss == "nothing":
        return list(unsynced)
    if loss == "unsynced":
        return []
    survivors = [step for step in unsynced if rng.random() < 0.5]
    if survivors and (torn := rng.randrange(len(survivors))) >= 0:
        step = survivors[torn]
        if step.offset >= 0 and step.data is not None and len(step.data) > SECTOR:
            cut = rng.randrange(0, len(step.data), SECTOR)
            survivors[torn] = step._replace(data=step.data[:cut])
    return survivors


def _apply(files: dict[str, bytearray], steps: Iterable[Step]) -> None:
    for file, offset, data in steps:
        assert data is not None
        content = files.setdefault(file, bytearray())
        if offset < 0:
            del content[int.from_bytes(data, "big") :]
            continue
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data


class _Vfs(apsw.VFS):
    def __init__(self, disk: RecordingDisk, name: str) -> None:
        self.vfs_name = name
        self._disk = disk
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self._disk, name, flags)

    def xDelete(self, name: str, sync_dir: bool) -> None:
        self._disk.steps.append(Step(Path(name).name, -1, b"\0"))
        super().xDelete(name, sync_dir)
        if sync_dir:
            self._disk.steps.append(Step(Path(name).name, 0, None))


class _File(apsw.VFSFile):
    def __init__(self, disk: RecordingDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        # A temporary file has no name, and nobody looks for it after a crash.
        self._name = Path(path).name if path is not None else None
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._record(offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._record(-1, size.to_bytes(8, "big"))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._record(0, None)

    def _record(self, offset: int, data: bytes | None) -> None:
        if self._name is not None:
            self._disk.steps.append(Step(self._name, offset, data))


class _Connection:
    """As much of `sqlite3.Connection` as the store uses."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        return not self._connection.get_autocommit()

    def execute(self, sql: str, arguments: Any = ()) -> _Cursor:
        return _Cursor(self._connection, self._connection.execute(sql, arguments))

    def executemany(self, sql: str, arguments: Iterable[Any]) -> _Cursor:
        return _Cursor(self._connection, self._connection.executemany(sql, arguments))

    def executescript(self, sql: str) -> None:
        for _ in self._connection.execute(sql):
            pass

    def rollback(self) -> None:
        if self.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


class _Cursor:
    def __init__(self, connection: apsw.Connection, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self.rowcount = connection.changes()

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)
