"""`indelible relay`: carry what applications captured into the trail."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path

import click

from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG
from indelible.cli.passphrases import asker
from indelible.trail import Trail

_LOOK_S = 0.05
_REFUSED_S = 0.5


@click.command("relay")
@click.option("--once", is_flag=True, help="Carry what is there now, then end.")
@click.option(
    "--timeout", "timeout_s", type=float, default=60.0, show_default=True, help="For --once, in s."
)
@CONFIG
def command(once: bool, timeout_s: float, config: Path) -> None:
    """Carry what applications captured into the trail, until stopped.

    An application that has its trail open relays by itself. Any number of relays may run: the one
    that holds the lease works, the others wait to take over. Ends with 3 where a witness or the
    signer knows a larger or another tree of this trail: then nothing may be signed.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    trail = Trail.open(policy_of(config), ask=asker())
    try:
        if once:
            trail.flush(timeout_s)
            while trail.is_reading_restored:
                time.sleep(_LOOK_S)
                trail.flush(timeout_s)
            click.echo(f"the trail has {trail.reader.size} entries")
            return
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        click.echo("relaying; stop with Ctrl-C")
        while not stopped.wait(_REFUSED_S):
            if trail.refusal is not None:
                raise trail.refusal
    finally:
        trail.close()
