"""`indelible serve`: a trail for others to read and check."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG
from indelible.cli.passphrases import asker
from indelible.errors import ConfigurationError, IndelibleError
from indelible.integrity.tokens import read_token_file

if TYPE_CHECKING:
    from indelible.policy import Policy
    from indelible.server.readers import Readers


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
    "token_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Serve bodies, too, to who has the token in this file (0600); one for each who reads.",
)
@CONFIG
def command(tlog: bool, listen: str, token_files: tuple[Path, ...], config: Path) -> None:
    """Let other machines read and check the trail, until stopped.

    Everybody who can connect sees the checkpoint, the tiles of the tree and the entries' heads,
    which tell who produced how many entries of which kind, and nothing of what is in them. Who
    reads bodies, or is refused them, is an entry of the trail.
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
    tokens = [read_token_file(each) for each in token_files]
    if len({token.name for token in tokens}) < len(tokens):
        raise ConfigurationError(
            "expected token files of different names: who reads is known by them"
        )
    policy = policy_of(config)
    with contextlib.closing(TrailFile(policy.trail)) as trail, contextlib.ExitStack() as stack:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
        readers = _open_readers(policy, stack) if tokens else None
        serve(
            make_application(trail, tokens, readers),
            address,
            lambda url: click.echo(f"serving {trail.origin} at {url}; stop with Ctrl-C"),
        )


def _open_readers(policy: Policy, stack: contextlib.ExitStack) -> Readers | None:
    """What writes them down; None, and said so, where this account or machine can't."""
    from indelible.explicit import telling
    from indelible.server.readers import Readers

    try:
        tell = stack.enter_context(telling(policy, asker()))
    except IndelibleError as error:
        click.echo(f"who reads bodies won't be in the trail: {error}", err=True)
        return None
    return stack.enter_context(contextlib.closing(Readers(tell)))
