"""A MariaDB server that tests start themselves: on a free port, in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.servers import free_port

_START_S = 30.0


class MariadbServer:
    """A server of its own, of which `root` is the superuser; accounts `owner` and `app`."""

    def __init__(
        self,
        *,
        is_durable: bool = False,
        has_binary_log: bool = False,
        options: tuple[str, ...] = (),
    ) -> None:
        path = f"{os.environ['PATH']}:/usr/sbin"
        found = shutil.which("mariadbd", path=path)
        make = shutil.which("mariadb-install-db", path=path)
        if found is None or make is None:
            pytest.fail("no MariaDB: apt-get install --no-install-recommends mariadb-server")
        self._program = found
        self.directory = Path(tempfile.mkdtemp(prefix="indelible-mariadb-"))
        # A server that starts deletes what others have in the same one.
        temporary = self.directory / "temporary"
        temporary.mkdir()
        self._as_user: list[str] = []
        user = "root"
        if os.geteuid() == 0:
            user = "mysql"
            ids = pwd.getpwnam(user)
            for each in (self.directory, temporary):
                os.chown(each, ids.pw_uid, ids.pw_gid)
            self._as_user = ["setpriv", f"--reuid={ids.pw_uid}", f"--regid={ids.pw_gid}"]
            self._as_user += ["--clear-groups"]
        self.port = free_port()
        self._is_durable = is_durable
        self._options = ["--log-bin=binary"] if has_binary_log else []
        self._options += options
        self._process: subprocess.Popen[bytes] | None = None
        done = subprocess.run(
            [
                *self._as_user,
                make,
                "--no-defaults",
                f"--datadir={self.directory / 'data'}",
                f"--tmpdir={temporary}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            text=True,
            cwd=self.directory,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"mariadb-install-db: {done.stderr}")
        self.start()
        self.execute(
            "CREATE USER owner@'%' IDENTIFIED BY 'owner'", "CREATE USER app@'%' IDENTIFIED BY 'app'"
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = {
            "datadir": str(self.directory / "data"),
            "tmpdir": str(self.directory / "temporary"),
            "socket": str(self.directory / "socket"),
            "pid-file": str(self.directory / "pid"),
            "port": str(self.port),
            "bind-address": "127.0.0.1",
            "skip-name-resolve": "ON",
            "innodb-flush-log-at-trx-commit": "1" if self._is_durable else "0",
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "32M",
            "max-connections": "100",
        }
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as_user,
                    self._program,
                    "--no-defaults",
                    *(f"--{key}={value}" for key, value in options.items()),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect("root").close()
                return
            except pymysql.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.directory / "log").read_text(errors="replace")
                    pytest.fail(f"MariaDB didn't start: {log_text[-2_000:]}")
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it: SIGTERM writes all, SIGKILL leaves it to recovery."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(_START_S)
        self._process = None

    def used_s(self) -> float:
        """The processor time that its process has used."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, account: str, database: str) -> str:
        password = "" if account == "root" else f":{account}"
        return f"mysql://{account}{password}@127.0.0.1:{self.port}/{database}"

    def connect(self, account: str, database: str | None = None, **options: Any) -> Any:
        """A connection in autocommit."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=account,
            password="" if account == "root" else account,
            database=database,
            **{"autocommit": True, "charset": "utf8mb4", "connect_timeout": 5, **options},
        )

    def execute(self, *statements: str, account: str = "root", database: str | None = None) -> None:
        connection = self.connect(account, database)
        with contextlib.closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


class MariadbDatabase:
    """One database of a server, owned by `owner`, whose rows `app` may read and change."""

    def __init__(self, server: MariadbServer, name: str) -> None:
        self.server = server
        self.name = name
        server.execute(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
            f"GRANT ALL ON {name}.* TO owner@'%'",
            f"GRANT ALL ON {name}_indelible.* TO owner@'%' WITH GRANT OPTION",
            "GRANT PROCESS ON *.* TO owner@'%'",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO app@'%'",
        )

    def connect(self, account: str = "owner", **options: Any) -> Any:
        return self.server.connect(account, self.name, **options)

    def url(self, account: str = "owner") -> str:
        return self.server.url(account, self.name)

    def execute(self, *statements: str, account: str = "owner") -> None:
        self.server.execute(*statements, account=account, database=self.name)

    def drop(self) -> None:
        self.server.execute(
            f"DROP DATABASE {self.name}", f"DROP DATABASE IF EXISTS {self.name}_indelible"
        )


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """One server for all tests that don't stop it."""
    server = MariadbServer()
    try:
        yield server
    finally:
        server.remove()


_numbers = iter(range(1_000_000))


@pytest.fixture
def mariadb_database(mariadb: MariadbServer) -> Iterator[MariadbDatabase]:
    """An empty database."""
    found = MariadbDatabase(mariadb, f"app{next(_numbers)}")
    yield found
    found.drop()
