"""`indelible serve --log`, as a process that is asked over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError
from indelible.integrity.faults import RollbackError
from indelible.integrity.resources import parse_bodies
from indelible.server.serving import Address
from indelible.testing.tamper import copy_trail, replace_checkpoint
from indelible.tlog import open_checkpoint, parse_bundle
from tests.http_trails import COMMAND, Served, get, served, verified, write_config, write_token
from tests.integrity.trails import ORIGIN, Maker

FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    maker = Maker(tmp_path_factory.mktemp("served") / "trail.db")
    maker.fill([400, 300])
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def token_file(trail: Maker) -> Path:
    return write_token(trail.path.parent)


@pytest.fixture(scope="module")
def server(trail: Maker, token_file: Path) -> Iterator[Served]:
    with served(trail.path, "--token-file", str(token_file)) as server:
        yield server


RUN_EACH = """
import contextlib, io, json, sys
from indelible.cli import main
for arguments in json.load(sys.stdin):
    sys.argv = ["indelible", "serve", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as ended:
            print(json.dumps([ended.code, said.getvalue()]))
"""


def refused(*commands: Sequence[str]) -> list[tuple[int, str]]:
    """Exit code and stderr of each; all in one process, as none of them comes to serve."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return [(code, said) for code, said in map(json.loads, done.stdout.splitlines())]


def test_it_says_what_it_serves_and_where(server: Served) -> None:
    """One line, once it listens."""
    assert server.said == f"serving {ORIGIN} at {server.url}; stop with Ctrl-C\n"


def test_the_checkpoint_is_text_that_is_asked_for_each_time(server: Served, trail: Maker) -> None:
    """No cache between may show an older one, which would look like a rollback."""
    answer = get(server.url + "checkpoint")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    opened = open_checkpoint(answer.content, origin=ORIGIN, log_key=trail.key.verifier_key)
    assert opened.checkpoint.size == 702


@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("tile/0/000", 8192),
        ("tile/0/002.p/190", 190 * 32),
        ("tile/1/000.p/2", 64),
        ("tile/0/000.p/3", 96),
        ("tile/entries/000", None),
        ("tile/entries/002.p/190", None),
    ],
)
def test_tiles_and_heads_are_bytes_that_never_change(
    path: str, length: int | None, server: Served
) -> None:
    """Any cache may keep them for ever."""
    answer = get(server.url + path)
    assert (answer.status, answer.headers["cache-control"]) == (200, FOR_EVER)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["content-length"]) == len(answer.content)
    if length is None:
        width = int(path.partition(".p/")[2] or 256)
        assert all(head.startswith(b'{"v":1,"p":[') for head in parse_bundle(answer.content, width))
    else:
        assert len(answer.content) == length


