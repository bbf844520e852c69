"""`indelible tier`: what of the trail is where, how large it is, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from indelible.cli.app import DOES_NOT_VERIFY
from indelible.cli.opening import open_trail
from indelible.cli.options import CONFIG, JSON
from indelible.cli.output import console, local, print_json, print_table
from indelible.policy import Policy
from indelible.store.lake import lake_size
from indelible.store.places import open_place
from indelible.store.segment import Segment
from indelible.store.tiers import Tier

COLUMNS = ("tier", "at", "entries", "from (UTC)", "to (UTC)", "size", "bytes an entry", "a month")


@click.command("tier")
@JSON
@CONFIG
def command(as_json: bool, config: Path) -> None:
    """What of the trail is where: dates, sizes, and what that costs.

    Looks whether each segment is there, and what else is: exits with 3 where one is missing or of
    another size, and with 4 where that can't be seen. What is in them is `indelible verify`'s.
    """
    with open_trail(config) as trail:
        tiers = trail.reader.tiers()
        policy = trail.policy
        segments = trail.segments()
        lake = policy.tiers.lake if policy.tiers is not None else None
        iceberg = policy.tiers.iceberg if policy.tiers is not None else None
        if as_json:
            print_json([*tiers, *({"segment": segment_object(each)} for each in segments)])
            if lake is not None:
                files, length = lake_size(lake)
                told = {"path": str(lake), "files": files, "bytes": length}
                print_json([{"lake": told if iceberg is None else {**told, "iceberg": iceberg}}])
        else:
            out = console()
            print_table(out, COLUMNS, rows(tiers, policy), empty="")
            if lake is not None:
                files, length = lake_size(lake)
                table = "" if iceberg is None else f", for the table {iceberg} of Iceberg"
                out.print(f"lake: {files} files at {lake}, {size_text(length)}{table}")
        faults, strays = [], []
        for place in dict.fromkeys(segment.place for segment in segments):
            here = [segment for segment in segments if segment.place == place]
            there = dict(open_place(place, policy.trail).names())
            faults += list(_faults(here, there))
            strays += [f"{place}/{name}" for name in there.keys() - {each.name for each in here}]
        for stray in sorted(strays):
            click.echo(f"not of this trail, or left by a run that was stopped: {stray}", err=True)
        for fault in faults:
            click.echo(f"indelible: {fault}", err=True)
        if faults:
            raise SystemExit(DOES_NOT_VERIFY)


def rows(tiers: Sequence[Tier], policy: Policy) -> Iterator[list[str]]:
    """A line a tier."""
    prices = policy.tiers
    for tier in tiers:
        count = tier.last - tier.first + 1
        price = None
        if prices is not None:
            price = prices.hot_price if tier.name == "hot" else prices.sealed_price
        yield [
            tier.name,
            tier.place,
            str(count),
            local(tier.since) if tier.since else "",
            local(tier.until) if tier.until else "",
            size_text(tier.length),
            f"{tier.length / count:.0f}" if count else "",
            "" if price is None else f"{price * tier.length / 1e9:.4f}",
        ]


def tier_line(row: Sequence[str]) -> str:
    """One of `rows` in words."""
    tier, place, entries, since, until, size, each, price = row
    return (
        f"{tier}: {entries} entries from {since} to {until} at {place}, {size}, {each} bytes each"
        + (f", {price} a month" if price else "")
    )


def segment_object(segment: Segment) -> dict[str, object]:
    """One line of JSON."""
    return {
        "first": segment.first,
        "last": segment.last,
        "since": segment.since,
        "until": segment.until,
        "place": segment.place,
        "name": segment.name,
        "bytes": segment.length,
        "sha256": segment.sha256.hex(),
    }


def size_text(size: int) -> str:
    """Bytes in the unit that a person reads."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1_000:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} GB"


def _faults(segments: Sequence[Segment], there: dict[str, int]) -> Iterator[str]:
    for segment in segments:
        size = there.get(segment.name)
        if size is None:
            yield f"expected {segment}, there is none"
        elif size != segment.length:
            yield f"expected {segment} with {segment.length} bytes, it has {size}"
