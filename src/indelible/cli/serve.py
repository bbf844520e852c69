"""`indelible serve`: a trail for others to read and check."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import click

from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG
from indelible.errors import ConfigurationError
from indelible.integrity.tokens import read_token_file


@click.command("serve")
@click.option(
    "--log",
    "tlog",
    is_flag=True,
    help="The trail as a transparency log: checkpoint, tiles, heads (C2SP tlog-tiles).",
)
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:7381", show_default=True, help="Where."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Serve bodies, too, to who has the token in this file (0600).",
)
@CONFIG
def command(tlog: bool, listen: str, token_file: Path | None, config: Path) -> None:
    """Let other machines read and check the trail, until stopped.

    Everybody who can connect sees the checkpoint, the tiles of the tree and the entries' heads,
    which tell who produced how many entries of which kind, and nothing of what is in them.
    """
    if not tlog:
        raise click.UsageError("expected what to serve: --log")
    try:
        from indelible.server.application import make_application
        from indelible.server.serving import Address, serve
        from indelible.server.trail_file import TrailFile
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"serving needs {error.name}: pip install 'indelible[server]'"
        ) from None
    address = Address.parse(listen)
    token = None if token_file is None else read_token_file(token_file)
    with contextlib.closing(TrailFile(policy_of(config).trail)) as trail:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
        serve(
            make_application(trail, token),
            address,
            lambda url: click.echo(f"serving {trail.origin} at {url}; stop with Ctrl-C"),
        )
