"""The stock `go` command as a client: modules whose checksums stand in a tree of ours.

It wants the origin and the records of Go's checksum database, so it can't read a trail's entries;
it judges our trees, tiles and notes, and remembers what it saw, as a verifier with a pin does.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from indelible.tlog import (
    Checkpoint,
    Growth,
    RightEdge,
    SigningKey,
    leaf_hash,
    parse_tile_path,
    sign_checkpoint,
)
from tests.conftest import go_program
from tests.http_trails import serving_handler

VERSION = "v1.0.0"
GoDownload = Callable[[int], "subprocess.CompletedProcess[str]"]


class ChecksumDatabase:
    """A tree of records, as https://go.dev/design/25530-sumdb asks for it."""

    def __init__(self) -> None:
        self.key = SigningKey.generate("sum.example.com")
        self.records: list[bytes] = []
        self.growth: Growth
        self.signed: RightEdge

    def grow(self, records: list[bytes]) -> None:
        self.records = records
        self.growth = growth_of(records)
        self.signed = self.growth.edge

    def roll_back(self, size: int) -> None:
        """Sign an older tree, and go on handing out the tiles of the newer one."""
        self.signed = growth_of(self.records[:size]).edge

    def note(self) -> bytes:
        edge = self.signed
        tree = Checkpoint(origin="go.sum database tree", size=edge.size, root=edge.root)
        return sign_checkpoint(tree, self.key)

    def answer(self, path: str) -> bytes | None:
        if path == "/latest":
            return self.note()
        if path.startswith("/lookup/"):
            module, _, _ = path.removeprefix("/lookup/").partition("@")
            for index, record in enumerate(self.records):
                if record.startswith(f"{module} ".encode()):
                    return b"%d\n" % index + record + b"\n" + self.note()
        if path.startswith("/tile/8/"):
            wanted = parse_tile_path(path.replace("/tile/8/", "tile/", 1))
            for tile, row in self.growth.tiles:
                if (tile.level, tile.n) == (wanted.level, wanted.n):
                    return row[: 32 * wanted.width]
        return None


def growth_of(records: list[bytes]) -> Growth:
    return RightEdge().append([leaf_hash(record) for record in records])


@pytest.fixture
def database() -> ChecksumDatabase:
    return ChecksumDatabase()


@pytest.fixture
def download(database: ChecksumDatabase, tmp_path: Path) -> Iterator[GoDownload]:
    """`go mod download` of module number n, by one client that remembers what it saw."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = database.answer(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving_handler(Handler) as url:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GOPATH": str(tmp_path / "gopath"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "GOPROXY": f"file://{tmp_path}/proxy",
            "GOSUMDB": f"{database.key.verifier_key} {url.rstrip('/')}",
        }

        def run(n: int) -> subprocess.CompletedProcess[str]:
            command = [go_program(), "mod", "download", f"{module_name(n)}@{VERSION}"]
            return subprocess.run(
                command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
            )

        yield run


def module_name(n: int) -> str:
    return f"example.com/m{n}"


def records(proxy: Path, count: int) -> list[bytes]:
    """Publish so many modules; what the checksum database says of each."""
    return [publish(proxy, module_name(n)) for n in range(count)]


def publish(proxy: Path, module: str) -> bytes:
    folder = proxy / module / "@v"
    folder.mkdir(parents=True, exist_ok=True)
    mod = f"module {module}\n".encode()
    name = f"{module}@{VERSION}/go.mod"
    (folder / f"{VERSION}.mod").write_bytes(mod)
    (folder / f"{VERSION}.info").write_text(json.dumps({"Version": VERSION}))
    with zipfile.ZipFile(folder / f"{VERSION}.zip", "w") as archive:
        archive.writestr(name, mod)
    lines = (
        f"{module} {VERSION} h1:{checksum(name, mod)}\n",
        f"{module} {VERSION}/go.mod h1:{checksum('go.mod', mod)}\n",
    )
    return "".join(lines).encode()


def checksum(name: str, content: bytes) -> str:
    """The checksum that Go calls h1, of one file."""
    summary = f"{sha256(content).hexdigest()}  {name}\n".encode()
    return base64.b64encode(sha256(summary).digest()).decode()


def test_go_believes_a_tree_that_grows(
    database: ChecksumDatabase, download: GoDownload, tmp_path: Path
) -> None:
    """It checks inclusion of each record, and that each tree continues the last one."""
    every = records(tmp_path / "proxy", 700)
    for size, wanted in ((3, 0), (256, 1), (257, 256), (700, 699)):
        database.grow(every[:size])
        done = download(wanted)
        assert (done.returncode, done.stderr) == (0, "")


def test_go_finds_a_rewritten_entry(
    database: ChecksumDatabase, download: GoDownload, tmp_path: Path
) -> None:
    """Signed with the right key: it has the proof that both trees can't be one history's."""
    every = records(tmp_path / "proxy", 600)
    database.grow(every[:300])
    assert download(0).returncode == 0
    database.grow([*every[:3], every[3].replace(b"h1:", b"h1:A"), *every[4:]])
    done = download(500)
    assert done.returncode == 1
    assert "SECURITY ERROR" in done.stderr and "misbehavior" in done.stderr


def test_go_rejects_a_tampered_tree(
    database: ChecksumDatabase, download: GoDownload, tmp_path: Path
) -> None:
    """A record that isn't the leaf, another key: nothing is downloaded."""
    every = records(tmp_path / "proxy", 300)
    database.grow(every)
    database.records = [*every[:7], every[7].replace(b"h1:", b"h1:A"), *every[8:]]
    assert "cannot authenticate record" in download(7).stderr
    database.grow(every)
    database.key = SigningKey.generate("sum.example.com")
    assert download(8).returncode == 1


def test_go_doesn_t_see_a_rollback(
    database: ChecksumDatabase, download: GoDownload, tmp_path: Path
) -> None:
    """An older tree begins the one that it remembers, and that is enough for it; not for `verify`.

    See `test_only_who_has_seen_more_sees_a_rollback` for what a pin does.
    """
    every = records(tmp_path / "proxy", 300)
    database.grow(every)
    assert download(299).returncode == 0
    database.roll_back(200)
    assert download(100).returncode == 0
