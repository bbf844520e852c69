"""`indelible retain`: drop what is older than the policy keeps it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from indelible.cli.account import account
from indelible.cli.acting import Step, authorised, read_file, write_request
from indelible.cli.authorise import retention_text
from indelible.cli.opening import policy_of, record_question
from indelible.cli.options import CONFIG
from indelible.cli.passphrases import asker
from indelible.cli.seal import sealed_text
from indelible.events.context import acting_as
from indelible.integrity.retention import parse_retention
from indelible.trail import Trail


@click.command("retain")
@authorised
@CONFIG
def command(step: Step, config: Path) -> None:
    """Drop what is older than [retention] keeps it: of accesses first all but the day.

    Without an option: what is due, and nothing is done. In two steps: --request seals what is due
    and writes what a verifier has to attest (`indelible attest`) and authorisers have to sign; with
    what they signed, --authorisation does it. Interrupted, the same again goes on. What is about
    somebody who is held stays. The leaves stay, too, so that all that is left can be proven.

    For example: indelible retain --request december.act --reason "as every month"
    """
    if step.request is not None and step.authorisation is not None:
        raise click.UsageError("expected --request FILE --reason TEXT, or --authorisation FILE")
    if (step.request is None) != (step.reason is None):
        raise click.UsageError("expected --reason beside --request, and only there")
    relays = step.request is not None or step.authorisation is not None
    with (
        Trail.open(policy_of(config), relay=relays, ask=asker()) as trail,
        acting_as(step.acting or account()),
    ):
        record_question(trail)
        if step.authorisation is not None:
            _apply(trail, step.authorisation)
        elif step.request is not None:
            _request(trail, step.request, step.reason or "")
        else:
            _show_due(trail)


def _apply(trail: Trail, authorisation: Path) -> None:
    count = trail.retention.apply(read_file(authorisation))
    click.echo(f"dropped: {count} bodies; what proves that they were there stays")
    for file in trail.fill_lake():
        click.echo(f"copied entries {file.first} to {file.last} to {file.path}")


def _request(trail: Trail, request: Path, reason: str) -> None:
    for segment in trail.retention.seal_due():
        click.echo(sealed_text(segment))
    with trail.retention.plan() as plan:
        text = trail.retention.request(plan, reason=reason)
    write_request(request, text)
    click.echo(retention_text(parse_retention(text)))
    kept = trail.policy.kept()
    attest = (
        f"`indelible attest {request} --key KEY` by a verifier, then " if kept.verifiers else ""
    )
    click.echo(
        f"{request}: have it signed ({attest}`indelible authorise {request} --key KEY` by "
        f"{kept.threshold or 'enough'} of {len(kept.authorisers)}), then give it back with "
        "--authorisation"
    )


def _show_due(trail: Trail) -> None:
    rules = trail.retention.rules()
    limits = [
        f"{name} before {limit[:10]}"
        for name, limit in msgspec.structs.asdict(rules).items()
        if limit is not None
    ]
    if not limits:
        click.echo("[retention] keeps everything: nothing is ever due")
        return
    with trail.retention.plan() as plan:
        click.echo(f"limits: {', '.join(limits)}")
        click.echo(
            f"due of what is sealed: {plan.dropped} bodies; {plan.held} entries stay because "
            "somebody is held"
        )