@pytest.mark.parametrize(
    "path",
    [
        "",
        "Checkpoint",
        "checkpoint/",
        "tile/0/003",
        "tile/0/002",
        "tile/0/002.p/191",
        "tile/2/000",
        "tile/entries/002.p/191",
        "tile/0/x000/000",
        "tile/%2e%2e/checkpoint",
        "tile/0/000%00",
        "tile/%ff/000",
        "favicon.ico",
        "docs",
    ],
)
def test_what_isn_t_there_is_404(path: str, server: Served) -> None:
    """Beyond the signed size, in another spelling, or nothing of a trail's; and not kept."""
    answer = get(server.url + path)
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-cache")
    assert answer.content.startswith(b"expected ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(method: str, server: Served) -> None:
    """Nothing can be written."""
    for path in ("checkpoint", "tile/0/000", "bodies/000"):
        answer = get(server.url + path, method=method)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_head_is_get_without_the_bytes(server: Served) -> None:
    """The same headers, and nothing behind them."""
    answer = get(server.url + "tile/0/000", method="HEAD")
    assert (answer.status, answer.headers["content-length"], answer.content) == (200, "8192", b"")


def test_bodies_are_for_who_has_the_token(server: Served, trail: Maker, token_file: Path) -> None:
    """Salts and bodies, kept by no cache; the word Bearer in any case."""
    token = token_file.read_text().strip()
    for scheme in ("Bearer", "bearer"):
        answer = get(server.url + "bodies/002.p/190", Authorization=f"{scheme} {token}")
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        bodies = [body for _, body in parse_bodies(answer.content, 190)]
        assert bodies == [entry.body for entry in trail.store.entries(512, 701)]
    beyond = get(server.url + "bodies/003", Authorization=f"Bearer {token}")
    assert beyond.status == 404


def test_without_the_token_there_is_no_body(server: Served, token_file: Path) -> None:
    """None, another, a part of it, in another scheme, in the URL: 401, also where nothing is."""
    token = token_file.read_text().strip()
    url = server.url + "bodies/000"
    for header in (
        "Bearer",
        "Bearer ",
        f"Bearer {token[:-1]}",
        f"Bearer {token}x",
        f"Basic {token}",
        token,
        "Bearer ÿ",
    ):
        answer = get(url, Authorization=header)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert b"salt" not in answer.content and token.encode() not in answer.content
    for path in ("bodies/000", f"bodies/000?access_token={token}", "bodies/999"):
        assert get(server.url + path).status == 401


def test_neither_answers_nor_its_own_log_have_the_token(trail: Maker, token_file: Path) -> None:
    """Refusals are logged, the token and what was sent for it aren't."""
    token = token_file.read_text().strip()
    with served(trail.path, "--token-file", str(token_file)) as server:
        get(server.url + "bodies/000", Authorization=f"Bearer {token}")
        get(server.url + "bodies/000", Authorization="Bearer guessed-by-somebody")
        exit_code, stderr = server.stop()
    assert exit_code == 0
    assert "bodies were asked for without the token" in stderr
    assert token not in stderr and "guessed" not in stderr


def test_without_a_token_file_bodies_aren_t_served(trail: Maker) -> None:
    """Not even to somebody who sends an empty token."""
    with served(trail.path) as server:
        for header in ("", "Bearer ", "Bearer None"):
            assert get(server.url + "bodies/000", Authorization=header).status == 404
        assert get(server.url + "tile/entries/000").status == 200


def test_a_trail_that_grows_is_served_as_far_as_it_is_signed(tmp_path: Path) -> None:
    """The next checkpoint shows as soon as it is signed."""
    maker = Maker(tmp_path / "trail.db")
    maker.fill([10])
    with served(maker.path) as server:
        assert get(server.url + "tile/0/000.p/12").status == 404
        maker.fill([10])
        assert get(server.url + "tile/0/000.p/12").status == 200
        checkpoint = get(server.url + "checkpoint").content
        assert checkpoint == maker.store.state().checkpoint
    maker.close()


def test_another_file_in_the_trail_s_place_is_what_is_served(tmp_path: Path) -> None:
    """A backup that was put back shows as the rollback that it is, without a restart."""
    maker = Maker(tmp_path / "trail.db")
    maker.fill([400])
    copy_trail(maker.path, tmp_path / "backup.db")
    maker.fill([300])
    maker.close()
    with served(maker.path) as server:
        seen = verified(server.url, maker.key).seen
        maker.path.rename(tmp_path / "gone.db")
        answer = get(server.url + "checkpoint")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        (tmp_path / "backup.db").rename(maker.path)
        assert get(server.url + "tile/0/002.p/190").status == 404
        with pytest.raises(RollbackError, match="last seen size 702, offered 401"):
            verified(server.url, maker.key, seen=seen)
        assert verified(server.url, maker.key).size == 401


def test_damage_is_said_to_nobody_but_the_operator(tmp_path: Path) -> None:
    """A reader is told that it is there, the log which it is; the rest goes on."""
    maker = Maker(tmp_path / "trail.db")
    maker.fill([300])
    with sqlite3.connect(maker.path) as connection:
        connection.execute("UPDATE block SET frame0 = x'00' WHERE n = 0")
        connection.execute("DELETE FROM tile WHERE id = 1 << 48")
    connection.close()
    with served(maker.path) as server:
        for path in ("tile/entries/000", "tile/1/000.p/1"):
            answer = get(server.url + path)
            assert (answer.status, answer.headers["cache-control"]) == (500, "no-store")
            assert answer.content == b"the trail is damaged here: `indelible verify`\n"
        assert get(server.url + "tile/entries/001.p/45").status == 200
        replace_checkpoint(maker.path, b"no checkpoint")
        assert get(server.url + "checkpoint").status == 500
        _, stderr = server.stop()
    assert "expected one whole zstd frame of bodies" in stderr
    maker.close()


def test_it_stops_cleanly_while_connections_are_open(trail: Maker) -> None:
    """SIGTERM ends it with 0, whoever keeps a connection or never finishes a request."""
    with served(trail.path) as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port)
        kept.request("GET", "/checkpoint")
        assert kept.getresponse().read()
        halfway = socket.create_connection(("127.0.0.1", server.port))
        halfway.sendall(b"GET /checkpoint HTTP/1.1\r\nHost:")
        assert server.stop() == (0, "")
        kept.close()
        halfway.close()


