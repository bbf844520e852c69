"""`indelible verify`: is the trail whole, and what its key signed?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from indelible.cli.evidence import show_evidence
from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG, JSON, VKEY
from indelible.cli.output import console, print_json, progress_bar
from indelible.events.codec import format_time
from indelible.integrity.keys import load_public_key
from indelible.integrity.pins import Pin, load_pin, state_directory, store_pin
from indelible.integrity.producers import Signed
from indelible.integrity.verifier import Progress, Verification, verify_trail
from indelible.policy import Policy
from indelible.tlog import VerifierKey


@click.command("verify")
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@click.option(
    "--key", type=VKEY, metavar="VKEY", help="The trail's public key, from whom you trust."
)
@click.option(
    "--verifier",
    type=VKEY,
    metavar="VKEY",
    help="Of FILE: whose signature is to say that it is complete.",
)
@click.option(
    "--enrolment",
    type=VKEY,
    metavar="VKEY",
    help="The key that enrols processes, from whom you trust.",
)
@click.option(
    "--trail", type=click.Path(path_type=Path, dir_okay=False), help="Another copy of the trail."
)
@click.option("--only-new", is_flag=True, help="Hash only what came since the last verification.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to remember what was verified. [default: $XDG_STATE_HOME/indelible]",
)
@JSON
@CONFIG
def command(
    file: Path | None,
    key: VerifierKey | None,
    verifier: VerifierKey | None,
    enrolment: VerifierKey | None,
    trail: Path | None,
    only_new: bool,
    state: Path | None,
    as_json: bool,
    config: Path,
) -> None:
    """Hash everything stored again, build the index again, and hold both against the checkpoint.

    Remembers what it verified, outside of the trail, and refuses a trail that went backwards or
    another history. Exits with 3 and names the first index that is wrong.

    With FILE, which `indelible export` wrote, that is verified instead; no trail is needed.
    """
    if file is not None:
        show_evidence(file, key, verifier, as_json=as_json)
        return
    if verifier is not None:
        raise click.UsageError("expected a FILE with --verifier")
    if trail is None or key is None:
        policy = policy_of(config)
        trail = trail or policy.trail
        key = key or load_public_key(policy.keys)
        enrolment = enrolment or load_public_key(policy.keys, "enrolment")
    with progress_bar("verifying") as progress:
        found, pin = _verify(trail, key, enrolment, state, only_new, progress)
    if as_json:
        print_json([found])
        return
    out = console()
    out.print(f"whole: {found.size} entries of {found.origin} are what was signed")
    out.print(f"root: {found.root.hex()}")
    out.print(
        f"hashed again: {found.size - found.since} entries · index, {found.batches} batches and "
        f"{found.sources} sources built again and equal"
    )
    out.print(_signed_text(found.signed))
    out.print(_remembered(pin))
    if found.quarantined or found.unacknowledged:
        out.print(
            f"set aside: {found.quarantined} · noticed and not acknowledged: "
            f"{found.unacknowledged} (see `indelible status`)"
        )
    out.print(f"assurance: {found.assurance}", style="bold")


def verify_and_pin(policy: Policy, progress: Progress) -> Verification:
    """The trail of `policy`, verified as the command does it by default."""
    key = load_public_key(policy.keys)
    enrolment = load_public_key(policy.keys, "enrolment")
    return _verify(policy.trail, key, enrolment, None, only_new=False, progress=progress)[0]


def _verify(
    trail: Path,
    key: VerifierKey,
    enrolment: VerifierKey | None,
    state: Path | None,
    only_new: bool,
    progress: Progress,
) -> tuple[Verification, Pin | None]:
    """What was found, and what was remembered before."""
    directory = state or state_directory(dict(os.environ))
    pin = load_pin(directory, key.name)
    found = verify_trail(
        trail,
        key,
        seen=pin.seen if pin else None,
        only_new=only_new,
        enrolment=enrolment,
        progress=progress,
    )
    store_pin(directory, found.seen, format_time(time.time_ns() // 1_000))
    return found, pin


def _signed_text(signed: Signed) -> str:
    by = signed.enrolment or "whoever enrolled them (--enrolment would say)"
    text = (
        f"signed by the processes that made them: {signed.entries} entries of {signed.producers} "
        f"processes, of which {signed.ended} ended in order · enrolled by {by}"
    )
    if signed.open:
        text += f" · not yet, or killed before: {signed.open} entries"
    if signed.holes or signed.broken:
        text += (
            f" · beside gaps: {signed.holes} statements, {signed.broken} processes from there on"
        )
    return text


def _remembered(pin: Pin | None) -> str:
    if pin is None:
        return "verified for the first time here: from now on it can't go backwards unnoticed"
    return f"grown from the {pin.size} entries verified at {pin.time}"
