"""The group of commands, and what each kind of failure exits with.

Exit codes: 0 fine · 1 the answer is no · 2 usage or configuration · 3 evidence does not verify ·
4 something could not be reached.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from indelible._version import __version__
from indelible.errors import (
    DeliveryError,
    ErasureError,
    IndelibleError,
    ReversalError,
    VerificationError,
)

ANSWER_IS_NO: Final = 1
USAGE: Final = 2
DOES_NOT_VERIFY: Final = 3
NOT_REACHED: Final = 4

_COMMANDS: Final = (
    "init",
    "install",
    "uninstall",
    "relay",
    "status",
    "ack",
    "events",
    "changes",
    "accesses",
    "accessors",
    "history",
    "state",
    "reverse",
    "verify",
    "serve",
    "reconcile",
    "check",
    "erase",
    "hold",
    "authorise",
    "retain",
    "attest",
    "export",
    "seal",
    "tier",
    "key",
    "rotate",
    "signer",
    "witness",
    "anchor",
    "tee",
    "scan",
    "demo",
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"indelible.cli.{name}")
        command: click.Command = module.command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="indelible")
def group() -> None:
    """Who did what to which records, and can you prove it?

    Commands read ./indelible.toml, or the file named by --config.
    """


def main() -> None:
    """Run the command line; ends the process with one of the exit codes above."""
    try:
        group.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("stopped", USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except IndelibleError as error:
        _fail(str(error), exit_code_for(error))
    except BrokenPipeError:
        # The reader (`| head`) has seen enough.
        sys.stderr.close()
        sys.exit(0)


def exit_code_for(error: IndelibleError) -> int:
    """The exit code by who must act on `error`."""
    if isinstance(error, VerificationError):
        return DOES_NOT_VERIFY
    if isinstance(error, DeliveryError):
        return NOT_REACHED
    if isinstance(error, ReversalError | ErasureError):
        return ANSWER_IS_NO
    return USAGE


def _fail(message: str, code: int) -> None:
    click.echo(f"indelible: {message}", err=True)
    sys.exit(code)