def test_who_comes_when_all_connections_are_taken_is_told_so(trail: Maker) -> None:
    """503, and let in once there is room again."""
    with served(trail.path) as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(256)]
        assert get(server.url + "checkpoint").status == 503
        for connection in held:
            connection.close()
        deadline = time.monotonic() + 30
        while get(server.url + "checkpoint").status != 200:
            assert time.monotonic() < deadline


def test_what_is_wrong_at_the_start_is_said(trail: Maker, tmp_path: Path) -> None:
    """No trail, no option, a token that others can read or guess: exit code 2."""
    config = ("--config", str(write_config(trail.path)))
    nowhere = ("--config", str(write_config(tmp_path / "none.db")))
    secrets = {
        "missing": (None, 0o600, "expected a token at"),
        "open": ("x" * 64, 0o644, "chmod 600"),
        "short": ("guessable", 0o600, "expected a token of 32"),
        "words": ("two words of secret " * 4, 0o600, "expected a token of 32"),
    }
    for name, (text, mode, _) in secrets.items():
        if text is not None:
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(mode)
    found = refused(
        config,
        ("--log", *nowhere),
        *(("--log", "--token-file", str(tmp_path / name), *config) for name in secrets),
    )
    expected = ["expected what to serve: --log", "expected a trail at"]
    expected += [said for _, _, said in secrets.values()]
    for (code, said), message in zip(found, expected, strict=True):
        assert code == 2
        assert message in said
        assert not any(text in said for text, _, _ in secrets.values() if text)


def test_a_port_that_is_taken_is_said(trail: Maker, server: Served) -> None:
    """By address, before anything is answered."""
    at = f"127.0.0.1:{server.port}"
    config = str(write_config(trail.path))
    done = subprocess.run(
        [*COMMAND, "serve", "--log", "--listen", at, "--config", config],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"can't listen at {at}: Address already in use" in done.stderr


@pytest.mark.parametrize("text", ["8000", "localhost:", "[::1:80", "h:99999", "a b:1", "h:-1", ""])
def test_an_address_is_host_and_port(text: str) -> None:
    """Anything else is refused, by what was expected."""
    with pytest.raises(ConfigurationError, match="expected HOST:PORT to listen at"):
        Address.parse(text)
    assert Address.parse("[::1]:80") == Address("::1", 80)
    assert Address.parse("trail.example.com:0") == Address("trail.example.com", 0)


def test_without_the_extra_the_command_says_what_to_install(trail: Maker) -> None:
    """Reading and checking a trail needs no web server; serving it does."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('starlette', 'uvicorn'):\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from indelible.cli import main; main()"
    )
    config = str(write_config(trail.path))
    done = subprocess.run(
        [COMMAND[0], "-c", code, "serve", "--log", "--config", config],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "pip install 'indelible[server]'" in done.stderr


@pytest.mark.long
def test_a_trail_that_stays_locked_is_said_so(tmp_path: Path) -> None:
    """Another process that keeps the file to itself: exit code 4, after the store's patience."""
    maker = Maker(tmp_path / "trail.db")
    maker.close()
    config = str(write_config(maker.path))
    with contextlib.closing(sqlite3.connect(maker.path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        ((code, said),) = refused(("--log", "--config", config))
    assert code == 4
    assert "to be free within" in said
