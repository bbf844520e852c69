"""What `indelible verify` says: what was checked, what was taken from before, what it is worth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console

from indelible.cli.assurance import anchor_text, assurance_text
from indelible.cli.output import console
from indelible.integrity.pins import Pin
from indelible.integrity.remote import RemoteVerification
from indelible.integrity.verified import Earlier, Signed

if TYPE_CHECKING:
    from indelible.integrity.acts import Acts
    from indelible.integrity.retention_ledger import Retentions
    from indelible.integrity.verifier import Verification


def show_verification(found: Verification, pin: Pin | None) -> None:
    """Of a trail here; `pin` is what was remembered before."""
    out = console()
    _print_tree(out, found)
    new = "" if found.earlier is None else "their "
    out.print(
        f"hashed again: {found.size - found.since} entries · {new}index, {found.batches} batches "
        f"and {found.sources} sources built again and equal"
    )
    if found.earlier is not None:
        out.print(_earlier_text(found.earlier))
    out.print(_signed_text(found.signed))
    for text in (_acts_text(found.acts), _retention_text(found.retentions)):
        if text:
            out.print(text)
    out.print(_remembered(pin))
    if found.quarantined or found.unacknowledged:
        out.print(
            f"set aside: {found.quarantined} · noticed and not acknowledged: "
            f"{found.unacknowledged} (see `indelible status`)"
        )
    now = int(time.time())
    for each in found.anchors:
        out.print(anchor_text(each, found.size, now))
    out.print(f"assurance: {assurance_text(found.witnessed, found.size, now)}", style="bold")


def _print_tree(out: Console, found: Verification | RemoteVerification) -> None:
    if found.since:
        out.print(
            f"grown: entries from {found.since} to before {found.size} of {found.origin} are what "
            "was signed, behind those that were seen before"
        )
    else:
        out.print(f"whole: {found.size} entries of {found.origin} are what was signed")
    out.print(f"root: {found.root.hex()}")


def _signed_text(signed: Signed) -> str:
    by = signed.enrolment or "whoever enrolled them (--enrolment would say)"
    text = (
        f"signed by the processes that made them: {signed.entries} entries of {signed.producers} "
        f"processes, of which {signed.ended} ended in order · enrolled by {by}"
    )
    if signed.unsigned:
        text += f" · by sources that sign nothing (databases do): {signed.unsigned} entries"
    if signed.open:
        text += f" · not yet, or killed before: {signed.open} entries"
    if signed.holes or signed.broken:
        text += (
            f" · beside gaps: {signed.holes} statements, {signed.broken} processes from there on"
        )
    return text


def _earlier_text(earlier: Earlier) -> str:
    text = (
        f"not read again: the {earlier.size} entries before, and what is derived from them, which "
        f"were right at {earlier.time}: an edit there since, or in another copy of the file, and "
        "an erasure that nobody authorised are found without --only-new"
    )
    if earlier.whole_time != earlier.time:
        text += f", last done at {earlier.whole_time} of {earlier.whole_size} entries"
    return text


def _acts_text(acts: Acts) -> str:
    """Nothing where nothing was done, and nothing is sealed."""
    told = [
        f"{what}: {count}"
        for what, count in (
            ("erased as authorised", acts.erased),
            ("erasures authorised and not done", acts.pending),
            ("holds in force", acts.holds),
            ("acts of which nobody said who may authorise them", acts.unchecked),
        )
        if count
    ]
    if acts.keys_compared:
        told.append("the keystore has a key for every subject that wasn't erased, and no other")
    return " · ".join(told)


def _retention_text(retentions: Retentions) -> str:
    """Nothing where nothing was dropped, or is to be."""
    told = []
    if retentions.dropped:
        told.append(f"bodies that retention dropped, as authorised: {retentions.dropped}")
    if retentions.done:
        alone = retentions.done - retentions.attested
        told.append(
            f"acts of retention: {retentions.done}"
            + (f", of which self-attested {alone}" if alone else ", all attested by a verifier")
        )
    if retentions.pending:
        told.append(f"authorised and not done: {retentions.pending} (`indelible retain` goes on)")
    if retentions.unchecked:
        told.append(f"of which nobody said who may authorise them: {retentions.unchecked}")
    return " · ".join(told)


def _remembered(pin: Pin | None) -> str:
    if pin is None:
        return "verified for the first time here: from now on it can't go backwards unnoticed"
    return f"grown from the {pin.size} entries verified at {pin.time}"


def show_remote(found: RemoteVerification, pin: Pin | None) -> None:
    """Of a trail elsewhere."""
    out = console()
    _print_tree(out, found)
    what = "heads and bodies" if found.with_bodies else "heads; no bodies"
    out.print(f"hashed again: {found.size - found.since} entries ({what}) · the index isn't served")
    if found.since and pin is not None:
        out.print(f"not read again: {found.since} entries before, of the tree seen at {pin.time}")
    if text := _retention_text(found.retentions):
        out.print(text)
    out.print(_remembered(pin))
    assurance = assurance_text(found.witnessed, found.size, int(time.time()))
    out.print(f"assurance: {assurance}", style="bold")
