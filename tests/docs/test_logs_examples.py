"""The page of set-ups, followed to the letter: each application under its real server and the tee,
what is asked and answered, and that nothing secret came out beside the trail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_tutorials import DOCS, Reader

BEGIN, *SECTIONS = (DOCS / "logs-examples.md").read_text().split("\n## ")
SECRETS = [
    "correct horse",
    "hunter2-typo",
    "tok-9f86d081884c7d65",
    "tok-2c624232cdd22177",
    "s3cr3t-link",
    "dj-5ecret-k3y-of-this-page",
    "4111",
    "trudy",
    "zara",
    "/login",
]


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    # gunicorn's control socket lies at home.
    reader = Reader(tmp_path, {"HOME": str(tmp_path), "PYTHONWARNINGS": ""})
    yield reader
    reader.stop()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.splitlines()[0].split()[0])
def test_a_set_up_can_be_followed(section: str, reader: Reader, tmp_path: Path) -> None:
    """What the page says is printed is; the log holds every request once, signed, and no secret;
    nothing is noticed, also not when the server is stopped."""
    reader.follow(f"{BEGIN}\n## {section}")
    reader.stop()

    log = (tmp_path / "app.log").read_text()
    gone_by = log + (tmp_path / "server.log").read_text()
    jar = tmp_path / "jar"
    sessions = jar.read_text().split()[-1:] if jar.exists() else []
    assert [secret for secret in [*SECRETS, *sessions] if secret in gone_by] == []
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["text"] for line in lines if line["c"] == "U" and not _is_for_root(section)] == []
    assert _requests(lines) == _asked(section)
    status = subprocess.run(
        [Path(sys.executable).with_name("indelible"), "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert status.returncode == 0, status.stdout


def _is_for_root(section: str) -> bool:
    """Celery warns who runs a worker as root, before it sets up logging."""
    return section.startswith("Celery")


def _requests(lines: list[dict[str, Any]]) -> Counter[str]:
    """How often each of what was asked for is in the log, but for looking whether it is there."""
    found: Counter[str] = Counter()
    for line in lines:
        if line.get("n") in ("gunicorn.access", "uvicorn.access"):
            said = line["f"] if "f" in line else line["a"]
            if (said["method"], said["status_code"]) != ("GET", 404):
                found[said["method"]] += 1
        elif line.get("m") == "charging":
            found["task"] += 1
    return found


def _asked(section: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in section.splitlines():
        if line.startswith("$ curl"):
            is_post = " -d " in line or " --json " in line
            found["PUT" if "-X PUT" in line else "POST" if is_post else "GET"] += 1
    return found or Counter(task=1)
