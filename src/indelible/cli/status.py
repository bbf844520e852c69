"""`indelible status`: what is captured, how far it is carried, what was noticed."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console

from indelible.capture.servers import backend_of
from indelible.capture.sqlite_install import check
from indelible.cli.anchor_look import AnchorLook, look_at_anchors
from indelible.cli.app import ANSWER_IS_NO
from indelible.cli.opening import open_trail
from indelible.cli.options import CONFIG, JSON
from indelible.cli.output import console, local, print_json, print_table, printable
from indelible.cli.tier import rows, tier_line
from indelible.cli.witness_look import WitnessingLook, look_at_witnesses
from indelible.errors import IndelibleError
from indelible.policy import Policy, Server
from indelible.trail import Trail


@click.command("status")
@JSON
@CONFIG
def command(as_json: bool, config: Path) -> None:
    """What is captured, how far it is carried, and what nobody acknowledged yet.

    Exits with 1 when something noticed is unacknowledged, a table isn't seen, witnesses don't
    cosign, an anchor takes nothing, or the signer is away or refuses.
    """
    with open_trail(config) as trail:
        drifts = _drifts(trail.policy)
        notices = trail.notices()
        now = int(time.time())
        witnessing = look_at_witnesses(trail, now)
        anchored = look_at_anchors(trail, now)
        signer = trail.signer_fault()
        if as_json:
            print_json(
                [
                    *trail.reader.sources(),
                    *({"tier": tier} for tier in trail.reader.tiers()),
                    *notices,
                    *({"drift": text} for text in drifts),
                    *({"witness": fault} for fault in witnessing.faults),
                    *anchored,
                    *({"signer": fault} for fault in [signer] if fault),
                    {"retention": {"due": trail.retention.rules(), "dropped": trail.retained()}},
                    {"assurance": witnessing.assurance, "witnessed": witnessing.witnessed},
                ]
            )
        else:
            _print(trail, drifts, witnessing, anchored, signer)
        if notices or drifts or witnessing.faults or signer or any(each.fault for each in anchored):
            raise SystemExit(ANSWER_IS_NO)


def _print(
    trail: Trail,
    drifts: list[str],
    witnessing: WitnessingLook,
    anchored: list[AnchorLook],
    signer: str | None,
) -> None:
    out = console()
    state = trail.reader.state()
    out.print(f"trail {trail.policy.trail} ({trail.reader.origin}): {state.size} entries")
    out.print(f"assurance: {witnessing.assurance}")
    if signer:
        out.print(f"not signed as it should be: {printable(signer)}", style="bold")
    tiers = trail.reader.tiers()
    if len(tiers) > 1:
        for row in rows(tiers, trail.policy):
            out.print(tier_line(row))
    due = msgspec.structs.asdict(trail.retention.rules())
    if limits := [f"{name} before {at[:10]}" for name, at in due.items() if at is not None]:
        out.print(f"to be dropped by now: {', '.join(limits)} (`indelible retain`)")
    if (taken := trail.retained()) is not None:
        out.print(f"dropped: {taken}", style="bold" if taken.pending else None)
    for fault in witnessing.faults:
        out.print(f"not witnessed as it should be: {fault}", style="bold")
    for look in anchored:
        out.print(look.text, style="bold" if look.fault else None)
    print_table(
        out,
        ("source", "epoch", "events", "last event (UTC)", "missing", "lost"),
        (
            [
                source.producer_id,
                str(source.epoch),
                str(sum(last - first + 1 for first, last in source.received.ranges)),
                local(source.received.last_time) if source.received.last_time else "",
                str(len(source.missing)),
                str(len(source.lost)),
            ]
            for source in trail.reader.sources()
        ),
        empty="no source has delivered anything yet",
    )
    for text in drifts:
        out.print(f"not captured as it should be: {text}: run `indelible install`", style="bold")
    if trail.policy.server is not None:
        _print_server(trail, trail.policy.server, out)
    elif trail.policy.database is not None:
        out.print(
            "unseen on SQLite: blobopen, virtual tables, direct edits of the file", style="dim"
        )
    else:
        out.print(
            "no database is watched, as [database] names none: here is what was logged or recorded",
            style="dim",
        )
    print_table(
        out,
        ("index", "time (UTC)", "noticed", ""),
        (
            [str(notice.index), local(notice.time), notice.action, notice.message]
            for notice in trail.notices()
        ),
        empty="nothing noticed is unacknowledged",
    )


def _print_server(trail: Trail, server: Server, out: Console) -> None:
    try:
        look = backend_of(server).look_at(server, trail.policy)
    except IndelibleError:
        return  # said among the drifts
    for unseen in look.unseen:
        out.print(f"not seen: {unseen.name}: {unseen.why}", style="dim")
    if not server.roles:
        out.print(
            "as which roles the application connects isn't told: name them in [database] roles",
            style="dim",
        )
    for role in look.masters:
        out.print(
            f"role {role} could take the triggers away: capture is detectable, not enforceable"
        )
    for role in look.unasked:
        out.print(
            f"what role {role} may do isn't known: let the account that installed read it "
            "(GRANT SELECT ON mysql.*)"
        )
    if look.log is not None:
        out.print(f"the log: {look.log}", style="dim" if look.log.is_whole else "bold")
    if look.holder is not None and trail.delivered_through(look.incarnation) < look.newest:
        out.print(f"changes wait until it ends: {look.holder}")


def _drifts(policy: Policy) -> list[str]:
    if policy.server is not None:
        try:
            found = backend_of(policy.server).check(policy.server, policy)
            return [str(drift) for drift in found]
        except IndelibleError as error:
            return [f"{policy.server}: {error}"]
    if policy.database is None:
        return []
    try:
        return [str(drift) for drift in check(policy.database, policy)]
    except (IndelibleError, sqlite3.Error) as error:
        return [f"{policy.database}: {error}"]
