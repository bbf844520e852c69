"""`indelible init`: make a trail, its keys and a configuration."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click

from indelible.cli.init_promises import PROMISES, Company
from indelible.cli.options import CONFIG, PASSPHRASE
from indelible.cli.passphrases import asker, new_passphrase
from indelible.errors import ConfigurationError, TrailExistsError
from indelible.integrity.assurance import load_trust_policy
from indelible.integrity.keys import TrailKeys, load_keys
from indelible.integrity.passphrases import PEM_BEGIN, unlock_of
from indelible.integrity.private_files import read_private
from indelible.policy import Policy, load_policy
from indelible.policy.load import policy_for_url
from indelible.trail import Trail
from indelible.transport.delivery import Remark

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
# seal = ["email"]                 # encrypted for the subject, so that it can be erased
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
    "--for",
    "company",
    type=click.Choice([*PROMISES]),
    metavar="COMPANY",
    help="Write invariants, too, as a small-team, or a company of saas, health or payments, "
    "promises them.  [default: asked, on a terminal]",
)
@click.option(
    "--continue",
    "old",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Go on from this trail, which was restored from a backup or whose key was stolen.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    metavar="FILE",
    help="With --continue: a signed checkpoint of it that somebody kept.",
)
@click.option(
    "--origin",
    metavar="NAME",
    help="The trail's name, as its checkpoints state it: a URL without scheme that is yours. "
    "[default: localhost/ and a random text]",
)
@PASSPHRASE
def command(
    config: Path,
    database: str | None,
    logs: bool,
    company: Company | None,
    old: Path | None,
    checkpoints: tuple[Path, ...],
    origin: str | None,
    is_encrypted: bool,
) -> None:
    """Make a trail and its keys.

    Writes the configuration first where there is none yet; an existing one is used as it is.

    With --continue the new trail's first entry is the last checkpoint of the old one that the
    witnesses know. The configuration names a new file and a new origin.

    With a signer in the configuration, that has the key which signs checkpoints.
    """
    if checkpoints and old is None:
        raise ConfigurationError("expected --continue FILE beside --checkpoint")
    if logs and database is not None:
        raise click.UsageError("expected either --logs or --database")
    if logs and company is not None:
        raise click.UsageError("expected --for with a database: who only logs promises log_clean")
    if company is not None and config.exists():
        raise ConfigurationError(
            f"expected no {config} beside --for, there is one: write its invariants there"
        )
    if not config.exists():
        text = _TRAIL.format(origin=_quoted(origin or f"localhost/{secrets.token_hex(6)}"))
        if logs:
            text += _LOGS
        else:
            text += _DATABASE.format(database=_quoted(f"sqlite:///{database or 'app.db'}"))
            text += _promises(company)
        try:
            with config.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise TrailExistsError(f"expected no file at {config}, there is one now") from None
        except OSError as error:
            raise ConfigurationError(f"can't write {config}: {error.strerror}") from None
        click.echo(f"wrote {config}")
    policy = load_policy(config)
    first = taken_over = None
    if old is not None:
        first = _continued(policy, old, checkpoints)
        taken_over = _keys_of(old, policy)
        # What was under a passphrase stays under it.
        is_encrypted = is_encrypted or _is_encrypted(old)
    passphrase = None
    if is_encrypted:
        passphrase = new_passphrase(policy.passphrase_file, policy.passphrase_env)
    trail = Trail.create(policy, first=first, taken_over=taken_over, passphrase=passphrase)
    vkey = trail.reader.vkey
    trail.close()
    click.echo(f"made the trail {policy.trail} and its keys in {policy.keys}")
    click.echo(f"public key (give it to whoever verifies): {vkey}")
    if first is not None:
        click.echo(f"entry 0: {first.message}")


def _promises(company: Company | None) -> str:
    """The invariants for a company of that kind; who sits at a terminal is asked which."""
    chosen: str | None = company
    if chosen is None and sys.stdin.isatty():
        question = "What is the company, so that its promises can be written down?"
        chosen = click.prompt(question, type=click.Choice([*PROMISES, "none"]), default="none")
    return next((text for kind, text in PROMISES.items() if kind == chosen), "")


def _keys_of(old: Path, policy: Policy) -> TrailKeys | None:
    """What signed the contexts and journals that still wait; None where its keys aren't there."""
    keys = policy_for_url(f"sqlite:///{old}").keys
    if not keys.is_dir():
        return None
    # The key that signed checkpoints is needed no more, wherever it is.
    return load_keys(keys, unlock_of(policy, asker()), signs=False)


def _is_encrypted(old: Path) -> bool:
    path = policy_for_url(f"sqlite:///{old}").keys / "enrolment.key"
    return path.is_file() and PEM_BEGIN in read_private(path)


def _continued(policy: Policy, old: Path, checkpoints: tuple[Path, ...]) -> Remark:
    # HTTP and TLS, which a first trail doesn't need.
    from indelible.integrity.continuing import continuation

    settings = policy.witness
    trust = load_trust_policy(settings.policy) if settings is not None else None
    try:
        given = [path.read_bytes() for path in checkpoints]
    except OSError as error:
        raise ConfigurationError(f"can't read {error.filename}: {error.strerror}") from None
    first = continuation(old, trust, settings, given)
    if policy.origin in (None, first.details["origin"]):
        raise ConfigurationError(
            f"{policy.source}: expected [trail] with an origin other than "
            f"{first.details['origin']!r}, which nothing may be signed under any more"
        )
    journals = policy_for_url(f"sqlite:///{old}").journals
    if journals.is_dir() and journals.resolve() != policy.journals.resolve():
        raise ConfigurationError(
            f'{policy.source}: expected [trail] with journals = "{journals}", where events of '
            "the old trail may wait"
        )
    return first


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
