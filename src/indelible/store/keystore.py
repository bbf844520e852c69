"""The keystore: a key pair for each subject, in a file that is in no backup of the trail.

Whoever seals needs public keys only. A new subject's private key is wrapped at once for the
keystore's master public key and then forgotten, so that a relay can enrol subjects without being
able to read anything back; the master key lies in a file of its own.

An erasure makes a new master key, wraps all keys but one for it, and destroys the old. An older
copy of the keystore therefore opens nothing, as long as nobody has a copy of the old master key:
after each erasure both are backed up anew, apart, and older copies of the master key destroyed.

In this order, so that a crash at any point leaves the state before or after, and `resume` puts the
rest right:

1. the new master key stands beside the old one (`.new`), on disk;
2. one transaction wraps the others, deletes the erased, and says which master key holds;
3. the old master key is overwritten, and the new one takes its name.

What is overwritten is gone from this file. Flash media and file systems that copy on write, or keep
snapshots, may have older blocks of it; the how-to "Erase a person's data" says what to do there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from indelible.durable import sync_directory, write_new
from indelible.errors import BoxError, KeystoreError, StoreBusyError, StoreFullError
from indelible.events.box import KEY_BYTES, open_box, seal_box
from indelible.events.model import Subject
from indelible.named_sql import load_statements

WAIT_S: Final = 30.0
"""For how long others' locks are waited for."""
_APPLICATION_ID: Final = 0x494E4B53
_FORMAT: Final = 1
_TOKEN_BYTES: Final = 16
_SQL: Final = load_statements(__package__, "keystore.sql")


class Enrolled(NamedTuple):
    """A subject's name in sealed values, random; and for which key they are sealed."""

    token: str
    public: bytes


class Erased(NamedTuple):
    """Whose key was destroyed, by which authorisation, and when (UTC)."""

    token: str
    nonce: str
    time: str


