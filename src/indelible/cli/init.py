"""`indelible init`: make a trail, its keys and a configuration."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from indelible.cli.options import CONFIG
from indelible.errors import ConfigurationError, TrailExistsError
from indelible.policy import load_policy
from indelible.trail import Trail

_TRAIL = """\
# What Indelible captures, and where it keeps it. Unknown keys are errors.
# Every key: docs/reference/configuration.md

[trail]
url = "sqlite:///trail.db"        # a file of its own, never the application's database
origin = {origin}
"""
_DATABASE = """
[database]
url = {database}

[tables.default]
writes = true
reads = true
durability = "request"            # strict | request | async
baseline = "full"                 # full | keys

# For each table whose rows belong to somebody, say to whom:
# [tables.customer]
# subject = "self"
# mask = ["card_no"]               # never captured
#
# [tables.invoice]
# subject = "customer_id -> customer"
# without_values = ["notes"]       # only that it changed
"""
_LOGS = """
[logs]
allowed = []                      # classes and kinds that `indelible scan` may find: ["ip"]

# No database is captured. One is where it is named:
# [database]
# url = "sqlite:///app.db"
"""


@click.command("init")
@CONFIG
@click.option(
    "--database",
    metavar="FILE",
    help="The application's SQLite database.  [default: app.db]",
)
@click.option("--logs", is_flag=True, help="No database: for who only logs.")
@click.option(
    "--origin",
    metavar="NAME",
    help="The trail's name, as its checkpoints state it: a URL without scheme that is yours. "
    "[default: localhost/ and a random text]",
)
def command(config: Path, database: str | None, logs: bool, origin: str | None) -> None:
    """Make a trail and its keys.

    Writes the configuration first where there is none yet; an existing one is used as it is.
    """
    if logs and database is not None:
        raise click.UsageError("expected either --logs or --database")
    if not config.exists():
        text = _TRAIL.format(origin=_quoted(origin or f"localhost/{secrets.token_hex(6)}"))
        if logs:
            text += _LOGS
        else:
            text += _DATABASE.format(database=_quoted(f"sqlite:///{database or 'app.db'}"))
        try:
            with config.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise TrailExistsError(f"expected no file at {config}, there is one now") from None
        except OSError as error:
            raise ConfigurationError(f"can't write {config}: {error.strerror}") from None
        click.echo(f"wrote {config}")
    policy = load_policy(config)
    trail = Trail.create(policy)
    vkey = trail.reader.vkey
    trail.close()
    click.echo(f"made the trail {policy.trail} and its keys in {policy.keys}")
    click.echo(f"public key (give it to whoever verifies): {vkey}")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
