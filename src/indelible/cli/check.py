"""`indelible check`: which promises does the trail bear out?"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import click

from indelible.cli.app import ANSWER_IS_NO
from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG, JSON
from indelible.cli.output import console, print_json, printable, progress_bar
from indelible.cli.passphrases import asker
from indelible.errors import ConfigurationError, DeliveryError
from indelible.invariants.reports import junit_of, prometheus_of
from indelible.invariants.verdicts import WORDS, Verdict
from indelible.trail import Trail

_STYLES = {"holds": "green", "holds so far": "green", "falls short": "red", "can't tell": "yellow"}


@click.command("check")
@click.option(
    "--watch",
    "watch_s",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Check again and again, with so long in between, until stopped.",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the verdicts as JUnit XML, too.",
)
@click.option(
    "--prometheus",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write them as Prometheus metrics, too (for the textfile collector).",
)
@JSON
@CONFIG
def command(
    watch_s: float | None,
    junit: Path | None,
    prometheus: Path | None,
    as_json: bool,
    config: Path,
) -> None:
    """Which promises ([[invariant]]) the trail bears out: each holds, holds so far, falls short
    (by how much), or can't be told (why).

    Decided from entries, from the database as it is, and by trying: reversals are rehearsed on a
    copy. Exits with 1 where an invariant falls short or can't be told; planned ones are only
    reported. The verdicts are an entry of the trail.
    """
    policy = policy_of(config)
    if not policy.invariants:
        raise ConfigurationError(
            f"{config}: expected [[invariant]] with what is promised, it has none: "
            "docs/reference/invariants.md has examples, `indelible init --for` writes some"
        )
    stopped = threading.Event()
    if watch_s is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
    with Trail.open(policy, ask=asker()) as trail:
        while True:
            began = time.monotonic()
            try:
                verdicts = _check(trail)
            except DeliveryError as error:
                if watch_s is None:
                    raise
                click.echo(f"indelible: {printable(str(error))}", err=True)
            else:
                _show(verdicts, as_json=as_json)
                if junit is not None:
                    _write(junit, junit_of(verdicts, took_s=time.monotonic() - began))
                if prometheus is not None:
                    _write(prometheus, prometheus_of(verdicts, at=time.time()).encode())
                sys.stdout.flush()
                if watch_s is None:
                    break
            if stopped.wait(watch_s):
                return
    if any(each.fails for each in verdicts):
        sys.exit(ANSWER_IS_NO)


def _check(trail: Trail) -> Sequence[Verdict]:
    if not sys.stderr.isatty():
        return trail.check()
    with progress_bar("reading") as progress:
        return trail.check(progress=progress)


def _show(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    if as_json:
        print_json(verdicts)
        return
    out = console()
    for each in verdicts:
        standing = "" if each.standing == "enforced" else f" ({each.standing})"
        out.print(f"{each.verdict}: {each.name}{standing}", style=_STYLES[each.verdict])
        if each.promise:
            out.print(f"  “{printable(each.promise)}”")
        out.print(f"  {printable(each.words)}")
        if each.example is not None:
            out.print(f"  first at entry {each.example}", style="dim")
    counts = {word: sum(each.verdict == word for each in verdicts) for word in WORDS}
    out.print(" · ".join(f"{word}: {count}" for word, count in counts.items()), style="dim")


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing: whoever collects it may look at any time."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise ConfigurationError(f"can't write {path}: {error.strerror}") from None
