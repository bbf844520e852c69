"""The documentation tells the truth about commands, settings and links."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import pytest

from indelible import errors
from indelible.cli.app import group
from indelible.logs.scrub import DATA_CLASSES, DEFAULT_RULES
from indelible.policy.load import (
    _DATABASE_KEYS,
    _LOGS_KEYS,
    _RELAY_KEYS,
    _TABLE_KEYS,
    _TRAIL_KEYS,
    _WITNESS_KEYS,
)
from indelible.policy.load_anchors import COMMON_KEYS, KIND_KEYS
from indelible.policy.load_keeping import RETENTION_KEYS, TIER_KEYS
from indelible.policy.load_reports import REPORT_KEYS
from tests.capture.matrix import reads_page, writes_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_command_is_documented_as_it_helps_itself() -> None:
    """The reference holds each command's --help to the letter, and its subcommands'."""
    reference = (DOCS / "reference" / "command-line.md").read_text()
    # In a process of its own: a command keeps the names of its help from its first call, and a
    # test before this one may have called it without its group.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        shown = process.submit(help_of_each).result()
    assert len(shown) > 30
    for name, text in shown.items():
        assert text in reference, f"write the help of {name} into the reference again"


def help_of_each() -> dict[str, str]:
    """What `indelible COMMAND --help` shows, for each command."""
    return {
        name: command.get_help(
            click.Context(command, info_name=name, max_content_width=98, **group.context_settings)
        ).rstrip()
        for name, command in commands_of(group, "indelible")
    }


def commands_of(of: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    for each in of.list_commands(click.Context(of)):
        command = of.get_command(click.Context(of), each)
        assert command is not None
        yield f"{name} {each}", command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{name} {each}")


def test_every_setting_is_documented() -> None:
    """No key of the configuration is a secret."""
    reference = (DOCS / "reference" / "configuration.md").read_text()
    for key in (
        *_TABLE_KEYS,
        *_RELAY_KEYS,
        *_DATABASE_KEYS,
        *_LOGS_KEYS,
        *RETENTION_KEYS,
        *REPORT_KEYS,
        *_WITNESS_KEYS,
        *COMMON_KEYS,
        *(key for keys in KIND_KEYS.values() for key in keys),
        *TIER_KEYS,
        *_TRAIL_KEYS,
    ):
        assert f"`{key}`" in reference


def test_every_kind_of_finding_is_documented() -> None:
    """So is each class, and the example of scrubbing runs."""
    reference = (DOCS / "reference" / "scrubbing.md").read_text()
    for name in (*DATA_CLASSES, *(rule.kind for rule in DEFAULT_RULES)):
        assert f"`{name}`" in reference
    (code,) = re.findall(r"```python\n(.*?)```", reference, re.S)
    exec(code, {})


def test_every_exception_is_in_the_tree() -> None:
    """The docstring of `indelible.errors` draws all of them."""
    tree = errors.__doc__ or ""
    for name in dir(errors):
        if name.endswith("Error"):
            assert name in tree


@pytest.mark.parametrize(
    "page", sorted([*DOCS.rglob("*.md"), ROOT / "README.md"]), ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_test_that_a_page_names_is_there() -> None:
    """A promise that says what shows it: `test_file.py`, or `test_file.py::test_name`."""
    files = {str(path): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = [
        (page.name, *found)
        for page in DOCS.rglob("*.md")
        for found in re.findall(r"((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?", page.read_text())
    ]
    assert len(named) > 20
    for page, file, name in named:
        texts = [text for path, text in files.items() if path.endswith(f"/{file}")]
        assert texts, f"{page}: {file}"
        assert any(f"def {name}(" in text for text in texts) or not name, f"{page}: {file}::{name}"


def test_the_tutorial_runs(tmp_path: Path) -> None:
    """The application of the tutorial is what the commands' tests run, but for its prints."""
    tutorial = (DOCS / "tutorial.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", tutorial, re.S)
    compile(code, "app.py", "exec")
    for line in ("capture(engine, trail)", "trail.close()", 'Trail.open("indelible.toml")'):
        assert line in code


def test_the_shapes_of_reads_are_those_that_are_run() -> None:
    """Where this fails: python -m tests.capture.matrix reads > docs/reference/reads.md"""
    assert (DOCS / "reference" / "reads.md").read_text() == reads_page()


def test_the_paths_of_writes_are_those_that_are_run() -> None:
    """Where this fails: python -m tests.capture.matrix writes > docs/reference/writes.md"""
    assert (DOCS / "reference" / "writes.md").read_text() == writes_page()