class Keystore:
    """The keystore at `path`, whose master private key is in the file `master`.

    Nothing is held open between calls. Any number of processes may use it; its repr and its errors
    show no key.
    """

    def __init__(self, path: Path, master: Path) -> None:
        """Raises `KeystoreError` where there is none, or its file is open to others."""
        self.path = path
        self.master = master
        _check_private(path, "a keystore", hint="`indelible install` makes one, or put it back")
        with self.connection() as connection:
            marks = (
                connection.execute("PRAGMA application_id").fetchone()[0],
                connection.execute("PRAGMA user_version").fetchone()[0],
            )
        if marks != (_APPLICATION_ID, _FORMAT):
            raise KeystoreError(f"expected a keystore of format {_FORMAT} at {path}, it is none")

    @classmethod
    def create(cls, path: Path, master: Path) -> Keystore:
        """Make an empty keystore and its master key (0600 both).

        Interrupted, it is made by the next call. Raises `KeystoreError` where there is one.
        """
        if path.exists():
            raise KeystoreError(f"expected no keystore at {path} yet, there is one")
        try:
            for directory in (path.parent, master.parent):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if master.exists():
                key = _load_key(master)
            else:
                key = X25519PrivateKey.generate()
                _write_key(master, key)
            # Under another name until it is whole.
            unfinished = path.with_name(path.name + ".making")
            unfinished.unlink(missing_ok=True)
            os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with _errors(path), contextlib.closing(_connect(unfinished)) as connection:
                connection.executescript(f"BEGIN IMMEDIATE; {_SQL['schema']}")
                connection.execute(_SQL["put_master"], (key.public_key().public_bytes_raw(),))
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
                connection.execute("COMMIT")
            unfinished.rename(path)
            sync_directory(path.parent)
        except OSError as error:
            raise KeystoreError(f"can't make a keystore at {path}: {error.strerror}") from None
        return cls(path, master)

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit that overwrites what it deletes and syncs every commit."""
        with self.errors(), contextlib.closing(self.connect()) as connection:
            yield connection

    def connect(self, wait_s: float = WAIT_S) -> sqlite3.Connection:
        """The same, for who closes it, and waits so long for locks; raises SQLite's errors
        (`errors`)."""
        return _connect(self.path, wait_s)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """SQLite's failures as ours, for who keeps a connection."""
        with _errors(self.path):
            yield

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """One process at a time; `what` ends the name of the file that is locked."""
        path = f"{self.path}.{what}"
        try:
            fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeystoreError(f"can't write {path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    # -- enrolling --------------------------------------------------------------------------------

    def enrol(self, connection: sqlite3.Connection, subject: tuple[str, str]) -> Enrolled:
        """The subject's token and public key, which are made where it has none.

        Within a write transaction of `connection`, so that no two processes make one.
        """
        found = self.enrolled(connection, subject)
        if found is not None:
            return found
        token = secrets.token_hex(_TOKEN_BYTES)
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        (master,) = connection.execute(_SQL["master"]).fetchone()
        wrapped = seal_box(master, key.private_bytes_raw(), token.encode())
        connection.execute(_SQL["put_subject"], (token, *subject, public, wrapped))
        return Enrolled(token, public)

    @staticmethod
    def enrolled(connection: sqlite3.Connection, subject: tuple[str, str]) -> Enrolled | None:
        """The same, where it has one. Raises SQLite's errors (`errors`)."""
        rows = connection.execute(_SQL["subject"], subject).fetchall()
        return Enrolled(*rows[0]) if rows else None

    @staticmethod
    def named(connection: sqlite3.Connection, token: str) -> Subject | None:
        """`subject_of` by a connection that is there. Raises SQLite's errors (`errors`)."""
        rows = connection.execute(_SQL["name"], (token,)).fetchall()
        return Subject(*rows[0]) if rows else None

    def inode(self) -> int:
        """Another one where another file was put in its place. Raises `KeystoreError`."""
        # Not by a descriptor: closing it would drop the locks of this process's connections.
        try:
            return self.path.stat().st_ino
        except OSError as error:
            raise KeystoreError(
                f"expected a keystore at {self.path}: {error.strerror}; put it back"
            ) from None

    # -- looking ----------------------------------------------------------------------------------

    def token_of(self, subject: Subject) -> str | None:
        """The subject's token; None where nothing was sealed for it, or it was erased."""
        with self.connection() as connection:
            found = self.enrolled(connection, (subject.kind, subject.id or ""))
        return None if found is None else found.token

    def subject_of(self, token: str) -> Subject | None:
        """Whose token it is; None for one that isn't known, or any more."""
        with self.connection() as connection:
            return self.named(connection, token)

    def tokens(self) -> frozenset[str]:
        """Of all subjects that have a key."""
        with self.connection() as connection:
            return frozenset(row[0] for row in connection.execute(_SQL["tokens"]))

    def count(self) -> int:
        """How many subjects have a key."""
        with self.connection() as connection:
            return int(connection.execute(_SQL["count"]).fetchone()[0])

    def erased(self) -> tuple[Erased, ...]:
        """Every erasure, in order."""
        with self.connection() as connection:
            return tuple(Erased(*row) for row in connection.execute(_SQL["erased"]))

    def private_key(self, token: str) -> X25519PrivateKey | None:
        """The key that opens what was sealed for the token; None where there is none.

        Raises `KeystoreError` where the master key isn't at hand.
        """
        with self.connection() as connection:
            wrapped = self.wrapped(connection, token)
            if wrapped is None:
                return None
            return self.unwrap(self.master_key(connection), token, wrapped)

    def wrapped(self, connection: sqlite3.Connection, token: str) -> bytes | None:
        """The subject's private key as it is kept. Raises SQLite's errors (`errors`)."""
        rows = connection.execute(_SQL["wrapped"], (token,)).fetchall()
        return rows[0][0] if rows else None

    def master_key(self, connection: sqlite3.Connection) -> X25519PrivateKey:
        """The private key whose public half the keystore names; it may not have its name yet."""
        (public,) = connection.execute(_SQL["master"]).fetchone()
        if self._has_key(self._next, public):
            return _load_key(self._next)
        key = _load_key(self.master)
        if not _is_of(key, public):
            raise KeystoreError(
                f"expected the master key of {self.path} at {self.master}, it is another one: an "
                "erasure replaced it, or the keystore was put back from before one"
            )
        return key

    @staticmethod
    def unwrap(master: X25519PrivateKey, token: str, wrapped: bytes) -> X25519PrivateKey:
        """The subject's private key. Raises `KeystoreError`."""
        try:
            return X25519PrivateKey.from_private_bytes(open_box(master, wrapped, token.encode()))
        except (BoxError, ValueError):
            raise KeystoreError(
                f"the key of subject {token} is damaged: put the keystore back from its newest "
                "backup"
            ) from None

    def check_master_key(self) -> None:
        """Raises `KeystoreError` where the master key isn't at hand: nothing is opened then."""
        with self.connection() as connection:
            self.master_key(connection)

    def __repr__(self) -> str:
        return f"<Keystore {self.path}>"

    # -- erasing ----------------------------------------------------------------------------------

    def erase(self, token: str, *, nonce: str, time: str) -> int:
        """Destroy the subject's key; how many keys of others are left.

        When this returns no file of ours can open what was sealed for it; copies of the keystore
        and of the master key, both from before, still do, so that every older copy of the master
        key has to be destroyed. There is a new one, which a backup is to have, apart from the
        keystore's. `nonce` and `time` are remembered with the token. Raises `KeystoreError`; a
        crash leaves it undone or done, which `erased` then says.
        """
        with self.alone("lock"):
            self._resume()
            fresh = X25519PrivateKey.generate()
            _write_key(self._next, fresh)
            public = fresh.public_key().public_bytes_raw()
            with self.connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                old = self.master_key(connection)
                if connection.execute(_SQL["erase"], (token,)).rowcount != 1:
                    raise KeystoreError("expected a subject with this token, there is none")
                connection.execute(_SQL["put_erased"], (token, nonce, time))
                left = 0
                for other, wrapped in connection.execute(_SQL["all_wrapped"]).fetchall():
                    raw = self.unwrap(old, other, wrapped).private_bytes_raw()
                    connection.execute(
                        _SQL["rewrap"], (seal_box(public, raw, other.encode()), other)
                    )
                    left += 1
                connection.execute(_SQL["put_master"], (public,))
                connection.execute("COMMIT")
            self._resume()
            return left

    def resume(self) -> None:
        """Finish what a crash may have left of an erasure; nothing where there is nothing to do.

        Nothing either where this account may not write beside the master key.
        """
        if os.access(self.master.parent, os.W_OK) and _is_there(self._next):
            with self.alone("lock"):
                self._resume()

    def _resume(self) -> None:
        if not _is_there(self._next):
            return
        with self.connection() as connection:
            (public,) = connection.execute(_SQL["master"]).fetchone()
        if self._has_key(self._next, public):
            # It holds. Torn or not, what stands at the old name isn't needed any more.
            _overwrite(self.master)
            self._next.replace(self.master)
        else:
            _overwrite(self._next)
            self._next.unlink()
        sync_directory(self.master.parent)

    @property
    def _next(self) -> Path:
        return self.master.with_name(self.master.name + ".new")

    @staticmethod
    def _has_key(path: Path, public: bytes) -> bool:
        """Whether the private half is there: not half of it, or nothing."""
        try:
            return _is_there(path) and _is_of(_load_key(path), public)
        except KeystoreError:
            return False


def _connect(path: Path, wait_s: float = WAIT_S) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA secure_delete = ON")
    # EXTRA: the directory is synced, too, so that no journal comes back and undoes a commit.
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusyError(
                f"expected {path} to be free in time, another process holds it"
            ) from None
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StoreFullError(f"expected room to write {path}: {error}; make room") from None
        raise KeystoreError(f"expected the keystore {path} as it was written: {error}") from None


def _check_private(path: Path, what: str, *, hint: str) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise KeystoreError(f"expected {what} at {path}: {error.strerror}; {hint}") from None
    if mode & 0o077:
        raise KeystoreError(f"expected {path} to be readable by its owner only: chmod 600 {path}")


def _load_key(path: Path) -> X25519PrivateKey:
    """Raises `KeystoreError` where there is none, or others may read it."""
    _check_private(path, "a master key", hint="values are opened only where it is")
    try:
        raw = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise KeystoreError(f"expected a master key at {path}: {error.strerror}") from None
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise KeystoreError(f"{path}: expected {KEY_BYTES} bytes as hexadecimal")
    return X25519PrivateKey.from_private_bytes(raw)


def _is_there(path: Path) -> bool:
    """False also in a directory that is closed to us."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_of(key: X25519PrivateKey, public: bytes) -> bool:
    return key.public_key().public_bytes_raw() == public


def _write_key(path: Path, key: X25519PrivateKey) -> None:
    """On disk, its name too, when this returns."""
    try:
        write_new(path, key.private_bytes_raw().hex().encode() + b"\n")
        sync_directory(path.parent)
    except OSError as error:
        raise KeystoreError(f"can't write a key at {path}: {error.strerror}") from None


def _overwrite(path: Path) -> None:
    """With zeros, in place and on disk; nothing where there is no file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KeystoreError(f"can't overwrite {path}: {error.strerror}") from None
    try:
        os.pwrite(fd, bytes(max(os.fstat(fd).st_size, 1)), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
