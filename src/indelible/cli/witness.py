"""`indelible witness`: watch over tlogs on a machine of its own."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from indelible.cli.account import account
from indelible.cli.app import ANSWER_IS_NO
from indelible.cli.options import JSON, VKEY
from indelible.cli.output import console, print_json, print_table, printable
from indelible.cli.stopping import serve_until_stopped
from indelible.errors import ConfigurationError
from indelible.integrity.http_exchange import check_url
from indelible.integrity.key_ring import load_rotations
from indelible.integrity.rotations import KeyLine
from indelible.integrity.witness import Witness
from indelible.integrity.witness_alarm import ALARM_AFTER_S, AlarmBell, alarms
from indelible.integrity.witness_server import WitnessServer
from indelible.tlog import Algorithm, VerifierKey

_LISTEN: Final = "127.0.0.1:7380"

_DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("witness"),
    show_default=True,
    help="Where its file and its key are.",
)
_ALARM_AFTER = click.option(
    "--alarm-after",
    "alarm_after_s",
    type=click.IntRange(min=1),
    default=ALARM_AFTER_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a tlog may be silent.",
)


@click.group("witness")
def command() -> None:
    """Cosign the checkpoints of tlogs, and of each one history only.

    Needs no trail and no configuration: a machine of its own, in other hands than the trail's. Its
    folder is never to be restored from a backup: make a new witness instead.
    """


@command.command("init")
@click.argument("name")
@_DIRECTORY
def init(name: str, directory: Path) -> None:
    """Make a witness and its key.

    NAME is a URL without scheme that is yours: witness.example/w1.
    """
    witness = Witness.create(directory, name)
    click.echo(f"made the witness {directory}")
    click.echo("a trust policy names it with this line (behind it, to be asked, its URL):")
    click.echo(f"witness {name} {witness.verifier_key}")
    witness.close()


@command.command("add")
@click.argument("key", type=VKEY, metavar="VKEY")
@click.option("--origin", help="What its checkpoints call it. [default: the key's name]")
@_DIRECTORY
def add(key: VerifierKey, origin: str | None, directory: Path) -> None:
    """Witness the tlog that signs with VKEY from now on.

    Its first checkpoint is believed; what comes after must continue it.
    """
    if key.algorithm is not Algorithm.ED25519:
        raise ConfigurationError(f"expected a tlog's key (type 0x01), came {key}")
    with _opened(directory) as witness:
        witness.file.add_tlog(origin or key.name, key, int(time.time()))
    click.echo(f"witnesses {origin or key.name}")


@command.command("rekey")
@click.argument("rotations", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@_DIRECTORY
def rekey(rotations: Path, directory: Path) -> None:
    """Expect a tlog's checkpoints to be signed by the key that its old one names in ROTATIONS.

    That is the file `rotations` beside the tlog's key, and served beside its checkpoint. What was
    cosigned stays as it is.
    """
    notes = load_rotations(rotations)
    with _opened(directory) as witness:
        found = [
            (tlog.origin, line.newest)
            for tlog in witness.file.tlogs()
            if tlog.retired is None and (line := KeyLine.of(tlog.key, notes)).rotations
        ]
        for origin, key in found:
            witness.file.rekey_tlog(origin, key)
            click.echo(f"expects {key} to sign {origin}")
    if not found:
        raise ConfigurationError(
            f"{rotations}: expected a rotation from the key of a tlog that is witnessed here"
        )


@command.command("retire")
@click.argument("origin")
@_DIRECTORY
def retire(origin: str, directory: Path) -> None:
    """Cosign ORIGIN no more, and don't miss it."""
    with _opened(directory) as witness:
        witness.file.retire_tlog(origin, int(time.time()))
    click.echo(f"retired {origin}")


@command.command("serve")
@click.option("--listen", metavar="HOST:PORT", default=_LISTEN, show_default=True)
@_ALARM_AFTER
@click.option("--webhook", metavar="URL", help="Where alarms are posted to, as JSON.")
@_DIRECTORY
def serve(listen: str, alarm_after_s: int, webhook: str | None, directory: Path) -> None:
    """Answer trails, until stopped; put a proxy that speaks TLS in front of it."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    host, colon, port = listen.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise ConfigurationError(f"expected --listen HOST:PORT, came {listen!r}")
    if webhook is not None:
        check_url(webhook)
    with _opened(directory) as witness:
        server = WitnessServer(witness, host.strip("[]"), int(port))
        bell = None
        if webhook is not None:
            clock = lambda: int(time.time())  # noqa: E731
            bell = AlarmBell(witness, webhook, clock=clock, after_s=alarm_after_s)
            bell.start()
        try:
            serve_until_stopped(
                server, f"serving {witness.verifier_key.name} on port {server.port}"
            )
        finally:
            if bell is not None:
                bell.stop()


@command.command("check")
@_ALARM_AFTER
@JSON
@_DIRECTORY
def check(alarm_after_s: int, as_json: bool, directory: Path) -> None:
    """Say which tlogs are watched, and what is wrong with them; for cron.

    Exits with 1 when a tlog is silent or its key signed another tree, and nobody acknowledged that.
    --json has the signed checkpoints that prove it.
    """
    now = int(time.time())
    with _opened(directory) as witness:
        tlogs = witness.file.tlogs()
        found = alarms(witness, now=now, after_s=alarm_after_s)
    if as_json:
        print_json(found)
    else:
        out = console()
        print_table(
            out,
            ("tlog", "size", "cosigned"),
            (
                [
                    tlog.origin,
                    str(tlog.size) if tlog.checkpoint else "",
                    ("retired" if tlog.retired else f"{now - tlog.heard} s ago")
                    if tlog.checkpoint
                    else "never",
                ]
                for tlog in tlogs
            ),
            empty="no tlog is watched: `indelible witness add`",
        )
        for alarm in found:
            out.print(printable(f"{alarm.what}: {alarm.origin}: {alarm.message}"), style="bold")
    if found:
        raise SystemExit(ANSWER_IS_NO)


@command.command("ack")
@click.argument("origin")
@click.option("--reason", required=True, help="What it was, or what was done about it.")
@_DIRECTORY
def ack(origin: str, reason: str, directory: Path) -> None:
    """Say that the refused checkpoints of ORIGIN were looked at; they are kept."""
    with _opened(directory) as witness:
        count = witness.file.acknowledge(origin, f"{account().id}: {reason}")
    click.echo(f"acknowledged {count}")


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[Witness]:
    witness = Witness.open(directory)
    try:
        yield witness
    finally:
        witness.close()
