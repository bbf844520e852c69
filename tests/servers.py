"""Servers that tests start themselves: on a free port, in a directory of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import pytest

_START_S = 30.0
_PORTS = range(20_000, 24_000)
_LOCKED = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC


class PostgresServer:
    """A cluster of its own, of which `postgres` is the superuser; roles `owner` and `app`."""

    def __init__(
        self,
        *,
        fsync: bool = False,
        shared_buffers: str = "32MB",
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("postgres")
        if not binaries and found is None:
            pytest.fail("no PostgreSQL server: apt-get install --no-install-recommends postgresql")
        self._bin = binaries[-1] if binaries else Path(str(found)).parent
        self.directory = Path(tempfile.mkdtemp(prefix="indelible-pg-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as_user = [
                "setpriv",
                f"--reuid={user.pw_uid}",
                f"--regid={user.pw_gid}",
                "--clear-groups",
            ]
        self.port = free_port()
        self._fsync = fsync
        self._settings = settings
        self._shared_buffers = shared_buffers
        self._process: subprocess.Popen[bytes] | None = None
        self.data = self.directory / "data"
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        self.start()
        with self.connect("postgres", "postgres") as connection:
            # Who may read a log is `owner`, where there is one that can be read.
            also = "REPLICATION" if settings.get("wal_level") == "logical" else ""
            connection.execute(f"CREATE ROLE owner LOGIN CREATEROLE {also}")
            connection.execute("CREATE ROLE app LOGIN")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        log = (self.directory / "log").open("ab")
        settings = {
            "fsync": "on" if self._fsync else "off",
            "synchronous_commit": "on" if self._fsync else "off",
            "unix_socket_directories": str(self.directory),
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "max_connections": "60",
            "max_prepared_transactions": "5",
            "shared_buffers": self._shared_buffers,
            **self._settings,
        }
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        self._process = subprocess.Popen(
            [*self._as_user, str(self._bin / "postgres"), "-D", str(self.data), *options],
            stdout=log,
            stderr=log,
            cwd=self.directory,
        )
        log.close()
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect("postgres", "postgres").close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"PostgreSQL didn't start: {self.log()}")
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT disconnects and writes all, SIGQUIT leaves it to recovery."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(_START_S)
        self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2_000:]

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def connect(self, role: str, database: str, **options: Any) -> psycopg.Connection[Any]:
        """A connection in autocommit."""
        return psycopg.connect(
            self.url(role, database), **{"autocommit": True, "connect_timeout": 5, **options}
        )

    def dump(self, database: str, *options: str) -> str:
        """What pg_dump writes of the database, without its random keys."""
        text = self._run("pg_dump", *options, self.url("postgres", database))
        return "\n".join(line for line in text.splitlines() if not line.startswith("\\"))

    def program(self, name: str) -> str:
        """Where the server's program of this name is."""
        return str(self._bin / name)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [*self._as_user, str(self._bin / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.directory,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{program}: {done.stderr}")
        return done.stdout


class Database:
    """One database of a server, owned by `owner`, which `app` may use."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        with server.connect("postgres", "postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER owner TEMPLATE template0")
        with self.connect("postgres") as connection:
            connection.execute("GRANT ALL ON SCHEMA public TO owner")
            connection.execute("GRANT USAGE ON SCHEMA public TO app")

    @classmethod
    def named(cls, server: PostgresServer, name: str) -> Database:
        """One that may be there already."""
        found = cls.__new__(cls)
        found.server, found.name = server, name
        return found

    def connect(self, role: str = "owner", **options: Any) -> psycopg.Connection[Any]:
        return self.server.connect(role, self.name, **options)

    def url(self, role: str = "owner") -> str:
        return self.server.url(role, self.name)

    def execute(self, *statements: str, role: str = "owner") -> None:
        with contextlib.closing(self.connect(role)) as connection:
            for statement in statements:
                connection.execute(statement)

    def grant(self) -> None:
        """Let `app` write to every table that is there."""
        self.execute(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO app",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app",
        )

    def drop(self) -> None:
        with self.server.connect("postgres", "postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE database = %s AND active",
                (self.name,),
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE database = %s",
                (self.name,),
            )
            connection.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


class PgBouncer:
    """Pools the connections to one database by transaction."""

    def __init__(self, database: Database, *, pool_size: int) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.fail("no PgBouncer: apt-get install --no-install-recommends pgbouncer")
        self._database = database
        self._port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="indelible-bouncer-"))
        (self._directory / "users").write_text('"app" ""\n"owner" ""\n')
        settings = self._directory / "pgbouncer.ini"
        settings.write_text(
            "[databases]\n"
            f"{database.name} = host=127.0.0.1 port={database.server.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self._directory / 'users'}\n"
            f"pool_mode = transaction\ndefault_pool_size = {pool_size}\nmax_client_conn = 500\n"
        )
        self._command = [program, str(settings)]
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self._directory, *self._directory.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
            self._command = [*as_user, "--clear-groups", *self._command]
        self._start()

    def _start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._wait()

    def restart(self) -> None:
        """Kill it, and start another in its place."""
        self._process.kill()
        self._process.wait(_START_S)
        self._start()

    def url(self, role: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self._port}/{self._database.name}"

    def remove(self) -> None:
        self._process.kill()
        self._process.wait(_START_S)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self._directory / "log").read_text(errors="replace")
                self.remove()
                pytest.fail(f"PgBouncer didn't start: {log[-2_000:]}")
            time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens at, for this process alone until it ends.

    A server that is killed and started again finds its port free: it is none of those that the
    system hands out by itself, and other processes of tests see its lock.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = os.open(Path(tempfile.gettempdir()) / f"indelible-port-{port}", _LOCKED, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as found:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                found.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        return port  # with `lock` left open
    pytest.fail(f"no free port from {_PORTS.start} to {_PORTS.stop}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One cluster for all tests that don't stop it."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def logical_postgres() -> Iterator[PostgresServer]:
    """One whose log can be read."""
    server = PostgresServer(settings={"wal_level": "logical"})
    try:
        yield server
    finally:
        server.remove()


_numbers = iter(range(1_000_000))


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """An empty database."""
    found = Database(postgres, f"app{next(_numbers)}")
    yield found
    found.drop()


@pytest.fixture
def logged(logical_postgres: PostgresServer) -> Iterator[Database]:
    """An empty database whose log can be read."""
    found = Database(logical_postgres, f"log{next(_numbers)}")
    yield found
    found.drop()
