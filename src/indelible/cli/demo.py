"""`indelible demo`: the main job, on a small customer application."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from indelible.cli.output import console
from indelible.errors import ConfigurationError


@click.command("demo")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep application, trail and keys there. [default: a temporary one, removed]",
)
def command(directory: Path | None) -> None:
    """Watch an application being audited: capture, ask, reverse, prove. Under a minute."""
    try:
        from indelible.demo.tour import run
    except ImportError as error:
        raise ConfigurationError(
            f"the demo needs {error.name}: pip install 'indelible[demo]'"
        ) from None
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        run(console(), directory)
        return
    with tempfile.TemporaryDirectory(prefix="indelible-demo-") as temporary:
        run(console(), Path(temporary))
