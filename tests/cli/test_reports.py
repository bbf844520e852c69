"""A person asks who accessed their data, and gets a page or a PDF."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import tinyhtml5
from pypdf import PdfReader

from .test_commands import APPLICATION, Shell, installed

ASK = ("accessors", "--of", "customer:zara", "--as-report")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    made = installed(tmp_path_factory.mktemp("reports"))
    made.run("-c", APPLICATION)
    return made


def asked(shell: Shell) -> list[str]:
    lines = shell.indelible("events", "--system", "--action", "trail.asked", "--json").splitlines()
    events = [json.loads(line).get("event") for line in lines]
    return [event["details"]["question"] for event in events if event]


def words_of(file: Path) -> str:
    if file.suffix == ".pdf":
        pages = PdfReader(io.BytesIO(file.read_bytes())).pages
        return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))
    root = tinyhtml5.parse(file.read_text(), namespace_html_elements=False)
    return re.sub(r"\s+", " ", " ".join(root.itertext()))


@pytest.mark.parametrize("suffix", ["html", "pdf"])
def test_who_accessed_zaras_data(shell: Shell, suffix: str) -> None:
    """Read and changed, by two whom nobody names; that it was made is in the trail."""
    file = shell.directory / f"zara.{suffix}"
    said = shell.indelible(*ASK, file.name, "--since", "2020")
    assert said == f"{file.name}: 2 who accessed the data of customer:zara, 0 who may have\n"
    assert file.stat().st_mode & 0o077 == 0
    words = words_of(file)
    for there in ("customer:zara", "staff member 1", "staff member 2", "invoice (read): 93"):
        assert there in words
    assert "invoice (changed): 93" in words or "invoice (read and changed): 93" in words
    for other in ("trudy", "bob", "carol", "4411", ": 94", "yan", "192.0.2.7"):
        assert other not in words
    shell.indelible("relay", "--once")
    assert any(f"--as-report {file.name}" in question for question in asked(shell))


def test_nothing_is_overwritten(shell: Shell) -> None:
    (shell.directory / "there.html").write_text("mine")
    said = shell.indelible(*ASK, "there.html", exit_code=2)
    assert "expected no file there yet" in said
    assert (shell.directory / "there.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("zara.docx",), "expected a file that ends with .html or .pdf, got 'zara.docx'", 2),
        (("x.html", "--json"), "expected --as-report or --json", 2),
        (("no/folder/x.html",), "can't write no/folder/x.html", 4),
        (("x.html", "--since", "2026", "--until", "2024"), "ends before it starts", 2),
    ],
    ids=["another kind", "json", "no folder", "no window"],
)
def test_what_can_not_be_made(
    shell: Shell, arguments: tuple[str, ...], said: str, code: int
) -> None:
    assert said in shell.indelible(*ASK, *arguments, exit_code=code)
    assert not (shell.directory / "x.html").exists()


def test_without_the_extra_there_is_a_page(shell: Shell) -> None:
    """A PDF says what to install; HTML needs nothing."""
    code = "import sys; sys.modules['weasyprint'] = None; from indelible.cli import main; main()"
    said = shell.run("-c", code, *ASK, "bare.pdf", exit_code=2)
    assert "pip install 'indelible[report]'" in said
    shell.run("-c", code, *ASK, "bare.html")
    assert "staff member 1" in words_of(shell.directory / "bare.html")


def test_of_somebody_never_heard_of(shell: Shell) -> None:
    said = shell.indelible("accessors", "--of", "customer:zaar", "--as-report", "zaar.html")
    assert "the trail has never heard of customer:zaar" in said
    assert "holds nothing about this person" in words_of(shell.directory / "zaar.html")


def test_names_and_reasons_where_the_policy_says_so(tmp_path: Path) -> None:
    made = installed(tmp_path)
    made.run("-c", APPLICATION)
    with (tmp_path / "indelible.toml").open("a") as file:
        file.write('\n[reports]\nstaff = "name"\nreasons = true\n')
    made.indelible(*ASK, "zara.html")
    words = words_of(tmp_path / "zara.html")
    assert "staff:trudy" in words and "staff:bob" in words and "ticket 4411" in words
